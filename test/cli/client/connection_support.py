"""What the tests of connections share."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from openclaw.cli.client.connection import GatewayConnection, connect
from openclaw.cli.client.errors import GatewayUnreachable, RemoteError
from openclaw.cli.client.remote import GatewaySecret, GatewayUrl, Remote
from test.cli.gateway_fake import FakeGateway, FakeReactor


def make_remote(**changes: Any) -> Remote:
    """A gateway on this machine."""
    fields: dict[str, Any] = {
        "address": GatewayUrl("ws://127.0.0.1:18789", "127.0.0.1", 18789, is_tls=False),
        "source": "the configuration",
        "kind": "localLoopback",
        "secret": GatewaySecret("token", "--token", "s3cret"),
    }
    return Remote(**{**fields, **changes})


class ConnectionTestCase(TestCase):
    def setUp(self) -> None:
        self.gateway = FakeGateway()
        self.remote = make_remote()
        self.reactor = FakeReactor(self.gateway)

    def start(self, **options: Any) -> "Deferred[GatewayConnection]":
        return Deferred.fromCoroutine(connect(self.reactor, self.remote, timeout_s=10, **options))

    def connected(self, **options: Any) -> GatewayConnection:
        connection: GatewayConnection = self.reactor.result_of(self.start(**options))
        return connection

    def call(self, connection: GatewayConnection, method: str, **options: Any) -> "Deferred[Any]":
        return Deferred.fromCoroutine(connection.call(method, timeout_s=options.pop("timeout_s", 5), **options))

    def failure(self, serve: Any, error: type[RemoteError] = GatewayUnreachable) -> str:
        self.reactor = FakeReactor(serve)
        with self.assertRaises(error) as raised:
            self.connected()
        return raised.exception.message
