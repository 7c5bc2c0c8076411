"""Tests of L{openclaw.sharing.joins} and L{openclaw.sharing.shared}."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from openclaw.errors import (
    Draining,
    IdempotencyConflict,
    OpenClawError,
    Overloaded,
    ProviderFailed,
    ProviderRejected,
    ResultNotKept,
    RunCancelled,
    StoreError,
)
from openclaw.events import ProviderFinished, RunEvent, RunFailed, RunFinished, RunOutcome, TextDelta
from openclaw.interfaces import Caller
from openclaw.records import Entry, KeyClaim, KeyRecord, RunRecord
from openclaw.sharing import joins as joins_module
from openclaw.sharing import log as log_module
from openclaw.sharing import recent
from openclaw.sharing.joins import Joins
from openclaw.sharing.recent import KEPT_S
from openclaw.sharing.shared import ALONE_S, Claim, Reader
from openclaw.waits import STORE_TIMEOUT_S
from test.fakes import OPERATOR, Bench, HeldStore, config_with, user

A, B = b"a" * 32, b"b" * 32
KEY = Claim(A, "k", lasts="alone")
RETRY = Claim(A, is_retry=True)
FIRST = Claim(A)
SESSION = "agent:main:s"


class Ask:
    """One request, and all that it is told."""

    def __init__(self, starting: Deferred[Reader], *, streamed: bool, paused: bool) -> None:
        self.starting = starting
        self.streamed = streamed
        self.paused = paused
        self.reader: Reader | None = None
        self.error: Exception | None = None
        self.timed = False
        self.events: list[RunEvent] = []
        self.outcome: RunOutcome | None = None
        self.over = False
        # Whether the client's own time limit makes it leave, and whether it has the whole answer.
        self.by_timeout = False
        self.is_complete = False
        self.working = Deferred.fromCoroutine(self._work())

    async def _work(self) -> None:
        try:
            self.reader = await self.starting
            self.reader.goes_by(self)
            try:
                self.timed = await self.reader.placed() is not None
                if self.paused:
                    await Deferred()
                elif self.streamed:
                    await self.reader.each(self.events.extend)
                else:
                    self.outcome = await self.reader.outcome()
            finally:
                self.reader.leave(by_timeout=self.by_timeout)
        except (OpenClawError, CancelledError) as error:
            self.error = error
        self.over = True

    def leave(self) -> None:
        """The client goes away."""
        self.working.cancel()

    @property
    def text(self) -> str:
        if self.outcome is not None:
            return self.outcome.text
        return "".join(event.text for event in self.events if isinstance(event, TextDelta))

    @property
    def run_id(self) -> str:
        assert self.reader is not None
        return self.reader.run_id

    @property
    def replayed(self) -> bool:
        assert self.reader is not None
        return self.reader.replayed

    @property
    def failed(self) -> Exception | None:
        """Why it was not answered."""
        if self.error is None and self.outcome is not None:
            return self.outcome.error
        if self.error is None and self.events and isinstance(self.events[-1], RunFailed):
            return self.events[-1].error
        return self.error


class JoinsTestCase(SynchronousTestCase):
    holds: tuple[str, ...] = ()

    def setUp(self) -> None:
        self.store = HeldStore(*self.holds)
        self.bench = Bench(self.store)
        self.clock = self.bench.clock
        self.provider = self.bench.provider
        self.joins = Joins(self.bench.runs, self.store, self.clock)
        self.addCleanup(self.assert_idle)

    def assert_idle(self) -> None:
        """Nothing is left when all is over and forgotten."""
        self.successResultOf(Deferred.fromCoroutine(self.joins.stop()))
        self.assertTrue(self.joins.is_empty)
        self.assertTrue(self.joins._lingering.is_empty)
        self.assertEqual((list(self.bench.runs.live), self.bench.runs.waiting), ([], 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def ask(
        self,
        claim: Claim,
        text: str = "question",
        *,
        streamed: bool = True,
        paused: bool = False,
        caller: Caller = OPERATOR,
        **settings: Any,
    ) -> Ask:
        request = self.bench.request(text, whole=not streamed, **settings)
        return Ask(self.joins.share(self.bench.plan(request, caller), claim), streamed=streamed, paused=paused)

    def push(self, *texts: str) -> None:
        self.provider.streams[-1].push(*(TextDelta(text) for text in texts))
        self.tick()

    def finish(self, *texts: str) -> None:
        self.provider.streams[-1].push(*(TextDelta(text) for text in texts), ProviderFinished("stop"))
        self.provider.streams[-1].end()
        self.tick()

    def tick(self) -> None:
        for _ in range(3):
            self.clock.advance(0)

    def restart(self) -> None:
        """As if the process had been replaced: what was in memory is gone."""
        self.joins.forget()
        self.joins = Joins(self.bench.runs, self.store, self.clock)

    def record(self, key: str = "k") -> KeyRecord | None:
        """What is on disk, seen by a request of another fingerprint, which changes nothing unless the key is free."""
        now_ms = int(self.clock.seconds() * 1000)
        return self.successResultOf(self.store.inner.claim_key(KeyClaim("operator", key, b"?", "look", now_ms)))

    def branch(self) -> list[str]:
        entries: tuple[Entry, ...] = self.successResultOf(self.store.inner.branch(SESSION))
        return [entry.message.text for entry in entries]


class KeyTests(JoinsTestCase):
    def test_replay(self) -> None:
        for streamed in (False, True):
            for restarts in (False, True):
                claim = attrs.evolve(KEY, key=f"{streamed}{restarts}")
                self.provider.enqueue_text("ans", "wer")
                calls = len(self.provider.requests) + 1
                first = self.ask(claim, streamed=streamed)
                if restarts:
                    self.restart()
                second = self.ask(claim, streamed=streamed)
                assert first.reader is not None and second.reader is not None
                self.assertEqual((first.text, second.text), ("answer", "answer"))
                self.assertEqual((first.replayed, second.replayed), (False, True))
                self.assertEqual((first.timed, second.timed), (True, False))
                self.assertEqual((first.run_id, first.reader.session_key), (second.run_id, second.reader.session_key))
                self.assertEqual(first.reader.created_s, second.reader.created_s)
                self.assertEqual(len(self.provider.requests), calls)

    def test_replay_keeps_created(self) -> None:
        self.provider.enqueue_text("answer")
        first = self.ask(KEY)
        self.clock.advance(100)
        second = self.ask(KEY)
        assert first.reader is not None and second.reader is not None
        self.assertEqual((first.reader.created_s, second.reader.created_s), (1_000_000, 1_000_000))

    def test_kept_a_day(self) -> None:
        for text in ("one", "two"):
            self.provider.enqueue_text(text)
        self.assertEqual(self.ask(KEY).text, "one")
        self.clock.advance(24 * 3600)
        self.assertEqual(self.ask(KEY).text, "one")
        self.clock.advance(1)
        self.assertEqual(self.ask(KEY).text, "two")

    def test_conflict(self) -> None:
        other = attrs.evolve(KEY, fingerprint=B)
        first = self.ask(KEY)
        for _ in range(2):
            conflict = self.ask(other)
            self.assertIsInstance(conflict.error, IdempotencyConflict)
            self.finish("answer") if not first.over else None
        self.assertEqual((first.text, len(self.provider.requests)), ("answer", 1))
        self.assertIsInstance(self.ask(other).error, IdempotencyConflict)
        # The intruder has left no trace.
        self.assertEqual(self.ask(KEY).text, "answer")

    def test_callers_do_not_see_one_another(self) -> None:
        self.provider.enqueue_text("mine")
        self.provider.enqueue_text("yours")
        phone = Caller("key:phone", OPERATOR.scopes)
        self.assertEqual(
            (self.ask(KEY).text, self.ask(attrs.evolve(KEY, fingerprint=B), caller=phone).text), ("mine", "yours")
        )

    def test_join(self) -> None:
        for streamed in (False, True):
            claim = attrs.evolve(KEY, key=str(streamed))
            first = self.ask(claim, streamed=streamed)
            self.push("a")
            self.push("ns")
            second = self.ask(claim, streamed=streamed)
            self.assertEqual((second.text, second.over), ("ans" if streamed else "", False))
            self.finish("wer")
            for ask in (first, second):
                self.assertEqual((ask.text, ask.over, ask.replayed, ask.timed), ("answer", True, False, True))
            self.assertEqual(first.run_id, second.run_id)
        self.assertEqual(len(self.provider.requests), 2)

    def test_usage_and_reason_of_a_replay(self) -> None:
        self.provider.enqueue([TextDelta("x"), ProviderFinished("length")])
        first, second = self.ask(KEY), self.ask(KEY)
        self.assertEqual(first.events[-1], second.events[-1])
        assert isinstance(first.events[-1], RunFinished)
        self.assertEqual(first.events[-1].reason, "length")

    def test_goes_on_without_its_client(self) -> None:
        for streamed in (False, True):
            claim = attrs.evolve(KEY, key=str(streamed))
            first = self.ask(claim, streamed=streamed)
            self.push("ans")
            first.leave()
            self.tick()
            self.assertFalse(self.provider.streams[-1].aborted)
            self.clock.advance(ALONE_S - 1)
            second = self.ask(claim, streamed=streamed)
            self.clock.advance(ALONE_S)
            self.finish("wer")
            self.assertEqual((second.text, second.over), ("answer", True))

    def test_finishes_without_its_client(self) -> None:
        self.ask(KEY).leave()
        self.finish("answer")
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual((self.ask(KEY).text, len(self.provider.requests)), ("answer", 1))

    def test_is_ended_when_it_was_alone_too_long(self) -> None:
        self.ask(KEY).leave()
        self.clock.advance(ALONE_S - 1)
        self.ask(KEY).leave()
        self.clock.advance(ALONE_S - 1)
        self.assertFalse(self.provider.streams[-1].aborted)
        self.clock.advance(1)
        self.tick()
        self.assertTrue(self.provider.streams[-1].aborted)
        self.provider.enqueue_text("again")
        self.assertEqual(self.ask(KEY).text, "again")

    def test_ends_with_its_client_where_that_is_asked_for(self) -> None:
        claim = attrs.evolve(KEY, lasts="client")
        first, second = self.ask(claim), self.ask(claim)
        first.leave()
        self.assertFalse(self.provider.streams[-1].aborted)
        second.leave()
        self.assertTrue(self.provider.streams[-1].aborted)
        self.tick()

    def test_waits_for_the_end_of_a_cancelled_one(self) -> None:
        claim = attrs.evolve(KEY, lasts="client")
        self.store.holds = {"end_run"}
        self.ask(claim).leave()
        self.tick()
        again = self.ask(claim)
        self.assertEqual((len(self.provider.requests), again.starting.called), (1, False))
        self.provider.enqueue_text("answer")
        self.store.holds.clear()
        self.store.release()
        while self.store.held:
            self.store.release()
        self.assertEqual((again.text, len(self.provider.requests)), ("answer", 2))

    def test_final_error_is_a_result(self) -> None:
        for streamed in (False, True):
            claim = attrs.evolve(KEY, key=str(streamed))
            self.provider.enqueue(ProviderRejected("422 no", status=422, code="bad"))
            for _ in range(2):
                error = self.ask(claim, streamed=streamed).failed
                assert isinstance(error, ProviderRejected)
                self.assertEqual((error.http_status, error.message, error.code), (422, "422 no", "bad"))
        self.assertEqual(len(self.provider.requests), 2)

    def test_passing_error_is_not(self) -> None:
        for number, streamed in enumerate((False, True)):
            claim = attrs.evolve(KEY, key=str(streamed))
            session = f"{SESSION}{number}"
            self.provider.enqueue([TextDelta("a")], ProviderFailed("gone"))
            first = self.ask(claim, streamed=streamed, key=session)
            self.assertIsInstance(first.failed, ProviderFailed)
            self.provider.enqueue_text("answer")
            second = self.ask(claim, streamed=streamed, key=session)
            self.assertEqual((second.text, second.failed), ("answer", None))
            entries = self.successResultOf(self.store.inner.branch(session))
            self.assertEqual([entry.message.text for entry in entries], ["question", "answer"])
            self.assertEqual([message.text for message in self.provider.requests[-1].messages[1:]], ["question"])

    def test_another_request_may_use_a_key_that_failed(self) -> None:
        self.provider.enqueue([TextDelta("a")], ProviderFailed("gone"))
        self.ask(KEY)
        self.provider.enqueue_text("other")
        self.assertEqual(self.ask(attrs.evolve(KEY, fingerprint=B)).text, "other")

    def test_refused_at_the_start(self) -> None:
        self.bench.config = config_with(max_concurrent=1, max_queued=0)
        blocking = self.ask(Claim())
        refused = self.ask(KEY)
        self.assertIsInstance(refused.failed, Overloaded)
        self.assertIsNone(self.record())
        self.finish()
        self.assertTrue(blocking.over)

    def test_leaves_while_waiting_in_the_lane(self) -> None:
        blocking = self.ask(Claim(), "first", key=SESSION)
        self.ask(KEY, key=SESSION).leave()
        dropped = attrs.evolve(KEY, key="dropped", lasts="client")
        self.ask(dropped, "never", key=SESSION).leave()
        self.assertEqual(self.bench.runs.waiting, 1)
        self.provider.enqueue_text("second")
        self.finish("answer")
        self.assertTrue(blocking.over)
        self.assertEqual(self.branch(), ["first", "answer", "question", "second"])
        again = self.ask(KEY, key=SESSION)
        self.assertEqual((again.text, again.replayed), ("second", True))

    def test_interrupted(self) -> None:
        """What a process left that died under a run: the key starts it anew, and the turn is there once."""
        now_ms = int(self.clock.seconds() * 1000)
        dead = RunRecord("dead", "main", SESSION, "local/m", "running", now_ms)
        turn = Entry("e1", None, "dead", user("question"), now_ms)
        self.successResultOf(self.store.inner.claim_key(KeyClaim("operator", "k", A, "dead", now_ms)))
        self.successResultOf(self.store.inner.begin_run(dead, (turn,)))
        self.assertIsInstance(self.ask(attrs.evolve(KEY, fingerprint=B), key=SESSION).error, IdempotencyConflict)
        self.provider.enqueue_text("answer")
        again = self.ask(KEY, key=SESSION)
        self.assertEqual((again.text, again.replayed), ("answer", False))
        self.assertEqual(self.branch(), ["question", "answer"])
        self.assertEqual([message.text for message in self.provider.requests[0].messages[1:]], ["question"])

    def test_interrupted_again_and_again(self) -> None:
        """The run that stored the turn is found, whichever of them it was."""
        now_ms = int(self.clock.seconds() * 1000)
        for run_id in ("first", "second", "third"):
            self.successResultOf(self.store.inner.claim_key(KeyClaim("operator", "k", A, run_id, now_ms)))
            record = RunRecord(run_id, "main", SESSION, "local/m", "running", now_ms)
            turn = (Entry("e1", None, run_id, user("question"), now_ms),) if run_id == "second" else ()
            self.successResultOf(self.store.inner.begin_run(record, turn))
        self.provider.enqueue_text("other")
        self.ask(Claim(), "another", key=SESSION)
        self.provider.enqueue_text("answer")
        self.assertEqual(self.ask(KEY, key=SESSION).text, "answer")
        self.assertEqual([message.text for message in self.provider.requests[-1].messages[1:]], ["question"])
        # What was said meanwhile stays the history.
        self.assertEqual(self.branch(), ["question", "another", "other"])

    def test_too_large_to_be_kept(self) -> None:
        self.patch(joins_module, "MAX_KEPT_CHARACTERS", 10)
        for streamed in (False, True):
            claim = attrs.evolve(KEY, key=str(streamed))
            self.provider.enqueue_text("x" * 11)
            self.assertEqual(self.ask(claim, streamed=streamed).text, "x" * 11)
            self.assertIsInstance(self.ask(claim, streamed=streamed).error, ResultNotKept)
        self.assertEqual(len(self.provider.requests), 2)

    def test_too_large_to_be_joined(self) -> None:
        self.patch(log_module.EventLog.__init__, "__defaults__", (1000,))
        first = self.ask(KEY)
        for _ in range(3):
            self.push("x" * 900)
        self.assertIsInstance(self.ask(KEY).error, ResultNotKept)
        self.finish("end")
        self.assertEqual((first.text, first.failed), ("x" * 2700 + "end", None))
        self.assertIsInstance(self.ask(KEY).error, ResultNotKept)
        record = self.record()
        assert record is not None
        self.assertEqual(record.state, "too_large")

    def test_provider_that_floods_alone(self) -> None:
        self.patch(log_module.EventLog.__init__, "__defaults__", (1000,))
        self.ask(KEY).leave()
        # What a log holds while its run is live is told to nobody.
        (shared,) = self.joins._live
        for _ in range(50):
            self.push("x" * 500)
            assert shared.log is not None
            self.assertLessEqual(shared.log.cost, 1000)
        self.finish()
        self.assertEqual(self.provider.streams[-1].taken, 51)

    def test_joiner_that_does_not_read(self) -> None:
        self.patch(log_module.EventLog.__init__, "__defaults__", (4000,))
        first, idle = self.ask(KEY), self.ask(KEY, paused=True)
        for _ in range(30):
            self.push("x" * 500)
        # The log is full, and then the provider waits for the one who does not read.
        self.assertLess(self.provider.streams[-1].taken, 12)
        # What a log holds while its run is live is told to nobody.
        (shared,) = self.joins._live
        assert shared.log is not None
        self.assertLess(shared.log.cost, 5000)
        idle.leave()
        self.finish("end")
        self.assertEqual(first.text, "x" * 15000 + "end")

    def test_reader_sets_the_pace(self) -> None:
        ask = self.ask(KEY, paused=True)
        for _ in range(5):
            self.push("x")
        self.assertLessEqual(self.provider.streams[-1].taken, 2)
        ask.leave()
        self.tick()
        self.assertEqual(self.provider.streams[-1].taken, 5)
        self.finish()

    def test_stop_does_not_wait_for_one_who_does_not_read(self) -> None:
        for claim in (KEY, FIRST):
            ask = self.ask(claim, paused=True)
            self.push("one")
            self.push("two")
            assert ask.reader is not None
            self.addCleanup(ask.leave)
        stopping = Deferred.fromCoroutine(self.bench.runs.stop(0.0))
        self.tick()
        self.successResultOf(stopping)
        self.successResultOf(Deferred.fromCoroutine(self.joins.stop()))
        record = self.record()
        self.assertTrue(record is None or record.state == "free")

    def test_gateway_stops(self) -> None:
        first = self.ask(KEY)
        first.leave()
        second = self.ask(KEY)
        stopping = Deferred.fromCoroutine(self.bench.runs.stop(1))
        self.assertIsInstance(self.ask(attrs.evolve(KEY, key="new")).failed, Draining)
        self.clock.advance(1)
        self.tick()
        self.successResultOf(stopping)
        self.assertIsInstance(second.failed, Draining)
        self.assertIsNone(self.record())

    def test_cancelled_from_elsewhere(self) -> None:
        ask = self.ask(KEY)
        self.bench.runs.cancel(ask.run_id)
        self.tick()
        self.assertIsInstance(ask.failed, RunCancelled)
        self.assertIsNone(self.record())

    def test_bug(self) -> None:
        # A bug: there is none to be had by the public way.
        self.patch(joins_module, "_pump", lambda *_: 1 / 0)
        ask = self.ask(KEY)
        self.assertEqual(str(ask.failed), "internal error")
        self.tick()
        self.assertTrue(self.provider.streams[-1].aborted)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIsNone(self.record())

    def test_bug_at_the_end(self) -> None:
        self.patch(joins_module, "kept_result", lambda *_: 1 / 0)
        ask = self.ask(KEY)
        self.finish("answer")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual((ask.over, str(ask.failed)), (True, "internal error"))


class SlowStoreTests(JoinsTestCase):
    holds = ("claim_key",)

    def release(self) -> None:
        self.store.release()
        self.tick()

    def test_two_at_the_same_instant(self) -> None:
        first, second = self.ask(KEY), self.ask(KEY)
        self.assertEqual((self.store.calls, len(self.provider.requests)), (["claim_key"], 0))
        self.release()
        self.finish("answer")
        self.assertEqual((first.text, second.text, len(self.provider.requests)), ("answer", "answer", 1))
        self.assertEqual(first.run_id, second.run_id)

    def test_two_that_find_an_old_answer(self) -> None:
        self.provider.enqueue_text("answer")
        self.ask(KEY)
        self.release()
        first, second = self.ask(KEY), self.ask(KEY)
        self.release()
        for ask in (first, second):
            self.assertEqual((ask.text, ask.replayed), ("answer", True))

    def test_other_request_waits_for_the_claim(self) -> None:
        first, other = self.ask(KEY), self.ask(attrs.evolve(KEY, fingerprint=B))
        self.assertIsNone(other.error)
        self.release()
        self.assertIsInstance(other.error, IdempotencyConflict)
        self.finish("answer")
        self.assertEqual(first.text, "answer")

    def test_intruder_in_flight(self) -> None:
        self.provider.enqueue_text("answer")
        self.ask(KEY)
        self.release()
        intruder, rightful = self.ask(attrs.evolve(KEY, fingerprint=B)), self.ask(KEY)
        self.release()
        self.assertIsInstance(intruder.error, IdempotencyConflict)
        self.assertIsNone(rightful.error)
        self.release()
        self.assertEqual((rightful.text, rightful.replayed), ("answer", True))

    def test_leaves_while_claiming(self) -> None:
        self.ask(KEY).leave()
        self.assertEqual(len(self.clock.getDelayedCalls()), 2)
        self.release()
        self.finish("answer")
        again = self.ask(KEY)
        self.release()
        self.assertEqual(again.text, "answer")

    def test_leaves_for_good_while_claiming(self) -> None:
        self.ask(attrs.evolve(KEY, lasts="client")).leave()
        self.release()
        self.assertEqual(len(self.provider.requests), 0)
        self.assertIsNone(self.record())

    def test_store_fails(self) -> None:
        self.store.failures["claim_key"] = [StoreError("full", code="store_full")]
        first, second = self.ask(KEY), self.ask(KEY)
        self.release()
        for ask in (first, second):
            assert isinstance(ask.error, StoreError)
            self.assertEqual((ask.error.code, ask.error.http_status), ("store_full", 503))
        again = self.ask(KEY)
        self.release()
        self.finish("answer")
        self.assertEqual(again.text, "answer")

    def test_store_does_not_answer(self) -> None:
        first = self.ask(KEY)
        self.clock.advance(STORE_TIMEOUT_S)
        assert isinstance(first.error, StoreError)
        self.assertEqual(first.error.code, "store_timeout")
        # It is freed as soon as it is claimed.
        self.release()
        self.release()
        self.assertIsNone(self.record())
        self.assertEqual(len(self.provider.requests), 0)

    def test_stop_waits(self) -> None:
        self.store.holds = {"finish_key"}
        self.provider.enqueue_text("answer")
        ask = self.ask(KEY)
        stopping = Deferred.fromCoroutine(self.joins.stop())
        self.assertNoResult(stopping)
        self.assertFalse(ask.over)
        self.release()
        self.successResultOf(stopping)
        self.assertTrue(ask.over)


class EndTests(JoinsTestCase):
    def test_end_is_told_when_it_is_on_disk(self) -> None:
        self.store.holds = {"finish_key"}
        for streamed in (False, True):
            claim = attrs.evolve(KEY, key=str(streamed))
            first = self.ask(claim, streamed=streamed)
            self.finish("answer")
            joined = self.ask(claim, streamed=streamed)
            self.assertEqual((first.over, joined.over), (False, False))
            self.store.release()
            for ask in (first, joined):
                self.assertEqual((ask.text, ask.over, ask.replayed), ("answer", True, False))

    def test_result_cannot_be_stored(self) -> None:
        self.store.failures["finish_key"] = [StoreError("full")]
        self.provider.enqueue_text("answer")
        self.assertEqual(self.ask(KEY).text, "answer")
        again = self.ask(KEY)
        self.assertEqual((again.text, again.replayed, len(self.provider.requests)), ("answer", True, 1))
        self.assertIsInstance(self.ask(attrs.evolve(KEY, fingerprint=B)).error, IdempotencyConflict)
        self.clock.advance(KEPT_S)
        self.provider.enqueue_text("anew")
        self.assertEqual(self.ask(KEY).text, "anew")

    def test_final_error_cannot_be_stored(self) -> None:
        self.store.failures["finish_key"] = [StoreError("full")]
        self.provider.enqueue(ProviderRejected("400 no", status=400))
        for _ in range(2):
            self.assertIsInstance(self.ask(KEY).failed, ProviderRejected)
        self.assertEqual(len(self.provider.requests), 1)

    def test_store_never_answers_at_the_end(self) -> None:
        self.store.holds = {"finish_key"}
        ask = self.ask(KEY)
        self.finish("answer")
        self.clock.advance(STORE_TIMEOUT_S)
        self.assertEqual((ask.text, ask.over), ("answer", True))

    def test_key_cannot_be_freed(self) -> None:
        self.store.failures["free_key"] = [StoreError("full")]
        self.provider.enqueue([TextDelta("a")], ProviderFailed("gone"))
        self.assertIsInstance(self.ask(KEY).failed, ProviderFailed)
        self.provider.enqueue_text("answer")
        self.assertEqual(self.ask(KEY).text, "answer")

    def test_turn_cannot_be_looked_for(self) -> None:
        self.provider.enqueue([TextDelta("a")], ProviderFailed("gone"))
        self.ask(KEY, key=SESSION)
        self.store.failures["find_turn"] = [StoreError("gone")]
        self.assertIsInstance(self.ask(KEY, key=SESSION).failed, StoreError)
        self.provider.enqueue_text("answer")
        self.assertEqual(self.ask(KEY, key=SESSION).text, "answer")
        self.assertEqual(self.branch(), ["question", "answer"])

    def test_leaves_while_the_turn_is_looked_for(self) -> None:
        self.provider.enqueue([TextDelta("a")], ProviderFailed("gone"))
        claim = attrs.evolve(KEY, lasts="client")
        self.ask(claim, key=SESSION)
        self.store.holds = {"find_turn"}
        self.ask(claim, key=SESSION).leave()
        self.store.release()
        self.tick()
        self.assertEqual(len(self.provider.requests), 1)


class RetryTests(JoinsTestCase):
    def test_first_request_joins_nothing(self) -> None:
        for text in ("one", "two", "three"):
            self.provider.enqueue_text(text)
        texts = [self.ask(claim).text for claim in (FIRST, FIRST, RETRY)]
        self.assertEqual(texts, ["one", "two", "two"])

    def test_joins_a_live_one(self) -> None:
        for streamed in (False, True):
            first = self.ask(FIRST, streamed=streamed)
            self.push("ans")
            retry = self.ask(RETRY, streamed=streamed)
            first.leave()
            self.finish("wer")
            self.assertEqual((retry.text, retry.replayed, retry.run_id), ("answer", False, first.run_id))

    def test_replays_one_that_succeeded(self) -> None:
        for streamed in (False, True):
            self.provider.enqueue_text("answer")
            first = self.ask(FIRST, streamed=streamed)
            self.clock.advance(KEPT_S - 1)
            retry = self.ask(RETRY, streamed=streamed)
            self.assertEqual((retry.text, retry.replayed, retry.timed), ("answer", True, False))
            self.assertEqual(retry.run_id, first.run_id)
            self.clock.advance(1)
            self.provider.enqueue_text("anew")
            self.assertEqual(self.ask(RETRY, streamed=streamed).text, "anew")
        self.assertEqual(self.store.calls.count("claim_key"), 0)

    def test_ends_with_its_last_client(self) -> None:
        first = self.ask(FIRST)
        retry = self.ask(RETRY)
        first.leave()
        self.assertFalse(self.provider.streams[-1].aborted)
        retry.leave()
        self.assertTrue(self.provider.streams[-1].aborted)
        self.tick()

    def test_cancelled_one_is_not_joined(self) -> None:
        first = self.ask(FIRST, key=SESSION)
        self.push("ans")
        self.store.holds = {"end_run"}
        first.leave()
        self.tick()
        # It is not over yet.
        retry = self.ask(RETRY, key=SESSION)
        self.store.holds.clear()
        while self.store.held:
            self.store.release()
        self.finish("answer")
        self.assertEqual((retry.text, retry.replayed), ("answer", False))
        self.assertNotEqual(retry.run_id, first.run_id)
        self.assertEqual(self.branch(), ["question", "answer"])
        self.assertEqual([message.text for message in self.provider.requests[-1].messages[1:]], ["question"])

    def test_failed_ones_leave_one_turn(self) -> None:
        for _ in range(3):
            self.provider.enqueue([TextDelta("a")], ProviderFailed("gone"))
            self.assertIsInstance(self.ask(RETRY, key=SESSION).failed, ProviderFailed)
        self.provider.enqueue_text("answer")
        self.assertEqual(self.ask(RETRY, key=SESSION).text, "answer")
        self.assertEqual(self.branch(), ["question", "answer"])

    def test_new_turn_with_the_same_text(self) -> None:
        """Who says the same thing again, and not by a retry, says it again."""
        for text in ("one", "two"):
            self.provider.enqueue_text(text)
            self.ask(FIRST, key=SESSION)
        self.assertEqual(self.branch(), ["question", "one", "question", "two"])

    def test_interrupted(self) -> None:
        """What a process left that died under a run: whose retry the next process sees is not stored again."""
        now_ms = int(self.clock.seconds() * 1000)
        dead = RunRecord("dead", "main", SESSION, "local/m", "running", now_ms)
        turn = Entry("e1", None, "dead", user("question"), now_ms)
        self.successResultOf(self.store.inner.begin_run(dead, (turn,)))
        self.provider.enqueue(ProviderRejected("no", status=400))
        self.assertIsInstance(self.ask(RETRY, key=SESSION).failed, ProviderRejected)
        self.provider.enqueue_text("answer")
        self.assertEqual(self.ask(RETRY, key=SESSION).text, "answer")
        self.assertEqual([message.text for message in self.provider.requests[-1].messages[1:]], ["question"])
        self.assertEqual(self.branch(), ["question", "answer"])

    def test_interrupted_and_said_again(self) -> None:
        """It is no retry: then it is a turn of its own."""
        now_ms = int(self.clock.seconds() * 1000)
        dead = RunRecord("dead", "main", SESSION, "local/m", "running", now_ms)
        turn = Entry("e1", None, "dead", user("question"), now_ms)
        self.successResultOf(self.store.inner.begin_run(dead, (turn,)))
        self.provider.enqueue_text("answer")
        self.ask(FIRST, key=SESSION)
        self.assertEqual(self.branch(), ["question", "question", "answer"])

    def test_cancelled_in_the_lane(self) -> None:
        blocking = self.ask(Claim(), "first", key=SESSION)
        self.ask(FIRST, key=SESSION).leave()
        self.assertEqual(self.bench.runs.waiting, 0)
        self.finish("answer")
        self.assertTrue(blocking.over)
        self.provider.enqueue_text("second")
        self.ask(RETRY, key=SESSION)
        self.assertEqual(self.branch(), ["first", "answer", "question", "second"])

    def test_size_is_bounded(self) -> None:
        self.patch(recent, "MAX_TOTAL_COST", 3000)
        first = self.ask(FIRST)
        self.push("x" * 2000)
        other = self.ask(Claim(B))
        self.push("y" * 2000)
        # The older one is not known any more, but goes on for its client.
        for ask in (other, first):
            self.finish("end") if ask is other else self.end_first()
        self.assertEqual((first.text, other.text), ("x" * 2000 + "end", "y" * 2000 + "end"))
        self.assertLessEqual(self.joins.remembered[1], 3000)
        self.provider.enqueue_text("anew")
        self.assertEqual(self.ask(RETRY).text, "anew")
        retry = self.ask(attrs.evolve(RETRY, fingerprint=B))
        self.assertTrue(retry.replayed)

    def end_first(self) -> None:
        self.provider.streams[0].push(TextDelta("end"), ProviderFinished("stop"))
        self.provider.streams[0].end()
        self.tick()

    def test_large_answers_are_not_kept(self) -> None:
        self.patch(joins_module, "MAX_KEPT_CHARACTERS", 300)
        for streamed in (False, True):
            self.provider.enqueue_text("x" * 301)
            self.ask(FIRST, streamed=streamed)
            self.assertEqual(self.joins.remembered, (0, 0))

    def test_too_large_to_be_joined(self) -> None:
        self.patch(log_module.EventLog.__init__, "__defaults__", (1000,))
        first = self.ask(FIRST)
        for _ in range(3):
            self.push("x" * 900)
        retry = self.ask(RETRY)
        self.assertEqual(len(self.provider.requests), 2)
        retry.leave()
        self.end_first()
        self.assertEqual(first.text, "x" * 2700 + "end")

    def test_text_of_a_stored_stream_is_kept_once(self) -> None:
        self.provider.enqueue_text("x" * 1000)
        self.ask(FIRST, key=SESSION)
        self.assertLess(self.joins.remembered[1], 1500)

    def test_failed_run_keeps_no_text(self) -> None:
        self.provider.enqueue([TextDelta("x" * 1000)], ProviderFailed("gone"))
        self.ask(FIRST)
        self.assertEqual(self.joins.remembered, (1, 0))


class ContinueTests(JoinsTestCase):
    def test_goes_on(self) -> None:
        self.ask(Claim(lasts="alone"), key=SESSION).leave()
        self.finish("answer")
        self.assertEqual(self.branch(), ["question", "answer"])

    def test_ends_after_a_while(self) -> None:
        self.ask(Claim(lasts="alone"), key=SESSION).leave()
        self.push("ans")
        self.clock.advance(ALONE_S)
        self.tick()
        self.assertEqual(self.branch(), ["question", "ans"])

    def test_meets_no_other(self) -> None:
        first = self.ask(Claim(lasts="alone"), key=SESSION)
        second = self.ask(Claim(lasts="alone"), key="other")
        self.assertEqual(len(self.provider.requests), 2)
        self.assertEqual((self.joins.remembered[0], self.joins.live_keys), (0, []))
        first.leave()
        second.leave()
        for number in (0, 1):
            self.provider.streams[number].push(ProviderFinished("stop"))
            self.provider.streams[number].end()
        self.tick()
