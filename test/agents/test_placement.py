"""Tests of L{openclaw.agents.placement}."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from openclaw.agents.placement import Append, Detached, Placement, place
from openclaw.agents.resolve import KeySource
from openclaw.interfaces import Entry, StopReason
from openclaw.messages import Message, ToolCall
from test.fakes import assistant, user

APPENDING: tuple[KeySource, ...] = ("key", "metadata", "user")
ALL: tuple[KeySource, ...] = (*APPENDING, "chat", "fresh")


def stored(*told: Message | tuple[Message, str, StopReason | None]) -> list[Entry]:
    """A branch: messages as C{(message, run id, stop reason)}, or an answer ending each run of its own."""
    entries: list[Entry] = []
    run = 0
    for item in told:
        if isinstance(item, Message):
            message, run_id = item, f"run{run}"
            reason: StopReason | None = "stop" if message.role == "assistant" else None
            run += message.role == "assistant"
        else:
            message, run_id, reason = item
        parent = entries[-1].id if entries else None
        entries.append(Entry(f"{len(entries):032x}", parent, run_id, message, 0, reason))
    return entries


def calling(*ids: str, text: str = "") -> Message:
    return Message("assistant", text, tuple(ToolCall(id_, "f", "{}") for id_ in ids))


def result(call_id: str, text: str = "r") -> Message:
    return Message("tool", text, tool_call_id=call_id)


U1, A1, U2, A2, U3 = user("u1"), assistant("a1"), user("u2"), assistant("a2"), user("u3")


class AppendTests(SynchronousTestCase):
    """Rule 2, and sessions without turns."""

    def test_first_turn(self) -> None:
        for source in ALL:
            self.assertEqual(Append((U1,)), place([], [U1], source))
            self.assertEqual(Append((U1, A1, U2)), place([], [U1, A1, U2], source))

    def test_one_message(self) -> None:
        for source in APPENDING:
            self.assertEqual(Append((U2,)), place(stored(U1, A1), [U2], source))

    def test_a_repeated_message_is_a_new_turn(self) -> None:
        for source in APPENDING:
            self.assertEqual(Append((U1,)), place(stored(U1, A1), [U1], source))

    def test_tool_results_alone(self) -> None:
        branch = stored(U1, (calling("c1", "c2"), "run0", "tool_calls"))
        results = [result("c1"), result("c2")]
        for source in APPENDING:
            self.assertEqual(Append(tuple(results)), place(branch, results, source))

    def test_one_message_of_a_chat_is_no_append(self) -> None:
        self.assertEqual(Detached(), place(stored(U1, A1), [U2], "chat"))


class WholeConversationTests(SynchronousTestCase):
    """Rule 3, for plain continuation."""

    def assert_appends(self, branch: Sequence[Entry], sent: Sequence[Message], *new: Message) -> None:
        for source in ALL:
            self.assertEqual(Append(new), place(branch, sent, source))

    def assert_detached(
        self, branch: Sequence[Entry], sent: Sequence[Message], sources: Sequence[KeySource] = ALL
    ) -> None:
        for source in sources:
            self.assertEqual(Detached(), place(branch, sent, source))

    def test_next_turn(self) -> None:
        self.assert_appends(stored(U1, A1), [U1, A1, U2], U2)
        self.assert_appends(stored(U1, A1, U2, A2), [U1, A1, U2, A2, U3], U3)

    def test_several_new_messages(self) -> None:
        self.assert_appends(stored(U1, A1), [U1, A1, U2, user("more")], U2, user("more"))

    def test_blanks_around_texts_mean_nothing(self) -> None:
        self.assert_appends(stored(user(" u1\n"), assistant("a1 ")), [user("u1"), assistant("\na1"), U2], U2)

    def test_stopped_answer(self) -> None:
        branch = stored(U1, (assistant("abcdef"), "run0", "aborted"))
        self.assert_appends(branch, [U1, assistant("abc"), U2], U2)
        self.assert_appends(branch, [U1, assistant("abcdef"), U2], U2)
        self.assert_detached(branch, [U1, assistant("abx"), U2])
        self.assert_detached(branch, [U1, assistant("abcdefg"), U2])

    def test_a_users_text_must_be_whole(self) -> None:
        self.assert_detached(stored(U1, A1), [user("u"), A1, U2])

    def test_answer_that_never_began(self) -> None:
        branch = stored(U1, (assistant(""), "run0", "aborted"))
        for source in APPENDING:
            self.assertEqual(Append((U2,)), place(branch, [U2], source))
        self.assert_appends(branch, [U1, U2], U2)
        self.assert_appends(branch, [U1, assistant(" "), U2], U2)

    def test_a_turn_without_an_answer_is_asked_again(self) -> None:
        for branch in (stored(U1), stored(U1, (assistant(""), "run0", "error"))):
            self.assertEqual(Append(()), place(branch, [U1], "chat"))
            self.assertEqual(Append(()), place(branch, [U1, assistant("")], "user"))

    def test_regenerate_is_detached(self) -> None:
        self.assert_detached(stored(U1, A1), [U1], ["chat"])
        self.assert_detached(stored(U1, A1, U2, A2), [U1, A1, U2])
        self.assert_detached(stored(U1, A1), [U1, A1])

    def test_edits_windows_and_foreign_calls_are_detached(self) -> None:
        branch = stored(U1, A1, U2, A2)
        self.assert_detached(branch, [U1, A1, user("edited")])
        self.assert_detached(branch, [A1, U2, A2, U3])
        self.assert_detached(branch, [U2, A2, U3])
        self.assert_detached(branch, [user("Generate a title"), user("x")])
        self.assert_detached(branch, [U1, assistant("other"), U2, A2, U3])
        self.assert_detached(branch, [U1, U2, A1, A2, U3])

    def test_nothing_but_silence(self) -> None:
        silent = stored((assistant(""), "run0", None))
        self.assertEqual(Detached(), place(silent, [assistant("")], "chat"))
        self.assertEqual(Append((U1,)), place(silent, [U1], "chat"))

    def test_client_tools_by_id(self) -> None:
        branch = stored(U1, (calling("c1"), "run0", "tool_calls"))
        told = [U1, calling("c1"), result("c1")]
        self.assert_appends(branch, told, result("c1"))
        self.assert_detached(branch, [U1, calling("c9"), result("c9")])
        self.assert_detached(branch, [U1, assistant("text"), U2])
        answered = stored(U1, (calling("c1"), "run0", "tool_calls"), (result("c1"), "run1", None), A2)
        self.assert_appends(answered, [*told, A2, U3], U3)
        self.assert_detached(answered, [U1, calling("c1"), result("c2"), A2, U3])
        self.assert_detached(answered, [U1, calling("c1"), result("c1", "other"), A2, U3])

    def test_answers_of_one_run_are_joined(self) -> None:
        branch = stored(
            (U1, "run0", None),
            (calling("own", text="Let me see. "), "run0", "tool_calls"),
            (result("own"), "run0", None),
            (assistant("\nIt is 5."), "run0", "stop"),
        )
        self.assert_appends(branch, [U1, assistant("Let me see. \nIt is 5."), U2], U2)
        self.assert_appends(branch, [U1, assistant("Let me see."), U2], U2)
        self.assert_detached(branch, [U1, assistant("Let me see.It is 5."), U2])
        self.assert_detached(
            branch, [U1, calling("own", text="Let me see. "), result("own"), assistant("It is 5."), U2]
        )

    def test_answers_that_a_client_sent_are_not_joined(self) -> None:
        sent = [U1, A1, assistant("and"), U2]
        branch = stored(*((message, "run0", None) for message in sent), (A2, "run0", "stop"))
        self.assert_appends(branch, [*sent, A2, U3], U3)

    def test_answers_of_two_runs_are_not_joined(self) -> None:
        branch = stored(U1, (A1, "run0", "stop"), (A2, "run1", "stop"))
        self.assert_appends(branch, [U1, A1, A2, U3], U3)
        self.assert_detached(branch, [U1, assistant("a1a2"), U3])


def _append(branch: list[Entry], placement: Placement, run_id: str, answer: str) -> None:
    """What a run stores."""
    assert isinstance(placement, Append)
    for message in (*placement.new, assistant(answer)):
        parent = branch[-1].id if branch else None
        reason: StopReason | None = "stop" if message is not None and message.role == "assistant" else None
        branch.append(Entry(f"{len(branch):032x}", parent, run_id, message, 0, reason))


_TURNS = st.lists(st.tuples(st.text("ab \n", min_size=1, max_size=4).filter(str.strip), st.text("xy ", max_size=4)))


class ContinuationProperties(SynchronousTestCase):
    @settings(max_examples=150, derandomize=True, deadline=None, database=None)
    @given(_TURNS, st.sampled_from(ALL))
    def test_whole_conversation_each_time(self, turns: list[tuple[str, str]], source: KeySource) -> None:
        branch: list[Entry] = []
        shown: list[Message] = []
        for number, (text, answer) in enumerate(turns):
            shown.append(user(text))
            _append(branch, place(branch, shown, source), f"run{number}", answer)
            shown.append(assistant(answer))
        self.assertEqual(shown, [entry.message for entry in branch])

    @settings(max_examples=100, derandomize=True, deadline=None, database=None)
    @given(_TURNS, st.sampled_from(APPENDING))
    def test_only_the_new_turn(self, turns: list[tuple[str, str]], source: KeySource) -> None:
        branch: list[Entry] = []
        for number, (text, answer) in enumerate(turns):
            _append(branch, place(branch, [user(text)], source), f"run{number}", answer)
        expected = [message for text, answer in turns for message in (user(text), assistant(answer))]
        self.assertEqual(expected, [entry.message for entry in branch])
