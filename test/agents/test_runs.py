"""Tests of L{openclaw.agents.runs}: admission, placing, draining."""

from __future__ import annotations

import gc

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from openclaw.agents.context import NO_ANSWER
from openclaw.agents.resolve import Selection
from openclaw.agents.runs import DRAINING_RETRY_AFTER_S
from openclaw.config.agents import AgentEntry
from openclaw.errors import Draining, InvalidRequest, ModelNotFound, Overloaded, RunCancelled, StoreError
from openclaw.events import ProviderFinished, TextDelta
from openclaw.models import ModelProfile, Sampling
from openclaw.records import Entry, RunRecord, SessionQuery
from openclaw.store.store import GatewayStore
from openclaw.waits import STORE_TIMEOUT_S
from test.fakes import Bench, HeldStore, Started, assistant, config_with, user

KEY = "agent:main:k"


class BenchTestCase(SynchronousTestCase):
    """With a bench, whose store is held as C{holds} says."""

    holds: tuple[str, ...] = ()

    def setUp(self) -> None:
        self.store = HeldStore(*self.holds)
        self.bench = Bench(self.store)
        self.provider = self.bench.provider
        self.addCleanup(self.assert_idle)

    def assert_idle(self) -> None:
        """Nothing is left when all runs are over."""
        # A place that nobody gave back is seen by no other run before all of them are lost so.
        lanes = self.bench.runs._lanes
        self.assertTrue(lanes.is_empty, ("places left", lanes.running, lanes.waiting))
        self.assertTrue(self.bench.runs._paces.is_idle, "turns left")
        self.assertTrue(self.bench.runs.is_idle, "runs left")
        self.assertEqual([], self.bench.clock.getDelayedCalls(), "timers left")

    def branch(self, key: str = KEY) -> tuple[Entry, ...]:
        """What is stored of a session."""
        return self.successResultOf(self.store.inner.branch(key))

    def texts(self, key: str = KEY) -> list[str]:
        """The texts of a session."""
        return [entry.message.text for entry in self.branch(key)]

    def record(self) -> RunRecord:
        """The record of the only run."""
        (record,) = self.records()
        return record

    def records(self) -> list[RunRecord]:
        """The records of all runs, oldest first."""
        return list(reversed(self.successResultOf(self.store.inner.runs(2000))))

    def answer(self, run: Started, text: str = "answer") -> None:
        """Have the model answer the run whose stream was opened last."""
        self.provider.streams[-1].push(TextDelta(text), ProviderFinished("stop"))
        self.provider.streams[-1].end()

    def tick(self) -> None:
        """What was put off to a turn of its own."""
        self.bench.clock.advance(0)


