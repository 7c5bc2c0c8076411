"""One gateway: opening everything that it is made of, and stopping it in order."""

from __future__ import annotations

# Python reads it where a name is first encoded: with the first request, for which there may be no descriptor left.
import encodings.idna  # noqa: F401
import errno
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger, globalLogPublisher

from openclaw.agents.runs import Runs
from openclaw.config.listen import Listening, local_url
from openclaw.config.lock import StateLock
from openclaw.config.paths import ensure_state_dir
from openclaw.config.plan import Plan
from openclaw.config.reload import ConfigWatcher, LiveConfig
from openclaw.config.reload_rules import needs_local_model
from openclaw.config.schema import Config
from openclaw.descriptors import watch_accepting
from openclaw.errors import StartError, StoreError
from openclaw.gateway_log import GatewayLog
from openclaw.http.connection.channel import GatewaySite
from openclaw.interfaces import Clock
from openclaw.parts import STEP_DEADLINE_S, Parts
from openclaw.process.accepting import PortRest
from openclaw.process.clock import SteadyClock
from openclaw.process.failures import log_bug
from openclaw.process.memory import Collector, raise_descriptor_limit
from openclaw.process.notices import Notices
from openclaw.providers.http import DIRECT, make_agent, make_http_client
from openclaw.providers.registry import Catalog
from openclaw.providers.session_ids import SECRET_NAME, session_ids
from openclaw.providers.ways import WayClients
from openclaw.service.compose import Core, compose
from openclaw.service.stop import STOP_ORDER, stop_runs
from openclaw.sessions.retention import Retention
from openclaw.store.store import GatewayStore
from openclaw.waits import Promise

if TYPE_CHECKING:
    from openclaw.providers.local_process import LocalModel

_LISTEN_HINTS = {
    errno.EADDRINUSE: "another program uses it; stop that, or choose another port",
    errno.EACCES: "choose a port from 1024 on, or a place that you may write to",
    errno.EADDRNOTAVAIL: "this machine does not have that address",
}
"""What to do about the common reasons for not being able to listen."""

_NAMES_HINT = " with a name, and those without one are not seen: give systemd-socket-activate --fdname=openclaw"
"""Twisted takes no socket of systemd without C{LISTEN_FDNAMES}, which units always set."""

log = Logger()


class GatewayHealth:
    """
    The L{openclaw.interfaces.HealthSource} of one gateway.

    @param steady_clock: the one that C{clock} goes by, if it was given one.
    @ivar current: the phase of life, as L{phase} tells it.
    """

    def __init__(self, clock: Clock, steady_clock: SteadyClock | None = None) -> None:
        self._clock = clock
        self._steady_clock = steady_clock
        self._started_s = clock.seconds()
        self.current: Literal["starting", "started", "draining"] = "starting"
        self._watched: dict[str, Callable[[], bool]] = {}

    def phase(self) -> Literal["starting", "started", "draining"]:
        """The gateway's phase of life."""
        return self.current

    @property
    def is_wanted(self) -> bool:
        """Whether nobody has told it to stop."""
        return self.current != "draining"

    def uptime_ms(self) -> int:
        """Milliseconds since this object was made."""
        moved_s = self._steady_clock.moved_s if self._steady_clock is not None else 0.0
        return int((self._clock.seconds() - self._started_s - moved_s) * 1000)

    def watch(self, name: str, is_well: Callable[[], bool]) -> None:
        """Without this part no request can be served."""
        self._watched[name] = is_well

    def failing(self) -> Sequence[str]:
        """The parts without which no request can be served."""
        return [name for name, is_well in self._watched.items() if not is_well()]


