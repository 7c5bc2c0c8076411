"""Tests of L{openclaw.sessions.tree}."""

from __future__ import annotations

import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from openclaw.messages import Message, ToolCall
from openclaw.records import Entry, RunRecord, Transcript
from openclaw.sessions.tree import ENTRY_BYTES, TREE_BYTES, SessionTree, is_silent, show
from openclaw.store.store import GatewayStore
from test.fakes import assistant, tree_of, user

KEY = "agent:main:k"


def entry(
    number: int,
    parent: int | None,
    message: Message,
    run: str = "",
    reason: str | None = None,
    own: tuple[str, ...] = (),
) -> Entry:
    parent_id = None if parent is None else f"e{parent}"
    return Entry(f"e{number}", parent_id, run or f"r{number}", message, number, reason, own)  # type: ignore[arg-type]


def calling(text: str, *ids: str) -> Message:
    return Message("assistant", text, tuple(ToolCall(call_id, "f", "{}") for call_id in ids))


def result(call_id: str) -> Message:
    return Message("tool", f"of {call_id}", tool_call_id=call_id)


class ShowTests(SynchronousTestCase):
    def test_show(self) -> None:
        calls = (ToolCall("c1", "f", "{}"), ToolCall("c2", "g", "{}"))
        for message, shown in (
            (user(" hi\n"), ("user", "hi", ())),
            (assistant("hi "), ("assistant", "hi", ())),
            (Message("assistant", "", calls), ("assistant", "", ("c1", "c2"))),
            (Message("tool", " 5 ", tool_call_id="c1"), ("tool", "5", ("c1",))),
            (Message("tool", "5"), ("tool", "5", ("",))),
        ):
            self.assertEqual(shown, show(message))

    def test_own_calls(self) -> None:
        self.assertEqual(("assistant", "hi", ("c1", "c3")), show(calling("hi", "c1", "c2", "c3"), ["c2"]))

    def test_is_silent(self) -> None:
        call = ToolCall("c1", "f", "{}")
        self.assertTrue(is_silent(assistant("")) and is_silent(assistant(" \n")))
        for message in (assistant("a"), user(""), Message("assistant", "", (call,)), Message("tool", "")):
            self.assertFalse(is_silent(message))


class SessionTreeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.tree = SessionTree()

    def append(self, *entries: Entry, detached: bool = False) -> None:
        self.tree.append(entries, detached=detached)

    def test_empty(self) -> None:
        self.assertEqual(
            (None, [], [], 0, TREE_BYTES, None),
            (
                self.tree.tip_id,
                self.tree.nodes,
                self.tree.path,
                len(self.tree.entries),
                self.tree.size_bytes,
                self.tree.detached_since_ms(),
            ),
        )
        self.assertEqual((), self.tree.branch(None))
        self.assertIs(self.tree.root, self.tree.node(None))
        self.assertFalse(self.tree.is_detached(None) or self.tree.is_current(self.tree.root))
        self.assertEqual(
            ([], None), (list(self.tree.children(self.tree.root, show(user("x")))), self.tree.turn_of("r"))
        )

    def test_branches(self) -> None:
        self.append(entry(0, None, user("u")), entry(1, 0, assistant("a"), reason="stop"))
        self.append(entry(2, 0, assistant("b"), reason="stop"))
        self.assertEqual(("e2", ["e0", "e2"]), (self.tree.tip_id, [e.id for e in self.tree.branch("e2")]))
        first, second, third = self.tree.nodes
        self.assertEqual([first, third], self.tree.path)
        self.assertEqual({1}, self.tree.forks)
        self.assertEqual([second, third], list(self.tree.followers(first, "assistant")))
        self.assertEqual([second], list(self.tree.children(first, show(assistant(" a ")))))
        self.assertFalse(self.tree.is_current(second))
        self.append(entry(3, 1, user("v")))
        self.assertEqual(([1, 2, 4], {1}), ([node.number for node in self.tree.path], self.tree.forks))
        self.append(entry(4, None, user("w")))
        self.assertEqual(([5], set()), ([node.number for node in self.tree.path], self.tree.forks))

    def test_the_same_again(self) -> None:
        entries = entry(0, None, user("u")), entry(1, 0, assistant("a"), reason="stop")
        self.append(*entries)
        self.append(entries[0])
        self.append()
        self.assertEqual(("e1", 2), (self.tree.tip_id, len(self.tree.entries)))
        self.append(entries[1], entry(2, 1, user("v")))
        self.assertEqual(("e2", 3), (self.tree.tip_id, len(self.tree.entries)))

    def test_detached(self) -> None:
        self.append(entry(0, None, user("u")))
        self.append(entry(7, None, user("title")), detached=True)
        self.append(entry(9, None, user("other")), detached=True)
        self.append(entry(8, 7, assistant("t"), reason="stop"), detached=True)
        self.assertEqual(("e0", {"e7", "e9"}), (self.tree.tip_id, self.tree.detached))
        self.assertEqual(7, self.tree.detached_since_ms())
        self.assertEqual([False, True, True], [self.tree.is_detached(entry_id) for entry_id in ("e0", "e7", "e8")])
        self.append(entry(10, 8, user("more")))
        self.assertEqual(("e10", {"e9"}), (self.tree.tip_id, self.tree.detached))
        self.append(entry(11, 0, user("on")))
        self.assertEqual({"e9"}, self.tree.detached)

    def test_is_newer(self) -> None:
        self.append(entry(0, None, user("u"), "r"), entry(1, 0, assistant("a"), "r", "stop"))
        self.append(entry(2, 1, user("v"), "later"))
        self.assertEqual([False, False, True], [self.tree.is_newer(f"e{number}", "r") for number in range(3)])
        self.assertFalse(self.tree.is_newer("e2", "later"))

    def test_silent_answers(self) -> None:
        self.append(entry(0, None, user("u")), entry(1, 0, assistant(""), "r0", "aborted"))
        (node,) = self.tree.nodes
        self.assertEqual(("e0", "e1", "e1"), (node.entry_id, node.tail_id, self.tree.tip_id))
        self.assertIs(node, self.tree.node("e1"))
        self.append(entry(2, 1, user("v")))
        self.assertEqual([1, 2], [node.depth for node in self.tree.path])

    def test_a_silent_beginning(self) -> None:
        self.append(entry(0, None, assistant("")), entry(1, 0, user("u")))
        self.assertEqual([1], [node.depth for node in self.tree.nodes])
        self.assertEqual(["e0", "e1"], [e.id for e in self.tree.branch("e1")])

    def test_joined_answers(self) -> None:
        call = Message("assistant", "See. ", (ToolCall("own", "f", "{}"),))
        self.append(entry(0, None, user("u"), "r"), entry(1, 0, call, "r", "tool_calls"))
        node = self.tree.nodes[1]
        self.assertEqual(("assistant", "See.", ("own",)), node.shown)
        self.append(entry(2, 1, Message("tool", "5", tool_call_id="own"), "r"))
        self.assertEqual((("assistant", "See.", ()), "e2"), (node.shown, node.entry_id))
        self.append(entry(3, 2, Message("assistant", "Five. ", (ToolCall("theirs", "g", "{}"),)), "r", "tool_calls"))
        self.assertEqual((("assistant", "See. Five.", ("theirs",)), "e3"), (node.shown, node.tail_id))
        self.assertEqual([node], list(self.tree.children(self.tree.nodes[0], node.shown)))
        self.assertEqual([], list(self.tree.children(self.tree.nodes[0], ("assistant", "See.", ()))))
        # A result of the client's own tool comes with another run.
        self.append(entry(4, 3, Message("tool", "6", tool_call_id="theirs"), "r2"))
        self.assertEqual(("tool", 3), (self.tree.nodes[2].role, self.tree.nodes[2].depth))

    def test_an_answer_that_calls_tools_of_both(self) -> None:
        """What the client is to answer stays to be seen when the agent's own result is there."""
        self.append(entry(0, None, user("u"), "r"))
        self.append(entry(1, 0, calling("Let me see.", "own", "cli", "own2"), "r", "tool_calls", ("own", "own2")))
        node = self.tree.nodes[1]
        for number, own in enumerate(("own2", "own"), 2):
            self.assertEqual((("assistant", "Let me see.", ("cli",)), f"e{number - 1}"), (node.shown, node.tail_id))
            self.append(entry(number, number - 1, result(own), "r"))
        self.assertEqual((("assistant", "Let me see.", ("cli",)), "e3"), (node.shown, node.tail_id))
        self.assertEqual([node], list(self.tree.children(self.tree.nodes[0], node.shown)))
        self.append(entry(4, 3, result("cli"), "r2"))
        self.assertEqual([("tool", "of cli", ("cli",))], [self.tree.nodes[2].shown])
        self.assertEqual(["e0", "e1", "e2", "e3", "e4"], [e.id for e in self.tree.branch(self.tree.tip_id)])

    def test_several_rounds(self) -> None:
        self.append(entry(0, None, user("u"), "r"))
        shown = []
        for number, message, own in (
            (1, calling("One. ", "a"), ("a",)),
            (2, result("a"), ()),
            (3, calling("Two.", "b", "c"), ("b",)),
            (4, result("b"), ()),
            (5, calling(" Three.", "d"), ()),
        ):
            self.append(entry(number, number - 1, message, "r", "stop" if message.role == "assistant" else None, own))
            (_, node) = self.tree.nodes
            shown.append(node.shown[1:])
        one, two, three = ("One.", ()), ("One. Two.", ("c",)), ("One. Two. Three.", ("c", "d"))
        self.assertEqual([one, one, two, two, three], shown)

    def test_an_answer_that_begins_with_an_own_tool(self) -> None:
        """As long as there is nothing to be seen of it, a client has nothing or an empty message in its place."""
        self.append(entry(0, None, user("u"), "r"), entry(1, 0, calling(" ", "a", "b"), "r", "tool_calls", ("a", "b")))
        self.append(entry(2, 1, result("b"), "r"), entry(3, 2, result("a"), "r"))
        (turn,) = self.tree.nodes
        self.assertEqual((("e0", "e3"), "e3"), ((turn.entry_id, turn.tail_id), self.tree.tip_id))
        self.assertEqual("e0", self.tree.turn_of("r"))
        self.append(entry(4, 3, assistant("Five."), "r", "stop"))
        _, answer = self.tree.nodes
        self.assertEqual(("assistant", "Five.", ()), answer.shown)
        self.assertEqual(("e4", "e0"), (answer.tail_id, turn.tail_id))

    def test_a_run_that_died_behind_an_own_tool(self) -> None:
        self.append(entry(0, None, user("u"), "r"), entry(1, 0, calling("", "a"), "r", "tool_calls", ("a",)))
        self.append(entry(2, 1, result("a"), "r"))
        # Another run answers: what it began with is its own, too.
        self.append(entry(3, 0, calling("", "b"), "r2", "tool_calls", ("b",)), entry(4, 3, result("b"), "r2"))
        self.append(entry(5, 4, assistant(""), "r2", "aborted"))
        self.append(entry(6, 5, user("v"), "r3"), entry(7, 6, calling("", "c"), "r3", "tool_calls", ("c",)))
        self.append(entry(8, 7, result("c"), "r3"), entry(9, 8, calling("", "d"), "r3", "tool_calls"))
        self.assertEqual(
            [("user", "u", ()), ("user", "v", ()), ("assistant", "", ("d",))], [n.shown for n in self.tree.nodes]
        )
        self.assertEqual(["e5", "e6", "e9"], [node.tail_id for node in self.tree.nodes])
        self.assertEqual([1, 2, 3], [node.number for node in self.tree.path])

    def test_results_that_came_with_a_request_are_no_own_ones(self) -> None:
        self.append(entry(0, None, calling("", "a", "b"), "r"), entry(1, 0, result("a"), "r"))
        self.append(entry(2, 1, result("b"), "r"), entry(3, 2, assistant(""), "r"), entry(4, 3, result("c"), "r"))
        self.assertEqual(["assistant", "tool", "tool", "tool"], [node.role for node in self.tree.nodes])

    def test_an_own_tool_behind_another_answer(self) -> None:
        """That is to go on; see C{test_an_answer_is_to_go_on} of placement."""
        self.append(entry(0, None, user("u"), "r"), entry(1, 0, assistant("a"), "r", "stop"))
        self.append(entry(2, 1, calling("", "a"), "r2", "tool_calls", ("a",)), entry(3, 2, result("a"), "r2"))
        self.assertEqual(("e1", "e3"), (self.tree.nodes[1].entry_id, self.tree.nodes[1].tail_id))
        self.append(entry(4, 3, assistant("more"), "r2", "stop"))
        self.assertEqual(["u", "a", "more"], [node.shown[1] for node in self.tree.path])
        self.assertEqual("e1", self.tree.nodes[1].tail_id)

    def test_turn_of(self) -> None:
        self.append(
            entry(0, None, user("u"), "r"),
            entry(1, 0, assistant("a"), "r"),
            entry(2, 1, user("v"), "r"),
            entry(3, 2, assistant("b"), "r", "error"),
            entry(4, 3, Message("tool", "own"), "r"),
        )
        self.append(entry(5, 2, assistant("c"), "again", "stop"))
        self.append(entry(6, 5, user("w"), "running"))
        for run, turn in (("r", "e2"), ("again", "e2"), ("running", "e6"), ("unknown", None)):
            self.assertEqual(turn, self.tree.turn_of(run))

    def test_size(self) -> None:
        call = ToolCall("c", "f", "x" * 10_000)
        self.append(entry(0, None, user("u" * 10_000)), entry(1, 0, Message("assistant", "", (call,))))
        self.assertTrue(20_000 + TREE_BYTES + 2 * ENTRY_BYTES <= self.tree.size_bytes <= 25_000)

    def test_size_of_many_rounds(self) -> None:
        """The texts of a run are there once each, and once joined."""
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        tree = SessionTree()
        tree.append([entry(0, None, user("u"), "r")], detached=False)
        for number in range(1, 100):
            text = f"{number:<1000}" if number % 5 == 1 else ""
            tree.append([entry(number, number - 1, calling(text, "a"), "r", "stop", ("a",))], detached=False)
        real, _ = tracemalloc.get_traced_memory()
        self.assertTrue(0.8 * real <= tree.size_bytes <= 2 * real, (tree.size_bytes, real))

    def test_size_of_many_calls(self) -> None:
        """Each has three texts of its own, however short they are."""
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        calls = tuple(ToolCall(f"call_{number:032}", f"function_{number}", "{}" * 5) for number in range(2000))
        # As the store gives them, every other one of an own tool.
        own = tuple([f"call_{number:032}" for number in range(0, 2000, 2)])
        entry = Entry("calls", None, "r", Message("assistant", "a", calls), 0, "tool_calls", own)
        tree = tree_of(Transcript((entry,), "calls"))
        real, _ = tracemalloc.get_traced_memory()
        self.assertTrue(0.8 * real <= tree.size_bytes <= 1.5 * real, (tree.size_bytes, real))

    @settings(max_examples=100, derandomize=True, deadline=None, database=None)
    @given(
        st.lists(
            st.tuples(
                st.integers(0, 99), st.sampled_from(["user", "answer", "silent", "tool", "calls"]), st.booleans()
            ),
            max_size=30,
        )
    )
    def test_as_the_store_has_it(self, steps: list[tuple[int, str, bool]]) -> None:
        """What grew with each commit is what is read at once."""
        store, self.tree = GatewayStore.in_memory(), SessionTree()
        for number, (choice, kind, detached) in enumerate(steps):
            parent = choice % (number + 1) - 1
            before = self.tree.branch(f"e{parent}")[-1] if parent >= 0 and len(self.tree.entries) else None
            message = {
                "user": user(f"u{choice % 3}"),
                "answer": assistant(f"a{choice % 3}"),
                "silent": assistant(""),
                "calls": calling("" if choice % 2 else "b", "c", "d"),
            }
            new = Entry(
                f"e{number}",
                before.id if before is not None else None,
                before.run_id if before is not None and choice % 2 else f"r{number}",
                message.get(kind) or Message("tool", "5", tool_call_id="c"),
                number,
                "stop" if kind in ("answer", "silent", "calls") else None,
                ("c", "d")[: choice % 3] if kind == "calls" else (),
            )
            self.append(new, detached=detached)
            run = RunRecord(new.run_id, "main", KEY, "p/m", "done", 0, 0)
            self.successResultOf(store.end_run(run, [new], detached=detached))
        transcript = self.successResultOf(store.transcript(KEY))
        fresh = tree_of(transcript)
        self.assertEqual(transcript.detached, self.tree.detached)
        self.assertEqual((fresh.tip_id, fresh.size_bytes), (self.tree.tip_id, self.tree.size_bytes))
        for kept, read in zip(self.tree.nodes, fresh.nodes, strict=True):
            self.assertEqual((read.shown, read.entry_id, read.tail_id), (kept.shown, kept.entry_id, kept.tail_id))
        self.assertEqual([node.number for node in fresh.path], [node.number for node in self.tree.path])
        self.assertTrue(fresh.forks <= self.tree.forks)
        self.assertEqual(self.successResultOf(store.branch(KEY)), self.tree.branch(self.tree.tip_id))
        self.assertEqual(transcript.entries, self.tree.entries)
