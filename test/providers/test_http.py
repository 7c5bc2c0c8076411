"""Tests of L{openclaw.providers.http}."""

from __future__ import annotations

import gc
import gzip
import weakref
from typing import Any

from hyperlink import EncodedURL
from OpenSSL.SSL import Error as TLSError
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost, ConnectionRefusedError, DNSLookupError
from twisted.internet.interfaces import IHostResolution, IResolutionReceiver
from twisted.internet.ssl import optionsForClientTLS
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import IPolicyForHTTPS, IResponse
from zope.interface import implementer

from openclaw.errors import LastingProviderFailure, ProviderFailed, ProviderTimeout, TransientProviderTimeout
from openclaw.providers.body import receive
from openclaw.providers.http import (
    BytesBody,
    ready_url,
    request_headers,
)
from test.providers.http_fakes import Client, Peer


class PostTests(SynchronousTestCase):
    def test_request(self) -> None:
        """The request has the given headers and body, asks for no compression, and its answer's head is given."""
        client = Client()
        answer = client.post("http://127.0.0.1:8000/v1/x?v=1")
        peer = client.accept()
        first, headers, body = peer.request()
        self.assertEqual(b"POST /v1/x?v=1 HTTP/1.1", first)
        self.assertEqual(b"the body", body)
        self.assertEqual("identity", headers["accept-encoding"])
        self.assertEqual(("127.0.0.1:8000", "1", "8"), (headers["host"], headers["x-a"], headers["content-length"]))
        self.assertNoResult(answer)
        peer.head(418)
        self.assertEqual(418, self.successResultOf(answer).code)
        self.assertEqual([], client.reactor.getDelayedCalls())

    def test_no_cookies(self) -> None:
        """Cookies of a server are not kept."""
        client = Client()
        answer = client.post()
        peer = client.accept()
        peer.request()
        peer.answer(200, b"{}", Set_Cookie="a=b; Path=/")
        receive(self.successResultOf(answer), client.reactor, 60.0, "mock")
        client.post()
        self.assertNotIn("cookie", peer.request()[1])

    def test_parser_goes_with_its_answer(self) -> None:
        """Without the garbage collector; Twisted's parser and the decoder of chunks refer to each other."""
        client = Client()
        answer = client.post()
        peer = client.accept()
        peer.request()
        gc.disable()
        self.addCleanup(gc.enable)
        # Twisted gives nobody its parser, and only that can tell whether it is gone.
        parser = weakref.ref(peer.protocol._wrappedProtocol.wrappedProtocol._parser)
        peer.head()
        self.assertIsNotNone(parser())
        body = receive(self.successResultOf(answer), client.reactor, 60.0, "mock")
        peer.chunks(b"x", end=True)
        self.assertEqual(b"x", self.successResultOf(body.read()))
        self.assertIsNone(parser())
        # The connection takes the next request.
        client.post()
        self.assertEqual(b"the body", peer.request()[2])

    def test_redirect(self) -> None:
        """A redirect is given as it is, not followed."""
        client = Client()
        answer = client.post()
        client.accept().answer(307, b"", Location="http://127.0.0.1:8000/other")
        self.assertEqual(307, self.successResultOf(answer).code)
        self.assertEqual(1, len(client.reactor.tcpClients))

    def test_names_of_gzip(self) -> None:
        """A coding is known in any case, and by its older name."""
        for name in ("gzip", "GZIP", "x-gzip", "X-Gzip"):
            client = Client()
            answer = client.post()
            peer = client.accept()
            peer.request()
            peer.answer(200, gzip.compress(b"the answer"), **{"Content-Encoding": name})
            body = receive(self.successResultOf(answer), client.reactor, 60.0, "mock")
            self.assertEqual(b"the answer", self.successResultOf(body.read()), name)

    def test_connect_fails(self) -> None:
        """A refused connection is told as such."""
        client = Client()
        answer = client.post()
        client.reactor.tcpClients[0][2].clientConnectionFailed(None, Failure(ConnectionRefusedError()))
        error = self.failureResultOf(answer, ProviderFailed).value
        self.assertEqual("the provider mock could not be reached: connection refused", error.message)
        self.assertIsInstance(error.__cause__, ConnectionRefusedError)
        self.assertEqual([], client.reactor.getDelayedCalls())

    def test_connect_timeout(self) -> None:
        """A connection that is not made in 5 s is given up."""
        client = Client()
        answer = client.post()
        client.reactor.advance(4.9)
        self.assertNoResult(answer)
        client.reactor.advance(0.1)
        self.assertIn("reached in time", self.failureResultOf(answer, TransientProviderTimeout).getErrorMessage())

    def test_cancelled_while_connecting(self) -> None:
        """Cancelling stops connecting."""
        client = Client()
        answer = client.post()
        answer.cancel()
        self.failureResultOf(answer, CancelledError)
        self.assertTrue(client.reactor.connectors[0].stoppedConnecting)
        self.assertEqual([], client.reactor.getDelayedCalls())

    def test_cancelled_while_waiting(self) -> None:
        """Cancelling after the request was sent aborts the connection, within a turn of the reactor."""
        client = Client()
        answer = client.post()
        peer = client.accept()
        answer.cancel()
        self.failureResultOf(answer, CancelledError)
        self.assertTrue(peer.wire.aborted)
        client.reactor.advance(0)
        self.assertTrue(peer.wire.lost)
        self.assertEqual([], client.reactor.getDelayedCalls())

    def test_first_byte_deadline(self) -> None:
        """A server that does not answer in time is given up, and its connection aborted."""
        client = Client()
        answer = client.post()
        peer = client.accept()
        client.reactor.advance(29.9)
        self.assertNoResult(answer)
        client.reactor.advance(0.1)
        error = self.failureResultOf(answer, ProviderTimeout).value
        self.assertEqual("the provider mock did not answer within 30 s", error.message)
        self.assertFalse(error.transient)
        self.assertTrue(peer.wire.aborted)

    def test_head_in_pieces(self) -> None:
        """A head that never ends does not put off the deadline."""
        client = Client()
        answer = client.post()
        peer = client.accept()
        peer.send(b"HTTP/1.1 200 OK\r\n")
        client.reactor.pump([10, 10])
        peer.send(b"X-A: 1\r\n")
        client.reactor.advance(10)
        self.failureResultOf(answer, ProviderTimeout)

    def test_closed_without_answer(self) -> None:
        """A server that closes without an answer has failed."""
        client = Client()
        answer = client.post()
        client.accept().close()
        error = self.failureResultOf(answer, ProviderFailed).value
        self.assertEqual("the provider mock closed the connection without an answer", error.message)
        self.assertTrue(error.transient)

    def test_reset_within_head(self) -> None:
        """So has one that breaks off within the head."""
        client = Client()
        answer = client.post()
        peer = client.accept()
        peer.send(b"HTTP/1.1 200 OK\r\nX-")
        peer.close(ConnectionLost())
        error = self.failureResultOf(answer, ProviderFailed).value
        self.assertEqual("the provider mock cut its answer off", error.message)
        self.assertTrue(error.transient)

    def test_not_http(self) -> None:
        """A peer that does not speak HTTP is not tried again."""
        client = Client()
        answer = client.post()
        client.accept().send(b"SSH-2.0-OpenSSH_9.6\r\n")
        error = self.failureResultOf(answer, LastingProviderFailure).value
        self.assertEqual("the provider mock does not speak HTTP", error.message)

    def test_tls_fails(self) -> None:
        """A failed handshake is told as such."""
        client = Client()
        answer = client.post()
        client.accept().close(TLSError([("SSL routines", "", "certificate verify failed")]))
        error = self.failureResultOf(answer, LastingProviderFailure).value
        self.assertEqual("the provider mock could not be reached: TLS failed: certificate verify failed", error.message)

    def test_unusable_urls(self) -> None:
        """URLs that nothing can be made of are told as such and do not raise."""
        for url in ("ftp://127.0.0.1/", "//x/"):
            self.failureResultOf(Client().post(url), LastingProviderFailure)
        for url in ("http://a..b/", "http://h:x/"):
            self.assertRaises(ValueError, lambda url=url: ready_url(EncodedURL.from_text(url)))

    def test_ready_url(self) -> None:
        """A URL is encoded once, names as the DNS has them, IPv6 addresses as they are."""
        for url, ready in (
            ("http://b\u00fccher.example/\u00e4?a=\u00f6", "http://xn--bcher-kva.example/%C3%A4?a=%C3%B6"),
            ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
        ):
            self.assertEqual(ready, ready_url(EncodedURL.from_text(url)).to_uri().to_text())

    def test_unexpected_error(self) -> None:
        """An error that is nobody's fault but ours is not disguised."""

        class Broken:
            def request(self, *arguments: Any, **options: Any) -> Deferred[IResponse]:
                broken: Deferred[IResponse] = Deferred()
                broken.errback(ZeroDivisionError())
                return broken

        client = Client()
        client.http_client = Broken()  # type: ignore[assignment]
        self.failureResultOf(client.post(), ZeroDivisionError)

    def test_raising_client(self) -> None:
        """A client that raises at once is treated like one that fails."""

        class Raising:
            def request(self, *arguments: Any, **options: Any) -> Deferred[IResponse]:
                raise ValueError("bad url")

        client = Client()
        client.http_client = Raising()  # type: ignore[assignment]
        self.failureResultOf(client.post(), LastingProviderFailure)
        self.assertEqual([], client.reactor.getDelayedCalls())

    def test_late_answer(self) -> None:
        """A response that comes although its call was given up is aborted."""
        late: Deferred[Any] = Deferred(lambda deferred: deferred.callback(Response()))

        class Stubborn:
            def request(self, *arguments: Any, **options: Any) -> Deferred[IResponse]:
                return late

        class Response:
            def deliverBody(self, protocol: Any) -> None:
                protocol.makeConnection(transport)

        transport = StringTransport()
        client = Client()
        client.http_client = Stubborn()  # type: ignore[assignment]
        answer = client.post()
        answer.cancel()
        self.failureResultOf(answer, CancelledError)
        self.assertTrue(transport.disconnected)


