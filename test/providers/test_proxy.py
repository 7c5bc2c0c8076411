"""Tests of L{openclaw.providers.proxy}: the real HTTP client, and a proxy whose ends are read and fed by hand."""

from __future__ import annotations

from twisted.internet.error import ConnectionRefusedError, DNSLookupError
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from openclaw.config.proxies import ProxyAddress
from openclaw.errors import LastingProviderFailure, ProviderError, ProviderFailed, TransientProviderTimeout
from openclaw.providers.body import receive
from openclaw.providers.http import CONNECT_TIMEOUT_S, Way
from openclaw.providers.proxy import MAX_HEAD_BYTES
from test.providers.http_fakes import Client, Peer

URL = "http://model.example:8000/v1/x"
OPENED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class ProxyTestCase(SynchronousTestCase):
    def begin(self, user: str | None = None, url: str = URL) -> Peer:
        """Begin a call through a proxy."""
        self.client = Client(way=Way(ProxyAddress("127.0.0.9", 3128, user=user)))
        self.answer = self.client.post(url)
        self.assertEqual(("127.0.0.9", 3128), self.client.reactor.tcpClients[0][:2])
        return self.client.accept()

    def failed(self, kind: type[ProviderError]) -> str:
        """How the call failed; nothing is left of it."""
        error = self.failureResultOf(self.answer, kind).value
        self.assertIs(kind, type(error))
        self.client.reactor.advance(0)
        self.assertEqual([], self.client.reactor.getDelayedCalls())
        message: str = error.message
        return message


class TunnelTests(ProxyTestCase):
    def test_a_call(self) -> None:
        """The proxy is asked for a tunnel, and the server gets the request through it, and no word of the proxy's."""
        peer = self.begin("me:secret")
        first, headers, body = peer.request()
        self.assertEqual(b"CONNECT model.example:8000 HTTP/1.1", first)
        self.assertEqual(
            ("model.example:8000", "Basic bWU6c2VjcmV0"), (headers["host"], headers["proxy-authorization"])
        )
        self.assertEqual(b"", body)
        peer.send(OPENED)
        first, headers, body = peer.request()
        self.assertEqual((b"POST /v1/x HTTP/1.1", b"the body"), (first, body))
        self.assertEqual("model.example:8000", headers["host"])
        self.assertNotIn("proxy-authorization", headers)
        peer.answer(200, b"hello")
        received = receive(self.successResultOf(self.answer), self.client.reactor, 60.0, "mock")
        self.assertEqual(b"hello", self.successResultOf(received.read()))
        self.client.post(URL)
        self.assertEqual(b"POST /v1/x HTTP/1.1", peer.request()[0])
        self.assertEqual(1, len(self.client.reactor.tcpClients))

    def test_address(self) -> None:
        """An IPv6 address stands in brackets; without a user none is said."""
        first, headers, _ = self.begin(url="http://[fd00::1]/v1").request()
        self.assertEqual(b"CONNECT [fd00::1]:80 HTTP/1.1", first)
        self.assertNotIn("proxy-authorization", headers)

    def test_answer_in_pieces(self) -> None:
        """The head may come byte by byte, with an interim one before it, and what stands behind it is the server's."""
        peer = self.begin()
        peer.request()
        for byte in b"HTTP/1.1 100 Continue\n\nHTTP/1.0 200\r\nX: 1\r\n\r":
            peer.send(bytes([byte]))
        self.assertEqual(b"", peer.wire.value())
        peer.send(b"\nHTTP/1.1 418 X\r\n\r\n")
        self.assertEqual(418, self.successResultOf(self.answer).code)

    def test_refusals(self) -> None:
        """Each status says what to do; what another attempt would meet again is not tried again."""
        for status, user, kind, said in (
            (407, None, LastingProviderFailure, "it wants a user and a password (407)"),
            (407, "me:secret", LastingProviderFailure, "it refused the user and the password (407)"),
            (502, None, ProviderFailed, "it could not reach the server (502)"),
            (503, None, ProviderFailed, "it could not reach the server (503)"),
            (429, None, ProviderFailed, "it did not open the way (429)"),
            (302, None, LastingProviderFailure, "it did not open the way (302)"),
        ):
            peer = self.begin(user)
            peer.send(b"HTTP/1.1 %d Because\r\nContent-Length: 6\r\n\r\nsecret" % status)
            self.assertTrue(peer.wire.aborted)
            self.client.reactor.advance(0)
            message = self.failed(kind)
            self.assertEqual(
                f"the provider mock could not be reached through the proxy 127.0.0.9:3128: {said}", message
            )

    def test_no_proxy_there(self) -> None:
        """A proxy that cannot be reached is named."""
        for error, said in (
            (ConnectionRefusedError(), "connection refused"),
            (DNSLookupError(), "its host name cannot be resolved"),
            (OSError(), "it could not be reached"),
        ):
            self.client = Client(way=Way(ProxyAddress("127.0.0.9", 3128)))
            self.answer = self.client.post(URL)
            self.client.reactor.tcpClients[0][2].clientConnectionFailed(None, Failure(error))
            self.assertTrue(self.failed(ProviderFailed).endswith(f"through the proxy 127.0.0.9:3128: {said}"))

    def test_closed(self) -> None:
        peer = self.begin()
        peer.close()
        self.assertIn("proxy 127.0.0.9:3128: it closed the connection", self.failed(ProviderFailed))

    def test_garbage(self) -> None:
        """What is no HTTP, and a head without an end, are given up at once."""
        for data in (
            b"SSH-2.0-x\r\n",
            b"HTTP/1.1 hello\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nX: " + MAX_HEAD_BYTES * b"x",
        ):
            peer = self.begin()
            peer.send(data)
            peer.send(b"more")
            self.assertTrue(peer.wire.aborted)
            self.client.reactor.advance(0)
            self.assertIn("it does not speak HTTP", self.failed(LastingProviderFailure))

    def test_drip(self) -> None:
        """One deadline covers the proxy's answer, however often a byte of it comes."""
        peer = self.begin()
        peer.send(b"HTTP/1.1 200 OK\r\n")
        self.client.reactor.advance(CONNECT_TIMEOUT_S - 0.1)
        peer.send(b"X: 1\r\n")
        self.assertNoResult(self.answer)
        self.client.reactor.advance(0.1)
        self.assertTrue(peer.wire.aborted)
        self.assertEqual(
            "the provider mock could not be reached in time through the proxy 127.0.0.9:3128",
            self.failed(TransientProviderTimeout),
        )

    def test_unreachable(self) -> None:
        """The same deadline covers the connection to the proxy."""
        self.client = Client(way=Way(ProxyAddress("127.0.0.9", 3128)))
        self.answer = self.client.post(URL)
        self.client.reactor.advance(CONNECT_TIMEOUT_S)
        self.assertIn("in time through the proxy 127.0.0.9:3128", self.failed(TransientProviderTimeout))

    def test_cancelled(self) -> None:
        """Cancelling aborts at once, before and after the tunnel stands."""
        for sent in (b"", OPENED):
            peer = self.begin()
            if sent:
                peer.send(sent)
            self.answer.cancel()
            self.failureResultOf(self.answer)
            self.assertTrue(peer.wire.aborted)
            self.client.reactor.advance(0)
            self.assertEqual([], self.client.reactor.getDelayedCalls())


