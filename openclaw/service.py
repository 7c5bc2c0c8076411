"""
The composition root: from a configuration to a running gateway, and back.

Everything is made here and given to whom it concerns.  Stopping has an order of its own: refuse new runs while the
port stays open, let the runs finish, let the last bytes out, close the port, close the store.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from twisted.application.service import Service
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.defer import TimeoutError as WaitedTooLong
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from openclaw._version import __version__
from openclaw.agents.runs import Runs
from openclaw.auth.policy import AccessPolicy
from openclaw.config.describe import exit_status
from openclaw.config.lock import StateLock
from openclaw.config.paths import ensure_state_dir
from openclaw.config.plan import Plan
from openclaw.config.reload import ConfigWatcher, LiveConfig
from openclaw.config.reload_rules import needs_local_model
from openclaw.config.schema import Config
from openclaw.errors import OpenClawError, StartError
from openclaw.gateway_log import GatewayLog
from openclaw.http.access import AccessLog
from openclaw.http.app import make_app
from openclaw.http.connection.channel import GatewaySite
from openclaw.http.gate import Gate
from openclaw.http.metrics import make_metrics
from openclaw.http.root import Root
from openclaw.http.routes import make_routes
from openclaw.methods.all import Services, make_methods
from openclaw.process import (
    Collector,
    Foreground,
    SteadyClock,
    exit_with,
    log_bug,
    raise_descriptor_limit,
    settle_memory,
)
from openclaw.providers.http import ProviderAgent, make_agent, make_http_client
from openclaw.providers.local import LocalProvider, make_local_model
from openclaw.providers.local_process import LocalModel
from openclaw.providers.local_spawn import LocalSettings
from openclaw.providers.registry import Catalog
from openclaw.sessions.retention import Retention
from openclaw.sharing.joins import Joins
from openclaw.store.store import GatewayStore
from openclaw.ws.crowd import Crowd, Surface
from openclaw.ws.factory import websocket_resource
from openclaw.ws.presence import Presence

FLUSH_DEADLINE_S = 2.0
"""How long the last bytes of all connections may take when the gateway stops, in seconds."""

FLUSH_POLL_S = 0.01
"""How often to see meanwhile which connections are done, in seconds."""

STEP_DEADLINE_S = 10.0
"""
How long any one part may take to stop before the others go on without it, in seconds.

