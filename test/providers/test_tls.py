"""Tests of L{openclaw.providers.http} and L{openclaw.providers.body} over TLS that is real on both ends, in memory."""

from __future__ import annotations

import datetime
from typing import Any, cast

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID
from OpenSSL import crypto
from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate, CertificateOptions, optionsForClientTLS
from twisted.internet.task import deferLater
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import TestCase
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from openclaw.errors import LastingProviderFailure, TransientProviderTimeout
from openclaw.providers.body import receive
from openclaw.providers.http import CONNECT_TIMEOUT_S
from test.providers.http_fakes import Client, Peer

HOST = "model.example"


def make_certificate() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A certificate of that host, signed by its own key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - day).not_valid_after(now + day)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
    return builder.sign(key, SHA256()), key


class Server(Protocol):
    """The server inside TLS: keeps what comes."""

    def __init__(self) -> None:
        self.taken = b""

    def dataReceived(self, data: bytes) -> None:
        self.taken += data


class TlsTests(TestCase):
    def connect(self, *, trusted: bool = True) -> None:
        """Begin a call of a server whose certificate is trusted, or not."""
        certificate, key = make_certificate()
        own = crypto.X509.from_cryptography(certificate)
        trust: Any = Certificate(own if trusted else crypto.X509.from_cryptography(make_certificate()[0]))

        @implementer(IPolicyForHTTPS)
        class Policy:
            def creatorForNetloc(self, hostname: bytes, port: int) -> Any:
                return optionsForClientTLS(HOST, trustRoot=trust)

        options = CertificateOptions(privateKey=crypto.PKey.from_cryptography_key(key), certificate=own)
        self.client = Client(tls_policy=Policy())
        self.answer = self.client.post("https://127.0.0.1:8443/")
        self.peer: Peer = self.client.accept()
        factory = TLSMemoryBIOFactory(options, isClient=False, wrappedFactory=Factory.forProtocol(Server))
        self.far: Any = factory.buildProtocol(None)
        self.wire = StringTransport()
        self.far.makeConnection(self.wire)

    @property
    def taken(self) -> bytes:
        """What the server has read."""
        taken: bytes = self.far.wrappedProtocol.taken
        return taken

    async def exchange(self) -> None:
        """Carry bytes both ways until there are none; TLS itself holds small writes back for a turn of the reactor."""
        for _ in range(3):
            self.carry()
            await deferLater(cast(Any, reactor), 0)

    def carry(self) -> None:
        while self.peer.wire.value() or self.wire.value():
            out, back = self.peer.wire.value(), self.wire.value()
            self.peer.wire.clear()
            self.wire.clear()
            if out:
                self.far.dataReceived(out)
            if back:
                self.peer.send(back)

    async def test_an_answer(self) -> None:
        """Nothing is sent before the server is known; then it is a call like any other."""
        self.connect()
        self.assertEqual(b"", self.taken)
        await self.exchange()
        self.assertTrue(self.taken.startswith(b"POST / HTTP/1.1\r\n"))
        self.client.reactor.advance(CONNECT_TIMEOUT_S + 1)
        self.far.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        await self.exchange()
        body = receive(self.successResultOf(self.answer), self.client.reactor, 60.0, "mock")
        self.assertEqual(b"hello", self.successResultOf(body.read()))
        self.assertIsNone(self.successResultOf(body.read()))

    async def test_a_stranger(self) -> None:
        """One whose certificate nobody vouches for is told nothing, and not asked again."""
        self.connect(trusted=False)
        await self.exchange()
        self.client.reactor.advance(0)
        self.peer.close()
        error = self.failureResultOf(self.answer, LastingProviderFailure).value
        self.assertIn("TLS failed", error.message)
        self.assertEqual(b"", self.taken)
        self.assertEqual([], self.client.reactor.getDelayedCalls())

    def test_no_handshake_in_time(self) -> None:
        self.connect()
        self.client.reactor.advance(CONNECT_TIMEOUT_S - 0.1)
        self.assertNoResult(self.answer)
        self.client.reactor.advance(0.1)
        self.failureResultOf(self.answer, TransientProviderTimeout)
        self.assertTrue(self.peer.wire.aborted)
        self.client.reactor.advance(0)
        self.assertEqual([], self.client.reactor.getDelayedCalls())