class PassingTests(ProxyTestCase):
    """A proxy that tunnels to port 443 only."""

    def passed(self, status: int, user: str | None = None) -> tuple[Peer, bytes, dict[str, str]]:
        """Refuse the tunnel; the connection on which the proxy is asked to pass the request on, and that request."""
        peer = self.begin(user)
        peer.send(b"HTTP/1.1 %d X\r\n\r\n" % status)
        self.client.reactor.advance(0)
        self.assertEqual(("127.0.0.9", 3128), self.client.reactor.tcpClients[1][:2])
        peer = self.client.accept()
        first, headers, body = peer.request()
        self.assertEqual(b"the body", body)
        return peer, first, headers

    def test_passed_on(self) -> None:
        """It is asked to pass the request on, and no more for a tunnel."""
        for status in (400, 403, 404, 405, 501):
            peer, first, headers = self.passed(status, "me:secret")
            self.assertEqual(b"POST http://model.example:8000/v1/x HTTP/1.1", first)
            self.assertEqual(
                ("model.example:8000", "Basic bWU6c2VjcmV0"), (headers["host"], headers["proxy-authorization"])
            )
            peer.answer(200, b"hello")
            received = receive(self.successResultOf(self.answer), self.client.reactor, 60.0, "mock")
            self.assertEqual(b"hello", self.successResultOf(received.read()))
            self.client.post(URL)
            self.assertEqual(b"POST http://model.example:8000/v1/x HTTP/1.1", peer.request()[0])

    def test_refused_twice(self) -> None:
        """What refuses the tunnel and the request alike is the proxy, and not the server."""
        peer, _, headers = self.passed(403)
        self.assertNotIn("proxy-authorization", headers)
        peer.answer(403, b"no")
        self.client.reactor.advance(10)
        self.assertIn("127.0.0.9:3128: it does not allow the way (403)", self.failed(LastingProviderFailure))

    def test_user_wanted(self) -> None:
        peer, _, _ = self.passed(405)
        peer.answer(407, b"no")
        self.client.reactor.advance(10)
        self.assertIn("it wants a user and a password (407)", self.failed(LastingProviderFailure))

    def test_secure_server(self) -> None:
        """A request that is to be encrypted is never passed on in the clear."""
        peer = self.begin(url="https://model.example/v1")
        peer.send(b"HTTP/1.1 403 X\r\n\r\n")
        self.client.reactor.advance(0)
        self.assertIn("it does not allow the way (403)", self.failed(LastingProviderFailure))
        self.assertEqual(1, len(self.client.reactor.tcpClients))