class StartTests(BenchTestCase):
    def test_a_turn(self) -> None:
        self.provider.enqueue_text("ans", "wer")
        run = self.bench.start("question", key="k")
        assert run.run is not None and run.outcome is not None and run.reader is not None
        self.assertEqual("chatcmpl_1", run.run.id)
        self.assertEqual(["question", "answer"], self.texts())
        self.assertEqual(("answer", "stop", None), (run.outcome.text, run.outcome.reason, run.outcome.error))
        first, second = self.branch()
        self.assertEqual((None, first.id, "stop"), (first.parent_id, second.parent_id, second.stop_reason))
        self.assertEqual((None, "chatcmpl_1"), (first.stop_reason, second.run_id))
        record = self.record()
        self.assertEqual(
            ("chatcmpl_1", "main", KEY, "local/smollm2-135m", "done", None),
            (record.run_id, record.agent_id, record.session_key, record.model_ref, record.status, record.error_code),
        )
        self.assertEqual((1_000_000_000, 1_000_000_000), (record.started_at_ms, record.ended_at_ms))
        self.assertEqual(["transcript", "begin_run", "end_run"], self.store.calls)

    def test_several_messages_are_stored_as_a_chain(self) -> None:
        self.provider.enqueue_text("a2")
        self.bench.start("u1", assistant("a1"), "u2", key="k")
        branch = self.branch()
        self.assertEqual(["u1", "a1", "u2", "a2"], [entry.message.text for entry in branch])
        self.assertEqual([None, *(entry.id for entry in branch[:-1])], [entry.parent_id for entry in branch])

    def test_what_the_model_is_asked(self) -> None:
        self.bench.config = config_with({"main": AgentEntry(name="Claire")})
        self.provider.enqueue_text("a1")
        self.bench.start("u1", key="k", system=("client",), channel="telegram", sampling=Sampling(temperature=0.5))
        self.provider.enqueue_text("a2")
        self.bench.start("u2", key="k")
        first, second = self.provider.requests
        system, *rest = first.messages
        self.assertEqual((("smollm2-135m"), [user("u1")], 0.5), (first.model, rest, first.sampling.temperature))
        for part in ("You are Claire,", "Channel: telegram\n\nclient"):
            self.assertIn(part, system.text)
        self.assertEqual([user("u1"), assistant("a1"), user("u2")], list(second.messages[1:]))

    def test_token_limit(self) -> None:
        for wanted, limit, asked in ((None, None, None), (50, None, 50), (None, 99, 99), (50, 99, 50), (200, 99, 99)):
            self.bench.catalog.max_tokens = limit
            self.provider.enqueue_text("x")
            self.bench.start("u", sampling=Sampling(max_tokens=wanted))
            self.assertEqual(asked, self.provider.requests[-1].sampling.max_tokens)

    def test_what_is_planned_is_done(self) -> None:
        """An edit of the configuration between the two does not concern the run."""
        plan = self.bench.plan(self.bench.request("u", key="Work"))
        self.bench.config = config_with({"other": AgentEntry()})
        self.provider.enqueue_text("x")
        run = self.successResultOf(self.bench.runs.start(plan))
        run.events.close()
        self.assertIs(plan.target, run.target)

    def test_refusals_have_no_effect(self) -> None:
        self.bench.catalog.unknown.add("gone")
        refused = [
            (Selection(model="gpt"), ModelNotFound),
            (Selection(session_key="cron:x"), InvalidRequest),
            (Selection(session_key="k", model_override="gone/x"), ModelNotFound),
        ]
        for selection, kind in refused:
            self.assertIsInstance(self.bench.start("u", selection=selection).error, kind)
        self.assertEqual([], self.store.calls)

    def test_fresh_session_is_not_stored(self) -> None:
        self.provider.enqueue_text("answer")
        run = self.bench.start("question")
        assert run.outcome is not None and run.outcome.error is None
        self.assertEqual((), self.successResultOf(self.store.inner.sessions(SessionQuery())).rows)
        record = self.record()
        self.assertEqual(("done", "agent:main:openai:1"), (record.status, record.session_key))
        self.assertTrue(record.usage.completion_tokens)
        self.assertEqual(["end_run"], self.store.calls)

    def test_fresh_session_that_is_kept(self) -> None:
        self.provider.enqueue_text("answer")
        self.bench.start("question", keep=True)
        self.assertEqual(["question", "answer"], self.texts("agent:main:openai:1"))

    def test_detached_run_leaves_the_history_alone(self) -> None:
        chat = Selection(chat_id=("X-Conversation-Id", "c"))
        self.provider.enqueue_text("a1")
        self.bench.start("u1", selection=chat)
        self.provider.enqueue_text("a title")
        run = self.bench.start("Generate a title", selection=chat)
        assert run.outcome is not None and run.outcome.text == "a title"
        self.assertEqual([user("Generate a title")], list(self.provider.requests[-1].messages[1:]))
        key = "agent:main:openai-chat:c"
        self.assertEqual(["u1", "a1"], self.texts(key))
        transcript = self.successResultOf(self.store.inner.transcript(key))
        self.assertEqual(
            ["u1", "a1", "Generate a title", "a title"], [entry.message.text for entry in transcript.entries]
        )
        self.assertEqual({transcript.entries[2].id}, transcript.detached)
        self.assertEqual(["done", "done"], [record.status for record in self.records()])
        self.assertEqual(key, self.records()[1].session_key)

    def test_only_the_first_turn_reads_the_store(self) -> None:
        for number in range(3):
            self.provider.enqueue_text("a")
            self.bench.start(f"u{number}", key="k")
        self.assertEqual(["transcript", *["begin_run", "end_run"] * 3], self.store.calls)

    def test_asked_again_after_an_interruption(self) -> None:
        chat = Selection(chat_id=("X-Conversation-Id", "c"))
        first = self.bench.start("u1", selection=chat)
        assert first.run is not None
        first.run.cancel()
        self.tick()
        self.provider.enqueue_text("a1")
        self.bench.start("u1", selection=chat)
        self.assertEqual([user("u1")], list(self.provider.requests[-1].messages[1:]))
        question, answer = self.branch("agent:main:openai-chat:c")
        self.assertEqual(("u1", "a1"), (question.message.text, answer.message.text))
        self.provider.enqueue_text("a2")
        self.bench.start("u1", assistant("a1"), "u2", selection=chat)
        self.assertEqual([user("u1"), assistant("a1"), user("u2")], list(self.provider.requests[-1].messages[1:]))

    def test_order_within_a_session(self) -> None:
        runs = [self.bench.start(f"u{number}", key="k") for number in range(3)]
        self.assertEqual([1, 2], [len(self.provider.streams), self.bench.runs.waiting])
        for number, run in enumerate(runs):
            self.assertEqual(number + 1, len(self.provider.streams))
            self.answer(run, f"a{number}")
            self.assertEqual(f"a{number}", run.outcome and run.outcome.text)
        self.assertEqual(["u0", "a0", "u1", "a1", "u2", "a2"], self.texts())

    def test_live(self) -> None:
        run = self.bench.start("u", key="k")
        self.assertEqual([run.run], list(self.bench.runs.live))
        self.answer(run)
        self.assertEqual([], list(self.bench.runs.live))

    def test_full_queue(self) -> None:
        self.bench.config = config_with(max_concurrent=1, max_queued=1)
        first = self.bench.start("u1")
        second = self.bench.start("u2")
        self.assertIsInstance(self.bench.start("u3").error, Overloaded)
        self.answer(first)
        self.answer(second)
        self.assertIsNotNone(second.outcome)

    def test_timings(self) -> None:
        first = self.bench.start("u1", key="k")
        self.bench.clock.advance(1)
        request = attrs.evolve(self.bench.request("u2", key="k"), received_s=1_000_000.25)
        second = Started(self.bench.begin(request), read=True)
        self.bench.clock.advance(2)
        self.answer(first)
        self.bench.clock.advance(4)
        self.answer(second)
        assert second.run is not None
        *timings, attempts, model_ref, paced_s = attrs.astuple(second.run.timings)
        self.assertEqual([0.25, 1, 3, 3, 7], [at - 1_000_000 for at in timings])
        self.assertEqual((1, "local/smollm2-135m", 0.0), (attempts, model_ref, paced_s))

    def test_thrown_away(self) -> None:
        bench = Bench(HeldStore("begin_run"), config_with(max_concurrent=1))
        for key in "aabc":
            bench.start("u", key=key)
        del bench
        gc.collect()
        self.assertEqual([], self.flushLoggedErrors())

    def test_a_thousand_waiting_when_the_store_fails(self) -> None:
        for name in ("transcript", "begin_run"):
            first = self.bench.start("u", key="k")
            waiting = [self.bench.start("u", key="k") for _ in range(1000)]
            self.bench.runs.forget_session("agent:main:k")
            self.store.failures[name] = [StoreError("the disk is full") for _ in waiting]
            self.answer(first)
            self.assertEqual({StoreError}, {type(run.error) for run in waiting})

    def test_a_session_that_was_deleted(self) -> None:
        self.provider.enqueue_text("a1")
        self.bench.start("u1", key="k")
        for forgets in (True, False):
            self.store.inner = GatewayStore.in_memory()
            if forgets:
                self.bench.runs.forget_session(KEY)
            self.provider.enqueue_text("a2")
            self.bench.start("u2", key="k")
            # Not even if nobody has told it.
            self.assertEqual(["u2", "a2"], self.texts())

    def test_a_conflict_that_does_not_go_away(self) -> None:
        self.store.failures["begin_run"] = [StoreError("no parent", code="store_conflict") for _ in range(2)]
        run = self.bench.start("u1", key="k")
        assert isinstance(run.error, StoreError)
        self.assertEqual(["transcript", "begin_run"] * 2, self.store.calls)


