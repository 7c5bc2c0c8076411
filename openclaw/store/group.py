"""
One group of jobs on a connection, with one commit for all its writes.

Nothing here knows of threads; L{openclaw.store.writer} and L{openclaw.store.inline} call it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from openclaw.errors import StoreError
from openclaw.store.damage import DATABASE_ERRORS, RESTORE, STORE_DAMAGED, STORED_DATA_ERRORS, is_damage, reason_of

_CODES: dict[int, tuple[str, str, float | None]] = {
    sqlite3.SQLITE_FULL: ("store_full", "the disk of the gateway's store is full", None),
    sqlite3.SQLITE_READONLY: ("store_readonly", "the gateway's store is read-only", None),
    sqlite3.SQLITE_BUSY: ("store_busy", "the gateway's store is in use by another process", 1.0),
    sqlite3.SQLITE_LOCKED: ("store_busy", "the gateway's store is in use by another process", 1.0),
}
_MOVED = ("store_readonly", "the file of the gateway's store was removed or replaced", None)
_DAMAGED = (STORE_DAMAGED, f"the gateway's store is damaged; {RESTORE}", None)
_OTHER: tuple[str, str, float | None] = ("store_unavailable", "the gateway's store cannot be used", None)

_DISK_FAULTS = frozenset(
    (
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
    )
)
"""Results that no other write can be expected to do better than; all others are the matter of one job."""


def store_error(error: Exception) -> StoreError:
    """
    Describe a failure of the database for the caller, without path, SQL or data.

    @param error: one of L{STORED_DATA_ERRORS}.
    @return: an error with the code C{store_full}, C{store_readonly}, C{store_busy}, C{store_damaged} or
        C{store_unavailable}.
    """
    # The low byte is SQLite's primary result code: https://www.sqlite.org/rescode.html
    result = getattr(error, "sqlite_errorcode", None)
    if result == sqlite3.SQLITE_READONLY_DBMOVED:
        code, message, retry_after_s = _MOVED
    elif is_damage(error):
        code, message, retry_after_s = _DAMAGED
    else:
        code, message, retry_after_s = _OTHER if result is None else _CODES.get(result & 0xFF, _OTHER)
    return StoreError(message, code=code, retry_after_s=retry_after_s)


@attrs.frozen(eq=False)
class Job:
    """
    A piece of work on the connection.

    @ivar work: called once with the connection; a read is called again if it saw writes that were undone.
    @ivar writes: whether it needs a transaction.
    @ivar is_probe: whether it writes although no row is changed by it.
    """

    work: Callable[[sqlite3.Connection], Any]
    writes: bool
    is_probe: bool = False


@attrs.frozen
class Incident:
    """
    A failure that the log should tell.

    @ivar step: what was being done.
    @ivar error: what was raised.
    """

    step: str
    error: Exception


@attrs.frozen
class Outcome:
    """
    How a job ended.

    @ivar value: what it returned.
    @ivar error: why it failed, as its caller is to see it; then C{value} means nothing.
    """

    value: Any = None
    error: Exception | None = None


class Group:
    """
    Jobs that are run in their order and whose writes are committed together.

    The first write begins a transaction.  Each write has a savepoint, so that a failing one leaves the others
    alone.  If the transaction is lost, all its writes fail, and reads that saw them are done again.

    @ivar incidents: what the log should tell.
    @ivar is_well: whether the disk took what was written; C{None} while nothing was.
    """

    def __init__(
        self, connection: sqlite3.Connection, jobs: Sequence[Job], check: Callable[[], None] | None = None
    ) -> None:
        """@param check: called before the first write; if it raises C{sqlite3.Error}, nothing is written."""
        self._check = check
        self._connection = connection
        self._jobs = jobs
        self._outcomes: list[Outcome] = []
        self._first: int | None = None
        self._changes_before = 0
        self._refusal: Exception | None = None
        self.incidents: list[Incident] = []
        self.is_well: bool | None = None

    def run(self) -> list[Outcome]:
        """
        Run all jobs and commit.

        @return: one outcome for each job, in their order.
        @raise sqlite3.Error: if the connection cannot even roll back; then it is of no more use.
        """
        for job in self._jobs:
            self._outcomes.append(self._write(job) if job.writes else self._read(job))
        if self._first is not None:
            try:
                self._connection.execute("COMMIT")
            except DATABASE_ERRORS as error:
                self._undo("commit", error)
            else:
                self._committed()
        return self._outcomes

    def _committed(self) -> None:
        # Without a change nothing went to the disk, and a full one takes that, too.
        if self._connection.total_changes != self._changes_before or any(job.is_probe for job in self._jobs):
            self.is_well = self.is_well is None

    def _read(self, job: Job) -> Outcome:
        try:
            return Outcome(job.work(self._connection))
        except Exception as error:  # noqa: BLE001 - a job's failure is its caller's; nothing cancels in here
            return self._failed("read", error)

    def _write(self, job: Job) -> Outcome:
        if self._first is None and not self._begin():
            assert self._refusal is not None
            return Outcome(error=store_error(self._refusal))
        try:
            self._connection.execute("SAVEPOINT job")
            value = job.work(self._connection)
            self._connection.execute("RELEASE job")
        except Exception as error:  # noqa: BLE001 - a job's failure is its caller's; nothing cancels in here
            self._undo_job(error)
            return self._failed("write", error)
        return Outcome(value)

    def _begin(self) -> bool:
        if self._refusal is None:
            try:
                if self._check is not None:
                    self._check()
                self._connection.execute("BEGIN IMMEDIATE")
            except DATABASE_ERRORS as error:
                # Waiting for the lock again for each job would hold up everyone for minutes.
                self._refusal = error
                self._tell("begin", error)
            else:
                self._first = len(self._outcomes)
                self._changes_before = self._connection.total_changes
        return self._refusal is None

    def _undo_job(self, error: Exception) -> None:
        if self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK TO job")
                self._connection.execute("RELEASE job")
            except DATABASE_ERRORS as second:
                self._undo("savepoint", second)
        else:
            # Some failures (a full disk, an I/O error) make SQLite drop the whole transaction.
            self._undo("write", error)

    def _undo(self, step: str, error: Exception) -> None:
        self._tell(step, error)
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        first, self._first = self._first, None
        assert first is not None
        for position in range(first, len(self._outcomes)):
            job = self._jobs[position]
            if not job.writes:
                self._outcomes[position] = self._read(job)
            elif self._outcomes[position].error is None:
                self._outcomes[position] = Outcome(error=store_error(error))

    def _failed(self, step: str, error: Exception) -> Outcome:
        if isinstance(error, STORED_DATA_ERRORS):
            self._tell(step, error)
            return Outcome(error=store_error(error))
        if isinstance(error, StoreError) and error.code == STORE_DAMAGED:
            self._tell(step, error)
        return Outcome(error=error)

    def _tell(self, step: str, error: Exception) -> None:
        # What cannot be read may be the matter of one damaged page.
        if step != "read" and (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF in _DISK_FAULTS:
            self.is_well = False
        told = (step, type(error), reason_of(error))
        if all((known.step, type(known.error), reason_of(known.error)) != told for known in self.incidents):
            self.incidents.append(Incident(step, error))
