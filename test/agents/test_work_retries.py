"""Tests of L{openclaw.agents.work}: attempts after the first one, and the slot between them."""

from __future__ import annotations

from openclaw.errors import (
    OpenClawError,
    ProviderFailed,
    ProviderOverloaded,
    ProviderRateLimited,
    RunCancelled,
    RunTimeout,
)
from openclaw.events import ProviderFinished, ProviderUsage, RunFinished, TextDelta, ToolCallDelta
from openclaw.messages import Usage
from test.agents.test_runs import BenchTestCase
from test.fakes import Started, config_with


class RetryTests(BenchTestCase):
    def failing(self, *errors: OpenClawError) -> None:
        for error in errors:
            self.provider.enqueue(error)

    def test_third_attempt_succeeds(self) -> None:
        self.failing(ProviderFailed("1"), ProviderOverloaded("2"))
        self.provider.enqueue_text("answer")
        run = self.bench.start("u", key="k")
        self.bench.clock.advance(0.24)
        self.assertEqual(1, len(self.provider.streams))
        self.bench.clock.advance(0.01)
        self.assertEqual(2, len(self.provider.streams))
        self.bench.clock.advance(0.99)
        self.assertEqual(2, len(self.provider.streams))
        self.bench.clock.advance(0.01)
        self.assertIsInstance(run.end(), RunFinished)
        self.assertEqual(["u", "answer"], self.texts())
        self.assertEqual(3, len(set(map(id, self.provider.streams))))

    def test_all_attempts_fail(self) -> None:
        self.failing(ProviderFailed("1"), ProviderFailed("2"), ProviderOverloaded("3"))
        run = self.bench.start("u")
        self.bench.clock.pump([0.25, 1.0])
        self.assertEqual("3", run.failed().message)
        self.assertEqual(3, len(self.provider.streams))

    def test_what_the_provider_asks_for(self) -> None:
        self.failing(ProviderRateLimited("1", retry_after_s=3.0))
        self.provider.enqueue_text("answer")
        run = self.bench.start("u")
        self.bench.clock.advance(2.9)
        self.assertEqual(1, len(self.provider.streams))
        self.bench.clock.advance(0.1)
        self.assertIsInstance(run.end(), RunFinished)

    def test_an_attempt_that_told_nothing_leaves_nothing(self) -> None:
        self.provider.enqueue([ProviderFinished("length"), ProviderUsage(Usage(9, 9))], ProviderFailed("1"))
        self.provider.enqueue([TextDelta("x")])
        run = self.bench.start("u")
        self.bench.clock.advance(0.25)
        self.assertIsInstance(run.failed(), ProviderFailed)
        # What it cost was spent all the same.
        usage = self.record().usage
        self.assertTrue(usage.estimated and usage.prompt_tokens > 9)
        self.assertEqual(10, usage.completion_tokens)

    def test_the_slot_is_free_meanwhile_and_the_session_is_not(self) -> None:
        self.bench.config = config_with(max_concurrent=8)
        running = [self.bench.start("u", key=f"s{number}") for number in range(8)]
        ninth = self.bench.start("u", key="ninth")
        same = self.bench.start("u", key="s0")
        self.assertEqual((8, 2), (len(self.provider.streams), self.bench.runs.waiting))
        self.provider.streams[0].fail(ProviderOverloaded("busy"))
        self.assertEqual((9, 1), (len(self.provider.streams), self.bench.runs.waiting))
        self.answer(ninth)
        self.assertIsNotNone(ninth.outcome)
        self.assertIsNone(same.run)
        self.bench.clock.advance(0.25)
        self.assertEqual(10, len(self.provider.streams))
        self.answer(running[0])
        self.assertIsNotNone(running[0].outcome)
        self.answer(same)
        for number in range(1, 8):
            self.provider.streams[number].push(ProviderFinished("stop"))
            self.provider.streams[number].end()

    def blocked(self) -> tuple[Started, Started]:
        """A run that waits for its slot after the delay of its retry, and the one that has it."""
        self.bench.config = config_with(max_concurrent=1)
        first, second = self.bench.start("u", key="k"), self.bench.start("u", key="other")
        self.provider.streams[0].fail(ProviderOverloaded("busy"))
        self.bench.clock.advance(0.25)
        self.assertEqual(2, len(self.provider.streams))
        return first, second

    def test_no_attempt_later_than_the_policy_allows(self) -> None:
        first, second = self.blocked()
        self.bench.clock.advance(14.7)
        self.assertIsNone(first.outcome)
        self.bench.clock.advance(0.06)
        self.assertIsInstance(first.failed(), ProviderOverloaded)
        self.answer(second)
        self.assertEqual(2, len(self.provider.streams))

    def test_an_attempt_within_it(self) -> None:
        first, second = self.blocked()
        self.bench.clock.advance(14.5)
        self.answer(second)
        self.assertEqual(3, len(self.provider.streams))
        self.answer(first)
        self.assertIsInstance(first.end(), RunFinished)

    def test_cancel_while_waiting_for_the_slot(self) -> None:
        first, second = self.blocked()
        assert first.run is not None
        first.run.cancel()
        self.tick()
        self.assertIsInstance(first.failed(), RunCancelled)
        self.answer(second)

    def test_cancel_during_the_delay(self) -> None:
        self.failing(ProviderFailed("1"))
        run = self.bench.start("u", key="k")
        assert run.run is not None
        run.run.cancel()
        self.tick()
        self.assertIsInstance(run.failed(), RunCancelled)
        self.assertEqual(["u", ""], self.texts())
        self.bench.clock.advance(5)
        self.assertEqual(1, len(self.provider.streams))

    def test_cancel_at_the_very_moment_of_the_next_attempt(self) -> None:
        self.failing(ProviderFailed("1"))
        run = self.bench.start("u", key="k")
        assert run.run is not None
        # Both calls are due now, the attempt before the end of the wait for it.
        self.bench.clock.callLater(0.2, lambda: None)
        self.bench.clock.rightNow += 0.25
        run.run.cancel()
        self.tick()
        self.assertIsInstance(run.failed(), RunCancelled)
        self.assertEqual(1, len(self.provider.streams))

    def test_timeout_during_the_delay(self) -> None:
        self.bench.config = config_with(timeout_seconds=2.0)
        self.failing(ProviderRateLimited("1", retry_after_s=4.0))
        run = self.bench.start("u")
        self.bench.clock.pump([2, 0])
        self.assertIsInstance(run.failed(), RunTimeout)

    def test_no_retry_once_a_tool_call_was_told(self) -> None:
        self.provider.enqueue([ToolCallDelta(0, "c", "f", "")], ProviderFailed("1"))
        run = self.bench.start("u")
        self.assertIsInstance(run.failed(), ProviderFailed)
        self.assertTrue(run.end().produced_output)  # type: ignore[union-attr]
