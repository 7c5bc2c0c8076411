"""What the process has of the machine: when its memory is searched for garbage, and how many files it may open."""

from __future__ import annotations

import gc
import resource
from collections.abc import Callable

from twisted.logger import Logger

from openclaw.interfaces import Clock
from openclaw.process.failures import log_bug
from openclaw.waits import looping

LOOK_INTERVAL_S = 5.0
"""Seconds between two looks whether now is a moment to collect garbage in."""

IDLE_COLLECTION_S = 60.0
"""Seconds between two full collections while nobody waits for anything."""

MIN_PASSES = 8
"""
How many passes over young objects, each after some 20,000 new ones, a full collection is worth while runs are live; one
more for each of those, as what they hold is walked.
"""

log = Logger()


def settle_memory() -> None:
    """
    Take what is loaded by now out of the garbage collector's sight, for the life of the process.

    Modules and classes never become garbage, and a full collection that walks them stops every stream for 30 ms:
    with them out of sight the slowest first byte of a hundred comes after 17 ms and not 42 (benchmarks, 8 streams).

    Full collections of what is left come so seldom that L{Collector} is there first.
    """
    gc.freeze()
    gc.set_threshold(1000, 20, 1000)


class Collector:
    """
    Makes the full collections: while nobody waits for anything, or when there is enough to be found.

    A request leaves some hundred objects in circles, mostly of Twisted's and Klein's.  Passes over young objects find
    those of short requests.  Of what lives through two passes a gateway that is never idle gathers half a megabyte
    each second at 180 requests a second (benchmarks, soak), so it must not wait for a rest.  A full collection
    takes some 0.2 ms for each live run: 190 ms with a thousand of them, which is why it has to be worth it.

    @param live_runs: tells how many runs are live now.
    @param at_rest: called when there are none.
    """

    def __init__(
        self, clock: Clock, live_runs: Callable[[], int], at_rest: Callable[[], object] = lambda: None
    ) -> None:
        self._clock = clock
        self._live_runs = live_runs
        self._at_rest = at_rest
        self._collected_at_s = clock.seconds()
        self._looping = looping(self._look, clock)

    def start(self) -> None:
        """Look every L{LOOK_INTERVAL_S}."""
        self._looping.start(LOOK_INTERVAL_S, now=False).addErrback(log_bug)

    def stop(self) -> None:
        """Look no more; harmless before L{start}."""
        if self._looping.running:
            self._looping.stop()

    def _look(self) -> None:
        live = self._live_runs()
        if not live:
            self._at_rest()
        passes = gc.get_count()[2]
        now_s = self._clock.seconds()
        # A clock that was set back must not put it off.
        is_time = not 0 <= now_s - self._collected_at_s < IDLE_COLLECTION_S
        if (is_time and not live) or passes >= MIN_PASSES + live:
            self._collected_at_s = now_s
            gc.collect()


def raise_descriptor_limit() -> None:
    """Let this process have as many sockets as it may: the soft limit goes up to the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError) as error:
            # Some systems have an unlimited hard limit that no process may really have.
            log.info("the limit of open files stays {soft}: {error}", soft=soft, error=error)
