"""The seams of the store, as Protocols; L{openclaw.store} implements them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from twisted.internet.defer import Deferred

from openclaw.records import (
    Entry,
    KeptResult,
    KeyClaim,
    KeyEnd,
    KeyRecord,
    RunRecord,
    SessionPage,
    SessionQuery,
    Transcript,
)

KEY_KNOWN = "key_known"
"""The C{code} of the error with which L{SessionStore.begin_run} tells that a key is no new one."""


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

    def begin_run(
        self, run: RunRecord, entries: Sequence[Entry], *, detached: bool = False, claim: KeyClaim | None = None
    ) -> Deferred[int | None]:
        """
        Store a run as running and append its new turn, creating the session if need be.

        The last entry becomes the tip, and a detached root above it a part of the history.

        @param detached: append beside the history: the tip stays where it is, and a new root is a detached one.
        @param claim: a key that is taken together with that, or nothing of it is stored: it fails with
            L{openclaw.errors.StoreError} of the code L{KEY_KNOWN} if anything is known of the key.
        @return: fires with when the session was begun, milliseconds since 1970; C{None} if it is not stored.
        """

    def end_run(
        self, run: RunRecord, entries: Sequence[Entry], *, detached: bool = False, key: KeyEnd | None = None
    ) -> Deferred[None]:
        """
        Store a run's end and append its answer to its session; without entries the session is left alone.

        @param detached: as for L{begin_run}.
        @param key: what becomes of the run's key, together with that.
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

    def find_key(self, name: KeyClaim) -> Deferred[KeyRecord | None]:
        """What is known of a key; nothing is changed."""

    def finish_key(self, claim: KeyClaim, result: KeptResult | None) -> Deferred[None]:
        """Keep the result of the run that holds a key; C{None} for one that is too large to be kept."""

    def free_key(self, claim: KeyClaim) -> Deferred[None]:
        """Let a key whose run failed be used again."""

    def find_turn(self, session_key: str, run_ids: Sequence[str]) -> Deferred[str | None]:
        """Which of some runs stored the user's turn in a session; the last one if several did."""