class StoredBeforeToldTests(BenchTestCase):
    holds = ("transcript", "begin_run", "end_run")

    def test_each_step_waits_for_the_disk(self) -> None:
        self.provider.enqueue_text("answer")
        run = self.bench.start("question", key="k")
        for name in ("transcript", "begin_run"):
            self.assertIsNone(run.run)
            self.assertEqual([], self.provider.streams)
            self.assertEqual(name, self.store.release().name)
        assert run.run is not None and run.reader is not None
        self.assertEqual("answer", run.reader.text)
        self.assertEqual(([], None), (run.reader.terminal, run.outcome))
        # The next run of the session waits for it, too.
        second = self.bench.start("again", key="k")
        self.assertEqual(1, self.bench.runs.waiting)
        self.store.release()
        self.assertEqual("stop", run.outcome and run.outcome.reason)
        self.assertEqual(1, len(run.reader.terminal))
        second.starting.cancel()
        self.assertEqual(["begin_run", "end_run"], [self.store.release().name, self.store.release().name])

    def test_store_fails_at_the_beginning(self) -> None:
        for name in ("transcript", "begin_run"):
            self.store.failures[name] = [StoreError("the disk is full", code="store_full")]
            run = self.bench.start("u", key="k")
            while self.store.held:
                self.store.release()
            assert isinstance(run.error, StoreError)
            self.assertEqual("store_full", run.error.code)
        self.assertEqual(([], []), (self.texts(), self.provider.streams))

    def test_cancel_while_the_branch_is_read(self) -> None:
        run = self.bench.start("u", key="k")
        run.starting.cancel()
        self.assertIsInstance(run.error, CancelledError)
        self.assert_idle()
        self.store.release()
        self.assertEqual(((), []), (self.branch(), self.records()))

    def test_cancel_while_the_turn_is_stored(self) -> None:
        run = self.bench.start("u1", key="k")
        self.store.release()
        run.starting.cancel()
        self.assertIsInstance(run.error, CancelledError)
        self.assert_idle()
        self.assertEqual(["begin_run", "end_run"], [self.store.release().name, self.store.release().name])
        self.assertEqual(["u1"], self.texts())
        record = self.record()
        self.assertEqual(("cancelled", "cancelled"), (record.status, record.error_code))
        self.assertIsNotNone(record.ended_at_ms)
        self.store.holds.clear()
        self.provider.enqueue_text("a2")
        self.bench.start("u2", key="k")
        asked = list(self.provider.requests[-1].messages[1:])
        self.assertEqual([user("u1"), assistant(NO_ANSWER), user("u2")], asked)

    def test_cancel_while_the_turn_is_stored_and_the_store_fails(self) -> None:
        """The store tells its troubles itself; a bug is told for each run."""
        for key, error, told in (("k", StoreError("the disk is full"), 0), ("l", ZeroDivisionError("a bug"), 1)):
            run = self.bench.start("u1", key=key)
            self.store.release()
            self.store.failures["end_run"] = [error]
            run.starting.cancel()
            self.store.release()
            self.store.release()
            self.assertEqual(told, len(self.flushLoggedErrors(type(error))))

    def assert_too_late(self, run: Started) -> None:
        """Its wait for the store is over, and it holds nothing any more."""
        self.bench.clock.advance(STORE_TIMEOUT_S - 0.1)
        self.assertIsNone(run.error)
        self.bench.clock.advance(0.1)
        assert isinstance(run.error, StoreError)
        self.assertEqual(
            ("store_timeout", "the store did not answer in time", 503),
            (run.error.code, run.error.message, run.error.http_status),
        )
        self.assert_idle()

    def test_branch_that_takes_too_long(self) -> None:
        self.assert_too_late(self.bench.start("u", key="k"))
        self.store.release()
        self.assertEqual(((), []), (self.branch(), self.records()))

    def test_turn_that_takes_too_long(self) -> None:
        run = self.bench.start("u", key="k")
        self.store.release()
        self.assert_too_late(run)
        self.assertEqual(["begin_run", "end_run"], [self.store.release().name, self.store.release().name])
        self.assertEqual((["u"], []), (self.texts(), self.provider.streams))
        self.assertEqual(("failed", "store_timeout"), (self.record().status, self.record().error_code))

    def test_nothing_is_ended_that_was_not_begun(self) -> None:
        self.store.failures["begin_run"] = [StoreError("the disk is full")]
        self.bench.start("u", key="k")
        self.store.release()
        self.store.release()
        self.assertEqual(["transcript", "begin_run"], self.store.calls)

    def test_the_next_run_sees_what_a_cancelled_one_stored(self) -> None:
        first = self.bench.start("u1", key="k")
        self.store.release()
        second = self.bench.start("u2", key="k")
        first.starting.cancel()
        while self.store.held:
            self.store.release()
        self.assertEqual(["u1", "u2"], self.texts())
        assert second.run is not None
        second.run.cancel()
        self.tick()
        self.store.release()


