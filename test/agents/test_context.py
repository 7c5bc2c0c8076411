"""Tests of L{openclaw.agents.context}."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from openclaw.agents.context import GO_ON, NO_ANSWER, NO_BEGINNING, NO_RESULT, STRAY_RESULT, build_context
from openclaw.messages import Message, ToolCall
from openclaw.records import Entry, StopReason
from openclaw.sessions.tree import is_silent
from test.fakes import assistant, user

U1, A1, U2, A2, U3 = user("u1"), assistant("a1"), user("u2"), assistant("a2"), user("u3")
GAP, BEGINNING, GO = assistant(NO_ANSWER), user(NO_BEGINNING), user(GO_ON)
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

    def test_empty_answer(self) -> None:
        """A server with a strict template refuses an empty answer, and two turns without one between."""
        for text in ("", " \n"):
            branch = [entry(U1, "r1"), entry(assistant(text), "r1", "stop")]
            self.assertEqual([U1, GAP, U2], conversation(branch, U2))

    def test_thoughts_before_an_empty_answer(self) -> None:
        thought = Message("assistant", "", reasoning="hm")
        branch = [entry(U1, "r1"), entry(thought, "r1", "length")]
        self.assertEqual([U1, attrs.evolve(GAP, reasoning="hm"), U2], conversation(branch, U2))
        branch += [entry(A1, "r2", "stop")]
        self.assertEqual([U1, A1, U2], conversation(branch, U2))

    def test_asked_again(self) -> None:
        branch = [entry(U1, "r1"), entry(assistant(""), "r1", "aborted")]
        self.assertEqual([U1], conversation(branch))
        self.assertEqual([U1], conversation(branch[:1]))
        # Once it has its answer nothing tells of the interruption.
        answered = [*branch, entry(assistant(""), "r2", "error"), entry(A1, "r3", "stop")]
        self.assertEqual([U1, A1, U2], conversation(answered, U2))

    def test_several_messages_of_one_request(self) -> None:
        branch = [entry(U1, "r1"), entry(U2, "r1"), entry(A2, "r1", "stop")]
        self.assertEqual([U1, GAP, U2, A2, U3], conversation(branch, U3))
        self.assertEqual([U1, GAP, U2], conversation((), U1, U2))

    def test_an_answer_that_was_let_go_on(self) -> None:
        more = Message("assistant", "more", reasoning="hm")
        branch = [*TURN_1, entry(more, "r2", "stop")]
        joined = Message("assistant", "a1\n\nmore", reasoning="hm")
        self.assertEqual([U1, joined, U2], conversation(branch, U2))

    def test_an_answer_that_is_to_go_on(self) -> None:
        """Servers with strict templates refuse a prompt that ends with an answer."""
        self.assertEqual([U1, A1, GO], conversation((), U1, A1))
        self.assertEqual([U1, A1, GO], conversation(TURN_1, assistant("")))
        self.assertEqual([BEGINNING, A1, GO], conversation((), A1))

    def test_nothing_that_can_be_told(self) -> None:
        self.assertEqual([BEGINNING], conversation((), result("c1", " ")))

    def test_a_conversation_that_begins_with_an_answer(self) -> None:
        self.assertEqual([BEGINNING, A1, U2], conversation((), A1, U2))

    def test_empty_answers_that_the_client_sent(self) -> None:
        self.assertEqual([U1, GAP, U2], conversation((), U1, assistant(""), U2))
        self.assertEqual([U1], conversation((), assistant(""), U1))

    def test_tool_traffic_stays(self) -> None:
        call = Message("assistant", "", (ToolCall("c1", "f", "{}"),))
        result = Message("tool", "r", tool_call_id="c1")
        branch = [entry(U1, "r1"), entry(call, "r1", "tool_calls")]
        self.assertEqual([U1, call, result], conversation(branch, result))
        branch += [entry(result, "r2"), entry(assistant(""), "r2", "error")]
        self.assertEqual([U1, call, result, GAP, U2], conversation(branch, U2))


class RefusedTests(SynchronousTestCase):
    """A turn that a server refused is not sent again: the session would be refused for ever."""

    def refused(self, run_id: str) -> Entry:
        return entry(assistant(""), run_id, "refused")

    def test_between_answers(self) -> None:
        branch = [*TURN_1, entry(U2, "r2"), self.refused("r2")]
        self.assertEqual([U1, A1, U3], conversation(branch, U3))
        branch += [entry(U3, "r3"), entry(A2, "r3", "stop")]
        self.assertEqual([U1, A1, U3, A2, user("u4")], conversation(branch, user("u4")))

    def test_the_first_and_several(self) -> None:
        branch = [entry(U1, "r1"), self.refused("r1"), entry(U2, "r2"), self.refused("r2")]
        self.assertEqual([U3], conversation(branch, U3))

    def test_behind_a_turn_that_failed(self) -> None:
        branch = [entry(U1, "r1"), entry(assistant(""), "r1", "error"), entry(U2, "r2"), self.refused("r2")]
        self.assertEqual([U1, GAP, U3], conversation(branch, U3))

    def test_asked_again_and_refused_again(self) -> None:
        branch = [*TURN_1, entry(U2, "r2"), self.refused("r3")]
        self.assertEqual([U1, A1, U3], conversation(branch, U3))
        self.assertEqual([U1, A1, U2], conversation(branch[:-1]))
        # Another answer to a turn that has one.
        self.assertEqual([U1, A1, U2], conversation([*TURN_1, self.refused("r2")], U2))

    def test_the_agents_own_calls_go_with_it(self) -> None:
        call = calling("c1")
        branch = [*TURN_1, entry(U2, "r2"), entry(call, "r2", "tool_calls"), entry(result("c1"), "r2")]
        self.assertEqual([U1, A1, U3], conversation([*branch, self.refused("r2")], U3))

    def test_a_result_of_the_client(self) -> None:
        call = calling("c1")
        branch = [entry(U1, "r1"), entry(call, "r1", "tool_calls"), entry(result("c1", "huge"), "r2")]
        asked = [U1, call, result("c1", NO_RESULT), GAP, U2]
        self.assertEqual(asked, conversation([*branch, self.refused("r2")], U2))

    def test_the_conversation_before_it_stays(self) -> None:
        """What a client brought along from elsewhere is stored by the run that was refused."""
        branch = [entry(U1, "r1"), entry(A1, "r1"), entry(U2, "r1"), self.refused("r1")]
        self.assertEqual([U1, A1, U3], conversation(branch, U3))


_CALLS = st.lists(st.sampled_from("abc"), max_size=3, unique=True)
_ENDS: tuple[StopReason | None, ...] = ("stop", "stop", "length", "aborted", "error", "refused", None)
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
        self.assertEqual([stray("r"), GAP, U1], conversation((), result("c1"), result("c2", " "), U1))
        late = [U1, calling("c1"), U2, result("c1", "5"), U3]
        asked = [U1, calling("c1"), result("c1", NO_RESULT), U2, GAP, stray("5"), GAP, U3]
        self.assertEqual(asked, conversation((), *late))

    def test_a_result_that_is_told_twice(self) -> None:
        sent = [U1, calling("c1", "c2"), *map(result, ("c9", "c1", "c1", "c2"), "r567"), U2]
        strays = user(f"{stray('r').text}\n\n{stray('6').text}")
        asked = [*sent[:2], sent[3], sent[5], strays, GAP, U2]
        self.assertEqual(asked, conversation((), *sent))

    def test_ids_that_a_provider_gave_twice(self) -> None:
        sent = [U1, calling("c", "c"), result("c", "5"), result("c", "6"), U2]
        self.assertEqual(sent, conversation((), *sent))
        self.assertEqual([*sent[:3], result("c", NO_RESULT), U2], conversation((), *sent[:3], U2))

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
    @given(st.lists(st.tuples(_MESSAGES, st.integers(0, 2), st.sampled_from(_ENDS)), max_size=20), st.integers(0, 20))
    def test_laws(self, said: list[tuple[Message, int, StopReason | None]], stored: int) -> None:
        runs = [sum(step for _, step, _ in said[: place + 1]) for place in range(len(said))]
        branch = [
            entry(message, f"r{run}", reason if message.role == "assistant" else None)
            for (message, _, reason), run in zip(said[:stored], runs, strict=False)
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
        # The user first, and last but for results, and no two of a role in a row; no answer is empty.
        self.assertEqual("user", asked[0].role)
        self.assertIn(asked[-1].role, ("user", "tool"))
        for before, message in pairwise(asked):
            self.assertTrue(message.role == "tool" or before.role != message.role)
        self.assertTrue(
            all(message.text.strip() or message.tool_calls for message in asked if message.role == "assistant")
        )
        # All else is there, in its order, and nothing that was said is lost.
        if any(each.stop_reason == "refused" for each in branch):
            return
        told = [message for message, _, _ in said if not is_silent(message)]
        others = [message for message in told if message.role != "tool"]
        is_made = lambda m: m in (GAP, BEGINNING, GO) or m.text.startswith(STRAY_RESULT)  # noqa: E731
        of_others = [m for m in asked if m.role != "tool" and not is_made(m)]
        self.assertEqual(_texts(others), _texts(of_others))
        self.assertEqual([m.tool_calls for m in others if m.tool_calls], [m.tool_calls for m in asked if m.tool_calls])
        results = [m.text for m in told if m.role == "tool" and m.text.strip()]
        told_results = [m.text.count(STRAY_RESULT) or (m.role == "tool" and m.text == "r") for m in asked]
        self.assertEqual(len(results), sum(told_results))
        # Without such trouble a prompt is what was said.
        if _is_paired(told) and _takes_turns(told) and not branch:
            self.assertEqual(told, asked)


def _texts(messages: Sequence[Message]) -> list[str]:
    """The texts in their order, those of joined answers apart."""
    return [text for message in messages for text in message.text.split("\n\n") if text]


def _takes_turns(told: Sequence[Message]) -> bool:
    roles = [message.role for message in told]
    return roles[:1] == ["user"] and roles[-1] != "assistant" and all(b == "tool" or a != b for a, b in pairwise(roles))


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
