"""A time of day that does not jump while anybody waits."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

CLOCK_TOLERANCE_S = 1.0
"""How far a reactor's time may be from the system's before it is set by that, in seconds."""

log = Logger()


def seconds_since_boot() -> float:
    """Seconds that nobody can set; on Linux those that the machine slept are among them."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class SteadyClock:
    """
    Gives a reactor a time of day that does not jump while anybody waits for something.

    Twisted's timers go by the system's clock.  When that is set back by an hour, none of them fires for an hour, and
    when it is set forward all waits end at once: runs time out, and keys of repeated requests are forgotten.

    @param reactor: has this clock from now on.
    @ivar moved_s: by how much it was set since then, in all.
    """

    def __init__(
        self, reactor: Any, wall: Callable[[], float] = time.time, steady: Callable[[], float] = seconds_since_boot
    ) -> None:
        self._reactor = reactor
        self._wall = wall
        self._steady = steady
        self._ahead_s = wall() - steady()
        self.moved_s = 0.0
        reactor.seconds = self.seconds

    def seconds(self) -> float:
        """Seconds since 1970, as the system had it when this was made or followed it last."""
        return self._steady() + self._ahead_s

    def follow(self) -> None:
        """If the system's clock was set, be set, too; each timer still takes as long as it was to take."""
        by_s = self._wall() - self.seconds()
        if abs(by_s) < CLOCK_TOLERANCE_S:
            return
        log.warn("the clock of this machine was set by {by_s:+.0f} s", by_s=by_s)
        now_s = self.seconds()
        left = [(timer, timer.getTime() - now_s) for timer in self._reactor.getDelayedCalls()]
        self._ahead_s += by_s
        self.moved_s += by_s
        for timer, left_s in left:
            timer.reset(max(left_s, 0.0))
