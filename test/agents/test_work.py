"""Tests of L{openclaw.agents.work}: how a placed run ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher

from openclaw.agents import answer as answer_module
from openclaw.agents import work as work_module
from openclaw.agents.answer import RunAnswer
from openclaw.agents.context import NO_ANSWER
from openclaw.config.agents import AgentEntry
from openclaw.errors import (
    ContextTooLong,
    LastingProviderFailure,
    ProviderAuthFailed,
    ProviderFailed,
    ProviderRejected,
    RunCancelled,
    RunTimeout,
    StoreError,
)
from openclaw.events import (
    ProviderEvent,
    ProviderFinished,
    ProviderUsage,
    ReasoningDelta,
    RunEvent,
    RunFailed,
    RunFinished,
    RunOutcome,
    RunOver,
    TextDelta,
    ToolCallDelta,
)
from openclaw.messages import ToolCall, Usage
from openclaw.providers.scripted import ScriptedStream
from openclaw.waits import SHORT_STORE_TIMEOUT_S, STORE_TIMEOUT_S
from test.agents.test_runs import BenchTestCase
from test.fakes import EventReader, Started, config_with, next_batch


class MemoryTests(BenchTestCase):
    """What is kept of an answer, and until when."""

    def answer(self) -> RunAnswer:
        """What the one run that is alive keeps of the model's words, which only its memory shows."""
        [work] = self.bench.runs._live.values()
        self.provider.streams[0].push(TextDelta("a"), ReasoningDelta("b"), ToolCallDelta(0, "i", "f", "{}"))
        self.assertEqual("a", work._answer.text)
        return work._answer

    def check_forgotten(self, answer: RunAnswer, started: Started) -> None:
        """Only the outcome has the answer."""
        self.assertEqual(("", "", ()), (answer.text, answer.reasoning, answer.last.tool_calls))
        assert started.outcome is not None
        self.assertEqual("a", started.outcome.text)

    def test_success(self) -> None:
        started = self.bench.start("u", key="k")
        answer = self.answer()
        self.provider.streams[0].push(ProviderFinished("stop"))
        self.provider.streams[0].end()
        self.check_forgotten(answer, started)

    def test_failure(self) -> None:
        started = self.bench.start("u", key="k")
        answer = self.answer()
        self.provider.streams[0].fail(ProviderFailed("cut"))
        self.check_forgotten(answer, started)
        assert started.outcome is not None and started.outcome.error is not None
        self.assertIsNone(started.outcome.error.__traceback__)

    def test_cancelled(self) -> None:
        started = self.bench.start("u", key="k")
        answer = self.answer()
        assert started.run is not None
        started.run.cancel()
        self.bench.clock.advance(0)
        self.check_forgotten(answer, started)
        started.run.cancel()

    def test_streamed_text_that_is_not_stored_is_not_kept(self) -> None:
        for whole, key, kept in ((False, None, ""), (True, None, "ab"), (False, "k", "ab")):
            self.provider.enqueue_text("a", "b")
            started = self.bench.start("u", key=key, whole=whole)
            assert started.outcome is not None
            self.assertEqual((kept, 1), (started.outcome.text, started.outcome.usage.completion_tokens))

    def test_endless_answer(self) -> None:
        self.patch(answer_module, "MAX_KEPT_CHARACTERS", 10)
        endless: list[ProviderEvent] = [
            TextDelta("x" * 11),
            ReasoningDelta("x" * 11),
            ToolCallDelta(0, "i", "f", "x" * 11),
        ]
        for event in endless:
            self.provider.enqueue([TextDelta("")], [event])
            self.assertIsInstance(self.bench.start("u").failed(), LastingProviderFailure)
        self.provider.enqueue([TextDelta("x" * 11)], [ProviderFinished("stop")])
        self.assertEqual("stop", self.bench.start("u", whole=False).end().reason)  # type: ignore[union-attr]


