"""Tests of L{openclaw.parts}."""

from __future__ import annotations

from functools import partial

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from openclaw.parts import STEP_DEADLINE_S, Parts


class PartsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.parts = Parts(self.clock, ("door", "lights", "house"))
        self.stopped: list[str] = []
        self.addCleanup(lambda: self.assertEqual([], self.clock.getDelayedCalls()))

    def add(self, name: str, *, saying: str | None = None) -> None:
        self.parts.add(name, partial(self.stopped.append, saying or name))

    def stop(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.parts.stop())

    def test_declared_order(self) -> None:
        """Not the one in which they were opened; parts of one name go as they came; what is not open is left out."""
        self.add("house")
        self.add("door", saying="front door")
        self.add("door", saying="back door")
        self.successResultOf(self.stop())
        self.assertEqual(self.stopped, ["front door", "back door", "house"])

    def test_once(self) -> None:
        self.add("door")
        self.successResultOf(self.stop())
        self.successResultOf(self.stop())
        self.assertEqual(self.stopped, ["door"])

    def test_name_that_has_no_place(self) -> None:
        self.assertRaises(KeyError, self.add, "cellar")

    def test_each_is_waited_for(self) -> None:
        closing: Deferred[None] = Deferred()

        async def close() -> None:
            await closing

        self.parts.add("door", close)
        self.add("house")
        stopping = self.stop()
        self.assertEqual(self.stopped, [])
        closing.callback(None)
        self.successResultOf(stopping)
        self.assertEqual(self.stopped, ["house"])

    def test_what_hangs_is_left_behind(self) -> None:
        self.parts.add("door", Deferred)
        self.parts.add("lights", Deferred, lambda: 3.0)
        self.add("house")
        stopping = self.stop()
        self.clock.advance(STEP_DEADLINE_S)
        self.assertEqual(self.stopped, [])
        self.clock.advance(3.0)
        self.successResultOf(stopping)
        self.assertEqual(self.stopped, ["house"])

    def test_what_fails_keeps_nobody_from_stopping(self) -> None:
        self.parts.add("door", lambda: 1 / 0)
        self.parts.add("door", lambda: fail(CancelledError()))
        self.parts.add("lights", lambda: fail(ValueError()))
        self.add("house")
        self.successResultOf(self.stop())
        self.assertEqual(self.stopped, ["house"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError, CancelledError, ValueError)), 3)
