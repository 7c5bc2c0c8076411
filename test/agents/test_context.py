"""Tests of L{openclaw.agents.context}."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from openclaw.agents.context import NO_ANSWER, NO_RESULT, STRAY_RESULT, build_context
from openclaw.messages import Message, ToolCall
from openclaw.records import Entry, StopReason
from test.fakes import assistant, user

U1, A1, U2, A2, U3 = user("u1"), assistant("a1"), user("u2"), assistant("a2"), user("u3")
GAP = assistant(NO_ANSWER)
SYSTEM = Message("system", "prompt")


def entry(message: Message, run_id: str, stop_reason: StopReason | None = None) -> Entry:
    return Entry("0" * 32, None, run_id, message, 0, stop_reason)


def calling(*ids: str, text: str = "") -> Message:
    return Message("assistant", text, tuple(ToolCall(call_id, "f", "{}") for call_id in ids))


def result(call_id: str, text: str = "r") -> Message:
    return Message("tool", text, tool_call_id=call_id)


def stray(text: str) -> Message:
    return user(f"{STRAY_RESULT}\n{text}")


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


_CALLS = st.lists(st.sampled_from("abc"), max_size=3, unique=True)
_MESSAGES = st.one_of(
    st.builds(user, st.sampled_from(["", "u"])),
    st.builds(lambda text, ids: calling(*ids, text=text), st.sampled_from(["", "a"]), _CALLS),
    st.builds(result, st.sampled_from(["a", "b", "c", "d"]), st.sampled_from(["", " ", "r"])),
)


class CallTests(SynchronousTestCase):
    """Providers refuse a prompt in which a call has no result, or a result no call."""

    def test_an_abandoned_call(self) -> None:
        branch = [entry(U1, "r1"), entry(calling("c1"), "r1", "tool_calls")]
        none = result("c1", NO_RESULT)
        self.assertEqual([U1, calling("c1"), none, GAP, U2], conversation(branch, U2))
        branch += [entry(U2, "r2"), entry(A2, "r2", "stop")]
        self.assertEqual([U1, calling("c1"), none, GAP, U2, A2, U3], conversation(branch, U3))
        self.assertEqual([U1, calling("c1"), none, U2], conversation((), U1, calling("c1"), U2))
        self.assertEqual([U1, calling("c1"), none], conversation(branch[:2]))

    def test_some_results_are_missing(self) -> None:
        call, missing = calling("c1", "c2", "c3"), [result("c1", NO_RESULT), result("c3", NO_RESULT)]
        branch = [entry(U1, "r1"), entry(call, "r1", "tool_calls")]
        self.assertEqual([U1, call, result("c2"), *missing], conversation(branch, result("c2")))
        self.assertEqual([U1, call, result("c2"), *missing, U2], conversation(branch, result("c2"), U2))

    def test_in_the_order_of_the_client(self) -> None:
        call = calling("own1", "c1", "own2", "c2")
        results = [result(call_id) for call_id in ("own2", "own1", "c2", "c1")]
        branch = [entry(U1, "r1"), entry(call, "r1", "tool_calls"), *(entry(own, "r1") for own in results[:2])]
        self.assertEqual([U1, call, *results], conversation(branch, *results[2:]))

    def test_a_result_of_no_call(self) -> None:
        self.assertEqual([stray("r"), U1], conversation((), result("c1"), result("c2", " "), U1))
        late = [U1, calling("c1"), U2, result("c1", "5"), U3]
        asked = [U1, calling("c1"), result("c1", NO_RESULT), U2, stray("5"), U3]
        self.assertEqual(asked, conversation((), *late))

    def test_a_result_that_is_told_twice(self) -> None:
        sent = [calling("c1", "c2"), result("c9"), result("c1", "5"), result("c1", "6"), result("c2", "7"), U1]
        asked = [sent[0], sent[2], sent[4], stray("r"), stray("6"), U1]
        self.assertEqual(asked, conversation((), *sent))

    def test_ids_that_a_provider_gave_twice(self) -> None:
        sent = [calling("c", "c"), result("c", "5"), result("c", "6"), U1]
        self.assertEqual(sent, conversation((), *sent))
        self.assertEqual([*sent[:2], result("c", NO_RESULT), U1], conversation((), *sent[:2], U1))

    def test_the_prefix_stays_the_same(self) -> None:
        """What was made up for a call is there in the later turns, too, even if its result comes late."""
        branch = [entry(U1, "r1"), entry(calling("c1", "c2"), "r1", "tool_calls")]
        first = conversation(branch, result("c1"))
        branch += [
            entry(result("c1"), "r2"),
            entry(A1, "r2", "stop"),
            entry(result("c2"), "r3"),
            entry(A2, "r3", "stop"),
        ]
        self.assertEqual([*first, A1, stray("r"), A2, U3], conversation(branch, U3))

    @settings(max_examples=300, derandomize=True, deadline=None, database=None)
    @given(st.lists(st.tuples(_MESSAGES, st.integers(0, 2), st.booleans()), max_size=20), st.integers(0, 20))
    def test_laws(self, said: list[tuple[Message, int, bool]], stored: int) -> None:
        runs = [sum(step for _, step, _ in said[: place + 1]) for place in range(len(said))]
        branch = [
            entry(message, f"r{run}", ("aborted" if cut else "stop") if message.role == "assistant" else None)
            for (message, _, cut), run in zip(said[:stored], runs, strict=False)
        ]
        new = [message for message, _, _ in said[stored:]]
        asked = conversation(branch, *new)
        # Each call has its results right behind it, in some order, and there are no others.
        waiting: list[str | None] = []
        for message in asked:
            if message.role == "tool":
                waiting.remove(message.tool_call_id)
            else:
                self.assertEqual([], waiting)
                waiting = [call.id for call in message.tool_calls]
        self.assertEqual([], waiting)
        # All else is there, in its order, and nothing that was said is lost.
        told = [message for message, _, _ in said if message != assistant("")]
        others = [message for message in told if message.role != "tool"]
        is_made = lambda message: message == GAP or message.text.startswith(STRAY_RESULT)  # noqa: E731
        self.assertEqual(others, [m for m in asked if m.role != "tool" and not is_made(m)])
        results = [m.text for m in told if m.role == "tool" and m.text.strip()]
        self.assertEqual(len(results), sum(m.text in ("r", stray("r").text) for m in asked))
        # Without such trouble a prompt is what was said.
        if _is_paired(told) and not branch:
            self.assertEqual(told, asked)


def _is_paired(told: Sequence[Message]) -> bool:
    waiting: list[str] = []
    for message in told:
        if message.role != "tool":
            if waiting:
                return False
            waiting = [call.id for call in message.tool_calls]
        elif message.tool_call_id in waiting:
            waiting.remove(message.tool_call_id)
        else:
            return False
    return not waiting