Twice what a run then waits for the store (L{openclaw.sessions.store_wait.SHORT_STORE_TIMEOUT_S}), so that each client
is told how its run ended although the disk hangs.
"""

_LISTEN_HINTS = {
    errno.EADDRINUSE: "another program uses it; stop that, or choose another port",
    errno.EACCES: "choose a port from 1024 on, or a place that you may write to",
    errno.EADDRNOTAVAIL: "this machine does not have that address",
}
"""What to do about the common reasons for not being able to listen."""

log = Logger()


class Gateway(Service):
    """
    One gateway in this process.

    @ivar url: where a client on this machine finds it, once it listens.
    @ivar runs: the door to the agents, once it is started.
    """

    name = "openclaw"

    def __init__(self, reactor: Any, planned: Plan, steady_clock: SteadyClock | None = None) -> None:
        """
        @param steady_clock: the one that C{reactor} was given, if it was.
        """
        self._reactor = reactor
        self._steady_clock = steady_clock
        self._plan = planned
        self._live = LiveConfig(planned.config, planned.loaded.environ)
        self._lock = StateLock(planned.paths.lock_path)
        self._started_s = reactor.seconds()
        self._phase: Literal["starting", "started", "draining"] = "starting"
        self._store: GatewayStore | None = None
        self._site: GatewaySite | None = None
        self._port: IListeningPort | None = None
        self._watcher: ConfigWatcher | None = None
        self._retention: Retention | None = None
        self._services: Services | None = None
        self._collector = Collector(
            reactor,
            lambda: len(self.runs.live) if self.runs is not None else 0,
            steady_clock.follow if steady_clock is not None else lambda: None,
        )
        self._local: LocalModel | None = None
        self._websockets: Crowd | None = None
        self._agents: list[ProviderAgent] = []
        self._log: GatewayLog | None = None
        self._joins: Joins | None = None
        self._opening = False
        self._open_waiters: list[Deferred[None]] = []
        self._stopping = False
        self._stop_waiters: list[Deferred[None]] = []
        self.runs: Runs | None = None
        self.url = ""

    # ------------------------------------------------------------------------------------ health

    def phase(self) -> Literal["starting", "started", "draining"]:
        """The gateway's phase of life."""
        return self._phase

    def uptime_ms(self) -> int:
        """Milliseconds since this object was made."""
        moved_s = self._steady_clock.moved_s if self._steady_clock is not None else 0.0
        return int((self._reactor.seconds() - self._started_s - moved_s) * 1000)

    def failing(self) -> Sequence[str]:
        """The parts without which no request can be served."""
        return [] if self._store is None or self._store.is_well else ["store"]

    # ------------------------------------------------------------------------------------ start

    async def start(self) -> None:
        """
        Open everything; the port is served when this returns, unless L{stop} was called meanwhile.

        @raise StartError: with one line that says what to do; everything that was opened is closed again.
        """
        if not self._is_wanted():
            return
        self._opening = True
        try:
            await self._open()
        except BaseException:
            self._phase = "draining"
            await self._close()
            raise
        finally:
            self._opening = False
            _fire(self._open_waiters)
        if self._is_wanted():
            self._phase = "started"
            for warning in self._plan.loaded.warnings:
                log.warn("{text}", text=warning)

    def _is_wanted(self) -> bool:
        return self._phase != "draining"

    async def _open(self) -> None:
        raise_descriptor_limit()
        ensure_state_dir(self._plan.paths)
        self._lock.acquire()
        self._log = GatewayLog(self._plan, self._live)
        self._log.start()
        self._store = await GatewayStore.open(self._plan.paths.store_path, self._reactor.callFromThread)
        if not self._is_wanted():
            return
        catalog = Catalog(
            self._current,
            self._client(persistent=True),
            self._reactor,
            self._make_local(),
            lambda: self._live.environ,
        )
        self.runs = Runs(self._current, catalog, self._store, self._reactor)
        self._site = self._make_site(self.runs, self._store)
        self._port = await self._listen(self._site)
        if not self._is_wanted():
            return
        self._watcher = ConfigWatcher(
            self._live,
            self._plan.loaded.path,
            self._plan.environ,
            self._reactor,
            self._in_thread,
            state_dir=self._plan.paths.state_dir,
            as_run=self._plan.options.applied_to,
        )
        self._watcher.startService()
        self._retention = Retention(
            self._store,
            lambda: self._current().session.maintenance,
            self._reactor,
            self.runs.busy_sessions,
            self.runs.forget_session,
        )
        self._retention.startService()
        self._collector.start()
        if self._local is not None:
            self._local.start()

    def _current(self) -> Config:
        return self._live.current

    def _in_thread(self, call: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), call, *arguments)

    def _client(self, *, persistent: bool) -> Any:
        agent = make_agent(self._reactor, persistent=persistent)
        self._agents.append(agent)
        return make_http_client(agent)

    def _make_local(self) -> LocalProvider | None:
        """The embedded model, if an agent uses it."""
        config = self._plan.config
        if not needs_local_model(config):
            return None
        local = config.models.local
        settings = LocalSettings(local.model, local.context_tokens, local.parallel, local.threads)
        custom_path = Path(local.path) if local.path is not None else None
        self._local = make_local_model(self._reactor, settings, self._plan.paths.models_dir, local.model, custom_path)
        return LocalProvider(self._local, self._client(persistent=False), self._reactor)

    def _make_site(self, runs: Runs, store: GatewayStore) -> GatewaySite:
        on_loopback = self._plan.listening.on_loopback_bind
        policy = AccessPolicy(self._current, self._plan.loaded.environ, self._reactor, on_loopback_bind=on_loopback)
        presence = Presence(self._reactor)
        self._services = services = Services(
            runs=runs,
            store=store,
            live=self._live,
            clock=self._reactor,
            health=self,
            in_thread=self._in_thread,
            paths=self._plan.paths,
            config_path=self._plan.loaded.path,
            environ=self._plan.environ,
            hash_key=secrets.token_bytes(32),
            presence=presence.entries,
        )
        services.begin()
        methods = make_methods(services)
        metrics = make_metrics(self._current, methods.names)
        metrics.watch(runs.bus, runs)
        self._joins = Joins(runs, store, self._reactor)
        routes = make_routes(runs, self._joins, self._reactor, self._current, self, metrics)
        surface = Surface(policy, methods, runs.bus, services.snapshot, presence, self.phase, metrics.rpc)
        self._websockets = Crowd(self._reactor, surface)
        self._live.subscribe(self._websockets.check_credentials)
        site = GatewaySite(
            Root(websocket_resource(self._reactor, self._websockets), make_app(routes)),
            Gate(self._current, policy, routes),
            self._reactor,
            local_tcp=self._plan.listening.host is not None,
            loopback_bind=on_loopback,
            served=AccessLog(routes, metrics.http),
        )
        site.noisy = False
        return site

    async def _listen(self, site: GatewaySite) -> IListeningPort:
        listening = self._plan.listening
        try:
            port: IListeningPort = await listening.endpoint(self._reactor).listen(site)
        except CannotListenError as error:
            where = listening.description or f"{listening.host}:{listening.port}"
            raise StartError(f"cannot listen at {where}: {_reason(error)}") from None
        except OSError as error:
            raise StartError(f"cannot listen at {listening.description}: {error.strerror or error}") from None
        except LookupError:
            raise StartError(f"cannot listen at {listening.description}: systemd passed no such socket") from None
        except (ValueError, TypeError):
            raise StartError(f"cannot listen at {listening.description}: this is no endpoint description") from None
        self.url = listening.url(getattr(port.getHost(), "port", None))
        return port

    # ------------------------------------------------------------------------------------ stop

    async def stop(self) -> None:
        """
        Stop in order; a part that fails to stop is logged and does not keep the others from it.

        Runs have C{gateway.shutdownDrainMs} to finish, every other part L{STEP_DEADLINE_S}.  It may be called at any
        time and more than once, and returns when everything has stopped.
        """
        self._phase = "draining"
        waiter: Deferred[None] = Deferred()
        self._stop_waiters.append(waiter)
        if not self._stopping:
            self._stopping = True
            Deferred.fromCoroutine(self._stop()).addErrback(log_bug)
        await waiter

    async def _stop(self) -> None:
        try:
            if self._opening:
                opened: Deferred[None] = Deferred()
                self._open_waiters.append(opened)
                await opened
            await self._close()
        finally:
            self._stopping = False
            _fire(self._stop_waiters)

    async def _close(self) -> None:
        """Close what is open, in the order of the module's docstring."""
        if self.runs is not None:
            grace_s = self._live.current.gateway.shutdown_drain_ms / 1000
            waiting = len(self.runs.live) + self.runs.waiting
            if waiting:
                log.warn("stopping; {count} runs have {grace_s:g} s to finish", count=waiting, grace_s=grace_s)
            await self._step("the runs", lambda runs: runs.stop(grace_s), self.runs, grace_s + STEP_DEADLINE_S)
        if self._joins is not None:
            await self._step("the results of runs", lambda joins: joins.stop(), self._joins)
        if self._services is not None:
            # While the connections are open: who waits for a run is told how it ended.
            await self._step("the methods", lambda services: services.stop(), self._services)
        if self._site is not None:
            await self._step("the connections", self._flush, self._site)
        if self._port is not None:
            await self._step("the port", lambda port: port.stopListening(), self._port)
        if self._watcher is not None:
            await self._step("the configuration watcher", lambda watcher: watcher.stopService(), self._watcher)
        self._collector.stop()
        if self._retention is not None:
            await self._step("the tidying of the store", lambda retention: retention.stopService(), self._retention)
        if self._local is not None:
            await self._step("the embedded model", lambda local: local.stop(), self._local)
        for agent in self._agents:
            await self._step("provider connections", lambda agent: agent.close(), agent)
        if self._store is not None:
            await self._step("the store", lambda store: store.close(), self._store)
        if self._log is not None:
            await self._step("the log", lambda files: self._in_thread(files.stop), self._log)
        self._lock.release()
        self.runs = self._site = self._port = self._watcher = self._local = self._store = None
        self._retention = self._services = self._joins = self._log = None
        self._agents.clear()

    async def _step(
        self, what: str, stop: Callable[[Any], Any], part: object, deadline_s: float = STEP_DEADLINE_S
    ) -> None:
        """
        Stop one part; Twisted swallows the failures of a stop, here they are told and the rest goes on.

        Nobody cancels a stop: a CancelledError is the part's own, and a failure like any other.
        """
        try:
            await maybeDeferred(stop, part).addTimeout(deadline_s, self._reactor)
        except WaitedTooLong:
            log.error("{what} did not stop within {deadline_s:g} s", what=what, deadline_s=deadline_s)
        except Exception:  # noqa: BLE001 -- see above
            log.failure("{what} did not stop properly", what=what)

    async def _flush(self, site: GatewaySite) -> None:
        """Let the answers that are being written go out, then close; what takes too long is cut."""
        deadline_s = self._reactor.seconds() + FLUSH_DEADLINE_S
        closed: set[object] = set()
        assert self._websockets is not None  # made together with the site
        self._websockets.close_all()
        while self._reactor.seconds() < deadline_s and (site.open_connections or self._websockets.open_connections):
            done = [channel for channel in site.open_connections if not channel.requests and channel not in closed]
            closed.update(done)
            for channel in done:
                channel.loseConnection()
            await deferLater(self._reactor, FLUSH_POLL_S)
        site.abort_all()

    # ------------------------------------------------------------------------------------ twistd

    def startService(self) -> None:
        """Start under twistd; a failure is one line on the log and ends the process with a status that is not 0."""
        super().startService()
        Deferred.fromCoroutine(self.start()).addCallbacks(self._tell_ready, self._cannot_start).addErrback(log_bug)

    def stopService(self) -> Deferred[None]:
        """Stop under twistd, which waits for this."""
        super().stopService()
        return Deferred.fromCoroutine(self.stop())

    def _tell_ready(self, _: None) -> None:
        if self._phase == "started":
            log.info("openclaw {version} listens at {url}", version=__version__, url=self.url)

    def _cannot_start(self, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, OpenClawError):
            log.critical("cannot start: {error}", error=error.message)
            exit_with(self._reactor, exit_status(error))
        else:
            log.failure("cannot start", failure)
            exit_with(self._reactor, 1)


def run_foreground(planned: Plan, on_ready: Callable[[str], None]) -> int:
    """
    Run a gateway in this process until it is told to end; see L{Foreground}.

    @return: the exit status.
    """
    settle_memory()
    gateway = Gateway(global_reactor, planned, SteadyClock(global_reactor))
    return Foreground(global_reactor, gateway, on_ready).run()


def _fire(waiters: list[Deferred[None]]) -> None:
    """Fire them all, and forget them."""
    fired = waiters[:]
    waiters.clear()
    for waiter in fired:
        waiter.callback(None)


def _reason(error: CannotListenError) -> str:
    """Why, and what to do about it; Twisted gives a text in place of an error where another holds a unix socket."""
    number = getattr(error.socketError, "errno", None)
    if number is None:
        return f"{error.socketError}; another program uses it"
    hint = _LISTEN_HINTS.get(number)
    return os.strerror(number) + (f"; {hint}" if hint else "")
