"""Tests for L{openclaw.http.answers.sse}: pace and signs of life of a stream."""

from __future__ import annotations

from typing import Any

from openclaw.events import ProviderFinished, TextDelta
from openclaw.http.answers.sse import KEEPALIVE, KEEPALIVE_S, EventStream
from openclaw.http.connection.stall import STALL_S
from openclaw.sharing.shared import OwnRun
from test.http.support import Client, GatewayTestCase


class PaceTests(GatewayTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.client = self.connect()
        self.client.chat(stream=True)
        self.tick()

    def push(self, *events: Any) -> None:
        self.stream.push(*events)
        self.tick()

    def begin(self) -> Client:
        self.push(TextDelta("first"))
        return self.client

    def keepalives(self) -> int:
        return self.client.output.count(KEEPALIVE)

    def test_slow_client_pauses_the_provider(self) -> None:
        transport = self.begin().transport
        transport.stop_reading()
        for number in range(50):
            self.push(TextDelta(f"<{number}>"))
        held = self.stream.taken
        self.assertLess(held, 7)
        self.assertLessEqual(self.client.output.count(b"<"), 1)
        transport.start_reading()
        self.tick(200)
        self.assertEqual((self.stream.taken, self.stream.pending), (51, 0))
        self.push(TextDelta("last"), ProviderFinished("stop"))
        self.stream.end()
        self.tick()
        answer = self.client.answer()
        texts = [chunk["choices"][0]["delta"].get("content", "") for chunk in answer.events[:-1]]
        self.assertEqual("".join(texts), "first" + "".join(f"<{number}>" for number in range(50)) + "last")

    def test_paused_and_resumed_again_and_again(self) -> None:
        transport = self.begin().transport
        for _ in range(3):
            transport.stop_reading()
            transport.stop_reading()
            self.wait(STALL_S - 1)
            transport.start_reading()
            transport.start_reading()
        self.wait(STALL_S + 1)
        self.assertFalse(self.client.closed)

    def test_client_that_reads_nothing_is_dropped(self) -> None:
        self.begin().transport.stop_reading()
        self.wait(STALL_S - 1)
        self.assertFalse(self.client.closed)
        self.wait(1.5)
        self.assertTrue(self.client.transport.aborted)
        self.assertTrue(self.stream.aborted)
        self.assertEqual(self.runs.live, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_keepalive(self) -> None:
        self.begin()
        self.wait(KEEPALIVE_S - 0.5)
        self.assertEqual(self.keepalives(), 0)
        self.wait(1)
        self.assertEqual(self.keepalives(), 1)
        self.wait(KEEPALIVE_S * 3)
        self.assertEqual(self.keepalives(), 4)
        self.assertEqual(KEEPALIVE, b": keepalive\n\n")

    def test_keepalive_counts_from_the_last_byte(self) -> None:
        self.begin()
        self.wait(10)
        self.push(TextDelta("x"))
        self.wait(10)
        self.assertEqual(self.keepalives(), 0)
        self.wait(6)
        self.assertEqual(self.keepalives(), 1)

    def test_no_keepalive_while_paused(self) -> None:
        transport = self.begin().transport
        transport.stop_reading()
        self.wait(50)
        self.assertEqual(self.keepalives(), 0)
        transport.start_reading()
        self.wait(1.5)
        self.assertEqual(self.keepalives(), 1)

    def test_none_before_the_head(self) -> None:
        client = self.connect()
        client.chat()
        self.wait(40)
        self.assertEqual(client.output, b"")

    def test_none_after_the_end(self) -> None:
        self.begin()
        self.push(ProviderFinished("stop"))
        self.stream.end()
        self.tick()
        before = self.client.output
        self.wait(40)
        self.assertEqual(self.client.output, before)

    def test_finished_while_paused(self) -> None:
        transport = self.begin().transport
        transport.stop_reading()
        self.push(TextDelta("x"), ProviderFinished("stop"))
        self.stream.end()
        self.wait(1)
        self.assertFalse(self.client.answer().whole)
        transport.start_reading()
        self.tick()
        self.assertEqual(self.client.answer().events[-1], "[DONE]")

    def test_request_is_over_although_its_end_is_not_read(self) -> None:
        left: list[OwnRun] = []
        leave = OwnRun.leave

        def note(source: OwnRun, *, by_timeout: bool) -> None:
            left.append(source)
            leave(source, by_timeout=by_timeout)

        self.patch(OwnRun, "leave", note)
        transport = self.begin().transport
        transport.stop_reading()
        self.push(ProviderFinished("stop"))
        self.stream.end()
        self.tick()
        self.assertEqual(len(left), 1)
        transport.start_reading()
        self.assertEqual(self.client.answer().events[-1], "[DONE]")

    def test_producer_methods_without_a_wait(self) -> None:
        stream = EventStream(None, self.clock)  # type: ignore[arg-type]
        stream.resumeProducing()
        stream.stopProducing()
        self.assertFalse(stream.is_open)
