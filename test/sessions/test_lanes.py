"""Tests of L{openclaw.sessions.lanes}."""

from __future__ import annotations

import gc
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from openclaw.errors import Overloaded
from openclaw.sessions.lanes import OVERLOADED_RETRY_AFTER_S, LaneLimits, Lanes, Slot


class _LaneTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.limits = LaneLimits(2, 10)
        self.lanes = Lanes(lambda: self.limits)
        self.order: list[str] = []

    def enter(self, name: str, session: str | None = None) -> Deferred[Slot]:
        """Enter; when let in, C{name} is noted."""

        def let_in(slot: Slot) -> Slot:
            self.order.append(name)
            return slot

        return self.lanes.enter(session).addCallback(let_in)

    def slot(self, session: str | None = None) -> Slot:
        return self.successResultOf(self.enter("-", session))

    def assert_empty(self) -> None:
        self.assertTrue(self.lanes.is_empty, (self.lanes.running, self.lanes.waiting))


class LaneTests(_LaneTestCase):
    def test_a_lane_of_its_own(self) -> None:
        """It is taken by the time the next run has the session's, which may have to wait for it."""
        slot = self.slot("s")
        seen: list[bool] = []
        following = self.enter("next", "s").addCallback(lambda other: seen.append(self.lanes.is_busy("own")) or other)
        slot.take_own("own")
        self.assertEqual([True], seen)
        slot.leave()
        self.successResultOf(following).leave()
        self.assert_empty()

    def test_free(self) -> None:
        slot = self.slot("s")
        self.assertEqual((1, 0), (self.lanes.running, self.lanes.waiting))
        slot.leave()
        self.assert_empty()

    def test_one_session_in_order(self) -> None:
        waiting = [self.enter(name, "s") for name in "abcd"]
        self.assertEqual(["a"], self.order)
        self.assertEqual((1, 3), (self.lanes.running, self.lanes.waiting))
        for deferred in waiting:
            self.successResultOf(deferred).leave()
        self.assertEqual(["a", "b", "c", "d"], self.order)
        self.assert_empty()

    def test_sessions_do_not_wait_for_each_other(self) -> None:
        self.enter("a", "s")
        self.enter("b", "s")
        self.enter("c", "t")
        self.assertEqual(["a", "c"], self.order)

    def test_runs_without_a_session_wait_for_nobody(self) -> None:
        self.enter("a")
        self.enter("b")
        self.assertEqual(["a", "b"], self.order)

    def test_slots_in_order(self) -> None:
        waiting = [self.enter(name, name) for name in "abcde"]
        self.assertEqual(["a", "b"], self.order)
        self.assertEqual((2, 3), (self.lanes.running, self.lanes.waiting))
        self.successResultOf(waiting[1]).leave()
        self.assertEqual(["a", "b", "c"], self.order)
        for index in (0, 2, 3, 4):
            self.successResultOf(waiting[index]).leave()
        self.assertEqual(list("abcde"), self.order)
        self.assert_empty()

    def test_who_waits_for_its_session_takes_no_slot(self) -> None:
        a = self.enter("a", "s")
        self.enter("b", "s")
        self.enter("c", "t")
        self.enter("d", "u")
        self.assertEqual(["a", "c"], self.order)
        # d has waited for a slot all the time; b begins to when its session is free.
        self.successResultOf(a).leave()
        self.assertEqual(["a", "c", "d"], self.order)

    def test_cancel_while_waiting_for_the_session(self) -> None:
        a, b, c = (self.enter(name, "s") for name in "abc")
        b.cancel()
        self.failureResultOf(b, CancelledError)
        self.assertEqual((1, 1), (self.lanes.running, self.lanes.waiting))
        self.successResultOf(a).leave()
        self.assertEqual(["a", "c"], self.order)
        self.successResultOf(c).leave()
        self.assert_empty()

    def test_cancel_while_waiting_for_a_slot_passes_the_session_on(self) -> None:
        first, second = self.slot("x"), self.slot("y")
        b, c = self.enter("b", "s"), self.enter("c", "s")
        b.cancel()
        self.failureResultOf(b, CancelledError)
        self.assertEqual((2, 1), (self.lanes.running, self.lanes.waiting))
        first.leave()
        self.successResultOf(c).leave()
        second.leave()
        self.assert_empty()

    def test_cancel_the_last_one_waiting_for_a_slot(self) -> None:
        slots = [self.slot("x"), self.slot("y")]
        b = self.enter("b", "s")
        b.cancel()
        self.failureResultOf(b, CancelledError)
        self.assertFalse(self.lanes.is_busy("s"))
        for slot in slots:
            slot.leave()
        self.assert_empty()

    def test_leave_twice(self) -> None:
        a, b = self.slot("s"), self.slot("t")
        waiting = [self.enter("c", "s"), self.enter("d", "s")]
        a.leave()
        a.leave()
        self.assertEqual((2, 1), (self.lanes.running, self.lanes.waiting))
        b.leave()
        b.leave()
        self.successResultOf(waiting[0]).leave()
        self.successResultOf(waiting[1]).leave()
        self.assert_empty()

    def test_pause_frees_the_slot_and_keeps_the_session(self) -> None:
        a, b = self.slot("s"), self.slot("t")
        third, same = self.enter("c", "u"), self.enter("d", "s")
        a.pause()
        self.assertEqual(["-", "-", "c"], self.order)
        a.pause()
        self.assertEqual(2, self.lanes.running)
        self.assertNoResult(same)
        resumed = a.resume()
        self.assertNoResult(resumed)
        b.leave()
        self.successResultOf(resumed)
        a.leave()
        self.successResultOf(third).leave()
        self.successResultOf(same).leave()
        self.assert_empty()

    def test_leave_while_paused(self) -> None:
        a = self.slot("s")
        a.pause()
        self.assertEqual(0, self.lanes.running)
        a.leave()
        self.assert_empty()

    def test_resume_waits_behind_those_before(self) -> None:
        a, b = self.slot("s"), self.slot("t")
        a.pause()
        self.slot("u")
        v = self.enter("v", "v")
        resumed = a.resume()
        b.leave()
        self.assertNoResult(resumed)
        self.successResultOf(v).leave()
        self.successResultOf(resumed)

    def test_resume_without_pause(self) -> None:
        a = self.slot("s")
        self.successResultOf(a.resume())
        self.assertEqual(1, self.lanes.running)
        a.leave()
        self.assert_empty()

    def test_cancelled_resume_leaves_the_place_paused(self) -> None:
        a, b = self.slot("s"), self.slot("t")
        a.pause()
        c = self.slot("u")
        resumed = a.resume()
        resumed.cancel()
        self.failureResultOf(resumed, CancelledError)
        b.leave()
        self.assertEqual(1, self.lanes.running)
        self.successResultOf(a.resume())
        a.leave()
        c.leave()
        self.assert_empty()

    def test_leave_gives_a_resume_up(self) -> None:
        a, b = self.slot("s"), self.slot("t")
        a.pause()
        c = self.slot("u")
        resumed = a.resume()
        a.leave()
        self.failureResultOf(resumed, CancelledError)
        b.leave()
        c.leave()
        self.assert_empty()
        self.assertRaises(RuntimeError, a.resume)

    def test_queue_bound(self) -> None:
        self.limits = LaneLimits(1, 2)
        self.slot("s")
        waiting = [self.enter("b", "s"), self.enter("c", "t")]
        for session in ("s", "u", None):
            error = self.failureResultOf(self.lanes.enter(session), Overloaded).value
            self.assertEqual(OVERLOADED_RETRY_AFTER_S, error.retry_after_s)
        waiting[0].cancel()
        self.failureResultOf(waiting[0], CancelledError)
        self.assertNoResult(self.lanes.enter("u"))

    def test_no_queue_at_all(self) -> None:
        self.limits = LaneLimits(1, 0)
        a = self.slot("s")
        self.failureResultOf(self.lanes.enter("t"), Overloaded)
        a.leave()
        self.slot("t").leave()
        self.assert_empty()

    def test_a_raised_limit_lets_the_oldest_in_first(self) -> None:
        self.limits = LaneLimits(1, 10)
        self.enter("a", "a")
        self.enter("b", "b")
        self.limits = LaneLimits(3, 10)
        self.enter("c", "c")
        self.assertEqual(["a", "b", "c"], self.order)

    def test_a_raised_limit_waits_for_nobody(self) -> None:
        self.limits = LaneLimits(1, 10)
        self.enter("a", "a")
        self.enter("b", "b")
        self.limits = LaneLimits(2, 10)
        self.lanes.limits_changed()
        self.assertEqual(["a", "b"], self.order)

    def test_a_lowered_limit_waits_for_runs_to_end(self) -> None:
        slots = [self.slot("a"), self.slot("b")]
        waiting = self.enter("c", "c")
        self.limits = LaneLimits(1, 10)
        slots[0].leave()
        self.assertNoResult(waiting)
        slots[1].leave()
        self.successResultOf(waiting)

    def test_a_thousand_that_leave_at_once_need_no_deep_stack(self) -> None:
        self.limits = LaneLimits(1, 3000)
        slots = [self.slot("s")]
        left: list[Any] = []
        for index in range(1000):
            for session in ("s", f"other{index}"):
                self.lanes.enter(session).addCallback(lambda slot: left.append(slot.leave()))
        slots[0].leave()
        self.assertEqual(2000, len(left))
        self.assert_empty()

    def test_thrown_away(self) -> None:
        """Lanes that nobody has any more, as those of a test that is over, go without a word."""
        self.limits = LaneLimits(1, 10)
        for session in ("s", "t", "t", "s"):
            self.enter("x", session)
        del self.lanes
        gc.collect()
        self.assertEqual([], self.flushLoggedErrors())

    def test_cancel_from_inside_a_hand_over(self) -> None:
        """Whoever gets the lane may cancel the one behind it, who has just been promised nothing."""
        a = self.slot("s")
        behind: list[Deferred[Slot]] = []

        def let_in(slot: Slot) -> None:
            slot.leave()
            behind[0].cancel()

        self.lanes.enter("s").addCallback(let_in)
        behind.append(self.lanes.enter("s"))
        a.leave()
        self.failureResultOf(behind[0], CancelledError)
        self.assert_empty()


