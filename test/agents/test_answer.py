"""Tests of L{openclaw.agents.answer}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from openclaw.agents.answer import Answer, RunAnswer
from openclaw.agents.models import Prompt
from openclaw.errors import ProviderFailed
from openclaw.events import ProviderFinished, ProviderUsage, ReasoningDelta, RunOutcome, TextDelta, ToolCallDelta
from openclaw.messages import Message, ToolCall, Usage

PROMPT = Prompt((Message("system", "12345678"), Message("user", "1")))


class RunAnswerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.answer = RunAnswer()

    def test_text(self) -> None:
        batch = [TextDelta("a"), ReasoningDelta("hm"), TextDelta("b"), ProviderFinished("stop")]
        self.assertEqual(batch[:3], self.answer.last.take(batch))
        self.assertEqual(("ab", "stop", True), (self.answer.text, self.answer.last.reason, self.answer.produced_output))
        self.assertEqual("hm", self.answer.reasoning)

    def test_what_is_no_output(self) -> None:
        self.assertEqual([], self.answer.last.take([ProviderFinished("stop"), ProviderUsage(Usage(1, 2))]))
        self.assertFalse(self.answer.produced_output)
        self.assertEqual(Usage(1, 2), self.answer.usage(PROMPT.messages))
        self.answer.next_call()
        self.assertEqual((None, None), (self.answer.last.reason, self.answer.last.usage))

    def test_calls_in_pieces(self) -> None:
        self.answer.last.take([ToolCallDelta(1, "b", "g", "")])
        self.answer.last.take([ToolCallDelta(0, "a", "f", "{"), ToolCallDelta(1, None, None, "[]")])
        self.answer.last.take([ToolCallDelta(0, None, None, "}")])
        self.assertEqual((ToolCall("a", "f", "{}"), ToolCall("b", "g", "[]")), self.answer.last.tool_calls)
        self.assertTrue(self.answer.produced_output)

    def test_estimate(self) -> None:
        self.answer.last.take([TextDelta("12345"), ToolCallDelta(0, "a", "f", "1234")])
        self.assertEqual(Usage(3, 3, estimated=True), self.answer.usage(PROMPT.messages))
        self.answer.last.take([ReasoningDelta("1234")])
        self.assertEqual(Usage(3, 4, estimated=True), self.answer.usage(PROMPT.messages))

    def test_nothing_heard(self) -> None:
        self.assertEqual(Usage(), self.answer.usage(PROMPT.messages))
        self.answer.last.take([ProviderFinished("stop")])
        self.assertEqual(Usage(3, 0, estimated=True), self.answer.usage(PROMPT.messages))
        self.answer.next_call()
        self.assertEqual(Usage(), self.answer.usage(PROMPT.messages))

    def test_usage_of_all_attempts(self) -> None:
        self.answer.last.take([ProviderUsage(Usage(1, 2, 3))])
        self.answer.last.take([ProviderUsage(Usage(2, 2, 3))])
        self.answer.next_call()
        self.assertEqual(Usage(2, 2, 3), self.answer.usage(PROMPT.messages))
        self.answer.last.take([TextDelta("1234")])
        self.assertEqual(Usage(5, 3, 3, estimated=True), self.answer.usage(PROMPT.messages))
        self.answer.last.take([ProviderUsage(Usage(4, 5, None, 6))])
        self.assertEqual(Usage(6, 7, 3, 6), self.answer.usage(PROMPT.messages))

    def test_answers_of_several_calls(self) -> None:
        """Text and reasoning are of all calls, the calls of tools and the reason are those of the last one."""
        first = self.answer.last
        first.take([ReasoningDelta("r1"), TextDelta("a"), ToolCallDelta(0, "i", "f", "{}")])
        first.take([ProviderFinished("tool_calls"), ProviderUsage(Usage(1, 2))])
        self.answer.next_call()
        self.assertEqual(("a", "r1", True, None), (*self.said(), self.answer.last.reason))
        self.answer.last.take(
            [ReasoningDelta("r2"), TextDelta("b"), ProviderFinished("stop"), ProviderUsage(Usage(3, 4))]
        )
        usage = self.answer.usage(PROMPT.messages)
        outcome = RunOutcome("ab", "stop", Usage(4, 6), None, "r1r2", (), True)
        self.assertEqual(outcome, self.answer.outcome(usage, None))
        self.answer.forget()
        self.assertEqual(("", "", True), self.said())
        self.assertEqual((), first.tool_calls)

    def said(self) -> tuple[str, str, bool]:
        return self.answer.text, self.answer.reasoning, self.answer.produced_output

    def test_outcome_of_a_failure(self) -> None:
        """An answer that was cut off has no reason, and none of its calls will ever be answered."""
        self.answer.last.take([TextDelta("a"), ToolCallDelta(0, "i", "f", "{}"), ProviderFinished("tool_calls")])
        error = ProviderFailed("no")
        self.assertEqual(RunOutcome("a", None, Usage(), error, "", (), True), self.answer.outcome(Usage(), error))

    def test_only_the_length_is_kept(self) -> None:
        answer = Answer(keeps_text=False)
        answer.take([TextDelta("12345"), ReasoningDelta("123"), ToolCallDelta(0, "i", "f", "{}")])
        self.assertEqual(("", "", 10), (answer.text, answer.reasoning, answer.characters))
        self.assertEqual((ToolCall("i", "f", "{}"),), answer.tool_calls)
