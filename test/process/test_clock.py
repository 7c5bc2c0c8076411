"""Tests of L{openclaw.process.clock}."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from openclaw.process.clock import CLOCK_TOLERANCE_S, SteadyClock, seconds_since_boot

DAY_S = 86_400.0


class SteadyClockTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.wall_s, self.steady_s = 1_800_000_000.0, 50.0
        self.reactor = Clock()
        self.clock = SteadyClock(self.reactor, lambda: self.wall_s, lambda: self.steady_s)
        self.fired: list[str] = []

    def wait(self, seconds: float) -> None:
        self.wall_s += seconds
        self.steady_s += seconds
        self.reactor.advance(0)

    def set_clock(self, by_s: float) -> None:
        self.wall_s += by_s
        self.reactor.advance(0)

    def test_begins_with_the_time_of_day(self) -> None:
        self.assertEqual(self.wall_s, self.reactor.seconds())
        self.wait(3.5)
        self.assertEqual(self.wall_s, self.reactor.seconds())

    def test_timers_do_not_care_who_sets_the_clock(self) -> None:
        for by_s in (DAY_S, -DAY_S):
            self.fired.clear()
            self.reactor.callLater(10.0, self.fired.append, "timer")
            self.set_clock(by_s)
            self.wait(9.0)
            self.assertEqual([], self.fired)
            self.wait(1.0)
            self.assertEqual(["timer"], self.fired)

    def test_follows(self) -> None:
        """When it is told to, and no timer comes sooner or later for that."""
        moved_s = self.clock.moved_s
        for by_s in (DAY_S, -DAY_S):
            self.fired.clear()
            for after_s in (30.0, 10.0, 20.0):
                self.reactor.callLater(after_s, self.fired.append, f"{after_s:g}")
            self.wait(5.0)
            self.set_clock(by_s)
            self.assertEqual(-by_s, self.reactor.seconds() - self.wall_s)
            self.clock.follow()
            self.assertEqual(self.wall_s, self.reactor.seconds())
            self.assertEqual(by_s, self.clock.moved_s - moved_s)
            moved_s = self.clock.moved_s
            self.reactor.advance(0)
            self.assertEqual([], self.fired)
            self.wait(5.0)
            self.assertEqual(["10"], self.fired)
            self.wait(20.0)
            self.assertEqual(["10", "20", "30"], self.fired)

    def test_a_timer_that_is_due(self) -> None:
        self.reactor.callLater(1.0, self.fired.append, "due")
        self.steady_s += 2.0
        self.clock.follow()
        self.reactor.advance(0)
        self.assertEqual(["due"], self.fired)

    def test_small_differences_are_left(self) -> None:
        timer = self.reactor.callLater(10.0, self.fired.append, "timer")
        due_s, now_s = timer.getTime(), self.reactor.seconds()
        self.set_clock(CLOCK_TOLERANCE_S - 0.1)
        self.clock.follow()
        self.assertEqual((due_s, now_s), (timer.getTime(), self.reactor.seconds()))

    def test_since_boot(self) -> None:
        before_s = seconds_since_boot()
        self.assertLessEqual(before_s, seconds_since_boot())
