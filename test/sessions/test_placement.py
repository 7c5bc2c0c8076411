"""Tests of L{openclaw.sessions.placement}."""

from __future__ import annotations

import time
from collections.abc import Sequence

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from openclaw.messages import Message, ToolCall
from openclaw.records import Entry, StopReason, Transcript
from openclaw.sessions import placement as placement_module
from openclaw.sessions.keys import KeySource, Manner
from openclaw.sessions.placement import MAX_SINGLE_STARTS, UNKNOWN_RUN, Placement, place
from openclaw.sessions.tree import SessionTree
from test.fakes import assistant, tree_of, user

APPENDING: tuple[KeySource, ...] = ("key", "metadata", "user")
ALL: tuple[KeySource, ...] = (*APPENDING, "chat", "fresh")

Told = Message | tuple[Message, str, StopReason | None]
"""
A message, an answer ending each run of its own; or C{(message, run id, stop reason)}.

Calls are of the agent's own tools where their ids begin with C{own}.
"""


class Session:
    """A tree that a test grows; entries are named C{e0}, C{e1} and so on."""

    def __init__(self, *told: Told) -> None:
        self.tree = SessionTree()
        self._run = 0
        self.add(*told)

    def add(self, *told: Told, after: str | None = "tip", detached: bool = False) -> str:
        """Append a chain; returns its last entry."""
        parent = self.tree.tip_id if after == "tip" else after
        for item in told:
            if isinstance(item, Message):
                message, run_id = item, f"run{self._run}"
                reason: StopReason | None = "stop" if message.role == "assistant" else None
                self._run += message.role == "assistant"
            else:
                message, run_id, reason = item
            own = tuple(call.id for call in message.tool_calls if call.id.startswith("own"))
            entry = Entry(f"e{len(self.tree.entries)}", parent, run_id, message, 0, reason, own)
            self.tree.append([entry], detached=detached)
            parent = entry.id
        return parent or ""

    def place(self, *sent: Message, source: KeySource = "chat", retry_of: str | None = None) -> Placement:
        return place(self.tree, sent, source, retry_of)


def calling(*ids: str, text: str = "") -> Message:
    return Message("assistant", text, tuple(ToolCall(id_, "f", "{}") for id_ in ids))


def result(call_id: str, text: str = "r") -> Message:
    return Message("tool", text, tool_call_id=call_id)


U1, A1, U2, A2, U3, A3 = (Message(role, f"{role[0]}{n}") for n in (1, 2, 3) for role in ("user", "assistant"))


def detached_root(sent: tuple[Message, ...]) -> Placement:
    """What has no first message in common with its session."""
    return Placement(None, sent, detached=True, is_root=True)


class AppendTests(SynchronousTestCase):
    """Rule 2, and sessions without turns."""

    def test_first_turn(self) -> None:
        for source in ALL:
            is_root = source == "chat"
            self.assertEqual(Placement(None, (U1,), is_root=is_root), Session().place(U1, source=source))
            whole = Placement(None, (U1, A1, U2), is_root=is_root)
            self.assertEqual(whole, Session().place(U1, A1, U2, source=source))

    def test_one_message(self) -> None:
        for source in APPENDING:
            self.assertEqual(Placement("e1", (U2,)), Session(U1, A1).place(U2, source=source))

    def test_a_repeated_message_is_a_new_turn(self) -> None:
        for source in APPENDING:
            self.assertEqual(Placement("e1", (U1,)), Session(U1, A1).place(U1, source=source))

    def test_after_a_silent_answer(self) -> None:
        silent = Session(U1, (assistant(""), "run0", "aborted"))
        self.assertEqual(Placement("e1", (U2,)), silent.place(U2, source="key"))

    def test_nothing_but_a_detached_root(self) -> None:
        session = Session()
        session.add(U1, after=None, detached=True)
        self.assertEqual(Placement(None, (U2,)), session.place(U2, source="key"))

    def test_tool_results_alone(self) -> None:
        session = Session(U1, (calling("c1", "c2"), "run0", "tool_calls"))
        for source in ALL:
            sent = (result("c1"), result("c2"))
            self.assertEqual(Placement("e1", sent), session.place(*sent, source=source))
            self.assertEqual(Placement("e1", sent[:1]), session.place(sent[0], source=source))

    def test_tool_results_after_another_turn(self) -> None:
        session = Session(U1, (calling("c1"), "run0", "tool_calls"), (U2, "run1", None), (A2, "run1", "stop"))
        for source in ALL:
            self.assertEqual(Placement("e1", (result("c1"),)), session.place(result("c1"), source=source))

    def test_tool_results_of_an_id_that_was_used_twice(self) -> None:
        call: Told = (calling("c1"), "run0", "tool_calls")
        session = Session(U1, call, (result("c1"), "run1", None), (A1, "run1", "stop"))
        newer = session.add((U2, "run2", None), (calling("c1"), "run2", "tool_calls"), after="e0")
        self.assertEqual(Placement(newer, (result("c1"),)), session.place(result("c1")))
        session.add(U3, after="e3")
        self.assertEqual(Placement("e1", (result("c1"),)), session.place(result("c1")))

    def test_tool_results_of_no_known_call(self) -> None:
        session = Session(U1, A1)
        for source in APPENDING:
            self.assertEqual(Placement("e1", (result("x"),)), session.place(result("x"), source=source))
        self.assertEqual(detached_root((result("x"),)), session.place(result("x")))


