"""Tests of L{openclaw.store.sessions}."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from openclaw.errors import InvalidRequest
from openclaw.messages import Message
from openclaw.records import Entry, RunRecord, SessionQuery, SessionRecord, SessionRow
from openclaw.store.runs import MAX_LISTED, insert_run
from openclaw.store.sessions import ensure_session, list_sessions, set_tip
from openclaw.store.sqlite import open_memory

LAST = Entry("e1", None, "run_1", Message("user", "hi"), 50)


class SessionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.connection = open_memory()
        self.addCleanup(self.connection.close)
        for key, agent, at_ms in (("a", "main", 10), ("b", "main", 30), ("c", "other", 20), ("d", "main", 30)):
            ensure_session(self.connection, key, agent, at_ms)

    def keys(self, **query: Any) -> list[str]:
        return [row.session.key for row in list_sessions(self.connection, SessionQuery(**query)).rows]

    def test_found_again(self) -> None:
        self.assertEqual(ensure_session(self.connection, "a", "main", 99), 1)
        self.assertEqual(ensure_session(self.connection, "A", "main", 99), 5)

    def test_newest_first(self) -> None:
        self.assertEqual(self.keys(), ["d", "b", "c", "a"])
        self.assertEqual(self.keys(agent_id="main"), ["d", "b", "a"])
        self.assertEqual(self.keys(agent_id="nobody"), [])

    def test_pages(self) -> None:
        page = list_sessions(self.connection, SessionQuery(limit=1))
        self.assertEqual(([row.session.key for row in page.rows], page.total), (["d"], 4))
        self.assertEqual(self.keys(agent_id="main", limit=2, offset=1), ["b", "a"])
        self.assertEqual(list_sessions(self.connection, SessionQuery(agent_id="main", limit=0)).total, 3)
        self.assertEqual(self.keys(offset=4), [])

    def test_narrowed(self) -> None:
        self.assertEqual(self.keys(updated_since_ms=20), ["d", "b", "c"])
        ensure_session(self.connection, "Agent:100%", "main", 5)
        self.assertEqual(self.keys(search="aGENT:1"), ["Agent:100%"])
        self.assertEqual(self.keys(search="%"), ["Agent:100%"])
        self.assertEqual(self.keys(search="d", agent_id="other"), [])
        self.assertEqual((self.keys(key="b"), self.keys(key="B")), (["b"], []))

    def test_out_of_range(self) -> None:
        for bad in (-1, MAX_LISTED + 1):
            self.assertEqual(self.assertRaises(InvalidRequest, self.keys, limit=bad).param, "limit")
        self.assertEqual(self.assertRaises(InvalidRequest, self.keys, offset=-1).param, "offset")

    def test_written_again(self) -> None:
        set_tip(self.connection, 1, 7, 2, LAST)
        (row,) = list_sessions(self.connection, SessionQuery(limit=1)).rows
        self.assertEqual(row, SessionRow(SessionRecord("a", "main", 10, 50, 2), None))

    def test_last_run(self) -> None:
        run = RunRecord("run_1", "main", "a", "p/m", "running", 40)
        insert_run(self.connection, run)
        set_tip(self.connection, 1, 7, 2, LAST)
        self.assertEqual(list_sessions(self.connection, SessionQuery(limit=1)).rows[0].last_run, run)

    def test_lists_are_read_from_indexes(self) -> None:
        for agent_id in (None, "main"):
            statements: list[str] = []
            self.connection.set_trace_callback(statements.append)
            self.keys(agent_id=agent_id)
            self.connection.set_trace_callback(None)
            plan = [row[3] for row in self.connection.execute(f"EXPLAIN QUERY PLAN {statements[-1]}")]
            # One page is found without a look at any other row, then its rows are fetched and put in order again.
            page, rows = plan[: plan.index("SCAN page")], plan[plan.index("SCAN page") :]
            self.assertIn("USING INDEX sessions_by_", page[1])
            self.assertEqual(len(page), 2, plan)
            self.assertIn("SEARCH s USING INTEGER PRIMARY KEY", rows[1])
            self.assertIn("SEARCH r USING INDEX", rows[2])
