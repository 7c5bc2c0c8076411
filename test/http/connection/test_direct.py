"""Tests of L{openclaw.http.connection.direct}."""

from __future__ import annotations

import errno
from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Connection
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from openclaw.http.connection.direct import write_now


class Kernel:
    """
    A socket that takes so many bytes.

    @ivar room: how many; C{None} for a peer that is gone.
    """

    def __init__(self) -> None:
        self.room: int | None = 1000
        self.taken = b""

    def setblocking(self, _: int) -> None:
        """It never blocks."""

    def fileno(self) -> int:
        return 7

    def send(self, data: Any) -> int:
        if self.room is None:
            raise OSError(errno.EPIPE, "gone")
        if not self.room:
            raise BlockingIOError(errno.EWOULDBLOCK, "full")
        piece = bytes(data)[: self.room]
        self.room -= len(piece)
        self.taken += piece
        return len(piece)


class Writers:
    """The part of a reactor that a connection uses."""

    def __init__(self) -> None:
        self.writing = 0

    def addWriter(self, _: object) -> None:
        self.writing += 1

    def removeWriter(self, _: object) -> None:
        """Nothing is to be sent any more."""


class SocketTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.kernel, self.reactor = Kernel(), Writers()
        self.transport: Any = Connection(self.kernel, Protocol(), self.reactor)
        self.transport.connected = 1

    def write(self, *pieces: bytes) -> None:
        write_now(self.transport, pieces)

    def test_all_at_once(self) -> None:
        self.write(b"5\r\n", b"hello")
        self.write(b"more")
        self.assertEqual((b"5\r\nhellomore", 0), (self.kernel.taken, self.reactor.writing))

    def test_the_rest_is_left_to_the_reactor(self) -> None:
        for room in (3, 0):
            self.setUp()
            self.kernel.room = room
            self.write(b"hello")
            self.assertEqual((room, 1), (len(self.kernel.taken), self.reactor.writing))
            # What comes later does not overtake it, though there is room by now.
            self.kernel.room = 1000
            self.write(b" world")
            self.assertEqual(room, len(self.kernel.taken))
            self.assertIsNone(self.transport.doWrite())
            self.write(b"!")
            self.assertEqual(b"hello world!", self.kernel.taken)

    def test_nor_does_it_overtake_a_part_of_what_was_written(self) -> None:
        self.transport.write(b"x" * 2000)
        self.transport.doWrite()
        # No other way to see that the first of Twisted's two buffers is empty here, and only that.
        self.assertEqual([], self.transport._tempDataBuffer)
        self.kernel.room = 2000
        self.write(b"y")
        self.assertEqual(b"x" * 1000, self.kernel.taken)
        self.transport.doWrite()
        self.assertEqual(b"x" * 2000 + b"y", self.kernel.taken)

    def test_a_full_buffer_pauses(self) -> None:
        class Producer:
            paused = False

            def pauseProducing(self) -> None:
                self.paused = True

        self.transport.producer, self.transport.streamingProducer = (producer := Producer()), True
        self.kernel.room = 10
        self.write(b"x" * 200_000)
        self.assertTrue(producer.paused)

    def test_peer_is_gone(self) -> None:
        self.kernel.room = None
        self.write(b"hello")
        self.assertIsInstance(self.transport.doWrite(), ConnectionLost)

    def test_closing_or_closed(self) -> None:
        self.transport.disconnecting = True
        self.write(b"last")
        self.assertEqual(b"", self.kernel.taken)
        self.transport.doWrite()
        self.assertEqual(b"last", self.kernel.taken)
        self.transport.connected = 0
        self.write(b"late")
        self.transport.doWrite()
        self.assertEqual(b"last", self.kernel.taken)


class OtherTests(SynchronousTestCase):
    def test_not_a_socket(self) -> None:
        transport = StringTransport()
        write_now(transport, [b"a", b"b"])
        self.assertEqual(b"ab", transport.value())
