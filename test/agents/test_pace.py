"""Tests of L{openclaw.agents.pace}."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from openclaw.agents.pace import MAX_BREAKERS, SLICE_PAUSE_S, SLICE_RUNS, Pace, Permit, Wanted
from openclaw.agents.paces import Paces
from openclaw.config.models import LocalModelConfig, ModelsConfig, ProviderConfig
from openclaw.errors import (
    OpenClawError,
    ProviderAuthFailed,
    ProviderError,
    ProviderFailed,
    ProviderOverloaded,
    ProviderRateLimited,
)

A, B = "p/a", "p/b"


def _models(**provider: Any) -> ModelsConfig:
    return ModelsConfig(providers={"p": ProviderConfig("http://127.0.0.1/v1", **provider)})


class _PaceTestCase(SynchronousTestCase):
    limits: Mapping[str, Any] = {}

    def setUp(self) -> None:
        self.clock = Clock()
        self.models = _models(**self.limits)
        self.pace = Pace("p", lambda: self.models, self.clock)
        self.order: list[str] = []
        self.log: list[LogEvent] = []
        globalLogPublisher.addObserver(self.log.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.log.append)

    def take(self, ref: str = A, **wanted: Any) -> Permit:
        permit = self.pace.take(Wanted(ref, "s", **wanted))
        assert permit is not None
        return permit

    def must_wait(self, ref: str = A, **wanted: Any) -> bool:
        permit = self.pace.take(Wanted(ref, "s", **wanted))
        if permit is not None:
            permit.leave()
        return permit is None

    def wait(self, name: str, ref: str = A, **wanted: Any) -> Deferred[Permit]:
        """Wait in the share that the first letter names; the name is noted when it may call."""

        def come(permit: Permit) -> Permit:
            self.order.append(name)
            return permit

        return self.pace.wait(Wanted(ref, name[0], **wanted)).addCallback(come)

    def ends(self, error: OpenClawError, permit: Permit | None = None, **told: Any) -> None:
        permit = permit or self.take()
        permit.failed(error, **{"other_key": False, "is_last": True, **told})
        permit.leave()

    def refused(self, waiting: Deferred[Permit]) -> ProviderError:
        error = self.failureResultOf(waiting, ProviderOverloaded).value
        assert isinstance(error, ProviderOverloaded)
        self.assertEqual(("overloaded", 503), (error.code, error.http_status))
        return error

    def assert_idle(self) -> None:
        self.assertTrue(self.pace.is_idle)
        self.assertEqual([], self.clock.getDelayedCalls())


class UnlimitedTests(_PaceTestCase):
    def test_any_number(self) -> None:
        permits = [self.take() for _ in range(1000)]
        self.assertEqual(1000, self.pace.in_use)
        for permit in permits:
            permit.leave()
            permit.leave()
        self.assert_idle()

    def test_longest_wait(self) -> None:
        self.assertEqual(300, self.pace.longest_wait_s(Wanted(A, "s")))
        self.assertEqual(5, self.pace.longest_wait_s(Wanted(A, "s", has_other=True)))
        self.models = _models(max_wait_seconds=2)
        self.assertEqual(2, self.pace.longest_wait_s(Wanted(A, "s")))
        self.assertEqual(2, self.pace.longest_wait_s(Wanted(A, "s", has_other=True)))


class LimitTests(_PaceTestCase):
    limits: Mapping[str, Any] = {"max_concurrent": 1}

    def test_fair_by_share(self) -> None:
        permit = self.take()
        self.assertTrue(self.must_wait())
        waiting = {name: self.wait(name) for name in ("a1", "a2", "a3", "b1")}
        permit.leave()
        for expected in (["a1"], ["a1", "b1"], ["a1", "b1", "a2"], ["a1", "b1", "a2", "a3"]):
            self.assertEqual(expected, self.order)
            self.successResultOf(waiting[expected[-1]]).leave()
        self.assert_idle()

    def test_nobody_is_passed(self) -> None:
        permit = self.take()
        waiting = self.wait("a")
        permit.leave()
        self.assertTrue(self.must_wait())
        self.successResultOf(waiting).leave()
        self.assertFalse(self.must_wait())

    def test_cancel(self) -> None:
        permit = self.take()
        first, second = self.wait("a"), self.wait("b")
        first.cancel()
        self.failureResultOf(first, CancelledError)
        permit.leave()
        self.successResultOf(second).leave()
        self.assert_idle()

    def test_a_thousand_that_leave_at_once(self) -> None:
        permit = self.take()
        waiting = [self.wait("a").addCallback(lambda permit: permit.leave()) for _ in range(2000)]
        permit.leave()
        # In slices, so that nothing else waits for all of them.
        self.assertEqual(SLICE_RUNS, len(self.order))
        self.clock.pump([SLICE_PAUSE_S] * (2000 // SLICE_RUNS))
        for one in waiting:
            self.successResultOf(one)
        self.assert_idle()

    def test_reload(self) -> None:
        permits = [self.take()]
        waiting = [self.wait(name) for name in "abcd"]
        self.models = _models(max_concurrent=3)
        self.pace.limits_changed()
        self.assertEqual(["a", "b"], self.order)
        self.models = _models(max_concurrent=1)
        self.pace.limits_changed()
        for permit in (*permits, self.successResultOf(waiting[0])):
            permit.leave()
        self.assertEqual(["a", "b"], self.order)
        self.successResultOf(waiting[1]).leave()
        self.assertEqual(["a", "b", "c"], self.order)
        self.models = ModelsConfig()
        self.pace.limits_changed()
        self.assertEqual(["a", "b", "c", "d"], self.order)
        for one in waiting[2:]:
            self.successResultOf(one).leave()
        self.assert_idle()

    def test_refusal(self) -> None:
        error = self.pace.refusal(A)
        self.assertEqual(2, error.retry_after_s)
        self.assertIn("provider p is busy", error.message)


class HoldTests(_PaceTestCase):
    def limited(self, retry_after_s: float | None = None, permit: Permit | None = None, **told: Any) -> None:
        self.ends(ProviderRateLimited("slow down", retry_after_s=retry_after_s), permit, **told)

    def test_all_are_held(self) -> None:
        self.limited(3)
        self.assertEqual((True, True), (self.must_wait(), self.must_wait(B)))
        waiting = self.wait("a"), self.wait("b", B)
        self.clock.advance(2.99)
        self.assertEqual([], self.order)
        self.clock.advance(0.01)
        self.assertEqual(["a"], self.order)
        for one in waiting:
            self.successResultOf(one).leave()
        self.assert_idle()

    def test_then_one_two_four(self) -> None:
        self.limited(3)
        waiting = [self.wait(f"{number:02}") for number in range(10)]
        self.clock.advance(3)
        permits: list[Permit] = []
        for expected in (1, 3, 7, 10):
            self.assertEqual(expected, len(self.order))
            begun = [self.successResultOf(one) for one in waiting[len(permits) : expected]]
            permits += begun
            for permit in begun:
                permit.accepted()
        for permit in permits:
            permit.leave()
        self.assert_idle()
        self.assertFalse(self.pace._limited)
        self.assertEqual([False, False], [self.must_wait(), self.must_wait()])

    def test_a_server_that_is_slow_to_begin(self) -> None:
        """A refusal comes at once; after a second of silence the next ones follow."""
        self.limited(1)
        waiting = [self.wait(name) for name in "abcd"]
        self.clock.advance(1)
        self.assertEqual(["a"], self.order)
        self.clock.advance(0.9)
        self.assertEqual(["a"], self.order)
        self.clock.advance(0.1)
        self.assertEqual(["a", "b", "c"], self.order)
        self.successResultOf(waiting[1]).accepted()
        self.assertEqual(["a", "b", "c", "d"], self.order)
        for index in (0, 2, 3):
            self.successResultOf(waiting[index]).leave()
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_a_probe_that_is_stopped(self) -> None:
        self.limited(1)
        waiting = [self.wait(name) for name in "ab"]
        self.clock.advance(1)
        self.successResultOf(waiting[0]).leave()
        self.assertEqual(["a", "b"], self.order)
        self.successResultOf(waiting[1]).leave()

    def test_a_probe_that_is_limited(self) -> None:
        self.limited(1)
        waiting = [self.wait(name) for name in "ab"]
        self.clock.advance(1)
        self.limited(2, self.successResultOf(waiting[0]))
        self.clock.advance(1.9)
        self.assertEqual(["a"], self.order)
        self.clock.advance(0.1)
        self.successResultOf(waiting[1]).leave()
        self.assert_idle()

    def test_those_under_way_count_once(self) -> None:
        """Ten calls that are refused together make one hold, the longest that any of them asks for."""
        permits = [self.take() for _ in range(10)]
        for permit in permits[:8]:
            self.limited(permit=permit)
        self.assertEqual(0.25, self.pace.held_s(Wanted(A, "s")))
        self.limited(2, permits[8])
        self.limited(1, permits[9])
        self.assertEqual(2, self.pace.held_s(Wanted(A, "s")))

    def test_without_a_time(self) -> None:
        for held_s in (0.25, 1, 1):
            self.limited()
            self.assertEqual(held_s, self.pace.held_s(Wanted(A, "s")))
            self.clock.advance(held_s)
        permit = self.take()
        permit.accepted()
        permit.leave()
        self.limited()
        self.assertEqual(0.25, self.pace.held_s(Wanted(A, "s")))

    def test_longer_than_a_minute(self) -> None:
        """Nobody is held: each run is told by the server."""
        self.limited(60.5)
        self.assertFalse(self.must_wait())
        self.limited(60)
        self.assertTrue(self.must_wait())

    def test_other_key(self) -> None:
        self.limited(3, other_key=True)
        self.assertFalse(self.must_wait())

    def test_overloaded(self) -> None:
        self.ends(ProviderOverloaded("busy"))
        self.assertFalse(self.must_wait())
        self.ends(ProviderOverloaded("busy", retry_after_s=3), is_last=False)
        self.assertTrue(self.must_wait())

    def test_fallback_at_the_same_server(self) -> None:
        self.limited(30)
        self.assertTrue(self.must_wait(A, is_fallback=True))
        permit = self.take(B, is_fallback=True)
        self.assertEqual(0, self.pace.held_s(Wanted(B, "s", is_fallback=True)))
        self.limited(30, permit)
        self.assertTrue(self.must_wait(B, is_fallback=True))
        self.clock.advance(30)
        self.assertFalse(self.must_wait())

    def test_fallback_waits_for_room(self) -> None:
        self.models = _models(max_concurrent=1)
        self.limited(30)
        permit = self.take(B, is_fallback=True)
        self.assertTrue(self.must_wait(B, is_fallback=True))
        permit.leave()
        self.assertFalse(self.must_wait(B, is_fallback=True))

    def test_all_give_up(self) -> None:
        self.limited(3)
        waiting = self.wait("a")
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assert_idle()

    def test_refusal(self) -> None:
        self.limited(30)
        self.clock.advance(1)
        error = self.pace.refusal(A)
        self.assertEqual(29, error.retry_after_s)
        self.assertIn("less often", error.message)

    def test_log(self) -> None:
        """A line when it begins, and none for each run."""
        for _ in range(5):
            self.limited(1)
            self.clock.advance(1)
        told = [event for event in self.log if "hold_s" in event]
        self.assertEqual([("p", 1)], [(event["provider"], event["hold_s"]) for event in told])


class LeftAloneTests(_PaceTestCase):
    def break_down(self) -> None:
        for _ in range(5):
            self.ends(ProviderFailed("refused"))

    def test_one_probe(self) -> None:
        self.break_down()
        self.assertTrue(self.must_wait())
        waiting = [self.wait(name) for name in "abc"]
        self.clock.advance(9.9)
        self.assertEqual([], self.order)
        self.clock.advance(0.1)
        self.assertEqual(["a"], self.order)
        probe = self.successResultOf(waiting[0])
        self.assertTrue(probe.is_probe)
        probe.accepted()
        self.assertEqual(["a"], self.order)
        probe.heard()
        self.assertEqual(["a", "b", "c"], self.order)
        probe.leave()
        for one in waiting[1:]:
            permit = self.successResultOf(one)
            self.assertFalse(permit.is_probe)
            permit.leave()
        self.assert_idle()

    def test_probe_fails(self) -> None:
        """Who waited for it is told at once, and who comes then waits for the next one."""
        self.break_down()
        waiting = [self.wait(name) for name in "abc"]
        self.clock.advance(10)
        self.ends(ProviderFailed("refused again"), self.successResultOf(waiting[0]))
        self.clock.advance(SLICE_PAUSE_S)
        for one in waiting[1:]:
            error = self.refused(one)
            self.assertAlmostEqual(10, error.retry_after_s or 0, places=1)
            self.assertEqual("not asked for now, after failures in a row: refused again", error.message)
        later = self.wait("d")
        self.clock.advance(10)
        self.successResultOf(later).leave()

    def test_many_that_waited_for_it(self) -> None:
        """They are refused in slices; who gives up before is not refused."""
        self.break_down()
        waiting = [self.wait(f"{number}") for number in range(2 * SLICE_RUNS + 1)]
        self.clock.advance(10)
        self.ends(ProviderFailed("refused again"), self.successResultOf(waiting[0]))
        waiting[-1].cancel()
        self.failureResultOf(waiting[-1], CancelledError)
        self.assertNoResult(waiting[1])
        self.assertFalse(self.pace.is_idle)
        self.clock.advance(SLICE_PAUSE_S)
        for one in waiting[1 : 1 + SLICE_RUNS]:
            self.refused(one)
        self.assertNoResult(waiting[1 + SLICE_RUNS])
        self.clock.advance(SLICE_PAUSE_S)
        for one in waiting[1 + SLICE_RUNS : -1]:
            self.refused(one)
        self.assert_idle()

    def test_many_when_it_is_well(self) -> None:
        self.break_down()
        waiting = [self.wait(f"{number}") for number in range(2 * SLICE_RUNS)]
        self.clock.advance(10)
        self.successResultOf(waiting[0]).heard()
        self.assertEqual(1 + SLICE_RUNS, len(self.order))
        self.assertTrue(self.must_wait())
        self.clock.advance(SLICE_PAUSE_S)
        self.assertEqual(2 * SLICE_RUNS, len(self.order))
        self.assertFalse(self.must_wait())

    def test_probe_is_stopped(self) -> None:
        self.break_down()
        waiting = [self.wait(name) for name in "ab"]
        self.clock.advance(10)
        self.successResultOf(waiting[0]).leave()
        probe = self.successResultOf(waiting[1])
        self.assertTrue(probe.is_probe)
        probe.leave()
        self.assert_idle()

    def test_nobody_waits(self) -> None:
        self.break_down()
        self.assertEqual([], self.clock.getDelayedCalls())
        self.clock.advance(10)
        probe = self.take()
        self.assertTrue(probe.is_probe and self.must_wait())
        self.ends(ProviderAuthFailed("a 4xx says that it is well"), probe)
        self.assertFalse(self.must_wait())

    def test_limited_probe(self) -> None:
        self.break_down()
        self.clock.advance(10)
        self.ends(ProviderRateLimited("slow down", retry_after_s=1), self.take())
        self.clock.advance(1)
        self.assertFalse(self.take().is_probe)

    def test_those_with_another_model(self) -> None:
        self.break_down()
        self.refused(self.wait("a", has_other=True))
        self.clock.advance(10)
        self.assertTrue(self.take(has_other=True).is_probe)
        self.refused(self.wait("b", has_other=True))

    def test_in_a_row(self) -> None:
        for _ in range(3):
            for _ in range(4):
                self.ends(ProviderFailed("refused"))
            permit = self.take()
            permit.heard()
            permit.leave()
        for error in (ProviderRateLimited("1", retry_after_s=0), ProviderAuthFailed("2")):
            for _ in range(4):
                self.ends(ProviderFailed("refused"))
            self.ends(error)
        self.assertFalse(self.must_wait())

    def test_runs_and_not_calls(self) -> None:
        for _ in range(20):
            self.ends(ProviderFailed("refused"), is_last=False)
        self.assertFalse(self.must_wait())

    def test_each_model_for_itself(self) -> None:
        self.break_down()
        self.assertFalse(self.must_wait(B))
        waiting = self.wait("a")
        other = self.take(B)
        other.heard()
        self.assertEqual([], self.order)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        other.leave()
        self.assert_idle()

    def test_those_that_waited_for_a_slot(self) -> None:
        self.models = _models(max_concurrent=1)
        permits = [self.take()]
        waiting = [self.wait(f"{number}") for number in range(7)]
        other = self.wait("x", has_other=True)
        for one in waiting[:4]:
            self.ends(ProviderFailed("refused"), permits.pop())
            permits.append(self.successResultOf(one))
        self.ends(ProviderFailed("refused"), permits.pop())
        self.refused(other)
        self.assertEqual(4, len(self.order))
        self.assertTrue(self.must_wait())
        self.assertFalse(self.must_wait(B))
        self.clock.advance(10)
        probe = self.successResultOf(waiting[4])
        probe.heard()
        probe.leave()
        for one in waiting[5:]:
            self.successResultOf(one).leave()
        self.assert_idle()

    def test_bounded(self) -> None:
        for number in range(2 * MAX_BREAKERS):
            self.ends(ProviderFailed("refused"), self.take(f"p/{number}"))
        self.assertEqual(MAX_BREAKERS, len(self.pace._breakers))

    def test_log(self) -> None:
        self.break_down()
        for _ in range(3):
            self.clock.advance(10)
            self.ends(ProviderFailed("refused"), self.take())
        self.clock.advance(10)
        self.take().heard()
        told = [event["log_format"] for event in self.log if event.get("model") == A]
        self.assertEqual([True, False], ["left alone" in text for text in told])


class _Reacting:
    """Runs that go on within the very call that gives them their permit: they leave, come again, or stop others."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.clock = Clock()
        self.most: int | None = dice.choice((1, 1, 2, 3, None))
        self.pace = Pace("p", lambda: _models(max_concurrent=self.most), self.clock)
        self.waiting: list[Deferred[Permit]] = []
        self.permits: list[Permit] = []
        self.probes: list[Permit] = []
        self.depth = 0
        self.is_over = False

    def come(self) -> None:
        if self.depth > 5:
            return
        self.depth += 1
        ref, share = self.dice.choice((A, B)), self.dice.choice("xyz")
        other, fallback = self.dice.random() < 0.2, self.dice.random() < 0.2
        wanted = Wanted(ref, share, has_other=other, is_fallback=fallback)
        permit = self.pace.take(wanted)
        if permit is not None:
            self.got(permit)
        else:
            waiting = self.pace.wait(wanted)
            self.waiting.append(waiting)
            waiting.addBoth(self.waited, waiting).addCallbacks(self.got, self.refused)
        self.depth -= 1

    def waited(self, result: Permit, waiting: Deferred[Permit]) -> Permit:
        self.waiting.remove(waiting)
        return result

    def refused(self, failure: Failure) -> None:
        failure.trap(ProviderOverloaded, CancelledError)

    def got(self, permit: Permit) -> None:
        if permit.is_probe:
            self.probes.append(permit)
        self.check()
        choice = self.dice.random()
        if choice < 0.3 or self.is_over:
            self.leave(permit)
            return
        self.permits.append(permit)
        if choice < 0.4 and self.waiting:
            self.dice.choice(self.waiting).cancel()
        elif choice < 0.5:
            self.come()

    def leave(self, permit: Permit) -> None:
        is_last = self.dice.random() < 0.7
        kind = "hear" if self.is_over else self.dice.choice(("hear", "take", "limit", "break", "break", "nothing"))
        if kind == "hear":
            permit.heard()
        elif kind == "take":
            permit.accepted()
        elif kind == "limit":
            limited = ProviderRateLimited("slow", retry_after_s=self.dice.choice((None, 0.5, 3.0, 3600.0)))
            permit.failed(limited, other_key=self.dice.random() < 0.2, is_last=is_last)
        elif kind == "break":
            permit.failed(ProviderFailed("refused"), other_key=False, is_last=is_last)
        if permit in self.probes:
            self.probes.remove(permit)
        permit.leave()

    def check(self) -> None:
        assert self.most is None or self.pace.in_use <= self.most, "too many calls"
        refs = [permit.ref for permit in self.probes if permit.is_probe]
        assert len(refs) == len(set(refs)), "two probes of one model"

    def step(self) -> None:
        choice = self.dice.random()
        if choice < 0.4:
            self.come()
        elif choice < 0.75 and self.permits:
            self.leave(self.permits.pop(self.dice.randrange(len(self.permits))))
        elif choice < 0.8 and self.waiting:
            self.dice.choice(self.waiting).cancel()
        else:
            self.clock.advance(self.dice.choice((0, 0.01, 0.1, 1, 3, 10)))
        self.check()

    def finish(self) -> None:
        self.is_over = True
        for _ in range(400):
            while self.permits:
                self.leave(self.permits.pop())
            self.clock.advance(1)
            if not (self.permits or self.waiting):
                return
        raise AssertionError("somebody waits for ever")