class RootTests(SynchronousTestCase):
    """Rule 6: what begins a chat, and what its user interface asks beside that."""

    TASK = user("### Task:\nGenerate a concise title")

    def where(self, session: Session, *sent: Message, source: KeySource = "chat", **manner: bool) -> str:
        placement = place(session.tree, sent, source, None, Manner(**manner))
        if placement.parent_id is not None:
            return placement.parent_id
        return "beside" if placement.detached else "over" if placement.takes_over else "current"

    def test_a_side_call_may_come_first(self) -> None:
        session = Session()
        self.assertEqual("beside", self.where(session, self.TASK))
        session.add(self.TASK, A1, after=None, detached=True)
        self.assertEqual("current", self.where(session, U1))
        self.assertEqual("current", self.where(session, U1, streamed=True))
        self.assertEqual("beside", self.where(session, user(" ### Task: tags")))
        # The same once more is another answer to it.
        again = place(session.tree, [self.TASK], "chat")
        self.assertEqual(Placement("e0", (), detached=True), again)

    def test_what_is_no_side_call(self) -> None:
        self.assertEqual("current", self.where(Session(), self.TASK, streamed=True))
        self.assertEqual("current", self.where(Session(), self.TASK, has_tools=True))
        self.assertEqual("current", self.where(Session(), U1, A1, self.TASK))
        self.assertEqual("current", self.where(Session(), user("a ### Task: of mine")))
        self.assertEqual("current", self.where(Session(), self.TASK, source="key"))

    def test_a_stream_takes_the_place_of_what_was_none(self) -> None:
        session = Session(user("a title, please"), A1)
        self.assertEqual("beside", self.where(session, U1))
        self.assertEqual("over", self.where(session, U1, streamed=True))
        self.assertEqual("beside", self.where(session, U1, A2, U2, source="user", streamed=True))

    def test_but_not_once_it_was_extended(self) -> None:
        session = Session(user("hello"), A1, U2, A2)
        self.assertEqual("beside", self.where(session, U1, streamed=True))
        # Not on the current branch either.
        session.add(assistant("another"), after="e0")
        self.assertEqual("beside", self.where(session, U1, streamed=True))

    def test_nor_that_of_a_stream(self) -> None:
        session = Session()
        session.tree.append([Entry("e0", None, "run0", U1, 0, streamed=True)], detached=False)
        session.add(A1)
        self.assertEqual("beside", self.where(session, U2, streamed=True))

    def test_the_one_that_gave_way_is_detached(self) -> None:
        session = Session(user("a title, please"), A1)
        session.add(U1, A2, after=None)
        self.assertEqual({"e0"}, session.tree.detached)
        self.assertEqual(["e2", "e3"], [node.entry_id for node in session.tree.path])


