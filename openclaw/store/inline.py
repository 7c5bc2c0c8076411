"""A stand-in for the store's thread that runs each job at once, for tests and for command line tools."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, execute, fail, succeed

from openclaw.store.group import Group, Job
from openclaw.store.health import StoreHealth
from openclaw.store.writer import close_connection, closed_error

T = TypeVar("T")


class InlineStoreThread:
    """
    Runs each job as a group of its own, on the calling thread, before returning its Deferred.

    It behaves as L{openclaw.store.writer.StoreThread} does, but blocks.
    """

    def __init__(self, open_connection: Callable[[], sqlite3.Connection]) -> None:
        """@param open_connection: as for L{openclaw.store.writer.StoreThread}."""
        self._open_connection = open_connection
        self._connection: sqlite3.Connection | None = None
        self._health = StoreHealth()

    def start(self) -> Deferred[None]:
        """
        Open the connection.

        @return: already fired, or failed with what C{open_connection} raised.
        """

        def open_it() -> None:
            self._connection = self._open_connection()

        return execute(open_it)

    @property
    def alive(self) -> bool:
        """Whether jobs are taken."""
        return self._connection is not None

    @property
    def is_well(self) -> bool:
        """See L{openclaw.store.writer.StoreThread.is_well}."""
        return self.alive and not self._health.is_lasting

    def run_read(self, work: Callable[[sqlite3.Connection], T]) -> Deferred[T]:
        """Run work that only reads; see L{openclaw.store.writer.StoreThread.run_read}."""
        return self._run(Job(work, writes=False))

    def run_write(self, work: Callable[[sqlite3.Connection], T]) -> Deferred[T]:
        """Run work that writes and commit it; see L{openclaw.store.writer.StoreThread.run_write}."""
        return self._run(Job(work, writes=True))

    def close(self) -> Deferred[None]:
        """Close the connection; later jobs fail."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._health.note(close_connection(connection))
        return succeed(None)

    def _run(self, job: Job) -> Deferred[Any]:
        if self._connection is None:
            return fail(closed_error())
        group = Group(self._connection, [job])
        (outcome,) = group.run()
        self._health.note(group.incidents, group.is_well)
        return succeed(outcome.value) if outcome.error is None else fail(outcome.error)
