"""C{status}: the gateway at a glance, for whoever runs it."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Any

import attrs

from openclaw._version import __version__
from openclaw.agents.runs import Runs
from openclaw.auth.scopes import READ
from openclaw.config.paths import Paths
from openclaw.config.reload import LiveConfig
from openclaw.interfaces import Clock, HealthSource
from openclaw.methods.checks import shown_path
from openclaw.methods.health import HealthReport, SessionCount, no_heartbeat, reload_status
from openclaw.methods.session_rows import live_ids, model_defaults, session_row
from openclaw.methods.table import Call, Method, Params
from openclaw.waits import now_ms

_AUDIT_CODES = "stale_queued stale_running lost delivery_failed missing_cleanup inconsistent_timestamps"

_STATM = Path("/proc/self/statm")


class StatusParams(Params, frozen=True):
    """
    Parameters of C{status}.

    @ivar include_channel_summary: accepted; there are no channels.
    """

    include_channel_summary: bool = False


@attrs.frozen
class Status:
    """The method, with what it needs."""

    report: HealthReport
    runs: Runs
    live: LiveConfig
    clock: Clock
    source: HealthSource
    paths: Paths

    async def status(self, call: Call, params: StatusParams) -> dict[str, Any]:
        """The payload; there are no channels, system events and tasks: their parts say so."""
        await self.report.refresh()
        config = self.live.current
        agents = config.agents
        counts = self.report.counts
        path = shown_path(call.caller, self.paths.store_path)
        payload: dict[str, Any] = {
            "runtimeVersion": __version__,
            "phase": self.source.phase(),
            "uptimeMs": self.source.uptime_ms(),
            "pid": os.getpid(),
            "heartbeat": {
                "defaultAgentId": agents.default_agent_id or agents.agent_ids[0],
                "agents": [{"agentId": agent_id, **no_heartbeat()} for agent_id in agents.agent_ids],
            },
            "configReload": reload_state(self.live),
            "channelSummary": [],
            "queuedSystemEvents": [],
            "tasks": _no_tasks(),
            "taskAudit": {"total": 0, "warnings": 0, "errors": 0, "byCode": _none_of(_AUDIT_CODES)},
            "runs": {"active": len(self.runs.live), "waiting": self.runs.waiting},
            "sessions": {
                "paths": [path],
                "count": counts.all.total,
                "defaults": model_defaults(config, None),
                "recent": self._rows(counts.all),
                "byAgent": [
                    {"agentId": agent_id, "path": path, "count": count.total, "recent": self._rows(count)}
                    for agent_id, count in counts.by_agent.items()
                ],
            },
            "processMemory": {"rssBytes": resident_bytes()},
        }
        figures = self.report.event_loop.figures()
        return payload if figures is None else {**payload, "eventLoop": figures}

    def _rows(self, count: SessionCount) -> list[dict[str, Any]]:
        at_ms = now_ms(self.clock)
        live = live_ids(self.runs.live)
        return [
            session_row(row, self.live.current, live, at_ms) | {"age": max(at_ms - row.session.updated_at_ms, 0)}
            for row in count.recent
        ]


def reload_state(live: LiveConfig) -> dict[str, Any]:
    """What became of edits of the configuration file: keys only, never values."""
    state: dict[str, Any] = {
        "hotReloadStatus": reload_status(live.current),
        "restartRequired": bool(live.pending),
        "pending": list(live.pending),
    }
    last = live.last_reload
    if last is not None:
        state["last"] = {"status": last.status, "at": int(last.at_s * 1000), "applied": list(last.applied)}
        if last.error is not None:
            state["last"]["error"] = last.error
    return state


def resident_bytes(statm: Path = _STATM) -> int:
    """
    Memory that this process holds, in bytes; where the system does not tell it, the most that it ever held.

    @param statm: C{/proc/self/statm}: pages, the second figure those in memory (proc(5)).
    """
    try:
        return int(statm.read_text().split()[1]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _no_tasks() -> dict[str, Any]:
    """The ledger of tasks, which is empty: clients print its figures."""
    by_status = _none_of("queued running succeeded failed timed_out cancelled lost")
    by_runtime = _none_of("subagent acp cli cron")
    return _none_of("total active terminal failures") | {"byStatus": by_status, "byRuntime": by_runtime}


def _none_of(names: str) -> dict[str, Any]:
    return dict.fromkeys(names.split(), 0)


def status_methods(
    report: HealthReport, runs: Runs, live: LiveConfig, clock: Clock, source: HealthSource, paths: Paths
) -> tuple[Method, ...]:
    """The methods of this family."""
    status = Status(report, runs, live, clock, source, paths)
    return (Method("status", READ, StatusParams, status.status),)
