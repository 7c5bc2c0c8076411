"""Tests of L{openclaw.store.writer}, on the real reactor's C{callFromThread}."""

from __future__ import annotations

import sqlite3
import threading
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from openclaw.errors import StoreError
from openclaw.store import health, writer
from openclaw.store.writer import StoreThread

from .connections import FaultyConnection, insert, open_faulty, sqlite_error, values


class Gate:
    """A job that keeps the thread busy until it is let go."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.let_go = threading.Event()

    def __call__(self, connection: sqlite3.Connection) -> bool:
        self.entered.set()
        return self.let_go.wait(10)


class StoreThreadTests(TestCase):
    timeout = 20

    def setUp(self) -> None:
        self.connection = open_faulty(self.mktemp())
        self.reports = 0
        self.store = self.make()

    def make(self, opener: Any = None, **more: Any) -> StoreThread:
        store = StoreThread(opener or (lambda: self.connection), self.call, **more)
        self.addCleanup(store.close)
        return store

    def call(self, function: Any, *args: Any) -> None:
        self.reports += function.__name__ == "_report"
        reactor.callFromThread(function, *args)

    def commits(self) -> int:
        return self.connection.statements.count("COMMIT")

    async def hold(self, store: StoreThread | None = None) -> tuple[Gate, Deferred[bool]]:
        """Start the thread and keep it in a job of its own."""
        store = store or self.store
        await store.start()
        gate = Gate()
        holding = store.run_read(gate)
        self.assertTrue(gate.entered.wait(10))
        return gate, holding

    async def test_group_commit(self) -> None:
        gate, holding = await self.hold()
        writes = [self.store.run_write(insert(n)) for n in range(50)]
        read = self.store.run_read(values)
        gate.let_go.set()
        self.assertEqual(await gatherResults(writes), list(range(50)))
        self.assertEqual(await read, list(range(50)))
        self.assertTrue(await holding)
        self.assertEqual((self.commits(), self.reports), (1, 2))

    async def test_groups_are_bounded(self) -> None:
        self.patch(writer, "MAX_GROUP_JOBS", 10)
        gate, _ = await self.hold()
        writes = [self.store.run_write(insert(n)) for n in range(25)]
        gate.let_go.set()
        await gatherResults(writes)
        self.assertEqual(self.commits(), 3)

    async def test_reactor_thread(self) -> None:
        await self.store.start()
        threads: list[str] = []
        here: list[threading.Thread] = []

        def note(connection: sqlite3.Connection) -> None:
            threads.append(threading.current_thread().name)

        await self.store.run_write(note).addCallback(lambda _: here.append(threading.current_thread()))
        self.assertEqual(threads, ["openclaw-store"])
        self.assertEqual(here, [threading.current_thread()])

    async def test_order_of_completion(self) -> None:
        gate, _ = await self.hold()
        done: list[int] = []
        jobs = [self.store.run_write(insert(n)).addCallback(done.append) for n in range(9)]
        gate.let_go.set()
        await gatherResults(jobs)
        self.assertEqual(done, list(range(9)))

    async def test_outcomes_are_told_by_and_by(self) -> None:
        """What one commit has done may begin much work: sockets are looked at, and timers run, in between."""
        self.patch(writer, "TELLING_S", 0.0)
        gate, _ = await self.hold()
        done: list[str] = []
        jobs = [self.store.run_write(insert(n)).addCallback(lambda n: done.append(str(n))) for n in range(3)]
        for job in jobs:
            # A call of the next turn comes before the next outcome, which is told in a later one.
            job.addCallback(lambda _: reactor.callLater(0, done.append, "turn"))
        gate.let_go.set()
        await gatherResults(jobs)
        self.assertEqual(done, ["0", "turn", "1", "turn", "2"])
        await deferLater(reactor, 0)
        self.assertEqual(done[-1], "turn")
        self.assertEqual(await self.store.run_read(values), [0, 1, 2])

    async def test_untold_outcomes_at_the_end(self) -> None:
        """The thread may end, or die, before all is told that it did."""
        self.patch(writer, "TELLING_S", 0.0)
        gate, _ = await self.hold()
        jobs = [self.store.run_write(insert(n)) for n in range(50)]
        closing = self.store.close()
        gate.let_go.set()
        await closing
        self.assertEqual([self.successResultOf(job) for job in jobs], list(range(50)))

    async def test_failing_commit_and_going_on(self) -> None:
        gate, _ = await self.hold()
        self.connection.faults["COMMIT"] = [sqlite_error(sqlite3.SQLITE_FULL)]
        writes = [self.store.run_write(insert(n)) for n in range(3)]
        gate.let_go.set()
        for waiting in writes:
            self.assertEqual((await self.assertFailure(waiting, StoreError)).code, "store_full")
        self.assertEqual(await self.store.run_write(insert(7)), 7)
        self.assertEqual(await self.store.run_read(values), [7])

    async def test_overload(self) -> None:
        store = self.make(max_pending=3)
        gate, _ = await self.hold(store)
        accepted = [store.run_write(insert(n)) for n in range(2)]
        error = self.failureResultOf(store.run_write(insert(9))).value
        self.assertEqual((error.code, error.retry_after_s), ("store_overloaded", 1.0))
        gate.let_go.set()
        await gatherResults(accepted)
        self.assertEqual(await store.run_write(insert(3)), 3)

    async def test_cancel_only_stops_waiting(self) -> None:
        gate, _ = await self.hold()
        waiting = self.store.run_write(insert(1))
        doomed = self.store.run_write(insert(1))
        waiting.cancel()
        doomed.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.failureResultOf(doomed, CancelledError)
        gate.let_go.set()
        self.assertEqual(await self.store.run_read(values), [1])

    async def test_close_does_what_is_queued(self) -> None:
        gate, _ = await self.hold()
        writes = [self.store.run_write(insert(n)) for n in range(5)]
        closing = self.store.close()
        again = self.store.close()
        self.assertFalse(self.store.alive)
        self.failureResultOf(self.store.run_write(insert(9)), StoreError)
        self.assertNoResult(closing)
        gate.let_go.set()
        await closing
        await again
        self.assertEqual([self.successResultOf(waiting) for waiting in writes], list(range(5)))
        self.assertRaises(sqlite3.ProgrammingError, self.connection.execute, "SELECT 1")
        await self.store.close()
        self.assertFalse([t for t in threading.enumerate() if t.name == "openclaw-store"])

    async def test_close_before_start(self) -> None:
        self.successResultOf(self.store.close())
        self.failureResultOf(self.store.run_read(values), StoreError)

    async def test_jobs_before_open(self) -> None:
        opening = self.store.start()
        waiting = self.store.run_write(insert(1))
        await opening
        self.assertEqual(await waiting, 1)

    async def test_open_fails(self) -> None:
        def refuse() -> sqlite3.Connection:
            raise LookupError("no")

        store = self.make(refuse)
        opening = store.start()
        waiting = store.run_write(insert(1))
        closing = store.close()
        await self.assertFailure(opening, LookupError)
        await self.assertFailure(waiting, StoreError)
        await closing
        self.assertFalse(store.alive)

    async def test_a_dying_thread_fails_what_waits(self) -> None:
        class Bug(BaseException):
            pass

        def die(connection: sqlite3.Connection) -> None:
            raise Bug

        gate, _ = await self.hold()
        waiting = [self.store.run_write(insert(1)), self.store.run_write(die), self.store.run_write(insert(2))]
        gate.let_go.set()
        for each in waiting:
            self.assertEqual((await self.assertFailure(each, StoreError)).code, "store_unavailable")
        self.assertEqual(len(self.flushLoggedErrors(Bug)), 1)
        self.assertFalse(self.store.alive)
        self.failureResultOf(self.store.run_read(values), StoreError)
        self.successResultOf(self.store.close())

    async def outage(self, **more: Any) -> StoreThread:
        """A store whose last write has failed."""
        self.patch(writer, "PROBE_INTERVAL_S", 0.01)
        self.patch(health, "LASTING_S", 0.0)
        store = self.make(**more)
        await store.start()
        self.assertTrue(store.is_well)
        self.connection.faults["COMMIT"] = [sqlite_error(sqlite3.SQLITE_FULL) for _ in range(3)]
        await self.assertFailure(store.run_write(insert(1)), StoreError)
        return store

    async def test_failing_disk_is_tried_until_it_is_well(self) -> None:
        probes: list[int] = []
        store = await self.outage(probe=lambda connection: probes.append(1))
        self.assertFalse(store.is_well)
        while not store.is_well:
            await deferLater(reactor, 0.001)
        self.assertEqual((len(probes), self.connection.faults["COMMIT"]), (3, []))
        # Then it is left alone.
        await store.run_read(values)
        await deferLater(reactor, 0.05)
        self.assertEqual(len(probes), 3)
        self.assertTrue(store.alive)

    async def test_next_write_tells_too(self) -> None:
        store = await self.outage()
        await store.run_read(values)
        self.assertFalse(store.is_well)
        self.connection.faults.clear()
        await store.run_write(values)
        self.assertFalse(store.is_well)
        await store.run_write(insert(2))
        self.assertTrue(store.is_well)

    async def test_closed_amid_an_outage(self) -> None:
        store = await self.outage(probe=lambda connection: None)
        await store.close()
        self.assertFalse(store.is_well)

    async def test_failing_checkpoint_and_close(self) -> None:
        class Stubborn(FaultyConnection):
            def close(self) -> None:
                super().close()
                raise sqlite_error(sqlite3.SQLITE_IOERR)

        connection = sqlite3.connect(":memory:", check_same_thread=False, factory=Stubborn)
        connection.faults["PRAGMA"] = [sqlite_error(sqlite3.SQLITE_IOERR)]
        store = self.make(lambda: connection)
        await store.start()
        await store.close()
        self.assertEqual(connection.statements, ["PRAGMA wal_checkpoint(TRUNCATE)"])