class QueueTests(BenchTestCase):
    def test_cancel_in_the_session_queue(self) -> None:
        first = self.bench.start("u1", key="k")
        second = self.bench.start("u2", key="k")
        third = self.bench.start("u3", key="k")
        second.starting.cancel()
        self.assertIsInstance(second.error, CancelledError)
        self.answer(first)
        self.answer(third)
        self.assertEqual(["u1", "answer", "u3", "answer"], self.texts())

    def test_cancel_in_the_slot_queue(self) -> None:
        self.bench.config = config_with(max_concurrent=1)
        first = self.bench.start("u1", key="a")
        second = self.bench.start("u2", key="b")
        second.starting.cancel()
        third = self.bench.start("u3", key="b")
        self.answer(first)
        self.answer(third)
        self.assertEqual(["u3", "answer"], self.texts("agent:main:b"))


class CancelTests(BenchTestCase):
    """Ending runs by their ids."""

    def test_by_either_id(self) -> None:
        for own in (True, False):
            run = self.bench.start("u", alias="chosen")
            assert run.run is not None
            run_id = run.run.id if own else "chosen"
            self.assertIs(run.run, self.bench.runs.find(run_id))
            self.assertTrue(self.bench.runs.cancel(run_id))
            self.tick()
            self.assertIsInstance(run.end().error, RunCancelled)  # type: ignore[union-attr]
            self.assertIsNone(self.bench.runs.find(run_id))
        self.assertFalse(self.bench.runs.cancel("chosen"))

    def test_while_it_waits(self) -> None:
        first, second = self.bench.start("a", key="k"), self.bench.start("b", key="k", alias="chosen")
        self.assertTrue(self.bench.runs.cancel("chosen"))
        self.assertIsInstance(second.error, RunCancelled)
        self.answer(first)
        self.assertEqual(["a", "answer"], self.texts())

    def test_a_session(self) -> None:
        """All its runs, and nobody else's."""
        placed, waiting = self.bench.start("a", key="k", alias="one"), self.bench.start("b", key="k", alias="two")
        other = self.bench.start("c", key="other")
        self.assertEqual(["two", "one"], self.bench.runs.cancel_session(KEY))
        self.assertIsInstance(waiting.error, RunCancelled)
        self.tick()
        self.assertIsInstance(placed.end().error, RunCancelled)  # type: ignore[union-attr]
        self.assertEqual([], self.bench.runs.cancel_session(KEY))
        self.answer(other)
        self.assertEqual(["c", "answer"], self.texts("agent:main:other"))


