"""
Sessions as clients see them: the row that lists and histories show.

What a session does not have here (labels, archives, participants) is left out; what every client expects has its
neutral value.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from openclaw.agents.resolve import agent_model_ref
from openclaw.agents.run import Run
from openclaw.config.models import DEFAULT_CONTEXT_TOKENS, LOCAL_PROVIDER
from openclaw.config.schema import Config
from openclaw.interfaces import Clock
from openclaw.messages import Usage
from openclaw.methods.checks import MAIN_SESSION
from openclaw.records import RunRecord, SessionQuery, SessionRow
from openclaw.stores import SessionStore
from openclaw.waits import in_time

_NAMESPACE = uuid.UUID("6f1c9f6e-3d0e-5f0a-9b8e-6a4d2c1b7e55")

_STATUS = {"running": "running", "done": "done", "failed": "failed", "cancelled": "killed", "interrupted": "failed"}
"""From the state of a session's last run to the words that clients know."""

PAGE = 1000
"""How many sessions a search reads at a time."""


def session_id(key: str, created_at_ms: int) -> str:
    """
    A session's id, which clients use beside its key.

    It is made of the key and the time of its creation, so it needs no place in the store and is the same after a
    restart, and a session that is deleted and begun anew has another one.
    """
    return str(uuid.uuid5(_NAMESPACE, f"{created_at_ms} {key}"))


async def find_session(store: SessionStore, clock: Clock, key: str) -> SessionRow | None:
    """The session of exactly this key; fails with C{StoreError} if the store does not answer."""
    for archived in (False, True):
        page = await in_time(store.sessions(SessionQuery(key=key, archived=archived, limit=1)), clock)
        if page.rows:
            return page.rows[0]
    return None


def live_ids(live: Sequence[Run]) -> dict[str, list[str]]:
    """The ids of the runs under way by the key of their session, as their clients know them."""
    ids: dict[str, list[str]] = {}
    for run in live:
        ids.setdefault(str(run.target.session_key), []).append(run.shown_id)
    return ids


def split_ref(model_ref: str) -> tuple[str, str]:
    """C{provider/model} as its two parts."""
    provider_id, _, model_id = model_ref.partition("/")
    return provider_id, model_id


def context_tokens(config: Config, model_ref: str) -> int | None:
    """How much a model can read, in tokens; C{None} for one that the configuration does not serve (any more)."""
    if config.models.why_not_served(model_ref) is not None:
        return None
    provider_id, model_id = split_ref(model_ref)
    if provider_id == LOCAL_PROVIDER:
        return config.models.local.context_tokens
    for model in config.models.providers[provider_id].models:
        if model.id == model_id:
            return min(model.context_window, model.context_tokens or model.context_window)
    return DEFAULT_CONTEXT_TOKENS


def model_defaults(config: Config, agent_id: str | None) -> dict[str, Any]:
    """The model of an agent's sessions that have no other; of the default agent's if it is C{None} or gone."""
    if agent_id is None or agent_id not in config.agents.agent_ids:
        agent_id = config.agents.default_agent_id
    if agent_id is None:
        return {"modelProvider": None, "model": None, "contextTokens": None}
    return _of_model(config, agent_model_ref(config, agent_id))


def _of_model(config: Config, ref: str) -> dict[str, Any]:
    provider_id, model_id = split_ref(ref)
    return {"modelProvider": provider_id, "model": model_id, "contextTokens": context_tokens(config, ref)}


def usage_figures(usage: Usage) -> dict[str, int]:
    """Tokens as the original counts them: what the provider had cached is no part of C{input}."""
    cached = usage.cached_tokens or 0
    return {
        "input": max(usage.prompt_tokens - cached, 0),
        "output": usage.completion_tokens,
        "cacheRead": cached,
        "cacheWrite": 0,
        "total": usage.total_tokens,
    }


def session_row(row: SessionRow, config: Config, live: Mapping[str, Sequence[str]], now_ms: int) -> dict[str, Any]:
    """One session as a list shows it; C{live} is as L{live_ids} gives it."""
    session = row.session
    active = list(live.get(session.key, ()))
    is_main = session.key == f"agent:{session.agent_id}:{MAIN_SESSION}"
    shown: dict[str, Any] = {
        "key": session.key,
        "kind": "direct",
        "chatType": "direct",
        "agentId": session.agent_id,
        "isMain": is_main,
        "sessionId": session_id(session.key, session.created_at_ms),
        "createdAt": session.created_at_ms,
        "updatedAt": session.updated_at_ms,
        "archived": session.archived_at_ms is not None,
        "pinned": False,
        "unread": False,
        "hasActiveRun": bool(active),
        "activeRunIds": active,
        "snapshotAt": now_ms,
    }
    if row.last_run is not None:
        shown |= _of_run(row.last_run, config)
    else:
        shown |= {"abortedLastRun": False, **model_defaults(config, session.agent_id)}
    if active:
        shown["status"] = "running"
    return shown


def _of_run(run: RunRecord, config: Config) -> dict[str, Any]:
    """What a session's row tells of its last run."""
    shown: dict[str, Any] = {
        "status": _STATUS[run.status],
        "abortedLastRun": run.status in ("cancelled", "interrupted"),
        "lastRunId": run.run_id,
        "startedAt": run.started_at_ms,
        **_of_model(config, run.model_ref),
    }
    if run.ended_at_ms is not None:
        shown["endedAt"] = run.ended_at_ms
        shown["runtimeMs"] = max(run.ended_at_ms - run.started_at_ms, 0)
        figures = usage_figures(run.usage)
        shown["inputTokens"] = figures["input"]
        shown["outputTokens"] = figures["output"]
        # How full the model's window was, which is what clients show it for.
        shown["totalTokens"] = run.usage.prompt_tokens
        shown["totalTokensFresh"] = not run.usage.estimated
    return shown
