"""Tests of L{openclaw.sessions.transcripts}."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from openclaw.errors import StoreError
from openclaw.records import Entry, RunRecord
from openclaw.sessions.transcripts import DETACHED_KEPT_MS, SLICE_ENTRIES, TranscriptCache
from openclaw.sessions.tree import SessionTree
from openclaw.waits import STORE_TIMEOUT_S
from test.fakes import HeldStore, assistant, user


def turn(number: int, text: str = "hi", at_ms: int = 0) -> Entry:
    return Entry(f"e{number}", f"e{number - 1}" if number else None, f"r{number}", user(text), at_ms)


class CacheTests(SynchronousTestCase):
    max_bytes = 100_000

    def setUp(self) -> None:
        self.clock = Clock()
        self.store = HeldStore()
        self.cache = TranscriptCache(self.store, self.clock, self.max_bytes)
        self.addCleanup(lambda: self.assertEqual(([], True), (self.clock.getDelayedCalls(), self.cache.is_idle)))

    def write(self, key: str, *entries: Entry, detached: bool = False) -> None:
        """Store entries, but do not tell the cache."""
        run = RunRecord(entries[0].run_id, "main", key, "p/m", "done", 0, 0)
        self.successResultOf(self.store.inner.end_run(run, entries, detached=detached))

    def tree(self, key: str = "k") -> SessionTree:
        return self.successResultOf(self.cache.tree(key))

    def kept(self, *keys: str) -> list[str]:
        """Which of these sessions are at hand, which are all that are; they are used in this order."""
        trees = {key: tree for key in keys if (tree := self.cache.peek(key)) is not None}
        self.assertEqual(sum(tree.size_bytes for tree in trees.values()), self.cache.size_bytes)
        return list(trees)

    def reads(self) -> int:
        return self.store.calls.count("transcript")

    def test_read_once(self) -> None:
        self.assertIsNone(self.cache.peek("k"))
        self.assertEqual(0, len(self.tree().entries))
        self.assertIs(self.tree(), self.cache.peek("k"))
        self.write("k", turn(0))
        self.cache.append("k", [turn(0)], detached=False)
        self.cache.append("k", [], detached=False)
        self.assertEqual(("e0", 1), (self.tree().tip_id, self.reads()))

    def test_appended_to_what_is_not_kept(self) -> None:
        self.write("k", turn(0))
        self.cache.append("k", [turn(0)], detached=False)
        self.assertEqual(0, self.cache.size_bytes)
        self.assertEqual(1, len(self.tree().entries))

    def test_forgotten(self) -> None:
        self.tree()
        self.write("k", turn(0))
        self.cache.forget("k")
        self.cache.forget("unknown")
        self.assertEqual(0, self.cache.size_bytes)
        self.assertEqual((1, 2), (len(self.tree().entries), self.reads()))

    def test_size(self) -> None:
        for number in range(4):
            self.write(f"k{number}", turn(0, "x" * 30_000))
            self.tree(f"k{number}")
        self.assertEqual(["k1", "k2", "k3"], self.kept("k0", "k1", "k2", "k3"))
        # The one that was used last stays.
        self.cache.peek("k1")
        self.tree("k4")
        self.cache.append("k4", [turn(0, "x" * 30_000)], detached=False)
        self.assertEqual(["k3", "k1", "k4"], self.kept("k0", "k2", "k3", "k1", "k4"))
        self.assertLessEqual(self.cache.size_bytes, self.max_bytes)
        for number in (5, 6):
            self.write(f"k{number}", turn(0, "x" * 30_000))
            self.tree(f"k{number}")
        self.assertEqual(["k4", "k5", "k6"], self.kept("k3", "k1", "k4", "k5", "k6"))

    def test_larger_than_all(self) -> None:
        self.write("k", turn(0, "x" * 200_000))
        self.assertEqual(1, len(self.tree().entries))
        self.assertEqual((0, None), (self.cache.size_bytes, self.cache.peek("k")))

    def test_those_who_wait_share_one_reading_and_keep_their_order(self) -> None:
        self.store.holds = {"transcript"}
        order: list[int] = []
        waiting = [self.cache.tree("k").addCallback(lambda tree, n=n: order.append(n) or tree) for n in range(3)]
        waiting[1].cancel()
        self.failureResultOf(waiting[1], CancelledError)
        self.store.release()
        self.assertEqual([0, 2], order)
        self.assertIs(self.successResultOf(waiting[0]), self.successResultOf(waiting[2]))
        self.assertEqual(1, self.reads())

    def test_nobody_waits_any_more(self) -> None:
        self.store.holds = {"transcript"}
        waiting = self.cache.tree("k")
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual([], self.clock.getDelayedCalls())
        again = self.cache.tree("k")
        self.store.release()
        self.assertNoResult(again)
        self.store.release()
        self.successResultOf(again)

    def test_failure(self) -> None:
        self.store.holds = {"transcript"}
        self.store.failures["transcript"] = [StoreError("the disk is gone")]
        waiting = [self.cache.tree("k") for _ in range(2)]
        self.store.release()
        for deferred in waiting:
            self.failureResultOf(deferred, StoreError)
        self.store.holds.clear()
        self.tree()

    def test_timeout(self) -> None:
        self.store.holds = {"transcript"}
        waiting = self.cache.tree("k")
        self.clock.advance(STORE_TIMEOUT_S)
        self.assertEqual("store_timeout", self.failureResultOf(waiting, StoreError).value.code)
        self.store.release()

    def test_commits_while_it_is_read(self) -> None:
        self.store.holds = {"transcript"}
        self.write("k", turn(0))
        waiting = self.cache.tree("k")
        self.cache.append("k", [turn(0)], detached=False)
        self.cache.append("k", [turn(1)], detached=False)
        self.store.release()
        tree = self.successResultOf(waiting)
        self.assertEqual(("e1", 2), (tree.tip_id, len(tree.entries)))

    def test_forgotten_while_it_is_read(self) -> None:
        self.store.holds = {"transcript"}
        waiting = self.cache.tree("k")
        self.cache.forget("k")
        self.store.release()
        self.assertNoResult(waiting)
        self.write("k", turn(0))
        self.store.release()
        self.assertEqual((1, 2), (len(self.successResultOf(waiting).entries), self.reads()))

    def test_deleted_while_it_is_read(self) -> None:
        self.store.holds = {"transcript"}
        self.write("k", turn(0))
        waiting = self.cache.tree("k")
        self.cache.append("k", [turn(1)], detached=False)
        self.cache.forget("k")
        self.successResultOf(self.store.inner.archive_sessions(2**53, 1, 1, 1))
        self.assertTrue(self.successResultOf(self.store.inner.drop_session("k")))
        self.store.release()
        self.store.release()
        self.assertEqual(0, len(self.successResultOf(waiting).entries))

    def test_a_long_one_is_taken_in_slices(self) -> None:
        self.write("k", *[turn(number) for number in range(2 * SLICE_ENTRIES + 1)])
        waiting = self.cache.tree("k")
        other: Deferred[SessionTree] = self.cache.tree("k")
        self.assertNoResult(waiting)
        self.cache.append("k", [turn(2 * SLICE_ENTRIES + 1)], detached=False)
        self.clock.advance(0)
        tree = self.successResultOf(waiting)
        self.assertIs(tree, self.successResultOf(other))
        self.assertEqual((2 * SLICE_ENTRIES + 2, f"e{2 * SLICE_ENTRIES + 1}"), (len(tree.entries), tree.tip_id))

    def test_cancelled_between_slices(self) -> None:
        self.write("k", *[turn(number) for number in range(SLICE_ENTRIES + 1)])
        waiting = self.cache.tree("k")
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)

    def test_old_detached_roots_are_read_again(self) -> None:
        self.write("k", turn(0))
        title = Entry("t", None, "rt", user("title"), 1000)
        self.write("k", title, detached=True)
        self.assertEqual({"t"}, self.tree().detached)
        self.clock.advance((DETACHED_KEPT_MS + 999) / 1000)
        self.tree()
        self.assertEqual(1, self.reads())
        self.clock.advance(0.001)
        self.successResultOf(self.store.inner.prune_detached(1001, 10))
        self.assertIsNone(self.cache.peek("k"))
        self.assertEqual((set(), 1), (self.tree().detached, len(self.tree().entries)))
        self.assertEqual(2, self.reads())

    def title(self, number: int, at_ms: int) -> None:
        """Store a detached root with an answer."""
        root = Entry(f"t{number}", None, f"rt{number}", user("title"), at_ms)
        self.write("k", root, Entry(f"a{number}", root.id, root.run_id, assistant("A"), at_ms, "stop"), detached=True)

    def test_an_old_detached_root_costs_one_reading(self) -> None:
        """Until the store deletes it, which may take a while."""
        self.write("k", turn(0))
        self.title(1, 1000)
        self.title(2, 9000)
        self.write("k", turn(1))
        self.assertEqual((6, 1), (len(self.tree().entries), self.reads()))
        self.clock.advance((DETACHED_KEPT_MS + 1000) / 1000)
        for _ in range(3):
            self.assertEqual((4, {"t2"}, "e1"), (len(self.tree().entries), self.tree().detached, self.tree().tip_id))
        self.assertEqual(2, self.reads())
        self.clock.advance(8)
        for _ in range(3):
            self.assertEqual((2, set()), (len(self.tree().entries), self.tree().detached))
        self.assertEqual(3, self.reads())

    def test_an_old_detached_root_that_became_history(self) -> None:
        """A run that was placed before the root was too old extends it."""
        self.write("k", turn(0))
        self.title(1, 0)
        self.clock.advance(DETACHED_KEPT_MS / 1000)
        self.assertEqual(1, len(self.tree().entries))
        beside = Entry("x", "a1", "rx", user("more"), 0)
        self.write("k", beside, detached=True)
        self.cache.append("k", [beside], detached=True)
        self.assertEqual((1, 2), (len(self.tree().entries), self.reads()))
        answer = Entry("y", "x", "rx", assistant("Y"), 0, "stop")
        self.write("k", answer)
        self.cache.append("k", [answer], detached=False)
        self.assertEqual((5, "y", set()), (len(self.tree().entries), self.tree().tip_id, self.tree().detached))
        self.assertEqual(3, self.reads())

    def test_an_old_detached_root_that_becomes_history_while_it_is_read(self) -> None:
        self.write("k", turn(0))
        self.title(1, 0)
        self.clock.advance(DETACHED_KEPT_MS / 1000)
        self.store.holds = {"transcript"}
        waiting = self.cache.tree("k")
        # HeldStore reads when it is released: what the first reading sees is what was stored before.
        reading = self.store.inner.transcript("k")
        self.patch(self.store.inner, "transcript", lambda key: reading)
        answer = Entry("y", "a1", "ry", assistant("Y"), 0, "stop")
        self.write("k", answer)
        self.cache.append("k", [answer], detached=False)
        self.store.release()
        self.assertNoResult(waiting)
        del self.store.inner.transcript
        self.store.release()
        self.assertEqual(("y", set()), (self.successResultOf(waiting).tip_id, self.tree().detached))
