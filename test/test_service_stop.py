"""The composition root: how a gateway stops, and how its process ends."""

import atexit
import gc
import io
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any
from unittest import mock

import attrs
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.error import ConnectionDone, ReactorNotRunning
from twisted.internet.task import Clock
from twisted.logger import LogLevel
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from openclaw import service as service_module
from openclaw.config.secret import Secret
from openclaw.errors import ConfigError, StartError, StoreError
from openclaw.process import (
    IDLE_COLLECTION_S,
    LOOK_INTERVAL_S,
    MIN_PASSES,
    Collector,
    Foreground,
    SteadyClock,
    exit_with,
)
from openclaw.service import (
    FLUSH_DEADLINE_S,
    FLUSH_POLL_S,
    STEP_DEADLINE_S,
    Gateway,
    run_foreground,
)
from openclaw.store.store import GatewayStore
from test.service_support import FakePort, FakeRuns, GatewayTestCase
from test.ws.support import connect_params, frame


class StopTests(GatewayTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.events: list[str] = []

    def observed(self) -> tuple[Gateway, FakeRuns]:
        """A gateway that writes down what it stops."""
        gateway = self.started()
        runs = FakeRuns(self.events)
        gateway.runs = runs  # type: ignore[assignment]
        gateway._port = FakePort(self.events)  # type: ignore[assignment]
        close = self.stores[0].close

        def close_store() -> Deferred[None]:
            self.events.append("store")
            return close()

        self.stores[0].close = close_store  # type: ignore[method-assign]
        return gateway, runs

    def test_order(self) -> None:
        gateway, runs = self.observed()
        stopping = self.stop(gateway)
        self.assertEqual(self.events, ["runs"])
        self.assertEqual(runs.grace_s, [25.0])
        self.assertEqual(gateway.phase(), "draining")
        self.assertEqual(self.get("/readyz"), (503, {"ready": False, "failing": ["draining"], "uptimeMs": 0}))
        self.assertEqual(self.texts(LogLevel.warn), ["stopping; 2 runs have 25 s to finish"])
        self.assertNoResult(stopping)
        runs.over.callback(None)
        self.successResultOf(stopping)
        self.assertEqual(self.events, ["runs", "port", "store"])
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
        self.assertEqual(gateway.phase(), "draining")

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
        self.patch(type(gateway._plan.listening), "endpoint", lambda *_: endpoint)
        starting = Deferred.fromCoroutine(gateway.start())
        stopping = self.stop(gateway)
        listening.callback(FakePort(self.events))
        self.successResultOf(starting)
        self.successResultOf(stopping)
        self.assertEqual(self.events, ["port"])
        self.assert_closed()

    def test_what_fails_keeps_nobody_from_stopping(self) -> None:
        gateway, runs = self.observed()
        gateway._site = mock.Mock(open_connections=(), abort_all=mock.Mock(side_effect=ZeroDivisionError))
        gateway._port = mock.Mock(stopListening=mock.Mock(side_effect=ZeroDivisionError))
        gateway._watcher, watcher = mock.Mock(stopService=lambda: fail(ValueError())), gateway._watcher
        self.addCleanup(watcher.stopService)  # type: ignore[union-attr]
        gateway._local = mock.Mock(stop=lambda: fail(ValueError()))
        gateway._agents = [mock.Mock(close=lambda: fail(ValueError()))]
        runs.over.errback(ZeroDivisionError())
        self.successResultOf(self.stop(gateway))
        self.assertEqual(self.events[-1], "store")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 3)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 3)
        self.assertFalse(self.is_locked())
        told = [text for text in self.texts(LogLevel.critical) if text.endswith("did not stop properly")]
        self.assertEqual(told[0], "the runs did not stop properly")
        self.assertEqual(len(told), 6)

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
        gateway, runs = self.observed()
        self.stores[0].close = lambda: fail(StoreError("x"))  # type: ignore[method-assign]
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
        live = gateway._live
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


