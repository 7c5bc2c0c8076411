"""
The store's work does not grow with what is stored: counted in steps of SQLite's machine, which no clock disturbs.

How long it takes with millions of entries is measured by C{python -m benchmarks.store_scale}.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from openclaw.records import KeyClaim, RunRecord, SessionQuery
from openclaw.store.idempotency import claim_key, free_key
from openclaw.store.retention import archive_sessions, delete_runs, drop_session, list_archived, purge_dropped
from openclaw.store.runs import finish_run, insert_run, interrupt_running, list_runs
from openclaw.store.sessions import list_sessions
from openclaw.store.sqlite import open_memory
from openclaw.store.transcripts import append_entries, prune_detached, read_branch, read_transcript

from .connections import entry, run_record

SMALL, LARGE = 20, 1000
ENTRIES_EACH = 4
SLICE_ROWS = 10
DAY_MS = 24 * 3600 * 1000


def key(number: int) -> str:
    return f"agent:main:s{number}"


def fill(sessions: int) -> sqlite3.Connection:
    """A store with so many sessions, each with runs, a branch, something detached, and a key."""
    connection = open_memory()
    connection.execute("BEGIN")
    for number in range(sessions):
        parent_id = None
        for place in range(ENTRIES_EACH):
            entry_id = f"{number}-{place}"
            said = entry(entry_id, parent_id, at_ms=1000 + number, run_id=f"run-{entry_id}")
            finish_run(connection, ended(run_record(said.run_id, key(number), at_ms=1000 + number)))
            append_entries(connection, key(number), "main", [said])
            parent_id = entry_id
        beside = entry(f"{number}-beside", at_ms=DAY_MS, run_id=f"run-{number}-0")
        append_entries(connection, key(number), "main", [beside], detached=True)
        claim = KeyClaim("c", str(number), b"f", "run", DAY_MS)
        claim_key(connection, claim)
    connection.execute("COMMIT")
    return connection


def ended(run: RunRecord) -> RunRecord:
    return attrs.evolve(run, status="done", ended_at_ms=run.started_at_ms)


class Steps:
    """
    Counts SQLite's steps.

    @ivar statements: those that were run.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._count = 0
        self.statements: set[str] = set()

    def of(self, work: Callable[[sqlite3.Connection], object]) -> int:
        """The steps of some work."""
        self._count = 0
        self._connection.set_progress_handler(self._step, 1)
        self._connection.set_trace_callback(self.statements.add)
        try:
            work(self._connection)
        finally:
            self._connection.set_progress_handler(None, 0)
            self._connection.set_trace_callback(None)
        return self._count

    def _step(self) -> int:
        self._count += 1
        return 0


def turn(connection: sqlite3.Connection) -> None:
    """A turn of a session in the middle, from its transcript to its answer."""
    transcript = read_transcript(connection, key(7))
    run = run_record("new", key(7), at_ms=DAY_MS)
    insert_run(connection, run)
    append_entries(connection, key(7), "main", [entry("new-1", transcript.tip_id, run_id="new")])
    finish_run(connection, ended(run))
    append_entries(connection, key(7), "main", [entry("new-2", "new-1", run_id="new")])


CLAIM = KeyClaim("c", "new", b"f", "new", DAY_MS)
WORK: dict[str, Callable[[sqlite3.Connection], Any]] = {
    "a turn": turn,
    "a turn of a new session": lambda store: append_entries(store, "agent:main:new", "main", [entry("1")]),
    "a title": lambda store: append_entries(store, key(8), "main", [entry("title")], detached=True),
    "a branch": lambda store: read_branch(store, key(3)),
    "its end": lambda store: read_branch(store, key(3), 2),
    "a key": lambda store: (claim_key(store, CLAIM), free_key(store, CLAIM)),
    "the newest runs": lambda store: list_runs(store, 5),
    "what a dead process left": interrupt_running,
    "putting old ones away": lambda store: archive_sessions(store, 0, SLICE_ROWS, DAY_MS, SLICE_ROWS),
    "the oldest of these": lambda store: list_archived(store, 3),
    "taking one away": lambda store: drop_session(store, list_archived(store, 1)[0]),
    "deleting it": lambda store: purge_dropped(store, SLICE_ROWS),
    "pruning": lambda store: prune_detached(store, DAY_MS * 2, SLICE_ROWS),
    "forgetting runs": lambda store: delete_runs(store, (0, 0), DAY_MS, SLICE_ROWS),
}


class ScaleTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.stores = [fill(SMALL), fill(LARGE)]
        for store in self.stores:
            self.addCleanup(store.close)
        self.small, self.large = (Steps(store) for store in self.stores)

    def test_work_does_not_grow(self) -> None:
        for name, work in WORK.items():
            few, many = self.small.of(work), self.large.of(work)
            self.assertGreater(few, 0, name)
            self.assertLessEqual(many, few * 1.1 + 10, name)

    def test_nothing_is_searched_through(self) -> None:
        """No statement of a turn or of a slice of the tidying reads a table from its beginning."""
        for work in WORK.values():
            self.large.of(work)
        (store,) = self.stores[1:]
        for statement in sorted(self.large.statements):
            if not statement.startswith(("SELECT", "WITH", "UPDATE", "DELETE", "\n")):
                continue
            plan = [row[3] for row in store.execute(f"EXPLAIN QUERY PLAN {statement}")]
            scans = [step for step in plan if step.startswith("SCAN") and "USING" not in step]
            tables = {"sessions", "entries", "runs", "detached_roots", "idempotency_keys", "e", "r", "d"}
            self.assertEqual([], [step for step in scans if step.split()[1] in tables], statement)

    def test_pages_of_a_list(self) -> None:
        """Going through the list costs the rows that are passed over some steps each, and no look at them."""
        total = LARGE

        def page(offset: int) -> int:
            return self.large.of(lambda store: list_sessions(store, SessionQuery(limit=10, offset=offset)))

        self.assertLess((page(total - 10) - page(0)) / (total - 10), 4)

    def test_start(self) -> None:
        """What is to be done at the start is found at once."""
        for steps in (self.small, self.large):
            steps.of(lambda store: insert_run(store, run_record("left", key(1))))
        self.assertEqual(self.small.of(interrupt_running), self.large.of(interrupt_running))