class EndTests(BenchTestCase):
    def test_success(self) -> None:
        events: list[ProviderEvent] = [ReasoningDelta("hm"), TextDelta("a"), TextDelta("b")]
        self.provider.enqueue(events, [ProviderFinished("length"), ProviderUsage(Usage(7, 2, 1))])
        run = self.bench.start("u", key="k")
        assert run.reader is not None
        self.assertEqual([*events, RunFinished("length", Usage(7, 2, 1))], run.reader.events)
        self.assertEqual((Usage(7, 2, 1), "length"), (self.record().usage, self.branch()[1].stop_reason))
        self.assertEqual(RunOutcome("ab", "length", Usage(7, 2, 1), reasoning="hm", produced_output=True), run.outcome)

    def test_tool_calls(self) -> None:
        pieces = [
            ToolCallDelta(0, "c1", "f", '{"a"'),
            ToolCallDelta(1, "c2", "g", "{}"),
            ToolCallDelta(0, None, None, ":1}"),
        ]
        self.provider.enqueue(pieces, [ProviderFinished("tool_calls")])
        run = self.bench.start("u", key="k")
        calls = (ToolCall("c1", "f", '{"a":1}'), ToolCall("c2", "g", "{}"))
        self.assertEqual(calls, self.branch()[1].message.tool_calls)
        self.assertEqual((calls, True), run.outcome and (run.outcome.tool_calls, run.outcome.produced_output))

    def test_empty_answer(self) -> None:
        self.provider.enqueue([ProviderFinished("stop")])
        run = self.bench.start("u", key="k")
        self.assertEqual(RunFinished("stop", self.record().usage), run.end())
        self.assertEqual(RunOutcome("", "stop", self.record().usage), run.outcome)
        self.assertEqual(["u", ""], self.texts())

    def test_usage_is_estimated_where_there_is_none(self) -> None:
        self.provider.enqueue_text("12345")
        self.bench.start("u")
        usage = self.record().usage
        self.assertTrue(usage.estimated and usage.prompt_tokens > 100)
        self.assertEqual(2, usage.completion_tokens)

    def test_no_usage_where_the_provider_said_nothing(self) -> None:
        self.provider.enqueue(ProviderAuthFailed("bad key"))
        run = self.bench.start("u")
        self.assertEqual((Usage(), Usage()), (self.record().usage, run.outcome and run.outcome.usage))

    def test_failures_are_logged_and_cancellations_are_not(self) -> None:
        told: list[LogEvent] = []
        globalLogPublisher.addObserver(told.append)
        self.addCleanup(globalLogPublisher.removeObserver, told.append)
        self.provider.enqueue(ProviderAuthFailed("no such key"))
        failed = self.bench.start("u").run
        cancelled = self.bench.start("u").run
        assert failed is not None and cancelled is not None
        cancelled.cancel()
        self.bench.clock.advance(0)
        self.assertEqual(
            [f"run {failed.id} on {self.records()[0].model_ref} failed: provider_auth_failed: no such key"],
            [formatEvent(event) for event in told if event.get("log_level") is LogLevel.info],
        )

    def test_error_after_output(self) -> None:
        self.provider.enqueue([TextDelta("par"), TextDelta("tial")], ProviderFailed("cut off"))
        run = self.bench.start("u", key="k")
        self.assertIsInstance(run.failed(), ProviderFailed)
        self.assertEqual("partial", run.outcome and run.outcome.text)
        assert isinstance(run.end(), RunFailed) and run.end().produced_output  # type: ignore[union-attr]
        self.assertEqual(["u", "partial"], self.texts())
        self.assertEqual("error", self.branch()[1].stop_reason)
        self.assertEqual(("failed", "provider_error"), (self.record().status, self.record().error_code))
        self.assertEqual(1, len(self.provider.streams))

    def test_calls_that_were_cut_off_are_not_stored(self) -> None:
        self.provider.enqueue([ToolCallDelta(0, "c1", "f", "{")], ProviderFailed("cut off"))
        run = self.bench.start("u", key="k")
        self.assertEqual((), self.branch()[1].message.tool_calls)
        self.assertEqual(((), True), run.outcome and (run.outcome.tool_calls, run.outcome.produced_output))

    def test_stream_that_ends_without_a_reason(self) -> None:
        self.provider.enqueue([TextDelta("x")])
        self.assertIsInstance(self.bench.start("u").failed(), ProviderFailed)

    def test_refused_by_the_provider(self) -> None:
        self.provider.enqueue(ProviderAuthFailed("bad key"))
        run = self.bench.start("u", key="k")
        self.assertIsInstance(run.failed(), ProviderAuthFailed)
        self.assertFalse(run.end().produced_output)  # type: ignore[union-attr]
        self.assertEqual(["u", ""], self.texts())

    def test_turn_that_was_refused(self) -> None:
        """What a server finds wrong with the turn itself leaves the prompts of later turns, and no other failure."""
        failures = [
            (ContextTooLong("too long"), "refused"),
            (ProviderRejected("no", status=400), "refused"),
            (ProviderRejected("no", status=422), "refused"),
            (ProviderRejected("no such model", status=404), "error"),
            (ProviderAuthFailed("bad key"), "error"),
        ]
        for number, (error, reason) in enumerate(failures):
            self.provider.enqueue(error)
            self.bench.start(f"u{number}", key="k")
            self.assertEqual(reason, self.branch()[-1].stop_reason)
        self.provider.enqueue([TextDelta("half")], ProviderRejected("no more", status=400))
        self.bench.start("more", key="k")
        self.assertEqual("error", self.branch()[-1].stop_reason)
        self.provider.enqueue_text("ok")
        self.bench.start("again", key="k")
        self.assertEqual(
            ["u3", NO_ANSWER, "u4", NO_ANSWER, "more", "half", "again"],
            [message.text for message in self.provider.requests[-1].messages[1:]],
        )

    def test_thoughts_are_told_to_the_model_again(self) -> None:
        self.provider.enqueue([ReasoningDelta("hm "), ReasoningDelta("hm"), TextDelta("a"), ProviderFinished("stop")])
        self.provider.enqueue_text("ok")
        self.bench.start("u", key="k")
        self.bench.start("again", key="k")
        self.assertEqual(
            [("", "u"), ("hm hm", "a"), ("", "again")],
            [(message.reasoning, message.text) for message in self.provider.requests[-1].messages[1:]],
        )

    def test_bug_in_the_provider(self) -> None:
        def broken(request: object) -> ScriptedStream:
            raise ZeroDivisionError("a bug")

        self.provider.stream = broken  # type: ignore[assignment,method-assign]
        run = self.bench.start("u", key="k")
        self.assertEqual(("internal_error", 500), (run.failed().code, run.failed().http_status))
        self.assertNotIn("a bug", run.failed().message)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        self.assertEqual(("failed", "error"), (self.record().status, self.branch()[1].stop_reason))

    def test_provider_that_cancels_itself(self) -> None:
        """Nobody asked for it: the caller must not be told that he did."""
        run = self.bench.start("u")
        # The provider's own wait, which it offers nobody.
        waiter = self.provider.streams[0]._waiter
        assert waiter is not None
        waiter.cancel()
        self.assertEqual("internal_error", run.failed().code)
        self.assertEqual(1, len(self.flushLoggedErrors(CancelledError)))

    def test_loop_that_returns_without_an_answer(self) -> None:
        async def carry_out(*arguments: object) -> None:
            return None

        self.patch(work_module, "carry_out", carry_out)
        self.assertEqual("internal_error", self.bench.start("u").failed().code)

    def test_store_fails_at_the_end(self) -> None:
        self.provider.enqueue_text("answer")
        self.store.failures["end_run"] = [StoreError("the disk is full", code="store_full")]
        run = self.bench.start("u", key="k")
        self.assertEqual("store_full", run.failed().code)
        self.assertTrue(run.end().produced_output)  # type: ignore[union-attr]
        self.assertEqual("answer", run.outcome and run.outcome.text)
        self.assertEqual(["u"], self.texts())

    def test_store_fails_at_the_end_of_a_failed_run(self) -> None:
        for error in (StoreError("the disk is full"), ZeroDivisionError("a bug")):
            self.provider.enqueue(ProviderAuthFailed("bad key"))
            self.store.failures["end_run"] = [error]
            self.assertIsInstance(self.bench.start("u").failed(), ProviderAuthFailed)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_store_that_does_not_answer_at_the_end(self) -> None:
        self.store.holds = {"end_run"}
        self.provider.enqueue_text("answer")
        run = self.bench.start("u1", key="k")
        next_run = self.bench.start("u2", key="k")
        self.bench.clock.advance(STORE_TIMEOUT_S - 0.1)
        self.assertIsNone(run.outcome)
        self.bench.clock.advance(0.1)
        self.assertEqual(("store_timeout", 503), (run.failed().code, run.failed().http_status))
        self.assertEqual("answer", run.outcome and run.outcome.text)
        # Its lane is free, and what it was storing precedes what the next run reads.
        self.store.holds.clear()
        while self.store.held:
            self.store.release()
        self.answer(next_run, "again")
        self.assertEqual(["u1", "answer", "u2", "again"], self.texts())

    def test_unstored_run_needs_no_disk(self) -> None:
        """Nothing but its record would be stored, so its client has its answer when the disk is full or hangs."""
        self.store.failures["end_run"] = [StoreError("the disk is full", code="store_full")]
        self.provider.enqueue_text("answer")
        run = self.bench.start("u")
        self.assertIsInstance(run.end(), RunFinished)
        self.store.holds = {"end_run"}
        self.provider.enqueue_text("answer")
        run = self.bench.start("u")
        self.bench.clock.advance(SHORT_STORE_TIMEOUT_S - 1)
        # Nor does a gateway that stops begin to count anew.
        stopping = self.stop()
        self.bench.clock.advance(0.9)
        self.assertIsNone(run.outcome)
        self.bench.clock.advance(0.1)
        self.successResultOf(stopping)
        self.assertIsInstance(run.end(), RunFinished)
        self.assertEqual([], self.bench.clock.getDelayedCalls())

    def stop(self) -> Deferred[None]:
        """End all runs, as a gateway that stops."""
        return Deferred.fromCoroutine(self.bench.runs.stop(0.0))

    def test_stopping_gateway_does_not_wait_long_for_the_store(self) -> None:
        """A run that is cut off is told so, and one that was about to be stored that it is not known to be."""
        self.store.holds = {"end_run"}
        cut = self.bench.start("u1", key="a")
        self.provider.enqueue_text("answer")
        storing = self.bench.start("u2", key="b")
        self.bench.clock.advance(1)
        stopping = self.stop()
        self.bench.clock.advance(0)
        self.bench.clock.advance(SHORT_STORE_TIMEOUT_S - 0.1)
        self.assertNoResult(stopping)
        self.bench.clock.advance(0.1)
        self.successResultOf(stopping)
        self.assertEqual(("store_timeout", "draining"), (storing.failed().code, cut.failed().code))
        self.assertEqual([], self.bench.clock.getDelayedCalls())

    def test_who_waits_for_all_runs_comes_last(self) -> None:
        """A gateway that stops closes its store in that call, so all else about the run must be over."""
        run = self.bench.start("u", key="k")
        seen: list[object] = []
        self.bench.runs.bus.subscribe(seen.append)
        stopping = Deferred.fromCoroutine(self.bench.runs.stop(10.0))
        stopping.addCallback(lambda _: seen.append(run.outcome is not None))
        self.answer(run)
        self.assertIsInstance(seen[-2], RunOver)
        self.assertIs(True, seen[-1])

    def test_bug_in_the_store_at_the_end(self) -> None:
        self.provider.enqueue_text("answer")
        self.store.failures["end_run"] = [ZeroDivisionError("a bug")]
        run = self.bench.start("u", key="k")
        self.assertEqual("internal_error", run.failed().code)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_store_that_raises_at_the_end(self) -> None:
        self.provider.enqueue_text("answer")

        def end_run(*arguments: object, **named: object) -> Deferred[None]:
            raise ZeroDivisionError("a bug")

        self.store.end_run = end_run  # type: ignore[method-assign]
        self.assertEqual("internal_error", self.bench.start("u").failed().code)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_what_a_listener_does_wrong_keeps_nobody_from_going_on(self) -> None:
        run = self.bench.start("u1", key="k", read=False)
        next_run = self.bench.start("u2", key="k")
        assert run.run is not None
        run.run.events.close()
        broken = run.run.done.addCallback(lambda outcome: 1 / 0)
        self.answer(run)
        self.failureResultOf(broken, ZeroDivisionError)
        self.answer(next_run)
        self.assertIsNotNone(next_run.outcome)


