"""Tests of L{openclaw.agents.loop}; what a run makes of it is in C{test_work.py}."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from openclaw.agents.loop import Delta, LoopHooks, ModelTurn, converse
from openclaw.agents.models import Candidate, Prompt, find_candidates
from openclaw.agents.retry import Retries
from openclaw.errors import OpenClawError, ProviderAuthFailed, ProviderFailed
from openclaw.events import ProviderFinished, ProviderUsage, ReasoningDelta, TextDelta, ToolCallDelta
from openclaw.messages import Message, ToolCall, Usage
from openclaw.models import ProviderStream
from openclaw.providers.scripted import ScriptedProvider
from test.fakes import FixedCatalog

PROMPT = Prompt((Message("system", "12345678"), Message("user", "1")))


class ModelTurnTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.turn = ModelTurn()

    def test_text(self) -> None:
        batch = [TextDelta("a"), ReasoningDelta("hm"), TextDelta("b"), ProviderFinished("stop")]
        self.assertEqual(batch[:3], self.turn.take(batch))
        self.assertEqual(("ab", "stop", True), (self.turn.text, self.turn.reason, self.turn.produced_output))
        self.assertEqual("hm", self.turn.reasoning)

    def test_what_is_no_output(self) -> None:
        self.assertEqual([], self.turn.take([ProviderFinished("stop"), ProviderUsage(Usage(1, 2))]))
        self.assertFalse(self.turn.produced_output)
        self.assertEqual(Usage(1, 2), self.turn.usage_or_estimate(PROMPT.messages))
        self.turn.restart()
        self.assertEqual((None, None), (self.turn.reason, self.turn.usage))

    def test_calls_in_pieces(self) -> None:
        self.turn.take([ToolCallDelta(1, "b", "g", "")])
        self.turn.take([ToolCallDelta(0, "a", "f", "{"), ToolCallDelta(1, None, None, "[]")])
        self.turn.take([ToolCallDelta(0, None, None, "}")])
        self.assertEqual((ToolCall("a", "f", "{}"), ToolCall("b", "g", "[]")), self.turn.tool_calls)
        self.assertTrue(self.turn.produced_output)

    def test_estimate(self) -> None:
        self.turn.take([TextDelta("12345"), ToolCallDelta(0, "a", "f", "1234")])
        self.assertEqual(Usage(3, 3, estimated=True), self.turn.usage_or_estimate(PROMPT.messages))
        self.turn.take([ReasoningDelta("1234")])
        self.assertEqual(Usage(3, 4, estimated=True), self.turn.usage_or_estimate(PROMPT.messages))

    def test_nothing_heard(self) -> None:
        self.assertEqual(Usage(), self.turn.usage_or_estimate(PROMPT.messages))
        self.turn.take([ProviderFinished("stop")])
        self.assertEqual(Usage(3, 0, estimated=True), self.turn.usage_or_estimate(PROMPT.messages))
        self.turn.restart()
        self.assertEqual(Usage(), self.turn.usage_or_estimate(PROMPT.messages))

    def test_usage_of_all_attempts(self) -> None:
        self.turn.take([ProviderUsage(Usage(1, 2, 3))])
        self.turn.take([ProviderUsage(Usage(2, 2, 3))])
        self.turn.restart()
        self.assertEqual(Usage(2, 2, 3), self.turn.usage_or_estimate(PROMPT.messages))
        self.turn.take([TextDelta("1234")])
        self.assertEqual(Usage(5, 3, 3, estimated=True), self.turn.usage_or_estimate(PROMPT.messages))
        self.turn.take([ProviderUsage(Usage(4, 5, None, 6))])
        self.assertEqual(Usage(6, 7, 3, 6), self.turn.usage_or_estimate(PROMPT.messages))


class ConverseTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.provider = ScriptedProvider()
        self.told: list[Sequence[Delta]] = []
        self.opened: list[ProviderStream | None] = []
        self.firsts = 0
        self.waits: list[float] = []
        self.goes_on = True
        self.stopped = False
        self.chosen: list[str] = []
        self.fell_back: list[tuple[str, str, str]] = []
        self.clock = Clock()

    def converse(self, *refs: str, candidates: Sequence[Candidate] | None = None) -> Deferred[None]:
        clock = self.clock

        async def tell(deltas: Sequence[Delta]) -> None:
            self.told.append(deltas)

        async def wait(delay_s: float) -> bool:
            self.waits.append(delay_s)
            return self.goes_on

        def first_output() -> None:
            self.firsts += 1

        def fell_back(ref: str, error: OpenClawError, next_ref: str) -> None:
            self.fell_back.append((ref, error.message, next_ref))

        hooks = LoopHooks(
            tell,
            self.opened.append,
            first_output,
            wait,
            lambda: not self.stopped,
            self.chosen.append,
            fell_back,
        )
        candidates = candidates or find_candidates(FixedCatalog(self.provider), refs or ("p/m",))
        return Deferred.fromCoroutine(converse(candidates, PROMPT, ModelTurn(), Retries(clock, lambda: 0.0), hooks))

    def test_batches(self) -> None:
        self.provider.enqueue([TextDelta("a"), TextDelta("b")], [ProviderUsage(Usage())], [ProviderFinished("stop")])
        self.successResultOf(self.converse())
        self.assertEqual([[TextDelta("a"), TextDelta("b")]], self.told)
        self.assertEqual(1, self.firsts)
        self.assertEqual([self.provider.streams[0], None], self.opened)
        self.assertTrue(self.provider.streams[0].closed)

    def test_repeats(self) -> None:
        self.provider.enqueue(ProviderFailed("1"))
        self.provider.enqueue_text("a")
        self.successResultOf(self.converse())
        self.assertEqual([0.25], self.waits)
        self.assertEqual([self.provider.streams[0], None, self.provider.streams[1], None], self.opened)

    def test_wait_that_allows_no_other_attempt(self) -> None:
        self.goes_on = False
        self.provider.enqueue(ProviderFailed("1"))
        self.assertEqual("1", self.failureResultOf(self.converse(), ProviderFailed).value.message)
        self.assertEqual(1, len(self.provider.streams))

    def test_no_reason(self) -> None:
        self.provider.enqueue([TextDelta("a")])
        self.failureResultOf(self.converse(), ProviderFailed)
        self.assertEqual([], self.waits)

    def test_next_model(self) -> None:
        self.provider.enqueue(ProviderAuthFailed("1"))
        self.provider.enqueue_text("a")
        self.successResultOf(self.converse("p/m", "q/n"))
        self.assertEqual((["p/m", "q/n"], [("p/m", "1", "q/n")]), (self.chosen, self.fell_back))
        self.assertEqual(["m", "n"], [request.model for request in self.provider.requests])
        self.assertEqual([], self.waits)

    def test_last_of_them_fails(self) -> None:
        for message in "12":
            self.provider.enqueue(ProviderAuthFailed(message))
        self.assertEqual("1", self.failureResultOf(self.converse("p/m", "q/n"), ProviderAuthFailed).value.message)
        self.assertEqual(["p/m", "q/n", "p/m"], self.chosen)

    def test_no_other_model_when_it_is_stopped(self) -> None:
        """The failed attempt is the one that the stop has closed."""
        conversing = self.converse("p/m", "q/n")
        self.stopped = True
        self.provider.streams[0].close()
        self.failureResultOf(conversing, ProviderFailed)
        self.assertEqual((1, [], []), (len(self.provider.streams), self.waits, self.fell_back))

    def test_stopped_between_two_models(self) -> None:
        """A model that cannot be used takes no attempt, so the stop shows only afterwards."""
        self.stopped = True
        candidates = [Candidate("p/m", ProviderAuthFailed("1")), *find_candidates(FixedCatalog(self.provider), ["q/n"])]
        self.failureResultOf(self.converse(candidates=candidates), ProviderAuthFailed)
        self.assertEqual([], self.provider.streams)

    def test_no_other_model_when_the_wait_allows_none(self) -> None:
        self.goes_on = False
        self.provider.enqueue(ProviderFailed("1"))
        self.failureResultOf(self.converse("p/m", "q/n"), ProviderFailed)
        self.assertEqual(1, len(self.provider.streams))

    def test_no_other_model_after_15_seconds(self) -> None:
        conversing = self.converse("p/m", "q/n")
        self.clock.advance(15.1)
        self.provider.streams[0].fail(ProviderFailed("1"))
        self.failureResultOf(conversing, ProviderFailed)
        self.assertEqual(1, len(self.provider.streams))

    def test_no_other_model_after_output(self) -> None:
        self.provider.enqueue([TextDelta("a")], ProviderAuthFailed("1"))
        self.failureResultOf(self.converse("p/m", "q/n"), ProviderAuthFailed)
        self.assertEqual((1, ["p/m"]), (len(self.provider.streams), self.chosen))
