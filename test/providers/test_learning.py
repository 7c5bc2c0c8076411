"""Tests of L{openclaw.providers.learning}."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from openclaw.providers.learning import MAX_MODELS, Learned, refused_fields

SENT = frozenset(
    {
        "chat_template_kwargs",
        "developer",
        "frequency_penalty",
        "max_completion_tokens",
        "parallel_tool_calls",
        "reasoning_content",
        "reasoning_effort",
        "seed",
        "stop",
        "store",
        "stream_options",
        "temperature",
        "top_p",
    }
)


def openai(message: str, **more: Any) -> dict[str, Any]:
    """An error as OpenAI writes it."""
    return {"error": {"message": message, "type": "invalid_request_error", **more}}


def extra(*loc: str | int) -> dict[str, Any]:
    """A refusal as pydantic writes it."""
    return {"detail": [{"type": "extra_forbidden", "loc": loc, "msg": "Extra inputs are not permitted", "input": 1}]}


REFUSED: tuple[tuple[str, Any], ...] = (
    ("seed", openai("Unrecognized request argument supplied: seed")),
    ("seed", openai("Unknown parameter: 'seed'.", param="seed", code="unknown_parameter")),
    ("seed", openai("extra field not permitted: seed")),
    ("seed", openai("extra fields not permitted: `seed`")),
    ("seed", extra("body", "seed")),
    ("max_completion_tokens", extra("body", "max_completion_tokens")),
    ("reasoning_content", extra("body", "messages", 1, "assistant", "reasoning_content")),
    ("seed", {"object": "error", "message": "[{'type': 'extra_forbidden', 'loc': ('body', 'seed'), 'msg': 'Extra'}]"}),
    ("store", openai("property 'store' is unsupported")),
    (
        "reasoning_content",
        openai("for 'role:assistant' must be satisfied: property 'reasoning_content' is unsupported"),
    ),
    (
        "max_completion_tokens",
        openai("Unsupported parameter: 'max_completion_tokens' is not supported with this model. Use 'max_tokens'."),
    ),
    ("temperature", openai("Unsupported parameter: 'temperature'", param="temperature", code="unsupported_parameter")),
    (
        "temperature",
        openai(
            "Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) is supported.",
            param="temperature",
            code="unsupported_value",
        ),
    ),
    (
        "developer",
        openai(
            "Unsupported value: 'messages[0].role' does not support 'developer' with this model.",
            param="messages[0].role",
            code="unsupported_value",
        ),
    ),
    ("developer", openai("Unexpected role 'developer'")),
    ("developer", openai("unknown variant `developer`, expected one of `system`, `user`, `assistant`, `tool`")),
    ("stop", "stop is not supported"),
    ("stream_options", openai("stream_options is not supported yet")),
    ("stream_options", openai("Unknown parameter: stream_options.include_usage")),
    ("stream_options", extra("body", "stream_options", "include_usage")),
    ("seed", {"error": "additional properties are not allowed ('seed' was unexpected)"}),
    ("seed", {"error": "Additional properties are not allowed ('seed', 'top_p' were unexpected)"}),
    ("top_p", {"error": "Additional properties are not allowed ('user', 'top_p' were unexpected)"}),
    (
        "frequency_penalty",
        [{"error": {"message": 'Invalid JSON payload received. Unknown name "frequency_penalty": Cannot find field.'}}],
    ),
    ("seed", openai("unknown field `seed`, expected one of `model`, `messages`, `temperature`, `top_p`")),
    ("reasoning_effort", openai("This model does not support reasoning_effort.")),
    ("reasoning_effort", openai("this model doesn't support the parameter 'reasoning_effort'")),
    ("parallel_tool_calls", openai("parallel_tool_calls is not a valid parameter")),
    ("parallel_tool_calls", openai("Parameter parallel_tool_calls cannot be used with this model")),
    ("reasoning_content", openai("extra field in a message: reasoning_content")),
    ("reasoning_content", openai("reasoning_content is not allowed in the input")),
    ("chat_template_kwargs", openai("Unrecognized argument: enable_thinking")),
    ("seed", {"message": "The parameter seed is not recognized", "code": 400}),
    ("stream_options", openai("stream_options: Extra inputs are not permitted")),
    ("max_completion_tokens", openai("Extra inputs are not permitted, field: 'max_completion_tokens', value: 100")),
    ("reasoning_effort", openai("Argument not supported on this model: reasoning_effort")),
    ("frequency_penalty", openai("Model grok does not support parameter frequencyPenalty.")),
    ("seed", openai("UnsupportedParamsError: bedrock does not support parameters: ['seed'], for model=x")),
    ("stream_options", openai("Validation: Unsupported parameter(s): `stream_options`")),
    ("stream_options", 'Bad request: json: unknown field "stream_options"'),
    ("top_p", openai("The parameter top_p is no longer supported")),
    ("temperature", openai("参数 temperature 不支持")),
    (
        "max_completion_tokens",
        openai(
            "Provider returned error",
            metadata={"raw": json.dumps(openai("Unsupported parameter: 'max_completion_tokens'"))},
        ),
    ),
    ("seed", {"errors": [{"field": "seed", "message": "seed: unknown field"}]}),
    ("seed", {"errors": {"seed": ["is not allowed"]}}),
    ("seed", openai("Invalid field: seed")),
    ("seed", openai("request body contains invalid key: seed")),
    ("seed", {"detail": "Unexpected field in body.seed"}),
    ("seed", openai("seed 参数不支持")),
)

NOT_REFUSED: tuple[Any, ...] = (
    openai("temperature must be below 2"),
    openai("Invalid parameter: temperature"),
    openai("Invalid field: seed must be a whole number"),
    {"errors": {"seed": ["must be a whole number"]}},
    openai("temperature: must be between 0 and 2", param="temperature", code="invalid_value"),
    openai("Invalid value for 'temperature': expected a number between 0 and 2"),
    openai("max_completion_tokens is too large: 100000. This model supports at most 16384 completion tokens."),
    openai("unsupported value for temperature: must be between 0 and 2"),
    openai("Unknown parameter: 'foo'. Supported parameters: temperature, top_p, seed"),
    openai("unknown field `foo`, expected one of `model`, `seed`, `temperature`"),
    openai("response_format is not supported", param="response_format", code="unsupported_parameter"),
    openai("tools is not supported"),
    openai("seed: unexpected type string"),
    openai("unsupported value: 'stop' has too many entries"),
    openai("stream_options is only allowed when stream is true"),
    {"detail": [{"type": "string_type", "loc": ["body", "messages"], "input": "seed is not supported", "msg": "no"}]},
    openai("The requested model is not supported."),
    openai("the request was judged to be of high risk"),
    openai("a system message may only stand first"),
    openai("roles must take turns, but message 2 is a second user"),
    openai("unexpected end of the message; stopped"),
    openai("max_tokens_per_seed is not supported"),
    {"detail": [{"type": "less_than_equal", "loc": ["body", "temperature"], "msg": "should be at most 2"}]},
    {"detail": [{"type": "missing", "loc": ["body", "seed"], "msg": "Field required"}]},
    "<html>seed</html>",
    "",
    [],
    None,
    7,
)


def encoded(said: Any) -> bytes:
    return said.encode() if isinstance(said, str) else json.dumps(said).encode()


class RefusedFieldTests(SynchronousTestCase):
    """L{refused_fields}."""

    def test_named(self) -> None:
        """A field that a server refuses by name, in the words of many servers."""
        for field, said in REFUSED:
            for status in (400, 422):
                self.assertEqual((field,), refused_fields(status, encoded(said), SENT), said)

    def test_all_at_once(self) -> None:
        """All fields that stand beside a code are refused together."""
        details = [extra("body", name)["detail"][0] for name in ("seed", "foo", "top_p", "seed")]
        self.assertEqual(("seed", "top_p"), refused_fields(422, encoded({"detail": details}), SENT))

    def test_something_else(self) -> None:
        """A wrong value, an unknown model, another field: nothing of what was sent is refused."""
        for said in NOT_REFUSED:
            self.assertEqual((), refused_fields(400, encoded(said), SENT), said)

    def test_only_what_was_sent(self) -> None:
        """A field that was not sent cannot be left out, and other statuses refuse nothing."""
        said = encoded(openai("Unknown parameter: 'seed'", param="seed", code="unknown_parameter"))
        self.assertEqual((), refused_fields(400, said, frozenset({"top_p"})))
        self.assertEqual((), refused_fields(400, said, frozenset()))
        for status in (401, 404, 429, 500):
            self.assertEqual((), refused_fields(status, said, SENT))

    def test_deep_and_long(self) -> None:
        """A document of any size is looked at for a moment only."""
        deep: Any = "seed is not supported"
        for _ in range(50):
            deep = {"error": deep}
        self.assertEqual((), refused_fields(400, encoded(deep), SENT))
        self.assertEqual((), refused_fields(400, b"unknown " * 8000 + b"seed", SENT))
        self.assertEqual((), refused_fields(400, b"[" * 60_000, SENT))


class LearnedTests(SynchronousTestCase):
    """L{Learned}."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.learned = Learned(self.clock.seconds)

    def test_kept(self) -> None:
        """What is kept is known of that model only, with the setting that says it for good."""
        self.learned.keep("p/m", {"max_completion_tokens": "no such field"})
        self.clock.advance(5)
        self.learned.keep("q/m", {"seed": "what?"})
        self.assertEqual({"max_completion_tokens"}, self.learned.of("p/m"))
        self.assertEqual(frozenset(), self.learned.of("p/n"))
        first, second = self.learned.lessons()
        self.assertEqual(
            ("p/m", 'compat.maxTokensField: "max_tokens"', 0.0), (first.ref, first.setting, first.learned_at_s)
        )
        self.assertEqual(("q/m", None, "what?"), (second.ref, second.setting, second.reason))

    def test_no_limit_at_all(self) -> None:
        """No setting helps a server that knows neither name of the limit."""
        self.learned.keep("p/m", {"max_completion_tokens": "", "max_tokens": "", "store": ""})
        settings = [lesson.setting for lesson in self.learned.lessons()]
        self.assertEqual([None, None, "compat.supportsStore: false"], settings)

    def test_told_once(self) -> None:
        """The log tells of each field once, with the words that refused it and the setting."""
        told: list[str] = []

        def observe(event: LogEvent) -> None:
            told.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        for _ in range(2):
            self.learned.keep("p/m", {"stream_options": "no", "seed": "what?"})
        self.assertEqual(
            [
                "the model p/m does not take stream_options, which is left out from now on: no; to say so for good: "
                "compat.supportsUsageInStreaming: false",
                "the model p/m does not take seed, which is left out from now on: what?",
            ],
            told,
        )

    def test_forgotten(self) -> None:
        """A provider that is configured anew is asked as if nothing was known."""
        self.learned.keep("p/m", {"seed": ""})
        self.learned.keep("pp/m", {"seed": ""})
        self.learned.forget("p")
        self.assertEqual(["pp/m"], [lesson.ref for lesson in self.learned.lessons()])

    def test_bounded(self) -> None:
        """The models that were taught about longest ago are forgotten."""
        for number in range(MAX_MODELS + 5):
            self.learned.keep(f"p/{number}", {"seed": ""})
        self.assertEqual(MAX_MODELS, len(self.learned.lessons()))
        self.assertEqual(frozenset(), self.learned.of("p/4"))