class SessionOfAPlaceTests(_LaneTestCase):
    """Giving up the session lane alone, and taking one later."""

    def test_leave_session(self) -> None:
        a, b = self.slot("s"), self.enter("b", "s")
        self.assertTrue(a.has_session and self.lanes.is_busy("s"))
        a.leave_session()
        second = self.successResultOf(b)
        self.assertEqual((False, 2), (a.has_session, self.lanes.running))
        c = self.enter("c", "s")
        a.leave_session()
        a.leave()
        self.assertNoResult(c)
        second.leave()
        self.successResultOf(c).leave()
        self.assertFalse(self.lanes.is_busy("s"))
        self.assert_empty()

    def test_leave_session_when_all_is_left(self) -> None:
        a, b = self.slot("s"), self.enter("b", "s")
        c = self.enter("c", "s")
        a.leave()
        a.leave_session()
        self.successResultOf(b).leave()
        self.successResultOf(c).leave()
        self.assert_empty()

    def test_enter_session(self) -> None:
        holder, slot, behind = self.slot("s"), self.slot(), self.enter("behind", "t")
        entering = Deferred.fromCoroutine(slot.enter_session("s"))
        # Its slot is somebody else's meanwhile.
        other = self.successResultOf(behind)
        self.assertEqual((2, 1), (self.lanes.running, self.lanes.waiting))
        later = self.enter("later", "s")
        holder.leave()
        self.successResultOf(entering)
        self.assertEqual((True, 1), (slot.has_session, self.lanes.waiting))
        self.assertNoResult(later)
        slot.leave()
        self.successResultOf(later).leave()
        other.leave()
        self.assert_empty()

    def test_enter_session_cancelled(self) -> None:
        holder, slot = self.slot("s"), self.slot()
        entering = Deferred.fromCoroutine(slot.enter_session("s"))
        entering.cancel()
        self.failureResultOf(entering, CancelledError)
        self.assertFalse(slot.has_session)
        slot.leave()
        holder.leave()
        self.assert_empty()

    def test_enter_session_cancelled_while_waiting_for_a_slot(self) -> None:
        holder, slot = self.slot("s"), self.slot()
        entering = Deferred.fromCoroutine(slot.enter_session("s"))
        others = [self.slot("x")]
        holder.leave_session()
        others.append(holder)
        self.assertTrue(slot.has_session)
        entering.cancel()
        self.failureResultOf(entering, CancelledError)
        slot.leave()
        for other in others:
            other.leave()
        self.assert_empty()


