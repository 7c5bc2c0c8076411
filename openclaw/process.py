"""
The process around a gateway: its signals, its exit status, its clock, its limits.
"""

from __future__ import annotations

import atexit
import gc
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from openclaw._version import __version__
from openclaw.config.describe import describe, exit_status
from openclaw.errors import OpenClawError
from openclaw.interfaces import Clock

LOOK_INTERVAL_S = 5.0
"""Seconds between two looks whether now is a moment to collect garbage in."""

IDLE_COLLECTION_S = 60.0
"""Seconds between two full collections while nobody waits for anything."""

MIN_PASSES = 8
"""
How many passes over young objects, each after some 20,000 new ones, a full collection is worth while runs are live; one
more for each of those, as what they hold is walked.
"""

CLOCK_TOLERANCE_S = 1.0
"""How far a reactor's time may be from the system's before it is set by that, in seconds."""

log = Logger()


class RunnableGateway(Protocol):
    """What L{Foreground} needs of a gateway; see L{openclaw.service.Gateway}."""

    url: str

    def phase(self) -> str:
        """Its phase of life."""

    async def start(self) -> None:
        """Open everything."""

    async def stop(self) -> None:
        """Stop in order."""


class Foreground:
    """
    A gateway that is all that its process is for.

    The first SIGTERM or SIGINT stops it in order; a second one ends the process at once.  SIGHUP, which a terminal
    sends that is closed, stops it in order, too, unless C{nohup} had it ignored.

    @ivar status: the exit status of the process: 0 after a stop in order.
    @param on_ready: called with the gateway's URL when the port is served.
    """

    def __init__(self, reactor: Any, gateway: RunnableGateway, on_ready: Callable[[str], None]) -> None:
        self.status = 0
        self._reactor = reactor
        self._gateway = gateway
        self._on_ready = on_ready
        self._told_to_end = False

    def run(self) -> int:
        """
        Run until told to end; blocks.

        @return: the exit status.
        """
        self._reactor.callWhenRunning(self.begin)
        self._reactor.run()
        return self.status

    def begin(self) -> None:
        """Take the signals over and start."""
        # Twisted has just set its own handlers, which would stop the reactor without waiting for runs.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.on_signal)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self.on_hangup)
        Deferred.fromCoroutine(self._start()).addErrback(self._broken)

    def on_signal(self, number: int, frame: object) -> None:
        """A signal to end has come, anywhere between two instructions of the reactor's thread."""
        if self._told_to_end:
            os._exit(128 + number)
        self._told_to_end = True
        self._reactor.callFromThread(lambda: Deferred.fromCoroutine(self._stop()).addErrback(self._broken))

    def on_hangup(self, number: int, frame: object) -> None:
        """The terminal is gone.  The shell and the system may both say so: that is no wish for a sudden end."""
        if not self._told_to_end:
            self.on_signal(number, frame)

    async def _start(self) -> None:
        try:
            await self._gateway.start()
        except OpenClawError as error:
            print(describe(error), file=sys.stderr)  # noqa: T201 -- what is to be read by whoever started it
            self._end(exit_status(error))
            return
        if self._gateway.phase() == "started":
            # Whoever started it sees this anyway; the files would else not say when that was.
            log.info("openclaw {version} serves at {url}", version=__version__, url=self._gateway.url, files_only=True)
            self._on_ready(self._gateway.url)

    async def _stop(self) -> None:
        log.info("told to stop", files_only=True)
        await self._gateway.stop()
        self._end(self.status)

    def _broken(self, failure: Failure) -> None:
        log_bug(failure)
        self._end(1)

    def _end(self, status: int) -> None:
        self.status = status
        with suppress(ReactorNotRunning):
            self._reactor.stop()


def exit_with(reactor: Any, status: int) -> None:
    """
    End a twistd process with a status of our own, whether its reactor runs already or is about to.

    twistd has no way to be told one: it returns 0 or dies of a signal.  So the interpreter exits with ours once
    twistd has cleaned up.
    """

    def leave() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)

    def stop() -> None:
        with suppress(ReactorNotRunning):
            reactor.stop()

    atexit.register(leave)
    reactor.callWhenRunning(stop)


def settle_memory() -> None:
    """
    Take what is loaded by now out of the garbage collector's sight, for the life of the process.

    Modules and classes never become garbage, and a full collection that walks them stops every stream for 30 ms:
    with them out of sight the slowest first byte of a hundred comes after 17 ms and not 42 (benchmarks, 8 streams).

    Full collections of what is left come so seldom that L{Collector} is there first.
    """
    gc.freeze()
    gc.set_threshold(1000, 20, 1000)


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
        self,
        reactor: Any,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = seconds_since_boot,
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
        self._looping: LoopingCall = LoopingCall(self._look)
        self._looping.clock = clock  # type: ignore[assignment]

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


def log_bug(failure: Failure) -> None:
    """Log a failure that nobody expected."""
    log.failure("the gateway failed by a bug", failure)
