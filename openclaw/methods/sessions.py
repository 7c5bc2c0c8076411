"""C{sessions.list}: the stored sessions in pages."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from openclaw.agents.runs import Runs
from openclaw.auth.scopes import READ
from openclaw.config.paths import Paths
from openclaw.config.reload import LiveConfig
from openclaw.ids import normalise_agent_id
from openclaw.interfaces import Clock
from openclaw.methods.checks import bad_param, shown_path
from openclaw.methods.session_rows import live_ids, model_defaults, session_row
from openclaw.methods.table import Call, Method, Params
from openclaw.records import SessionQuery
from openclaw.stores import SessionStore
from openclaw.waits import in_time, now_ms, pause

ROWS_AT_ONCE = 200
"""How many rows are made before others have their turn: about 2 ms."""


class SessionsListParams(Params, frozen=True):
    """
    Parameters of C{sessions.list}.

    @ivar active_minutes: only sessions written in so many last minutes.
    @ivar configured_agents_only: leave out sessions of agents that the configuration does not name any more.
    @ivar include_derived_titles: accepted; there are no titles.
    @ivar include_last_message: accepted; there are no previews.
    @ivar include_global: accepted; there are no such sessions.
    @ivar include_unknown: accepted; there are no such sessions.
    @ivar owner_first: accepted; there is one owner.
    @ivar active_only: not available yet.
    @ivar archived: the sessions that were put away, in the place of the others.
    """

    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    offset: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 0
    agent_id: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    search: Annotated[str, Meta(max_length=512)] | None = None
    active_minutes: Annotated[int, Meta(ge=1, le=5_256_000)] | None = None
    configured_agents_only: bool = False
    include_derived_titles: bool = False
    include_last_message: bool = False
    include_global: bool = False
    include_unknown: bool = False
    owner_first: bool = False
    active_only: bool = False
    archived: bool = False


def session_methods(
    store: SessionStore, runs: Runs, live: LiveConfig, clock: Clock, paths: Paths
) -> tuple[Method, ...]:
    """The methods of this family."""

    async def list_sessions(call: Call, params: SessionsListParams) -> dict[str, Any]:
        """
        A page of the sessions, last written first.

        @raise openclaw.errors.InvalidRequest: for what is not available yet.
        """
        if params.active_only:
            raise bad_param("sessions.list", "activeOnly", "not available yet; leave it out")
        config = live.current
        at_ms = now_ms(clock)
        since_ms = None if params.active_minutes is None else at_ms - params.active_minutes * 60_000
        # Not only configured agents: the sessions of one that is gone can still be listed.
        agent_id = None if params.agent_id is None else normalise_agent_id(params.agent_id)
        if params.agent_id is not None and agent_id is None:
            raise bad_param("sessions.list", "agentId", "not an agent id: letters, digits, _ and - only")
        query = SessionQuery(
            agent_id=agent_id,
            search=params.search or None,
            updated_since_ms=since_ms,
            archived=params.archived,
            limit=params.limit,
            offset=params.offset,
        )
        page = await in_time(store.sessions(query), clock)
        rows = page.rows
        if params.configured_agents_only:
            rows = tuple(row for row in rows if row.session.agent_id in config.agents.agent_ids)
        # Others have their turn while there are many rows.
        under_way = live_ids(runs.live)
        shown: list[dict[str, Any]] = []
        for start in range(0, len(rows), ROWS_AT_ONCE):
            if start:
                await pause(0, clock)
            shown += [session_row(row, config, under_way, at_ms) for row in rows[start : start + ROWS_AT_ONCE]]
        after = params.offset + len(page.rows)
        return {
            "ts": at_ms,
            "path": shown_path(call.caller, paths.store_path),
            "count": len(rows),
            "totalCount": page.total,
            "limitApplied": params.limit,
            "nextOffset": after if after < page.total else None,
            "hasMore": after < page.total,
            "activeMinutes": params.active_minutes,
            "owners": [],
            "defaults": model_defaults(config, agent_id),
            "sessions": shown,
        }

    return (Method("sessions.list", READ, SessionsListParams, list_sessions),)
