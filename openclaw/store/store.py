"""The gateway's store: L{openclaw.stores.SessionStore} on one SQLite database."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger

from openclaw.errors import StartError, StoreError
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
from openclaw.store import idempotency, retention, runs, secrets, sessions, transcripts
from openclaw.store.damage import DATABASE_ERRORS, of_session
from openclaw.store.group import store_error
from openclaw.store.inline import InlineStoreThread
from openclaw.store.sqlite import DatabaseFile, open_memory, open_reader, touch
from openclaw.store.writer import StoreThread
from openclaw.stores import KEY_KNOWN

T = TypeVar("T")
JobRunner = StoreThread | InlineStoreThread
"""What runs jobs on a connection of the store's."""

SHORT_ENTRIES = 200
"""Entries of a session that are read between two commits: one or two milliseconds."""

SHORT_BYTES = 1024 * 1024
"""Most bytes of such entries, as images may make them large."""


class GatewayStore:
    """
    The durable state.

    Each method returns at once.  Its Deferred fires after the change is committed to disk, or fails with
    L{openclaw.errors.StoreError}, and then nothing of that change is stored.  Cancelling it only stops waiting.
    Calls take effect in the order in which they are made, and each may be made again with the same ids without
    storing anything twice.
    """

    _log = Logger()

    def __init__(self, jobs: JobRunner, lists: JobRunner | None = None, long_reads: JobRunner | None = None) -> None:
        """
        @param jobs: what runs the work; see L{open} and L{in_memory}.
        @param lists: what reads lists, so that no commit waits while a long one is read; C{None} if C{jobs} is to.
        @param long_reads: the same for long transcripts, which do not wait for lists either.
        """
        self._jobs = jobs
        self._lists = lists if lists is not None else jobs
        self._long_reads = long_reads if long_reads is not None else jobs

    @classmethod
    def open(cls, path: Path, call_from_thread: Callable[..., Any]) -> Deferred[GatewayStore]:
        """
        Open the store in a thread of its own and mark the runs of a dead process as interrupted.

        Cancelling the Deferred stops waiting, and the store is closed as soon as it is open.

        @param path: the database's file; see L{openclaw.store.sqlite.open_database}.
        @param call_from_thread: C{reactor.callFromThread}.
        @return: fires with the store, or fails with L{openclaw.errors.StartError} if the file cannot be used.
        """
        file = DatabaseFile(path)
        jobs = StoreThread(file.open, call_from_thread, probe=touch, check=file.check)
        lists = StoreThread(partial(open_reader, path), call_from_thread, name="openclaw-lists")
        long_reads = StoreThread(partial(open_reader, path), call_from_thread, name="openclaw-reads")
        return Deferred.fromCoroutine(cls._open(jobs, lists, long_reads))

    @classmethod
    def in_memory(cls) -> GatewayStore:
        """A store that forgets, for tests: its Deferreds have fired when they are returned."""
        jobs = InlineStoreThread(open_memory)
        jobs.start()
        return cls(jobs)

    @classmethod
    async def _open(cls, jobs: JobRunner, lists: JobRunner, long_reads: JobRunner) -> GatewayStore:
        store = cls(jobs, lists, long_reads)
        try:
            await jobs.start()
            interrupted = await jobs.run_write(runs.interrupt_running)
            await lists.start()
            await long_reads.start()
        except (StoreError, *DATABASE_ERRORS) as error:
            store.close()
            raise StartError((error if isinstance(error, StoreError) else store_error(error)).message) from error
        except BaseException:
            store.close()
            raise
        if interrupted:
            cls._log.info("runs that the end of the last process interrupted: {count}", count=interrupted)
        return store

    @property
    def alive(self) -> bool:
        """Whether the store takes jobs: false once closed, or when its thread died of a bug."""
        return self._jobs.alive

    @property
    def is_well(self) -> bool:
        """Whether the store takes jobs, and some write has succeeded in the last seconds if one was made."""
        return self._jobs.is_well and self._lists.alive and self._long_reads.alive

    def close(self) -> Deferred[None]:
        """
        Do what is under way and close the store; later calls fail with L{openclaw.errors.StoreError}.

        @return: fires when the file is closed.
        """
        readers = gatherResults([reader.close() for reader in (self._lists, self._long_reads)])
        # The writer comes last: only then can it move the whole write-ahead log into the database.
        return readers.addBoth(lambda _: self._jobs.close())

    def secret(self, name: str) -> Deferred[bytes]:
        """A random key of the gateway's own, 32 bytes; made at the first call, and the same from then on."""
        return self._jobs.run_write(partial(secrets.own_secret, name=name))

    def branch(self, session_key: str, limit: int | None = None) -> Deferred[tuple[Entry, ...]]:
        """See L{openclaw.stores.SessionStore.branch}."""
        read = partial(transcripts.read_branch, session_key=session_key, limit=limit)
        return self._read_session(session_key, read, limit)

    def transcript(self, session_key: str) -> Deferred[Transcript]:
        """See L{openclaw.stores.SessionStore.transcript}."""
        return self._read_session(session_key, partial(transcripts.read_transcript, session_key=session_key))

    def _read_session(
        self, session_key: str, read: Callable[[sqlite3.Connection], T], limit: int | None = None
    ) -> Deferred[T]:
        """
        Read a session in its place among the writes; a long one is read beside those that come after it.

        @param limit: C{read} reads only so many of its entries.
        """
        whole = of_session(session_key, read)

        def is_short(connection: sqlite3.Connection) -> bool:
            if sessions.count_entries(connection, session_key) <= SHORT_ENTRIES:
                return sessions.count_bytes(connection, session_key) <= SHORT_BYTES
            if limit is None or limit > SHORT_ENTRIES:
                return False
            return transcripts.count_branch_bytes(connection, session_key, limit) <= SHORT_BYTES

        def read_short(connection: sqlite3.Connection) -> tuple[T, ...]:
            return (whole(connection),) if of_session(session_key, is_short)(connection) else ()

        def read_long(found: tuple[T, ...]) -> T | Deferred[T]:
            # All that was asked for before is committed by now, so that the other connection sees it.
            return found[0] if found else self._long_reads.run_read(whole)

        reading: Deferred[T] = self._jobs.run_read(read_short).addCallback(read_long)
        return reading

    def begin_run(
        self, run: RunRecord, entries: Sequence[Entry], *, detached: bool = False, claim: KeyClaim | None = None
    ) -> Deferred[int | None]:
        """
        See L{openclaw.stores.SessionStore.begin_run}.

        Without entries no session is created.  An entry whose parent is not in the session fails with
        C{store_conflict}.
        """
        entries = tuple(entries)

        def begin(connection: sqlite3.Connection) -> int | None:
            if claim is not None and idempotency.claim_key(connection, claim) is not None:
                raise StoreError("this key is known", code=KEY_KNOWN)
            runs.insert_run(connection, run)
            transcripts.append_entries(connection, run.session_key, run.agent_id, entries, detached=detached)
            return sessions.session_created_at_ms(connection, run.session_key)

        return self._jobs.run_write(begin)

    def end_run(
        self, run: RunRecord, entries: Sequence[Entry], *, detached: bool = False, key: KeyEnd | None = None
    ) -> Deferred[None]:
        """
        See L{openclaw.stores.SessionStore.end_run}.

        A run that was never begun, as that of an unstored session, is stored here.  An entry whose parent is not
        in the session fails with C{store_conflict}.
        """
        entries = tuple(entries)

        def end(connection: sqlite3.Connection) -> None:
            runs.finish_run(connection, run)
            transcripts.append_entries(connection, run.session_key, run.agent_id, entries, detached=detached)
            if key is not None and key.is_free:
                idempotency.free_key(connection, key.claim)
            elif key is not None:
                idempotency.finish_key(connection, key.claim, key.result)

        return self._jobs.run_write(end)

    def prune_detached(self, before_ms: int, limit: int) -> Deferred[int]:
        """See L{openclaw.store.transcripts.prune_detached}."""
        return self._jobs.run_write(partial(transcripts.prune_detached, before_ms=before_ms, limit=limit))

    def sessions(self, query: SessionQuery) -> Deferred[SessionPage]:
        """
        See L{openclaw.stores.SessionStore.sessions}.

        @raise openclaw.errors.InvalidRequest: through the Deferred, for a limit that is negative or over 10,000, and
            for a negative offset.
        """
        return self._lists.run_read(partial(sessions.list_sessions, query=query))

    def runs(self, limit: int) -> Deferred[tuple[RunRecord, ...]]:
        """See L{openclaw.stores.SessionStore.runs}; fails with C{InvalidRequest} for a limit beyond 0 to 10,000."""
        return self._lists.run_read(partial(runs.list_runs, limit=limit))

    # ------------------------------------------------------------------------------ idempotency

    def claim_key(self, claim: KeyClaim) -> Deferred[KeyRecord | None]:
        """See L{openclaw.stores.IdempotencyStore.claim_key}."""
        return self._jobs.run_write(partial(idempotency.claim_key, claim=claim))

    def find_key(self, name: KeyClaim) -> Deferred[KeyRecord | None]:
        """See L{openclaw.stores.IdempotencyStore.find_key}."""
        return self._jobs.run_read(partial(idempotency.find_key, name=name))

    def finish_key(self, claim: KeyClaim, result: KeptResult | None) -> Deferred[None]:
        """See L{openclaw.stores.IdempotencyStore.finish_key}; the result is encoded in the store's thread."""
        return self._jobs.run_write(partial(idempotency.finish_key, claim=claim, result=result))

    def free_key(self, claim: KeyClaim) -> Deferred[None]:
        """See L{openclaw.stores.IdempotencyStore.free_key}."""
        return self._jobs.run_write(partial(idempotency.free_key, claim=claim))

    def find_turn(self, session_key: str, run_ids: Sequence[str]) -> Deferred[str | None]:
        """See L{openclaw.stores.IdempotencyStore.find_turn}."""
        return self._read_session(
            session_key, partial(idempotency.find_turn, session_key=session_key, run_ids=tuple(run_ids))
        )

    # ------------------------------------------------------------------------------ retention

    def count_sessions(self) -> Deferred[int]:
        """See L{openclaw.stores.RetentionStore.count_sessions}."""
        return self._lists.run_read(retention.count_sessions)

    def archive_sessions(self, before_ms: int, excess: int, now_ms: int, limit: int) -> Deferred[int]:
        """See L{openclaw.stores.RetentionStore.archive_sessions}."""
        return self._jobs.run_write(lambda store: retention.archive_sessions(store, before_ms, excess, now_ms, limit))

    def list_archived(self, limit: int) -> Deferred[tuple[str, ...]]:
        """See L{openclaw.stores.RetentionStore.list_archived}."""
        return self._lists.run_read(partial(retention.list_archived, limit=limit))

    def drop_session(self, key: str) -> Deferred[bool]:
        """See L{openclaw.stores.RetentionStore.drop_session}."""
        return self._jobs.run_write(partial(retention.drop_session, key=key))

    def purge_dropped(self, limit: int) -> Deferred[bool]:
        """See L{openclaw.stores.RetentionStore.purge_dropped}."""
        return self._jobs.run_write(partial(retention.purge_dropped, limit=limit))

    def prune_keys(self, now_ms: int) -> Deferred[int]:
        """See L{openclaw.stores.RetentionStore.prune_keys}."""
        return self._jobs.run_write(partial(idempotency.prune_keys, now_ms=now_ms))

    def delete_runs(self, after: tuple[int, int], before_ms: int, limit: int) -> Deferred[tuple[int, int] | None]:
        """See L{openclaw.stores.RetentionStore.delete_runs}."""
        return self._jobs.run_write(lambda store: retention.delete_runs(store, after, before_ms, limit))

    def used_bytes(self) -> Deferred[int]:
        """See L{openclaw.stores.RetentionStore.used_bytes}."""
        return self._lists.run_read(retention.used_bytes)
