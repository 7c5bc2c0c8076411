"""Tests of L{openclaw.providers.body}."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionAborted, ConnectionLost
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.tcp import Connection as TcpConnection
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss

from openclaw.errors import ProviderFailed, ProviderTimeout
from openclaw.providers.body import (
    READ_BYTES,
    BodyReceiver,
    ProviderConnection,
    abort_body,
    connection_of,
    discard,
    receive,
)
from test.providers.http_fakes import Client, Wire


class BodyTests(SynchronousTestCase):
    """A body over the real client."""

    def setUp(self) -> None:
        self.client = Client()
        answer = self.client.post()
        self.peer = self.client.accept()
        self.peer.request()
        self.peer.head()
        self.response = self.successResultOf(answer)
        self.body = receive(self.response, self.client.reactor, 60.0, "mock")

    def timers(self) -> int:
        return len(self.client.reactor.getDelayedCalls())

    def test_one_batch_a_read(self) -> None:
        """All chunks of one read of the network are one batch."""
        first = self.body.read()
        self.peer.chunks(b"a", b"b", b"c")
        self.assertEqual(b"abc", self.successResultOf(first))
        self.peer.chunks(b"d", b"e")
        self.assertEqual(b"de", self.successResultOf(self.body.read()))

    def test_end(self) -> None:
        """The end of the body comes after its bytes, and again for who asks again."""
        first = self.body.read()
        self.peer.chunks(b"a", b"b", end=True)
        self.assertEqual(b"ab", self.successResultOf(first))
        self.assertIsNone(self.successResultOf(self.body.read()))
        self.assertIsNone(self.successResultOf(self.body.read()))

    def test_end_alone(self) -> None:
        """The end reaches who waits for it."""
        first = self.body.read()
        self.peer.chunks(end=True)
        self.assertIsNone(self.successResultOf(first))

    def test_cut_off(self) -> None:
        """A connection that breaks within the body fails the read after the last bytes."""
        self.peer.chunks(b"a")
        self.peer.close(ConnectionLost())
        self.assertEqual(b"a", self.successResultOf(self.body.read()))
        for _ in range(2):
            error = self.failureResultOf(self.body.read(), ProviderFailed).value
            self.assertEqual("the provider mock cut its answer off", error.message)

    def test_garbled_chunks(self) -> None:
        """A broken transfer coding cuts the body off."""
        first = self.body.read()
        self.peer.send(b"zzz\r\n")
        self.failureResultOf(first, ProviderFailed)

    def test_paused_while_a_batch_waits(self) -> None:
        """A batch that nobody takes pauses the connection; taking it resumes it."""
        self.assertEqual("producing", self.peer.wire.producerState)
        self.peer.chunks(b"a")
        self.assertEqual("paused", self.peer.wire.producerState)
        self.peer.chunks(b"b")
        self.assertEqual(b"ab", self.successResultOf(self.body.read()))
        self.assertEqual("producing", self.peer.wire.producerState)

    def test_not_paused_while_awaited(self) -> None:
        """A batch that is awaited does not touch the connection."""
        first = self.body.read()
        self.peer.wire.pauseProducing = lambda: self.fail("paused")  # type: ignore[method-assign]
        self.peer.chunks(b"a")
        self.assertEqual(b"a", self.successResultOf(first))

    def test_idle(self) -> None:
        """A gap of 60 s aborts; bytes before that start it anew; only one timer is ever there."""
        first = self.body.read()
        self.client.reactor.advance(59)
        self.assertEqual(1, self.timers())
        self.peer.chunks(b"a")
        self.assertEqual(b"a", self.successResultOf(first))
        second = self.body.read()
        self.client.reactor.advance(59)
        self.assertNoResult(second)
        self.assertEqual(1, self.timers())
        self.assertFalse(self.peer.wire.aborted)
        self.client.reactor.advance(1)
        error = self.failureResultOf(second, ProviderTimeout).value
        self.assertEqual("the provider mock stopped answering", error.message)
        self.assertTrue(self.peer.wire.aborted)
        self.client.reactor.advance(0)
        self.assertEqual(0, self.timers())

    def test_idle_unobserved(self) -> None:
        """The gap counts also when nobody waits, and is told at the next read."""
        self.client.reactor.advance(60)
        self.assertTrue(self.peer.wire.aborted)
        self.failureResultOf(self.body.read(), ProviderTimeout)

    def test_paused_is_not_idle(self) -> None:
        """Time while the reader is slow is not the provider's."""
        self.peer.chunks(b"a")
        self.client.reactor.advance(30)
        self.client.reactor.advance(600)
        self.assertEqual(0, self.timers())
        self.assertEqual(b"a", self.successResultOf(self.body.read()))
        second = self.body.read()
        self.client.reactor.advance(59.9)
        self.assertNoResult(second)
        self.client.reactor.advance(0.1)
        self.failureResultOf(second, ProviderTimeout)

    def test_short_pause(self) -> None:
        """A pause that the timer does not notice still starts the gap anew."""
        self.peer.chunks(b"a")
        self.client.reactor.advance(50)
        self.successResultOf(self.body.read())
        second = self.body.read()
        self.client.reactor.advance(59)
        self.assertNoResult(second)
        self.client.reactor.advance(1)
        self.failureResultOf(second, ProviderTimeout)

    def test_cancel(self) -> None:
        """Cancelling a read aborts the connection within a turn of the reactor."""
        first = self.body.read()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertTrue(self.peer.wire.aborted)
        self.client.reactor.advance(0)
        self.assertTrue(self.peer.wire.lost)
        self.assertEqual(0, self.timers())
        self.failureResultOf(self.body.read(), ProviderFailed)

    def test_abort(self) -> None:
        """Aborting cuts the connection, fails who waits and throws away what waits."""
        first = self.body.read()
        self.body.abort()
        self.failureResultOf(first, ProviderFailed)
        self.assertTrue(self.peer.wire.aborted)
        self.body.abort()
        self.peer.chunks(b"late")
        self.failureResultOf(self.body.read(), ProviderFailed)
        self.client.reactor.advance(0)
        self.assertEqual(0, self.timers())

    def test_abort_while_paused(self) -> None:
        """A paused connection is aborted just the same."""
        self.peer.chunks(b"a")
        self.body.abort()
        self.assertTrue(self.peer.wire.aborted)
        self.failureResultOf(self.body.read(), ProviderFailed)

    def test_abort_after_the_end(self) -> None:
        """A complete body's connection is not aborted: it may serve somebody else already."""
        self.peer.chunks(b"a", end=True)
        self.body.abort()
        self.assertFalse(self.peer.wire.aborted)
        self.assertIsNone(self.successResultOf(self.body.read()))

    def test_abort_within_a_read(self) -> None:
        """A reader that aborts at the first of a read's chunks does not see the others."""
        first = self.body.read()
        first.addCallback(lambda data: self.body.abort())
        self.peer.chunks(b"a", b"b")
        self.assertTrue(self.peer.wire.aborted)
        self.peer.chunks(b"c")
        self.failureResultOf(self.body.read(), ProviderFailed)

    def test_drain(self) -> None:
        """A drained body's rest is thrown away and its connection kept."""
        self.peer.chunks(b"a")
        self.body.drain(2.0)
        self.assertEqual("producing", self.peer.wire.producerState)
        self.peer.chunks(b"rest", end=True)
        self.assertFalse(self.peer.wire.aborted)
        self.assertIsNone(self.successResultOf(self.body.read()))
        self.client.post()
        self.assertEqual(1, len(self.client.reactor.tcpClients))
        self.assertIn(b"POST", self.peer.wire.value())

    def test_drain_deadline(self) -> None:
        """A drained body that does not end is aborted, whatever comes meanwhile."""
        self.body.drain(2.0)
        self.client.reactor.advance(1.9)
        self.peer.chunks(b"more")
        self.assertFalse(self.peer.wire.aborted)
        self.client.reactor.advance(0.1)
        self.assertTrue(self.peer.wire.aborted)

    def test_limit(self) -> None:
        """A limit is for the whole rest, also while bytes come or nobody takes them; what came is still given."""
        self.body.limit(5.0)
        self.client.reactor.advance(4)
        self.peer.chunks(b"a")
        self.assertEqual(b"a", self.successResultOf(self.body.read()))
        self.peer.chunks(b"b")
        self.client.reactor.advance(1)
        self.assertTrue(self.peer.wire.aborted)
        self.assertEqual(b"b", self.successResultOf(self.body.read()))
        self.failureResultOf(self.body.read(), ProviderTimeout)

    def test_lifted_limit(self) -> None:
        """A limit that is lifted leaves the bound of the gaps, counted anew, also while nobody takes bytes."""
        self.body.lift_limit()
        self.body.limit(5.0)
        self.client.reactor.advance(4)
        self.body.lift_limit()
        waiting = self.body.read()
        self.client.reactor.advance(59)
        self.assertNoResult(waiting)
        self.peer.chunks(b"a")
        self.assertEqual(b"a", self.successResultOf(waiting))
        self.body.limit(5.0)
        self.peer.chunks(b"b")
        self.body.lift_limit()
        self.client.reactor.advance(1000)
        self.assertEqual(b"b", self.successResultOf(self.body.read()))
        waiting = self.body.read()
        self.client.reactor.advance(60)
        self.failureResultOf(waiting, ProviderTimeout)
        self.body.lift_limit()
        self.client.reactor.advance(5)
        self.assertEqual(0, self.timers())

    def test_limit_after_the_end(self) -> None:
        """A limit of a complete body is nothing."""
        self.peer.chunks(end=True)
        self.body.limit(5.0)
        self.body.drain(5.0)
        self.client.reactor.advance(6)
        self.assertFalse(self.peer.wire.aborted)

    def test_discard(self) -> None:
        """A response that nobody wants costs its connection."""
        client = Client()
        answer = client.post()
        peer = client.accept()
        peer.head()
        discard(self.successResultOf(answer))
        self.assertTrue(peer.wire.aborted)