class TwistdTests(GatewayTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.at_exit: list[Callable[[], None]] = []
        self.patch(atexit, "register", self.at_exit.append)

    def test_starts_and_stops(self) -> None:
        gateway = self.gateway()
        gateway.startService()
        self.assertTrue(gateway.running)
        self.assertEqual(len(self.texts(LogLevel.info)), 1)
        self.assertIn("listens at http://127.0.0.1:18789", self.texts(LogLevel.info)[0])
        self.successResultOf(gateway.stopService())
        self.assertEqual(self.at_exit, [])
        self.assert_closed()

    def test_stopped_while_it_starts(self) -> None:
        opening: Deferred[GatewayStore] = Deferred()
        self.patch(GatewayStore, "open", lambda *_: opening)
        gateway = self.gateway()
        gateway.startService()
        stopping = gateway.stopService()
        self.stores.append(GatewayStore.in_memory())
        opening.callback(self.stores[0])
        self.successResultOf(stopping)
        self.assertEqual(self.texts(LogLevel.info), [])
        self.assertEqual(self.at_exit, [])

    def ended_with(self) -> int:
        """The status that the process would end with, once the reactor runs."""
        self.assertFalse(self.reactor.is_stopped)
        for call, arguments, keywords in self.reactor.whenRunningHooks:
            call(*arguments, **keywords)
        self.assertTrue(self.reactor.is_stopped)
        with mock.patch.object(os, "_exit") as leave:
            self.at_exit[0]()
        return int(leave.call_args.args[0])

    def test_second_gateway(self) -> None:
        first = self.started()
        self.gateway().startService()
        self.assertIn("cannot start: gateway already running", self.texts(LogLevel.critical)[0])
        self.assertEqual(self.ended_with(), 78)
        self.successResultOf(self.stop(first))

    def test_bug(self) -> None:
        self.patch(GatewayStore, "open", mock.Mock(side_effect=ZeroDivisionError))
        self.gateway().startService()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.ended_with(), 1)

    def test_configuration(self) -> None:
        self.patch(GatewayStore, "open", mock.Mock(side_effect=ConfigError(["a: bad"])))
        self.gateway().startService()
        self.assertEqual(self.ended_with(), 78)

    def test_reactor_that_is_stopping_already(self) -> None:
        self.reactor.stop_error = ReactorNotRunning()
        exit_with(self.reactor, 5)
        for call, arguments, keywords in self.reactor.whenRunningHooks:
            call(*arguments, **keywords)


class CollectorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.collected: list[float] = []
        self.rests = self.live = self.passes = 0
        self.clock = Clock()
        self.patch(gc, "collect", lambda: self.collected.append(self.clock.seconds()))
        self.patch(gc, "get_count", lambda: (0, 0, self.passes))
        self.collector = Collector(self.clock, lambda: self.live, self.rest)
        self.collector.stop()
        self.collector.start()
        self.addCleanup(lambda: self.assertEqual([], self.clock.getDelayedCalls()))
        self.addCleanup(self.collector.stop)

    def rest(self) -> None:
        self.rests += 1

    def look(self, times: int = 1) -> None:
        self.clock.pump([LOOK_INTERVAL_S] * times)

    def test_while_idle(self) -> None:
        self.look(int(3 * IDLE_COLLECTION_S / LOOK_INTERVAL_S))
        self.assertEqual([IDLE_COLLECTION_S * times for times in (1, 2, 3)], self.collected)
        self.assertEqual(3 * IDLE_COLLECTION_S / LOOK_INTERVAL_S, self.rests)

    def test_a_busy_gateway_collects_when_it_is_worth_it(self) -> None:
        self.live, self.passes = 16, MIN_PASSES + 15
        self.look(100)
        self.assertEqual(([], 0), (self.collected, self.rests))
        self.passes += 1
        self.look()
        self.assertEqual([self.clock.seconds()], self.collected)

    def test_a_clock_that_was_set_back(self) -> None:
        self.look(int(IDLE_COLLECTION_S / LOOK_INTERVAL_S))
        self.clock.rightNow -= 86_400
        (call,) = self.clock.getDelayedCalls()
        call.reset(LOOK_INTERVAL_S)
        self.look()
        self.assertEqual(2, len(self.collected))


