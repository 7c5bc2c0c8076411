"""All methods of one gateway, and what they need."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs

from openclaw.agents.runs import Runs
from openclaw.config.paths import Paths
from openclaw.config.reload import LiveConfig, ReadInThread
from openclaw.interfaces import Clock, HealthSource
from openclaw.methods.agent import agent_methods
from openclaw.methods.agents import agents_methods
from openclaw.methods.chat import chat_methods
from openclaw.methods.config import ConfigFile, config_methods
from openclaw.methods.event_loop import EventLoopDelay
from openclaw.methods.health import HealthReport, health_methods
from openclaw.methods.logs import log_methods
from openclaw.methods.models import model_methods
from openclaw.methods.presence import PresenceEntries, presence_methods
from openclaw.methods.sessions import session_methods
from openclaw.methods.snapshot import GatewaySnapshot
from openclaw.methods.status import status_methods
from openclaw.methods.table import MethodTable
from openclaw.sharing.joins import Joins
from openclaw.stores import SessionStore


@attrs.frozen
class Services:
    """
    What the methods need of a gateway.

    @ivar clock: also measures the reactor's delay.
    @ivar health: what the gateway says of itself.
    @ivar in_thread: calls a function that reads files in a thread.
    @ivar config_path: the configuration file.
    @ivar environ: the process's environment, which the configuration file is read with.
    @ivar hash_key: 32 random bytes; see L{ConfigFile}.
    @ivar presence: gives who is connected.
    @ivar event_loop: measures the reactor from L{begin} on.
    @ivar report: the gateway's health, for the greeting and the broadcast, too.
    @ivar snapshot: what the greeting tells beside that.
    """

    runs: Runs
    joins: Joins
    store: SessionStore
    live: LiveConfig
    clock: Clock
    health: HealthSource
    in_thread: ReadInThread
    paths: Paths
    config_path: Path
    environ: Mapping[str, str] = attrs.field(repr=False)
    hash_key: bytes = attrs.field(repr=False)
    presence: PresenceEntries
    event_loop: EventLoopDelay = attrs.field(init=False)
    report: HealthReport = attrs.field(init=False)
    snapshot: GatewaySnapshot = attrs.field(init=False)

    @event_loop.default
    def _make_event_loop(self) -> EventLoopDelay:
        return EventLoopDelay(self.clock)

    @report.default
    def _make_report(self) -> HealthReport:
        return HealthReport(self.store, self.live, self.clock, self.health, self.paths, self.event_loop)

    @snapshot.default
    def _make_snapshot(self) -> GatewaySnapshot:
        return GatewaySnapshot(
            self.report, self.live, self.health, self.config_path, self.paths.state_dir, self.environ
        )

    def begin(self) -> None:
        """Begin what runs by itself: measuring the reactor."""
        self.event_loop.start()

    def stop(self) -> None:
        """End what runs by itself."""
        self.report.stop()
        self.event_loop.stop()


def make_methods(services: Services) -> MethodTable:
    """The table of all methods."""
    given = services
    return MethodTable(
        (
            *health_methods(given.report),
            *status_methods(given.report, given.runs, given.live, given.clock, given.health, given.paths),
            *presence_methods(given.presence),
            *agent_methods(given.runs, given.joins, given.store, given.live, given.clock),
            *chat_methods(given.store, given.runs, given.live, given.clock),
            *session_methods(given.store, given.runs, given.live, given.clock, given.paths),
            *model_methods(given.live),
            *agents_methods(given.live),
            *config_methods(
                ConfigFile(given.config_path, given.paths.state_dir, given.environ, given.hash_key),
                given.live,
                given.in_thread,
                given.clock,
            ),
            *log_methods(given.paths.log_dir, given.in_thread, given.clock),
        )
    )