class WholeConversationTests(SynchronousTestCase):
    """Rules 3 and 5."""

    def assert_appends(self, session: Session, parent: str, sent: Sequence[Message], *new: Message) -> None:
        for source in ALL:
            self.assertEqual(Placement(parent, new), session.place(*sent, source=source))

    def assert_detached(self, session: Session, *sent: Message, source: KeySource = "chat") -> None:
        placement = session.place(*sent, source=source)
        self.assertEqual(attrs.evolve(detached_root(sent), is_root=source == "chat"), placement)
        self.assertEqual((None, True), (placement.parent_id, placement.detached))

    def test_next_turn(self) -> None:
        self.assert_appends(Session(U1, A1), "e1", [U1, A1, U2], U2)
        self.assert_appends(Session(U1, A1, U2, A2), "e3", [U1, A1, U2, A2, U3], U3)

    def test_several_new_messages(self) -> None:
        self.assert_appends(Session(U1, A1), "e1", [U1, A1, U2, user("more")], U2, user("more"))

    def test_nothing_sent_is_lost(self) -> None:
        self.assert_appends(Session(U1, A1), "e1", [U1, A1, U2, A2, U3], U2, A2, U3)
        self.assert_appends(Session(U1, A1, U2, A2), "e0", [U1, assistant("x"), U2, A2, U3], assistant("x"), U2, A2, U3)

    def test_blanks_around_texts_mean_nothing(self) -> None:
        session = Session(user(" u1\n"), assistant("a1 "), U2, A2)
        self.assert_appends(session, "e3", [user("u1"), assistant("\na1"), U2, A2, U3], U3)

    def test_stopped_answer(self) -> None:
        session = Session(U1, (assistant("abcdef"), "run0", "aborted"))
        self.assert_appends(session, "e1", [U1, assistant("abc"), U2], U2)
        self.assert_appends(session, "e1", [U1, assistant("abcdef"), U2], U2)
        self.assert_appends(session, "e0", [U1, assistant("abx"), U2], assistant("abx"), U2)
        self.assert_appends(session, "e0", [U1, assistant("abcdefg"), U2], assistant("abcdefg"), U2)

    def test_a_users_text_must_be_whole(self) -> None:
        self.assert_detached(Session(U1, A1), user("u"), A1, U2)

    def test_answer_that_never_began(self) -> None:
        session = Session(U1, (assistant(""), "run0", "aborted"))
        self.assert_appends(session, "e1", [U1, U2], U2)
        self.assert_appends(session, "e1", [U1, assistant(" "), U2], U2)
        session.add(U2, A2)
        self.assert_appends(session, "e3", [U1, assistant(""), U2, A2, U3], U3)
        self.assert_appends(session, "e3", [assistant(""), U1, U2, A2, U3], U3)

    def test_stopped_before_anything_was_seen(self) -> None:
        session = Session(U1, (assistant("abc"), "run0", "aborted"))
        self.assert_appends(session, "e1", [U1, assistant(""), U2], U2)
        self.assert_appends(session, "e0", [U1, U2], U2)
        # Unless it is known that there was nothing.
        silent = session.add((assistant(""), "again", "aborted"), after="e0")
        self.assert_appends(session, silent, [U1, assistant(""), U2], U2)

    def test_edit(self) -> None:
        session = Session(U1, A1, U2, A2)
        self.assert_appends(session, "e1", [U1, A1, user("edited")], user("edited"))
        self.assert_appends(session, "e0", [U1, U2], U2)

    def test_regenerate(self) -> None:
        session = Session(U1, A1, U2, A2)
        self.assertEqual(Placement("e0", ()), session.place(U1))
        self.assert_appends(session, "e2", [U1, A1, U2])
        self.assert_appends(session, "e2", [U1, A1, U2, assistant("")])

    def test_a_turn_without_an_answer_is_asked_again(self) -> None:
        for session in (Session(U1), Session(U1, (assistant(""), "run0", "error"))):
            self.assertEqual(Placement("e0", ()), session.place(U1))
            self.assertEqual(Placement("e0", ()), session.place(U1, assistant(""), source="user"))

    def test_an_answer_is_to_go_on(self) -> None:
        self.assert_appends(Session(U1, A1), "e1", [U1, A1])

    def test_no_common_beginning(self) -> None:
        session = Session(U1, A1)
        self.assert_detached(session, user("Generate a title"))
        self.assert_detached(session, user("x"), A1, U2, source="key")
        self.assert_detached(session, assistant(""))
        self.assertEqual(detached_root((user("x"),)), Session((assistant(""), "run0", None), U1).place(user("x")))

    def test_the_longest_match_wins(self) -> None:
        session = Session(U1, A1, U2, A2)
        session.add(user("edited"), A3, after="e1")
        self.assert_appends(session, "e3", [U1, A1, U2, A2, U3], U3)
        self.assert_appends(session, "e5", [U1, A1, user("edited"), A3, U3], U3)

    def test_identical_siblings(self) -> None:
        session = Session(U1, A1)
        newest = session.add((A1, "again", "stop"), after="e0")
        # The current branch, although another one says the same.
        self.assert_appends(session, newest, [U1, A1, U2], U2)
        session.add(U2, A2, after="e1")
        self.assert_appends(session, "e1", [U1, A1, U3], U3)
        self.assert_appends(session, "e4", [U1, A1, U2, A2, U3], U3)
        # Neither is current: the newest.
        session.add(user("other"), detached=False, after=None)
        self.assert_appends(session, newest, [U1, A1, U3], U3)
        self.assert_appends(session, "e4", [U1, A1, U2, A2, U3], U3)

    def test_an_exact_answer_before_a_longer_one(self) -> None:
        session = Session(U1, assistant("ab"))
        longer = session.add((assistant("abcdef"), "again", "stop"), after="e0")
        self.assert_appends(session, "e1", [U1, assistant("ab"), U2], U2)
        end = session.add(U2, A2, after=longer)
        self.assert_appends(session, end, [U1, assistant("ab"), U2, A2, U3], U3)
        # Both ways, where the current branch is the exact one.
        session.add(user("other"), after="e1")
        self.assert_appends(session, end, [U1, assistant("ab"), U2, A2, U3], U3)
        self.assert_appends(session, "e1", [U1, assistant("ab"), U3], U3)

    def test_a_twin_that_comes_late(self) -> None:
        session = Session(U1, A1, U2)
        session.add((A1, "late", "stop"), U3, A3, after="e0", detached=True)
        self.assert_appends(session, "e5", [U1, A1, U3, A3, U2], U2)

    def test_back_on_the_way_after_a_regenerated_answer(self) -> None:
        session = Session(U1, assistant("x"))
        session.add((A1, "again", "stop"), after="e0")
        session.add(U2, A2, U3, A3)
        self.assert_appends(session, "e6", [U1, A1, U2, A2, U3, A3, user("u4")], user("u4"))

    def test_client_tools_by_id(self) -> None:
        session = Session(U1, (calling("c1"), "run0", "tool_calls"))
        told = [U1, calling("c1"), result("c1")]
        self.assert_appends(session, "e1", told, result("c1"))
        self.assert_appends(session, "e0", [U1, calling("c9"), result("c9")], calling("c9"), result("c9"))
        self.assert_appends(session, "e0", [U1, assistant("text"), U2], assistant("text"), U2)
        session.add((result("c1"), "run1", None), A2)
        self.assert_appends(session, "e3", [*told, A2, U3], U3)
        self.assert_appends(session, "e1", [U1, calling("c1"), result("c2"), A2, U3], result("c2"), A2, U3)

    def test_text_beside_a_call_may_be_missing(self) -> None:
        session = Session(U1, (calling("c1", text="Let me see."), "run0", "tool_calls"))
        self.assert_appends(session, "e1", [U1, calling("c1"), result("c1")], result("c1"))

    def test_a_tool_result_that_was_cut_short(self) -> None:
        session = Session(U1, (calling("c1"), "run0", "tool_calls"), (result("c1", "long"), "run1", None), A2)
        self.assert_appends(session, "e3", [U1, calling("c1"), result("c1", "l"), A2, U3], U3)

    def test_a_tool_result_that_is_another(self) -> None:
        session = Session(U1, (calling("c1"), "run0", "tool_calls"), (result("c1", "old"), "run1", None), A2)
        self.assert_appends(session, "e1", [U1, calling("c1"), result("c1", "new")], result("c1", "new"))
        # A provider that gives the same id again.
        again = session.add((calling("c1"), "run2", "tool_calls"), after="e0")
        self.assert_appends(session, again, [U1, calling("c1"), result("c1", "new")], result("c1", "new"))
        self.assert_appends(session, "e2", [U1, calling("c1"), result("c1", "old")])

    def test_answers_of_one_run_are_joined(self) -> None:
        session = Session(
            (U1, "run0", None),
            (calling("own", text="Let me see. "), "run0", "tool_calls"),
            (result("own"), "run0", None),
            (assistant("\nIt is 5."), "run0", "stop"),
        )
        self.assert_appends(session, "e3", [U1, assistant("Let me see. \nIt is 5."), U2], U2)
        self.assert_appends(session, "e3", [U1, assistant("Let me see."), U2], U2)
        for other in (
            [assistant("Let me see.It is 5."), U2],
            [calling("own", text="Let me see. "), result("own"), assistant("It is 5."), U2],
        ):
            self.assert_appends(session, "e0", [U1, *other], *other)

    def test_an_own_tool_is_under_way(self) -> None:
        session = Session((U1, "run0", None), (calling("own", text="See. "), "run0", "tool_calls"))
        session.add((result("own"), "run0", None))
        self.assert_appends(session, "e2", [U1, assistant("See."), U2], U2)

    def test_own_calls_and_the_clients_in_one_answer(self) -> None:
        """The result of the client's finds its place, whether or not the agent's own is stored behind the answer."""
        asked, results = calling("own1", "c1", "own2", "c2", text="See. "), [result("c2"), result("c1")]
        session = Session((U1, "run0", None), (asked, "run0", "tool_calls"))
        shown = calling("c1", "c2", text="See.")
        for tip, own in (("e1", "own1"), ("e2", "own2"), ("e3", "")):
            for sent in ([U1, shown], [shown], []):
                self.assert_appends(session, tip, [*sent, *results], *results)
            self.assert_appends(session, tip, [U1, shown, U2], U2)
            self.assertEqual(Placement("e0", ()), session.place(U1))
            for source in APPENDING:
                self.assertEqual(Placement(tip, (results[0],)), session.place(results[0], source=source))
            if own:
                session.add((result(own), "run0", None))
        tip = session.add(*((message, "run1", None) for message in results), (A2, "run1", "stop"))
        for sent in ([U1, shown], [shown]):
            self.assert_appends(session, "e5", [*sent, *results])
            self.assert_appends(session, tip, [*sent, *results, A2, U3], U3)
        # Regenerated, it is another turn.
        again = session.add((calling("c3"), "run2", "tool_calls"), after="e0")
        self.assert_appends(session, again, [U1, calling("c3"), result("c3")], result("c3"))
        self.assert_appends(session, tip, [U1, shown, *results, A2, U3], U3)

    def test_an_answer_of_several_rounds(self) -> None:
        """Only the last one calls the client's tools, as that ends a run."""
        session = Session(
            (U1, "run0", None),
            (calling("own1"), "run0", "tool_calls"),
            (result("own1"), "run0", None),
            (calling("own2", text="Half. "), "run0", "tool_calls"),
            (result("own2"), "run0", None),
            (calling("c1", "own3", text="Whole."), "run0", "tool_calls"),
            (result("own3"), "run0", None),
        )
        whole = calling("c1", text="Half. Whole.")
        for sent in ([U1, whole], [U1, calling("c1", text="Half.")], [whole], []):
            self.assert_appends(session, "e6", [*sent, result("c1")], result("c1"))

    def test_a_run_that_died_behind_an_own_tool(self) -> None:
        """Nothing of it was to be seen: what follows knows what it did, and what is answered anew does not."""
        session = Session((U1, "run0", None), (calling("own"), "run0", "tool_calls"), (result("own"), "run0", None))
        for sent in ([U1, U2], [U1, assistant(""), U2]):
            self.assert_appends(session, "e2", sent, U2)
        self.assertEqual(Placement("e0", ()), session.place(U1))
        self.assertEqual(Placement("e0", ()), session.place(U1, assistant("")))
        self.assertEqual(Placement("e0", ()), session.place(U1, source="key", retry_of="run0"))
        self.assertEqual(Placement("e0", ()), session.place(U1, source="key", retry_of=UNKNOWN_RUN))
        self.assertEqual(Placement("e2", (U2,)), session.place(U2, source="key"))

    def test_an_answer_whose_own_tools_came_first(self) -> None:
        session = Session(
            (U1, "run0", None),
            (calling("own"), "run0", "tool_calls"),
            (result("own"), "run0", None),
            (A1, "run0", "stop"),
        )
        self.assert_appends(session, "e3", [U1, A1, U2], U2)
        # Without the answer it is another branch, which knows nothing of what the answer was made of.
        self.assert_appends(session, "e0", [U1, U2], U2)

    def test_answers_that_a_client_sent_are_not_joined(self) -> None:
        sent = [U1, A1, assistant("and"), U2]
        session = Session(*((message, "run0", None) for message in sent), (A2, "run0", "stop"))
        self.assert_appends(session, "e4", [*sent, A2, U3], U3)

    def test_answers_of_two_runs_are_not_joined(self) -> None:
        session = Session(U1, (A1, "run0", "stop"), (A2, "run1", "stop"))
        self.assert_appends(session, "e2", [U1, A1, A2, U3], U3)
        self.assert_appends(session, "e0", [U1, assistant("a1a2"), U3], assistant("a1a2"), U3)


