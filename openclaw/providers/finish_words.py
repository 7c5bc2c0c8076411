"""
Why a model stopped, in the words of many servers.

OpenAI has five; servers write their own, those of what runs behind them, or in capitals.  Compared in small letters,
with an underscore between the words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from twisted.logger import Logger

from openclaw.errors import OpenClawError, ProviderFailed, ProviderOverloaded
from openclaw.messages import FinishReason
from openclaw.providers.failures import clean_text

Finish = FinishReason | Literal["failed", "overloaded"]
"""How an answer ended: for a reason, or because the server could not go on."""

_WORDS_OF: Mapping[Finish, str] = {
    # OpenAI; TGI, Together; Anthropic, Bedrock; Cohere; watsonx; Baidu.
    "stop": "stop eos eos_token end_turn stop_sequence stop_token complete completed normal end finished done"
    " pause_turn",
    # OpenAI; Anthropic, Gemini; Mistral; Cohere; watsonx; the Responses API.
    "length": "length max_tokens max_length model_length max_output_tokens max_new_tokens token_limit error_limit"
    " model_context_window_exceeded max_completion_tokens",
    "tool_calls": "tool_calls tool_call tool_use function_call tool",
    # OpenAI; Anthropic; Gemini; Zhipu; Bedrock; Cohere.
    "content_filter": "content_filter content_filtered refusal safety recitation blocklist prohibited_content spii"
    " image_safety language sensitive guardrail_intervened error_toxic moderation blocked risk",
    # OpenRouter; SGLang, vLLM; Zhipu; Cohere; watsonx; Gemini; Bedrock.
    "failed": "error failed failure abort aborted cancelled canceled user_cancel network_error timeout time_limit"
    " internal_error server_error malformed_function_call unexpected_tool_call malformed_tool_use"
    " malformed_model_output",
    # DeepSeek.
    "overloaded": "insufficient_system_resource overloaded engine_overloaded",
}

_WORDS: Mapping[str, Finish] = {word: finish for finish, words in _WORDS_OF.items() for word in words.split()}

_NO_REASON = frozenset({"", "null", "none", "nil", "undefined", "unspecified", "finish_reason_unspecified"})

_LIKE: tuple[tuple[re.Pattern[str], Finish], ...] = (
    (re.compile(r"safety|filter|moderat|prohibited|sensitive"), "content_filter"),
    (re.compile(r"max.*tokens?|length|token.?limit|context.?window"), "length"),
    (re.compile(r"overload|insufficient.*resource"), "overloaded"),
    (re.compile(r"error|fail|abort|cancel|exception|timed?.?out|malformed"), "failed"),
)
"""What words that are not in the table are taken for, the first that fits."""

MAX_TOLD = 1000
"""Most words that the log is told of."""

MAX_WORD_CHARACTERS = 100
"""Most of a finish reason that is looked at: the expressions may take the square of its length."""

log = Logger()

_CAPITAL = re.compile(r"([a-z])([A-Z])")
_BETWEEN = re.compile(r"[^A-Za-z0-9]+")

_told: set[tuple[str, str]] = set()


def finish_of(word: str, provider: str) -> Finish | None:
    """
    What a finish reason means.

    One that nobody knows means C{stop} and is told in the log, once for each provider and word.

    @param provider: its name, for the log.
    @return: C{None} for what is no reason: a blank, the word "null".
    """
    known = _WORDS.get(word)
    if known is not None:
        return known
    word = word.strip()[:MAX_WORD_CHARACTERS]
    word = _BETWEEN.sub("_", _CAPITAL.sub(r"\1_\2", word)).lower().strip("_") or word
    if word in _NO_REASON:
        return None
    known = _WORDS.get(word)
    if known is not None:
        return known
    finish: Finish = next((finish for pattern, finish in _LIKE if pattern.search(word)), "stop")
    if (provider, word) not in _told and len(_told) < MAX_TOLD:
        _told.add((provider, word))
        log.warn(
            "the provider {name} ends an answer for a reason that is not known, which is taken for {finish}: {word}",
            name=provider,
            finish=finish,
            word=clean_text(word),
        )
    return finish


def failure_of(finish: Finish, word: str, provider: str) -> OpenClawError | None:
    """The error of a finish that is a failure; C{None} for any other."""
    said = f"the provider {provider} could not end its answer: {clean_text(word)[:100]}"
    if finish == "overloaded":
        return ProviderOverloaded(said)
    return ProviderFailed(said) if finish == "failed" else None
