"""Tests of L{openclaw.store.sessions}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from openclaw.errors import InvalidRequest
from openclaw.interfaces import SessionRecord
from openclaw.store.sessions import MAX_LISTED, ensure_session, list_sessions, set_tip
from openclaw.store.sqlite import open_memory


class SessionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.connection = open_memory()
        self.addCleanup(self.connection.close)
        for key, agent, at_ms in (("a", "main", 10), ("b", "main", 30), ("c", "other", 20), ("d", "main", 30)):
            ensure_session(self.connection, key, agent, at_ms)

    def keys(self, agent_id: str | None, limit: int = 10) -> list[str]:
        return [record.key for record in list_sessions(self.connection, agent_id, limit)]

    def test_found_again(self) -> None:
        self.assertEqual(ensure_session(self.connection, "a", "main", 99), 1)
        self.assertEqual(ensure_session(self.connection, "A", "main", 99), 5)

    def test_newest_first(self) -> None:
        self.assertEqual(self.keys(None), ["d", "b", "c", "a"])
        self.assertEqual(self.keys("main"), ["d", "b", "a"])
        self.assertEqual(self.keys("nobody"), [])

    def test_limit(self) -> None:
        self.assertEqual(self.keys(None, 1), ["d"])
        self.assertEqual(self.keys("main", 2), ["d", "b"])
        self.assertEqual(self.keys(None, 0), [])
        for bad in (-1, MAX_LISTED + 1):
            self.assertEqual(self.assertRaises(InvalidRequest, self.keys, None, bad).param, "limit")

    def test_written_again(self) -> None:
        set_tip(self.connection, 1, 7, 2, 50)
        self.assertEqual(list_sessions(self.connection, None, 1), (SessionRecord("a", "main", 10, 50, 2),))

    def test_lists_are_read_from_indexes(self) -> None:
        for agent_id in (None, "main"):
            statements: list[str] = []
            self.connection.set_trace_callback(statements.append)
            self.keys(agent_id)
            self.connection.set_trace_callback(None)
            plan = [row[3] for row in self.connection.execute(f"EXPLAIN QUERY PLAN {statements[-1]}")]
            self.assertEqual(len(plan), 1, plan)
            self.assertIn("USING INDEX sessions_by_", plan[0])