class CancelTests(BenchTestCase):
    def cancel(self, run: Started) -> None:
        """Cancel; the provider's connection is closed before that returns."""
        assert run.run is not None
        run.run.cancel()
        self.assertTrue(all(stream.closed for stream in self.provider.streams))
        self.tick()
        run.run.cancel()

    def assert_cancelled(self, run: Started, text: str = "") -> None:
        self.assertIsInstance(run.failed(), RunCancelled)
        self.assertEqual(text, run.outcome and run.outcome.text)
        self.assertEqual(["u", text], self.texts())
        self.assertEqual("aborted", self.branch()[1].stop_reason)
        self.assertEqual(("cancelled", "cancelled"), (self.record().status, self.record().error_code))

    def test_before_the_head(self) -> None:
        self.provider.hold_head = True
        run = self.bench.start("u", key="k")
        assert run.run is not None
        # close() does not end the wait for a head here: the cancellation does, in its own turn.
        run.run.cancel()
        self.tick()
        self.assertTrue(self.provider.streams[0].aborted)
        self.assert_cancelled(run)

    def test_before_the_first_byte(self) -> None:
        run = self.bench.start("u", key="k")
        self.cancel(run)
        self.assert_cancelled(run)
        self.assertEqual(1, len(self.provider.streams))

    def test_mid_stream(self) -> None:
        run = self.bench.start("u", key="k")
        self.provider.streams[0].push(TextDelta("hal"))
        self.cancel(run)
        self.assert_cancelled(run, "hal")

    def test_while_the_reader_is_behind(self) -> None:
        run = self.bench.start("u", key="k", read=False)
        stream = self.provider.streams[0]
        for number in range(10):
            stream.push(TextDelta(str(number)))
        self.assertEqual(1, stream.taken)
        self.cancel(run)
        assert run.run is not None and run.outcome is not None
        self.assertEqual("0", run.outcome.text)
        self.assertTrue(stream.aborted)
        batches = EventReader(run.run.events).batches
        self.assertEqual(2, len(batches))
        self.assertIsInstance(batches[-1][0], RunFailed)

    def test_reader_that_closes_and_cancels(self) -> None:
        """What a surface does when its client is gone."""
        run = self.bench.start("u", key="k", read=False)
        for number in range(10):
            self.provider.streams[0].push(TextDelta(str(number)))
        assert run.run is not None
        run.run.events.close()
        run.run.cancel()
        self.tick()
        self.assertEqual("0123456789", run.outcome and run.outcome.text)
        self.assertIsInstance(run.outcome and run.outcome.error, RunCancelled)

    def test_while_the_end_is_stored(self) -> None:
        self.store.holds = {"end_run"}
        self.provider.enqueue_text("answer")
        run = self.bench.start("u", key="k")
        assert run.run is not None
        run.run.cancel()
        self.tick()
        self.store.release()
        self.assertIsInstance(run.end(), RunFinished)
        self.assertEqual("done", self.record().status)

    def test_once_it_is_over(self) -> None:
        self.provider.enqueue_text("answer")
        run = self.bench.start("u", key="k")
        assert run.run is not None
        run.run.cancel()
        self.assertEqual([], self.bench.clock.getDelayedCalls())
        self.tick()
        self.assertIsInstance(run.end(), RunFinished)

    def test_twice(self) -> None:
        run = self.bench.start("u", key="k")
        assert run.run is not None
        run.run.cancel()
        run.run.cancel()
        self.tick()
        self.assert_cancelled(run)

    def test_from_inside_the_reading(self) -> None:
        run = self.bench.start("u", key="k", read=False)
        assert run.run is not None
        told: list[Sequence[RunEvent]] = []

        def take(batch: Sequence[RunEvent]) -> None:
            assert run.run is not None
            told.append(batch)
            run.run.cancel()

        reading = Deferred.fromCoroutine(run.run.events.each(take))
        self.provider.streams[0].push(TextDelta("x"))
        self.tick()
        self.successResultOf(reading)
        self.assertEqual([TextDelta("x")], list(told[0]))
        (failed,) = told[1]
        assert isinstance(failed, RunFailed)
        self.assertIsInstance(failed.error, RunCancelled)
        self.assertEqual(["u", "x"], self.texts())

    def test_from_inside_the_reading_of_what_waited(self) -> None:
        """The reader wakes the writer, which is the run itself, by taking a batch."""
        run = self.bench.start("u", key="k", read=False)
        stream = self.provider.streams[0]
        for number in range(5):
            stream.push(TextDelta(str(number)))
        assert run.run is not None

        told: list[Sequence[RunEvent]] = []

        def take(batch: Sequence[RunEvent]) -> None:
            assert run.run is not None
            told.append(batch)
            run.run.cancel()

        reading = Deferred.fromCoroutine(run.run.events.each(take))
        self.tick()
        self.successResultOf(reading)
        # The batch that waited, the one whose taking it let come, and the end.
        self.assertEqual(3, len(told))
        self.assertIsInstance(run.outcome and run.outcome.error, RunCancelled)

    def test_bug_while_stopping_is_logged(self) -> None:
        run = self.bench.start("u", key="k")
        stream = self.provider.streams[0]
        # A wait that fails as it is cancelled: no script of the provider has one.
        assert stream._waiter is not None
        stream.close = lambda: None  # type: ignore[method-assign]

        def broken(waiter: object) -> None:
            stream._waiter, waiting = None, stream._waiter
            assert waiting is not None
            waiting.errback(ZeroDivisionError("a bug"))

        stream._waiter._canceller = broken
        assert run.run is not None
        run.run.cancel()
        self.tick()
        self.assert_cancelled(run)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_while_the_providers_last_words_are_awaited(self) -> None:
        run = self.bench.start("u", key="k")
        self.provider.streams[0].push(TextDelta("all"), ProviderFinished("stop"))
        self.cancel(run)
        self.assert_cancelled(run, "all")