class RandomTests(SynchronousTestCase):
    """Whatever happens: never more calls than allowed, nobody waits for ever, and nothing is left."""

    def test_who_reacts_at_once(self) -> None:
        for seed in range(300):
            runs = _Reacting(random.Random(seed))
            for _ in range(60):
                runs.step()
            runs.finish()
            runs.clock.advance(2)
            self.assertTrue(runs.pace.is_idle)
            self.assertEqual([], runs.clock.getDelayedCalls())

    @settings(max_examples=200, derandomize=True, deadline=None, database=None)
    @given(
        st.integers(1, 3),
        st.lists(
            st.tuples(
                st.sampled_from(
                    ("come", "come", "leave", "hear", "limit", "break", "break", "cancel", "tick", "reload")
                ),
                st.integers(0, 30),
            ),
            max_size=80,
        ),
    )
    def test_nobody_is_lost(self, most: int, steps: list[tuple[str, int]]) -> None:
        clock = Clock()
        models = [_models(max_concurrent=most)]
        pace = Pace("p", lambda: models[0], clock)
        waiting: list[Deferred[Permit]] = []
        permits: list[Permit] = []

        def collect() -> None:
            for one in [one for one in waiting if one.called]:
                waiting.remove(one)
                one.addCallbacks(permits.append, lambda failure: failure.trap(ProviderOverloaded, CancelledError))

        for kind, number in steps:
            if kind == "come":
                wanted = Wanted((A, B)[number % 2], "xyz"[number % 3], has_other=number % 5 == 0)
                permit = pace.take(wanted)
                if permit is None:
                    waiting.append(pace.wait(wanted))
                else:
                    permits.append(permit)
            elif kind == "tick":
                clock.advance((0.1, 1.0, 10.0)[number % 3])
            elif kind == "reload":
                models[0] = _models(max_concurrent=most + number % 2)
                pace.limits_changed()
            elif kind == "cancel" and waiting:
                waiting[number % len(waiting)].cancel()
            elif kind != "cancel" and permits:
                permit = permits.pop(number % len(permits))
                if kind == "hear":
                    permit.heard()
                elif kind == "limit":
                    limited = ProviderRateLimited("slow", retry_after_s=(None, 0.5, 3.0)[number % 3])
                    permit.failed(limited, other_key=False, is_last=False)
                elif kind == "break":
                    permit.failed(ProviderFailed("refused"), other_key=False, is_last=True)
                permit.leave()
            collect()
            self.assertEqual(len(permits), pace.in_use)
            self.assertLessEqual(len(permits), most + 1)
        while permits or waiting:
            for permit in permits:
                permit.heard()
                permit.leave()
            permits.clear()
            clock.advance(3.5)
            before = len(waiting)
            collect()
            self.assertTrue(permits or not waiting or len(waiting) < before or clock.getDelayedCalls())
        self.assertTrue(pace.is_idle)
        self.assertEqual([], clock.getDelayedCalls())


class PacesTests(SynchronousTestCase):
    def test_one_for_each_provider(self) -> None:
        models = ModelsConfig(
            providers={"p": ProviderConfig("http://p/v1", max_concurrent=1)}, local=LocalModelConfig(parallel=2)
        )
        paces = Paces(lambda: models, Clock())
        self.assertIs(paces.of("p"), paces.of("p"))
        permit = paces.of("p").take(Wanted(A, "s"))
        self.assertIsNone(paces.of("p").take(Wanted(A, "s")))
        local = [paces.of("local").take(Wanted("local/m", "s")) for _ in range(3)]
        self.assertEqual([True, True, False], [one is not None for one in local])
        assert permit is not None
        # One that was taken out of the configuration is forgotten when it is idle, and not before.
        models = ModelsConfig()
        kept = paces.of("p")
        paces.of("q")
        self.assertIs(kept, paces.of("p"))
        self.assertFalse(paces.is_idle)
        permit.leave()
        paces.of("r")
        self.assertIsNot(kept, paces.of("p"))