class StopTests(BenchTestCase):
    def stop(self, grace_s: float = 10.0) -> Deferred[None]:
        return Deferred.fromCoroutine(self.bench.runs.stop(grace_s))

    def assert_draining(self, error: object) -> None:
        assert isinstance(error, Draining)
        self.assertEqual(DRAINING_RETRY_AFTER_S, error.retry_after_s)

    def test_nothing_to_stop(self) -> None:
        self.successResultOf(self.stop())
        self.successResultOf(self.stop())

    def test_new_runs_are_refused(self) -> None:
        self.bench.runs.drain()
        self.assert_draining(self.bench.start("u").error)

    def test_running_and_waiting_ones_finish(self) -> None:
        first, second = self.bench.start("u1", key="k"), self.bench.start("u2", key="k")
        stopping = self.stop()
        self.assert_draining(self.bench.start("u3").error)
        self.bench.clock.advance(9)
        self.answer(first)
        self.assertNoResult(stopping)
        self.answer(second)
        self.successResultOf(stopping)
        self.assertEqual(["u1", "answer", "u2", "answer"], self.texts())

    def test_grace_is_over(self) -> None:
        first, second = self.bench.start("u1", key="k"), self.bench.start("u2", key="k")
        third = self.bench.start("u3", key="other")
        self.provider.streams[0].push(TextDelta("hal"))
        stopping = self.stop(10.0)
        self.bench.clock.advance(10)
        self.assert_draining(second.error)
        self.tick()
        self.successResultOf(stopping)
        for run in (first, third):
            self.assert_draining(run.failed())
        self.assertEqual(["u1", "hal"], self.texts())
        self.assertEqual("error", self.branch()[1].stop_reason)
        self.assertEqual([("failed", "draining")] * 2, [(r.status, r.error_code) for r in self.records()])
        self.assertTrue(all(stream.aborted for stream in self.provider.streams))

    def test_no_grace(self) -> None:
        run = self.bench.start("u")
        stopping = self.stop(0)
        self.bench.clock.pump([0, 0])
        self.successResultOf(stopping)
        self.assert_draining(run.failed())

    def test_many_waiting_ones(self) -> None:
        self.bench.config = config_with(max_concurrent=2)
        runs = [self.bench.start("u", key=f"k{number % 50}") for number in range(500)]
        stopping = self.stop(1)
        self.bench.clock.pump([1, 0])
        self.successResultOf(stopping)
        for run in runs:
            self.assert_draining(run.error or run.failed())

    def test_stopped_twice(self) -> None:
        run = self.bench.start("u")
        stopping = [self.stop(10.0), self.stop(20.0)]
        self.answer(run)
        for deferred in stopping:
            self.successResultOf(deferred)

    def test_client_that_goes_while_stopping(self) -> None:
        first, second = self.bench.start("u1", key="k"), self.bench.start("u2", key="k")
        stopping = self.stop()
        second.starting.cancel()
        self.assertIsInstance(second.error, CancelledError)
        self.answer(first)
        self.successResultOf(stopping)

    def test_cancelled_stop(self) -> None:
        run = self.bench.start("u")
        stopping = self.stop()
        stopping.cancel()
        self.failureResultOf(stopping, CancelledError)
        self.answer(run)
        self.assertIsNotNone(run.outcome)


