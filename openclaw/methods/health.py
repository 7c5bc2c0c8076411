"""
C{health}: what the gateway tells of itself to every client that is connected.

The same payload is part of the greeting and is broadcast; it names no path and no secret unless an administrator
asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from openclaw.config.paths import Paths
from openclaw.config.reload import LiveConfig
from openclaw.config.schema import Config
from openclaw.errors import StoreError
from openclaw.interfaces import Caller, Clock, HealthSource
from openclaw.methods.checks import shown_path
from openclaw.methods.event_loop import EventLoopDelay
from openclaw.methods.table import Call, Method, Params
from openclaw.records import SessionQuery, SessionRow
from openclaw.stores import SessionStore
from openclaw.waits import Promise, in_time, now_ms

COUNTS_KEPT_S = 5.0
"""How long counted sessions are good for, seconds."""

COUNTS_FRESH_S = 0.25
"""The same for whoever asks and can wait for a count, seconds."""

RECENT = 5
"""How many sessions are named."""

MAX_COUNTED_AGENTS = 50
"""For how many agents sessions are counted one by one."""

log = Logger()


class HealthParams(Params, frozen=True):
    """
    Parameters of C{health}.

    @ivar probe: accepted; there are no channels to probe.
    """

    probe: bool = False


@attrs.frozen
class SessionCount:
    """How many sessions there are, and those that were written last: at most L{RECENT}, newest first."""

    total: int = 0
    recent: tuple[SessionRow, ...] = ()


@attrs.frozen
class SessionCounts:
    """The sessions of all agents together, and of each of the first L{MAX_COUNTED_AGENTS}."""

    all: SessionCount = attrs.field(factory=SessionCount)
    by_agent: Mapping[str, SessionCount] = attrs.field(factory=dict)


def reload_status(config: Config) -> str:
    """Whether the configuration file is watched, in the original's words."""
    return "disabled" if config.gateway.reload.mode == "off" else "active"


def no_heartbeat() -> dict[str, Any]:
    """What clients are told of an agent's heartbeat: there is none."""
    # What a heartbeat would do, the original's schema wants, too.
    nothing = {"prompt": "", "target": "none", "ackMaxChars": 0}
    return {"enabled": False, "every": "disabled", "everyMs": None, **nothing}


@attrs.define(eq=False)
class HealthReport:
    """
    The gateway's health, ready at any time.

    Sessions are counted only when somebody asks, and one count at a time: at most every L{COUNTS_KEPT_S}, or every
    L{COUNTS_FRESH_S} for whoever waits for it.

    @ivar _source: what the gateway says of itself.
    @ivar event_loop: measures the reactor.
    @ivar counts: the sessions as they were counted last.
    """

    _store: SessionStore
    _live: LiveConfig
    _clock: Clock
    _source: HealthSource
    _paths: Paths
    event_loop: EventLoopDelay
    counts: SessionCounts = attrs.field(factory=SessionCounts, init=False)
    _counted_s: float | None = attrs.field(default=None, init=False)
    _counting: Promise[None] | None = attrs.field(default=None, init=False)
    _task: Deferred[None] | None = attrs.field(default=None, init=False)

    def payload(self, caller: Caller | None = None, duration_ms: int = 0) -> dict[str, Any]:
        """
        The payload at once, with sessions as they were counted last; a count that is old is renewed for the next time.

        There are no plugins, channels and heartbeats: their parts have the value that means so.

        @param caller: who reads it; C{None} for everybody.
        """
        self._count_if_old(COUNTS_KEPT_S)
        config, failing = self._live.current, self._source.failing()
        default, figures = config.agents.default_agent_id, self.event_loop.figures()
        path = shown_path(caller, self._paths.store_path)
        payload: dict[str, Any] = {
            "ok": not failing,
            "ts": now_ms(self._clock),
            "durationMs": duration_ms,
            "plugins": {"loaded": [], "errors": [], "unavailable": []},
            "configReload": {"hotReloadStatus": reload_status(config)},
            "channels": {},
            "channelOrder": [],
            "channelLabels": {},
            "heartbeatSeconds": 0,
            "defaultAgentId": default or config.agents.agent_ids[0],
            "agents": [
                {
                    "agentId": agent_id,
                    "isDefault": agent_id == default,
                    "heartbeat": no_heartbeat(),
                    "sessions": self._counted(self.counts.by_agent.get(agent_id, SessionCount()), path),
                }
                for agent_id in config.agents.agent_ids[:MAX_COUNTED_AGENTS]
            ],
            "sessions": self._counted(self.counts.all, path),
        }
        if failing:
            payload["failing"] = list(failing)
        return payload if figures is None else {**payload, "eventLoop": figures}

    def _counted(self, count: SessionCount, path: str) -> dict[str, Any]:
        at_ms = now_ms(self._clock)
        times = [(row.session.key, row.session.updated_at_ms) for row in count.recent]
        recent = [{"key": key, "updatedAt": time_ms, "age": max(at_ms - time_ms, 0)} for key, time_ms in times]
        return {"path": path, "count": count.total, "recent": recent}

    async def refresh(self) -> None:
        """Count the sessions, unless that was done just now; cancelling it only stops waiting."""
        self._count_if_old(COUNTS_FRESH_S)
        if self._counting is not None:
            await self._counting.wait()

    async def health(self, call: Call, params: HealthParams) -> dict[str, Any]:
        """The method C{health}."""
        began_s = self._clock.seconds()
        await self.refresh()
        return self.payload(call.caller, int((self._clock.seconds() - began_s) * 1000))

    def stop(self) -> None:
        """Stop counting; the last count stays."""
        if self._task is not None:
            self._task.cancel()

    def _count_if_old(self, kept_s: float) -> None:
        now_s = self._clock.seconds()
        is_fresh = self._counted_s is not None and 0 <= now_s - self._counted_s < kept_s
        if self._counting is None and not is_fresh:
            self._counting = Promise()
            self._task = Deferred.fromCoroutine(self._count_all(self._counting))

    async def _count_all(self, counting: Promise[None]) -> None:
        """Count; whatever comes of it, nobody is left waiting, and the next attempt comes after a while."""
        try:
            await self._count()
        except StoreError as error:
            log.warn("cannot count the sessions: {reason}", reason=error.message)
        except CancelledError:
            log.debug("the sessions are not counted to the end: the gateway stops")
        except Exception:  # noqa: BLE001 -- health is told with the last count then
            log.failure("counting the sessions failed by a bug")
        self._counting = None
        self._counted_s = self._clock.seconds()
        counting.fire(None)

    async def _count(self) -> None:
        agent_ids = self._live.current.agents.agent_ids[:MAX_COUNTED_AGENTS]
        of_all = await self._count_of(None)
        self.counts = SessionCounts(of_all, {agent_id: await self._count_of(agent_id) for agent_id in agent_ids})

    async def _count_of(self, agent_id: str | None) -> SessionCount:
        page = await in_time(self._store.sessions(SessionQuery(agent_id=agent_id, limit=RECENT)), self._clock)
        return SessionCount(page.total, page.rows)


def health_methods(report: HealthReport) -> tuple[Method, ...]:
    """The methods of this family."""
    return (Method("health", None, HealthParams, report.health),)