_SESSIONS = (None, "a", "b", "c")
_STEPS = st.lists(
    st.tuples(
        st.sampled_from(("enter", "enter", "leave", "cancel", "pause", "resume", "leave session")), st.integers(0, 50)
    ),
    min_size=20,
    max_size=120,
)


class _Model:
    """
    What lanes are to do, said in the plainest way.

    Each run is one of: waiting for its session, waiting for a slot, running, paused, over.
    """

    def __init__(self, max_running: int, max_waiting: int) -> None:
        self.max_running = max_running
        self.max_waiting = max_waiting
        self.session: list[str | None] = []
        self.state: list[str] = []
        self.slot_queue: list[int] = []

    def runs_in(self, *states: str) -> list[int]:
        return [run for run, state in enumerate(self.state) if state in states]

    def waiting(self) -> int:
        return len(self.runs_in("for session", "for slot"))

    def holder(self, session: str | None) -> bool:
        return session is not None and any(
            self.session[run] == session for run in self.runs_in("for slot", "running", "paused", "resuming")
        )

    def enter(self, session: str | None) -> bool:
        must_wait = self.holder(session) or len(self.runs_in("running")) >= self.max_running
        if must_wait and self.waiting() >= self.max_waiting:
            return False
        self.session.append(session)
        self.state.append("for session")
        self.settle()
        return True

    def settle(self) -> None:
        for run in self.runs_in("for session"):
            if not self.holder(self.session[run]):
                self.state[run] = "for slot"
                self.slot_queue.append(run)
        while self.slot_queue and len(self.runs_in("running")) < self.max_running:
            self.state[self.slot_queue.pop(0)] = "running"

    def change(self, run: int, state: str) -> None:
        if run in self.slot_queue:
            self.slot_queue.remove(run)
        if self.state[run] == "running":
            self.state[run] = state
            # A slot that is freed goes to those that wait for one already, before the session is passed on.
            while self.slot_queue and len(self.runs_in("running")) < self.max_running:
                self.state[self.slot_queue.pop(0)] = "running"
        self.state[run] = state
        if state == "resuming":
            self.slot_queue.append(run)
        self.settle()


