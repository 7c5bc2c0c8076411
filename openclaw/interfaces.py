"""
The seams between layers, as Protocols.

C{store}, C{providers} and C{auth} do not import one another, nor do C{http} and C{ws}; what one needs of another
is described here and given to its constructor by L{openclaw.service}.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Literal, Protocol, Self

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from openclaw.events import ProviderEvent
from openclaw.messages import FinishReason, Message, ToolCall, Usage

StopReason = FinishReason | Literal["aborted", "error"]
"""Why an assistant entry ends where it ends: the model's reason, or that the run was cancelled or failed."""

RunStatus = Literal["running", "done", "failed", "cancelled", "interrupted"]
"""State of a run in the store; C{interrupted} is one that the process died under."""


class Clock(Protocol):
    """The part of C{IReactorTime} that the gateway uses; C{twisted.internet.task.Clock} in tests."""

    def seconds(self) -> float:
        """
        Seconds since 1970, as Twisted's reactors have it; stored times are made of it.

        It jumps when somebody sets the system's clock, though not while a run is under way; see
        L{openclaw.process.SteadyClock}.
        """

    def callLater(self, delay: float, callable: Any, *args: Any, **kw: Any) -> IDelayedCall:  # noqa: A002
        """Call something after C{delay} seconds."""


@attrs.frozen
class Caller:
    """
    Who makes a request, as decided before its body was read.

    @ivar name: a stable name of the credential; C{operator} for the shared secret.
    @ivar scopes: the operator scopes it has.
    @ivar address: the canonical address of the client, for logs and limits; empty on a unix socket.
    """

    name: str
    scopes: frozenset[str]
    address: str = ""


# ---------------------------------------------------------------------------------------- providers


@attrs.frozen
class Sampling:
    """
    How the model is to pick its words; C{None} leaves a setting to the provider.

    @ivar stop: at most four texts that end the answer.
    @ivar response_format: the client's C{response_format} object as raw JSON.
    """

    temperature: float | None = None
    top_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    max_tokens: int | None = None
    response_format: bytes | None = None
    reasoning_effort: str | None = None


@attrs.frozen
class ModelRequest:
    """
    One call of a model.

    @ivar model: the model's id at its provider, without the provider's name.
    @ivar messages: the whole prompt, system message first.
    @ivar sampling: as the client asked, the token limit already bounded by the model's.
    """

    model: str
    messages: Sequence[Message]
    sampling: Sampling


class ProviderStream(Protocol):
    """
    One model call under way, used by C{async with}.

    Entering sends the request and returns at the response's head.  Iterating gives batches of events and ends
    after the model's last one.  Leaving, or L{close}, aborts the connection if the answer is not complete.

    Entering and iterating raise L{openclaw.errors.ProviderError} or one of its kind.  Cancelling the Deferred
    that either awaits aborts the connection.
    """

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None: ...

    def __aiter__(self) -> Self: ...

    async def __anext__(self) -> Sequence[ProviderEvent]: ...

    def close(self) -> None:
        """Abort the call now; harmless when it is over."""


class ModelProvider(Protocol):
    """A model server."""

    def stream(self, request: ModelRequest) -> ProviderStream:
        """Prepare a call; nothing is sent before the stream is entered."""


@attrs.frozen
class ResolvedModel:
    """
    A model that a run can use.

    @ivar ref: C{provider/model}, the name in the configuration.
    @ivar provider_id: the part before the first slash.
    @ivar model_id: the rest, which is the provider's own name for it.
    @ivar context_window: tokens that the model can read, prompt and answer together.
    @ivar max_tokens: most tokens that one answer may have; C{None} if the configuration does not say.
    """

    ref: str
    provider_id: str
    model_id: str
    provider: ModelProvider
    context_window: int
    max_tokens: int | None


class ModelCatalog(Protocol):
    """Finds models by their reference."""

    def resolve(self, ref: str) -> ResolvedModel:
        """
        Find a model.

        @param ref: C{provider/model}.
        @raise openclaw.errors.ModelNotFound: if no such provider is configured.
        """


# ---------------------------------------------------------------------------------------- the store


@attrs.frozen
class Entry:
    """
    One message of a transcript, append-only.

    @ivar id: 32 hexadecimal digits, chosen by whoever appends.
    @ivar parent_id: the entry before it on its branch; C{None} at a root.
    @ivar run_id: the run that wrote it.
    @ivar message: what was said.
    @ivar stop_reason: on an answer, why it ends.
    @ivar created_at_ms: milliseconds since 1970.
    """

    id: str
    parent_id: str | None
    run_id: str
    message: Message
    created_at_ms: int
    stop_reason: StopReason | None = None


