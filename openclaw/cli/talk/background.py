"""
A reactor in a thread of its own, for the one command that reads a terminal meanwhile.

The main thread keeps what a terminal wants: line editing, and Ctrl-C where it stands.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, wait
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from openclaw.cli.output import resume

LOOK_INTERVAL_S = 0.2
"""How often the main thread looks for a signal while it waits, in seconds."""

JOIN_DEADLINE_S = 2.0
"""How long the reactor may take to end, in seconds."""

T = TypeVar("T")


class Background:
    """Runs a reactor, which nobody else runs, in a thread, from entering it as a context to leaving it."""

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self._thread = threading.Thread(
            target=reactor.run, kwargs={"installSignalHandlers": False}, name="reactor", daemon=True
        )

    def __enter__(self) -> Background:
        resume()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.reactor.callFromThread(self.reactor.stop)
        self._thread.join(JOIN_DEADLINE_S)

    @property
    def is_running(self) -> bool:
        """Whether its thread is there."""
        return self._thread.is_alive()

    def submit(self, work: Callable[[], Awaitable[T]]) -> Future[T]:
        """Start a coroutine on the reactor; wait for it by L{outcome}, which does not keep signals away."""
        future: Future[T] = Future()

        async def guarded() -> T:
            return await work()

        def failed(failure: Failure) -> None:
            future.set_exception(failure.value)

        self.reactor.callFromThread(lambda: Deferred.fromCoroutine(guarded()).addCallbacks(future.set_result, failed))
        return future

    def call(self, work: Callable[[], Awaitable[T]], timeout_s: float | None = None) -> T:
        """
        Run a coroutine on the reactor and wait for it.

        @param timeout_s: how long to wait, in seconds; C{None} where the coroutine has a deadline of its own.
        @raise TimeoutError: if it takes longer; it goes on.
        """
        return self.outcome(self.submit(work), timeout_s)

    def outcome(self, future: Future[T], timeout_s: float | None = None) -> T:
        """
        Wait for an outcome in the main thread.

        The system may give a signal to the reactor's thread; Python then acts on it when the main thread does
        something, and one that waits for a lock does nothing.

        @param timeout_s: how long to wait, in seconds; C{None} without end.
        @raise TimeoutError: if it takes longer.
        """
        left_s = timeout_s
        while (left_s is None or left_s > LOOK_INTERVAL_S) and not wait((future,), LOOK_INTERVAL_S).done:
            left_s = None if left_s is None else left_s - LOOK_INTERVAL_S
        return future.result(left_s)
