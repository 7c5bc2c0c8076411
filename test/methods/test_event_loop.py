"""Tests of L{openclaw.methods.event_loop}."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from openclaw.methods.event_loop import INTERVAL_S, WINDOW, EventLoopDelay


class DelayTests(SynchronousTestCase):
    """Figures of a reactor that is late."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.cpu_s = 0.0
        self.delay = EventLoopDelay(self.clock, self.clock.seconds, lambda: self.cpu_s, lambda: self.cpu_s / 2)

    def test_none_yet(self) -> None:
        """There are no figures before the first timer has come."""
        self.assertIsNone(self.delay.figures())
        self.delay.start()
        self.assertIsNone(self.delay.figures())
        self.delay.stop()
        self.assertEqual([], self.clock.getDelayedCalls())
        self.delay.stop()

    def test_figures(self) -> None:
        """The longest delay, the one that one of a hundred is longer than, and the use of the processor."""
        self.delay.start()
        for _ in range(9):
            self.clock.advance(INTERVAL_S)
        self.cpu_s = 1.0
        self.clock.advance(INTERVAL_S + 0.125)
        expected = {
            "degraded": False,
            "reasons": [],
            "intervalMs": 2625.0,
            "delayP99Ms": 125.0,
            "delayMaxMs": 125.0,
            "utilization": 0.19,
            "cpuCoreRatio": 0.381,
        }
        self.assertEqual(expected, self.delay.figures())

    def test_degraded(self) -> None:
        """Many long delays make it degraded; one does not."""
        self.delay.start()
        self.clock.advance(INTERVAL_S + 5)
        for _ in range(WINDOW - 1):
            self.clock.advance(INTERVAL_S)
        figures = self.delay.figures()
        assert figures is not None
        self.assertEqual((False, 0.0, 5000.0), (figures["degraded"], figures["delayP99Ms"], figures["delayMaxMs"]))
        for _ in range(3):
            self.clock.advance(INTERVAL_S + 0.5)
        figures = self.delay.figures()
        assert figures is not None
        self.assertEqual((True, ["event_loop_delay"]), (figures["degraded"], figures["reasons"]))

    def test_window(self) -> None:
        """What was more than a minute ago counts no more."""
        self.delay.start()
        self.clock.advance(INTERVAL_S + 5)
        for _ in range(WINDOW):
            self.clock.advance(INTERVAL_S)
        figures = self.delay.figures()
        assert figures is not None
        self.assertEqual((0.0, 60_000.0), (figures["delayMaxMs"], figures["intervalMs"]))

    def test_standing_clock(self) -> None:
        """A clock that does not move gives no division by zero."""
        delay = EventLoopDelay(self.clock, lambda: 1.0, lambda: 0.0)
        delay.start()
        self.clock.advance(INTERVAL_S)
        figures = delay.figures()
        assert figures is not None
        self.assertEqual((0.0, 0.0), (figures["cpuCoreRatio"], figures["delayMaxMs"]))
