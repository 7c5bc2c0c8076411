"""Tests for L{openclaw.http.openai.chat}: streamed answers, and clients that leave."""

from __future__ import annotations

from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred

from openclaw.errors import ProviderAuthFailed, ProviderFailed, ProviderTimeout
from openclaw.events import ProviderFinished, ProviderUsage, ReasoningDelta, TextDelta, ToolCallDelta
from openclaw.http.openai import chat_view
from openclaw.messages import Usage
from openclaw.sharing.recent import KEPT_S
from test.gateway import START_S
from test.http.support import Answer, Client, GatewayTestCase, make_config

STOP = ProviderFinished("stop")
USAGE = ProviderUsage(Usage(10, 5, 4, 2))


class StreamTestCase(GatewayTestCase):
    def begin(self, *headers: str, **body: Any) -> Client:
        """A streamed request whose model is fed by hand."""
        client = self.connect()
        client.chat(*headers, stream=True, **body)
        self.tick()
        return client

    def push(self, *events: Any) -> None:
        self.stream.push(*events)
        self.tick()

    def end(self, *events: Any) -> None:
        if events:
            self.stream.push(*events)
        self.stream.end()
        self.tick()


class StreamTests(StreamTestCase):
    def whole(self, client: Client) -> Answer:
        answer = client.answer()
        self.assertTrue(answer.whole)
        self.assertEqual(answer.events.count("[DONE]"), 1)
        self.assertEqual(answer.events[-1], "[DONE]")
        self.assertTrue(answer.body.endswith(b"data: [DONE]\n\n"))
        return answer

    def test_shape(self) -> None:
        client = self.begin(model="openclaw/default")
        self.assertEqual(client.output, b"")
        self.push(TextDelta("hel"))
        self.end(TextDelta("lo"), STOP, USAGE)
        answer = self.whole(client)
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.headers["content-type"], "text/event-stream; charset=utf-8")
        self.assertEqual(answer.headers["cache-control"], "no-cache, no-transform")
        self.assertEqual(answer.headers["x-accel-buffering"], "no")
        self.assertEqual(answer.headers["transfer-encoding"], "chunked")
        self.assertNotIn("content-length", answer.headers)
        self.assertNotIn("content-encoding", answer.headers)
        self.assertIn("provider-first-byte", answer.headers["server-timing"])
        *chunks, _ = answer.events
        for chunk in chunks:
            self.assertEqual(
                {name: chunk[name] for name in ("id", "object", "created", "model")},
                {
                    "id": answer.headers["x-openclaw-run-id"],
                    "object": "chat.completion.chunk",
                    "created": int(START_S),
                    "model": "openclaw/default",
                },
            )
            self.assertEqual(set(chunk), {"id", "object", "created", "model", "choices"})
        self.assertEqual(
            [chunk["choices"] for chunk in chunks],
            [
                [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}]
                for delta, reason in (
                    ({"role": "assistant", "content": ""}, None),
                    ({"content": "hel"}, None),
                    ({"content": "lo"}, None),
                    ({}, "stop"),
                )
            ],
        )

    def test_include_usage(self) -> None:
        client = self.begin(stream_options={"include_usage": True})
        self.end(TextDelta("x"), STOP, USAGE)
        *chunks, last, _ = self.whole(client).events
        self.assertTrue(all(chunk["usage"] is None for chunk in chunks))
        self.assertEqual(last["choices"], [])
        self.assertEqual(last["usage"]["total_tokens"], 15)

    def test_one_write_per_batch(self) -> None:
        client = self.begin()
        self.push(TextDelta("a"))
        before = len(client.transport.writes)
        self.push(TextDelta("b"), TextDelta("c"), TextDelta("d"))
        self.assertEqual(len(client.transport.writes), before + 1)
        self.assertEqual(len(client.answer().events), 5)

    def test_tool_calls(self) -> None:
        client = self.begin()
        self.push(TextDelta("see"), ToolCallDelta(0, "call_1", "f", ""))
        self.push(ToolCallDelta(0, None, None, '{"a":'), ToolCallDelta(0, None, None, '"\u2028"}'))
        self.end(ProviderFinished("tool_calls"))
        answer = self.whole(client)
        deltas = [chunk["choices"][0]["delta"] for chunk in answer.events[:-1]]
        self.assertEqual(
            [delta["tool_calls"] for delta in deltas if "tool_calls" in delta],
            [
                [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}],
                [{"index": 0, "function": {"arguments": '{"a":'}}],
                [{"index": 0, "function": {"arguments": '"\u2028"}'}}],
            ],
        )
        self.assertEqual(len(answer.body.decode().splitlines()), answer.body.count(b"\n"))
        self.assertEqual(answer.events[-2]["choices"][0]["finish_reason"], "tool_calls")

    def test_reasoning(self) -> None:
        for shown in (False, True):
            self.config = make_config(reasoning=shown)
            client = self.begin()
            self.push(ReasoningDelta("hm\u2029"))
            self.assertEqual(client.answer().status, 200)
            self.end(TextDelta("x"), STOP)
            deltas = [chunk["choices"][0]["delta"] for chunk in self.whole(client).events[:-1]]
            shown_deltas = [delta["reasoning_content"] for delta in deltas if "reasoning_content" in delta]
            self.assertEqual(shown_deltas, ["hm\u2029"] if shown else [])

    def test_hidden_reasoning_writes_nothing(self) -> None:
        client = self.begin()
        self.push(TextDelta("x"))
        before = client.output
        self.push(ReasoningDelta("hm"))
        self.assertEqual(client.output, before)

    def test_text_cannot_forge_an_event(self) -> None:
        nasty = '\n\ndata: [DONE]\n\n\r\rdata: x\x85data\u2028data: [DONE]\u2029\x00\x1e\x0b"\\'
        client = self.begin(model=f"\u2028openclaw{chr(0x85)}")
        self.end(TextDelta(nasty), STOP)
        answer = self.whole(client)
        self.assertEqual(len(answer.events), 4)
        self.assertEqual(answer.events[1]["choices"][0]["delta"]["content"], nasty)
        self.assertEqual(answer.events[1]["model"], "\u2028openclaw\x85")
        # Not even for a client that takes any of Unicode's line ends for one.
        lines = [line for line in answer.body.decode().splitlines() if line]
        self.assertEqual(len(lines), 4)
        self.assertTrue(all(line.startswith("data: ") for line in lines))

    def test_empty_answer(self) -> None:
        client = self.begin()
        self.end(STOP)
        chunks = self.whole(client).events[:-1]
        self.assertEqual([chunk["choices"][0]["delta"] for chunk in chunks], [{"role": "assistant", "content": ""}, {}])

    def test_head_after_a_second(self) -> None:
        client = self.begin()
        self.clock.advance(0.9)
        self.assertEqual(client.output, b"")
        self.clock.advance(0.2)
        answer = client.answer()
        self.assertEqual(answer.events[0]["choices"][0]["delta"], {"role": "assistant", "content": ""})
        self.assertEqual(answer.headers["server-timing"].count("dur"), 2)
        self.end(TextDelta("x"), STOP)
        roles = [chunk for chunk in self.whole(client).events[:-1] if "role" in chunk["choices"][0]["delta"]]
        self.assertEqual(len(roles), 1)

    def test_head_after_a_second_in_the_queue(self) -> None:
        first = self.begin("x-openclaw-session-key: s")
        first_stream = self.stream
        second = self.begin("x-openclaw-session-key: s")
        self.assertEqual(self.runs.waiting, 1)
        self.wait(1.5)
        self.assertEqual(second.answer().status, 200)
        self.assertNotIn("server-timing", second.answer().headers)
        first_stream.push(TextDelta("x"), STOP)
        first_stream.end()
        self.tick()
        self.end(TextDelta("y"), STOP)
        self.whole(first)
        self.assertEqual(self.whole(second).events[1]["choices"][0]["delta"]["content"], "y")

    def test_error_before_the_head(self) -> None:
        client = self.begin("x-openclaw-session-key: k")
        self.stream.fail(ProviderAuthFailed("no"))
        self.tick()
        answer = client.answer()
        self.assertEqual((answer.status, answer.error["code"]), (424, "provider_auth_failed"))
        self.assertEqual(answer.headers["content-type"], "application/json; charset=utf-8")
        self.assertEqual(answer.headers["x-openclaw-session-key"], "agent:main:k")
        self.assertEqual(answer.headers["x-should-retry"], "false")
        self.wait(20)
        self.assertEqual(len(client.answers()), 1)

    def test_error_after_the_head(self) -> None:
        client = self.begin()
        self.push(TextDelta("x"))
        self.stream.fail(ProviderFailed("gone\u2028data: [DONE]"))
        self.tick()
        *chunks, error, _ = self.whole(client).events
        self.assertEqual(error["error"]["code"], "provider_error")
        self.assertEqual(set(error["error"]), {"message", "type", "param", "code"})
        self.assertTrue(all(chunk["choices"][0]["finish_reason"] is None for chunk in chunks))
        self.assertNotIn("\u2028", client.answer().body.decode())

    def test_error_after_the_late_head(self) -> None:
        client = self.begin()
        self.wait(1.5)
        self.stream.fail(ProviderTimeout("silent"))
        self.tick()
        self.assertEqual(self.whole(client).events[1]["error"]["code"], "timeout")

    def test_refused_after_the_late_head(self) -> None:
        # It waits for its session; the gateway stops meanwhile.
        first = self.begin("x-openclaw-session-key: s")
        second = self.begin("x-openclaw-session-key: s")
        self.wait(1.5)
        stopping = Deferred.fromCoroutine(self.runs.stop(0))
        self.wait(1)
        self.successResultOf(stopping)
        for client in (first, second):
            self.assertEqual(self.whole(client).events[1]["error"]["code"], "draining")

    def test_connection_serves_on(self) -> None:
        client = self.begin()
        self.end(TextDelta("x"), STOP)
        client.chat(stream=True)
        self.tick()
        self.end(TextDelta("y"), STOP)
        self.assertEqual([answer.status for answer in client.answers()], [200, 200])
        client.leave()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.problems, [])

    def test_bug_after_the_head(self) -> None:
        client = self.begin("X-Request-Id: abc")
        self.push(TextDelta("x"))
        self.patch(chat_view.ChatStream, "send", mock.Mock(side_effect=ZeroDivisionError("secret detail")))
        self.push(TextDelta("y"))
        *_, error, _ = self.whole(client).events
        self.assertEqual(error["error"]["message"], "internal error")
        self.assertEqual((error["error"]["type"], error["error"]["code"]), ("api_error", "internal_error"))
        self.assertNotIn(b"secret detail", client.output)
        self.assertTrue(self.stream.aborted)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual([event["request_id"] for event in self.problems], ["abc"])
        self.tick()
        self.assertEqual(self.runs.live, [])
        client.leave()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_bug_amid_the_head(self) -> None:
        client = self.begin()
        self.patch(chat_view.EventStream, "write", mock.Mock(side_effect=ZeroDivisionError))
        self.push(TextDelta("x"))
        # Nothing is out yet, so the answer has a status of its own.
        answer = client.answer()
        self.assertEqual((answer.status, answer.error["code"]), (500, "internal_error"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_bug_in_telling_of_a_bug_cuts_the_connection(self) -> None:
        client = self.begin()
        self.push(TextDelta("x"))
        self.patch(chat_view, "encode_line", None)
        self.push(TextDelta("y"))
        self.assertTrue(client.transport.aborted)
        self.assertTrue(self.stream.aborted)
        self.assertFalse(client.answer().whole)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 2)

    def test_bug_before_the_head(self) -> None:
        self.patch(chat_view, "run_headers", None)
        client = self.begin()
        self.push(TextDelta("x"))
        answer = client.answer()
        self.assertEqual((answer.status, answer.error["message"]), (500, "internal error"))
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        self.assertTrue(self.stream.aborted)


class DisconnectTests(StreamTestCase):
    """A client that leaves ends its run and the provider's stream at once, whatever the run is doing."""

    def gone(self, client: Client) -> None:
        client.leave()
        self.tick()
        self.assertEqual(self.runs.live, [])
        self.assertEqual(self.runs.waiting, 0)
        # The run may be remembered for a retry of its client.
        soon = [call for call in self.clock.getDelayedCalls() if call.getTime() < self.clock.seconds() + KEPT_S]
        self.assertEqual(soon, [])
        self.assertEqual(self.problems, [])

    def test_queued(self) -> None:
        for stream in (False, True):
            first = self.begin("x-openclaw-session-key: s")
            second = self.connect()
            second.chat("x-openclaw-session-key: s", stream=stream)
            self.tick()
            self.assertEqual(self.runs.waiting, 1)
            calls = len(self.provider.requests)
            second.leave()
            self.tick()
            self.assertEqual(self.runs.waiting, 0)
            self.assertFalse(self.stream.closed)
            self.gone(first)
            self.assertEqual(len(self.provider.requests), calls)

    def test_before_the_providers_head(self) -> None:
        self.provider.hold_head = True
        for stream in (False, True):
            client = self.connect()
            client.chat(stream=stream)
            self.tick()
            self.assertTrue(self.stream.waiting)
            client.leave()
            self.assertTrue(self.stream.aborted)
            self.gone(client)

    def test_mid_stream(self) -> None:
        client = self.begin()
        self.push(TextDelta("x"))
        client.leave()
        self.assertTrue(self.stream.aborted)
        self.gone(client)

    def test_mid_stream_while_not_reading(self) -> None:
        client = self.begin()
        self.push(TextDelta("x"))
        client.transport.stop_reading()
        for _ in range(10):
            self.push(TextDelta("y"))
        self.assertGreater(self.stream.pending, 0)
        client.leave()
        self.assertTrue(self.stream.aborted)
        self.gone(client)

    def test_not_streaming(self) -> None:
        client = self.connect()
        client.chat()
        self.tick()
        self.push(TextDelta("x"))
        client.leave()
        self.assertTrue(self.stream.aborted)
        self.gone(client)
        self.assertEqual(client.output, b"")

    def test_after_the_late_head(self) -> None:
        client = self.begin()
        self.wait(2)
        self.gone(client)
        self.assertTrue(self.stream.aborted)
