"""Tests for L{openclaw.http.channel}: requests that come while another one is being handled."""

from __future__ import annotations

from openclaw.events import ProviderFinished, TextDelta
from openclaw.http import channel as channel_module
from test.http.support import AUTH, CHAT, GatewayTestCase

CHAT_BODY = b'{"messages":[{"role":"user","content":"hi"}]}'


class PipelineTests(GatewayTestCase):
    def test_pipelined_answers_are_in_order(self) -> None:
        client = self.connect()
        body = CHAT_BODY
        head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\n{AUTH}\r\nX-Request-Id: one\r\n"
        client.send(
            head.encode()
            + b"Content-Length: %d\r\n\r\n" % len(body)
            + body
            + b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: two\r\n\r\n"
            + f"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n{AUTH}\r\nX-Request-Id: three\r\n\r\n".encode()
        )
        self.tick()
        self.assertEqual(client.output, b"")
        self.stream.push(TextDelta("x"), ProviderFinished("stop"))
        self.stream.end()
        self.tick()
        self.assertEqual([answer.headers["x-request-id"] for answer in client.answers()], ["one", "two", "three"])
        self.assertEqual([answer.status for answer in client.answers()], [200, 200, 200])

    def test_little_behind_a_request_is_kept(self) -> None:
        client = self.connect()
        client.chat()
        self.tick()
        following = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Pad: "
        following += b"x" * (channel_module.MAX_PIPELINED_BYTES - len(following) - 4) + b"\r\n\r\n"
        client.send(following)
        # Twisted has not stopped reading: that the client leaves would be noticed.
        self.assertEqual(client.transport.producerState, "producing")
        self.stream.push(TextDelta("x"), ProviderFinished("stop"))
        self.stream.end()
        self.tick()
        self.assertEqual([answer.status for answer in client.answers()], [200, 200])

    def test_much_behind_a_request_cuts_the_connection(self) -> None:
        for together in (False, True):
            client = self.connect()
            head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\n{AUTH}\r\nContent-Length: {len(CHAT_BODY)}\r\n\r\n"
            asked = head.encode() + CHAT_BODY
            behind = b"G" * channel_module.MAX_PIPELINED_BYTES
            if together:
                client.send(asked + behind)
            else:
                client.send(asked)
                client.send(behind)
            self.tick()
            self.assertFalse(client.transport.aborted)
            client.send(b"G")
            self.assertTrue(client.transport.aborted)
            self.tick()
            self.assertTrue(self.stream.aborted)
            self.assertEqual(self.runs.live, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.problems, [])

    def test_much_behind_a_request_whose_answer_is_not_read(self) -> None:
        client = self.connect()
        client.chat(stream=True)
        self.tick()
        self.stream.push(TextDelta("x"))
        self.tick()
        client.transport.stop_reading()
        client.send(b"G" * (channel_module.MAX_PIPELINED_BYTES + 1))
        self.assertTrue(client.transport.aborted)

    def test_many_short_requests_at_once(self) -> None:
        client = self.connect()
        client.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000)
        self.assertEqual([answer.status for answer in client.answers()], [200] * 1000)
