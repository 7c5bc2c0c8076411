"""Tests of L{openclaw.store.retention}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from openclaw.records import SessionQuery
from openclaw.store import retention
from openclaw.store.retention import (
    archive_sessions,
    count_sessions,
    delete_runs,
    drop_session,
    list_archived,
    purge_dropped,
    used_bytes,
)
from openclaw.store.runs import insert_run, list_runs
from openclaw.store.sessions import list_sessions
from openclaw.store.sqlite import open_memory
from openclaw.store.transcripts import append_entries, read_branch

from .connections import entry, run_record


class RetentionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.connection = open_memory()
        self.addCleanup(self.connection.close)
        for number, key in enumerate("abcde"):
            self.write(key, f"{key}1", at_ms=number * 10)

    def write(self, key: str, entry_id: str, parent: str | None = None, at_ms: int = 0) -> None:
        append_entries(self.connection, key, "main", [entry(entry_id, parent, at_ms=at_ms)])

    def keys(self, *, archived: bool = False) -> list[str]:
        page = list_sessions(self.connection, SessionQuery(archived=archived))
        self.assertEqual(page.total, len(page.rows))
        return [row.session.key for row in page.rows]

    def test_stale_ones_are_put_away(self) -> None:
        self.assertEqual(archive_sessions(self.connection, 20, 0, 99, 10), 2)
        self.assertEqual((self.keys(), self.keys(archived=True)), (["e", "d", "c"], ["b", "a"]))
        self.assertEqual(count_sessions(self.connection), 3)
        self.assertEqual(archive_sessions(self.connection, 20, 0, 99, 10), 0)

    def test_excess_is_put_away(self) -> None:
        self.assertEqual(archive_sessions(self.connection, 0, 3, 99, 2), 2)
        self.assertEqual(archive_sessions(self.connection, 0, 1, 99, 2), 1)
        self.assertEqual(self.keys(), ["e", "d"])

    def test_stale_ones_count_as_excess(self) -> None:
        self.assertEqual(archive_sessions(self.connection, 30, 2, 99, 10), 3)

    def test_whoever_writes_is_back(self) -> None:
        archive_sessions(self.connection, 50, 0, 99, 10)
        self.write("b", "b2", "b1", at_ms=60)
        self.assertEqual(self.keys(), ["b"])
        self.assertEqual(list_archived(self.connection, 10), ("a", "c", "d", "e"))
        self.assertEqual(len(read_branch(self.connection, "b")), 2)

    def test_deleted_in_pieces(self) -> None:
        self.write("a", "a2", "a1")
        self.write("a", "a3", "a2")
        archive_sessions(self.connection, 20, 0, 99, 10)
        self.assertTrue(drop_session(self.connection, "a"))
        self.assertFalse(drop_session(self.connection, "a"))
        self.assertEqual((read_branch(self.connection, "a"), self.keys(archived=True)), ((), ["b"]))
        self.write("a", "new")
        counts = []
        while purge_dropped(self.connection, 2):
            counts.append(self.connection.execute("SELECT count(*) FROM entries").fetchone()[0])
        self.assertEqual(counts, [6, 5])
        self.assertEqual(self.connection.execute("SELECT count(*) FROM sessions").fetchone(), (5,))
        self.assertEqual(self.connection.execute("PRAGMA foreign_key_check").fetchall(), [])

    def test_large_entries_are_deleted_a_few_at_a_time(self) -> None:
        """Commits wait for one call, and images take long."""
        self.patch(retention, "PURGED_BYTES", 1000)
        for number in range(1, 6):
            text = "x" * 600 if number < 5 else ""
            append_entries(self.connection, "large", "main", [entry(str(number), None, text)])
        archive_sessions(self.connection, 9**15, 0, 99, 10)
        drop_session(self.connection, "large")
        of_session = "FROM entries AS e JOIN sessions AS s ON s.id = e.session_id WHERE s.key LIKE 'dropped:%'"
        counts = []
        while purge_dropped(self.connection, 100):
            counts.append(self.connection.execute(f"SELECT count(*) {of_session}").fetchone()[0])
        self.assertEqual(counts, [3, 1, 0])

    def test_whoever_is_back_is_not_deleted(self) -> None:
        archive_sessions(self.connection, 20, 0, 99, 10)
        self.write("a", "a2", "a1")
        self.assertFalse(drop_session(self.connection, "a"))
        self.assertFalse(purge_dropped(self.connection, 10))
        self.assertEqual(len(read_branch(self.connection, "a")), 2)

    def test_numbers_of_deleted_entries_are_free(self) -> None:
        """SQLite numbers the next entry like the last one that was deleted."""
        append_entries(self.connection, "a", "main", [entry("t1", None), entry("t2", "t1")], detached=True)
        append_entries(self.connection, "a", "main", [entry("t3", None)], detached=True)
        archive_sessions(self.connection, 10, 0, 99, 10)
        drop_session(self.connection, "a")
        # In a session of many entries the last one may be among the first to go.
        self.connection.execute("UPDATE entries SET id = '0' WHERE id = 't3'")
        self.assertTrue(purge_dropped(self.connection, 1))
        append_entries(self.connection, "b", "main", [entry("u1", None)], detached=True)
        while purge_dropped(self.connection, 1):
            pass
        self.assertEqual(1, self.connection.execute("SELECT count(*) FROM detached_roots").fetchone()[0])

    def test_runs(self) -> None:
        for number in range(5):
            run = run_record(f"r{number}", at_ms=number, status="done", ended_at_ms=number * 10)
            insert_run(self.connection, run)
        insert_run(self.connection, run_record("live", at_ms=0))
        self.connection.execute("UPDATE sessions SET last_run_id = 'r1' WHERE key = 'a'")
        after = delete_runs(self.connection, (0, 0), 30, 2)
        self.assertEqual(after, (10, 2))
        assert after is not None
        self.assertIsNone(delete_runs(self.connection, after, 30, 2))
        self.assertEqual({run.run_id for run in list_runs(self.connection, 10)}, {"r1", "r3", "r4", "live"})

    def test_work_does_not_grow_with_the_store(self) -> None:
        """No piece of the work reads a whole table."""
        statements: list[str] = []
        self.connection.set_trace_callback(statements.append)
        archive_sessions(self.connection, 50, 1, 99, 10)
        list_archived(self.connection, 1)
        drop_session(self.connection, "a")
        purge_dropped(self.connection, 1)
        delete_runs(self.connection, (0, 0), 10, 5)
        self.connection.set_trace_callback(None)
        for statement in statements:
            for row in self.connection.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall():
                if row[3].startswith("SCAN"):
                    self.assertIn("INDEX", row[3], statement)

    def test_used_bytes(self) -> None:
        before = used_bytes(self.connection)
        self.write("z", "z1")
        for number in range(200):
            self.write("z", f"z{number + 2}", f"z{number + 1}")
        self.assertGreater(used_bytes(self.connection), before)
        archive_sessions(self.connection, 2**53, 0, 99, 10)
        self.assertTrue(drop_session(self.connection, "z"))
        while purge_dropped(self.connection, 1000):
            pass
        self.assertLessEqual(used_bytes(self.connection), before + 4096 * 4)
