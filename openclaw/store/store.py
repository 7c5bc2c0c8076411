"""The gateway's store: L{openclaw.interfaces.SessionStore} on one SQLite database."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from openclaw.errors import StartError, StoreError
from openclaw.interfaces import Entry, RunRecord, SessionPage, SessionQuery
from openclaw.store.inline import InlineStoreThread
from openclaw.store.runs import finish_run, insert_run, interrupt_running, list_runs
from openclaw.store.sessions import list_sessions
from openclaw.store.sqlite import open_database, open_memory
from openclaw.store.transcripts import append_entries, read_branch
from openclaw.store.writer import JobRunner, StoreThread


class GatewayStore:
    """
    The durable state.

    Each method returns at once.  Its Deferred fires after the change is committed to disk, or fails with
    L{openclaw.errors.StoreError}, and then nothing of that change is stored.  Cancelling it only stops waiting.
    Calls take effect in the order in which they are made, and each may be made again with the same ids without
    storing anything twice.
    """

    _log = Logger()

    def __init__(self, jobs: JobRunner) -> None:
        """@param jobs: what runs the work; see L{open} and L{in_memory}."""
        self._jobs = jobs

    @classmethod
    def open(cls, path: Path, call_from_thread: Callable[..., Any]) -> Deferred[GatewayStore]:
        """
        Open the store in a thread of its own and mark the runs of a dead process as interrupted.

        Cancelling the Deferred stops waiting, and the store is closed as soon as it is open.

        @param path: the database's file; see L{openclaw.store.sqlite.open_database}.
        @param call_from_thread: C{reactor.callFromThread}.
        @return: fires with the store, or fails with L{openclaw.errors.StartError} if the file cannot be used.
        """
        return Deferred.fromCoroutine(cls._open(StoreThread(partial(open_database, path), call_from_thread)))

    @classmethod
    def in_memory(cls) -> GatewayStore:
        """A store that forgets, for tests: its Deferreds have fired when they are returned."""
        jobs = InlineStoreThread(open_memory)
        jobs.start()
        return cls(jobs)

    @classmethod
    async def _open(cls, jobs: JobRunner) -> GatewayStore:
        try:
            await jobs.start()
            interrupted = await jobs.run_write(interrupt_running)
        except StoreError as error:
            jobs.close()
            raise StartError(error.message) from error
        except BaseException:
            jobs.close()
            raise
        if interrupted:
            cls._log.info("store: {count} runs were interrupted by the end of the last process", count=interrupted)
        return cls(jobs)

    @property
    def alive(self) -> bool:
        """Whether the store takes jobs: false once closed, or when its thread died of a bug."""
        return self._jobs.alive

    def close(self) -> Deferred[None]:
        """
        Do what is under way and close the store; later calls fail with L{openclaw.errors.StoreError}.

        @return: fires when the file is closed.
        """
        return self._jobs.close()

    def branch(self, session_key: str, limit: int | None = None) -> Deferred[tuple[Entry, ...]]:
        """See L{openclaw.interfaces.SessionStore.branch}."""
        return self._jobs.run_read(partial(read_branch, session_key=session_key, limit=limit))

    def begin_run(self, run: RunRecord, entries: Sequence[Entry]) -> Deferred[None]:
        """
        See L{openclaw.interfaces.SessionStore.begin_run}.

        Without entries no session is created.  An entry whose parent is not in the session fails with
        C{store_conflict}.
        """
        entries = tuple(entries)

        def begin(connection: sqlite3.Connection) -> None:
            insert_run(connection, run)
            append_entries(connection, run.session_key, run.agent_id, entries)

        return self._jobs.run_write(begin)

    def end_run(self, run: RunRecord, entries: Sequence[Entry]) -> Deferred[None]:
        """
        See L{openclaw.interfaces.SessionStore.end_run}.

        A run that was never begun, as that of an unstored session, is stored here.  An entry whose parent is not
        in the session fails with C{store_conflict}.
        """
        entries = tuple(entries)

        def end(connection: sqlite3.Connection) -> None:
            finish_run(connection, run)
            append_entries(connection, run.session_key, run.agent_id, entries)

        return self._jobs.run_write(end)

    def sessions(self, query: SessionQuery) -> Deferred[SessionPage]:
        """
        See L{openclaw.interfaces.SessionStore.sessions}.

        @raise openclaw.errors.InvalidRequest: through the Deferred, for a limit that is negative or over 10,000, and
            for a negative offset.
        """
        return self._jobs.run_read(partial(list_sessions, query=query))

    def runs(self, limit: int) -> Deferred[tuple[RunRecord, ...]]:
        """
        See L{openclaw.interfaces.SessionStore.runs}.

        @raise openclaw.errors.InvalidRequest: through the Deferred, for a limit that is negative or over 10,000.
        """
        return self._jobs.run_read(partial(list_runs, limit=limit))
