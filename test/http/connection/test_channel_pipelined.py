"""Tests for L{openclaw.http.connection.channel}: requests that come while another one is being handled."""

from __future__ import annotations

from openclaw.events import ProviderFinished, TextDelta
from openclaw.http.connection import channel as channel_module
from test.http.support import AUTH, CHAT, Client, GatewayTestCase

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
        client.send(b"".join(short(number) for number in range(1000)))
        self.tick(1000 // channel_module.REQUESTS_AT_ONCE)
        answers = client.answers()
        self.assertEqual([answer.status for answer in answers], [200] * 1000)
        self.assertEqual([answer.headers["x-request-id"] for answer in answers], [f"r{n}" for n in range(1000)])
        self.assertEqual(client.transport.producerState, "producing")


def short(number: int) -> bytes:
    """A request that is answered at once and asks for no credential."""
    return b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: r%d\r\n\r\n" % number


class TurnTests(GatewayTestCase):
    """Many requests in one read are answered in several turns of the reactor."""

    def flood(self, count: int = 20, following: bytes = b"") -> Client:
        """A client that sends as many requests, and something behind them, at once."""
        client = self.connect()
        client.send(b"".join(map(short, range(count))) + following)
        return client

    def turn(self) -> None:
        """One turn of a real reactor: what is due by now, but not what becomes due thereby."""
        for call in [call for call in self.clock.getDelayedCalls() if call.getTime() <= self.clock.seconds()]:
            self.clock.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)

    def test_few_at_once(self) -> None:
        limit = channel_module.REQUESTS_AT_ONCE
        client = self.flood(2 * limit + 1)
        self.assertEqual(len(client.answers()), limit)
        self.assertEqual(client.transport.producerState, "paused")
        self.turn()
        self.assertEqual(len(client.answers()), 2 * limit)
        self.assertEqual(client.transport.producerState, "paused")
        self.turn()
        self.assertEqual(len(client.answers()), 2 * limit + 1)
        self.assertEqual(client.transport.producerState, "producing")

    def test_one_connection_in_each_turn(self) -> None:
        limit = channel_module.REQUESTS_AT_ONCE
        clients = [self.flood(3 * limit) for _ in range(3)]
        counts = []
        for _ in range(6):
            self.turn()
            counts.append([len(client.answers()) // limit for client in clients])
        self.assertEqual(counts, [[2, 1, 1], [2, 2, 1], [2, 2, 2], [3, 2, 2], [3, 3, 2], [3, 3, 3]])

    def test_nobody_else_waits(self) -> None:
        for _ in range(5):
            self.flood()
        client = self.connect()
        client.send(short(1))
        self.assertEqual(len(client.answers()), 1)

    def test_one_after_another_takes_no_turn(self) -> None:
        client = self.connect()
        for number in range(3 * channel_module.REQUESTS_AT_ONCE):
            client.send(short(number))
            self.assertEqual(len(client.answers()), number + 1)
            self.assertEqual(client.transport.producerState, "producing")

    def test_exactly_as_many_take_no_turn(self) -> None:
        limit = channel_module.REQUESTS_AT_ONCE
        client = self.flood(limit)
        self.assertEqual(client.transport.producerState, "producing")
        client.send(short(limit))
        self.assertEqual(len(client.answers()), limit + 1)

    def test_more_that_comes_meanwhile(self) -> None:
        client = self.flood()
        # A transport may have read on already.
        client.send(short(20))
        self.assertEqual(len(client.answers()), channel_module.REQUESTS_AT_ONCE)
        self.tick()
        self.assertEqual([a.headers["x-request-id"] for a in client.answers()], [f"r{n}" for n in range(21)])

    def test_half_a_request_behind(self) -> None:
        client = self.flood(following=b"GET /healthz HTTP/1.1\r\n")
        self.tick()
        self.assertEqual([answer.status for answer in client.answers()], [200] * 20)
        self.wait(channel_module.HEAD_DEADLINE_S)
        self.assertTrue(client.closed)

    def test_no_http_behind(self) -> None:
        client = self.flood(following=b"x\n\n")
        self.tick()
        self.assertEqual([answer.status for answer in client.answers()], [200] * 20 + [400])

    def test_client_leaves_meanwhile(self) -> None:
        client = self.flood()
        other = self.flood()
        client.leave()
        self.assertEqual(len(client.answers()), channel_module.REQUESTS_AT_ONCE)
        self.tick()
        self.assertEqual(len(client.answers()), channel_module.REQUESTS_AT_ONCE)
        self.assertEqual(len(other.answers()), 20)
        client = self.flood()
        client.leave()
        other.leave()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.problems, [])

    def test_gateway_stops_meanwhile(self) -> None:
        client = self.flood()
        self.site.close_all()
        self.tick()
        self.assertTrue(client.closed)
        self.assertEqual(len(client.answers()), channel_module.REQUESTS_AT_ONCE)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_last_one_is_said_to_be_the_last(self) -> None:
        close = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        limit = channel_module.REQUESTS_AT_ONCE
        for before in (limit - 1, limit):
            client = self.flood(before, close + short(1))
            self.assertEqual(client.channel in self.site.queue, before == limit)
            self.tick()
            self.assertEqual(len(client.answers()), before + 1)
            self.assertTrue(client.closed)

    def test_answers_that_are_not_read(self) -> None:
        client = self.flood()
        client.transport.stop_reading()
        self.tick()
        self.assertEqual(len(client.answers()), 20)
        self.assertEqual(client.transport.producerState, "paused")
        client.transport.start_reading()
        self.assertEqual(client.transport.producerState, "producing")

    def test_answers_that_are_read_again_meanwhile(self) -> None:
        client = self.flood()
        client.transport.stop_reading()
        client.transport.start_reading()
        self.assertEqual(client.transport.producerState, "paused")
        self.tick()
        self.assertEqual(client.transport.producerState, "producing")

    def test_a_run_among_them(self) -> None:
        body = CHAT_BODY
        head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\n{AUTH}\r\nContent-Length: {len(body)}\r\n\r\n"
        client = self.flood(following=head.encode() + body + b"".join(map(short, range(20))))
        self.tick()
        self.assertEqual(len(client.answers()), 20)
        self.stream.push(TextDelta("x"), ProviderFinished("stop"))
        self.stream.end()
        self.tick(6)
        self.assertEqual([answer.status for answer in client.answers()], [200] * 41)

    def test_bodies_of_what_is_answered_at_once(self) -> None:
        refused = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\n{AUTH}\r\nContent-Length: 3\r\n\r\n{{x}}".encode()
        client = self.connect()
        client.send((refused + short(1)) * 20)
        self.assertEqual(len(client.answers()), channel_module.REQUESTS_AT_ONCE)
        self.tick(5)
        self.assertEqual([answer.status for answer in client.answers()], [400, 200] * 20)
        self.assertFalse(client.closed)
