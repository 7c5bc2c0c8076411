"""Tests for L{openclaw.http.openai.chat} and what a client sees of a run."""

from __future__ import annotations

from unittest import mock

from openclaw.agents import plan as plan_module
from openclaw.config.agents import AgentDefaults, ModelChoice
from openclaw.config.gateway import AuthConfig
from openclaw.errors import ProviderAuthFailed, ProviderFailed, ProviderRateLimited
from openclaw.events import ProviderFinished, ProviderUsage, ReasoningDelta, TextDelta, ToolCallDelta
from openclaw.messages import Message, ToolCall, Usage
from openclaw.records import SessionQuery
from test.gateway import START_S
from test.http.support import GatewayTestCase, make_config

STOP = ProviderFinished("stop")
USAGE = ProviderUsage(Usage(10, 5, 4, 2))


class WholeTests(GatewayTestCase):
    """Answers that are not streamed."""

    def test_shape(self) -> None:
        self.provider.enqueue([TextDelta(" hel")], [TextDelta("lo\n"), STOP, USAGE])
        answer = self.ask_chat(model="openclaw/main")
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.headers["content-type"], "application/json; charset=utf-8")
        self.assertTrue(answer.body.endswith(b"}\n"))
        body = answer.json
        self.assertRegex(body.pop("id"), "^chatcmpl_[0-9a-f-]{36}$")
        self.assertEqual(
            body,
            {
                "object": "chat.completion",
                "created": int(START_S),
                "model": "openclaw/main",
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": "hello"},
                        "logprobs": None,
                        "finish_reason": "stop",
                    }
                ],
                "usage": {
                    "prompt_tokens": 10,
                    "completion_tokens": 5,
                    "total_tokens": 15,
                    "prompt_tokens_details": {"cached_tokens": 4},
                    "completion_tokens_details": {"reasoning_tokens": 2},
                },
            },
        )

    def test_run_headers(self) -> None:
        self.provider.enqueue_text("hello")
        answer = self.ask_chat("x-openclaw-session-key: Mine")
        self.assertEqual(answer.headers["x-openclaw-run-id"], answer.json["id"])
        self.assertEqual(answer.headers["x-openclaw-session-key"], "agent:main:Mine")
        timing = r"^prepare;dur=\d+\.\d, queue;dur=\d+\.\d, provider-first-byte;dur=\d+\.\d$"
        self.assertRegex(answer.headers["server-timing"], timing)

    def test_fresh_session_is_named_after_the_run(self) -> None:
        self.provider.enqueue_text("hello")
        answer = self.ask_chat()
        uuid = answer.json["id"].removeprefix("chatcmpl_")
        self.assertEqual(answer.headers["x-openclaw-session-key"], f"agent:main:openai:{uuid}")

    def test_resolved_once(self) -> None:
        for stream in (False, True):
            self.provider.enqueue_text("hello")
            with mock.patch.object(plan_module, "resolve", wraps=plan_module.resolve) as resolve:
                self.assertEqual(self.ask_chat(stream=stream).status, 200)
            self.assertEqual(resolve.call_count, 1)

    def test_side_call(self) -> None:
        """What a user interface names as its own question is in no session, whatever else names one."""
        chat = "X-OpenWebUI-Chat-Id: c"
        task = "X-OpenWebUI-Task: title_generation"
        for names in ((chat,), ("x-openclaw-session-key: agent:main:openai-chat:c",), ()):
            self.provider.enqueue_text("title")
            answer = self.ask_chat(task, *names, user="u", metadata={"session_id": "m"}, store=True)
            self.assertRegex(answer.headers["x-openclaw-session-key"], "^agent:main:openai:")
        self.assertEqual((), self.successResultOf(self.store.sessions(SessionQuery())).rows)
        self.provider.enqueue_text("hello")
        answer = self.ask_chat("X-OpenWebUI-Task:  ", chat)
        self.assertEqual("agent:main:openai-chat:c", answer.headers["x-openclaw-session-key"])

    def test_chats_that_are_not_to_be_kept(self) -> None:
        for name, key in (
            ("X-OpenWebUI-Chat-Id: temporary:ff_14", "openai:"),
            ("X-OpenWebUI-Chat-Id: local:1", "openai:"),
            ("X-Conversation-Id: temporary:1", "openai:"),
            ("X-OpenWebUI-Chat-Id: channel:1", "openai-chat:channel:1"),
            ("X-OpenWebUI-Chat-Id: my temporary:1", "openai-chat:my temporary:1"),
        ):
            self.provider.enqueue_text("hello")
            answer = self.ask_chat(name)
            self.assertTrue(answer.headers["x-openclaw-session-key"].startswith(f"agent:main:{key}"), answer.headers)
        sessions = self.successResultOf(self.store.sessions(SessionQuery())).rows
        self.assertEqual(2, len(sessions))

    def test_tools_tell_a_turn_from_a_side_call(self) -> None:
        task = [{"role": "user", "content": "### Task: mine"}]
        for tools, is_turn in (([], False), (None, False), ([{"type": "function"}], True)):
            self.provider.enqueue_text("hello")
            answer = self.ask_chat(f"X-OpenWebUI-Chat-Id: {tools}", messages=task, tools=tools)
            key = answer.headers["x-openclaw-session-key"]
            self.assertEqual(is_turn, bool(self.successResultOf(self.store.branch(key))), tools)

    def test_a_retry_is_one_attempt(self) -> None:
        self.provider.enqueue(ProviderFailed("no"))
        answer = self.ask_chat("x-stainless-retry-count: 2")
        self.assertEqual((502, "false"), (answer.status, answer.headers["x-should-retry"]))
        self.assertEqual(1, len(self.provider.requests))

    def test_model_is_echoed(self) -> None:
        for sent, echoed in (
            (" openclaw ", " openclaw "),
            ("", "openclaw"),
            (None, "openclaw"),
            ("Agent:MAIN", "Agent:MAIN"),
        ):
            self.provider.enqueue_text("hello")
            self.assertEqual(self.ask_chat(model=sent).json["model"], echoed)

    def test_empty_answer(self) -> None:
        self.provider.enqueue([STOP])
        choice = self.ask_chat().json["choices"][0]
        self.assertEqual(choice["message"], {"role": "assistant", "content": ""})

    def test_estimated_usage(self) -> None:
        self.provider.enqueue_text("hello")
        usage = self.ask_chat().json["usage"]
        self.assertIs(usage["estimated"], True)
        self.assertEqual(usage["completion_tokens"], 2)
        self.assertEqual(usage["total_tokens"], usage["prompt_tokens"] + 2)
        self.assertNotIn("prompt_tokens_details", usage)

    def test_finish_reasons(self) -> None:
        for reason in ("stop", "length", "content_filter"):
            self.provider.enqueue([TextDelta("x"), ProviderFinished(reason)])
            self.assertEqual(self.ask_chat().json["choices"][0]["finish_reason"], reason)

    def test_tool_calls(self) -> None:
        self.provider.enqueue(
            [ToolCallDelta(1, "b", "second", "")],
            [ToolCallDelta(0, "a", "first", '{"x"')],
            [ToolCallDelta(0, None, None, ":1}"), ProviderFinished("tool_calls")],
        )
        choice = self.ask_chat().json["choices"][0]
        self.assertEqual(choice["finish_reason"], "tool_calls")
        self.assertIsNone(choice["message"]["content"])
        self.assertEqual(
            choice["message"]["tool_calls"],
            [
                {"id": "a", "type": "function", "function": {"name": "first", "arguments": '{"x":1}'}},
                {"id": "b", "type": "function", "function": {"name": "second", "arguments": ""}},
            ],
        )

    def test_text_beside_a_call_is_kept(self) -> None:
        self.provider.enqueue([TextDelta("look"), ToolCallDelta(0, "a", "f", "{}"), ProviderFinished("tool_calls")])
        self.assertEqual(self.ask_chat().json["choices"][0]["message"]["content"], "look")

    def test_reasoning(self) -> None:
        for shown in (False, True):
            self.config = make_config(reasoning=shown)
            self.provider.enqueue([ReasoningDelta("hm"), ReasoningDelta("m")], [TextDelta("x"), STOP])
            message = self.ask_chat().json["choices"][0]["message"]
            self.assertEqual(message.get("reasoning_content"), "hmm" if shown else None)

    def test_failure_without_output(self) -> None:
        self.provider.enqueue(ProviderAuthFailed("the provider refused the key"))
        answer = self.ask_chat("x-openclaw-session-key: k")
        self.assertEqual((answer.status, answer.error["code"]), (424, "provider_auth_failed"))
        self.assertEqual(answer.headers["x-should-retry"], "false")
        self.assertIn("x-openclaw-run-id", answer.headers)

    def test_failure_after_output_is_not_to_be_retried(self) -> None:
        self.provider.enqueue([TextDelta("x")], ProviderFailed("gone"))
        answer = self.ask_chat()
        self.assertEqual((answer.status, answer.error["code"]), (502, "provider_error"))
        self.assertEqual(answer.headers["x-should-retry"], "false")

    def test_rate_limit_may_be_retried(self) -> None:
        self.provider.enqueue(ProviderRateLimited("slow down", retry_after_s=17.2))
        answer = self.ask_chat()
        self.assertEqual((answer.status, answer.error["code"]), (429, "rate_limit_exceeded"))
        self.assertEqual(answer.headers["retry-after"], "18")
        self.assertNotIn("x-should-retry", answer.headers)

    def test_refused_before_the_run(self) -> None:
        for headers, body, param in (
            ((), {"model": "gpt-4"}, "model"),
            (("x-openclaw-agent-id: nobody",), {}, "x-openclaw-agent-id"),
            (("x-openclaw-session-key: subagent:x",), {}, "x-openclaw-session-key"),
            (("x-openclaw-session-key: a", "x-openclaw-session-key: b"), {}, "x-openclaw-session-key"),
            (("x-openclaw-session-key: \xff",), {}, "x-openclaw-session-key"),
            (("x-openclaw-message-channel: two words",), {}, "x-openclaw-message-channel"),
            (("X-Conversation-Id: " + "x" * 600,), {}, "X-Conversation-Id"),
            ((), {"user": "a\nb"}, "user"),
            ((), {"metadata": {"session_id": "a\nb"}}, "metadata.session_id"),
        ):
            answer = self.ask_chat(*headers, **body)
            self.assertEqual((answer.status, answer.error["param"]), (400, param))
            self.assertNotIn("x-openclaw-run-id", answer.headers)
        self.assertEqual(self.provider.requests, [])

    def test_an_empty_session_id_is_none(self) -> None:
        self.provider.enqueue_text("x")
        answer = self.ask_chat(metadata={"session_id": ""})
        self.assertEqual(200, answer.status)
        self.assertIn(":openai:", answer.headers["x-openclaw-session-key"])

    def test_what_reaches_the_model(self) -> None:
        self.provider.enqueue_text("x")
        self.ask_chat(
            messages=[
                {"role": "developer", "content": "be brief"},
                {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "input_text", "text": "b"}]},
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"id": name, "function": {"name": "f"}} for name in "cf"],
                },
                {"role": "tool", "tool_call_id": "c", "content": "r"},
                {"role": "function", "name": "f", "content": "s"},
            ],
            temperature=0.5,
            max_tokens=5,
            max_completion_tokens=7,
            stop="end",
            response_format={"type": "json_object"},
        )
        (request,) = self.provider.requests
        self.assertIn("be brief", request.messages[0].text)
        self.assertEqual(
            list(request.messages[1:]),
            [
                Message("user", "a\nb"),
                Message("assistant", "", tool_calls=(ToolCall("c", "f", ""), ToolCall("f", "f", ""))),
                Message("tool", "r", tool_call_id="c"),
                Message("tool", "s", tool_call_id="f"),
            ],
        )
        sampling = request.sampling
        self.assertEqual((sampling.temperature, sampling.max_tokens, sampling.stop), (0.5, 7, ("end",)))
        self.assertEqual(sampling.response_format, b'{"type": "json_object"}')

    def test_selection(self) -> None:
        for headers, body, key in (
            (("X-Conversation-Id: c", "X-OpenWebUI-Chat-Id: w"), {"user": "u"}, "agent:main:openai-chat:w"),
            (("X-Conversation-Id: c",), {"user": "u"}, "agent:main:openai-chat:c"),
            (("X-OpenWebUI-Chat-Id: ", "X-Conversation-Id: c"), {}, "agent:main:openai-chat:c"),
            ((), {"metadata": {"session_id": "s", "x": 1}, "user": "u"}, "agent:main:openai-chat:s"),
            ((), {"user": " Übel "}, "agent:main:openai-user:Übel"),
        ):
            self.provider.enqueue_text("x")
            answer = self.ask_chat(*headers, **body)
            self.assertEqual(answer.headers["x-openclaw-session-key"].encode("latin-1").decode(), key)

    def test_override_needs_admin(self) -> None:
        self.provider.enqueue_text("x")
        self.assertEqual(self.ask_chat("x-openclaw-model: scripted/other").status, 200)
        self.assertEqual(self.provider.requests[0].model, "other")
        self.config = make_config(auth=AuthConfig(mode="none"))
        answer = self.ask_chat("x-openclaw-model: scripted/other", "x-openclaw-scopes: operator.write")
        self.assertEqual((answer.status, answer.error["details"]["missingScope"]), (403, "operator.admin"))

    def test_draining(self) -> None:
        self.runs.drain()
        for stream in (False, True):
            answer = self.ask_chat(stream=stream)
            self.assertEqual((answer.status, answer.error["code"]), (503, "draining"))
            self.assertIn("retry-after", answer.headers)

    def test_queue_is_full(self) -> None:
        self.config = make_config(defaults=AgentDefaults(ModelChoice("scripted/m"), max_concurrent=1, max_queued=0))
        self.connect().chat()
        for stream in (False, True):
            answer = self.ask_chat(stream=stream)
            self.assertEqual((answer.status, answer.error["code"]), (503, "overloaded"))
            self.assertEqual(answer.headers["retry-after"], "2")