class ForegroundTests(GatewayTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.ready: list[str] = []
        self.signals: dict[int, Callable[..., None]] = {}
        self.patch(signal, "signal", self.signals.__setitem__)
        self.patch(signal, "getsignal", lambda number: self.before.get(number, signal.SIG_DFL))
        self.before: dict[int, signal.Handlers] = {}

    def begun(self, gateway: Gateway | None = None) -> Foreground:
        foreground = Foreground(self.reactor, gateway or self.gateway(), self.ready.append)
        foreground.begin()
        return foreground

    def test_one_signal_stops_in_order(self) -> None:
        foreground = self.begun()
        self.assertEqual(self.ready, ["http://127.0.0.1:18789"])
        self.assertEqual(set(self.signals), {signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
        self.assertFalse(self.reactor.is_stopped)
        self.signals[signal.SIGTERM](signal.SIGTERM, None)
        self.assertFalse(self.reactor.is_stopped)
        self.reactor.advance(0)
        self.assertTrue(self.reactor.is_stopped)
        self.assertEqual(foreground.status, 0)
        self.assert_closed()

    def test_second_signal_ends_at_once(self) -> None:
        gateway = self.gateway()
        self.begun(gateway)
        runs = FakeRuns([])
        gateway.runs = runs  # type: ignore[assignment]
        self.signals[signal.SIGINT](signal.SIGINT, None)
        self.reactor.advance(0)
        self.assertFalse(self.reactor.is_stopped)
        with mock.patch.object(os, "_exit", side_effect=SystemExit) as leave, self.assertRaises(SystemExit):
            self.signals[signal.SIGTERM](signal.SIGTERM, None)
        leave.assert_called_once_with(143)
        runs.over.callback(None)
        self.assertTrue(self.reactor.is_stopped)

    def test_closed_terminal(self) -> None:
        gateway = self.gateway()
        self.begun(gateway)
        runs = FakeRuns([])
        gateway.runs = runs  # type: ignore[assignment]
        for _ in range(2):
            self.signals[signal.SIGHUP](signal.SIGHUP, None)
        self.reactor.advance(0)
        self.assertFalse(self.reactor.is_stopped)
        runs.over.callback(None)
        self.assertTrue(self.reactor.is_stopped)

    def test_nohup(self) -> None:
        self.before[signal.SIGHUP] = signal.SIG_IGN
        self.begun()
        self.assertNotIn(signal.SIGHUP, self.signals)

    def test_cannot_start(self) -> None:
        self.patch(GatewayStore, "open", lambda *_: fail(StartError("no room", 78)))
        err = io.StringIO()
        with mock.patch.object(sys, "stderr", err):
            foreground = self.begun()
        self.assertEqual(err.getvalue(), "openclaw: no room\n")
        self.assertEqual(foreground.status, 78)
        self.assertTrue(self.reactor.is_stopped)
        self.assertEqual(self.ready, [])

    def test_told_to_end_while_it_starts(self) -> None:
        opening: Deferred[GatewayStore] = Deferred()
        self.patch(GatewayStore, "open", lambda *_: opening)
        foreground = self.begun()
        self.signals[signal.SIGTERM](signal.SIGTERM, None)
        self.reactor.advance(0)
        self.assertFalse(self.reactor.is_stopped)
        self.stores.append(GatewayStore.in_memory())
        opening.callback(self.stores[0])
        self.assertTrue(self.reactor.is_stopped)
        self.assertEqual((foreground.status, self.ready), (0, []))
        self.assert_closed()

    def test_told_to_end_while_it_fails_to_start(self) -> None:
        opening: Deferred[GatewayStore] = Deferred()
        self.patch(GatewayStore, "open", lambda *_: opening)
        foreground = self.begun()
        self.signals[signal.SIGTERM](signal.SIGTERM, None)
        self.reactor.advance(0)
        with mock.patch.object(sys, "stderr", io.StringIO()):
            opening.errback(StartError("no", 5))
        self.assertEqual(foreground.status, 5)
        self.assertTrue(self.reactor.is_stopped)

    def test_bug(self) -> None:
        self.patch(GatewayStore, "open", mock.Mock(side_effect=ZeroDivisionError))
        self.reactor.stop_error = ReactorNotRunning()
        foreground = self.begun()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(foreground.status, 1)

    def test_runs_the_reactor(self) -> None:
        gateway = self.gateway()
        clocks: list[SteadyClock] = []
        followed: list[None] = []
        self.patch(SteadyClock, "__init__", lambda clock, reactor: clocks.append(clock))
        self.patch(SteadyClock, "follow", lambda clock: followed.append(None))
        self.patch(service_module, "global_reactor", self.reactor)
        frozen: list[None] = []
        self.patch(gc, "freeze", lambda: frozen.append(None))
        self.patch(gc, "set_threshold", lambda *_: None)
        self.assertEqual(run_foreground(gateway._plan, self.ready.append), 0)
        self.assertTrue(self.reactor.hasRun)
        self.assertEqual(len(frozen), 1)
        self.assertEqual(self.ready, ["http://127.0.0.1:18789"])
        self.reactor.advance(LOOK_INTERVAL_S)
        self.assertEqual((len(clocks), followed), (1, [None]))
        self.signals[signal.SIGTERM](signal.SIGTERM, None)
        self.reactor.advance(0)
