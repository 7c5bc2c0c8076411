"""Tests of L{openclaw.sharing.recent}."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from openclaw.sharing import recent
from openclaw.sharing.recent import KEPT_S, Recent


class Remembered:
    """A run, for all that matters here."""

    def __init__(self) -> None:
        self.forgotten = 0

    def forget(self) -> None:
        self.forgotten += 1


class RecentTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.recent: Recent[Remembered] = Recent(self.clock)

    def test_found(self) -> None:
        run = Remembered()
        self.recent.add("a", run)
        self.assertIs(self.recent.get("a"), run)
        self.assertIsNone(self.recent.get("b"))

    def test_later_one_takes_the_place(self) -> None:
        first, second = Remembered(), Remembered()
        earlier = self.recent.add("a", first)
        earlier.set_cost(5)
        self.recent.add("a", second)
        self.assertIs(self.recent.get("a"), second)
        self.assertEqual((first.forgotten, self.recent.total_cost, earlier.is_kept), (1, 0, False))
        # The one that has lost its place can do nothing to the other.
        earlier.set_cost(7)
        earlier.ended()
        earlier.drop()
        self.assertEqual((self.recent.total_cost, self.clock.getDelayedCalls()), (0, []))
        self.assertIs(self.recent.get("a"), second)

    def test_number_is_bounded(self) -> None:
        self.patch(recent, "MAX_ENTRIES", 3)
        runs = [Remembered() for _ in range(5)]
        for number, run in enumerate(runs):
            self.recent.add(number, run)
        self.assertEqual([run.forgotten for run in runs], [1, 1, 0, 0, 0])
        self.assertEqual(len(self.recent), 3)

    def test_size_is_bounded(self) -> None:
        self.patch(recent, "MAX_TOTAL_COST", 10)
        runs = [Remembered() for _ in range(3)]
        entries = [self.recent.add(number, run) for number, run in enumerate(runs)]
        for entry in entries:
            entry.set_cost(4)
        self.assertEqual([run.forgotten for run in runs], [1, 0, 0])
        entries[1].set_cost(6)
        self.assertEqual(self.recent.total_cost, 10)
        entries[2].set_cost(11)
        self.assertEqual(([run.forgotten for run in runs], self.recent.total_cost), ([1, 1, 1], 0))

    def test_age_is_bounded(self) -> None:
        first, second, live = Remembered(), Remembered(), Remembered()
        self.recent.add("live", live).set_cost(1)
        self.recent.add("first", first).ended()
        self.clock.advance(100)
        self.recent.add("second", second).ended()
        self.clock.advance(KEPT_S - 101)
        self.assertIs(self.recent.get("first"), first)
        self.clock.advance(1)
        self.assertEqual((self.recent.get("first"), first.forgotten, second.forgotten), (None, 1, 0))
        self.clock.advance(100)
        self.assertEqual((second.forgotten, live.forgotten, len(self.recent)), (1, 0, 1))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_dropped_before_its_time(self) -> None:
        run = Remembered()
        entry = self.recent.add("a", run)
        entry.ended()
        entry.drop()
        self.clock.advance(KEPT_S)
        self.assertEqual((run.forgotten, self.clock.getDelayedCalls()), (1, []))

    def test_clear(self) -> None:
        runs = [Remembered() for _ in range(2)]
        for number, run in enumerate(runs):
            self.recent.add(number, run).ended()
        self.recent.clear()
        self.recent.clear()
        self.assertEqual([run.forgotten for run in runs], [1, 1])
        self.assertEqual((len(self.recent), self.clock.getDelayedCalls()), (0, []))