class BodyFormsTests(SynchronousTestCase):
    def test_body_with_the_head(self) -> None:
        """Bytes that come in the same read as the head are given without waiting for another read."""
        client = Client()
        answer = client.post()
        received: list[BodyReceiver] = []
        answer.addCallback(lambda response: received.append(receive(response, client.reactor, 60.0, "mock")))
        client.accept().send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n")
        self.assertEqual(b"ab", self.successResultOf(received[0].read()))

    def test_body_before_the_receiver(self) -> None:
        """Bytes that wait for a receiver are given at once too."""
        client = Client()
        answer = client.post()
        client.accept().send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n")
        body = receive(self.successResultOf(answer), client.reactor, 60.0, "mock")
        self.assertEqual(b"ab", self.successResultOf(body.read()))

    def test_until_close(self) -> None:
        """A body without a declared length ends with its connection."""
        client = Client()
        answer = client.post()
        peer = client.accept()
        peer.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nab")
        body = receive(self.successResultOf(answer), client.reactor, 60.0, "mock")
        peer.close()
        self.assertEqual(b"ab", self.successResultOf(body.read()))
        self.assertIsNone(self.successResultOf(body.read()))

    def test_short_of_its_length(self) -> None:
        """A body shorter than declared was cut off."""
        client = Client()
        answer = client.post()
        peer = client.accept()
        peer.head(content_length="10")
        body = receive(self.successResultOf(answer), client.reactor, 60.0, "mock")
        peer.send(b"ab")
        peer.close()
        self.assertEqual(b"ab", self.successResultOf(body.read()))
        self.failureResultOf(body.read(), ProviderFailed)

    def test_other_transports(self) -> None:
        """Over a transport that cannot tell the end of a read, each delivery is a batch."""
        for reason in (ResponseDone(), PotentialDataLoss()):
            clock = Clock()
            body = BodyReceiver(clock, 60.0, "mock")
            body.makeConnection(StringTransport())
            first = body.read()
            body.dataReceived(b"a")
            self.assertEqual(b"a", self.successResultOf(first))
            body.dataReceived(b"b")
            body.connectionLost(Failure(reason))
            body.connectionLost()
            self.assertEqual(b"b", self.successResultOf(body.read()))
            self.assertIsNone(self.successResultOf(body.read()))
            self.assertEqual([], clock.getDelayedCalls())


