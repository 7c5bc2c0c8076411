"""Tests of L{openclaw.providers.trust}, with TLS that is real on both ends, in memory, also within a tunnel."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from OpenSSL import SSL, crypto
from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.internet.task import deferLater
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase, TestCase

from openclaw.config.proxies import ProxyAddress
from openclaw.errors import LastingProviderFailure
from openclaw.providers.http import Way
from openclaw.providers.trust import MACHINE_TRUST, ShownCertificate, TLSFault, Trust, tls_reason
from test.providers.certificates import DAY, Issued, issue
from test.providers.http_fakes import Client, Peer

HOST = "model.example"
AUTHORITY = issue("Our Authority", is_authority=True)
TRUST = Trust(ca=AUTHORITY.pem, source="SSL_CERT_FILE")
SERVER = issue("leaf", HOST, "10.0.0.1", by=AUTHORITY)


class Server(Protocol):
    """The server inside TLS: keeps what comes, and answers a request for a tunnel by being one."""

    within: Any = None

    def __init__(self) -> None:
        self.taken = b""

    def dataReceived(self, data: bytes) -> None:
        if self.within is not None:
            self.within.dataReceived(data)
        else:
            self.taken += data


class TlsTestCase(TestCase):
    def connect(
        self, server: Issued, trust: Trust = TRUST, url: str = f"https://{HOST}/", way: Way | None = None, **more: Any
    ) -> None:
        """Begin a call; C{server} is what the other end of the connection shows."""
        self.client = Client(way=way or Way(trust=trust))
        self.answer = self.client.post(url)
        self.peer: Peer = self.client.accept()
        self.wire = StringTransport()
        self.far = self.secure(server, self.wire, **more)

    def secure(self, server: Issued, transport: Any, **more: Any) -> Any:
        """A server's end of TLS over a transport."""
        factory = TLSMemoryBIOFactory(
            server.options(**more), isClient=False, wrappedFactory=Factory.forProtocol(Server)
        )
        far: Any = factory.buildProtocol(None)
        far.makeConnection(transport)
        return far

    async def exchange(self) -> None:
        """Carry bytes both ways until there are none; TLS itself holds small writes back for a turn of the reactor."""
        for _ in range(12):
            while self.peer.wire.value() or self.wire.value():
                out, back = self.peer.wire.value(), self.wire.value()
                self.peer.wire.clear()
                self.wire.clear()
                if out:
                    self.far.dataReceived(out)
                if back and not self.peer.wire.lost:
                    self.peer.send(back)
            await deferLater(cast(Any, reactor), 0)

    @property
    def taken(self) -> bytes:
        """What the server has read."""
        taken: bytes = self.far.wrappedProtocol.taken
        return taken

    async def refused(self, server: Issued, trust: Trust = TRUST, url: str = "https://10.0.0.1/", **more: Any) -> str:
        """Why a server is refused; it is told nothing."""
        self.connect(server, trust, url, **more)
        await self.exchange()
        self.assertTrue(self.peer.wire.aborted)
        self.client.reactor.advance(0)
        message: str = self.failureResultOf(self.answer, LastingProviderFailure).value.message
        self.assertEqual(b"", self.taken)
        self.assertEqual([], self.client.reactor.getDelayedCalls())
        said = "the provider mock could not be reached: TLS failed: "
        self.assertTrue(message.startswith(said), message)
        return message.removeprefix(said)


