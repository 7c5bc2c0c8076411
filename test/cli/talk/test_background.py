"""Tests of L{openclaw.cli.talk.background}."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from openclaw.cli.talk.background import LOOK_INTERVAL_S, Background


class QueueReactor:
    """A reactor of nothing but calls from other threads."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], Any]] = []
        self.there = threading.Condition()
        self.running = True

    def run(self, installSignalHandlers: bool) -> None:
        """Make the calls until stopped."""
        assert not installSignalHandlers
        while self.running:
            with self.there:
                self.there.wait_for(lambda: self.calls, 10)
                calls, self.calls = self.calls, []
            for call in calls:
                call()

    def callFromThread(self, call: Callable[[], Any]) -> None:
        """Make a call there."""
        with self.there:
            self.calls.append(call)
            self.there.notify()

    def stop(self) -> None:
        """End."""
        self.running = False


class BackgroundTests(TestCase):
    def test_runs_coroutines_in_its_thread(self) -> None:
        async def where() -> str:
            return threading.current_thread().name

        async def broken() -> str:
            raise ZeroDivisionError

        async def never() -> None:
            await Deferred()

        with Background(QueueReactor()) as background:
            self.assertEqual(background.call(where), "reactor")
            self.assertRaises(ZeroDivisionError, background.call, broken)
            self.assertRaises(TimeoutError, background.call, never, 0.001)
            self.assertRaises(TimeoutError, background.call, never, 2.5 * LOOK_INTERVAL_S)

    def test_signal_that_the_other_thread_has_taken(self) -> None:
        """The one that waits acts on it."""

        async def never() -> None:
            await Deferred()

        def take_it() -> None:
            time.sleep(LOOK_INTERVAL_S)
            signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)

        def told(number: int, frame: object) -> None:
            raise KeyboardInterrupt

        before = signal.signal(signal.SIGUSR1, told)
        self.addCleanup(signal.signal, signal.SIGUSR1, before)
        with Background(QueueReactor()) as background:
            background.reactor.callFromThread(take_it)
            self.assertRaises(KeyboardInterrupt, background.call, never, 20 * LOOK_INTERVAL_S)
        self.assertFalse(background.is_running)
