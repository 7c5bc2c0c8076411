"""
What a model server means by a failure: a table of codes and words, row by row.

Servers agree on few statuses, so the code and the words of a failure count before its status.  Codes are compared in
small letters and without anything between them, and without a last C{error} or C{exception}: C{RateLimitError},
C{rate_limit_error} and C{rate-limit} are the same one.  Words are looked for in small letters.

Where the rows come from:

  - B{too long}: C{context_length_exceeded} of OpenAI, Cerebras, Groq and many others; C{exceed_context_size_error} of
    llama.cpp, Jan; C{tokens_limit_reached} of GitHub Models; C{ContextWindowExceededError} of LiteLLM;
    C{model_max_prompt_tokens_exceeded} of Copilot; 1261 of Zhipu, 1039 of MiniMax.  In words: vLLM, SGLang and NVIDIA
    NIM (I{maximum context length}, I{longer than the maximum model length}, I{reduce the length of}), Ollama, LM Studio
    (I{context length of only}, I{context overflow}), TGI and Together (C{inputs} + C{max_new_tokens}), Anthropic,
    Bedrock (I{input is too long}, I{too many input tokens}), Gemini, xAI, Mistral, Moonshot (I{exceeded model token
    limit}), DashScope (I{range of input length}), Cohere (I{too many tokens}), TabbyAPI (C{max_seq_len}), GPT4All,
    llama-cpp-python.
  - B{no money}: C{insufficient_quota} of OpenAI; C{exceeded_current_quota_error} of Moonshot; C{Arrearage} of
    DashScope; C{AccountOverdueError} of Volcengine; C{insufficient_user_quota} of One API; C{budget_exceeded} of
    LiteLLM; 1113 of Zhipu, 1008 of MiniMax, 30001 of SiliconFlow.  In words: DeepSeek, OpenRouter, Anthropic, xAI,
    Hugging Face.  Gemini says I{exceeded your current quota} of a limit per minute, too.
  - B{auth}, beside 401 and 403: Gemini says with 400 that a key is not valid.
  - B{unknown model}: C{model_not_found} of OpenAI, Cerebras, DashScope; C{DeploymentNotFound} of Azure;
    C{model_not_supported} of Copilot and Hugging Face; C{model_decommissioned} of Groq; C{unknown_model} of GitHub
    Models; C{invalid_model} of Mistral and Perplexity; 1211 of Zhipu, 20012 of SiliconFlow.  In words: Ollama, vLLM,
    DeepSeek, OpenRouter, LiteLLM, Bedrock, Fireworks, DeepInfra, LM Studio, TabbyAPI, One API.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

Kind = Literal["too long", "no money", "auth", "unknown model", "too fast", "overloaded", "timeout", "other"]
"""What a failure means; C{other} leaves it to its status."""


def normal(code: str) -> str:
    """A code as the tables have it: small letters and digits, without a last C{error} or C{exception}."""
    letters = re.sub(r"[^a-z0-9]", "", code.lower())
    return letters.removesuffix("error").removesuffix("exception") or letters


def _codes(*codes: str) -> frozenset[str]:
    return frozenset(map(normal, codes))


def _words(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns))


_TOO_LONG_CODES = _codes(
    *("context_length_exceeded", "context_window_exceeded", "exceed_context_size_error", "context_length"),
    *("content_length", "content_length_exceeded", "tokens_limit_reached", "model_max_prompt_tokens_exceeded"),
    *("prompt_too_long", "input_too_long", "prompt_tokens_too_long", "request_too_large", "1261", "minimax 1039"),
)
_CONTEXT = r"context (?:length|size|window|limit)"
_TOO_LONG_WORDS = _words(
    r"maximum (?:allowed )?(?:context|prompt|input|sequence) (?:length|size|window)",
    r"max(?:imum)? context",
    rf"{_CONTEXT}(?: of \S+)?(?: has been| was| is)? (?:exceeded|too small|overflow)",
    rf"{_CONTEXT} (?:is|of) only",
    rf"exceed(?:s|ed|ing)?\b.{{0,60}}{_CONTEXT}",
    rf"(?:longer|greater|larger|more|bigger) than .{{0,60}}{_CONTEXT}",
    r"context (?:window )?exceeds",
    r"context (?:the )?overflow",
    r"contextwindowexceeded",
    r"(?:prompt|inputs?|conversation|messages|prompt tokens|input tokens)(?: is| are)? too (?:long|large)\b",
    r"input (?:token count|tokens?|length)\b.{0,60} exceeds?\b",
    r"prompt exceeds (?:the )?max",
    r"exceed(?:s|ed) (?:the )?model(?:'s)? token limit",
    r"(?:prompt|input|conversation|messages)\b[^.]{0,60} exceeds?\b[^.]{0,40} token limit",
    r"range of input length should be",
    r"`?inputs`? (?:tokens \+ `?max_new_tokens`? must be|must have less than)",
    r"reduce (?:the )?(?:length|size) of (?:the |your )?(?:input|prompt|messages|conversation)",
    r"longer than the maximum model length",
    r"(?:longer|greater|larger) than .{0,40}max_(?:seq|model)_len",
    r"too many (?:input |prompt )?tokens\b(?!.{0,60}\b(?:wait|per (?:second|minute|hour|day)|rate)\b)",
    r"max input tokens",
    r"exceeds? max message tokens|prompt length .{0,80}should not exceed",
    r"(?:输入|提示|上下文|prompt).{0,20}(?:过长|超长|超出|超过)",
)

_NO_MONEY_CODES = _codes(
    *("insufficient_quota", "billing_error", "exceeded_current_quota_error", "insufficient_balance", "Arrearage"),
    *("insufficient_credits", "insufficient_user_quota", "pre_consume_token_quota_failed", "budget_exceeded"),
    *("billing_hard_limit_reached", "billing_not_active", "payment_required", "out_of_credits", "AccountOverdueError"),
    *("AllocationQuota.FreeTierOnly", "credit_balance_too_low", "insufficient_funds", "1113", "1309", "30001"),
    "minimax 1008",
)
_NO_MONEY_WORDS = _words(
    r"insufficient (?:account )?(?:balance|credits?|funds|quota)",
    r"(?:balance|credits?) (?:is|are) (?:too low|insufficient|not enough|exhausted|used up)",
    r"(?:used (?:up )?all|out of|run out of|not enough|no remaining|exhausted|depleted)\b[^.]{0,30} credits?\b",
    r"exceeded (?:your|the) (?:current|monthly|included|monthly included) (?:quota|credits)",
    r"check your plan and billing|billing (?:hard limit|is not active)|payment required",
    r"monthly (?:spend|spending) limit|budget has been exceeded|account is in good standing",
    r"余额不足|欠费|额度不足|额度已用",
)
_PER_TIME = _words(
    r"\bper[ _-]?(?:second|minute|hour|day)|requests/min|\b[rt]p[md]\b",
    r"(?:retry|try again) (?:in|after) \d|free_tier_requests",
)

_UNKNOWN_MODEL_CODES = _codes(
    *("model_not_found", "model_not_supported", "model_decommissioned", "model_deprecated", "unknown_model"),
    *("invalid_model", "invalid_model_id", "model_not_exist", "model_not_exists", "model_does_not_exist"),
    *("DeploymentNotFound", "model_not_available", "model_not_loaded", "no_such_model", "1211", "20012"),
    "InvalidEndpointOrModel.NotFound",
)
_OF_AN_OPTION = (
    r"(?! (?:with|when|by this|for (?:this |the )?(?:parameter|option|tool|function|image|audio|vision|stream|json)))"
)
_UNKNOWN_MODEL_WORDS = _words(
    # One word may stand between, which is the model's name; more would be another sentence.
    r"\bmodel(?: id| name)?:?(?: [`'\"\[(]?[^\s`'\"]+[`'\")\]]?,?)? (?:"
    r"does not exist|doesn't exist|do not exist|not exist\b|(?:is |was |could )?not (?:be )?found"
    rf"|is not available\b|is not supported\b{_OF_AN_OPTION}|is no longer (?:available|supported)"
    r"|has been (?:deprecated|decommissioned|removed|retired)|(?:is )?not (?:currently )?(?:loaded|deployed))",
    r"\b(?:unknown|unrecognized|no such) model\b|\binvalid model(?: name| id|:| [`'\"])",
    r"not a valid model|model identifier is invalid|not found the model",
    r"no models? (?:(?:is|are) )?(?:currently )?loaded",
    r"(?:could not|cannot|can't|unable to|failed to) (?:find|load|access)(?: (?:a|the|any))? (?:suitable )?model\b",
    r"no endpoints found for|deployment for this resource does not exist",
    r"模型不存在|无可用渠道|no available channel for",
)

_TOO_FAST_CODES = _codes(
    *("rate_limit_error", "rate_limit_exceeded", "rate_limited", "too_many_requests", "throttling", "throttled"),
    *("Throttling.RateQuota", "Throttling.AllocationQuota", "limit_requests", "limit_burst_rate", "RESOURCE_EXHAUSTED"),
    *("requests_limit", "1302", "1303", "1305", "minimax 1002", "429"),
)
_TOO_FAST_WORDS = _words(
    r"rate.?limit|too many requests|requests per (?:second|minute|hour|day)|\bthrottl|请求过于频繁"
)

_AUTH_CODES = _codes(
    "invalid_api_key", "incorrect_api_key", "API_KEY_INVALID", "authentication_error", "UNAUTHENTICATED"
)
_AUTH_WORDS = _words(
    r"(?:invalid|incorrect|missing|expired|wrong) api[ _-]?key",
    r"api[ _-]?key (?:is )?(?:not valid|invalid|expired|missing|not found)",
)

_OVERLOADED_CODES = _codes(
    *("overloaded_error", "engine_overloaded_error", "server_overloaded", "model_overloaded", "service_unavailable"),
    *("UNAVAILABLE", "ServiceUnavailableError", "503", "529"),
)
_OVERLOADED_WORDS = _words(
    r"\boverloaded\b|\bat (?:full )?capacity\b|(?:server|system|service) is (?:too |very )?busy",
    r"no available (?:workers?|slots?)",
)

_STATUS_OF_CODE: Mapping[str, int] = {
    normal(code): status
    for status, codes in {
        400: ("invalid_request_error", "bad_request", "INVALID_ARGUMENT", "invalid_parameter", "minimax 2013"),
        401: ("invalid_api_key", "authentication_error", "unauthorized", "UNAUTHENTICATED", "minimax 1004"),
        403: ("permission_error", "permission_denied", "forbidden", "access_denied"),
        404: ("not_found_error",),
        422: ("unprocessable_entity", "validation_error"),
        502: ("bad_gateway",),
        504: ("timeout", "timeout_error", "request_timeout", "gateway_timeout", "DEADLINE_EXCEEDED", "minimax 1001"),
    }.items()
    for code in codes
} | {normal(code): 401 for code in ("minimax 2049", "invalid_authentication_error", "incorrect_api_key")}
"""What stands for a status where an error came without one, in a stream that had begun."""


def status_of(codes: Sequence[str]) -> int | None:
    """The status that some codes of an error stand for, the first one that stands for any; C{None} for none."""
    for code in codes:
        status = (
            int(code) if code.isascii() and code.isdigit() and len(code) == 3 else _STATUS_OF_CODE.get(normal(code))
        )
        if status is not None and 400 <= status <= 599:
            return status
    return None


def kind_of(status: int | None, codes: Sequence[str], text: str) -> Kind:
    """
    What a failure means.

    @param status: that of HTTP, or the one that the error names; C{None} if neither is known.
    @param codes: its codes and types, as the server writes them.
    @param text: the server's reason.
    """
    known, words = set(map(normal, codes)), text[:4000].lower()
    if status == 413 or _TOO_LONG_CODES & known:
        return "too long"
    if status not in (401, 402, 403, 429) and _TOO_LONG_WORDS.search(words):
        return "too long"
    if status == 402 or _NO_MONEY_CODES & known:
        return "no money"
    is_rate = normal("RESOURCE_EXHAUSTED") in known or _PER_TIME.search(words)
    if not is_rate and _NO_MONEY_WORDS.search(words):
        return "no money"
    if status in (None, 400, 500) and (_AUTH_CODES & known or _AUTH_WORDS.search(words)):
        return "auth"
    by_code = _of_codes(status, known)
    if by_code is not None:
        return by_code
    return _of_words(status, words)


def _of_codes(status: int | None, known: set[str]) -> Kind | None:
    """What the codes and the status say that leave the words no say."""
    if status == 401:
        return "auth"
    if status == 403:
        return "too fast" if _TOO_FAST_CODES & known else "auth"
    if _UNKNOWN_MODEL_CODES & known and status != 429:
        return "unknown model"
    if status == 429 or (status not in (404, 422, 503, 529) and _TOO_FAST_CODES & known):
        return "too fast"
    if status in (503, 529) or ((status is None or status >= 500) and _OVERLOADED_CODES & known):
        return "overloaded"
    if status in (408, 504):
        return "timeout"
    return None


def _of_words(status: int | None, words: str) -> Kind:
    if (status is None or status in (400, 404, 410, 422)) and _UNKNOWN_MODEL_WORDS.search(words):
        return "unknown model"
    if (status is None or status == 400 or status >= 500) and _TOO_FAST_WORDS.search(words):
        return "too fast"
    if (status is None or status >= 500) and _OVERLOADED_WORDS.search(words):
        return "overloaded"
    return "other"