class InterleavingTests(SynchronousTestCase):
    @settings(max_examples=150, derandomize=True, deadline=None, database=None)
    @given(st.integers(1, 3), st.integers(0, 5), _STEPS)
    def test_against_the_model(self, max_running: int, max_waiting: int, steps: list[tuple[str, int]]) -> None:
        lanes = Lanes(lambda: LaneLimits(max_running, max_waiting))
        model = _Model(max_running, max_waiting)
        entering: list[Deferred[Slot]] = []
        slots: dict[int, Slot] = {}
        resuming: dict[int, Deferred[None]] = {}
        admitted: list[int] = []

        def enter(session: str | None) -> None:
            run = len(entering)
            deferred = lanes.enter(session)
            if not model.enter(session):
                self.failureResultOf(deferred, Overloaded)
                return
            entering.append(deferred)

            def let_in(slot: Slot) -> None:
                slots[run] = slot
                admitted.append(run)

            deferred.addCallbacks(let_in, lambda failure: failure.trap(CancelledError))

        def step(kind: str, number: int) -> None:
            candidates = {
                "cancel": model.runs_in("for session", "for slot", "resuming"),
                "leave": model.runs_in("running", "paused", "resuming"),
                "pause": model.runs_in("running"),
                "resume": model.runs_in("paused"),
                "leave session": model.runs_in("running", "paused", "resuming"),
            }[kind]
            if not candidates:
                return
            run = candidates[number % len(candidates)]
            if kind == "cancel" and model.state[run] == "resuming":
                resuming[run].cancel()
                model.change(run, "paused")
            elif kind == "cancel":
                entering[run].cancel()
                model.change(run, "over")
            elif kind == "leave":
                slots[run].leave()
                model.change(run, "over")
            elif kind == "leave session":
                slots[run].leave_session()
                model.session[run] = None
                model.settle()
            elif kind == "pause":
                slots[run].pause()
                model.change(run, "paused")
            else:
                resuming[run] = slots[run].resume()
                resuming[run].addErrback(lambda failure: failure.trap(CancelledError) and None)
                model.change(run, "resuming")

        def check() -> None:
            # Asking a slot, by its resume, would change it.
            running = [run for run, slot in slots.items() if slot._is_running]
            self.assertEqual(set(model.runs_in("running")), set(running))
            self.assertEqual((len(running), model.waiting()), (lanes.running, lanes.waiting))
            self.assertLessEqual(lanes.running, max_running)
            held = [model.session[run] for run in slots if model.state[run] != "over" and model.session[run]]
            self.assertEqual(len(held), len(set(held)))
            for session in _SESSIONS:
                of_session = [run for run in admitted if session is not None and model.session[run] == session]
                self.assertEqual(sorted(of_session), of_session)

        for kind, number in steps:
            if kind == "enter":
                enter(_SESSIONS[number % len(_SESSIONS)])
            else:
                step(kind, number)
            check()
        while model.runs_in("running", "paused", "resuming"):
            step("leave", 0)
            check()
        self.assertEqual([], model.runs_in("for session", "for slot"))
        self.assertTrue(lanes.is_empty, (lanes.running, lanes.waiting))
