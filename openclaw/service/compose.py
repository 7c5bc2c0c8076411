"""What a gateway serves, made of what it stands on: each part is made here and given to whom it concerns."""

from __future__ import annotations

import secrets
from functools import partial
from typing import Any

import attrs

from openclaw.agents.runs import Runs
from openclaw.auth.policy import AccessPolicy
from openclaw.config.plan import Plan
from openclaw.config.reload import LiveConfig, ReadInThread
from openclaw.config.schema import Config
from openclaw.http.access import AccessLog
from openclaw.http.connection.channel import GatewaySite
from openclaw.http.gate import Gate
from openclaw.http.metrics import make_metrics
from openclaw.http.root import Root, make_app
from openclaw.http.routes import make_routes
from openclaw.interfaces import HealthSource
from openclaw.log_rare import RareLines
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
from openclaw.parts import Parts
from openclaw.service.stop import close_connections
from openclaw.sharing.joins import Joins
from openclaw.store.store import GatewayStore
from openclaw.ws.crowd import Crowd, Surface
from openclaw.ws.factory import websocket_resource
from openclaw.ws.presence import Presence


@attrs.frozen
class Core:
    """
    What a gateway stands on; all that it serves is made of this.

    @ivar reactor: also every clock.
    @ivar plan: where things are, and where it is to listen.
    @ivar live: the configuration that applies.
    @ivar health: what the gateway says of itself.
    @ivar in_thread: calls a function that reads files in a thread.
    """

    reactor: Any
    plan: Plan
    live: LiveConfig
    health: HealthSource
    store: GatewayStore
    runs: Runs
    in_thread: ReadInThread

    def current(self) -> Config:
        """The configuration that applies now."""
        return self.live.current


@attrs.frozen
class Methods:
    """
    What a WebSocket client may call and is greeted with; it knows no sockets.

    @ivar report: the gateway's health, for a method, the greeting and the broadcast.
    @ivar snapshot: what the greeting tells beside that.
    @ivar event_loop: measures the reactor, once it is started.
    """

    table: MethodTable
    report: HealthReport
    snapshot: GatewaySnapshot
    event_loop: EventLoopDelay


@attrs.frozen
class Surfaces:
    """
    What a gateway serves.

    @ivar joins: the door to the runs for requests that may be sent again.
    @ivar crowd: the connections that are WebSockets.
    @ivar site: all connections of the port.
    @ivar rare: tells the log of peers without a credential, once it is started.
    """

    joins: Joins
    methods: Methods
    crowd: Crowd
    site: GatewaySite
    rare: RareLines


def compose(core: Core, parts: Parts) -> Surfaces:
    """Make all that a gateway serves; C{parts} gets what has to be stopped of it."""
    clock, runs, listening = core.reactor, core.runs, core.plan.listening
    joins = Joins(runs, core.store, clock)
    parts.add("the results of runs", joins.stop)
    presence = Presence(clock)
    methods = make_methods(core, parts, joins, presence.entries)
    metrics = make_metrics(core.current, methods.table.names)
    metrics.watch(runs.bus, runs)
    on_loopback = listening.on_loopback_bind
    rare = RareLines(clock.seconds)
    parts.add("the connections", rare.stop)
    policy = AccessPolicy(core.current, core.plan.loaded.environ, clock, on_loopback_bind=on_loopback, rare=rare)
    crowd = Crowd(
        clock, Surface(policy, methods.table, runs.bus, methods.snapshot, presence, core.health.phase, metrics.rpc)
    )
    core.live.subscribe(crowd.check_credentials)
    core.live.subscribe(runs.limits_changed)
    routes = make_routes(runs, joins, clock, core.current, core.health, metrics)
    site = GatewaySite(
        Root(websocket_resource(clock, crowd), make_app(routes)),
        Gate(core.current, policy, routes),
        clock,
        local_tcp=listening.host is not None,
        loopback_bind=on_loopback,
        served=AccessLog(routes, metrics.http, rare),
        rare=rare,
    )
    site.noisy = False
    parts.add("the connections", partial(close_connections, site, crowd, clock))
    return Surfaces(joins, methods, crowd, site, rare)


def make_methods(core: Core, parts: Parts, joins: Joins, presence: PresenceEntries) -> Methods:
    """Make all methods; C{presence} gives who is connected, the rest is as for L{compose}."""
    runs, store, live, clock, plan, health = core.runs, core.store, core.live, core.reactor, core.plan, core.health
    paths, path, environ = plan.paths, plan.loaded.path, plan.environ
    event_loop = EventLoopDelay(clock)
    report = HealthReport(store, live, clock, health, paths, event_loop)
    for stop in (report.stop, event_loop.stop):
        parts.add("the methods", stop)
    file = ConfigFile(path, paths.state_dir, environ, secrets.token_bytes(32))
    table = MethodTable(
        (
            *health_methods(report),
            *status_methods(report, runs, live, clock, health, paths),
            *presence_methods(presence),
            *agent_methods(runs, joins, store, live, clock),
            *chat_methods(store, runs, joins, live, clock),
            *session_methods(store, runs, live, clock, paths),
            *model_methods(live, runs.lessons),
            *agents_methods(live),
            *config_methods(file, live, core.in_thread, clock),
            *log_methods(paths.log_dir, core.in_thread, clock),
        )
    )
    snapshot = GatewaySnapshot(report, live, health, path, paths.state_dir, environ)
    return Methods(table, report, snapshot, event_loop)
