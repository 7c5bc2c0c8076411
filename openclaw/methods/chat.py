"""C{chat.history} and C{chat.abort}: what was said in a session, and an end to what is being said."""

from __future__ import annotations

from typing import Annotated, Any

import attrs
from msgspec import Meta

from openclaw.agents.runs import Runs
from openclaw.auth.scopes import READ, WRITE
from openclaw.config.reload import LiveConfig
from openclaw.ids import SessionKey
from openclaw.interfaces import Clock
from openclaw.methods.chat_rows import history_rows
from openclaw.methods.checks import bad_param, named_agent, named_session
from openclaw.methods.session_rows import find_session, live_ids, model_defaults, session_row
from openclaw.methods.table import Call, Method, Params
from openclaw.records import Entry
from openclaw.sharing.joins import Joins
from openclaw.stores import SessionStore
from openclaw.waits import in_time, now_ms

MAX_HISTORY_CHARS = 2 * 1024 * 1024
"""Most characters of text in one answer of C{chat.history}; the oldest rows beyond it are left out."""

SessionKeyText = Annotated[str, Meta(min_length=1, max_length=600)]
"""A session key on the wire."""


class ChatHistoryParams(Params, frozen=True):
    """
    Parameters of C{chat.history}.

    @ivar offset: how many of the newest rows are left out.
    @ivar cursor: not available yet.
    @ivar max_chars: longest text of one row, in characters.
    """

    session_key: SessionKeyText
    agent_id: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 200
    offset: Annotated[int, Meta(ge=0, le=100_000)] = 0
    cursor: str | None = None
    max_chars: Annotated[int, Meta(ge=1, le=500_000)] | None = None


class ChatAbortParams(Params, frozen=True):
    """
    Parameters of C{chat.abort}; a session, a run, or both.

    @ivar preserve_side_runs: accepted; a session has no side runs.
    """

    session_key: SessionKeyText | None = None
    agent_id: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    run_id: Annotated[str, Meta(min_length=1, max_length=512)] | None = None
    preserve_side_runs: bool = False


@attrs.frozen
class Chat:
    """The methods, with what they need."""

    store: SessionStore
    runs: Runs
    joins: Joins
    live: LiveConfig
    clock: Clock

    async def history(self, call: Call, params: ChatHistoryParams) -> dict[str, Any]:
        """
        The last rows of a session's current branch, oldest first; none if there is no such session.

        @raise openclaw.errors.InvalidRequest: for a malformed key.
        @raise openclaw.errors.StoreError: if the store does not answer.
        """
        if params.cursor is not None:
            raise bad_param("chat.history", "cursor", "not available yet; use offset")
        config = self.live.current
        key = self._key("chat.history", params.session_key, params.agent_id)
        wanted = params.offset + params.limit
        # One more than wanted: it tells whether there are older ones.
        branch = await in_time(self.store.branch(str(key), wanted + 1), self.clock)
        is_whole = len(branch) <= wanted
        end = max(len(branch) - params.offset, 0)
        shown = branch[max(len(branch) - wanted, 0) : end]
        fitting = _fitting(shown, params.max_chars)
        answer: dict[str, Any] = {
            "sessionKey": str(key),
            "messages": history_rows(fitting, end - len(fitting) + 1 if is_whole else None, params.max_chars),
            "pendingInputs": {"items": [], "total": 0},
            "hasMore": not is_whole or len(fitting) < len(shown),
            "defaults": model_defaults(config, key.agent_id),
            "thinkingLevel": "off",
        }
        if is_whole:
            answer["totalMessages"] = len(branch)
        row = await find_session(self.store, self.clock, str(key))
        live = live_ids(self.runs.live)
        if row is not None:
            info = session_row(row, config, live, now_ms(self.clock))
            answer |= {"sessionId": info["sessionId"], "sessionInfo": info}
        under_way = live.get(str(key))
        if under_way:
            # The text so far is told by the events only.
            answer["inFlightRun"] = {"runId": under_way[0], "text": ""}
        return answer

    async def abort(self, call: Call, params: ChatAbortParams) -> dict[str, Any]:
        """
        End one run, or all of a session: those that wait first, so that none of them begins meanwhile.

        @raise openclaw.errors.InvalidRequest: if neither is named, or the run is of another session.
        """
        if params.session_key is None and params.run_id is None:
            raise bad_param("chat.abort", "sessionKey", "name a session or a run (runId)")
        key, run_id = None, params.run_id
        if params.session_key is not None:
            key = str(self._key("chat.abort", params.session_key, params.agent_id))
        if run_id is None:
            assert key is not None
            ended = self.runs.cancel_session(key) + self.joins.cancel_session(key)
        elif key is not None and (self.runs.session_of(run_id) or self.joins.session_of(run_id)) not in (None, key):
            raise bad_param("chat.abort", "runId", "this run is of another session")
        else:
            ended = [run_id] if self.runs.cancel(run_id) or self.joins.cancel(run_id) else []
        return {"ok": True, "aborted": bool(ended), "runIds": ended}

    def _key(self, method: str, text: str, agent: str | None) -> SessionKey:
        config = self.live.current
        agent_id = named_agent(config, method, agent) if agent is not None else None
        return named_session(config, method, text, agent_id)


def _fitting(entries: tuple[Entry, ...], max_chars: int | None) -> tuple[Entry, ...]:
    """As many of the last entries as L{MAX_HISTORY_CHARS} allows; the very last one in any case."""
    left = MAX_HISTORY_CHARS
    count = 0
    for entry in reversed(entries):
        length = len(entry.message.text)
        left -= length if max_chars is None else min(length, max_chars)
        left -= sum(len(call.arguments) for call in entry.message.tool_calls)
        if left < 0 and count:
            break
        count += 1
    return entries[len(entries) - count :]


def chat_methods(store: SessionStore, runs: Runs, joins: Joins, live: LiveConfig, clock: Clock) -> tuple[Method, ...]:
    """The methods of this family."""
    chat = Chat(store, runs, joins, live, clock)
    return (
        Method("chat.history", READ, ChatHistoryParams, chat.history),
        Method("chat.abort", WRITE, ChatAbortParams, chat.abort),
    )
