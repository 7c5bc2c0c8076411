"""
The one thread that owns the one connection, with group commit.

While a commit waits for the disk, jobs gather in the queue; the thread then takes them all and commits once
for all of them.  At 64 writes in flight that is some ten times as fast as a commit for each.
"""

from __future__ import annotations

import sqlite3
import time
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from openclaw.errors import StoreError
from openclaw.store.damage import DATABASE_ERRORS
from openclaw.store.group import Group, Incident, Job, Outcome
from openclaw.store.health import StoreHealth
from openclaw.waits import Promise

T = TypeVar("T")

MAX_PENDING_JOBS = 10_000
"""Jobs that may wait before further ones are refused."""

MAX_GROUP_JOBS = 256
"""Jobs of one commit; bounds how long it takes."""

TELLING_S = 0.003
"""How long one turn of the reactor tells what has become of jobs before the others wait for its next one, seconds."""

PROBE_INTERVAL_S = 2.0
"""How often a store that failed, and that nobody writes to, is tried, in seconds."""


def closed_error() -> StoreError:
    """The error of a job that comes after the store's end."""
    return StoreError("the gateway's store is closed", code="store_unavailable")


def close_connection(connection: sqlite3.Connection) -> Sequence[Incident]:
    """
    Move the write-ahead log into the database and close.

    @return: what failed; nothing is lost by that, as the log is read at the next start.
    """
    incidents = []
    for step, act in (
        ("checkpoint", lambda: connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()),
        ("close", connection.close),
    ):
        try:
            act()
        except DATABASE_ERRORS as error:
            incidents.append(Incident(step, error))
    return incidents


class _Waiting:
    """A job and who waits for it."""

    __slots__ = ("deferred", "job")

    def __init__(self, job: Job) -> None:
        self.job = job
        # Without a canceller, cancelling fires it with CancelledError and the later result is dropped.
        self.deferred: Deferred[Any] = Deferred()