class WindowTests(SynchronousTestCase):
    """Rule 4."""

    def test_rows(self) -> None:
        session = Session(U1, A1, U2, A2)
        for source in ALL:
            self.assertEqual(Placement("e3", (U3,)), session.place(A1, U2, A2, U3, source=source))
            self.assertEqual(Placement("e3", (U3,)), session.place(U2, A2, U3, source=source))
            self.assertEqual(Placement("e3", (U3,)), session.place(A2, U3, source=source))
        self.assertEqual(Placement("e2", ()), session.place(U2))
        self.assertEqual(Placement("e1", (U3,)), session.place(A1, U3))

    def test_begins_with_a_stopped_answer(self) -> None:
        session = Session(U1, (assistant("abcdef"), "run0", "aborted"), U2, A2)
        self.assertEqual(Placement("e3", (U3,)), session.place(assistant("abc"), U2, A2, U3))
        # That alone is too little.
        self.assertEqual(detached_root((assistant("abc"), U3)), session.place(assistant("abc"), U3))
        self.assertEqual(Placement("e1", (U3,)), session.place(assistant("abcdef"), U3))

    def test_silent_answers_are_nothing(self) -> None:
        session = Session(U1, A1, U2, (assistant(""), "run1", "aborted"), U3, A3)
        sent = (U2, assistant(""), U3, A3, user("u4"))
        self.assertEqual(Placement("e5", (user("u4"),)), session.place(*sent))

    def test_the_longest_then_nearest_to_the_tip(self) -> None:
        hi, ok = user("hi"), assistant("ok")
        session = Session(U1, A1, hi, ok, U2, A2, hi, A3, hi, ok)
        self.assertEqual(Placement("e9", (U3,)), session.place(hi, ok, U3))
        self.assertEqual(Placement("e7", (U3,)), session.place(hi, A3, U3))
        self.assertEqual(Placement("e5", (U3,)), session.place(hi, ok, U2, A2, U3))
        self.assertEqual(Placement("e8", ()), session.place(hi))

    def test_the_current_branch_before_a_newer_one(self) -> None:
        session = Session(U1, A1, U2, A2)
        newer = session.add(user("edited"), A3, U2, A2, after="e1")
        self.assertEqual(Placement(newer, (U3,)), session.place(U2, A2, U3))
        session.add(user("back"), after="e3")
        self.assertEqual(Placement("e3", (U3,)), session.place(U2, A2, U3))

    def test_that_begins_as_the_conversation_did(self) -> None:
        hi, ok = user("hi"), assistant("ok")
        session = Session(hi, A1, U2, A2, hi, ok)
        self.assertEqual(Placement("e5", (U3,)), session.place(hi, ok, U3))
        # As an edit of the second turn.
        self.assertEqual(Placement("e0", (U3,)), session.place(hi, U3))

    def test_in_another_branch(self) -> None:
        session = Session(U1, A1, U2, A2)
        session.add(user("edited"), A3, after="e1")
        self.assertEqual(Placement("e3", (U3,)), session.place(U2, A2, U3))
        self.assertEqual(Placement("e5", (U3,)), session.place(A1, user("edited"), A3, U3))

    def test_many_places(self) -> None:
        """Where the first message is found too often to follow each place for itself."""
        hi, ok = user("hi"), assistant("okay then")
        session = Session(U1, A1)
        for _ in range(MAX_SINGLE_STARTS):
            session.add(hi, ok)
        odd = session.add(hi, A2, hi, A3)
        tip = session.add(hi, ok)
        for short in (ok, assistant("okay")):
            self.assertEqual(Placement(tip, (U3,)), session.place(hi, short, U3))
        self.assertEqual(Placement(odd, (U3,)), session.place(hi, A2, hi, A3, U3))
        self.assertEqual(Placement(odd, (U3,)), session.place(hi, ok, hi, A2, hi, A3, U3))
        self.assertEqual(Placement(tip, (U3,)), session.place(assistant("okay"), hi, A2, hi, A3, hi, ok, U3))
        self.assertEqual(detached_root((assistant("ok"), U3)), session.place(assistant("ok"), U3))
        self.assertEqual(Placement(tip, (U3,)), session.place(ok, U3))
        edited = session.add(U3, A3, after="e1")
        self.assertEqual(Placement(tip, (U2,)), session.place(hi, ok, U2))
        self.assertEqual(Placement(edited, (U2,)), session.place(U3, A3, U2))

    def test_many_places_and_a_tool_result(self) -> None:
        """A result that was cut short is known by its call, if more follows that is known; else it is another one."""
        hi, call = user("hi"), calling("c1", text="look")
        for times in (0, MAX_SINGLE_STARTS):
            session = Session(U1, A1, *[hi, A2] * times)
            called = session.add(hi, call)
            tip = session.add((result("c1", "long"), "later", None), A3)
            self.assertEqual(Placement(tip, (U3,)), session.place(hi, call, result("c1", "l"), A3, U3))
            self.assertEqual(Placement(called, (result("c1", "l"),)), session.place(hi, call, result("c1", "l")))
            self.assertEqual(Placement(called, (result("c2"), U3)), session.place(hi, call, result("c2"), U3))


class DetachedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.session = Session(U1, A1)
        self.session.add(user("title?"), assistant("a title"), after=None, detached=True)

    def test_asked_again_stays_detached(self) -> None:
        self.assertEqual(Placement("e2", (), detached=True), self.session.place(user("title?")))

    def test_what_extends_it_adopts_it(self) -> None:
        for sent in ([user("title?"), assistant("a title"), U2], [assistant("a title"), U2]):
            self.assertEqual(Placement("e3", (U2,)), self.session.place(*sent))
        self.session.add(U2, A2, after="e3")
        self.assertEqual(Placement("e4", ()), self.session.place(user("title?"), assistant("a title"), U2))
        self.assertEqual("e5", self.session.tree.tip_id)

    def test_what_extends_it_is_not_detached_even_if_it_was_not_answered(self) -> None:
        self.session.add((U2, "failed", None), after="e3", detached=True)
        sent = (user("title?"), assistant("a title"), U2)
        for retry_of in (None, "failed"):
            self.assertEqual(Placement("e4", ()), self.session.place(*sent, retry_of=retry_of))
        self.session.add((assistant("another"), "again", "stop"), after="e2", detached=True)
        for title in ("a title", "another"):
            self.assertTrue(self.session.place(user("title?"), assistant(title)).detached)

    def test_the_history_comes_first(self) -> None:
        self.session.add(U2, A2, U1, A1, detached=True, after=None)
        self.assertEqual(Placement("e1", (U3,)), self.session.place(U1, A1, U3))