class AgentTests(SynchronousTestCase):
    def answer(self, client: Client, peer: Peer | None = None, end: bytes = b"") -> Peer:
        answer = client.post()
        peer = peer or client.accept()
        peer.request()
        peer.answer(200, b"ok")
        body = receive(self.successResultOf(answer), client.reactor, 60.0, "mock")
        self.assertEqual(b"ok", self.successResultOf(body.read()))
        return peer

    def test_connections_are_kept(self) -> None:
        """A connection serves the next request, and is closed after 4 s without one."""
        client = Client()
        peer = self.answer(client)
        client.reactor.advance(3)
        self.answer(client, peer)
        client.reactor.advance(3)
        self.assertFalse(peer.wire.disconnecting)
        client.reactor.advance(1)
        self.assertTrue(peer.wire.disconnecting)
        self.assertEqual(1, len(client.reactor.tcpClients))

    def test_connections_are_not_kept(self) -> None:
        """Without persistence each request has its own connection, and says so."""
        client = Client(persistent=False)
        answer = client.post()
        peer = client.accept()
        self.assertEqual("close", peer.request()[1]["connection"])
        peer.answer(200, b"ok")
        receive(self.successResultOf(answer), client.reactor, 60.0, "mock")
        self.assertTrue(peer.wire.disconnecting)

    def test_kept_connections_are_bounded(self) -> None:
        """No more than 64 idle connections to a host are kept."""
        client = Client()
        answers = [client.post() for _ in range(65)]
        peers = [client.accept() for _ in answers]
        for answer, peer in zip(answers, peers, strict=True):
            peer.answer(200, b"ok")
            receive(self.successResultOf(answer), client.reactor, 60.0, "mock")
        self.assertEqual(1, sum(peer.wire.disconnecting for peer in peers))

    def test_close(self) -> None:
        """Closing the agent closes idle connections and leaves no timer."""
        client = Client()
        peer = self.answer(client)
        closed = client.agent.close()
        self.assertTrue(peer.wire.disconnecting)
        client.reactor.advance(0)
        self.successResultOf(closed)
        self.assertEqual([], client.reactor.getDelayedCalls())

    def test_dead_connection_is_not_used(self) -> None:
        """A kept connection that the server has closed is not used again."""
        client = Client()
        self.answer(client).close()
        self.answer(client)
        self.assertEqual(2, len(client.reactor.tcpClients))

    def test_ipv6(self) -> None:
        """An IPv6 address is connected to without being looked up."""
        client = Client()
        client.post("http://[::1]:8000/")
        self.assertEqual(("::1", 8000), client.reactor.tcpClients[0][:2])

    def test_default_headers(self) -> None:
        """Without headers of its own a request still asks for no compression."""
        client = Client()
        client.agent.request(b"GET", b"http://127.0.0.1:8000/")
        self.assertEqual("identity", client.accept().request()[1]["accept-encoding"])

    def test_host_names(self) -> None:
        """A name is looked up; one that cannot be is told as such, one that hangs is given up after 5 s."""
        client = Client()
        client.reactor.nameResolver = resolver = Resolver()  # type: ignore[assignment]
        missing = client.post("http://model.example:8000/")
        resolver.receiver.resolutionComplete()
        error = self.failureResultOf(missing, ProviderFailed).value
        self.assertIn("host name cannot be resolved", error.message)
        self.assertIsInstance(error.__cause__, DNSLookupError)
        hanging = client.post("http://model.example:8000/")
        client.reactor.advance(5)
        self.failureResultOf(hanging, TransientProviderTimeout)
        cancelled = client.post("http://model.example:8000/")
        cancelled.cancel()
        self.failureResultOf(cancelled, CancelledError)
        resolver.receiver.resolutionComplete()

    def test_tls(self) -> None:
        """HTTPS is spoken by the given policy, and aborted without waiting for the peer."""
        asked: list[tuple[bytes, int]] = []

        @implementer(IPolicyForHTTPS)
        class Policy:
            def creatorForNetloc(self, hostname: bytes, port: int) -> Any:
                asked.append((hostname, port))
                return optionsForClientTLS("model.example")

        client = Client(tls_policy=Policy())
        answer = client.post("https://127.0.0.1:8443/")
        self.assertEqual([(b"127.0.0.1", 8443)], asked)
        self.assertEqual(8443, client.reactor.tcpClients[0][1])
        wire = client.accept().wire
        self.assertEqual(b"\x16\x03", wire.value()[:2])
        answer.cancel()
        self.failureResultOf(answer, CancelledError)
        self.assertTrue(wire.aborted)


class Resolver:
    """A name resolver that the test completes."""

    receiver: Any = None

    def resolveHostName(self, receiver: IResolutionReceiver, name: str, portNumber: int = 0) -> IHostResolution | None:
        self.receiver = receiver
        return None


class SmallPartsTests(SynchronousTestCase):
    def test_bytes_body(self) -> None:
        """A body in memory is written at once; there is nothing to pause or stop."""
        body, consumer = BytesBody(b"abc"), StringTransport()
        self.assertEqual(3, body.length)
        self.successResultOf(body.startProducing(consumer))
        self.assertEqual(b"abc", consumer.value())
        body.pauseProducing()
        body.resumeProducing()
        body.stopProducing()

    def test_request_headers(self) -> None:
        """Of two names that differ by case the last counts."""
        headers = request_headers({"Authorization": "Bearer a", "x-b": "1", "authorization": "Basic c"})
        self.assertEqual(["Basic c"], headers.getRawHeaders("Authorization"))