class TimeoutTests(BenchTestCase):
    def test_run_timeout(self) -> None:
        self.bench.config = config_with(timeout_seconds=60.0)
        run = self.bench.start("u", key="k")
        self.provider.streams[0].push(TextDelta("hal"))
        self.bench.clock.advance(59)
        self.assertIsNone(run.outcome)
        self.bench.clock.advance(1)
        self.tick()
        self.assertIsInstance(run.failed(), RunTimeout)
        self.assertEqual(("timeout", 504), (run.failed().code, run.failed().http_status))
        self.assertEqual(("failed", "timeout"), (self.record().status, self.record().error_code))
        self.assertEqual(["u", "hal"], self.texts())
        self.assertEqual("error", self.branch()[1].stop_reason)

    def test_time_in_the_queue_does_not_count(self) -> None:
        self.bench.config = config_with(timeout_seconds=60.0)
        first, second = self.bench.start("u1", key="k"), self.bench.start("u2", key="k")
        self.bench.clock.advance(59)
        self.answer(first)
        self.bench.clock.advance(59)
        self.answer(second)
        self.assertEqual("stop", second.outcome and second.outcome.reason)

    def test_of_the_agent(self) -> None:
        self.bench.config = config_with({"main": AgentEntry(timeout_seconds=5.0)}, timeout_seconds=60.0)
        run = self.bench.start("u")
        self.bench.clock.pump([5, 0])
        self.assertIsInstance(run.failed(), RunTimeout)

    def test_none(self) -> None:
        self.bench.config = config_with(timeout_seconds=0.0)
        run = self.bench.start("u")
        self.assertEqual([], self.bench.clock.getDelayedCalls())
        self.answer(run)

    def test_while_the_reader_is_behind(self) -> None:
        self.bench.config = config_with(timeout_seconds=60.0)
        run = self.bench.start("u", read=False)
        for _ in range(10):
            self.provider.streams[0].push(TextDelta("x"))
        self.bench.clock.pump([60, 0])
        self.assertIsInstance(run.outcome and run.outcome.error, RunTimeout)


