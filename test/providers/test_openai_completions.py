"""Tests of L{openclaw.providers.openai_completions}, over the real HTTP client in memory."""

from __future__ import annotations

import base64
import json
from typing import Any

import attrs
from treq.testing import StringStubbingResource, StubTreq
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost, ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from openclaw.errors import (
    ContextTooLong,
    LastingProviderFailure,
    ProviderAuthFailed,
    ProviderFailed,
    ProviderOverloaded,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    TransientProviderTimeout,
)
from openclaw.events import ProviderFinished, ProviderUsage, ReasoningDelta, TextDelta, ToolCallDelta
from openclaw.messages import Message, ToolCall, Usage
from openclaw.models import ModelRequest, Sampling
from openclaw.providers.openai_completions import OpenAICompletionsProvider
from openclaw.providers.openai_request import Endpoint, encode_call
from openclaw.providers.sse import MAX_EVENT_BYTES
from test.providers.http_fakes import DONE, REQUEST, Call, Peer, Upstream, chunk, event, text, usage

FINISHED = ProviderFinished("stop")
COST = ProviderUsage(Usage(10, 3))


class RequestTests(SynchronousTestCase):
    def encoded(self, *messages: Message, **sampling: Any) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(encode_call(ModelRequest("m/x", messages, Sampling(**sampling))).data)
        return document

    def test_least(self) -> None:
        """Settings that are not set are not sent; the answer is always asked for as a stream with usage."""
        self.assertEqual(
            {
                "model": "m/x",
                "messages": [{"role": "user", "content": "hi"}],
                "stream": True,
                "stream_options": {"include_usage": True},
            },
            self.encoded(Message("user", "hi")),
        )

    def test_messages(self) -> None:
        """Every role keeps its shape."""
        calls = (ToolCall("c1", "f", '{"a": 1}'), ToolCall("c2", "g", "broken"))
        messages = self.encoded(
            Message("system", "be \u00e4"),
            Message("user", "hi"),
            Message("assistant", "", calls),
            Message("assistant", "look", calls[:1]),
            Message("tool", "42", tool_call_id="c1"),
            Message("tool", ""),
            Message("assistant", ""),
        )["messages"]
        wire = [
            {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
            {"id": "c2", "type": "function", "function": {"name": "g", "arguments": "broken"}},
        ]
        self.assertEqual(
            [
                {"role": "system", "content": "be \u00e4"},
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": None, "tool_calls": wire},
                {"role": "assistant", "content": "look", "tool_calls": wire[:1]},
                {"role": "tool", "tool_call_id": "c1", "content": "42"},
                {"role": "tool", "tool_call_id": "", "content": ""},
                {"role": "assistant", "content": ""},
            ],
            messages,
        )

    def test_sampling(self) -> None:
        """All settings are sent under their names, zeros too, and the raw format as it is."""
        sent = self.encoded(
            temperature=0.0,
            top_p=0.5,
            frequency_penalty=0.0,
            presence_penalty=-1.0,
            seed=0,
            stop=("a", "b"),
            max_tokens=7,
            response_format=b'{"type": "json_object", "x": 1.50}',
            reasoning_effort="low",
        )
        for name in ("model", "messages", "stream", "stream_options"):
            del sent[name]
        self.assertEqual(
            {
                "temperature": 0.0,
                "top_p": 0.5,
                "frequency_penalty": 0.0,
                "presence_penalty": -1.0,
                "seed": 0,
                "stop": ["a", "b"],
                "max_completion_tokens": 7,
                "response_format": {"type": "json_object", "x": 1.5},
                "reasoning_effort": "low",
            },
            sent,
        )

    def test_raw_bytes(self) -> None:
        """The response format is not even spelt anew."""
        raw = b'{ "type":"json_schema" , "n": 1e0 }'
        self.assertIn(raw, encode_call(ModelRequest("m", (), Sampling(response_format=raw))).data)


class EndpointTests(SynchronousTestCase):
    def sent(self, **endpoint: Any) -> tuple[bytes, dict[str, str]]:
        upstream = Upstream(**endpoint)
        upstream.call()
        first, headers, _ = upstream.accept().request()
        return first, headers

    def test_path_and_headers(self) -> None:
        """The call is posted below the base URL with the key as bearer token."""
        first, headers = self.sent()
        self.assertEqual(b"POST /v1/chat/completions HTTP/1.1", first)
        self.assertEqual("Bearer sk-very-secret", headers["authorization"])
        self.assertEqual("application/json", headers["content-type"])
        self.assertEqual("text/event-stream", headers["accept"])
        self.assertRegex(headers["user-agent"], "^openclaw/")
        self.assertEqual(
            {"host", "connection", "content-length", "content-type", "accept", "accept-encoding", "user-agent"}
            | {"authorization"},
            set(headers) | {"connection"},
        )

    def test_base_urls(self) -> None:
        """A slash at the end, no path, and a query are all understood."""
        for url, target in (
            ("http://127.0.0.1:8000/v1/", b"/v1/chat/completions"),
            ("http://127.0.0.1:8000", b"/chat/completions"),
            ("http://127.0.0.1:8000/a/b?api-version=1", b"/a/b/chat/completions?api-version=1"),
            ("http://[::1]:8000/v1", b"/v1/chat/completions"),
        ):
            self.assertEqual(b"POST %s HTTP/1.1" % target, self.sent(base_url=url)[0])

    def test_without_key(self) -> None:
        """Without a key there is no Authorization."""
        self.assertNotIn("authorization", self.sent(api_key=None)[1])

    def test_user_and_password(self) -> None:
        """A user and password in the URL are sent as basic authentication, unless there is a key."""
        url = "http://joe:p%40ss@127.0.0.1:8000/v1"
        wanted = "Basic " + base64.b64encode(b"joe:p@ss").decode()
        _, headers = self.sent(base_url=url, api_key=None)
        self.assertEqual((wanted, "127.0.0.1:8000"), (headers["authorization"], headers["host"]))
        self.assertEqual("Bearer k", self.sent(base_url=url, api_key="k")[1]["authorization"])

    def test_headers(self) -> None:
        """Configured headers beat ours, whatever their case."""
        _, headers = self.sent(headers={"X-A": "1", "authorization": "Token x"})
        self.assertEqual(("1", "Token x"), (headers["x-a"], headers["authorization"]))

    def test_unusable(self) -> None:
        """A base URL that is none is told when a call is tried."""
        for url in ("nonsense", "ftp://x/", "http://", "http://h:port/", "http://a..b/"):
            call = Upstream(base_url=url).call()
            error = self.failureResultOf(call.done, LastingProviderFailure).value
            self.assertEqual("the baseUrl of the provider mock cannot be used", error.message)

    def test_secrets_are_hidden(self) -> None:
        """No secret shows in the representation of an endpoint."""
        shown = repr(Upstream(base_url="http://a:pass@127.0.0.1/", headers={"x": "hidden"}).endpoint)
        for secret in ("sk-very-secret", "pass", "hidden"):
            self.assertNotIn(secret, shown)


class AnswerTests(SynchronousTestCase):
    def test_batches(self) -> None:
        """One read of the network is one batch; the finish and the usage come last, together."""
        call, peer = Upstream().answering()
        peer.events(chunk({"role": "assistant", "content": ""}))
        peer.events(text("a"), text("b"))
        peer.events(text("c"))
        peer.events(chunk({}, "stop"))
        self.assertNoResult(call.done)
        peer.events(usage(), b"[DONE]", end=True)
        self.successResultOf(call.done)
        self.assertEqual([[TextDelta("a"), TextDelta("b")], [TextDelta("c")], [FINISHED, COST]], call.batches)

    def test_split_anywhere(self) -> None:
        """Where reads are cut, also within a character, makes no difference."""
        stream = event({"choices": [{"delta": {"content": "\u00e4\U0001f600"}}]}).replace(
            b"\\u00e4\\ud83d\\ude00", "\u00e4\U0001f600".encode()
        )
        stream += event(chunk({}, "stop")) + DONE
        for at in range(1, len(stream)):
            call, peer = Upstream().answering()
            peer.chunks(stream[:at])
            peer.chunks(stream[at:])
            self.assertEqual([TextDelta("\u00e4\U0001f600"), FINISHED], call.events)

    def test_tools_and_reasoning(self) -> None:
        """Reasoning and tool calls arrive as such."""
        call, peer = Upstream().answering(attrs.evolve(REQUEST, offers_tools=True))
        piece = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        peer.events(chunk({"reasoning_content": "hm"}), chunk({"tool_calls": [piece]}), chunk({}, "tool_calls"))
        peer.events(b"[DONE]")
        self.successResultOf(call.done)
        self.assertEqual(
            [ReasoningDelta("hm"), ToolCallDelta(0, "c", "f", "{}"), ProviderFinished("tool_calls")], call.events
        )

    def test_empty_answer(self) -> None:
        """An answer without text is one."""
        call, peer = Upstream().answering()
        peer.events(chunk({"role": "assistant", "content": ""}), chunk({}, "stop"), usage(), b"[DONE]")
        self.assertEqual([FINISHED, COST], call.events)

    def test_end_without_done(self) -> None:
        """After the finish the end of the body is enough, clean or not; so is the usage."""
        call, peer = Upstream().answering()
        peer.events(text("a"), chunk({}, "length"), end=True)
        self.assertEqual([TextDelta("a"), ProviderFinished("length")], call.events)
        call, peer = Upstream().answering()
        peer.events(text("a"), chunk({}, "length"))
        peer.close(ConnectionLost())
        self.successResultOf(call.done)
        self.assertEqual([TextDelta("a"), ProviderFinished("length")], call.events)
        call, peer = Upstream().answering()
        peer.events(chunk({}, "stop"))
        peer.events(usage())
        self.successResultOf(call.done)

    def test_end_without_finish(self) -> None:
        """C{[DONE]} without a finish is enough too, also without its empty line."""
        call, peer = Upstream().answering()
        peer.chunks(event(text("a")) + b"data: [DONE]", end=True)
        self.successResultOf(call.done)
        self.assertEqual([TextDelta("a"), FINISHED], call.events)

    def test_garbage_after_finish(self) -> None:
        """A cut-off event after the finish does not spoil the answer's end."""
        call, peer = Upstream().answering()
        peer.chunks(event(chunk({}, "stop")) + b'data: {"choices": [], "us')
        peer.close(ConnectionLost())
        self.successResultOf(call.done)
        self.assertEqual([FINISHED], call.events)

    def test_trailer_deadline(self) -> None:
        """What may follow the finish is waited for 5 s in all; the answer is whole without it."""
        upstream = Upstream()
        call, peer = upstream.answering()
        peer.events(chunk({}, "stop"))
        upstream.reactor.advance(4)
        peer.chunks(b": still here\n\n")
        self.assertNoResult(call.done)
        upstream.reactor.advance(1)
        self.successResultOf(call.done)
        self.assertEqual([FINISHED], call.events)
        self.assertTrue(peer.wire.aborted)

    def test_connection_is_kept(self) -> None:
        """After C{[DONE]} the rest is drained and the next call has the same connection."""
        upstream = Upstream()
        call, peer = upstream.answering()
        peer.events(chunk({}, "stop"), usage(), b"[DONE]")
        self.successResultOf(call.done)
        self.assertFalse(peer.wire.aborted)
        peer.chunks(b": bye\n\n", end=True)
        upstream.call()
        self.assertEqual(1, len(upstream.reactor.tcpClients))
        self.assertIn(b"POST", peer.wire.value())

    def test_drain_deadline(self) -> None:
        """A body that does not end after C{[DONE]} is aborted after 2 s."""
        upstream = Upstream()
        call, peer = upstream.answering()
        peer.events(chunk({}, "stop"), b"[DONE]")
        self.successResultOf(call.done)
        upstream.reactor.advance(1.9)
        self.assertFalse(peer.wire.aborted)
        upstream.reactor.advance(0.1)
        self.assertTrue(peer.wire.aborted)
        upstream.reactor.advance(0)
        self.assertEqual([], upstream.reactor.getDelayedCalls())

    def test_json_document(self) -> None:
        """A server that does not stream is understood, whatever type it declares."""
        document = {
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 3},
        }
        body = b"\n" + json.dumps(document).encode()
        for content_type in ("application/json; charset=utf-8", "text/plain"):
            upstream = Upstream()
            call = upstream.call()
            peer = upstream.accept()
            peer.head(200, content_type, content_length=str(len(body)))
            peer.send(body[:20])
            peer.send(body[20:])
            self.successResultOf(call.done)
            self.assertEqual([TextDelta("a"), FINISHED, COST], call.events)

    def test_events_under_another_type(self) -> None:
        """A stream of events is understood even if it is declared as something else, or not at all."""
        for content_type in ("application/json", "text/plain", None):
            upstream = Upstream()
            call = upstream.call()
            peer = upstream.accept()
            peer.head(200, content_type)
            peer.events(text("a"), chunk({}, "stop"), b"[DONE]")
            self.successResultOf(call.done)
            self.assertEqual([TextDelta("a"), FINISHED], call.events)

    def test_events_as_a_page(self) -> None:
        """A stream that calls itself a page is one all the same, if it does not begin like a page."""
        for first in (b"", b"\n", b"\xef\xbb\xbf", b": hello\n\n"):
            upstream = Upstream()
            call = upstream.call()
            peer = upstream.accept()
            peer.head(200, "text/html; charset=utf-8")
            if first:
                peer.chunks(first)
            peer.events(text("a"), chunk({}, "stop"), b"[DONE]")
            self.successResultOf(call.done)
            self.assertEqual([TextDelta("a"), FINISHED], call.events)

    def test_any_success(self) -> None:
        """Any status of 2xx with an answer is one."""
        body = json.dumps({"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}).encode()
        for status in (200, 201, 202, 203, 206, 299):
            upstream = Upstream()
            call = upstream.call()
            upstream.accept().answer(status, body)
            self.assertEqual([TextDelta("a"), FINISHED], call.events)

    def test_documents_in_a_row(self) -> None:
        """A document on each line, and one before events."""
        lines = b"\n".join(json.dumps(each).encode() for each in (text("a"), text("b"), chunk({}, "stop")))
        for content_type in ("application/x-ndjson", "text/event-stream"):
            for body in (lines, b"\xef\xbb\xbf" + lines, lines + b"\n\n" + DONE):
                upstream = Upstream()
                call = upstream.call()
                upstream.accept().answer(200, body, content_type)
                self.successResultOf(call.done)
                self.assertEqual([TextDelta("a"), TextDelta("b"), FINISHED], call.events)

    def test_taken_back_finish(self) -> None:
        """More text behind a finish lifts the time limit of what follows it, also of those that come later."""
        upstream = Upstream()
        call, peer = upstream.answering()
        peer.events(chunk({"content": "a"}, "stop"))
        for word in "bc":
            upstream.reactor.advance(4.9)
            peer.events(chunk({"content": word}, "stop"))
        upstream.reactor.advance(59)
        peer.events(text("d"))
        upstream.reactor.advance(59)
        self.assertNoResult(call.done)
        peer.events(chunk({}, "length"), b"[DONE]")
        self.successResultOf(call.done)
        self.assertEqual([*map(TextDelta, "abcd"), ProviderFinished("length")], call.events)

    def test_finish_with_reasoning(self) -> None:
        """One behind reasoning alone is waited on like any gap; where nothing follows, it was the last word."""
        upstream = Upstream()
        call, peer = upstream.answering()
        peer.events(chunk({"reasoning_content": "hm"}, "stop"))
        upstream.reactor.advance(59)
        self.assertNoResult(call.done)
        upstream.reactor.advance(1)
        self.successResultOf(call.done)
        self.assertEqual([ReasoningDelta("hm"), FINISHED], call.events)

    def test_taken_back_at_the_end(self) -> None:
        """A body that ends behind text that had no finish of its own is cut off."""
        call, peer = Upstream().answering()
        peer.events(chunk({"content": "a"}, "stop"), text("b"), end=True)
        message = self.failureResultOf(call.done, ProviderFailed).getErrorMessage()
        self.assertEqual("the provider mock cut its answer off", message)

    def test_unasked_call(self) -> None:
        """A call is no part of an answer to a request that offered no tool."""
        call, peer = Upstream().answering()
        piece = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        peer.events(text("a"), chunk({"tool_calls": [piece]}), chunk({}, "tool_calls"), b"[DONE]")
        self.successResultOf(call.done)
        self.assertEqual([TextDelta("a"), FINISHED], call.events)

    def test_chunk_sizes(self) -> None:
        """Sizes of chunks may be padded and have extensions."""
        call, peer = Upstream().answering()
        for data in (event(text("a")), event(chunk({}, "stop")), DONE):
            peer.send(b'%-6x ; x="y"\r\n%s\r\n' % (len(data), data))
        self.successResultOf(call.done)
        self.assertEqual([TextDelta("a"), FINISHED], call.events)

    def test_stub_treq(self) -> None:
        """The provider works over treq's stub, which others use in their tests."""
        body = event(text("a")) + event(chunk({}, "stop")) + event(usage()) + DONE

        def answer(method: bytes, url: str, params: Any, headers: Any, data: bytes) -> tuple[int, Any, bytes]:
            self.assertEqual("hi", json.loads(data)["messages"][0]["content"])
            return 200, {b"content-type": [b"text/event-stream"]}, body

        endpoint = Endpoint("http://127.0.0.1:8000/v1", None, {}, 1.0, 1.0, "mock")
        resource = StringStubbingResource(lambda *arguments: (200, {"content-type": "text/event-stream"}, body))
        provider = OpenAICompletionsProvider(endpoint, StubTreq(resource), Clock())
        batches: list[Any] = []

        async def run() -> None:
            async with provider.stream(REQUEST) as stream:
                async for batch in stream:
                    batches.extend(batch)

        self.successResultOf(Deferred.fromCoroutine(run()))
        self.assertEqual([TextDelta("a"), FINISHED, COST], batches)


class RefusalTests(SynchronousTestCase):
    def refused(self, status: int, body: bytes, content_type: str = "application/json", **fields: str) -> Exception:
        upstream = Upstream()
        call = upstream.call()
        peer = upstream.accept()
        peer.request()
        peer.answer(status, body, content_type, **fields)
        self.assertFalse(call.entered)
        error: Exception = self.failureResultOf(call.done).value
        upstream.reactor.advance(0)
        self.assertFalse(peer.wire.aborted)
        return error

    def test_statuses(self) -> None:
        """A refusal is told when the call is entered, with status, message and code of the provider."""
        body = b'{"error": {"message": "mock upstream", "type": "mock_error", "code": "mock_code"}}'
        for status, kind, message in (
            (400, ProviderRejected, "the provider mock refused the request: mock upstream"),
            (401, ProviderAuthFailed, "the provider mock refused our credentials: mock upstream"),
            (413, ContextTooLong, "the provider mock finds the prompt too long: mock upstream"),
            (429, ProviderRateLimited, "the provider mock asks to slow down: mock upstream"),
            (500, ProviderFailed, "the provider mock failed: mock upstream"),
            (529, ProviderOverloaded, "the provider mock is overloaded: mock upstream"),
        ):
            error = self.refused(status, body)
            self.assertIs(kind, type(error))
            self.assertEqual(message, str(error))

    def test_retry_after(self) -> None:
        """What the provider says about a retry is passed on."""
        error = self.refused(429, b"{}", Retry_After="3")
        assert isinstance(error, ProviderRateLimited)
        self.assertEqual(3.0, error.retry_after_s)

    def test_secrets(self) -> None:
        """A provider that quotes the key is not quoted."""
        error = self.refused(400, b"key sk-very-secret bad", "text/plain")
        self.assertEqual("the provider mock refused the request: key *** bad", str(error))

    def test_secret_of_url(self) -> None:
        """Nor one that quotes the password of the base URL."""
        upstream = Upstream(base_url="http://u:passw0rd@127.0.0.1/")
        call = upstream.call()
        upstream.accept().answer(400, b"passw0rd?", "text/plain")
        message = self.failureResultOf(call.done).getErrorMessage()
        self.assertEqual("the provider mock refused the request: ***?", message)

    def test_long_body(self) -> None:
        """No more than 64 KiB of an error's body are read."""
        upstream = Upstream()
        call = upstream.call()
        peer = upstream.accept()
        peer.head(400, "text/plain")
        for _ in range(7):
            peer.chunks(b"x" * 10_000)
        self.failureResultOf(call.done, ProviderRejected)
        self.assertTrue(peer.wire.aborted)

    def test_slow_body(self) -> None:
        """An error's body is waited for 5 s; then the status is enough."""
        upstream = Upstream()
        call = upstream.call()
        peer = upstream.accept()
        peer.head(400, "text/plain")
        peer.chunks(b"so ")
        upstream.reactor.advance(4)
        peer.chunks(b"far")
        self.assertNoResult(call.done)
        upstream.reactor.advance(1)
        message = self.failureResultOf(call.done, ProviderRejected).getErrorMessage()
        self.assertEqual("the provider mock refused the request: so far", message)
        self.assertTrue(peer.wire.aborted)

    def test_broken_body(self) -> None:
        """A broken one too."""
        upstream = Upstream()
        call = upstream.call()
        peer = upstream.accept()
        peer.head(500, "text/plain")
        peer.close(ConnectionLost())
        self.assertIn("failed and gives no reason", self.failureResultOf(call.done, ProviderFailed).getErrorMessage())

    def test_html(self) -> None:
        """A page is no answer, and says so before any output."""
        upstream = Upstream()
        call = upstream.call()
        peer = upstream.accept()
        peer.head(200, "text/html")
        peer.chunks(b"<html><body>hello</body></html>")
        self.assertFalse(call.entered)
        error = self.failureResultOf(call.done, LastingProviderFailure).value
        self.assertIn("no chat completion; check its baseUrl", error.message)
        self.assertTrue(peer.wire.aborted)


class MisbehaviourTests(SynchronousTestCase):
    def failing(self, kind: type[Exception], call: Call, peer: Peer, *events: Any) -> str:
        """Check that a call fails after C{events} with C{kind} and leaves no connection behind."""
        error = self.failureResultOf(call.done).value
        self.assertIs(kind, type(error))
        self.assertEqual(list(events), call.events)
        self.assertTrue(peer.wire.aborted or peer.wire.lost)
        return str(error)

    def test_died_before_an_answer(self) -> None:
        """A server that closes without an answer."""
        upstream = Upstream()
        call = upstream.call()
        peer = upstream.accept()
        peer.close()
        self.assertIn("without an answer", self.failing(ProviderFailed, call, peer))

    def test_died_within_the_answer(self) -> None:
        """A server that closes before the finish, cleanly or not."""
        cut_off = "the provider mock cut its answer off"
        call, peer = Upstream().answering()
        peer.events(text("a"))
        peer.close(ConnectionLost())
        self.assertEqual(cut_off, self.failing(ProviderFailed, call, peer, TextDelta("a")))
        call, peer = Upstream().answering()
        peer.events(text("a"), end=True)
        self.assertEqual(cut_off, str(self.failureResultOf(call.done, ProviderFailed).value))
        call, peer = Upstream().answering()
        peer.chunks(event(text("a")) + b'data: {"choi', end=True)
        self.assertEqual(cut_off, str(self.failureResultOf(call.done, ProviderFailed).value))

    def test_nothing_at_all(self) -> None:
        """An empty body, or one that is no stream of events, is no completion."""
        for body in (b"", b"Welcome!\n\n", b": only\n\n"):
            call, peer = Upstream().answering()
            peer.chunks(*[body] if body else [], end=True)
            error = self.failureResultOf(call.done, LastingProviderFailure).value
            self.assertIn("no chat completion", error.message)

    def test_unreadable(self) -> None:
        """The log is told how what cannot be read begins, and its client not; a stream that is cut off is none."""
        told: list[LogEvent] = []
        globalLogPublisher.addObserver(told.append)
        self.addCleanup(globalLogPublisher.removeObserver, told.append)
        for status, content_type, body in (
            (200, "text/event-stream", event(b"{sk-very-secret " + b"x" * 1000)),
            (201, "application/json", b"{sk-very-secret " + b"x" * 1000),
            (200, "text/html", b"<p>{sk-very-secret " + b"x" * 1000),
            (200, "application/json", b'{"status": "sk-very-secret"}'),
        ):
            upstream = Upstream()
            call = upstream.call()
            upstream.accept().answer(status, body, content_type)
            error = self.failureResultOf(call.done, LastingProviderFailure).value
            self.assertNotIn("{", str(error))
            [line] = told
            self.assertEqual(("mock", status), (line["name"], line["status"]))
            self.assertIn("***", line["text"])
            self.assertLessEqual(len(line["text"]), 200)
            self.assertNotIn("secret", formatEvent(line))
            told.clear()
        call, peer = Upstream().answering()
        peer.chunks(event(text("a")) + b'data: {"choi', end=True)
        self.failureResultOf(call.done, ProviderFailed)
        self.assertEqual([], told)

    def test_garbage(self) -> None:
        """Garbage fails after what came before it, also in the same read."""
        call, peer = Upstream().answering()
        peer.events(text("a"), b"{not json", text("after"))
        self.assertIn("no chat completion", self.failing(LastingProviderFailure, call, peer, TextDelta("a")))

    def test_garbage_document(self) -> None:
        """A document that is cut or broken is garbage."""
        upstream = Upstream()
        call = upstream.call()
        upstream.accept().answer(200, b"{not json")
        self.failureResultOf(call.done, LastingProviderFailure)

    def test_endless_document(self) -> None:
        """A document is bounded."""
        upstream = Upstream()
        call = upstream.call()
        peer = upstream.accept()
        peer.head(200, "application/json")
        peer.chunks(b'{"x": "' + b"x" * MAX_EVENT_BYTES)
        self.assertIn("too large", self.failing(LastingProviderFailure, call, peer))

    def test_endless_event(self) -> None:
        """So is an event."""
        call, peer = Upstream().answering()
        peer.chunks(b"data: " + b"x" * MAX_EVENT_BYTES)
        self.assertIn("too large", self.failing(LastingProviderFailure, call, peer))

    def test_error_event(self) -> None:
        """An error object within the stream fails it, and drops the connection at once."""
        call, peer = Upstream().answering()
        peer.events(text("a"), {"error": {"message": "mid", "type": "server_error", "code": "mid"}})
        self.assertEqual("the provider mock failed: mid", self.failing(ProviderFailed, call, peer, TextDelta("a")))

    def test_error_document(self) -> None:
        """An error object with status 200 fails too."""
        upstream = Upstream()
        call = upstream.call()
        upstream.accept().answer(200, b'{"error": {"message": "m", "code": 429}}')
        self.failureResultOf(call.done, ProviderRateLimited)

    def test_other_errors(self) -> None:
        """Errors that are no event of the format fail it with their reason, also where the body ends with them."""
        for body in (
            b'error: {"code": 503, "message": "gone"}',
            b'event: error\ndata: {"code": 503, "message": "gone"}',
            b'{"error": {"code": 503, "message": "gone"}}',
            b'{\n"error": {\n"code": 503, "message": "gone"}\n}\n\ndata: [DONE]\n\n',
        ):
            for begun in (b"", event(text("a"))):
                call, peer = Upstream().answering()
                peer.chunks(begun + body, end=True)
                error = self.failureResultOf(call.done, ProviderOverloaded).value
                self.assertEqual("the provider mock is overloaded: gone", error.message)
                self.assertEqual([TextDelta("a")] if begun else [], call.events)

    def test_failed_finish(self) -> None:
        """A finish that names a failure fails it, at its end and not before."""
        call, peer = Upstream().answering()
        peer.events(chunk({"content": "a"}, "abort"))
        self.assertNoResult(call.done)
        peer.chunks(end=True)
        self.assertIn("abort", str(self.failureResultOf(call.done, ProviderFailed).value))
        self.assertEqual([TextDelta("a")], call.events)

    def test_nothing_but_done(self) -> None:
        call, peer = Upstream().answering()
        peer.chunks(DONE, end=True)
        self.assertIn("before it began", str(self.failureResultOf(call.done, ProviderFailed).value))

    def test_said_instead(self) -> None:
        """What a server says where an answer is due is its reason."""
        call, peer = Upstream().answering()
        peer.chunks(event({"message": "no such route"}), end=True)
        error = self.failureResultOf(call.done, ProviderFailed).value
        self.assertEqual("the provider mock failed: no such route", error.message)

    def test_page(self) -> None:
        """A page under any type is no answer."""
        for content_type in ("application/json", "text/plain", None):
            upstream = Upstream()
            call = upstream.call()
            peer = upstream.accept()
            peer.head(200, content_type)
            peer.chunks(b"\n<!doctype html><p>hello")
            error = self.failureResultOf(call.done, LastingProviderFailure).value
            self.assertIn("no chat completion; check its baseUrl", error.message)

    def test_refused_connection(self) -> None:
        """A refused connection."""
        upstream = Upstream()
        call = upstream.call()
        upstream.reactor.tcpClients[0][2].clientConnectionFailed(None, Failure(ConnectionRefusedError()))
        self.failureResultOf(call.done, ProviderFailed)

    def test_failed_stream_stays_failed(self) -> None:
        """After its failure a stream has nothing more."""
        call, peer = Upstream().answering()
        peer.events(b"{")
        self.failureResultOf(call.done, LastingProviderFailure)
        self.failureResultOf(Deferred.fromCoroutine(call.stream.__anext__()), StopAsyncIteration)


class DeadlineTests(SynchronousTestCase):
    def test_connect(self) -> None:
        """5 s for the connection."""
        upstream = Upstream()
        call = upstream.call()
        upstream.reactor.advance(5)
        self.failureResultOf(call.done, TransientProviderTimeout)

    def test_first_byte(self) -> None:
        """The endpoint's time for the head."""
        upstream = Upstream()
        call = upstream.call()
        peer = upstream.accept()
        upstream.reactor.advance(119)
        self.assertNoResult(call.done)
        upstream.reactor.advance(1)
        self.failureResultOf(call.done, ProviderTimeout)
        self.assertTrue(peer.wire.aborted)

    def test_idle(self) -> None:
        """The endpoint's time for a gap, also before the first event; comments keep it alive."""
        upstream = Upstream()
        call, peer = upstream.answering()
        for _ in range(3):
            upstream.reactor.advance(59)
            peer.chunks(b": processing\n\n")
        self.assertNoResult(call.done)
        upstream.reactor.advance(60)
        self.failureResultOf(call.done, ProviderTimeout)
        self.assertTrue(peer.wire.aborted)

    def test_nothing_is_left(self) -> None:
        """A finished call leaves no timer but the connection's."""
        upstream = Upstream(persistent=False)
        call, peer = upstream.answering()
        peer.events(text("a"), chunk({}, "stop"), b"[DONE]", end=True)
        self.successResultOf(call.done)
        upstream.reactor.advance(0)
        self.assertEqual([], upstream.reactor.getDelayedCalls())


class CancellingTests(SynchronousTestCase):
    def assert_gone(self, upstream: Upstream, peer: Peer) -> None:
        """The connection is gone within one turn of the reactor, and no timer is left."""
        self.assertTrue(peer.wire.aborted)
        upstream.reactor.advance(0)
        self.assertTrue(peer.wire.lost)
        self.assertEqual([], upstream.reactor.getDelayedCalls())

    def test_while_connecting(self) -> None:
        """Cancelling before there is a connection stops making one."""
        upstream = Upstream()
        call = upstream.call()
        call.done.cancel()
        self.failureResultOf(call.done, CancelledError)
        self.assertTrue(upstream.reactor.connectors[0].stoppedConnecting)
        self.assertEqual([], upstream.reactor.getDelayedCalls())

    def test_before_the_head(self) -> None:
        """Cancelling before the answer aborts."""
        upstream = Upstream()
        call = upstream.call()
        peer = upstream.accept()
        call.done.cancel()
        self.failureResultOf(call.done, CancelledError)
        self.assert_gone(upstream, peer)

    def test_within_the_answer(self) -> None:
        """Cancelling while an event is awaited aborts."""
        upstream = Upstream()
        call, peer = upstream.answering()
        peer.events(text("a"))
        call.done.cancel()
        self.failureResultOf(call.done, CancelledError)
        self.assert_gone(upstream, peer)

    def test_within_a_refusal(self) -> None:
        """Cancelling while the body of a refusal is read aborts."""
        upstream = Upstream()
        call = upstream.call()
        peer = upstream.accept()
        peer.head(500, "text/plain")
        call.done.cancel()
        self.failureResultOf(call.done, CancelledError)
        self.assert_gone(upstream, peer)

    def test_after_the_finish(self) -> None:
        """Cancelling while the usage is awaited aborts."""
        upstream = Upstream()
        call, peer = upstream.answering()
        peer.events(chunk({}, "stop"))
        call.done.cancel()
        self.failureResultOf(call.done, CancelledError)
        self.assert_gone(upstream, peer)

    def test_close_while_connecting(self) -> None:
        """Closing from elsewhere fails who waits to enter."""
        upstream = Upstream()
        call = upstream.call()
        call.stream.close()
        self.failureResultOf(call.done, ProviderFailed)
        self.assertTrue(upstream.reactor.connectors[0].stoppedConnecting)

    def test_close_within_the_answer(self) -> None:
        """Closing from elsewhere aborts and fails who waits for events."""
        for finished in (False, True):
            upstream = Upstream()
            call, peer = upstream.answering()
            peer.events(text("a"), *[chunk({}, "stop")] if finished else [])
            call.stream.close()
            self.assertIn("was closed", self.failureResultOf(call.done, ProviderFailed).getErrorMessage())
            self.assert_gone(upstream, peer)
            call.stream.close()

    def test_close_before_entering(self) -> None:
        """A stream that was never entered can be closed and then not be entered any more."""
        upstream = Upstream()
        stream = upstream.provider.stream(REQUEST)
        stream.close()
        self.failureResultOf(Deferred.fromCoroutine(stream.__aenter__()), ProviderFailed)
        self.assertEqual([], upstream.reactor.tcpClients)

    def test_leaving_early(self) -> None:
        """Leaving the stream aborts, also while a batch waits and the connection is paused."""
        upstream = Upstream()
        stream = upstream.provider.stream(REQUEST)
        entering = Deferred.fromCoroutine(stream.__aenter__())
        peer = upstream.accept()
        peer.head()
        self.successResultOf(entering)
        peer.events(text("a"))
        self.assertEqual("paused", peer.wire.producerState)
        self.successResultOf(Deferred.fromCoroutine(stream.__aexit__(None, None, None)))
        self.assert_gone(upstream, peer)
        self.failureResultOf(Deferred.fromCoroutine(stream.__anext__()), StopAsyncIteration)


class BackPressureTests(SynchronousTestCase):
    def test_slow_caller(self) -> None:
        """While a caller is slow the connection is paused; it goes on where it was, and no time counts."""
        upstream = Upstream()
        stream = upstream.provider.stream(REQUEST)
        entering = Deferred.fromCoroutine(stream.__aenter__())
        peer = upstream.accept()
        peer.head()
        self.successResultOf(entering)
        self.assertEqual("producing", peer.wire.producerState)
        peer.events(text("a"))
        self.assertEqual("paused", peer.wire.producerState)
        upstream.reactor.advance(3600)
        self.assertEqual([TextDelta("a")], self.successResultOf(Deferred.fromCoroutine(stream.__anext__())))
        self.assertEqual("producing", peer.wire.producerState)
        following = Deferred.fromCoroutine(stream.__anext__())
        peer.events(text("b"))
        self.assertEqual([TextDelta("b")], self.successResultOf(following))

    def test_entered_stream_iterates_itself(self) -> None:
        """A stream is its own iterator."""
        stream = Upstream().provider.stream(REQUEST)
        self.assertIs(stream, stream.__aiter__())