class RetryTests(SynchronousTestCase):
    def test_the_turn_is_not_stored_again(self) -> None:
        session = Session(U1, A1, (U2, "failed", None), (assistant("par"), "failed", "error"))
        for source in ALL:
            self.assertEqual(Placement("e2", ()), session.place(U2, source=source, retry_of="failed"))
        session.add((assistant(""), "again", "error"), after="e2")
        self.assertEqual(Placement("e2", ()), session.place(U2, source="key", retry_of="again"))

    def test_the_conversation_has_gone_on(self) -> None:
        """The late answer is stored beside what was said meanwhile, which stays the history."""
        session = Session(U1, A1, (U2, "failed", None), (U3, "later", None), (A3, "later", "stop"))
        self.assertEqual(Placement("e2", (), detached=True), session.place(U2, source="key", retry_of="failed"))
        session = Session(U1, A1, (U2, "failed", None))
        session.add((U3, "edited", None), after="e1")
        self.assertEqual(Placement("e2", (), detached=True), session.place(U2, source="key", retry_of="failed"))

    def test_of_another_branch(self) -> None:
        """What was there before the run failed is no reason to leave it the history."""
        session = Session(U1, A1, U2, A2)
        session.add((assistant(""), "failed", "error"), after="e0", detached=True)
        self.assertEqual(Placement("e0", ()), session.place(U1, retry_of="failed"))
        session.add((U3, "edited", None), after="e1", detached=True)
        for _ in range(2):
            self.assertEqual(Placement("e5", ()), session.place(U1, A1, U3, retry_of="edited"))
            session.add((assistant("half"), "again", "error"), after="e5")
        session.add(user("more"))
        self.assertEqual(Placement("e5", (), detached=True), session.place(U1, A1, U3, retry_of="edited"))
        self.assertEqual(Placement("e0", (), detached=True), session.place(U1, retry_of="failed"))

    def test_of_results_that_began_a_branch(self) -> None:
        session = Session(U1, (calling("c1"), "run0", "tool_calls"), U2, A2)
        session.add((result("c1"), "killed", None), after="e1", detached=True)
        for run_id in ("killed", "unknown"):
            self.assertEqual(Placement("e4", ()), session.place(result("c1"), source="key", retry_of=run_id))
        self.assertEqual(
            Placement("e1", (result("c1", "5"),)), session.place(result("c1", "5"), source="key", retry_of="unknown")
        )

    def test_of_several_messages_and_own_tools(self) -> None:
        session = Session((U1, "failed", None), (A1, "failed", None), (U2, "failed", None))
        self.assertEqual(Placement("e2", ()), session.place(U1, A1, U2, source="key", retry_of="failed"))
        session.add((calling("own"), "failed", "tool_calls"), (result("own"), "failed", None))
        self.assertEqual(Placement("e2", ()), session.place(U1, A1, U2, source="key", retry_of="failed"))

    def test_of_a_detached_run(self) -> None:
        session = Session(U1, A1)
        session.add((user("title?"), "failed", None), after=None, detached=True)
        self.assertEqual(Placement("e2", (), detached=True), session.place(user("title?"), retry_of="failed"))

    def test_of_a_run_that_stored_nothing(self) -> None:
        session = Session(U1, A1)
        for sent in (U1, U2):
            self.assertEqual(Placement("e1", (sent,)), session.place(sent, source="key", retry_of="unknown"))

    def test_of_a_retry_that_stored_nothing(self) -> None:
        """The turn is at the tip, of a run of another id, and has no answer."""
        session = Session(U1, A1, (U2, "first", None))
        self.assertEqual(Placement("e2", ()), session.place(U2, source="key", retry_of="second"))
        self.assertEqual(Placement("e2", ()), session.place(user("u2 "), source="key", retry_of="second"))
        self.assertEqual(Placement("e2", (U3,)), session.place(U3, source="key", retry_of="second"))
        self.assertEqual(Placement("e2", ()), session.place(U1, A1, U2, source="key", retry_of="second"))
        session.add((assistant(""), "first", "error"))
        self.assertEqual(Placement("e2", ()), session.place(U2, source="key", retry_of="second"))