class PaceTests(BenchTestCase):
    def test_slow_reader_pauses_the_provider(self) -> None:
        run = self.bench.start("u", read=False)
        stream = self.provider.streams[0]
        for number in range(10):
            stream.push(TextDelta(str(number)))
        self.assertEqual((1, 9), (stream.taken, stream.pending))
        assert run.run is not None
        read: list[Any] = [self.successResultOf(Deferred.fromCoroutine(next_batch(run.run.events)))]
        self.assertEqual(2, stream.taken)
        stream.push(ProviderFinished("stop"))
        stream.end()
        while not isinstance(read[-1][0], RunFinished):
            read.append(self.successResultOf(Deferred.fromCoroutine(next_batch(run.run.events))))
        self.assertEqual("0123456789", "".join(batch[0].text for batch in read[:-1]))
        self.assertEqual("0123456789", run.outcome.text)

    def test_gone_reader_does_not_hold_the_run_up(self) -> None:
        run = self.bench.start("u", read=False)
        assert run.run is not None
        run.run.events.close()
        for number in range(10):
            self.provider.streams[0].push(TextDelta(str(number)))
        self.answer(run)
        self.assertEqual("0123456789answer", run.outcome and run.outcome.text)


class LostDeferredTests(BenchTestCase):
    def test_who_awaits_done_and_gives_up_disturbs_nothing(self) -> None:
        run = self.bench.start("u", key="k")
        assert run.run is not None
        waiting = run.run.done
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.answer(run)
        self.assertIsInstance(run.end(), RunFinished)
        self.assertIsNotNone(run.outcome)

    def test_store_fails_at_once(self) -> None:
        self.store.begin_run = lambda *arguments, **named: fail(StoreError("closed"))  # type: ignore[method-assign]
        self.assertIsInstance(self.bench.start("u", key="k").error, StoreError)