class StopWhileStoringTests(BenchTestCase):
    holds = ("end_run",)

    def test_an_end_that_is_being_stored_is_told_as_it_is(self) -> None:
        self.provider.enqueue_text("answer")
        run = self.bench.start("u", key="k")
        stopping = Deferred.fromCoroutine(self.bench.runs.stop(1))
        self.bench.clock.advance(1)
        self.assertNoResult(stopping)
        self.store.release()
        self.successResultOf(stopping)
        self.assertEqual("stop", run.outcome and run.outcome.reason)

    def test_a_store_that_does_not_answer_holds_nothing_up(self) -> None:
        self.provider.enqueue_text("answer")
        run = self.bench.start("u", key="k")
        stopping = Deferred.fromCoroutine(self.bench.runs.stop(1))
        self.bench.clock.advance(STORE_TIMEOUT_S)
        self.successResultOf(stopping)
        self.assertEqual("store_timeout", run.failed().code)

    def test_a_run_that_is_being_placed_is_refused(self) -> None:
        self.store.holds = {"transcript"}
        run = self.bench.start("u", key="k")
        stopping = Deferred.fromCoroutine(self.bench.runs.stop(1))
        self.bench.clock.advance(1)
        self.successResultOf(stopping)
        self.assertIsInstance(run.error, Draining)

    def test_a_run_that_cannot_be_placed_holds_nothing_up(self) -> None:
        self.store.holds = {"transcript"}
        self.store.failures["transcript"] = [StoreError("the disk is full")]
        run = self.bench.start("u", key="k")
        stopping = Deferred.fromCoroutine(self.bench.runs.stop(10))
        self.assertNoResult(stopping)
        self.store.release()
        self.successResultOf(stopping)
        self.assertIsInstance(run.error, StoreError)

    def test_cancelled_runs_are_stored_before_the_stop_is_over(self) -> None:
        run = self.bench.start("u", key="k")
        assert run.run is not None
        run.run.cancel()
        self.tick()
        stopping = Deferred.fromCoroutine(self.bench.runs.stop(5))
        self.assertNoResult(stopping)
        self.store.release()
        self.successResultOf(stopping)
        self.assertIsInstance(run.failed(), RunCancelled)


class SessionNameTests(BenchTestCase):
    """What a provider is told as the name of a session."""

    def test_told(self) -> None:
        """One name for all runs of a session, made of its full key; a run without a session has one of its own."""
        self.bench.catalog.profile = ModelProfile(session_ids=lambda key: f"<{key}>")
        for key in ("k", "k", None, None):
            self.provider.enqueue_text("ok")
            self.bench.start("u", key=key)
        first, second, third, fourth = [request.session_id for request in self.provider.requests]
        self.assertEqual((f"<{KEY}>", f"<{KEY}>"), (first, second))
        self.assertEqual(3, len({first, third, fourth}))
        self.assertNotIn(None, (third, fourth))
