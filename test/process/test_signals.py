"""Tests of L{openclaw.process.signals}, with a gateway in memory."""

import io
import os
import signal
import sys
from collections.abc import Callable
from unittest import mock

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ReactorNotRunning

from openclaw.errors import StartError
from openclaw.process.signals import Foreground
from openclaw.store.store import GatewayStore
from test.service.support import GatewayTestCase


class ForegroundTests(GatewayTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.ready: list[str] = []
        self.signals: dict[int, Callable[..., None]] = {}
        self.patch(signal, "signal", self.signals.__setitem__)
        self.patch(signal, "getsignal", lambda number: self.before.get(number, signal.SIG_DFL))
        self.before: dict[int, signal.Handlers] = {}

    def begun(self) -> Foreground:
        foreground = Foreground(self.reactor, self.gateway(), self.ready.append)
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
        runs = self.hold_runs()
        self.begun()
        self.signals[signal.SIGINT](signal.SIGINT, None)
        self.reactor.advance(0)
        self.assertFalse(self.reactor.is_stopped)
        with mock.patch.object(os, "_exit", side_effect=SystemExit) as leave, self.assertRaises(SystemExit):
            self.signals[signal.SIGTERM](signal.SIGTERM, None)
        leave.assert_called_once_with(143)
        runs.over.callback(None)
        self.assertTrue(self.reactor.is_stopped)

    def test_closed_terminal(self) -> None:
        runs = self.hold_runs()
        self.begun()
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
