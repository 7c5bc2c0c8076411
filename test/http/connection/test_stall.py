"""Tests of L{openclaw.http.connection.stall}."""

from __future__ import annotations

import socket
import struct
from typing import Any
from unittest import mock

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from openclaw.events import ProviderFinished, TextDelta
from openclaw.http.connection.channel import IDLE_DEADLINE_S
from openclaw.http.connection.stall import LOOK_S, STALL_S, StallWatch, acknowledged_bytes
from openclaw.log_rare import RareLines
from test.http.support import GatewayTestCase, MemoryTransport


class Reader:
    """
    The client's system, as the kernel here knows it.

    @ivar taken: how many bytes it has acknowledged.
    """

    def __init__(self) -> None:
        self.taken = 0
        self.handle = mock.create_autospec(socket.socket, instance=True)
        self.handle.getsockopt.side_effect = lambda level, option, size: b"\0" * 120 + struct.pack("=Q", self.taken)

    def of(self, transport: Any) -> Any:
        """Give it to a transport."""
        transport.getHandle = lambda: self.handle
        return transport


class WatchTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.reader = Reader()
        self.transport = self.reader.of(StringTransport())
        self.transport.abortConnection = mock.Mock()
        self.watch = StallWatch(self.transport, self.clock, RareLines(self.clock.seconds))

    def test_nothing_is_read(self) -> None:
        self.clock.pump([LOOK_S] * 11)
        self.transport.abortConnection.assert_not_called()
        self.clock.advance(LOOK_S)
        self.transport.abortConnection.assert_called_once_with()
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_a_little_is_read_now_and_then(self) -> None:
        for _ in range(20):
            self.reader.taken += 1
            self.clock.pump([LOOK_S] * 11)
        self.transport.abortConnection.assert_not_called()
        self.clock.pump([LOOK_S] * 12)
        self.transport.abortConnection.assert_called_once_with()

    def test_stopped(self) -> None:
        self.watch.stop()
        self.watch.stop()
        self.clock.pump([LOOK_S] * 20)
        self.transport.abortConnection.assert_not_called()

    def test_clock_that_is_set_back(self) -> None:
        """It delays the end by as much, and no more."""
        self.clock.advance(LOOK_S)
        self.clock.rightNow -= 3600
        self.clock.pump([LOOK_S] * 20)
        self.transport.abortConnection.assert_not_called()


class ClientTests(GatewayTestCase):
    def begin(self) -> tuple[Any, Reader]:
        client, reader = self.connect(), Reader()
        client.chat(stream=True)
        self.tick()
        self.stream.push(TextDelta("first"))
        self.tick()
        reader.of(client.transport).stop_reading()
        return client, reader

    def test_a_stream_to_a_slow_reader_goes_on(self) -> None:
        client, reader = self.begin()
        for _ in range(10):
            self.wait(STALL_S - LOOK_S)
            reader.taken += 1460
        client.transport.start_reading()
        self.stream.push(TextDelta("last"), ProviderFinished("stop"))
        self.stream.end()
        self.tick()
        self.assertEqual("[DONE]", client.answer().events[-1])
        self.assertEqual([], self.runs.live)

    def test_so_does_what_is_left_of_it_at_its_end(self) -> None:
        """The time that a connection may idle does not cut off the end of an answer."""
        client, reader = self.begin()
        self.stream.push(TextDelta("last"), ProviderFinished("stop"))
        self.stream.end()
        self.tick()
        for _ in range(10):
            self.wait(IDLE_DEADLINE_S / 2)
            reader.taken += 1460
        self.assertFalse(client.closed)
        self.wait(STALL_S + LOOK_S)
        self.assertTrue(client.transport.aborted)
        self.assertEqual([], self.clock.getDelayedCalls())


class AcknowledgedTests(SynchronousTestCase):
    def test_nobody_can_tell(self) -> None:
        reader = Reader()
        reader.handle.getsockopt.side_effect = OSError("a unix socket")
        self.assertEqual(0, acknowledged_bytes(reader.of(StringTransport())))
        self.assertEqual(0, acknowledged_bytes(mock.Mock(getHandle=object)))
        self.assertEqual(0, acknowledged_bytes(StringTransport()))
        self.assertEqual(0, acknowledged_bytes(MemoryTransport(Clock(), None)))  # type: ignore[arg-type]

    def test_a_system_that_keeps_less(self) -> None:
        reader = Reader()
        reader.handle.getsockopt.side_effect = lambda level, option, size: b"\0" * 104
        self.assertEqual(0, acknowledged_bytes(reader.of(StringTransport())))