class ScaleTests(SynchronousTestCase):
    """Ten thousand entries."""

    count = 10_000

    def setUp(self) -> None:
        entries: list[Entry] = []
        for number in range(self.count):
            role, reason = ("assistant", "stop") if number % 2 else ("user", None)
            message = Message(role, f"{role} {number} " + "word " * 40)
            parent = entries[-1].id if entries else None
            entries.append(Entry(f"e{number}", parent, f"run{number // 2}", message, 0, reason))
        self.tree = tree_of(Transcript(tuple(entries), entries[-1].id))
        self.sent = [Message(entry.message.role, "".join(list(entry.message.text))) for entry in entries]
        self.looked_up = 0

    def count_lookups(self) -> None:
        """Count what is compared node by node, which no result tells."""
        for name in ("_matches", "_begins"):
            function = getattr(placement_module, name)

            def counted(*arguments: object, function: object = function) -> object:
                self.looked_up += 1
                return function(*arguments)  # type: ignore[operator]

            self.patch(placement_module, name, counted)

    def test_work_is_bounded(self) -> None:
        self.count_lookups()
        tip, new = self.tree.tip_id, user("new")
        cases: list[tuple[str, Sequence[Message], Placement]] = [
            ("whole conversation", [*self.sent, new], Placement(tip, (new,))),
            ("regenerate", self.sent[:-1], Placement("e9998", ())),
            ("edit", [*self.sent[:5000], new], Placement("e4999", (new,))),
            ("title", [new], detached_root((new,))),
            ("window", [*self.sent[-20:], new], Placement(tip, (new,))),
            ("window from an answer", [*self.sent[-19:], new], Placement(tip, (new,))),
            ("long window", [*self.sent[2:], new], Placement(tip, (new,))),
        ]
        report = []
        for name, sent, expected in cases:
            self.looked_up = 0
            started = time.perf_counter()
            placement = place(self.tree, sent, "chat")
            report.append(f"{name} {(time.perf_counter() - started) * 1000:.1f} ms")
            self.assertEqual(expected, placement)
            self.assertLessEqual(self.looked_up, self.count // 2 + 10, name)
        print("placement in 10,000 entries:", ", ".join(report))

    def test_a_conversation_that_repeats_itself(self) -> None:
        """The work grows with its length and not with its square."""
        session = Session()
        for _ in range(1000):
            session.add(user("hi"), assistant("ok"))
        self.count_lookups()
        sent = [assistant("ok"), *[user("hi"), assistant("ok")] * 500, U3]
        self.assertEqual(Placement(session.tree.tip_id, (U3,)), session.place(*sent))
        self.assertLessEqual(self.looked_up, 3000)

    def test_many_regenerated_answers(self) -> None:
        session = Session(U1)
        for number in range(1000):
            session.add((assistant(f"a{number}"), f"again{number}", "stop"), after="e0")
        self.count_lookups()
        self.assertEqual(Placement("e500", (U2,)), session.place(U1, assistant("a499"), U2))
        self.assertLessEqual(self.looked_up, 2010)


def _append(session: Session, placement: Placement, run_id: str, answer: str) -> None:
    """What a run stores."""
    new: list[Told] = [(message, run_id, None) for message in placement.new]
    session.add(*new, (assistant(answer), run_id, "stop"), after=placement.parent_id, detached=placement.detached)


_TURNS = st.lists(st.tuples(st.text("ab \n", min_size=1, max_size=4).filter(str.strip), st.text("xy ", max_size=4)))


class ContinuationProperties(SynchronousTestCase):
    def branch(self, session: Session) -> list[Message]:
        return [entry.message for entry in session.tree.branch(session.tree.tip_id)]

    @settings(max_examples=150, derandomize=True, deadline=None, database=None)
    @given(_TURNS, st.sampled_from(ALL))
    def test_whole_conversation_each_time(self, turns: list[tuple[str, str]], source: KeySource) -> None:
        session = Session()
        shown: list[Message] = []
        for number, (text, answer) in enumerate(turns):
            shown.append(user(text))
            _append(session, session.place(*shown, source=source), f"run{number}", answer)
            shown.append(assistant(answer))
        self.assertEqual(shown, self.branch(session))

    @settings(max_examples=100, derandomize=True, deadline=None, database=None)
    @given(_TURNS, st.sampled_from(APPENDING))
    def test_only_the_new_turn(self, turns: list[tuple[str, str]], source: KeySource) -> None:
        session = Session()
        for number, (text, answer) in enumerate(turns):
            _append(session, session.place(user(text), source=source), f"run{number}", answer)
        expected = [message for text, answer in turns for message in (user(text), assistant(answer))]
        self.assertEqual(expected, self.branch(session))


_SAID = st.one_of(
    st.builds(user, st.sampled_from("uv")),
    st.builds(assistant, st.sampled_from(["a", "ab", "abc"])),
    st.sampled_from([calling("c"), calling("c", text="a")]),
    st.builds(result, st.sampled_from("cd"), st.sampled_from("rs")),
)


class BothWaysProperties(SynchronousTestCase):
    """A window is placed alike, however often the text occurs that it begins with."""

    @settings(max_examples=400, derandomize=True, deadline=None, database=None)
    @given(
        st.lists(st.tuples(_SAID, st.booleans()), min_size=1, max_size=14),
        st.lists(_SAID, min_size=1, max_size=6),
        st.integers(0, 99),
    )
    def test_the_same(self, said: list[tuple[Message, bool]], other: list[Message], number: int) -> None:
        session = Session(U1)
        for place_in_tree, (message, is_branch) in enumerate(said):
            after = f"e{number % len(session.tree.entries)}" if is_branch else "tip"
            reason: StopReason | None = "stop" if message.role == "assistant" else None
            session.add((message, f"x{place_in_tree}", reason), after=after)
        end = session.tree.entries[number % len(session.tree.entries)]
        branch = [entry.message for entry in session.tree.branch(end.id)]
        sent = [*branch[number % len(branch) :], *other[: number % 3]]
        placements = []
        for most in (0, len(said) + 1):
            self.patch(placement_module, "MAX_SINGLE_STARTS", most)
            placements.append(session.place(*sent))
        self.assertEqual(*placements)
