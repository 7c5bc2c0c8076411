"""Tests of L{openclaw.log_rare}."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import Logger, LogPublisher, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from openclaw.log_rare import TOLD_EVERY_S, RareLines


class RareLinesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.lines: list[str] = []
        publisher = LogPublisher(lambda event: self.lines.append(formatEvent(event)))
        self.log = Logger("openclaw.x", observer=publisher)
        self.rare = RareLines(self.clock.seconds)
        self.rare.start(self.clock)

    def tell(self, who: object = "a", text: str = "closing {who}") -> None:
        self.rare.tell(self.log.info, text, who=who)

    def told(self) -> list[str]:
        lines, self.lines[:] = list(self.lines), []
        return lines

    def test_a_flood(self) -> None:
        for number in range(1000):
            self.tell(number)
        self.assertEqual(self.told(), ["closing 0"])
        self.clock.advance(TOLD_EVERY_S)
        self.assertEqual(self.told(), ["closing 999 (the last of 999 in 60 s)"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_line_a_minute(self) -> None:
        for _ in range(600):
            self.tell()
            self.clock.advance(1)
        told = self.told()
        self.assertEqual(len(told), 11)
        self.assertEqual(set(told[1:]), {"closing a (the last of 59 in 60 s)", "closing a (the last of 60 in 60 s)"})

    def test_what_is_rare_is_told_as_it_is(self) -> None:
        for _ in range(3):
            self.tell()
            self.assertEqual(self.told(), ["closing a"])
            self.assertEqual(self.clock.getDelayedCalls(), [])
            self.clock.advance(TOLD_EVERY_S)
        self.tell()
        self.clock.advance(1)
        self.tell("b")
        self.assertEqual(self.told(), ["closing a"])
        self.clock.advance(TOLD_EVERY_S)
        self.assertEqual(self.told(), ["closing b"])

    def test_kinds(self) -> None:
        for _ in range(3):
            self.tell()
            self.tell(text="dropping {who}")
        self.assertEqual(self.told(), ["closing a", "dropping a"])

    def test_braces_of_a_peer(self) -> None:
        for _ in range(3):
            self.tell("{x} {0}")
        self.clock.advance(TOLD_EVERY_S)
        self.assertEqual(self.told(), ["closing {x} {0}", "closing {x} {0} (the last of 2 in 60 s)"])

    def test_not_started(self) -> None:
        """What was counted is told with the next one."""
        self.rare = RareLines(self.clock.seconds)
        for _ in range(3):
            self.tell()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.advance(TOLD_EVERY_S + 5)
        self.tell("b")
        self.tell("c")
        self.assertEqual(self.told(), ["closing a", "closing b (the last of 3 in 65 s)"])
        self.rare.stop()

    def test_stop(self) -> None:
        for _ in range(3):
            self.tell()
        self.rare.stop()
        self.assertEqual(self.told(), ["closing a", "closing a (the last of 2 in 0 s)"])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.rare.stop()
        self.assertEqual(self.told(), [])

    def test_clock_set_back(self) -> None:
        self.tell()
        self.clock.rightNow -= 3600
        self.tell()
        self.assertEqual(len(self.told()), 2)
