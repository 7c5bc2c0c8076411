"""Tests of L{openclaw.cli.client.failures}."""

from OpenSSL import SSL
from twisted.internet.error import (
    ConnectionRefusedError,
)
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from openclaw.cli.client.failures import closed_before_hello, tls_problem
from openclaw.cli.client.remote import GatewayUrl
from test.cli.client.connection_support import make_remote


class TlsTests(TestCase):
    remote = make_remote(address=GatewayUrl("wss://h:1", "h", 18789, is_tls=True))

    def told(self, text: str) -> str | None:
        return tls_problem(self.remote, Failure(SSL.Error([("SSL routines", "", text)])))

    def test_messages(self) -> None:
        self.assertIn("does not speak TLS; use ws://", self.told("wrong version number") or "")
        self.assertIn("not trusted for h", self.told("certificate verify failed") or "")
        self.assertIn("wss://h:1: TLS failed (", self.told("internal error") or "")

    def test_other_ends(self) -> None:
        self.assertIsNone(tls_problem(self.remote, None))
        self.assertIsNone(tls_problem(self.remote, Failure(ConnectionRefusedError())))
        self.assertIsNone(tls_problem(make_remote(), Failure(SSL.Error([]))))
        failed = closed_before_hello(self.remote, (1006, ""), Failure(SSL.Error([("", "", "certificate expired")])))
        self.assertIn("certificate", failed.message)
        self.assertNotIn("use wss", closed_before_hello(self.remote, (None, ""), None).message)
