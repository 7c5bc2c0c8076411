"""Tests of L{openclaw.providers.failure_kinds}: the words of many servers, row by row."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from openclaw.providers.failure_kinds import kind_of, normal, status_of

TOO_LONG = {
    "Volcengine": (400, "InvalidParameter", "Total tokens of image and text exceed max message tokens."),
    "TensorRT-LLM": (
        400,
        "",
        "The sum of prompt length (9000.0), query length (0) and max_tokens (100) should not exceed max_num_tokens (8)",
    ),
    "OpenAI": (400, "", "This model's maximum context length is 8192 tokens, your messages resulted in 9000 tokens."),
    "OpenAI, responses": (400, "", "Your input exceeds the context window of this model. Please adjust your input."),
    "a code of its own": (400, "context_length_exceeded", ""),
    "a code at any status": (500, "context_length_exceeded", "no"),
    "a code at 429": (429, "context_length_exceeded", "no"),
    "413": (413, "", ""),
    "Anthropic": (400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
    "Anthropic, sum": (400, "", "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000"),
    "llama.cpp": (
        400,
        "",
        "request (66000 tokens) exceeds the available context size (65536 tokens)",
    ),
    "llama.cpp, 500": (500, "server_error", "Context size has been exceeded."),
    "llama.cpp, older": (400, "", "the request exceeds the available context size. try increasing the context size"),
    "llama-cpp-python": (400, "", "Requested tokens (5000) exceed context window of 4096"),
    "Ollama": (400, "", "prompt too long; exceeded max context length by 1234 tokens"),
    "Ollama, newer": (400, "", "the input length exceeds the context length"),
    "SGLang": (400, "BadRequestError", "The input (263000 tokens) is longer than the model's context length (262144)."),
    "SGLang, sum": (400, "", "Requested token count exceeds the model's maximum context length of 4096 tokens."),
    "LM Studio": (400, "", "The number of tokens to keep from the initial prompt is greater than the context length."),
    "LM Studio, older": (
        None,
        "",
        "Trying to keep the first 9000 tokens when context the overflows. However, the model is loaded with context"
        " length of only 4096 tokens, which is not enough.",
    ),
    "TGI": (
        422,
        "validation",
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193.",
    ),
    "TGI, inputs": (422, "", "Input validation error: `inputs` must have less than 4095 tokens. Given: 5000"),
    "Bedrock": (400, "ValidationException", "Input is too long for requested model."),
    "Bedrock, count": (400, "", "Too many input tokens. Max input tokens: 8000, request input token count: 9000"),
    "vLLM": (
        400,
        "",
        "the model's context length is only 4096 tokens. Please reduce the length of the input.",
    ),
    "vLLM, older": (
        400,
        "",
        "Please reduce the length of the messages or completion.",
    ),
    "vLLM, prompt": (400, "", "The decoder prompt (length 5000) is longer than the maximum model length of 4096."),
    "GitHub Models": (413, "tokens_limit_reached", "Request body too large for this model. Max size: 8000 tokens."),
    "Copilot": (400, "model_max_prompt_tokens_exceeded", "prompt token count of 9000 exceeds the limit of 8000"),
    "Mistral": (400, "3051", "Prompt contains 40000 tokens, too large for model with 32768 maximum context length"),
    "Gemini": (
        400,
        "INVALID_ARGUMENT",
        "The input token count (1200000) exceeds the maximum number allowed.",
    ),
    "xAI": (400, "", "This model's maximum prompt length is 131072 but the request contains 537812 tokens."),
    "Cohere": (400, "", "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 5000."),
    "Groq": (400, "context_length_exceeded", "Please reduce the length of the messages or completion."),
    "Together": (400, "", "The total number of tokens exceeds the model's maximum context length"),
    "Fireworks": (400, "", "The prompt is too long: 9000, model maximum context length: 8192"),
    "Cerebras": (400, "", "Please reduce the length of the messages or completion. Current length is 9000"),
    "Moonshot": (400, "", "Invalid request: Your request exceeded model token limit: 8192 (requested: 9000)"),
    "MiniMax": (None, "minimax 2013", "invalid params, context window exceeds limit (2013)"),
    "MiniMax, code": (None, "minimax 1039", "token limit"),
    "DashScope": (400, "InvalidParameter", "Range of input length should be [1, 30720]"),
    "Zhipu": (400, "1261", "Prompt 超长"),
    "Zhipu, words": (400, "", "Prompt exceeds max length"),
    "LiteLLM": (400, "", "litellm.ContextWindowExceededError: litellm.BadRequestError: no"),
    "TabbyAPI": (400, "", "Prompt length 9000 is greater than max_seq_len 8192"),
    "GPT4All": (400, "", "The prompt size exceeds the context window size and cannot be processed."),
    "Azure": (400, "content_length_exceeded", "no"),
}

NO_MONEY = {
    "402": (402, "", "no"),
    "OpenAI": (429, "insufficient_quota", "You exceeded your current quota, check your plan and billing details."),
    "relay": (400, "insufficient_quota", "no"),
    "words alone": (429, "", "You exceeded your current quota, please check your plan and billing details."),
    "DeepSeek": (400, "invalid_request_error", "Insufficient Balance"),
    "OpenRouter": (403, "", "Insufficient credits"),
    "Moonshot": (429, "exceeded_current_quota_error", "Your account is suspended, check your plan and billing details"),
    "Anthropic": (400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API."),
    "Zhipu": (429, "1113", "余额不足或无可用资源包,请充值。"),
    "MiniMax": (None, "minimax 1008", "insufficient balance"),
    "SiliconFlow": (403, "30001", "Sorry, your account balance is insufficient"),
    "DashScope": (400, "Arrearage", "Access denied, please make sure your account is in good standing."),
    "One API": (403, "insufficient_user_quota", "user quota is not enough"),
    "LiteLLM": (400, "budget_exceeded", "Budget has been exceeded! Current cost: 1.2, Max budget: 1.0"),
    "xAI": (429, "", "Your team has used all available credits."),
    "Hugging Face": (402, "", "You have exceeded your monthly included credits for Inference Providers."),
    "Volcengine": (403, "AccountOverdueError", "The request failed because your account has an overdue balance."),
}

UNKNOWN_MODEL = {
    "Volcengine": (404, "InvalidEndpointOrModel.NotFound", "The model or endpoint x does not exist."),
    "OpenAI": (404, "model_not_found", "The model `x` does not exist or you do not have access to it."),
    "vLLM": (404, "NotFoundError", "The model `x` does not exist."),
    "Copilot": (400, "model_not_supported", "The requested model is not supported."),
    "Copilot, words": (400, "", "The requested model is not supported."),
    "OpenRouter": (400, "400", "x is not a valid model ID"),
    "DeepSeek": (400, "invalid_request_error", "Model Not Exist"),
    "Groq": (400, "model_decommissioned", "The model `x` has been decommissioned and is no longer supported."),
    "Groq, words": (400, "", "The model `x` has been decommissioned and is no longer supported."),
    "Ollama": (404, "", 'model "x" not found, try pulling it first'),
    "SiliconFlow": (400, "20012", "Model does not exist. Please check it carefully."),
    "nobody serves it": (404, "404", "No endpoints found for x."),
    "Azure": (404, "DeploymentNotFound", "The API deployment for this resource does not exist."),
    "LiteLLM": (400, "", "Invalid model name passed in model=x. Call `/v1/models` to view available models."),
    "Mistral": (400, "invalid_model", "Invalid model: x"),
    "Perplexity": (400, "invalid_model", "Invalid model 'x'. Permitted models can be found in the documentation."),
    "Bedrock": (400, "ValidationException", "The provided model identifier is invalid."),
    "Fireworks": (404, "", "Model not found, inaccessible, and/or not deployed"),
    "DeepInfra": (404, "", "Model is not available"),
    "GitHub Models": (400, "unknown_model", "Unknown model: x"),
    "Moonshot": (404, "resource_not_found_error", "Not found the model x or Permission denied"),
    "Zhipu": (400, "1211", "模型不存在"),
    "MiniMax": (None, "minimax 2013", "invalid params, unknown model 'x' (2013)"),
    "LM Studio": (404, "", "No models loaded. Please load a model in the developer page."),
    "TabbyAPI": (400, "", "No models are currently loaded."),
    "One API": (503, "model_not_found", "No available channel for model x under group default"),
    "Hugging Face": (400, "model_not_supported", "The requested model 'x' is not supported by any provider you have."),
    "gone": (410, "", "The model x is no longer available"),
}

TOO_FAST = {
    "OpenAI": (429, "rate_limit_exceeded", "Rate limit reached for requests"),
    "OpenAI, tokens": (
        429,
        "rate_limit_exceeded",
        "Limit 30000, Requested 40000 tokens per min.",
    ),
    "Anthropic": (None, "rate_limit_error", "this would exceed your rate limit"),
    "Gemini": (429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."),
    "Gemini, newer": (
        429,
        "RESOURCE_EXHAUSTED",
        "You exceeded your current quota, please check your plan and billing details. Quota exceeded for metric:"
        " generate_content_free_tier_requests, limit: 15. Please retry in 34.5s.",
    ),
    "Gemini, by a relay": (429, "", "You exceeded your current quota: 15 requests per minute"),
    "Bedrock": (429, "ThrottlingException", "Too many tokens, please wait before trying again."),
    "Azure": (429, "429", "Requests have exceeded the token rate limit of your current pricing tier. Retry in 5 s."),
    "DashScope": (429, "Throttling.AllocationQuota", "Allocated quota exceeded, please increase your quota limit."),
    "MiniMax": (None, "minimax 1002", "rate limit"),
    "Zhipu": (429, "1302", "您的账户已达到速率限制"),
    "GitHub": (403, "rate_limited", "You have exceeded a secondary rate limit"),
    "relay, 400": (400, "rate_limit_exceeded", "slow down"),
    "relay, 500": (500, "", "Too many requests, slow down"),
    "event": (None, "", "Rate limit exceeded"),
}

OVERLOADED = {
    "Anthropic": (529, "overloaded_error", "Overloaded"),
    "Anthropic, event": (None, "overloaded_error", "Overloaded"),
    "503": (503, "", "Loading model"),
    "words": (500, "", "The engine is currently overloaded, please try again later"),
    "Groq": (None, "", "x is currently at capacity"),
}

OTHER = {
    "the word context": (400, "unknown_field", "unknown field: context"),
    "context of a template": (400, "", "undefined variable 'context' in the chat template"),
    "a parameter": (
        400,
        "unsupported_parameter",
        "'temperature' is not supported with this model.",
    ),
    "a parameter, other order": (400, "", "this model does not support temperature"),
    "tools": (400, "", "This model is not supported for tool use"),
    "tools, Ollama": (400, "", "registry.ollama.ai/library/x does not support tools"),
    "images": (400, "", "The model x does not support image input"),
    "max_tokens": (400, "", "max_tokens is too large: 100000. This model supports at most 16384 completion tokens"),
    "max_tokens, other": (400, "", "max_tokens (9000) exceeds the maximum of 8192"),
    "a text": (
        400,
        "string_above_max_length",
        "Invalid 'user': string too long. Expected at most 64",
    ),
    "a tool's name": (400, "", "tools.0.function.name is too long"),
    "a list": (400, "array_above_max_length", "Invalid 'messages': array too long. Expected at most 2048"),
    "a path": (404, "", "Not Found"),
    "a path, FastAPI": (404, "not_found", "The requested path was not found"),
    "a field": (422, "", "body.seed: Extra inputs are not permitted"),
    "tools at OpenRouter": (404, "404", "No endpoints found that support tool use."),
    "the word quota": (400, "", "unknown field: quota"),
    "the word model": (400, "", "model: field required"),
    "content": (400, "content_filter", "The response was filtered"),
    "crash": (500, "server_error", "model crashed"),
    "crash, event": (None, "", "model crashed"),
}


class KindTests(SynchronousTestCase):
    def check(self, kind: str, rows: dict[str, tuple[int | None, str, str]]) -> None:
        for who, (status, code, text) in rows.items():
            self.assertEqual(kind, kind_of(status, [code] if code else [], text), who)

    def test_too_long(self) -> None:
        self.check("too long", TOO_LONG)

    def test_no_money(self) -> None:
        self.check("no money", NO_MONEY)

    def test_unknown_model(self) -> None:
        self.check("unknown model", UNKNOWN_MODEL)

    def test_too_fast(self) -> None:
        self.check("too fast", TOO_FAST)

    def test_overloaded(self) -> None:
        self.check("overloaded", OVERLOADED)

    def test_other(self) -> None:
        """What only sounds like one of them."""
        self.check("other", OTHER)

    def test_refused_key(self) -> None:
        """Whatever else is said; what is wrong with the key is nobody's model or prompt."""
        for status in (401, 403):
            self.assertEqual("auth", kind_of(status, ["model_not_found"], "The model `x` does not exist"))
            self.assertEqual("auth", kind_of(status, [], "prompt is too long"))
            self.assertEqual("auth", kind_of(status, ["unsupported_country"], "Country, region not supported"))
        self.assertEqual("auth", kind_of(400, ["INVALID_ARGUMENT"], "API key not valid. Please pass a valid API key."))
        self.assertEqual("auth", kind_of(None, [], "Invalid API key"))
        self.assertEqual("other", kind_of(400, ["invalid_value"], "metadata.api_key: not allowed"))
        self.assertEqual("auth", kind_of(status_of(["minimax 1004"]), ["minimax 1004"], "login fail"))


class CodeTests(SynchronousTestCase):
    def test_normal(self) -> None:
        for code in ("rate_limit_error", "RateLimitError", "RateLimitException", "rate-limit", "RATE_LIMIT"):
            self.assertEqual("ratelimit", normal(code))
        self.assertEqual("error", normal("error"))

    def test_status(self) -> None:
        """The first code that stands for a status; other numbers are none."""
        for codes, status in (
            (["x", "BadRequestError", "500"], 400),
            (["502"], 502),
            (["200"], None),
            (["1113"], None),
            (["²²²"], None),
            (["INVALID_ARGUMENT"], 400),
            (["DEADLINE_EXCEEDED"], 504),
            ([], None),
        ):
            self.assertEqual(status, status_of(codes), codes)
