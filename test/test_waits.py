"""Tests of L{openclaw.waits}; what a run makes of a late store is in C{test_runs.py} and C{test_work.py}."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred, TimeoutError, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from openclaw.errors import OpenClawError, ProviderRejected, StoreError
from openclaw.waits import STORE_TIMEOUT_S, Promise, in_time, looping, now_ms, pause, within, without_frames


class PromiseTests(SynchronousTestCase):
    def test_only_the_first_counts(self) -> None:
        promise: Promise[int] = Promise()
        waiting = promise.wait()
        self.assertFalse(promise.has_fired)
        promise.fire(1)
        promise.fire(2)
        promise.fail(OpenClawError("late"))
        self.assertEqual((self.successResultOf(waiting), promise.has_fired), (1, True))
        self.assertEqual(self.successResultOf(promise.wait()), 1)

    def test_who_gives_up_does_not_disturb_the_others(self) -> None:
        promise: Promise[int] = Promise()
        one, other = (promise.wait() for _ in range(2))
        one.cancel()
        self.failureResultOf(one, CancelledError)
        promise.fail(OpenClawError("no"))
        self.failureResultOf(other, OpenClawError)

    def test_who_is_woken_makes_another_give_up(self) -> None:
        promise: Promise[int] = Promise()
        one, other, third = (promise.wait() for _ in range(3))
        one.addCallback(lambda _: other.cancel())
        promise.fire(1)
        self.failureResultOf(other, CancelledError)
        self.assertEqual(self.successResultOf(third), 1)

    def test_abandoned(self) -> None:
        abandoned: list[bool] = []
        promise: Promise[int] = Promise(lambda: abandoned.append(True))
        one, other = (promise.wait() for _ in range(2))
        one.cancel()
        self.assertEqual(abandoned, [])
        other.cancel()
        self.assertEqual(abandoned, [True])
        for waiting in (one, other):
            self.failureResultOf(waiting, CancelledError)

    def test_not_abandoned_when_it_has_fired(self) -> None:
        promise: Promise[int] = Promise(lambda: self.fail("it was there"))
        one, other = (promise.wait() for _ in range(2))
        one.addCallback(lambda _: other.cancel())
        promise.fire(1)
        self.failureResultOf(other, CancelledError)

    def test_each_has_an_error_of_his_own(self) -> None:
        """Whoever raises one adds frames to it, which hold what they know."""
        promise: Promise[int] = Promise()
        early = promise.wait()
        promise.fail(ProviderRejected("no", status=404, param="x"))
        errors = [self.failureResultOf(waiting, ProviderRejected).value for waiting in (early, promise.wait())]
        self.assertIsNot(errors[0], errors[1])
        for error in errors:
            self.assertEqual(("no", 404, "x", ("no",)), (error.message, error.http_status, error.param, error.args))

    def test_nothing_is_a_value(self) -> None:
        promise: Promise[None] = Promise()
        promise.fire(None)
        self.assertIsNone(self.successResultOf(promise.wait()))


class ClockCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.addCleanup(lambda: self.assertEqual([], self.clock.getDelayedCalls()))


class WithinTests(ClockCase):
    def test_in_time(self) -> None:
        answer: Deferred[int] = Deferred()
        waiting = within(answer, 3, self.clock)
        self.clock.advance(2.9)
        answer.callback(1)
        self.assertEqual(self.successResultOf(waiting), 1)

    def test_too_late(self) -> None:
        given_up: list[Deferred[int]] = []
        waiting = within(Deferred(given_up.append), 3, self.clock)
        self.clock.advance(3)
        self.failureResultOf(waiting, TimeoutError)
        self.assertEqual(given_up, [waiting])

    def test_told_what_then(self) -> None:
        waiting: Deferred[int] = within(Deferred(), 3, self.clock, lambda _, timeout_s: int(timeout_s))
        self.clock.advance(3)
        self.assertEqual(self.successResultOf(waiting), 3)

    def test_coroutine(self) -> None:
        promise: Promise[int] = Promise()
        late = within(promise.wait(), 1, self.clock)
        waiting = within(promise.wait(), 3, self.clock)
        self.clock.advance(1)
        self.failureResultOf(late, TimeoutError)
        promise.fire(1)
        self.assertEqual(self.successResultOf(waiting), 1)

    def test_cancelled(self) -> None:
        waiting = within(Deferred[int](), 3, self.clock)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)


class PauseTests(ClockCase):
    def test_passes(self) -> None:
        waiting = pause(2, self.clock)
        self.clock.advance(1)
        self.assertNoResult(waiting)
        self.clock.advance(1)
        self.assertIsNone(self.successResultOf(waiting))

    def test_cancelled(self) -> None:
        waiting = pause(2, self.clock)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)


class LoopingTests(ClockCase):
    def test_waits_for_what_it_calls(self) -> None:
        called: list[Deferred[None]] = []

        def call() -> Deferred[None]:
            called.append(Deferred())
            return called[-1]

        calls = looping(call, self.clock)
        ended = calls.start(2)
        self.clock.pump([2, 2])
        self.assertEqual(len(called), 1)
        called[0].callback(None)
        self.clock.advance(2)
        self.assertEqual(len(called), 2)
        calls.stop()
        called[1].callback(None)
        self.successResultOf(ended)


class NowTests(SynchronousTestCase):
    def test_whole_milliseconds(self) -> None:
        clock = Clock()
        clock.advance(1.2348)
        self.assertEqual(now_ms(clock), 1234)


class WithoutFramesTests(SynchronousTestCase):
    def test_all_three(self) -> None:
        try:
            try:
                raise ValueError("x")
            except ValueError as error:
                raise OpenClawError("no") from error
        except OpenClawError as error:
            raised = error
        self.assertIsNotNone(raised.__traceback__)
        self.assertIs(without_frames(raised), raised)
        self.assertEqual((raised.__traceback__, raised.__context__, raised.__cause__), (None, None, None))


class InTimeTests(ClockCase):
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
