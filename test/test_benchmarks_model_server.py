"""L{benchmarks.model_server}, without a socket."""

from __future__ import annotations

import json
from typing import Any
from unittest import mock

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from benchmarks import model_server
from benchmarks.http_reader import ResponseReader
from benchmarks.model_server import ModelConnection, ModelServer, Steer


class FakeTransport:
    """What the connections need of an asyncio transport."""

    def __init__(self) -> None:
        self.written = b""
        self.closing = False
        self.aborted = False

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = self.aborted = True

    def is_closing(self) -> bool:
        return self.closing

    def take(self) -> bytes:
        written, self.written = self.written, b""
        return written


def chat(content: Any = "chunks=2", *, stream: bool = True, **fields: Any) -> bytes:
    """A request as bytes."""
    messages = [{"role": "system", "content": "chunks=9"}, {"role": "user", "content": content}]
    return post(json.dumps({"model": "m", "stream": stream, "messages": messages, **fields}).encode())


def post(body: bytes, *lines: str) -> bytes:
    head = ["POST /v1/chat/completions HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *lines]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def read_all(data: bytes, *, stream: bool = True) -> ResponseReader:
    reader = ResponseReader(stream=stream)
    assert reader.feed(data), data
    return reader


class ModelServerTests(SynchronousTestCase):
    """The model server, without a socket."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.server = ModelServer(self.clock.callLater)
        self.transport = FakeTransport()
        self.connection = ModelConnection(self.server)
        self.connection.connection_made(self.transport)  # type: ignore[arg-type]

    def ask(self, data: bytes) -> bytes:
        self.connection.data_received(data)
        return self.transport.take()

    def deltas(self, reply: bytes) -> list[Any]:
        """The events of a streamed reply, unpacked."""
        reader = ResponseReader(stream=False)
        self.assertTrue(reader.feed(reply))
        self.assertEqual(reader.status, 200)
        events = reader.body.decode().split("\n\n")
        self.assertEqual(events.pop(), "")
        self.assertEqual(events.pop(), "data: [DONE]")
        return [json.loads(event.removeprefix("data: ")) for event in events]

    def test_steer(self) -> None:
        self.assertEqual(model_server.parse_steer("hello"), Steer(20, 0, 1))
        self.assertEqual(model_server.parse_steer("chunks=3 delay=5 size=4 chunks=7"), Steer(7, 5, 4))
        self.assertEqual(
            model_server.parse_steer("chunks=999999999 delay=999999999 size=999999999"), Steer(3906, 60_000, 256)
        )
        self.assertEqual(model_server.parse_steer("size=0 xchunks=3"), Steer(20, 0, 0))

    def test_stream(self) -> None:
        events = self.deltas(self.ask(chat("chunks=2 size=2")))
        self.assertEqual(
            [event["choices"][0]["delta"] for event in events],
            [{"role": "assistant", "content": ""}, {"content": "w0.0 w0.1 "}, {"content": "w1.0 w1.1 "}, {}],
        )
        self.assertEqual([event["choices"][0]["finish_reason"] for event in events], [None, None, None, "stop"])
        self.assertEqual({event["object"] for event in events}, {"chat.completion.chunk"})

    def test_usage_when_asked_for(self) -> None:
        last = self.deltas(self.ask(chat(stream_options={"include_usage": True})))[-1]
        self.assertEqual(last["choices"], [])
        self.assertEqual(last["usage"], {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12})

    def test_whole(self) -> None:
        reader = read_all(self.ask(chat("chunks=3", stream=False)), stream=False)
        reply = json.loads(reader.body)
        self.assertEqual(reply["choices"][0]["message"], {"role": "assistant", "content": "w0.0 w1.0 w2.0 "})
        self.assertEqual(reply["choices"][0]["finish_reason"], "stop")
        self.assertEqual(reply["object"], "chat.completion")

    def test_parts_and_default(self) -> None:
        parts = [{"type": "text", "text": "chunks=1"}, {"type": "image_url", "image_url": {"url": "x"}}]
        self.assertEqual(len(self.deltas(self.ask(chat(parts)))), 3)
        self.assertEqual(len(self.deltas(self.ask(chat(None)))), 22)
        self.assertEqual(len(self.deltas(self.ask(post(b'{"messages":[],"stream":true}')))), 22)

    def test_bytes_one_by_one_and_pipelined(self) -> None:
        request = chat("chunks=1")
        for at in range(len(request) - 1):
            self.assertEqual(self.ask(request[at : at + 1]), b"")
        one = self.ask(request[-1:])
        self.assertEqual(len(self.deltas(one)), 3)
        self.assertEqual(self.ask(request * 3), one * 3)

    def test_long_stream_waits_for_the_client(self) -> None:
        short = self.ask(chat("chunks=1"))
        self.connection.pause_writing()
        begun = self.ask(chat("chunks=5000") + chat("chunks=1"))
        self.assertEqual(begun, model_server.STREAM_START)
        self.assertEqual(self.server.active, 1)
        self.connection.resume_writing()
        whole = begun + self.transport.take()
        self.assertTrue(whole.endswith(short))
        self.assertEqual(len(self.deltas(whole[: -len(short)])), 5002)
        self.assertEqual(self.server.active, 0)

    def test_long_stream_to_a_client_that_keeps_up(self) -> None:
        self.assertEqual(len(self.deltas(self.ask(chat("chunks=5000")))), 5002)

    def test_delay(self) -> None:
        reply = self.ask(chat("chunks=2 delay=5") + chat("chunks=1"))
        self.assertEqual(reply.count(b"data: "), 2)
        self.clock.advance(0.004)
        self.assertEqual(self.transport.take(), b"")
        self.clock.advance(0.001)
        more = self.transport.take()
        self.assertEqual(more.count(b"data: "), 1)
        self.connection.pause_writing()
        self.clock.advance(0.005)
        self.assertEqual(self.transport.take(), b"")
        self.connection.resume_writing()
        self.clock.advance(0.005)
        rest = self.transport.take()
        short = self.ask(chat("chunks=1"))
        self.assertTrue(rest.endswith(short))
        self.assertEqual(len(self.deltas(reply + more + rest[: -len(short)])), 4)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_client_that_leaves(self) -> None:
        self.ask(chat("chunks=2 delay=5"))
        self.connection.connection_lost(None)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.server.transports, set())
        self.assertEqual(json.loads(self.server.stats()), {"requests": 1, "active": 0, "peak": 1, "aborted": 1})

    def test_client_that_leaves_while_behind(self) -> None:
        self.connection.pause_writing()
        self.ask(chat("chunks=5000"))
        self.connection.connection_lost(None)
        self.assertEqual((self.server.active, self.server.aborted), (0, 1))

    def test_client_that_leaves_when_idle(self) -> None:
        self.ask(chat())
        self.connection.connection_lost(None)
        self.assertEqual((self.server.active, self.server.aborted), (0, 0))

    def test_other_routes(self) -> None:
        for request, status, part in (
            (b"GET /v1/models HTTP/1.1\r\n\r\n", 200, b'"id":"m"'),
            (b"GET /stats?x HTTP/1.1\r\n\r\n", 200, b'"requests":0'),
            (b"GET /readyz HTTP/1.1\r\n\r\n", 200, b'"ok":true'),
            (b"GET /v1/chat/completions HTTP/1.1\r\n\r\n", 404, b"no route GET here"),
            (post(b"{"), 400, b"truncated"),
            (post(b'{"messages":[{"role":1}]}'), 400, b"$.messages[0].role"),
            (post(b'{"messages":[{"role":"\xff"}]}'), 400, b"message"),
        ):
            reader = read_all(self.ask(request), stream=False)
            self.assertEqual(reader.status, status)
            self.assertIn(part, reader.body)
            self.assertTrue(reader.keep_alive)

    def test_expect_continue(self) -> None:
        request = post(b'{"messages":[]}', "Expect: 100-continue")
        head, body = request[:-15], request[-15:]
        self.assertEqual(self.ask(head), b"HTTP/1.1 100 Continue\r\n\r\n")
        self.assertEqual(read_all(self.ask(body), stream=False).status, 200)

    def test_refusals(self) -> None:
        for request, status in (
            (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
            (b"POST / HTTP/1.1\r\nContent-Length: 33554433\r\n\r\n", 413),
            (b"GET /" + b"x" * 70_000, 431),
        ):
            self.setUp()
            reader = read_all(self.ask(request), stream=False)
            self.assertEqual((reader.status, reader.keep_alive), (status, False))
            self.assertTrue(self.transport.closing)

    def test_input_is_bounded(self) -> None:
        self.ask(chat("chunks=1 delay=60000"))
        with mock.patch.object(model_server, "MAX_BODY_BYTES", 0):
            reply = self.ask(b"x" * (model_server.MAX_HEAD_BYTES + 1))
        self.assertIn(b" 413 ", reply)
        self.assertTrue(self.transport.closing)