class Gateway:
    """
    One gateway in this process; C{reactor}, C{plan}, C{live} and C{health} are those of its L{Core}.

    @param steady_clock: the one that C{reactor} was given, if it was.
    @ivar url: where a client on this machine finds it, once it listens.
    """

    def __init__(self, reactor: Any, planned: Plan, steady_clock: SteadyClock | None = None) -> None:
        self.reactor = reactor
        self.plan = planned
        self.live = LiveConfig(planned.config, planned.loaded.environ)
        self.health = GatewayHealth(reactor, steady_clock)
        self.url = ""
        self._at_rest = steady_clock.follow if steady_clock is not None else lambda: None
        self._parts = Parts(reactor, STOP_ORDER)
        self._log: GatewayLog | None = None
        self._runs: Runs | None = None
        self._notices = Notices(planned.environ, reactor, self._status)
        self._opened: Promise[None] | None = None
        self._stopped: Promise[None] | None = None

    async def start(self) -> None:
        """
        Open everything; the port is served when this returns, unless L{stop} was called meanwhile.

        @raise openclaw.errors.StartError: with one line that says what to do; everything that was opened is closed
            again.
        """
        if not self.health.is_wanted:
            return
        self._opened = Promise()
        try:
            await self._open()
        except BaseException:
            self.health.current = "draining"
            await self._parts.stop()
            raise
        finally:
            self._opened.fire(None)
        if self.health.is_wanted:
            self.health.current = "started"
            self._notices.ready()
            for warning in self.plan.loaded.warnings:
                log.warn("{text}", text=warning)

    async def stop(self) -> None:
        """
        Stop in order; a part that fails to stop is logged and does not keep the others from it.

        Runs have C{gateway.shutdownDrainMs} to finish, every other part L{STEP_DEADLINE_S}.  It may be called at any
        time and more than once, and returns when everything has stopped.
        """
        self.health.current = "draining"
        if self._stopped is None:
            self._stopped = Promise()
            self._notices.stopping()
            Deferred.fromCoroutine(self._stop(self._stopped)).addErrback(log_bug)
        await self._stopped.wait()

    def reload(self) -> None:
        """Open the log files anew; edits of the configuration apply by themselves, if they may."""
        if self._log is not None:
            self._log.reopen()
        is_off = self.live.current.gateway.reload.mode == "off"
        log.info(
            "told to reload: the log files are opened anew{note}",
            note="; gateway.reload.mode is off: edits take a restart" if is_off else "",
        )

    async def _stop(self, stopped: Promise[None]) -> None:
        try:
            if self._opened is not None:
                await self._opened.wait()
            await self._parts.stop()
        finally:
            stopped.fire(None)

    # ------------------------------------------------------------------------------------ opening

    async def _open(self) -> None:
        raise_descriptor_limit()
        globalLogPublisher.addObserver(watch_accepting)
        self._parts.add("the log", lambda: globalLogPublisher.removeObserver(watch_accepting))
        self._parts.add("the notices to systemd", self._notices.stop)
        self._notices.start()
        ensure_state_dir(self.plan.paths)
        lock = StateLock(self.plan.paths.lock_path)
        lock.acquire()
        self._parts.add("the lock of the state folder", lock.release)
        files = self._log = GatewayLog(self.plan, self.live)
        self._parts.add("the log", lambda: self._in_thread(files.stop))
        files.start()
        store = await GatewayStore.open(self.plan.paths.store_path, self.reactor.callFromThread)
        self._parts.add("the store", store.close)
        self.health.watch("store", lambda: store.is_well)
        if not self.health.is_wanted:
            return
        local = self._make_local()
        runs = self._make_runs(store, local, await self._session_ids(store))
        core = Core(self.reactor, self.plan, self.live, self.health, store, runs, self._in_thread)
        surfaces = compose(core, self._parts)
        surfaces.methods.event_loop.start()
        surfaces.rare.start(self.reactor)
        port = await open_port(self.plan.listening, self.reactor, surfaces.site, self.plan.environ)
        self._parts.add("the port", port.stopListening)
        rest = PortRest(port, self.reactor)
        self._parts.add("the connections", rest.stop)
        rest.start()
        bound = port.getHost()
        self.url = self.plan.listening.url(getattr(bound, "port", None))
        # systemd passes a socket by its number: where that is bound is known only now.
        place = local_url(bound.host, bound.port) if isinstance(bound, IPv4Address | IPv6Address) else self.url
        self._tell_place(lock, place)
        if not self.health.is_wanted:
            return
        self._watch_configuration()
        self._tidy(store, runs)
        if local is not None:
            local.start()

    def _tell_place(self, lock: StateLock, url: str) -> None:
        try:
            lock.tell(url)
        except OSError as error:
            log.warn("commands may not find this gateway: the lock file cannot be written: {error}", error=error)

    async def _session_ids(self, store: GatewayStore) -> Callable[[str], str] | None:
        """What makes the names of sessions for providers; without it they are told none."""
        try:
            return session_ids(await store.secret(SECRET_NAME))
        except StoreError as error:
            log.warn("providers are told no X-Session-ID, as the store gives no secret: {error}", error=error.message)
            return None

    def _make_runs(self, store: GatewayStore, local: LocalModel | None, names: Callable[[str], str] | None) -> Runs:
        clients = WayClients.of(self.reactor)
        self._parts.add("provider connections", clients.close)
        provider = None
        if local is not None:
            from openclaw.providers.local import LocalProvider

            provider = LocalProvider(local, self._local_client(), self.reactor)
        direct, live = clients.client(DIRECT), self.live
        catalog = Catalog(
            self._current, direct, self.reactor, provider, lambda: live.environ, names, client_of=clients.client
        )
        self._runs = runs = Runs(self._current, catalog, store, self.reactor)
        self._parts.add("the runs", lambda: stop_runs(runs, self._grace_s()), lambda: self._grace_s() + STEP_DEADLINE_S)
        return runs

    def _make_local(self) -> LocalModel | None:
        """The embedded model, if an agent uses it."""
        config = self.plan.config
        if not needs_local_model(config):
            return None
        # Only now: most gateways have no use for it, and it costs a fiftieth of the start.
        from openclaw.providers.local import make_local_model
        from openclaw.providers.local_spawn import LocalSettings

        local = config.models.local
        settings = LocalSettings(local.model, local.context_tokens, local.parallel, local.threads)
        custom_path = Path(local.path) if local.path is not None else None
        model = make_local_model(self.reactor, settings, self.plan.paths.models_dir, local.model, custom_path)
        self._parts.add("the embedded model", model.stop)
        return model

    def _local_client(self) -> Any:
        agent = make_agent(self.reactor, persistent=False)
        self._parts.add("provider connections", agent.close)
        return make_http_client(agent)

    def _watch_configuration(self) -> None:
        watcher = ConfigWatcher(
            self.live,
            self.plan.loaded.path,
            self.plan.environ,
            self.reactor,
            self._in_thread,
            state_dir=self.plan.paths.state_dir,
            as_run=self.plan.options.applied_to,
        )
        self._parts.add("the configuration watcher", watcher.stopService)
        watcher.startService()

    def _tidy(self, store: GatewayStore, runs: Runs) -> None:
        """Begin to tidy the store and the memory."""
        retention = Retention(
            store, lambda: self._current().session.maintenance, self.reactor, runs.busy_sessions, runs.forget_session
        )
        self._parts.add("the tidying of the store", retention.stopService)
        retention.startService()
        collector = Collector(self.reactor, lambda: len(runs.live), self._at_rest)
        self._parts.add("the garbage collector", collector.stop)
        collector.start()

    def _status(self) -> str:
        """What the gateway does now, for C{systemctl status}."""
        count, waiting = (self._runs.count, self._runs.waiting) if self._runs is not None else (0, 0)
        phase = {"starting": "starting, ", "started": "", "draining": "stopping, "}[self.health.current]
        return f"{phase}{count} {'run' if count == 1 else 'runs'}" + (f", {waiting} waiting" if waiting else "")

    def _current(self) -> Config:
        return self.live.current

    def _grace_s(self) -> float:
        return self._current().gateway.shutdown_drain_ms / 1000

    def _in_thread(self, call: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        return deferToThreadPool(self.reactor, self.reactor.getThreadPool(), call, *arguments)


async def open_port(
    listening: Listening, reactor: Any, site: GatewaySite, environ: Mapping[str, str]
) -> IListeningPort:
    """Listen where the gateway is to be found; a L{StartError} has one line that says what to do."""
    try:
        port: IListeningPort = await listening.endpoint(reactor).listen(site)
    except CannotListenError as error:
        where = listening.description or f"{listening.host}:{listening.port}"
        raise StartError(f"cannot listen at {where}: {_reason(error)}") from None
    except OSError as error:
        raise StartError(f"cannot listen at {listening.description}: {error.strerror or error}") from None
    except LookupError:
        hint = _NAMES_HINT if "LISTEN_FDS" in environ and "LISTEN_FDNAMES" not in environ else ""
        raise StartError(f"cannot listen at {listening.description}: systemd passed no such socket{hint}") from None
    except (ValueError, TypeError):
        raise StartError(f"cannot listen at {listening.description}: this is no endpoint description") from None
    return port


def _reason(error: CannotListenError) -> str:
    """Why, and what to do about it; Twisted gives a text in place of an error where another holds a unix socket."""
    number = getattr(error.socketError, "errno", None)
    if number is None:
        return f"{error.socketError}; another program uses it"
    hint = _LISTEN_HINTS.get(number)
    return os.strerror(number) + (f"; {hint}" if hint else "")
