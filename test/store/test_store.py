"""Tests of L{openclaw.store.store}."""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import attrs
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase

from openclaw.errors import InvalidRequest, StartError, StoreError
from openclaw.messages import Usage
from openclaw.records import SessionQuery
from openclaw.store import health, idempotency, runs, transcripts, writer
from openclaw.store import store as store_module
from openclaw.store.sqlite import open_database
from openclaw.store.store import GatewayStore
from openclaw.store.writer import StoreThread
from openclaw.stores import SessionStore

from .connections import entry, run_record, sqlite_error

KEY = "agent:main:a"
QUESTION = entry("1", text="question")
ANSWER = entry("2", "1", "answer", role="assistant", stop_reason="stop")
BEGUN = run_record("r1")
ENDED = attrs.evolve(BEGUN, status="done", ended_at_ms=2000, usage=Usage(1, 2))


class GatewayStoreTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.store = GatewayStore.in_memory()
        self.addCleanup(self.store.close)

    def get(self, waiting: Deferred[Any]) -> Any:
        return self.successResultOf(waiting)

    def test_is_a_session_store(self) -> None:
        store: SessionStore = self.store
        self.assertEqual(self.get(store.branch(KEY)), ())

    def test_a_turn(self) -> None:
        self.get(self.store.begin_run(BEGUN, [QUESTION]))
        self.assertEqual(self.get(self.store.branch(KEY)), (QUESTION,))
        self.assertEqual(self.get(self.store.runs(10)), (BEGUN,))
        self.get(self.store.end_run(ENDED, [ANSWER]))
        self.assertEqual(self.get(self.store.branch(KEY)), (QUESTION, ANSWER))
        self.assertEqual(self.get(self.store.runs(10)), (ENDED,))
        session = self.get(self.store.sessions(SessionQuery("main"))).rows[0].session
        self.assertEqual((session.key, session.agent_id, session.entry_count), (KEY, "main", 2))

    def test_a_turn_told_twice(self) -> None:
        for _ in range(2):
            self.get(self.store.begin_run(BEGUN, [QUESTION]))
        for _ in range(2):
            self.get(self.store.end_run(ENDED, [ANSWER]))
        self.get(self.store.begin_run(BEGUN, [QUESTION]))
        self.assertEqual(self.get(self.store.branch(KEY)), (QUESTION, ANSWER))
        self.assertEqual(self.get(self.store.runs(10)), (ENDED,))
        self.assertEqual(self.get(self.store.sessions(SessionQuery())).rows[0].session.entry_count, 2)

    def test_unstored_session(self) -> None:
        self.get(self.store.end_run(ENDED, []))
        self.assertEqual(self.get(self.store.runs(10)), (ENDED,))
        self.assertEqual(self.get(self.store.sessions(SessionQuery())).rows, ())

    def test_begin_without_entries_creates_no_session(self) -> None:
        self.get(self.store.begin_run(BEGUN, []))
        self.assertEqual(self.get(self.store.sessions(SessionQuery())).rows, ())

    def test_all_or_nothing(self) -> None:
        failure = self.failureResultOf(self.store.begin_run(BEGUN, [QUESTION, entry("3", "nowhere")]), StoreError)
        self.assertEqual(failure.value.code, "store_conflict")
        self.assertEqual(self.get(self.store.runs(10)), ())
        self.assertEqual(self.get(self.store.sessions(SessionQuery())).rows, ())

    def test_what_cannot_be_stored_is_a_store_error(self) -> None:
        for bad in (entry("1", text="\ud800"), entry("1", at_ms=2**70)):
            self.failureResultOf(self.store.begin_run(BEGUN, [bad]), StoreError)
        self.assertEqual(self.get(self.store.runs(10)), ())

    def test_bad_limits(self) -> None:
        for waiting in (self.store.runs(-1), self.store.sessions(SessionQuery(limit=-1))):
            self.assertEqual(self.failureResultOf(waiting, InvalidRequest).value.param, "limit")

    def test_closed(self) -> None:
        self.assertTrue(self.store.alive)
        self.get(self.store.close())
        self.assertFalse(self.store.alive)
        self.failureResultOf(self.store.branch(KEY), StoreError)