class ReadSizeTests(SynchronousTestCase):
    """How much is read of a TCP connection at once, of which Twisted decides by an attribute of the transport."""

    def reads_of(self, factory: Any) -> list[int]:
        """The sizes in which a connection to the protocol of C{factory} asks its socket for bytes."""
        asked: list[int] = []

        class Socket:
            def recv(self, max_bytes: int) -> bytes:
                asked.append(max_bytes)
                return b"x" * max_bytes

            def fileno(self) -> int:
                return 0

            def setblocking(self, flag: bool) -> None:
                pass

        protocol = factory.buildProtocol(None)
        transport: Any = TcpConnection(Socket(), protocol, MemoryReactorClock())  # type: ignore[arg-type]
        protocol.makeConnection(transport)
        transport.doRead()
        return asked

    def factory(self) -> Any:
        factory: Any = WrappingFactory(Factory.forProtocol(Protocol))
        factory.protocol = ProviderConnection
        return factory

    def test_tcp(self) -> None:
        self.assertEqual([READ_BYTES], self.reads_of(self.factory()))
        self.assertEqual(16 * 1024, READ_BYTES)

    def test_below_tls(self) -> None:
        """What is on top of other wrappers bounds the reads of the socket below them."""
        tls: Any = WrappingFactory(self.factory())
        tls.protocol = ProtocolWrapper
        self.assertEqual([READ_BYTES], self.reads_of(tls))

    def test_by_the_agent(self) -> None:
        client = Client()
        client.post()
        wire: Any = client.accept().wire
        self.assertEqual(READ_BYTES, wire.bufferSize)


