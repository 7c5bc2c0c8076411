"""Tests of L{openclaw.sessions.store_wait}; what a run makes of it is in C{test_runs.py} and C{test_work.py}."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from openclaw.errors import StoreError
from openclaw.sessions.store_wait import STORE_TIMEOUT_S, in_time


class InTimeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.addCleanup(lambda: self.assertEqual([], self.clock.getDelayedCalls()))

    def test_answers(self) -> None:
        self.assertEqual(1, self.successResultOf(in_time(succeed(1), self.clock)))
        answer: Deferred[int] = Deferred()
        waiting = in_time(answer, self.clock)
        self.clock.advance(STORE_TIMEOUT_S - 0.1)
        answer.callback(2)
        self.assertEqual(2, self.successResultOf(waiting))

    def test_failure(self) -> None:
        answer: Deferred[int] = Deferred()
        waiting = in_time(answer, self.clock)
        answer.errback(StoreError("the disk is full", code="store_full"))
        self.assertEqual("store_full", self.failureResultOf(waiting, StoreError).value.code)

    def test_too_late(self) -> None:
        answer: Deferred[int] = Deferred()
        waiting = in_time(answer, self.clock)
        self.clock.advance(STORE_TIMEOUT_S)
        error = self.failureResultOf(waiting, StoreError).value
        self.assertEqual(("store_timeout", "the store did not answer in time"), (error.code, error.message))
        # The store answers yet, and nobody is disturbed.
        answer.callback(1)

    def test_cancelled(self) -> None:
        waiting = in_time(Deferred(), self.clock)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
