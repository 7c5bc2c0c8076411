"""What something is made of, and the order in which it is taken apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import TimeoutError as WaitedTooLong
from twisted.internet.defer import maybeDeferred
from twisted.logger import Logger

from openclaw.interfaces import Clock
from openclaw.waits import within

STEP_DEADLINE_S = 10.0
"""
How long any one part may take to stop before the others go on without it, in seconds.

Twice what a run then waits for the store (L{openclaw.waits.SHORT_STORE_TIMEOUT_S}), so that each client is told how
its run ended although the disk hangs.
"""

log = Logger()


class Parts:
    """
    The parts that are open, each added when it is opened.

    @param order: what they may be called, in the order in which they are stopped, which need not be the reverse of
        that in which they are opened.
    """

    def __init__(self, clock: Clock, order: Sequence[str]) -> None:
        self._clock = clock
        self._parts: dict[str, list[tuple[Callable[[], Any], Callable[[], float]]]] = {name: [] for name in order}

    def add(
        self, name: str, stop: Callable[[], Any], deadline_s: float | Callable[[], float] = STEP_DEADLINE_S
    ) -> None:
        """
        A part is open, or about to be.

        @param name: as in the sentence I{the store did not stop properly}.  Parts of one name are stopped one after
            the other, in the order in which they came.
        @param stop: ends it; a Deferred or a coroutine that it returns is waited for.  Called once.
        @param deadline_s: how long that may take; a function is asked when it begins.
        @raise KeyError: if the order does not say when parts of this name are stopped.
        """
        self._parts[name].append((stop, deadline_s if callable(deadline_s) else lambda: deadline_s))

    async def stop(self) -> None:
        """
        Stop all of them in order; a part that fails to stop, or takes too long, is logged, and the rest goes on.

        Nobody cancels a stop: a CancelledError is the part's own, and a failure like any other.
        """
        for name, parts in self._parts.items():
            while parts:
                await self._stop(name, *parts.pop(0))

    async def _stop(self, name: str, stop: Callable[[], Any], ask_deadline_s: Callable[[], float]) -> None:
        deadline_s = ask_deadline_s()
        try:
            await within(maybeDeferred(stop), deadline_s, self._clock)
        except WaitedTooLong:
            log.error("{what} did not stop within {deadline_s:g} s", what=name, deadline_s=deadline_s)
        except Exception:  # noqa: BLE001 -- Twisted swallows the failures of a stop; here they are told
            log.failure("{what} did not stop properly", what=name)