class CertificateTests(TlsTestCase):
    async def test_good(self) -> None:
        """One of an authority that is trusted, for the host's address or for the name that it is said to have."""
        for trust in (TRUST, Trust(ca=AUTHORITY.pem, server_name=HOST)):
            self.connect(SERVER, trust, "https://10.0.0.1/")
            await self.exchange()
            self.assertTrue(self.taken.startswith(b"POST / HTTP/1.1\r\n"))

    async def test_expired(self) -> None:
        gone = issue("leaf", "10.0.0.1", by=AUTHORITY, begins=-3 * DAY, ends=-DAY)
        day = gone.certificate.not_valid_after_utc.date().isoformat()
        self.assertEqual(f"the certificate of 10.0.0.1 has expired on {day}", await self.refused(gone))

    async def test_not_yet(self) -> None:
        to_come = issue("leaf", "10.0.0.1", by=AUTHORITY, begins=DAY, ends=2 * DAY)
        self.assertIn("the certificate of 10.0.0.1 is not valid before ", await self.refused(to_come))

    async def test_self_signed(self) -> None:
        said = await self.refused(issue("leaf", "10.0.0.1"))
        self.assertEqual(
            "the certificate of 10.0.0.1 is self-signed, and not among the authorities that are trusted", said
        )

    async def test_unknown_authority(self) -> None:
        other = issue("Their Authority", is_authority=True)
        said = 'the certificate of 10.0.0.1 comes from "Their Authority", an authority that is not trusted'
        leaf = issue("leaf", "10.0.0.1", by=other)
        self.assertEqual(said, await self.refused(leaf))
        self.assertEqual(said, await self.refused(leaf, MACHINE_TRUST))
        chain = [crypto.X509.from_cryptography(other.certificate)]
        self.assertEqual(said, await self.refused(leaf, extraCertChain=chain))

    async def test_expired_authority(self) -> None:
        gone = issue("Old", is_authority=True, by=AUTHORITY, begins=-3 * DAY, ends=-DAY)
        chain = [crypto.X509.from_cryptography(gone.certificate)]
        said = await self.refused(issue("leaf", "10.0.0.1", by=gone), extraCertChain=chain)
        self.assertIn('the authority "Old" behind 10.0.0.1 has expired on ', said)

    async def test_other_name(self) -> None:
        """The names that it is for are told, and how many more there are."""
        self.assertEqual(
            f"the certificate is for {HOST}, 10.0.0.1, not for 10.0.0.2",
            await self.refused(SERVER, url="https://10.0.0.2/"),
        )
        self.assertEqual(
            f"the certificate is for {HOST}, 10.0.0.1, not for other.example",
            await self.refused(SERVER, Trust(ca=AUTHORITY.pem, server_name="other.example")),
        )
        many = issue("leaf", *(f"{letter}.example" for letter in "abcdefg"), by=AUTHORITY)
        self.assertEqual(
            "the certificate is for a.example, b.example, c.example, d.example, e.example and 2 more, not for 10.0.0.1",
            await self.refused(many),
        )
        self.assertIn("is for no name, not for", await self.refused(issue("10.0.0.1", by=AUTHORITY)))

    async def test_our_own(self) -> None:
        """A server that asks for our certificate gets it."""
        ours = issue("us", by=AUTHORITY)
        theirs = trustRootFromCertificates([Certificate(crypto.X509.from_cryptography(AUTHORITY.certificate))])
        for passphrase in ("", "very secret"):
            shown = ShownCertificate(ours.pem, ours.key_pem(passphrase), passphrase, "here")
            self.connect(SERVER, Trust(ca=AUTHORITY.pem, shown=shown), "https://10.0.0.1/", trustRoot=theirs)
            await self.exchange()
            self.assertTrue(self.taken.startswith(b"POST / HTTP/1.1\r\n"))
            self.assertNotIn("PRIVATE KEY", repr(shown))

    async def test_no_tls(self) -> None:
        """A server that speaks plain HTTP at the port."""
        self.client = Client(way=Way(trust=TRUST))
        answer = self.client.post("https://10.0.0.1/")
        peer = self.client.accept()
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.client.reactor.advance(0)
        error = self.failureResultOf(answer, LastingProviderFailure).value
        self.assertIn("TLS failed: the other end does not speak TLS", error.message)


class TunnelTests(TlsTestCase):
    """TLS within a tunnel."""

    async def test_plain_proxy(self) -> None:
        """The proxy learns the server's name, and no more; the certificate is the server's, and is checked."""
        for server, is_well in ((SERVER, True), (issue("leaf", "proxy", by=AUTHORITY), False)):
            way = Way(ProxyAddress("127.0.0.9", 3128), TRUST)
            self.client = Client(way=way)
            self.answer = self.client.post(f"https://{HOST}/")
            self.peer = self.client.accept()
            self.assertEqual(b"CONNECT model.example:443 HTTP/1.1", self.peer.request()[0])
            self.assertEqual(b"", self.peer.wire.value())
            self.wire = StringTransport()
            self.far = self.secure(server, self.wire)
            self.peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
            await self.exchange()
            if is_well:
                self.assertTrue(self.taken.startswith(b"POST / HTTP/1.1\r\n"))
                self.answer.cancel()
                self.failureResultOf(self.answer)
                self.assertTrue(self.peer.wire.aborted)
                continue
            self.client.reactor.advance(0)
            message = self.failureResultOf(self.answer, LastingProviderFailure).value.message
            self.assertIn(f"TLS failed: the certificate is for proxy, not for {HOST}", message)
            self.assertEqual(b"", self.taken)

    def begin_secure(self, shown: Issued) -> None:
        """Begin a call through a proxy that is spoken to over TLS."""
        proxy_trust = Trust(ca=AUTHORITY.pem, server_name="proxy.example")
        self.client = Client(way=Way(ProxyAddress("127.0.0.9", 3129, True, "me:secret"), TRUST, proxy_trust))
        self.answer = self.client.post(f"https://{HOST}/")
        self.peer = self.client.accept()
        self.wire = StringTransport()
        self.far = self.secure(shown, self.wire)

    async def test_secure_proxy(self) -> None:
        """TLS to the proxy, and TLS to the server within."""
        self.begin_secure(issue("leaf", "proxy.example", by=AUTHORITY))
        await self.exchange()
        self.assertTrue(self.taken.startswith(b"CONNECT model.example:443 HTTP/1.1\r\n"))
        outer: Server = self.far.wrappedProtocol
        inner = outer.within = self.secure(SERVER, self.far)
        self.far.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await self.exchange()
        self.assertTrue(inner.wrappedProtocol.taken.startswith(b"POST / HTTP/1.1\r\n"))
        inner.write(b"HTTP/1.1 418 X\r\nContent-Length: 0\r\n\r\n")
        await self.exchange()
        self.assertEqual(418, self.successResultOf(self.answer).code)

    async def test_stranger_as_proxy(self) -> None:
        """A proxy whose certificate is not good gets no word, and no password."""
        self.begin_secure(issue("leaf", "other.example", by=AUTHORITY))
        await self.exchange()
        self.client.reactor.advance(0)
        message = self.failureResultOf(self.answer, LastingProviderFailure).value.message
        self.assertEqual(
            "the provider mock could not be reached through the proxy 127.0.0.9:3129: TLS failed: "
            "the certificate is for other.example, not for proxy.example",
            message,
        )
        self.assertEqual(b"", self.taken)
        self.assertEqual([], self.client.reactor.getDelayedCalls())


