"""Tests of L{openclaw.agents.context}."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from openclaw.agents.context import NO_ANSWER, build_context
from openclaw.messages import Message, ToolCall
from openclaw.records import Entry, StopReason
from test.fakes import assistant, user

U1, A1, U2, A2, U3 = user("u1"), assistant("a1"), user("u2"), assistant("a2"), user("u3")
GAP = assistant(NO_ANSWER)
SYSTEM = Message("system", "prompt")


def entry(message: Message, run_id: str, stop_reason: StopReason | None = None) -> Entry:
    return Entry("0" * 32, None, run_id, message, 0, stop_reason)


def conversation(branch: Sequence[Entry], *new: Message) -> list[Message]:
    system, *rest = build_context("prompt", (), branch, new)
    assert system == SYSTEM
    return rest


TURN_1 = (entry(U1, "r1"), entry(A1, "r1", "stop"))


class SystemTests(SynchronousTestCase):
    def test_own_prompt_first_then_the_clients(self) -> None:
        (system, *_) = build_context("prompt", ("one", " ", "two"), (), (U1,))
        self.assertEqual(Message("system", "prompt\n\none\n\ntwo"), system)

    def test_none_of_the_client(self) -> None:
        self.assertEqual((SYSTEM, U1), build_context("prompt", (), (), (U1,)))


class ConversationTests(SynchronousTestCase):
    def test_stored_then_new(self) -> None:
        self.assertEqual([U1, A1, U2], conversation(TURN_1, U2))

    def test_prefix_is_the_same_in_each_turn(self) -> None:
        """What one call read is the beginning of what the next one reads, whatever became of the turns between."""
        turns: list[tuple[Message, Message | None, StopReason | None]] = [
            (U1, A1, "stop"),
            (U2, assistant(""), "aborted"),
            (U3, None, None),
            (user("u4"), assistant("half"), "error"),
            (user("u5"), assistant(""), "stop"),
            (user("u6"), A2, "length"),
        ]
        branch: list[Entry] = []
        before: tuple[Message, ...] = ()
        for number, (turn, answer, reason) in enumerate(turns):
            context = build_context("prompt", ("client",), branch, (turn,))
            self.assertEqual(before, context[: len(before)])
            before = context
            branch.append(entry(turn, f"r{number}"))
            if answer is not None:
                branch.append(entry(answer, f"r{number}", reason))

    def test_interrupted_turn(self) -> None:
        reasons: tuple[StopReason, ...] = ("aborted", "error")
        for reason in reasons:
            branch = [entry(U1, "r1"), entry(assistant(""), "r1", reason)]
            self.assertEqual([U1, GAP, U2], conversation(branch, U2))

    def test_turn_whose_run_left_nothing(self) -> None:
        """Its process died, or it was cancelled while its turn was being stored."""
        self.assertEqual([U1, GAP, U2], conversation([entry(U1, "r1")], U2))
        stored = [entry(U1, "r1"), entry(U2, "r2"), entry(A2, "r2", "stop")]
        self.assertEqual([U1, GAP, U2, A2, U3], conversation(stored, U3))

    def test_partial_answer_stands_as_it_is(self) -> None:
        branch = [entry(U1, "r1"), entry(assistant("hal"), "r1", "aborted")]
        self.assertEqual([U1, assistant("hal"), U2], conversation(branch, U2))

    def test_empty_answer_is_left_out(self) -> None:
        branch = [entry(U1, "r1"), entry(assistant(""), "r1", "stop")]
        self.assertEqual([U1, U2], conversation(branch, U2))

    def test_asked_again(self) -> None:
        branch = [entry(U1, "r1"), entry(assistant(""), "r1", "aborted")]
        self.assertEqual([U1], conversation(branch))
        self.assertEqual([U1], conversation(branch[:1]))
        # Once it has its answer nothing tells of the interruption.
        answered = [*branch, entry(assistant(""), "r2", "error"), entry(A1, "r3", "stop")]
        self.assertEqual([U1, A1, U2], conversation(answered, U2))

    def test_several_messages_of_one_request(self) -> None:
        branch = [entry(U1, "r1"), entry(U2, "r1"), entry(A2, "r1", "stop")]
        self.assertEqual([U1, U2, A2, U3], conversation(branch, U3))
        self.assertEqual([U1, U2], conversation((), U1, U2))

    def test_empty_answers_that_the_client_sent(self) -> None:
        self.assertEqual([U1, U2], conversation((), U1, assistant(""), U2))
        self.assertEqual([U1, A1], conversation(TURN_1, assistant("")))

    def test_tool_traffic_stays(self) -> None:
        call = Message("assistant", "", (ToolCall("c1", "f", "{}"),))
        result = Message("tool", "r", tool_call_id="c1")
        branch = [entry(U1, "r1"), entry(call, "r1", "tool_calls")]
        self.assertEqual([U1, call, result], conversation(branch, result))
        branch += [entry(result, "r2"), entry(assistant(""), "r2", "error")]
        self.assertEqual([U1, call, result, GAP, U2], conversation(branch, U2))
