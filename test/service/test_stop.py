"""Tests of L{openclaw.service.stop}, and of how a gateway stops."""

import json
from collections.abc import Mapping
from typing import Any
from unittest import mock

import attrs
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.error import ConnectionDone
from twisted.logger import LogLevel
from twisted.python.failure import Failure

from openclaw.config.reload import ConfigWatcher
from openclaw.config.secret import Secret
from openclaw.errors import StartError, StoreError
from openclaw.http.connection.channel import GatewaySite
from openclaw.parts import STEP_DEADLINE_S
from openclaw.providers.http import ProviderAgent
from openclaw.providers.local_process import LocalModel
from openclaw.service.gateway import Gateway
from openclaw.service.stop import FLUSH_DEADLINE_S, FLUSH_POLL_S
from openclaw.store.store import GatewayStore
from test.service.support import DOCUMENT, GatewayTestCase, HeldRuns
from test.ws.support import connect_params, frame


class StopTests(GatewayTestCase):
    def observed(self, document: Mapping[str, Any] = DOCUMENT) -> tuple[Gateway, HeldRuns]:
        """A gateway that writes down what it stops."""
        close = GatewayStore.close

        def close_store(store: GatewayStore) -> Deferred[None]:
            self.events.append("store")
            return close(store)

        self.patch(GatewayStore, "close", close_store)
        runs = self.hold_runs()
        return self.started(document), runs

    def test_order(self) -> None:
        gateway, runs = self.observed()
        stopping = self.stop(gateway)
        self.assertEqual(self.events, ["runs"])
        self.assertEqual(runs.grace_s, [25.0])
        self.assertEqual(gateway.health.phase(), "draining")
        self.assertEqual(self.get("/readyz"), (503, {"ready": False, "failing": ["draining"], "uptimeMs": 0}))
        self.assertNoResult(stopping)
        runs.over.callback(None)
        self.successResultOf(stopping)
        self.assertEqual(self.events, ["runs", "port", "store"])
        self.assert_closed()

    def test_runs_have_their_time(self) -> None:
        gateway = self.started({**DOCUMENT, "gateway": {**DOCUMENT["gateway"], "shutdownDrainMs": 5000}})
        protocol, transport = self.connection()
        body = b'{"model": "openclaw", "messages": [{"role": "user", "content": "hi"}]}'
        head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer t\r\n"
        protocol.dataReceived(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        self.reactor.advance(0)
        stopping = self.stop(gateway)
        self.assertEqual(self.texts(LogLevel.warn), ["stopping; 1 run has 5 s to finish"])
        self.reactor.advance(4.9)
        self.assertEqual(transport.value(), b"")
        self.reactor.advance(0.1)
        self.assertIn(b"HTTP/1.1 503", transport.value())
        self.reactor.pump([FLUSH_POLL_S] * 3)
        protocol.connectionLost(None)
        self.reactor.advance(FLUSH_POLL_S)
        self.successResultOf(stopping)
        self.assertEqual(self.events, ["port"])
        self.assert_closed()

    def test_twice_at_once(self) -> None:
        gateway, runs = self.observed()
        first, second = self.stop(gateway), self.stop(gateway)
        self.assertEqual(self.events, ["runs"])
        self.assertNoResult(second)
        runs.over.callback(None)
        self.successResultOf(first)
        self.successResultOf(second)
        self.successResultOf(self.stop(gateway))
        self.assertEqual(self.events, ["runs", "port", "store"])

    def test_before_the_start(self) -> None:
        gateway = self.gateway()
        self.successResultOf(self.stop(gateway))
        self.successResultOf(Deferred.fromCoroutine(gateway.start()))
        self.assertEqual(self.stores, [])
        self.assertEqual(gateway.health.phase(), "draining")

    def test_while_the_store_opens(self) -> None:
        opening: Deferred[GatewayStore] = Deferred()
        self.patch(GatewayStore, "open", lambda *_: opening)
        gateway = self.gateway()
        starting = Deferred.fromCoroutine(gateway.start())
        stopping = self.stop(gateway)
        self.assertNoResult(stopping)
        self.stores.append(GatewayStore.in_memory())
        opening.callback(self.stores[0])
        self.successResultOf(starting)
        self.successResultOf(stopping)
        self.assertEqual(self.reactor.tcpServers, [])
        self.assert_closed()

    def test_while_the_start_fails(self) -> None:
        opening: Deferred[GatewayStore] = Deferred()
        self.patch(GatewayStore, "open", lambda *_: opening)
        gateway = self.gateway()
        starting = Deferred.fromCoroutine(gateway.start())
        stopping = self.stop(gateway)
        opening.errback(StartError("no"))
        self.failureResultOf(starting, StartError)
        self.successResultOf(stopping)
        self.assert_closed()

    def test_while_it_begins_to_listen(self) -> None:
        listening: Deferred[Any] = Deferred()
        gateway = self.gateway()
        endpoint = mock.Mock(listen=lambda factory: listening)
        self.patch(type(gateway.plan.listening), "endpoint", lambda *_: endpoint)
        starting = Deferred.fromCoroutine(gateway.start())
        stopping = self.stop(gateway)
        listening.callback(self.reactor.listenTCP(0, mock.Mock()))
        self.successResultOf(starting)
        self.successResultOf(stopping)
        self.assertEqual(self.events, ["port"])
        self.assert_closed()

    def test_what_fails_keeps_nobody_from_stopping(self) -> None:
        stop_watcher = ConfigWatcher.stopService
        self.patch(GatewaySite, "abort_all", mock.Mock(side_effect=ZeroDivisionError))
        self.patch(self.reactor, "events", mock.Mock(append=mock.Mock(side_effect=ZeroDivisionError)))
        self.patch(ConfigWatcher, "stopService", lambda watcher: stop_watcher(watcher) and fail(ValueError()))
        self.patch(LocalModel, "start", lambda model: None)
        self.patch(LocalModel, "stop", lambda model: fail(ValueError()))
        self.patch(ProviderAgent, "close", lambda agent: fail(ValueError()))
        gateway, runs = self.observed({})
        runs.over.errback(ZeroDivisionError())
        self.successResultOf(self.stop(gateway))
        self.assertEqual(self.events[-1], "store")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 3)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 4)
        self.assertFalse(self.is_locked())
        told = [text for text in self.texts(LogLevel.critical) if text.endswith("did not stop properly")]
        self.assertEqual(told[0], "the runs did not stop properly")
        self.assertEqual(len(told), 7)

    def test_what_hangs_is_left_behind(self) -> None:
        gateway, _ = self.observed()
        stopping = self.stop(gateway)
        self.reactor.advance(25 + STEP_DEADLINE_S - 0.1)
        self.assertNoResult(stopping)
        self.reactor.advance(0.1)
        self.successResultOf(stopping)
        self.assertEqual(self.texts(LogLevel.error), ["the runs did not stop within 35 s"])
        self.assertEqual(self.events, ["runs", "port", "store"])
        self.assert_closed()

    def test_part_that_cancels_itself(self) -> None:
        gateway, runs = self.observed()
        stopping = self.stop(gateway)
        runs.over.cancel()
        self.successResultOf(stopping)
        self.assertEqual(len(self.flushLoggedErrors(CancelledError)), 1)
        self.assertEqual(self.events, ["runs", "port", "store"])
        self.assert_closed()

    def test_store_that_fails_to_close(self) -> None:
        self.patch(GatewayStore, "close", lambda store: fail(StoreError("x")))
        runs = self.hold_runs()
        gateway = self.started()
        runs.over.callback(None)
        self.successResultOf(self.stop(gateway))
        self.assertEqual(len(self.flushLoggedErrors(StoreError)), 1)
        self.assertFalse(self.is_locked())


UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class FlushTests(GatewayTestCase):
    def test_websockets_are_told(self) -> None:
        gateway = self.started()
        protocol, transport = self.connection()
        transport.protocol = protocol
        protocol.dataReceived(UPGRADE)
        transport.clear()
        stopping = self.stop(gateway)
        self.assertIn((1012).to_bytes(2, "big") + b"service restart", transport.value())
        self.assertNoResult(stopping)
        transport.protocol.connectionLost(Failure(ConnectionDone()))
        self.reactor.advance(FLUSH_POLL_S)
        self.successResultOf(stopping)

    def test_websockets_of_a_replaced_credential_are_closed(self) -> None:
        gateway = self.started()
        protocol, transport = self.connection()
        transport.protocol = protocol
        protocol.dataReceived(UPGRADE)
        connect = {"type": "req", "id": "1", "method": "connect", "params": connect_params(auth={"token": "t"})}
        transport.protocol.dataReceived(frame(json.dumps(connect).encode()))
        self.assertIn(b"hello-ok", transport.value())
        live = gateway.live
        auth = attrs.evolve(live.current.gateway.auth, token=Secret("another"))
        live.replace(attrs.evolve(live.current, gateway=attrs.evolve(live.current.gateway, auth=auth)))
        self.assertIn((4001).to_bytes(2, "big") + b"gateway auth changed", transport.value())
        transport.protocol.connectionLost(Failure(ConnectionDone()))
        stopping = self.stop(gateway)
        self.reactor.advance(FLUSH_POLL_S)
        self.successResultOf(stopping)

    def test_idle_connections_are_closed_at_once(self) -> None:
        gateway = self.started()
        protocol, transport = self.connection()
        stopping = self.stop(gateway)
        self.assertTrue(transport.disconnecting)
        self.assertNoResult(stopping)
        protocol.connectionLost(None)
        self.reactor.advance(0.01)
        self.successResultOf(stopping)

    def test_answers_under_way_are_finished(self) -> None:
        gateway = self.started()
        protocol, transport = self.connection()
        protocol.dataReceived(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer t\r\n")
        protocol.dataReceived(b"Content-Length: 2\r\n\r\n{")
        stopping = self.stop(gateway)
        self.reactor.advance(0.01)
        self.assertFalse(transport.disconnecting)
        protocol.dataReceived(b"}")
        self.assertIn(b"HTTP/1.1 400", transport.value())
        self.reactor.pump([0.01, 0.01])
        self.assertTrue(transport.disconnecting)
        protocol.connectionLost(None)
        self.reactor.advance(0.01)
        self.successResultOf(stopping)
        self.assert_closed()

    def test_what_takes_too_long_is_cut(self) -> None:
        gateway = self.started()
        protocol, transport = self.connection()
        protocol.dataReceived(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer t\r\n")
        protocol.dataReceived(b"Content-Length: 2\r\n\r\n{")
        transport.abortConnection = lambda: protocol.connectionLost(None)  # type: ignore[method-assign]
        stopping = self.stop(gateway)
        self.reactor.pump([0.5] * int(FLUSH_DEADLINE_S / 0.5))
        self.successResultOf(stopping)
        self.assert_closed()