class AbortBodyTests(SynchronousTestCase):
    def test_private_attribute(self) -> None:
        """
        The library's transport of a body still has the attribute that we need.  If this fails, find the connection
        in its new place, in L{connection_of}.
        """
        client = Client()
        answer = client.post()
        peer = client.accept()
        peer.head()
        body = receive(self.successResultOf(answer), client.reactor, 60.0, "mock")
        transport: Any = body.transport
        self.assertEqual("TransportProxyProducer", type(transport).__name__)
        self.assertFalse(hasattr(transport, "abortConnection"))
        self.assertTrue(hasattr(connection_of(transport), "abortConnection"))
        abort_body(transport)
        self.assertTrue(peer.wire.aborted)
        client.reactor.advance(0)
        self.assertIsNone(connection_of(transport))
        abort_body(transport)

    def test_without_abort(self) -> None:
        """A transport that cannot abort is closed, and none is nothing."""
        lost: list[int] = []

        class Closing:
            def loseConnection(self) -> None:
                lost.append(1)

        abort_body(Closing())  # type: ignore[arg-type]
        self.assertEqual([1], lost)
        abort_body(None)

    def test_real_wire(self) -> None:
        """The wire of these tests ends like a TCP transport: a turn after the abort, and once."""
        reactor = MemoryReactorClock()
        lost: list[Failure] = []

        class Lost:
            def connectionLost(self, reason: Failure) -> None:
                lost.append(reason)

        wire = Wire(reactor)
        wire.protocol = Lost()
        wire.abortConnection()
        wire.loseConnection()
        self.assertEqual([], lost)
        reactor.advance(0)
        self.assertEqual([ConnectionAborted], [reason.type for reason in lost])
