"""Tests of what is sent by a model's profile: from the configuration to the body."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from openclaw.config.load import parse_config
from openclaw.errors import ConfigError, ProviderAuthFailed
from openclaw.messages import Message, ToolCall
from openclaw.models import BodyForm, ModelProfile, ModelRequest, Sampling
from openclaw.providers.learning import MAX_RESENDS
from openclaw.providers.openai_request import encode_call, headers_of
from openclaw.providers.registry import Catalog
from test.providers.http_fakes import DONE, Upstream, chunk, text

HI = (Message("system", "be good"), Message("user", "hi"))
CALLED = (
    Message("user", "what is it?"),
    Message("assistant", "", (ToolCall("c1", "look", "{}"),), reasoning="I should look"),
    Message("tool", "42", tool_call_id="c1"),
    Message("user", "and now?"),
    Message("assistant", "It is 42."),
    Message("user", "more"),
)


class ProfileTestCase(SynchronousTestCase):
    """Tests with a configuration as it stands on disk."""

    def catalog(self, model: dict[str, Any] | None = None, **provider: Any) -> Catalog:
        document = {
            "models": {
                "providers": {"p": {"baseUrl": "http://h/v1", "models": [{"id": "m", **(model or {})}], **provider}}
            }
        }
        config, _ = parse_config(document, {})
        return Catalog(lambda: config, None, Clock(), None, session_ids=lambda key: f"<{key}>")  # type: ignore[arg-type]

    def profile(self, model: dict[str, Any] | None = None, **provider: Any) -> ModelProfile:
        return self.catalog(model, **provider).resolve("p/m").profile

    def body(
        self, model: dict[str, Any] | None = None, messages: Any = HI, /, provider: Any = None, **sampling: Any
    ) -> dict[str, Any]:
        """The body of a call of a model, without what is always in it."""
        profile = self.profile(model, **(provider or {}))
        request = ModelRequest("m", messages, Sampling(**sampling), profile)
        document: dict[str, Any] = json.loads(encode_call(request).data)
        self.assertEqual(("m", True), (document.pop("model"), document.pop("stream")))
        return document

    def fields(self, model: dict[str, Any] | None = None, /, provider: Any = None, **sampling: Any) -> dict[str, Any]:
        """The same without the messages and the wish for usage."""
        document = self.body(model, provider=provider, **sampling)
        del document["messages"]
        self.assertEqual({"include_usage": True}, document.pop("stream_options"))
        return document

    def refusal(self, model: dict[str, Any] | None = None, **provider: Any) -> list[str]:
        """What is wrong with a configuration, below the provider."""
        error = self.assertRaises(ConfigError, self.catalog, model, **provider)
        return [problem.removeprefix("models.providers.p.") for problem in error.problems]


class BodyTests(ProfileTestCase):
    """Fields beside the messages."""

    def test_limit(self) -> None:
        """C{maxTokensField} names the limit."""
        self.assertEqual({"max_completion_tokens": 9}, self.fields(max_tokens=9))
        self.assertEqual({"max_tokens": 9}, self.fields({"compat": {"maxTokensField": "max_tokens"}}, max_tokens=9))

    def test_flags(self) -> None:
        """Fields that a server does not take are not sent; C{store} is declined where it is known."""
        self.assertNotIn("stream_options", self.body({"compat": {"supportsUsageInStreaming": False}}))
        self.assertEqual({}, self.fields({"compat": {"supportsTemperature": False}}, temperature=1.0))
        self.assertEqual({"store": False}, self.fields({"compat": {"supportsStore": True}}))
        self.assertEqual({}, self.fields({"compat": {"supportsStore": False}, "params": {"store": True}}))

    def test_params(self) -> None:
        """Fields of the provider and the model: the model's win, a client's win over both, objects pass through."""
        provider = {"params": {"a": 1, "b": 1, "temperature": 0.1}}
        model = {"params": {"b": {"c": [1, {"d": None}]}, "maxTokens": 5, "cacheRetention": "long"}}
        expected = {"a": 1, "b": {"c": [1, {"d": None}]}, "temperature": 0.1, "max_completion_tokens": 5}
        self.assertEqual(expected, self.fields(model, provider=provider))
        asked = self.fields(model, provider=provider, temperature=0.9, max_tokens=7)
        self.assertEqual({**expected, "temperature": 0.9, "max_completion_tokens": 7}, asked)

    def test_extra_body(self) -> None:
        """The fields of C{extra_body} win over all others."""
        model = {"params": {"extra_body": {"temperature": 0.3, "x": {"y": 1}}}}
        self.assertEqual({"temperature": 0.3, "x": {"y": 1}}, self.fields(model, temperature=0.9))

    def test_reserved(self) -> None:
        """The model, the messages and the stream cannot be set, wherever that is tried."""
        problems = self.refusal({"params": {"messages": [], "extraBody": {"stream": False}}})
        self.assertEqual(
            {"models.0.params.messages", "models.0.params.extraBody.stream"},
            {problem.partition(":")[0] for problem in problems},
        )
        self.assertIn("params.model: this field of a call is made by the gateway", self.refusal(params={"model": 1})[0])
        self.assertIn("params.extra_body: expected an object", self.refusal(params={"extra_body": 7}))

    def test_routing(self) -> None:
        """What routers are told, and Ollama's window."""
        compat = {"openRouterRouting": {"only": ["a"]}, "vercelGatewayRouting": {"order": ["b"]}}
        self.assertEqual(
            {"provider": {"only": ["a"]}, "providerOptions": {"gateway": {"order": ["b"]}}},
            self.fields({"compat": compat}),
        )
        self.assertEqual(
            {"options": {"num_ctx": 8192, "top_k": 4}},
            self.fields(
                {"contextWindow": 8192, "params": {"options": {"top_k": 4}}},
                provider={"injectNumCtxForOpenAICompat": True},
            ),
        )

    def test_thinking(self) -> None:
        """Each server's own spelling of how much to think; nothing where nobody asks."""
        for spelling, low, off in (
            ("openai", {"reasoning_effort": "low"}, {"reasoning_effort": "none"}),
            ("openrouter", {"reasoning": {"effort": "low"}}, {"reasoning": {"effort": "none"}}),
            (
                "deepseek",
                {"thinking": {"type": "enabled"}, "reasoning_effort": "low"},
                {"thinking": {"type": "disabled"}},
            ),
            ("zai", {"thinking": {"type": "enabled"}}, {"thinking": {"type": "disabled"}}),
            ("together", {"reasoning": {"enabled": True}}, {"reasoning": {"enabled": False}}),
            ("qwen", {"enable_thinking": True}, {"enable_thinking": False}),
            (
                "qwen-chat-template",
                {"chat_template_kwargs": {"enable_thinking": True}},
                {"chat_template_kwargs": {"enable_thinking": False}},
            ),
        ):
            model = {"compat": {"thinkingFormat": spelling}}
            self.assertEqual({}, self.fields(model))
            self.assertEqual(low, self.fields(model, reasoning_effort="low"), spelling)
            self.assertEqual(off, self.fields(model, reasoning_effort="none"), spelling)
        model = {"compat": {"thinkingFormat": "qwen-chat-template"}, "params": {"chat_template_kwargs": {"a": 1}}}
        asked = self.fields(model, reasoning_effort="low")
        self.assertEqual({"chat_template_kwargs": {"enable_thinking": True, "a": 1}}, asked)

    def test_efforts(self) -> None:
        """A word that the server does not know becomes its own word, or the nearest one."""

        def sent(effort: str, model: dict[str, Any] | None = None, **compat: Any) -> Any:
            return self.fields({**(model or {}), "compat": compat}, reasoning_effort=effort).get("reasoning_effort")

        known = {"supportedReasoningEfforts": ["low", "high"]}
        for effort, word in (("low", "low"), ("minimal", "low"), ("medium", "low"), ("xhigh", "high"), ("odd", "odd")):
            self.assertEqual(word, sent(effort, **known))
        self.assertIsNone(sent("none", **known))
        self.assertEqual("none", sent("off", supportedReasoningEfforts=["none", "high"]))
        self.assertEqual("most", sent("xhigh", **known, reasoningEffortMap={"xhigh": "most"}))
        self.assertEqual("less", sent("low", {"thinkingLevelMap": {"low": "less", "high": None}}))
        self.assertIsNone(sent("high", {"thinkingLevelMap": {"low": "less", "high": None}}))
        self.assertIsNone(sent("high", supportsReasoningEffort=False))
        self.assertIn("models.0.thinkingLevelMap.low: expected", self.refusal({"thinkingLevelMap": {"low": 5}})[0])

    def test_left_out(self) -> None:
        """What a server refuses is left out, but nothing that makes the answer another one."""
        sampling = Sampling(max_tokens=9, seed=1, response_format=b'{"type":"json_object"}')
        request = ModelRequest("m", HI, sampling, self.profile())
        call = encode_call(request)
        self.assertEqual({"stream_options", "max_completion_tokens", "seed"}, call.optional)
        without = {"stream_options", "max_completion_tokens", "response_format", "messages", "model", "stream"}
        sent = json.loads(encode_call(request, without).data)
        self.assertEqual({"model", "messages", "stream", "seed", "response_format", "max_tokens"}, set(sent))
        self.assertEqual(9, sent["max_tokens"])
        sent = json.loads(encode_call(request, {"max_tokens", "max_completion_tokens"}).data)
        self.assertFalse({"max_tokens", "max_completion_tokens"} & set(sent))