class TrustTests(SynchronousTestCase):
    def count(self, **fields: Any) -> int:
        # The store does not keep the context alive that it belongs to.
        context = Trust(**fields).make_context()
        store = context.get_cert_store()
        assert store is not None
        return len(
            crypto.X509StoreContext(store, crypto.X509.from_cryptography(SERVER.certificate)).get_verified_chain()
        )

    def test_files(self) -> None:
        """A bundle, a folder of files, several of them; what is no certificate among others is passed over."""
        folder = Path(self.mktemp())
        folder.mkdir()
        bundle = folder / "bundle.pem"
        bad = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
        bundle.write_text(f"# ours\n{bad}{issue('x', is_authority=True).pem}{AUTHORITY.pem}{AUTHORITY.pem}")
        for paths in ((str(bundle),), (str(folder),), ("/nowhere", str(bundle))):
            self.assertEqual(2, self.count(ca_paths=paths))

    def test_none(self) -> None:
        """Authorities that are not there are told by the setting's name, not by their path."""
        empty = Path(self.mktemp())
        empty.write_text("nothing")
        for trust in (
            Trust(ca_paths=("/nowhere/secret.pem",), source="SSL_CERT_FILE"),
            Trust(ca_paths=(str(empty),), source="SSL_CERT_FILE"),
            Trust(ca="", source="SSL_CERT_FILE"),
        ):
            error = self.assertRaises(TLSFault, trust.make_context)
            self.assertEqual("no authority's certificate can be read from SSL_CERT_FILE", error.reason)
            client = Client(way=Way(trust=trust))
            failure = self.failureResultOf(client.post("https://10.0.0.1/"), LastingProviderFailure)
            self.assertTrue(failure.value.message.endswith(f"TLS failed: {error.reason}"))

    def test_shown(self) -> None:
        """A certificate and a key that are no pair, are none, or need another passphrase, are told by their place."""
        one, other = issue("a"), issue("b")
        for cert, key, passphrase in (
            (one.pem, other.key_pem(), ""),
            (one.pem, one.key_pem("right"), "wrong"),
            (one.pem, one.key_pem("right"), ""),
            ("", one.key_pem(), ""),
            (one.pem, "x", ""),
        ):
            trust = Trust(shown=ShownCertificate(cert, key, passphrase, "a.place"))
            error = self.assertRaises(TLSFault, trust.make_context)
            self.assertEqual("cert, key and passphrase of a.place cannot be used together", error.reason)

    def test_reasons(self) -> None:
        """What OpenSSL says, where it says something."""
        for error, reason in (
            (TLSFault("x"), "x"),
            (SSL.Error([("SSL routines", "", "tlsv1 alert unknown ca")]), "tlsv1 alert unknown ca"),
            (SSL.Error([("SSL routines", "", "wrong version number")]), "the other end does not speak TLS"),
            (SSL.Error([]), ""),
            (SSL.Error(), ""),
            (SSL.SysCallError(-1, "Unexpected EOF"), ""),
            (ValueError("x"), ""),
        ):
            self.assertEqual(reason, tls_reason(error))
