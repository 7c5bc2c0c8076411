"""Tests of L{openclaw.sessions.retention}."""

from __future__ import annotations

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from openclaw.config.amounts import Duration, Size
from openclaw.config.session import MaintenanceConfig
from openclaw.errors import StoreError
from openclaw.messages import Message
from openclaw.records import Entry, KeyClaim, RunRecord, SessionQuery
from openclaw.sessions.retention import PAUSE_S, SLICE_ROWS, SWEEP_INTERVAL_S, Retention
from openclaw.store.store import GatewayStore

DAY_S = 86_400.0
NEVER = MaintenanceConfig(prune_after=Duration(None), max_disk_bytes=Size(None))


class RetentionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000 * DAY_S)
        self.store = GatewayStore.in_memory()
        self.settings = MaintenanceConfig()
        self.busy: set[str] = set()
        self.forgotten: list[str] = []
        self.retention = Retention(
            self.store, lambda: self.settings, self.clock, lambda: self.busy, self.forgotten.append
        )

    def write(self, key: str, days_ago: float, text: str = "hi") -> None:
        at_ms = int((self.clock.seconds() - days_ago * DAY_S) * 1000)
        run = RunRecord(f"run-{key}", "main", key, "p/m", "done", at_ms, at_ms)
        self.successResultOf(
            self.store.begin_run(run, [Entry(f"{key}1", None, run.run_id, Message("user", text), at_ms)])
        )
        self.successResultOf(self.store.end_run(run, []))

    def keys(self, *, archived: bool = False) -> list[str]:
        page = self.successResultOf(self.store.sessions(SessionQuery(archived=archived, limit=10_000)))
        return [row.session.key for row in page.rows]

    def sweep(self) -> None:
        sweeping = Deferred.fromCoroutine(self.retention.sweep())
        self.clock.pump([PAUSE_S] * 200)
        self.successResultOf(sweeping)

    def test_old_sessions_are_put_away(self) -> None:
        self.write("old", 31)
        self.write("new", 29)
        self.sweep()
        self.assertEqual((self.keys(), self.keys(archived=True)), (["new"], ["old"]))
        self.assertEqual(len(self.successResultOf(self.store.branch("old"))), 1)

    def test_without_a_limit_of_age(self) -> None:
        self.settings = NEVER
        self.write("old", 900)
        self.sweep()
        self.assertEqual(self.keys(), ["old"])

    def test_too_many_are_put_away_in_slices(self) -> None:
        self.settings = MaintenanceConfig(max_entries=3)
        for number in range(SLICE_ROWS + 10):
            self.write(f"s{number}", 1 - number / 10_000)
        self.sweep()
        self.assertEqual(self.keys(), [f"s{SLICE_ROWS + number}" for number in (9, 8, 7)])

    def test_only_warns(self) -> None:
        self.settings = MaintenanceConfig(mode="warn", max_disk_bytes=Size(1))
        self.write("old", 400)
        self.sweep()
        self.assertEqual(self.keys(), ["old"])

    def test_room_is_made_by_the_oldest(self) -> None:
        for number in range(4):
            self.write(f"s{number}", 40 - number, "x" * 100_000)
        self.write("now", 0)
        self.busy = {"s0"}
        used = self.successResultOf(self.store.used_bytes())
        self.settings = MaintenanceConfig(max_disk_bytes=Size(used - 1), high_water_bytes=Size(used - 150_000))
        self.sweep()
        self.assertEqual(self.forgotten, ["s1", "s2"])
        self.assertEqual((self.keys(), self.keys(archived=True)), (["now"], ["s3", "s0"]))

    def test_who_comes_while_the_store_looks(self) -> None:
        self.write("s0", 41, "x" * 100_000)
        self.write("s1", 40, "x" * 100_000)
        self.write("now", 0)
        list_archived = self.store.list_archived

        def come(limit: int) -> Deferred[tuple[str, ...]]:
            listing = list_archived(limit)
            self.busy = {"s0"}
            return listing

        self.patch(self.store, "list_archived", come)
        self.settings = MaintenanceConfig(max_disk_bytes=Size(1))
        self.sweep()
        self.assertEqual(self.keys(archived=True), ["s0"])

    def test_nothing_that_may_be_deleted(self) -> None:
        self.settings = MaintenanceConfig(max_disk_bytes=Size(1))
        self.write("now", 0)
        self.write("used", 50)
        self.busy = {"used"}
        self.sweep()
        self.assertEqual((self.keys(), self.keys(archived=True), self.forgotten), (["now"], ["used"], []))

    def test_what_a_dead_process_left_half_deleted(self) -> None:
        self.settings = NEVER
        self.write("gone", 1)
        self.successResultOf(self.store.archive_sessions(2**53, 1, 1, 1))
        self.assertTrue(self.successResultOf(self.store.drop_session("gone")))
        self.sweep()
        self.assertFalse(self.successResultOf(self.store.purge_dropped(1)))

    def test_old_runs_are_forgotten(self) -> None:
        for number in range(SLICE_ROWS + 5):
            at_ms = int((self.clock.seconds() - 91 * DAY_S) * 1000)
            run = RunRecord(f"r{number}", "main", "k", "p/m", "done", at_ms, at_ms)
            self.successResultOf(self.store.end_run(run, []))
        self.write("shown", 100)
        self.sweep()
        self.assertEqual([run.run_id for run in self.successResultOf(self.store.runs(1000))], ["run-shown"])

    def test_old_keys_are_forgotten(self) -> None:
        """Also where nobody uses a key any more."""
        at_ms = int((self.clock.seconds() - 2 * DAY_S) * 1000)
        claim = KeyClaim("operator", "k", b"f", "run", at_ms)
        self.successResultOf(self.store.claim_key(claim))
        self.sweep()
        self.assertEqual(self.successResultOf(self.store.prune_keys(at_ms)), 0)
        young = attrs.evolve(claim, claimed_at_ms=at_ms)
        self.assertIsNone(self.successResultOf(self.store.claim_key(young)))

    def test_sessions_that_vanish_meanwhile(self) -> None:
        """What was counted as too many and is not there any more is not looked for."""
        self.settings = MaintenanceConfig(max_entries=1)
        self.patch(self.store, "count_sessions", lambda: succeed(500))
        self.write("a", 1)
        self.sweep()
        self.assertEqual(self.keys(), [])

    def test_every_ten_minutes(self) -> None:
        self.write("old", 31)
        self.retention.startService()
        self.clock.advance(SWEEP_INTERVAL_S - 1)
        self.assertEqual(self.keys(), ["old"])
        self.clock.advance(1)
        self.assertEqual(self.keys(), [])
        self.clock.pump([PAUSE_S] * 3)
        self.successResultOf(self.retention.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopped_in_the_middle(self) -> None:
        self.retention.startService()
        self.clock.advance(SWEEP_INTERVAL_S)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.successResultOf(self.retention.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_failures_are_told_and_tried_again(self) -> None:
        for error in (StoreError("the disk is full"), ZeroDivisionError("a bug")):
            self.patch(self.store, "count_sessions", lambda error=error: fail(error))
            self.retention.startService()
            self.clock.advance(SWEEP_INTERVAL_S)
            self.clock.advance(SWEEP_INTERVAL_S)
            self.assertEqual(len(self.clock.getDelayedCalls()), 1)
            self.successResultOf(self.retention.stopService())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_down_to(self) -> None:
        self.assertIsNone(NEVER.deletes_down_to_bytes)
        self.assertEqual(MaintenanceConfig(max_disk_bytes=Size(100)).deletes_down_to_bytes, 80)
        high = MaintenanceConfig(max_disk_bytes=Size(100), high_water_bytes=Size(500))
        self.assertEqual(high.deletes_down_to_bytes, 100)
