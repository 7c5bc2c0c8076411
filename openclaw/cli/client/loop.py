"""
The process's reactor, and how a command runs on it.

Importing this module costs most of a command's time, so commands import it when they have read their options.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.python.failure import Failure

from openclaw.cli.output import resume


class Loop:
    """
    Runs one coroutine on a reactor that does nothing else.

    The first SIGINT or SIGTERM cancels the coroutine, which may still say goodbye; a second one ends the process.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._work: Deferred[int] | None = None
        self._signal: int | None = None
        self._outcome: int | Failure = 0

    def run(self, work: Callable[[Any], Awaitable[int]]) -> int:
        """Run until it has ended; give its exit status, or that of a process which a signal ended.  Blocks."""
        resume()
        self._reactor.callWhenRunning(self._begin, work)
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            self._reactor.run()
        finally:
            for number, action in before.items():
                signal.signal(number, action)
        if self._signal is not None:
            return 128 + self._signal
        if isinstance(self._outcome, Failure):
            self._outcome.raiseException()
        assert isinstance(self._outcome, int)
        return self._outcome

    def _begin(self, work: Callable[[Any], Awaitable[int]]) -> None:
        # Twisted has just set its own, which would stop the reactor under the coroutine
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.on_signal)

        async def guarded() -> int:
            return await work(self._reactor)

        self._work = Deferred.fromCoroutine(guarded())
        self._work.addBoth(self._ended)

    def on_signal(self, number: int, frame: object) -> None:
        """A signal to end has come, anywhere between two instructions of the reactor's thread."""
        if self._signal is not None:
            os._exit(128 + number)
        self._signal = number
        self._reactor.callFromThread(self._interrupt)

    def _interrupt(self) -> None:
        if self._work is not None:
            self._work.cancel()

    def _ended(self, outcome: int | Failure) -> None:
        if not (
            isinstance(outcome, Failure)
            and self._signal is not None
            and outcome.check(CancelledError, ConnectingCancelledError)
        ):
            self._outcome = outcome
            if self._signal is not None and isinstance(outcome, Failure):
                self._signal = None  # it failed at something else, which is to be told
        self._reactor.stop()


def run(work: Callable[[Any], Awaitable[int]]) -> int:
    """Run a coroutine on the process's reactor, which can be done once; see L{Loop.run}."""
    return Loop(process_reactor()).run(work)


def process_reactor() -> Any:
    """The process's reactor, which nobody runs yet."""
    from twisted.internet import reactor

    return reactor
