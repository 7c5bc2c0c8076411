"""Tests of L{openclaw.process.signals}, with a gateway in memory."""

import io
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import TypeVar
from unittest import mock

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ReactorNotRunning
from twisted.trial.unittest import SynchronousTestCase

from openclaw.errors import StartError
from openclaw.process import signals
from openclaw.process.signals import DaemonSignals, Foreground, has_terminal
from openclaw.store.store import GatewayStore
from test.service.support import GatewayTestCase, MemoryReactor

Found = TypeVar("Found")


def until(look: Callable[[], Found]) -> Found:
    """What there is once a thread has done its work."""
    deadline_s = time.monotonic() + 10
    while not (found := look()):
        assert time.monotonic() < deadline_s, "it did not come"
        threading.Event().wait(0.002)
    return found


class ForegroundTests(GatewayTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.ready: list[str] = []
        self.signals: dict[int, Callable[..., None]] = {}
        self.patch(signal, "signal", self.signals.__setitem__)
        self.patch(signal, "getsignal", lambda number: self.before.get(number, signal.SIG_DFL))
        self.before: dict[int, signal.Handlers] = {}
        self.has_terminal(True)

    def has_terminal(self, has: bool) -> None:
        self.patch(signals, "has_terminal", lambda: has)

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

    def test_hangup_without_a_terminal(self) -> None:
        """Somebody has it reload: nothing ends, and a log file that was renamed is begun anew."""
        self.has_terminal(False)
        self.before[signal.SIGHUP] = signal.SIG_IGN
        self.begun()
        folder = self.state_dir / "logs"
        (present,) = until(lambda: list(folder.glob("*.log")) if folder.exists() else [])
        present.rename(folder / "moved")
        for _ in range(2):
            self.signals[signal.SIGHUP](signal.SIGHUP, None)
        self.reactor.advance(0)
        self.assertFalse(self.reactor.is_stopped)
        self.assertIn("told to reload", until(lambda: present.exists() and present.read_text()))

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


class DaemonSignalsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.signals: dict[int, Callable[..., None]] = {}
        self.before: dict[int, object] = {}
        self.patch(signal, "signal", self.signals.__setitem__)
        self.patch(signal, "getsignal", lambda number: self.before.get(number, signal.SIG_DFL))
        self.reactor = MemoryReactor([])
        self.reloads: list[None] = []

    def take(self, *, has_terminal: bool = False) -> None:
        self.patch(signals, "has_terminal", lambda: has_terminal)
        DaemonSignals(self.reactor, lambda: self.reloads.append(None)).take()

    def send(self, number: int) -> None:
        self.signals[number](number, None)
        self.reactor.advance(0)

    def test_nothing_ends(self) -> None:
        self.take()
        for number, reloads in ((signal.SIGHUP, 1), (signal.SIGUSR1, 2), (signal.SIGUSR2, 2)):
            self.send(number)
            self.assertEqual((len(self.reloads), self.reactor.is_stopped), (reloads, False))

    def test_closed_terminal(self) -> None:
        self.take(has_terminal=True)
        self.send(signal.SIGHUP)
        self.assertTrue(self.reactor.is_stopped)
        self.reactor.stop_error = ReactorNotRunning()
        self.send(signal.SIGHUP)

    def test_what_others_have_taken(self) -> None:
        """nohup ignores the end of a terminal, and a debugger has SIGUSR2."""
        self.before = {signal.SIGHUP: signal.SIG_IGN, signal.SIGUSR2: print}
        self.take(has_terminal=True)
        self.assertEqual(set(self.signals), {signal.SIGUSR1})
        self.take()
        self.assertEqual(set(self.signals), {signal.SIGUSR1, signal.SIGHUP})


class TerminalTests(SynchronousTestCase):
    def test_of_this_process(self) -> None:
        self.assertIn(has_terminal(), (True, False))
        self.patch(os, "open", mock.Mock(side_effect=OSError))
        self.assertFalse(has_terminal())
