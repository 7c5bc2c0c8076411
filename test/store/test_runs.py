"""Tests of L{openclaw.store.runs}."""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from openclaw.errors import InvalidRequest
from openclaw.messages import Usage
from openclaw.records import RunRecord
from openclaw.store.runs import finish_run, insert_run, interrupt_running, list_runs
from openclaw.store.sqlite import open_memory

from .connections import run_record

BEGUN = run_record("r1")
ENDED = attrs.evolve(
    BEGUN,
    model_ref="other/m",
    status="failed",
    ended_at_ms=2000,
    usage=Usage(10, 20, 3, 4, True),
    error_code="provider_error",
)


class RunTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.connection = open_memory()
        self.addCleanup(self.connection.close)

    def listed(self, limit: int = 10) -> tuple[RunRecord, ...]:
        return list_runs(self.connection, limit)

    def test_life(self) -> None:
        insert_run(self.connection, BEGUN)
        self.assertEqual(self.listed(), (BEGUN,))
        finish_run(self.connection, ENDED)
        self.assertEqual(self.listed(), (ENDED,))

    def test_again(self) -> None:
        for _ in range(2):
            insert_run(self.connection, BEGUN)
        for _ in range(2):
            finish_run(self.connection, ENDED)
        insert_run(self.connection, BEGUN)
        self.assertEqual(self.listed(), (ENDED,))

    def test_never_begun(self) -> None:
        finish_run(self.connection, ENDED)
        self.assertEqual(self.listed(), (ENDED,))

    def test_usage_that_the_provider_left_open(self) -> None:
        run = attrs.evolve(ENDED, usage=Usage(1, 2, None, 0), error_code=None)
        finish_run(self.connection, run)
        self.assertEqual(self.listed(), (run,))

    def test_newest_first(self) -> None:
        for run_id, at_ms in (("a", 2), ("b", 9), ("c", 5), ("d", 5)):
            insert_run(self.connection, run_record(run_id, at_ms=at_ms))
        self.assertEqual([run.run_id for run in self.listed()], ["b", "d", "c", "a"])
        self.assertEqual([run.run_id for run in self.listed(2)], ["b", "d"])
        self.assertRaises(InvalidRequest, self.listed, -1)

    def test_interrupted(self) -> None:
        insert_run(self.connection, BEGUN)
        finish_run(self.connection, attrs.evolve(ENDED, run_id="r2"))
        self.assertEqual(interrupt_running(self.connection), 1)
        self.assertEqual({run.run_id: run.status for run in self.listed()}, {"r1": "interrupted", "r2": "failed"})
        (ended_at_ms,) = (run.ended_at_ms for run in self.listed() if run.run_id == "r1")
        self.assertEqual(ended_at_ms, BEGUN.started_at_ms)
        self.assertEqual(interrupt_running(self.connection), 0)

    def test_interrupted_are_found_by_their_index(self) -> None:
        statements: list[str] = []
        self.connection.set_trace_callback(statements.append)
        interrupt_running(self.connection)
        self.connection.set_trace_callback(None)
        plan = [row[3] for row in self.connection.execute(f"EXPLAIN QUERY PLAN {statements[-1]}")]
        self.assertTrue(any("runs_running" in step for step in plan), plan)
