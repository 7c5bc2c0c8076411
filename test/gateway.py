"""
What a gateway stands on, in the hands of a test.

L{openclaw.service.compose} makes of it what it makes for L{openclaw.service.gateway}.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogEvent, LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from openclaw.agents.runs import Runs
from openclaw.config.listen import Listening
from openclaw.config.load import LoadedConfig
from openclaw.config.paths import Paths
from openclaw.config.plan import Options, Plan
from openclaw.config.reload import LiveConfig
from openclaw.service.compose import Core

START_S = 1_700_000_000.0
NOWHERE = Path("/nonexistent")


class HandSetHealth:
    """Health as a test sets it."""

    def __init__(self) -> None:
        self.current = "started"
        self.parts: list[str] = []

    def phase(self) -> Any:
        """As set."""
        return self.current

    def uptime_ms(self) -> int:
        """A fixed number."""
        return 1234

    def failing(self) -> list[str]:
        """As set."""
        return self.parts


def make_core(
    clock: Any,
    live: LiveConfig,
    store: Any,
    runs: Runs,
    *,
    folder: Path = NOWHERE,
    environ: Mapping[str, str] | None = None,
) -> Core:
    """What a gateway stands on, its health set by hand; nothing is read of the folder unless a method is asked to."""
    paths = Paths(
        home=folder,
        state_dir=folder,
        config_path=folder / "openclaw.json",
        store_path=folder / "gateway.sqlite",
        models_dir=folder / "models",
        lock_path=folder / "gateway.lock",
        log_dir=folder / "logs",
    )
    plan = Plan(
        LoadedConfig(live.current, paths.config_path, exists=True, warnings=()),
        live.current,
        paths,
        Listening("127.0.0.1", 18789, None, on_loopback_bind=True),
        environ or {},
        Options(),
    )
    return Core(clock, plan, live, HandSetHealth(), store, runs, maybeDeferred)


class MemoryTestCase(SynchronousTestCase):
    """
    With a reactor in memory, and an eye on the log.

    @ivar problems: what was logged as an error.
    """

    def setUp(self) -> None:
        """Begin with nothing done."""
        self.clock = MemoryReactorClock()
        self.clock.advance(START_S)
        self.problems: list[LogEvent] = []
        globalLogPublisher.addObserver(self._note)
        self.addCleanup(globalLogPublisher.removeObserver, self._note)

    def _note(self, event: LogEvent) -> None:
        if event.get("log_level", LogLevel.info) >= LogLevel.error:
            self.problems.append(event)

    def tick(self, turns: int = 3) -> None:
        """Let the reactor turn without time passing."""
        for _ in range(turns):
            self.clock.advance(0)

    def wait(self, seconds: float) -> None:
        """Let time pass, in steps of a quarter of a second at most."""
        while seconds > 0:
            self.clock.advance(min(seconds, 0.25))
            seconds -= 0.25
