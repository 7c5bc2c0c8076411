"""
What the store keeps, as values: entries of transcripts, runs, sessions, keys of requests and their results.

Times, whose names end in C{at_ms}, are milliseconds since 1970.
"""

from __future__ import annotations

from typing import Literal

import attrs

from openclaw.messages import FinishReason, Message, ToolCall, Usage

StopReason = FinishReason | Literal["aborted", "error", "refused"]
"""
Why an assistant entry ends where it ends: the model's reason, or that the run was cancelled or failed, or that the
model server refused the turn itself, which later turns are not to be refused for.
"""

RunStatus = Literal["running", "done", "failed", "cancelled", "interrupted"]
"""State of a run in the store; C{interrupted} is one that the process died under."""


@attrs.frozen
class Entry:
    """
    One message of a transcript, append-only.

    @ivar id: 32 hexadecimal digits, chosen by whoever appends.
    @ivar parent_id: the entry before it on its branch; C{None} at a root.
    @ivar run_id: the run that wrote it.
    @ivar stop_reason: on an answer, why it ends.
    @ivar own_calls: ids of those of its calls that are of the agent's own tools; all others are the client's.
    @ivar streamed: on a root, whether its request asked for a stream.
    """

    id: str
    parent_id: str | None
    run_id: str
    message: Message
    created_at_ms: int
    stop_reason: StopReason | None = None
    own_calls: tuple[str, ...] = ()
    streamed: bool = False


@attrs.frozen
class RunRecord:
    """
    What the store keeps of a run.

    @ivar session_key: its session, the key of an unstored one included.
    @ivar error_code: the C{code} of the error that ended it.
    """

    run_id: str
    agent_id: str
    session_key: str
    model_ref: str
    status: RunStatus
    started_at_ms: int
    ended_at_ms: int | None = None
    usage: Usage = attrs.field(factory=Usage)
    error_code: str | None = None


@attrs.frozen
class SessionRecord:
    """
    One stored session, as lists of sessions show it.

    @ivar archived_at_ms: when it was put away; C{None} for one that is not.
    """

    key: str
    agent_id: str
    created_at_ms: int
    updated_at_ms: int
    entry_count: int
    archived_at_ms: int | None = None


@attrs.frozen
class SessionQuery:
    """
    Which sessions a list shows.

    @ivar agent_id: only those of this agent; C{None} for all.
    @ivar key: only the session of exactly this key.
    @ivar search: only those whose key contains this text, whatever its case.
    @ivar updated_since_ms: only those written since then, milliseconds since 1970.
    @ivar archived: those that are put away, in the place of those that are not.
    @ivar offset: how many of the newest are left out.
    """

    agent_id: str | None = None
    key: str | None = None
    search: str | None = None
    updated_since_ms: int | None = None
    archived: bool = False
    limit: int = 100
    offset: int = 0


@attrs.frozen
class SessionRow:
    """
    One line of a list of sessions.

    @ivar last_run: the run that wrote it last.
    """

    session: SessionRecord
    last_run: RunRecord | None


@attrs.frozen
class SessionPage:
    """
    A part of the list of sessions, newest first.

    @ivar total: how many there are in all that the query matches.
    """

    rows: tuple[SessionRow, ...]
    total: int


@attrs.frozen
class Transcript:
    """
    All that is stored of a session's conversation: a tree.

    @ivar entries: every entry, in the order in which they were appended; a parent stands before its children.
    @ivar tip_id: the entry that the current branch ends at; C{None} if there is no current branch.
    @ivar detached: ids of the roots that are no part of the history until a request extends them.
    """

    entries: tuple[Entry, ...] = ()
    tip_id: str | None = None
    detached: frozenset[str] = frozenset()


KeySurface = Literal["http", "ws"]
"""Where a key comes from; those of one surface are none of the other's, and have quotas of their own."""


@attrs.frozen
class KeyClaim:
    """
    A request that its client may repeat under one key.

    @ivar caller: who made it; the keys of another caller are others.
    @ivar key: the C{Idempotency-Key}, or the C{idempotencyKey} of a call.
    @ivar fingerprint: digest of all that makes up the request.
    @ivar run_id: the run that is to answer it.
    """

    caller: str
    key: str
    fingerprint: bytes
    run_id: str
    claimed_at_ms: int
    surface: KeySurface = "http"


@attrs.frozen
class KeptError:
    """
    An error that a repetition of the request would meet again.

    @ivar is_request: whether it is the request's fault, whatever model server is asked.
    """

    status: int
    message: str
    code: str | None
    param: str | None
    is_request: bool = False


@attrs.frozen
class KeptRun:
    """
    What is told of an ended run beside its answer.

    @ivar model_ref: C{provider/model} that gave the answer, or whose error is told.
    @ivar received_at_ms: when its request was complete.
    @ivar started_at_ms: when it was placed.
    @ivar session_created_at_ms: when its session was begun; C{None} for one that is not stored.
    """

    model_ref: str
    received_at_ms: int
    started_at_ms: int
    ended_at_ms: int
    session_created_at_ms: int | None


@attrs.frozen
class KeptResult:
    """
    What is kept of an answer, to give it once more.

    @ivar session_key: the session's full key.
    @ivar created_s: the answer's C{created}, seconds since 1970.
    @ivar reason: why the model stopped; C{None} where there is an C{error}.
    @ivar run: C{None} where nobody asks for it.
    """

    run_id: str
    session_key: str
    created_s: int
    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    reason: FinishReason | None = None
    usage: Usage = attrs.field(factory=Usage)
    error: KeptError | None = None
    run: KeptRun | None = None


@attrs.frozen
class KeyEnd:
    """
    What becomes of a key when the run that holds it has ended.

    @ivar result: what a repetition is to be told; C{None} for what is too large to be kept, and for a free one.
    @ivar is_free: the run failed in a way that may pass, so that the key may be used again.
    """

    claim: KeyClaim
    result: KeptResult | None = None
    is_free: bool = False


KeyState = Literal["running", "done", "free", "too_large"]
"""
What is known of a key: its run was begun and its end is not known; its result is kept; its run failed in a way that
may pass; its result was too large to be kept.
"""


@attrs.frozen
class KeyRecord:
    """
    What the store has of a key.

    @ivar attempts: ids of the runs that were begun for it, oldest first.
    @ivar result: with the state C{done}.
    """

    fingerprint: bytes
    state: KeyState
    attempts: tuple[str, ...]
    result: KeptResult | None = None