class OpenTests(TestCase):
    timeout = 20

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute() / "gateway.sqlite"
        self.threads: list[StoreThread] = []

        def thread(*arguments: Any, **settings: Any) -> StoreThread:
            self.threads.append(StoreThread(*arguments, **settings))
            return self.threads[-1]

        self.patch(store_module, "StoreThread", thread)

    async def on_writer(self, statement: str) -> None:
        """Run a statement on the connection that writes."""
        await self.threads[0].run_read(lambda connection: connection.execute(statement).fetchall())

    async def open(self) -> GatewayStore:
        store = await GatewayStore.open(self.path, reactor.callFromThread)
        self.addCleanup(store.close)
        return store

    async def test_kept(self) -> None:
        store = await self.open()
        entries = [QUESTION]
        begun = store.begin_run(BEGUN, entries)
        entries.clear()
        await begun
        await store.end_run(ENDED, [ANSWER])
        await store.close()
        again = await self.open()
        self.assertEqual(await again.branch(KEY), (QUESTION, ANSWER))
        self.assertEqual(await again.runs(1), (ENDED,))
        await again.close()
        self.assertEqual([path.name for path in self.path.parent.iterdir()], ["gateway.sqlite"])

    async def test_long_session_is_read_beside_the_writes(self) -> None:
        """It is read in a thread of its own, and has all that was asked for before, however many commits that takes."""
        store = await self.open()
        self.patch(store_module, "SHORT_ENTRIES", 3)
        threads: list[str] = []

        def noting(read: Any) -> Any:
            def noted(*arguments: Any, **settings: Any) -> Any:
                threads.append(threading.current_thread().name)
                return read(*arguments, **settings)

            return noted

        self.patch(transcripts, "read_transcript", noting(transcripts.read_transcript))
        self.patch(transcripts, "read_branch", noting(transcripts.read_branch))
        tip_id = None
        reads: list[Deferred[Any]] = []
        for number in range(1, 6):
            written = entry(str(number), tip_id)
            tip_id = written.id
            store.begin_run(run_record(f"r{number}"), [written])
            reads += [store.transcript(KEY), store.branch(KEY), store.branch(KEY, 2), store.branch(KEY, 100)]
        found = await gatherResults(reads)
        for number in range(1, 6):
            whole, branch, short, hundred = found[number * 4 - 4 : number * 4]
            # Those that are read beside the writes may have seen later ones, too.
            self.assertGreaterEqual(len(whole.entries), number)
            self.assertGreaterEqual(len(branch), number)
            self.assertGreaterEqual(len(hundred), number)
            self.assertEqual([one.id for one in short], [str(last) for last in (number - 1, number) if last])
        self.assertEqual(Counter(threads), {"openclaw-store": 3 * 3 + 5, "openclaw-reads": 2 * 3})
        reading = store.transcript(KEY)
        reading.cancel()
        self.failureResultOf(reading, CancelledError)

    async def test_large_session_is_read_beside_the_writes(self) -> None:
        """A few images make one that is not read in a millisecond."""
        store = await self.open()
        self.patch(store_module, "SHORT_BYTES", 500)
        threads: list[str] = []

        def read(connection: sqlite3.Connection, *arguments: Any, **settings: Any) -> Any:
            threads.append(threading.current_thread().name)
            return read_branch(connection, *arguments, **settings)

        read_branch = transcripts.read_branch
        self.patch(transcripts, "read_branch", read)
        self.assertEqual(await store.branch(KEY), ())
        image = entry("3", QUESTION.id, "x" * 500)
        for written in (QUESTION, image):
            store.begin_run(run_record(written.id), [written])
            self.assertEqual((await store.branch(KEY, 10))[-1], written)
        self.assertEqual(threads, ["openclaw-store", "openclaw-store", "openclaw-reads"])

    async def test_large_end_of_a_long_session_is_read_beside_the_writes(self) -> None:
        """Of a long session as many of its last entries as are small together."""
        store = await self.open()
        self.patch(store_module, "SHORT_ENTRIES", 3)
        self.patch(store_module, "SHORT_BYTES", 500)
        threads: list[str] = []

        def read(connection: sqlite3.Connection, *arguments: Any, **settings: Any) -> Any:
            threads.append(threading.current_thread().name)
            return read_branch(connection, *arguments, **settings)

        read_branch = transcripts.read_branch
        self.patch(transcripts, "read_branch", read)
        texts = ["hello", "x" * 500, "hello", "hello", "hello"]
        said = [entry(str(number), str(number - 1) if number else None, text) for number, text in enumerate(texts)]
        await store.begin_run(BEGUN, said)
        for limit in (2, 3):
            self.assertEqual(await store.branch(KEY, limit), tuple(said[-limit:]))
        # The parent of the first one is read, too.
        self.assertEqual(threads, ["openclaw-store", "openclaw-reads"])

    async def test_a_turn_is_looked_for_beside_the_writes(self) -> None:
        """In a long session, too, whose rows are all read for it."""
        store = await self.open()
        self.patch(store_module, "SHORT_ENTRIES", 1)
        threads: list[str] = []

        def found(connection: sqlite3.Connection, *arguments: Any, **settings: Any) -> str | None:
            threads.append(threading.current_thread().name)
            return find_turn(connection, *arguments, **settings)

        find_turn = idempotency.find_turn
        self.patch(idempotency, "find_turn", found)
        store.begin_run(BEGUN, [QUESTION])
        finds = [store.find_turn(KEY, [QUESTION.run_id])]
        store.begin_run(run_record("r2"), [entry("3", QUESTION.id)])
        finds.append(store.find_turn(KEY, [QUESTION.run_id]))
        self.assertEqual(await gatherResults(finds), [QUESTION.run_id] * 2)
        self.assertEqual(sorted(threads), ["openclaw-reads", "openclaw-store"])

    async def test_is_well(self) -> None:
        store = await self.open()
        self.assertTrue(store.is_well)
        self.patch(health, "LASTING_S", 0.0)
        self.patch(writer, "PROBE_INTERVAL_S", 0.01)
        await self.on_writer("PRAGMA query_only = ON")
        await self.assertFailure(store.end_run(ENDED, [ANSWER]), StoreError)
        self.assertFalse(store.is_well)
        self.assertTrue(store.alive)
        await self.on_writer("PRAGMA query_only = OFF")
        while not store.is_well:
            await deferLater(reactor, 0.01)
        await self.threads[1].close()
        self.assertFalse(store.is_well)

    async def test_interrupted_runs(self) -> None:
        store = await self.open()
        await store.begin_run(BEGUN, [QUESTION])
        await store.close()
        events: list[Any] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        again = await self.open()
        self.assertEqual([event["count"] for event in events if "count" in event], [1])
        self.assertEqual(
            await again.runs(1), (attrs.evolve(BEGUN, status="interrupted", ended_at_ms=BEGUN.started_at_ms),)
        )
        self.assertEqual(await again.branch(KEY), (QUESTION,))
        await again.begin_run(run_record("r2"), [entry("3", "1")])
        self.assertEqual(len(await again.branch(KEY)), 2)

    async def test_refused(self) -> None:
        self.path.parent.mkdir()
        self.path.write_bytes(b"something else")
        await self.assertFailure(GatewayStore.open(self.path, reactor.callFromThread), StartError)

    async def test_cancelled(self) -> None:
        opening = GatewayStore.open(self.path, reactor.callFromThread)
        thread, *readers = self.threads
        opening.cancel()
        self.failureResultOf(opening, CancelledError)
        self.assertFalse(any(reader.alive for reader in readers))
        for reader in readers:
            await reader.close()
        await thread.close()
        self.assertFalse(thread.alive)
        self.assertEqual([path.name for path in self.path.parent.iterdir()], ["gateway.sqlite"])

    async def test_failing_first_write(self) -> None:
        def fail(connection: sqlite3.Connection) -> int:
            raise sqlite_error(sqlite3.SQLITE_FULL)

        self.patch(runs, "interrupt_running", fail)
        error = await self.assertFailure(GatewayStore.open(self.path, reactor.callFromThread), StartError)
        self.assertIn("full", error.message)

    async def test_read_only(self) -> None:
        store = await self.open()
        await store.begin_run(BEGUN, [QUESTION])
        await self.on_writer("PRAGMA query_only = ON")
        error = await self.assertFailure(store.end_run(ENDED, [ANSWER]), StoreError)
        self.assertEqual(error.code, "store_readonly")
        self.assertEqual(await store.branch(KEY), (QUESTION,))

    async def test_file_that_was_removed(self) -> None:
        store = await self.open()
        await store.begin_run(BEGUN, [QUESTION])
        aside = self.path.with_name("aside")
        self.path.rename(aside)
        error = await self.assertFailure(store.end_run(ENDED, [ANSWER]), StoreError)
        self.assertEqual(error.code, "store_readonly")
        self.path.write_bytes(aside.read_bytes())
        await self.assertFailure(store.end_run(ENDED, [ANSWER]), StoreError)
        self.assertEqual(await store.branch(KEY), (QUESTION,))
        aside.rename(self.path)
        await store.end_run(ENDED, [ANSWER])
        self.assertEqual(await store.branch(KEY), (QUESTION, ANSWER))

    async def test_full(self) -> None:
        store = await self.open()
        await store.begin_run(BEGUN, [QUESTION])
        await self.on_writer("PRAGMA max_page_count = 1")
        error = await self.assertFailure(store.end_run(ENDED, [entry("2", "1", "x" * 100_000)]), StoreError)
        self.assertEqual(error.code, "store_full")
        self.assertEqual(await store.branch(KEY), (QUESTION,))
        self.assertEqual(await store.runs(5), (BEGUN,))

    async def test_close_keeps_what_is_queued(self) -> None:
        store = await self.open()
        waiting = [store.begin_run(run_record(f"r{n}"), [entry(str(n))]) for n in range(20)]
        await store.close()
        for each in waiting:
            self.successResultOf(each)
        connection = open_database(self.path)
        self.addCleanup(connection.close)
        self.assertEqual(connection.execute("SELECT count(*) FROM entries").fetchone(), (20,))