@attrs.frozen
class RunRecord:
    """
    What the store keeps of a run.

    @ivar agent_id: the agent that answered.
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

    @ivar archived_at_ms: when it was put away, milliseconds since 1970; C{None} for one that is not.
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


class SessionStore(Protocol):
    """
    The durable state.

    Each method returns a Deferred that fires on the reactor's thread after the change is committed to disk, or
    fails with L{openclaw.errors.StoreError}; then nothing of that change is stored.  Calls take effect in the
    order in which they are made.  A call cannot be taken back: cancelling its Deferred only stops waiting.
    """

    def branch(self, session_key: str, limit: int | None = None) -> Deferred[tuple[Entry, ...]]:
        """
        The current branch of a session from its root to its tip; empty if the session is not stored.

        @param limit: only so many of its last entries.
        """

    def transcript(self, session_key: str) -> Deferred[Transcript]:
        """All branches of a session; an empty transcript if the session is not stored."""

    def begin_run(self, run: RunRecord, entries: Sequence[Entry], *, detached: bool = False) -> Deferred[None]:
        """
        Store a run as running and append its new turn, creating the session if need be.

        The last entry becomes the tip, and a detached root above it a part of the history.

        @param detached: append beside the history: the tip stays where it is, and a new root is a detached one.
        """

    def end_run(self, run: RunRecord, entries: Sequence[Entry], *, detached: bool = False) -> Deferred[None]:
        """
        Store a run's end and append its answer to its session; without entries the session is left alone.

        @param detached: as for L{begin_run}.
        """

    def sessions(self, query: SessionQuery) -> Deferred[SessionPage]:
        """The sessions last written, newest first."""

    def runs(self, limit: int) -> Deferred[tuple[RunRecord, ...]]:
        """The runs last started, newest first."""


class RetentionStore(Protocol):
    """
    What keeps the store from growing without end.  Each call does little, so that no commit waits for it long.

    Deferreds as those of L{SessionStore}; see C{openclaw.store.retention} for what the calls do.
    """

    def count_sessions(self) -> Deferred[int]:
        """How many sessions are not put away."""

    def archive_sessions(self, before_ms: int, excess: int, now_ms: int, limit: int) -> Deferred[int]:
        """Put sessions away: those not written since C{before_ms}, and else the oldest up to C{excess}; how many."""

    def list_archived(self, limit: int) -> Deferred[tuple[str, ...]]:
        """The keys of the sessions that were put away first."""

    def drop_session(self, key: str) -> Deferred[bool]:
        """Take a session out of sight, to be deleted."""

    def purge_dropped(self, limit: int) -> Deferred[bool]:
        """Delete entries of the sessions out of sight; whether anything is left."""

    def prune_detached(self, before_ms: int, limit: int) -> Deferred[int]:
        """Delete parts of transcripts that were detached before C{before_ms} and never extended; how many."""

    def prune_keys(self, now_ms: int) -> Deferred[int]:
        """Forget keys of requests, and their results, that are too old or too many; how many."""

    def delete_runs(self, after: tuple[int, int], before_ms: int, limit: int) -> Deferred[tuple[int, int] | None]:
        """Forget runs that ended before C{before_ms}; where to go on, or C{None}."""

    def used_bytes(self) -> Deferred[int]:
        """Space that the stored data takes, free pages not counted."""


@attrs.frozen
class KeyClaim:
    """
    A request that its client may repeat under one key.

    @ivar caller: who made it; the keys of another caller are others.
    @ivar key: the C{Idempotency-Key}.
    @ivar fingerprint: digest of all that makes up the request.
    @ivar run_id: the run that is to answer it.
    @ivar claimed_at_ms: milliseconds since 1970.
    """

    caller: str
    key: str
    fingerprint: bytes
    run_id: str
    claimed_at_ms: int


@attrs.frozen
class KeptError:
    """An error that a repetition of the request would meet again."""

    status: int
    message: str
    code: str | None
    param: str | None


@attrs.frozen
class KeptResult:
    """
    What is kept of an answer, to give it once more.

    @ivar session_key: the session's full key.
    @ivar created_s: the answer's C{created}, seconds since 1970.
    @ivar reason: why the model stopped; C{None} where there is an C{error}.
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


class IdempotencyStore(Protocol):
    """
    The keys of requests that may be repeated, and their results.

    Deferreds as those of L{SessionStore}.  Keys are forgotten after a day, and the oldest where there are too many.
    """

    def claim_key(self, claim: KeyClaim) -> Deferred[KeyRecord | None]:
        """
        Take a key for a run.

        It is taken if it is new; if it is C{running} or C{free} and has the same fingerprint; or if it is C{free}.
        The gateway itself knows which runs are alive, so C{running} is here one that no process works at.

        @return: fires with what was known of the key before; C{None} for a new one and for a free one of another
            fingerprint.
        """

    def finish_key(self, claim: KeyClaim, result: KeptResult | None) -> Deferred[None]:
        """Keep the result of the run that holds a key; C{None} for one that is too large to be kept."""

    def free_key(self, claim: KeyClaim) -> Deferred[None]:
        """Let a key whose run failed be used again."""

    def find_turn(self, session_key: str, run_ids: Sequence[str]) -> Deferred[str | None]:
        """Which of some runs stored the user's turn in a session; the last one if several did."""


# ---------------------------------------------------------------------------------------- the port


class HealthSource(Protocol):
    """What the health routes tell."""

    def phase(self) -> Literal["starting", "started", "draining"]:
        """The gateway's phase of life."""

    def uptime_ms(self) -> int:
        """Milliseconds since the gateway's start."""

    def failing(self) -> Sequence[str]:
        """Names of the parts that keep the gateway from being ready."""
