"""
Tests of L{openclaw.twisted_internals}: whether Twisted still has inside what is leant on there.

If one of these fails, look for the same thing in its new place, and change that module alone.
"""

from __future__ import annotations

import socket
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Connection, _reservedFD
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.components import Componentized
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web._newclient import HTTP11ClientProtocol, HTTPClientParser, TransportProxyProducer
from twisted.web.client import HTTPConnectionPool
from twisted.web.http import HTTPChannel, Request, _ChunkedTransferDecoder, _MalformedChunkedDataError
from twisted.web.server import Request as SiteRequest

from openclaw.twisted_internals import (
    REQUEST_ADAPTERS,
    ChunkDecoder,
    ClientPool,
    OpenChannel,
    before_end,
    connection_of,
    has_nothing_to_send,
    holds_nothing_back,
    reserve_descriptor,
)


class Held(Request):
    """A request that is never answered."""

    def process(self) -> None:
        """Leave it."""


class Channel(OpenChannel):
    """Says when it was sent what is no HTTP."""

    requestFactory = Held
    was_bad = False

    def bad_request(self) -> None:
        """Keep that."""
        self.was_bad = True


class EndTests(SynchronousTestCase):
    """The last look at a connection, whose socket is still open then."""

    def test_socket_is_open(self) -> None:
        ours, theirs = socket.socketpair()
        self.addCleanup(theirs.close)
        transport: Any = Connection(ours, Protocol(), MemoryReactorClock())
        transport.connected = True
        seen: list[object] = []
        before_end(transport, lambda: seen.append((transport.getHandle().fileno() >= 0, holds_nothing_back(transport))))
        transport.connectionLost(Failure(ConnectionDone()))
        self.assertEqual([(True, True)], seen)
        self.assertNotIn("connectionLost", vars(transport))
        self.assertEqual(-1, ours.fileno())

    def test_other_transports(self) -> None:
        transport = StringTransport()
        before_end(transport, self.fail)
        self.assertFalse(holds_nothing_back(transport))


class OpenChannelTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.channel = Channel()
        self.transport = StringTransport(IPv4Address("TCP", "127.0.0.1", 1), IPv4Address("TCP", "127.0.0.1", 2))
        self.channel.makeConnection(self.transport)

    def test_between_requests(self) -> None:
        self.assertIsNone(self.channel.first_line)
        self.assertEqual(self.channel.unread, b"")
        self.assertFalse(self.channel.is_receiving or self.channel.is_handling or self.channel.waits_for_client)
        self.assertFalse(self.channel.is_head_large)

    def test_head(self) -> None:
        self.channel.dataReceived(b"GET /a?b HTTP/1.1\r\nHost: a\r\nX")
        self.assertEqual(self.channel.first_line, (b"GET", b"/a?b", b"HTTP/1.1"))
        self.assertEqual(self.channel.unread, b"X")

    def test_handling(self) -> None:
        self.channel.dataReceived(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertTrue(self.channel.is_handling)
        self.assertIsNone(self.channel.first_line)
        self.channel.dataReceived(b"GET /")
        self.assertEqual(self.channel.bytes_behind, 5)

    def test_receiving(self) -> None:
        during: list[bool] = []
        self.patch(Held, "process", lambda request: during.append(self.channel.is_receiving))
        self.channel.dataReceived(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual((during, self.channel.is_receiving), ([True], False))

    def test_waits(self) -> None:
        self.channel.pauseProducing()
        self.assertTrue(self.channel.waits_for_client)

    def test_reading(self) -> None:
        self.channel.pause_reading()
        self.assertEqual(self.transport.producerState, "paused")
        self.channel.resume_reading()
        self.assertEqual(self.transport.producerState, "producing")

    def test_large_heads(self) -> None:
        for head in (b"A: b\r\n" * (self.channel.maxHeaders + 1), b"A: " + b"b" * self.channel.totalHeadersSize):
            self.setUp()
            self.channel.MAX_LENGTH = 10**6
            self.channel.dataReceived(b"GET / HTTP/1.1\r\n" + head + b"\r\n")
            self.assertTrue(self.channel.is_head_large and self.channel.was_bad)

    def test_bad_request(self) -> None:
        self.channel.dataReceived(b"\x00\r\n")
        self.assertTrue(self.channel.was_bad)
        self.assertTrue(hasattr(HTTPChannel, "_respondToBadRequestAndDisconnect"))


class OtherTests(SynchronousTestCase):
    def test_what_was_written_last(self) -> None:
        """A socket has that list; where there is none, everything would be written twice over."""
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        transport: Any = Connection(ours, Protocol(), MemoryReactorClock())
        transport.connected = 1
        self.assertTrue(has_nothing_to_send(transport))
        transport.write(b"x")
        self.assertFalse(has_nothing_to_send(transport))
        self.assertFalse(has_nothing_to_send(StringTransport()))

    def test_body(self) -> None:
        """The transport of a body is a proxy that hides the connection."""
        connection = object()
        self.assertIs(connection_of(TransportProxyProducer(connection)), connection)  # type: ignore[arg-type]
        self.assertIsNone(connection_of(object()))

    def test_client(self) -> None:
        protocol: Any = HTTP11ClientProtocol()  # type: ignore[no-untyped-call]
        self.assertIsNone(protocol._parser)
        self.assertTrue(hasattr(protocol, "_disconnectParser"))
        self.assertTrue(hasattr(HTTPConnectionPool, "_factory"))
        made = ClientPool._factory(lambda _: None, "").buildProtocol(None)  # type: ignore[attr-defined]
        self.assertIsInstance(made, HTTP11ClientProtocol)

    def test_chunk_decoder(self) -> None:
        """Sizes of chunks as servers write them, cut anywhere; what is no size stays an error."""
        self.assertIn(b"chunked", HTTPClientParser._transferDecoders)
        for line in (b"5", b"5   ", b" 5", b"5\t", b'5 ; x="y"', b"5;x=y", b"05 ;x", b'5 ; a ; b = "\xe4;"', b"00005 "):
            stream = line + b"\r\nhello\r\n0 \r\n\r\nrest"
            for at in range(len(stream)):
                got: list[bytes] = []
                ends: list[bytes] = []
                decoder = ChunkDecoder(got.append, ends.append)
                decoder.dataReceived(stream[:at])
                if not ends:
                    decoder.dataReceived(stream[at:])
                    self.assertEqual((b"hello", [b"rest"]), (b"".join(got), ends), (line, at))
        for line in (b"x", b"", b" ", b"5 5", b"-5", b"0x5 ", b"; x=y", b"+5 ;a", b"5" + b" " * 2000):
            decoder = ChunkDecoder(got.append, ends.append)
            with self.assertRaises(_MalformedChunkedDataError, msg=line):
                decoder.dataReceived(line + b"\r\nhello\r\n")

    @settings(max_examples=300, derandomize=True, deadline=None, database=None)
    @given(
        st.lists(st.binary(min_size=1, max_size=40), max_size=6),
        st.sampled_from((b"%x", b"%X", b"%04x", b"%x;a=b", b"%x ; a", b"%x ", b"+%x", b"0x%x", b"%x\n")),
        st.sampled_from((b"0\r\n\r\n", b"00\r\nA: b\r\n\r\n", b"", b"\r\n", b"1_0\r\n")),
        st.lists(st.integers(1, 60), max_size=8),
    )
    def test_chunks_cut_anywhere(self, bodies: list[bytes], form: bytes, tail: bytes, cuts: list[int]) -> None:
        """However it comes, it gives what the library's decoder gives, or more where that is too strict."""
        stream = b"".join(form % len(body) + b"\r\n" + body + b"\r\n" for body in bodies) + tail
        told = []
        for kind in (ChunkDecoder, _ChunkedTransferDecoder):
            got: list[bytes] = []
            ends: list[bytes] = []
            decoder, place, failed = kind(got.append, ends.append), 0, False
            try:
                for cut in (*cuts, len(stream)):
                    if place < len(stream) and not ends:
                        decoder.dataReceived(stream[place : place + cut])
                        place += cut
            except _MalformedChunkedDataError:
                failed = True
            told.append((failed, b"".join(got), ends))
        ours, library = told
        if not library[0] or not form.endswith((b" ", b" ; a")):
            self.assertEqual(library, ours)
        elif not ours[0]:
            self.assertTrue(b"".join(bodies).startswith(ours[1]))

    def test_adapters(self) -> None:
        self.assertTrue(issubclass(SiteRequest, Componentized))
        self.assertIn(REQUEST_ADAPTERS, vars(Componentized()))


class ReserveTests(SynchronousTestCase):
    """The descriptor with which connections are closed while there are no others."""

    def test_taken_again(self) -> None:
        reserve_descriptor()
        self.assertTrue(_reservedFD.available())
        with _reservedFD:
            self.assertFalse(_reservedFD.available())
        self.assertTrue(_reservedFD.available())
