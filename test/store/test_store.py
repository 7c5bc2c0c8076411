"""Tests of L{openclaw.store.store}."""

from __future__ import annotations

import sqlite3
from functools import partial
from pathlib import Path
from typing import Any

import attrs
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase

from openclaw.errors import InvalidRequest, StartError, StoreError
from openclaw.interfaces import SessionQuery, SessionStore
from openclaw.messages import Usage
from openclaw.store import store as store_module
from openclaw.store.sqlite import open_database
from openclaw.store.store import GatewayStore
from openclaw.store.writer import StoreThread

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

    async def test_interrupted_runs(self) -> None:
        store = await self.open()
        await store.begin_run(BEGUN, [QUESTION])
        await store.close()
        events: list[Any] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        again = await self.open()
        self.assertEqual([event["count"] for event in events if "count" in event], [1])
        self.assertEqual(await again.runs(1), (attrs.evolve(BEGUN, status="interrupted"),))
        self.assertEqual(await again.branch(KEY), (QUESTION,))
        await again.begin_run(run_record("r2"), [entry("3", "1")])
        self.assertEqual(len(await again.branch(KEY)), 2)

    async def test_refused(self) -> None:
        self.path.parent.mkdir()
        self.path.write_bytes(b"something else")
        await self.assertFailure(GatewayStore.open(self.path, reactor.callFromThread), StartError)

    async def test_cancelled(self) -> None:
        thread = StoreThread(partial(open_database, self.path), reactor.callFromThread)
        opening = Deferred.fromCoroutine(GatewayStore._open(thread))
        opening.cancel()
        self.failureResultOf(opening, CancelledError)
        self.assertFalse(thread.alive)
        await thread.close()
        self.assertEqual([path.name for path in self.path.parent.iterdir()], ["gateway.sqlite"])

    async def test_failing_first_write(self) -> None:
        def fail(connection: sqlite3.Connection) -> int:
            raise sqlite_error(sqlite3.SQLITE_FULL)

        self.patch(store_module, "interrupt_running", fail)
        error = await self.assertFailure(GatewayStore.open(self.path, reactor.callFromThread), StartError)
        self.assertIn("full", error.message)

    async def test_read_only(self) -> None:
        store = await self.open()
        await store.begin_run(BEGUN, [QUESTION])
        await store._jobs.run_read(lambda connection: connection.execute("PRAGMA query_only = ON").fetchall())
        error = await self.assertFailure(store.end_run(ENDED, [ANSWER]), StoreError)
        self.assertEqual(error.code, "store_readonly")
        self.assertEqual(await store.branch(KEY), (QUESTION,))

    async def test_full(self) -> None:
        store = await self.open()
        await store.begin_run(BEGUN, [QUESTION])

        def limit(connection: sqlite3.Connection) -> None:
            connection.execute("PRAGMA max_page_count = 1").fetchone()

        await store._jobs.run_read(limit)
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
