"""How late the reactor is: what keeps it busy delays every stream."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.interfaces import IDelayedCall

from openclaw.interfaces import Clock

INTERVAL_S = 0.25
"""Seconds between two looks."""

WINDOW = 240
"""How many looks the figures are made of: those of the last minute."""

DEGRADED_P99_S = 0.5
"""From this delay on, seconds at the 99th percentile, the reactor counts as overloaded."""


@attrs.frozen
class _Look:
    """What one look found; all in seconds."""

    at_s: float
    delay_s: float
    cpu_s: float
    thread_s: float


@attrs.define(eq=False)
class EventLoopDelay:
    """
    Looks how late a timer comes.

    @ivar _clock: the timers.
    @ivar _now: seconds that never jump; what is measured with.
    @ivar _cpu_s: processor time of this process so far, seconds.
    @ivar _thread_s: processor time of the thread that calls it so far, which is the reactor's, seconds.
    """

    _clock: Clock
    _now: Callable[[], float] = time.monotonic
    _cpu_s: Callable[[], float] = time.process_time
    _thread_s: Callable[[], float] = time.thread_time
    _looks: deque[_Look] = attrs.field(factory=lambda: deque(maxlen=WINDOW + 1), init=False)
    _call: IDelayedCall | None = attrs.field(default=None, init=False)

    def start(self) -> None:
        """Begin to look."""
        self._look(0.0)

    def stop(self) -> None:
        """End; the figures stay."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None

    def _look(self, delay_s: float) -> None:
        now_s = self._now()
        self._looks.append(_Look(now_s, delay_s, self._cpu_s(), self._thread_s()))
        self._call = self._clock.callLater(INTERVAL_S, self._wake, now_s + INTERVAL_S)

    def _wake(self, due_s: float) -> None:
        self._look(max(self._now() - due_s, 0.0))

    def figures(self) -> dict[str, Any] | None:
        """
        The figures of the last minute, as C{health} tells them.

        @return: milliseconds, and the parts of one processor that the reactor's thread (C{utilization}) and the
            process took; C{None} before the second look.
        """
        if len(self._looks) < 2:
            return None
        first, last = self._looks[0], self._looks[-1]
        delays = sorted(look.delay_s for look in list(self._looks)[1:])
        p99_s = delays[math.ceil(len(delays) * 0.99) - 1]
        reasons = ["event_loop_delay"] if p99_s >= DEGRADED_P99_S else []
        lasted_s = last.at_s - first.at_s
        return {
            "degraded": bool(reasons),
            "reasons": reasons,
            "intervalMs": round(lasted_s * 1000, 1),
            "delayP99Ms": round(p99_s * 1000, 1),
            "delayMaxMs": round(delays[-1] * 1000, 1),
            "utilization": _part(last.thread_s - first.thread_s, lasted_s),
            "cpuCoreRatio": _part(last.cpu_s - first.cpu_s, lasted_s),
        }


def _part(used_s: float, lasted_s: float) -> float:
    return round(used_s / lasted_s, 3) if lasted_s > 0 else 0.0