class StoreThread:
    """
    Runs jobs in one thread of its own, in the order in which they came.

    All methods are for the reactor's thread; Deferreds fire there.  Cancelling a Deferred only stops waiting:
    the job is done all the same.
    """

    _log = Logger()

    def __init__(
        self,
        open_connection: Callable[[], sqlite3.Connection],
        call_from_thread: Callable[..., Any],
        *,
        max_pending: int = MAX_PENDING_JOBS,
        name: str = "openclaw-store",
        probe: Callable[[sqlite3.Connection], object] | None = None,
        check: Callable[[], None] | None = None,
    ) -> None:
        """
        @param open_connection: called in the thread; the connection must leave transactions to us
            (C{isolation_level=None}).
        @param call_from_thread: C{reactor.callFromThread}.
        @param max_pending: jobs that may wait before further ones fail with C{store_overloaded}.
        @param name: the thread's.
        @param probe: a write that changes nothing.  Once one has failed it is made every L{PROBE_INTERVAL_S} until
            one succeeds, so that it is noticed when the disk is well again; C{None} to wait for the next job.
        @param check: called in the thread before each group of writes; see L{Group}.
        """
        self._open_connection = open_connection
        self._call_from_thread = call_from_thread
        self._max_pending = max_pending
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._pending: dict[_Waiting, None] = {}
        # What has become of the first ones of those; told by and by, as each may begin much work.
        self._untold: deque[tuple[_Waiting, Outcome]] = deque()
        self._telling = False
        # A daemon, for a process that is to exit without close(): nothing unacknowledged need be kept.
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._check = check
        self._probe = Job(probe, writes=True, is_probe=True) if probe is not None else None
        self._health = StoreHealth()
        # The thread's own, all other attributes that change are the reactor's.
        self._is_failing = False
        self._started = False
        self._opened: Deferred[None] = Deferred()
        self._closing = False
        self._ended = False
        self._over: Promise[None] = Promise()

    # ------------------------------------------------------------------------------ the reactor's side

    def start(self) -> Deferred[None]:
        """
        Start the thread and open the connection in it; to be called once.

        @return: fires when the connection is open, or fails with what C{open_connection} raised.
        """
        self._started = True
        self._thread.start()
        return self._opened

    @property
    def alive(self) -> bool:
        """Whether jobs are taken: false once closed, or when opening or the thread itself failed."""
        return not (self._closing or self._ended)

    @property
    def is_well(self) -> bool:
        """Whether jobs are taken and the disk has not failed for a while."""
        return self.alive and not self._health.is_lasting

    def run_read(self, work: Callable[[sqlite3.Connection], T]) -> Deferred[T]:
        """
        Run work that only reads.

        @param work: called in the thread; it sees all writes submitted before it.
        @return: fires with what C{work} returns.  Fails with L{StoreError} for a failure of the database,
            C{store_overloaded} if too many jobs wait, and with what else C{work} raises.
        """
        return self._submit(Job(work, writes=False))

    def run_write(self, work: Callable[[sqlite3.Connection], T]) -> Deferred[T]:
        """
        Run work that writes, in a transaction that it shares with its neighbours.

        @param work: called in the thread; it must not begin, commit or roll back.
        @return: fires with what C{work} returns when that is committed to disk.  Fails as L{run_read} does;
            then nothing of it is stored.
        """
        return self._submit(Job(work, writes=True))

    def close(self) -> Deferred[None]:
        """
        Run what is queued, move the write-ahead log into the database and close it; later jobs fail.

        @return: fires when the thread has ended; harmless to call again.
        """
        if self._ended or not self._started:
            self._closing = True
            return succeed(None)
        if not self._closing:
            self._closing = True
            self._queue.put(None)
        return self._over.wait()

    def _submit(self, job: Job) -> Deferred[Any]:
        if not self.alive:
            return fail(closed_error())
        if len(self._pending) >= self._max_pending:
            message = "too many writes wait for the gateway's store"
            return fail(StoreError(message, code="store_overloaded", retry_after_s=1.0))
        waiting = _Waiting(job)
        self._pending[waiting] = None
        self._queue.put(waiting)
        return waiting.deferred

    def _report(self, group: Sequence[_Waiting], outcomes: Sequence[Outcome], work: Group) -> None:
        self._health.note(work.incidents, work.is_well)
        self._untold.extend(zip(group, outcomes, strict=True))
        if not self._telling:
            self._telling = True
            self._tell_some()

    def _tell_some(self) -> None:
        """Tell the outcomes in their order; after a while the rest, once the reactor has looked at its sockets."""
        until_s = time.monotonic() + TELLING_S
        while self._untold:
            self._tell_next()
            if self._untold and time.monotonic() >= until_s:
                self._call_from_thread(self._tell_some)
                return
        self._telling = False

    def _tell_next(self) -> None:
        waiting, outcome = self._untold.popleft()
        del self._pending[waiting]
        if outcome.error is None:
            waiting.deferred.callback(outcome.value)
        else:
            waiting.deferred.errback(outcome.error)

    def _end(self, bug: Failure | None, incidents: Sequence[Incident]) -> None:
        if bug is not None:
            self._log.failure("the store's thread died; a restart of the gateway is needed", bug)
        self._health.note(incidents)
        self._ended = True
        # This call was the last thing that the thread did.
        self._thread.join()
        while self._untold:
            self._tell_next()
        pending, self._pending = self._pending, {}
        for waiting in pending:
            waiting.deferred.errback(StoreError("the gateway's store has stopped"))
        self._over.fire(None)

    def _open_failed(self, reason: Failure) -> None:
        self._end(None, ())
        self._opened.errback(reason)

    # ------------------------------------------------------------------------------ the thread's side

    def _run(self) -> None:
        try:
            connection = self._open_connection()
        except BaseException:  # noqa: BLE001 - it is handed over as it is
            self._call_from_thread(self._open_failed, Failure())
            return
        self._call_from_thread(self._opened.callback, None)
        bug: Failure | None = None
        try:
            while self._serve_group(connection):
                pass
        except BaseException:  # noqa: BLE001 - it is logged on the reactor's thread
            bug = Failure()
        self._call_from_thread(self._end, bug, close_connection(connection))

    def _serve_group(self, connection: sqlite3.Connection) -> bool:
        group, go_on = self._take_group()
        jobs = [waiting.job for waiting in group]
        if not group and go_on and self._probe is not None:
            jobs = [self._probe]
        if jobs:
            work = Group(connection, jobs, self._check)
            outcomes = work.run()
            if work.is_well is not None:
                self._is_failing = not work.is_well
            self._call_from_thread(self._report, group, outcomes[: len(group)], work)
        return go_on

    def _take_group(self) -> tuple[list[_Waiting], bool]:
        """The jobs that wait, or none after a while if it is time to try the disk; and whether more may come."""
        group: list[_Waiting] = []
        is_to_be_tried = self._is_failing and self._probe is not None
        try:
            waiting = self._queue.get(timeout=PROBE_INTERVAL_S if is_to_be_tried else None)
            while waiting is not None:
                group.append(waiting)
                if len(group) >= MAX_GROUP_JOBS:
                    return group, True
                waiting = self._queue.get_nowait()
        except Empty:
            return group, True
        return group, False
