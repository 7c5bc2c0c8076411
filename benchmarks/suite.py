"""Which loads are measured, and the measuring of one target."""

from __future__ import annotations

import asyncio
import shlex
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.load import Endpoint, Plan, Result, run_load
from benchmarks.report import Row
from benchmarks.stats import Pinning, pinned, process_use
from benchmarks.targets import Started, Target, TargetError, help_wall_s, started

STEPS = ("help", "ready", "idle", "streams", "whole", "single", "long")
"""What can be measured, in this order."""


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """
    A load that each target gets.

    @ivar title: what it is, for people.
    @ivar chunks: content events per answer.
    @ivar stream: whether it asks for streams.
    @ivar n: how many requests.
    @ivar concurrency: how many at a time.
    """

    title: str
    chunks: int
    stream: bool
    n: int
    concurrency: int


LOADS = {
    "streams": Load(title="20-chunk streams, 8 at a time", chunks=20, stream=True, n=1200, concurrency=8),
    "whole": Load(
        title="20-chunk answers that are not streamed, 8 at a time", chunks=20, stream=False, n=1200, concurrency=8
    ),
    "single": Load(title="20-chunk streams, 1 at a time", chunks=20, stream=True, n=400, concurrency=1),
    "long": Load(title="2,000-chunk streams, 4 at a time", chunks=2000, stream=True, n=80, concurrency=4),
}


class Extent(msgspec.Struct, frozen=True, kw_only=True):
    """
    How much is done.

    @ivar steps: what is measured, of L{STEPS}.
    @ivar divisor: the loads make that many times fewer requests.
    @ivar budget_s: after this a load begins no new request.
    @ivar idle_s: how long a target rests before its memory is read.
    @ivar warmup: requests before each load that are not counted.
    @ivar max_starts: how often a target is started at most.
    @ivar help_runs: how often its help is printed.
    """

    steps: tuple[str, ...] = STEPS
    divisor: int = 1
    budget_s: float = 20.0
    idle_s: float = 5.0
    warmup: int = 5
    max_starts: int = 3
    help_runs: int = 5

    def plan(self, load: Load, target: Target) -> Plan:
        """
        @param load: what to ask.
        @param target: whom.
        """
        return Plan(
            endpoint=Endpoint(host="127.0.0.1", port=target.port, path="/v1/chat/completions"),
            token=target.token,
            prompt=f"chunks={load.chunks}",
            stream=load.stream,
            n=max(load.concurrency, load.n // self.divisor),
            concurrency=load.concurrency,
            warmup=self.warmup if load.chunks < 1000 else 1,
            min_events=load.chunks if target.every_event else 0,
            expect_text=f"w{load.chunks - 1}.0",
            request_timeout_s=300.0,
            budget_s=self.budget_s,
        )


QUICK = Extent(divisor=6, budget_s=5.0, idle_s=1.0, max_starts=1, help_runs=2)
"""A glance: a sixth of the requests."""

Loader = Callable[[Plan, int], Coroutine[Any, Any, Result]]


class Suite:
    """The measuring of targets, one after the other."""

    def __init__(
        self,
        extent: Extent,
        pinning: Pinning,
        say: Callable[[str], None],
        *,
        load: Loader = run_load,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """
        @param extent: how much is done.
        @param pinning: which core runs what.
        @param say: told what is being done.
        @param load: makes the requests of a plan.
        @param sleep: waits, in seconds.
        """
        self._extent = extent
        self._pinning = pinning
        self._say = say
        self._load = load
        self._sleep = sleep

    def run_loads(self, row: Row, target: Target, running: Started) -> None:
        """
        Put each load on a target that runs, and write the results into its row.

        @param row: where the results go.
        @param target: what is loaded.
        @param running: its process.
        """
        for name, load in LOADS.items():
            if name not in self._extent.steps:
                continue
            self._say(f"{target.name}: {load.title}")
            with pinned(self._pinning.load):
                result = asyncio.run(self._load(self._extent.plan(load, target), running.pid))
            row.loads[name] = result
            if result.failed:
                problems = ", ".join(f"{count} x {problem}" for problem, count in result.problems.items())
                self._say(f"{target.name}: {result.failed} requests failed: {problems}")
                self._say(running.last_lines())

    def measure(self, target: Target, folder: Path) -> Row:
        """
        Measure everything that is asked for; a target that does not start has a row that says so.

        @param target: what is measured.
        @param folder: where its logs go.
        """
        row = Row(target=target.name, command=shlex.join(target.argv), ready_s=[], help_s=[], loads={})
        try:
            self._measure(row, target, folder)
        except TargetError as error:
            row.problem = str(error)
            self._say(f"{target.name}: {error}")
        return row

    def _measure(self, row: Row, target: Target, folder: Path) -> None:
        steps, core = self._extent.steps, self._pinning.target
        if "help" in steps and target.help_argv:
            self._say(f"{target.name}: {shlex.join(target.help_argv)}")
            row.help_s = help_wall_s(target, core, self._extent.help_runs)
        if not set(steps) - {"help"}:
            return
        starts = max(1, min(target.starts, self._extent.max_starts)) if "ready" in steps else 1
        for number in range(starts):
            self._say(f"{target.name}: start {number + 1} of {starts}")
            with started(target, core, folder / f"log-{number + 1}.txt") as running:
                row.ready_s.append(round(running.ready_s, 3))
                if number + 1 == starts:
                    self._measure_running(row, target, running)

    def _measure_running(self, row: Row, target: Target, running: Started) -> None:
        if "idle" in self._extent.steps:
            self._sleep(self._extent.idle_s)
            use = process_use(running.pid)
            row.idle_rss_mb = use.rss_mb if use else None
        self.run_loads(row, target, running)