class MessageTests(ProfileTestCase):
    """The messages."""

    def messages(self, messages: Any, /, reasoning: bool = False, **compat: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.body({"reasoning": reasoning, "compat": compat}, messages)["messages"]
        return found

    def test_developer(self) -> None:
        """Only a model that reasons, whose server is said to know it, gets a developer's message."""
        for reasoning, compat, role in (
            (True, {"supportsDeveloperRole": True}, "developer"),
            (False, {"supportsDeveloperRole": True}, "system"),
            (True, {"supportsDeveloperRole": False}, "system"),
            (True, {}, "system"),
        ):
            self.assertEqual(role, self.messages(HI, reasoning, **compat)[0]["role"])
        request = ModelRequest(
            "m", HI, Sampling(), self.profile({"reasoning": True, "compat": {"supportsDeveloperRole": True}})
        )
        self.assertIn("developer", encode_call(request).optional)
        self.assertIn(b'"role":"system"', encode_call(request, {"developer"}).data)

    def test_reasoning(self) -> None:
        """Reasoning goes back to a model that reasons, or as its server wants it."""
        self.assertNotIn("reasoning_content", str(self.messages(CALLED)))
        _, call, _, _, answer, _ = self.messages(CALLED, reasoning=True)
        self.assertEqual("I should look", call["reasoning_content"])
        self.assertNotIn("reasoning_content", answer)
        always = {"requiresReasoningContentOnAssistantMessages": True}
        self.assertEqual("", self.messages(CALLED, **always)[4]["reasoning_content"])
        as_text = self.messages(CALLED, reasoning=True, requiresThinkingAsText=True)[1]
        self.assertEqual(("I should look", False), (as_text["content"], "reasoning_content" in as_text))
        request = ModelRequest("m", CALLED, Sampling(), self.profile({"reasoning": True}))
        self.assertIn("reasoning_content", encode_call(request).optional)
        self.assertNotIn(b"reasoning_content", encode_call(request, {"reasoning_content"}).data)

    def test_strings(self) -> None:
        """No content is missing where a text is required."""
        self.assertIsNone(self.messages(CALLED)[1]["content"])
        self.assertEqual("", self.messages(CALLED, requiresStringContent=True)[1]["content"])

    def test_strict_keys(self) -> None:
        """Nothing but role and content, roles in turn, and nothing that was said is lost."""
        messages = self.messages(CALLED, reasoning=True, strictMessageKeys=True)
        self.assertEqual([{"role", "content"}] * 5, [set(message) for message in messages])
        self.assertEqual(["user", "assistant", "user", "assistant", "user"], [each["role"] for each in messages])
        self.assertIn("look: {}", messages[1]["content"])
        self.assertEqual("Result of the call: 42\n\nand now?", messages[2]["content"])

    def test_results(self) -> None:
        """A result has its tool's name, and an answer behind it, where a server wants that."""
        messages = self.messages(CALLED, requiresToolResultName=True, requiresAssistantAfterToolResult=True)
        self.assertEqual("look", messages[2]["name"])
        self.assertEqual(["tool", "assistant", "user"], [each["role"] for each in messages[2:5]])


class HeaderTests(ProfileTestCase):
    """The headers of a call."""

    def sent(
        self, model: dict[str, Any] | None = None, *, key: str | None = "k-e-y", **provider: Any
    ) -> dict[str, str]:
        upstream = Upstream(api_key=key, headers={"X-A": "provider", "X-B": "provider"})
        profile = self.profile(model, **provider)
        session_id = None if profile.session_ids is None else profile.session_ids("s")
        upstream.call(ModelRequest("m", HI, Sampling(), profile, session_id))
        return upstream.accept().request()[1]

    def test_model(self) -> None:
        """A model's headers beat the provider's, whatever their case."""
        headers = self.sent({"headers": {"x-a": "model"}})
        self.assertEqual(("model", "provider"), (headers["x-a"], headers["x-b"]))

    def test_hidden(self) -> None:
        """A model's headers are secrets: they are in no error, and a missing variable is told before a call."""
        upstream = Upstream()
        profile = self.profile({"headers": {"x-a": "very-private"}})
        self.assertNotIn("very-private", repr(profile))
        call = upstream.call(ModelRequest("m", HI, Sampling(), profile))
        peer = upstream.accept()
        peer.request()
        peer.answer(400, b'{"error": {"message": "what is very-private?"}}')
        self.assertEqual(
            "the provider mock refused the request: what is ***?", self.failureResultOf(call.done).value.message
        )
        catalog = self.catalog({"headers": {"x-a": "${NOT_SET}"}})
        self.assertIn("NOT_SET", self.assertRaises(ProviderAuthFailed, catalog.resolve, "p/m").message)

    def test_session(self) -> None:
        """The session's name is a header, unless it is not to be told; a configured one beats it."""
        self.assertEqual("<s>", self.sent()["x-session-id"])
        self.assertNotIn("x-session-id", self.sent(sendSessionId=False))
        self.assertNotIn("x-session-id", self.sent({"sendSessionId": False}))
        self.assertEqual("<s>", self.sent({"sendSessionId": True}, sendSessionId=False)["x-session-id"])
        self.assertNotIn("x-session-id", self.sent({"compat": {"sendSessionIdHeader": False}}))
        self.assertEqual("mine", self.sent({"headers": {"x-session-id": "mine"}})["x-session-id"])

    def authorization(self, **provider: Any) -> str | None:
        catalog = self.catalog(None, **provider)
        made = catalog.resolve("p/m").provider
        address = made._address  # type: ignore[attr-defined]
        headers = headers_of(address, ModelRequest("m", HI, Sampling()))
        return next((value for name, value in headers.items() if name.lower() == "authorization"), None)

    def test_auth_header(self) -> None:
        """Where the key goes: a header beats it, C{authHeader: true} beats the header, false sends none."""
        header = {"authorization": "Custom abc"}
        self.assertEqual("Bearer k", self.authorization(apiKey="k"))
        self.assertEqual("Bearer k", self.authorization(apiKey="k", authHeader=True))
        self.assertEqual("Bearer k", self.authorization(apiKey="k", headers=header, authHeader=True))
        self.assertIsNone(self.authorization(apiKey="k", headers={"x-api-key": "k"}, authHeader=False))
        self.assertIsNone(self.authorization(authHeader=False))
        self.assertIn("authHeader: false leaves no place", self.refusal(apiKey="k", authHeader=False)[0])

    def test_refused_at_the_start(self) -> None:
        """What a model would need to answer, and we cannot give, is no setting to start with."""
        self.assertIn("localService: a server cannot be started", self.refusal(localService={"command": "/x"})[0])
        self.assertIn("models.0.compat.thinkingFormat: ", self.refusal({"compat": {"thinkingFormat": "odd"}})[0])
        self.assertIn("models.0.compat.toolSchemaProfile: ", self.refusal({"compat": {"toolSchemaProfile": "x"}})[0])
        self.assertIn('models.0.compat: unknown key "odd"', self.refusal({"compat": {"odd": 1}})[0])


class ResendTests(ProfileTestCase):
    """A call whose optional fields are refused."""

    def setUp(self) -> None:
        self.upstream = Upstream()
        self.request = ModelRequest("m", HI, Sampling(seed=1, max_tokens=9, top_p=0.5, temperature=1.0, stop=("x",)))

    def call(self, *refused: str, message: str = "extra field not permitted: {}", status: int = 422) -> Any:
        """Start a call that is refused for one field after another, over one connection."""
        call = self.upstream.call(self.request)
        self.peer = self.upstream.accept()
        for field in refused:
            self.assertIn(field, json.loads(self.peer.request()[2]))
            self.peer.answer(status, json.dumps({"error": {"message": message.format(field)}}).encode())
            self.upstream.reactor.advance(0)
        return call

    def accept(self) -> tuple[Any, dict[str, Any]]:
        return self.peer, json.loads(self.peer.request()[2])

    def answer(self, call: Any, peer: Any) -> None:
        peer.head()
        peer.events(text("ok"), chunk({}, "stop"))
        peer.chunks(DONE, end=True)
        self.successResultOf(call.done)

    def test_once_more(self) -> None:
        """The field is left out, the call goes on, and the next one does without from the start."""
        call = self.call("max_completion_tokens")
        peer, sent = self.accept()
        self.assertEqual((9, False), (sent["max_tokens"], "max_completion_tokens" in sent))
        self.answer(call, peer)
        next_call = self.upstream.call(self.request)
        peer.request()
        self.upstream.reactor.advance(0)
        self.assertFalse(next_call.done.called)
        learned = self.upstream.provider._learned
        self.assertEqual({"max_completion_tokens"}, learned.of("mock/m"))
        self.assertEqual("extra field not permitted: max_completion_tokens", learned.lessons()[0].reason)

    def test_several(self) -> None:
        """Several fields are refused one after another."""
        fields = ("seed", "top_p", "stop", "temperature", "stream_options", "max_completion_tokens", "max_tokens")
        call = self.call(*fields)
        peer, sent = self.accept()
        self.assertEqual({"model", "messages", "stream"}, set(sent))
        self.answer(call, peer)
        self.assertEqual(len(fields), len(self.upstream.provider._learned.lessons()))

    def test_bound(self) -> None:
        """There is a bound; then what was said first is told, and nothing is remembered."""
        params = {f"odd_{number}": 1 for number in range(20)}
        profile = ModelProfile(body=BodyForm(params=params))
        self.request = ModelRequest("m", HI, Sampling(), profile)
        call = self.call(*list(params)[: MAX_RESENDS + 1])
        error = self.failureResultOf(call.done).value
        self.assertEqual("the provider mock refused the request: extra field not permitted: odd_0", error.message)
        self.assertEqual((), tuple(self.upstream.provider._learned.lessons()))

    def test_other_words(self) -> None:
        """The same refusal in other words is told as it was said first."""
        call = self.call("seed")
        peer, _ = self.accept()
        peer.answer(400, b'{"error": {"message": "seed: no, thanks"}}')
        self.assertEqual(
            "the provider mock refused the request: extra field not permitted: seed",
            self.failureResultOf(call.done).value.message,
        )

    def test_another_error(self) -> None:
        """What the server says next about something else is told; the field is not remembered."""
        call = self.call("seed")
        peer, _ = self.accept()
        peer.answer(400, b'{"error": {"message": "of high risk"}}')
        self.assertEqual(
            "the provider mock refused the request: of high risk", self.failureResultOf(call.done).value.message
        )
        self.assertEqual(frozenset(), self.upstream.provider._learned.of("mock/m"))

    def test_closed_between(self) -> None:
        """A call that is closed while it is sent again ends."""
        call = self.call("seed")
        call.stream.close()
        self.upstream.reactor.advance(0)
        self.assertIn("was closed", self.failureResultOf(call.done).value.message)

    def test_values(self) -> None:
        """A wrong value is the client's: the call is sent once."""
        call = self.call("temperature", message="{} must be below 2", status=400)
        self.assertEqual(
            "the provider mock refused the request: temperature must be below 2",
            self.failureResultOf(call.done).value.message,
        )
