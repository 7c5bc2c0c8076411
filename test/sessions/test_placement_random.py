"""
Whatever clients do with a conversation, the model is asked what it should be, and the transcript is what was said.

A client that shows one conversation at a time sends turns, edits, regenerates, stops, goes back to an earlier branch,
sends windows and asks for titles, and the agent calls tools of its own, of which the client sees nothing; the gateway
is compared with a plain tree of what was said.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from openclaw.agents.context import NO_ANSWER, NO_RESULT
from openclaw.agents.resolve import Selection
from openclaw.errors import ProviderAuthFailed
from openclaw.events import ProviderFinished, TextDelta, ToolCallDelta
from openclaw.messages import Message, ToolCall
from openclaw.records import Entry, KeyEnd, RunRecord
from openclaw.sessions.keys import PLAIN, TASK_MARK, Manner
from openclaw.sessions.tree import SessionTree
from openclaw.sessions.turns import PlacedTurn, Turns
from openclaw.store.store import GatewayStore
from test.fakes import Bench, Started, assistant, tree_of, user

KEY = "agent:main:openai-chat:c"
CHAT = Selection(chat_id=("X-OpenWebUI-Chat-Id", "c"))
SAME_BY_KEY = Selection(session_key=KEY)

_KINDS = (
    "turn",
    "turn",
    "whole",
    "whole",
    "window",
    "edit",
    "regenerate",
    "switch",
    "title",
    "title again",
    "title first",
    "results",
    "forget",
)
_ENDS = ("whole", "whole", "whole", "calls", "stopped", "nothing", "failed", "titled", "killed", "killed, again")
_STEPS = st.lists(
    st.tuples(st.sampled_from(_KINDS), st.sampled_from(_ENDS), st.integers(0, 99)), min_size=3, max_size=25
)


class Said:
    """
    One message of the plain tree.

    @ivar shown: as much of the text as the client has.
    @ivar is_detached: whether it begins a conversation that is no part of the history.
    @ivar is_streamed: whether that was asked for as a stream.
    @ivar calls: ids of the calls that an answer makes of the client's functions.
    @ivar call_id: the call that a result is of.
    @ivar own: the agent's own call beside those.
    @ivar before: what was said with own tools before it, of which no client knows.
    @ivar after: the same of what stands behind it; behind a turn it is read with what follows that.
    """

    def __init__(self, parent: Said | None, role: str, text: str, call_id: str | None = None) -> None:
        self.parent = parent
        self.role = role
        self.text = self.shown = text
        self.is_detached = self.is_streamed = False
        self.calls: tuple[str, ...] = ()
        self.call_id = call_id
        self.own: tuple[ToolCall, ...] = ()
        self.before: tuple[Message, ...] = ()
        self.after: tuple[Message, ...] = ()
        if parent is not None and role != "assistant" and parent.role != "assistant":
            self.before = parent.after

    def message(self, text: str) -> Message:
        """The message, with this text."""
        calls = tuple(ToolCall(call_id, "f", "{}") for call_id in self.calls)
        return Message(self.role, text, calls, self.call_id)  # type: ignore[arg-type]

    def path(self) -> list[Said]:
        """From the first message to this one."""
        return [*(self.parent.path() if self.parent is not None else []), self]


class Conversation:
    """A client, the gateway, and the plain tree that both should have."""

    def __init__(self, case: SynchronousTestCase) -> None:
        self.case = case
        self.store = GatewayStore.in_memory()
        self.bench = Bench(self.store)
        self.said: list[Said] = []
        self.tip: Said | None = None
        # What the client shows, which may be another branch than the current one.
        self.shown: Said | None = None
        self.titles: list[Said] = []
        self.manner = PLAIN
        self.count = 0
        # How the next answer uses a tool of the agent's own.
        self.own = ""

    # ---------------------------------------------------------------------- the client

    def step(self, kind: str, end: str, number: int) -> None:
        path = self.shown.path() if self.shown is not None else []
        users = [said for said in path if said.role == "user"]
        self.manner = Manner(streamed=bool(number % 2))
        if kind == "title first" and not self.said and not self.titles:
            # Which of the two is the conversation is known by the mark, or by the stream.
            self.manner = Manner(streamed=bool(number % 3))
            self.title(None, mark="" if self.manner.streamed else TASK_MARK)
            self.say(None, [], CHAT, end)
        elif kind == "forget":
            self.bench.runs.forget_session(KEY)
        elif kind == "results" and self.shown is not None and self.shown.calls:
            new = [("tool", self.text("r"), call_id) for call_id in self.shown.calls]
            only = number % 3 == 0
            self.run(SAME_BY_KEY if number % 2 else CHAT, [] if only else path, self.shown, new, end)
        elif kind == "title again" and self.titles:
            self.title(self.titles[number % len(self.titles)])
        elif kind == "title" and (path or not self.titles):
            self.title(None, mark="" if path else TASK_MARK)
        elif kind == "switch" and self.said:
            self.shown = self.said[number % len(self.said)]
        elif kind == "regenerate" and users:
            turn = users[number % len(users)]
            self.run(CHAT, turn.path(), turn, [], end)
        elif kind == "edit" and users:
            turn = users[number % len(users)]
            self.say(turn.parent, turn.parent.path() if turn.parent is not None else [], CHAT, end)
        elif kind == "window" and len(path) > 1:
            first = self.window_start(path, number)
            self.say(self.shown, path[first:], CHAT, end)
        elif kind == "turn" or not path:
            self.say(self.tip, [], SAME_BY_KEY, end)
        else:
            self.say(self.shown, path, SAME_BY_KEY if number % 2 else CHAT, end)

    def window_start(self, path: Sequence[Said], number: int) -> int:
        """A message that can be known by itself: not a stopped answer."""
        starts = [place for place, said in enumerate(path) if said.shown == said.text]
        return starts[number % len(starts)]

    def new(self, parent: Said | None, role: str, text: str, call_id: str | None = None) -> Said:
        said = Said(parent, role, text, call_id)
        self.said.append(said)
        return said

    def text(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}{self.count} words"

    def say(self, parent: Said | None, before: Sequence[Said], selection: Selection, end: str) -> None:
        """Send a new message of the user after a part of the conversation."""
        self.run(selection, before, parent, [("user", self.text("u"), None)], end)

    def run(
        self,
        selection: Selection,
        before: Sequence[Said],
        parent: Said | None,
        new: Sequence[tuple[str, str, str | None]],
        end: str,
    ) -> None:
        """Send messages that are known and new ones, each a role, a text and the id of a call."""
        sent = [said.message(said.shown) for said in before]
        turn = parent
        for role, text, call_id in new:
            has_turns = bool(self.said)
            turn = self.new(turn, role, text, call_id)
            sent.append(turn.message(text))
            turn.is_streamed = turn.parent is None and self.manner.streamed
            turn.is_detached = turn.parent is None and has_turns
        assert turn is not None
        at_tip = parent is self.tip
        if turn.is_detached and selection is CHAT and self.gives_way(turn):
            assert self.tip is not None
            self.tip.path()[0].is_detached, turn.is_detached, at_tip = True, False, True
        started = self.bench.start(*sent, selection=selection, manner=self.manner)
        self.check_asked(turn)
        if end == "titled":
            self.title(None)
        told = self.end(started, turn, end)
        if end in ("failed", "killed, again"):
            # Sent again by the client's own library.
            assert started.run is not None
            again = self.bench.start(*sent, selection=selection, manner=self.manner, retry_of=started.run.id)
            self.check_asked(turn)
            told = self.end(again, turn, "whole")
        self.shown = told
        if turn.parent is not None and told is not turn:
            # What extends a conversation beside the history makes it a part of it.
            turn.path()[0].is_detached = False
        # A new branch, or another answer to a known turn, of which nothing came is not the current branch.
        if not turn.path()[0].is_detached and (at_tip or told is not turn):
            self.tip = told

    def gives_way(self, turn: Said) -> bool:
        """Whether the history is one that nothing has extended, and another root is more likely what a user said."""
        assert self.tip is not None
        root = self.tip.path()[0]
        extensions = [
            said for said in self.said if said is not root and said.role != "assistant" and said.path()[0] is root
        ]
        return turn.is_streamed and not root.is_streamed and not extensions

    def end(self, started: Started, turn: Said, end: str) -> Said:
        """Let the model answer in some way; returns what the conversation ends with."""
        stream = next(stream for stream in reversed(self.bench.provider.streams) if stream.waiting)
        answer = self.text("a")
        if end == "failed":
            stream.fail(ProviderAuthFailed("no"))
            turn.after = ()
            return turn
        if end.startswith("killed"):
            stream.push(TextDelta(answer))
            if self.count % 2:
                self.die_behind_an_own_tool(started, turn)
            self.kill()
            return turn
        if end != "nothing" and self.count % 3:
            self.own = "beside" if end == "calls" and self.count % 3 == 1 else "before"
        if end in ("stopped", "nothing"):
            if end == "stopped":
                stream.push(TextDelta(answer))
            assert started.run is not None
            started.run.cancel()
            self.bench.clock.advance(0)
            if end == "nothing":
                turn.after = ()
                return turn
            said = self.answer(turn, answer)
            self.own = ""
            # The client has not seen all of it.
            said.shown = answer[: -(self.count % 4) or None]
            return said
        said = self.answer(turn, answer)
        if end == "calls":
            said.calls = tuple(f"call{self.count}{letter}" for letter in "ab"[: 1 + self.count % 2])
        calls = [ToolCallDelta(index, call_id, "f", "{}") for index, call_id in enumerate(said.calls)]
        stream.push(TextDelta(answer), *calls, ProviderFinished("tool_calls" if calls else "stop"))
        stream.end()
        self.own = ""
        return said

    def answer(self, turn: Said, text: str) -> Said:
        said = self.new(turn, "assistant", text)
        call, asked, result = _own_tool(text)
        if self.own == "before":
            said.before = asked, result
            # What others said behind the turn with tools of their own is another way on.
            turn.after = ()
        elif self.own == "beside":
            said.own, said.after = (call,), (result,)
        return said

    def with_own_tools(self, answer: Sequence[Entry]) -> Sequence[Entry]:
        """An answer as it is stored of a run that called a tool of the agent's own, too."""
        if not self.own or not answer:
            return answer
        (entry,) = answer
        call, _, result = _own_tool(entry.message.text)
        if self.own == "before":
            entries = _own_entries(entry.message.text, entry.parent_id, entry.run_id)
            return *entries, attrs.evolve(entry, parent_id=entries[-1].id)
        calls = attrs.evolve(entry.message, tool_calls=(call, *entry.message.tool_calls))
        return (
            attrs.evolve(entry, message=calls, own_calls=(call.id,)),
            Entry(f"{call.id} result", entry.id, entry.run_id, result, 0),
        )

    def die_behind_an_own_tool(self, started: Started, turn: Said) -> None:
        """What the process has stored of an answer when it dies."""
        assert started.run is not None
        transcript = self.case.successResultOf(self.store.transcript(KEY))
        parent = next(entry for entry in reversed(transcript.entries) if entry.message.text == turn.text)
        entries = _own_entries(self.text("d"), parent.id, started.run.id)
        shown = [entry for entry in self.case.successResultOf(self.store.branch(KEY)) if _is_shown(entry)]
        record = RunRecord(started.run.id, "main", KEY, "p/m", "interrupted", 0, 0)
        is_beside = not shown or shown[-1] != parent
        self.case.successResultOf(self.store.end_run(record, entries, detached=is_beside))
        turn.after = tuple(entry.message for entry in entries)

    def kill(self) -> None:
        """Another process goes on with what is on disk."""
        count = self.bench.count
        self.bench = Bench(self.store)
        self.bench.count = count

    def title(self, asked: Said | None, mark: str = "") -> None:
        """Ask for a title, perhaps once more; the conversation goes on as if nothing had been."""
        if asked is None:
            asked = Said(None, "user", self.text(f"{mark}title"))
            self.titles.append(asked)
        started = self.bench.start(user(asked.text), selection=CHAT)
        self.check_asked(asked)
        stream = next(stream for stream in reversed(self.bench.provider.streams) if stream.waiting)
        stream.push(TextDelta(self.text("t")), ProviderFinished("stop"))
        stream.end()
        assert started.outcome is not None and started.outcome.error is None

    # ---------------------------------------------------------------------- the comparison

    def check_asked(self, turn: Said) -> None:
        self.case.assertEqual(list(_prompt(turn)), list(self.bench.provider.requests[-1].messages[1:]))

    def check(self) -> None:
        transcript = self.case.successResultOf(self.store.transcript(KEY))
        by_id = {entry.id: entry for entry in transcript.entries}
        stored = []
        for entry in transcript.entries:
            parent = by_id[entry.parent_id] if entry.parent_id is not None else None
            while parent is not None and not _is_shown(parent):
                parent = by_id[parent.parent_id] if parent.parent_id is not None else None
            if _is_shown(entry) and not entry.message.text.startswith(("t", TASK_MARK)):
                stored.append((entry.message.text, parent.message.text if parent is not None else None))
        said = [(said.text, said.parent.text if said.parent is not None else None) for said in self.said]
        self.case.assertEqual(sorted(said, key=str), sorted(stored, key=str))
        branch = [entry.message.text for entry in self.case.successResultOf(self.store.branch(KEY)) if _is_shown(entry)]
        path = self.tip.path() if self.tip is not None else []
        self.case.assertEqual([said.text for said in path], branch)
        # What is remembered must be what is stored; nobody else sees the two apart.
        kept = self.bench.runs._turns.transcripts.peek(KEY)
        if kept is not None:
            fresh = tree_of(transcript)
            self.case.assertEqual(_summary(fresh), _summary(kept))


def _prompt(turn: Said) -> Iterator[Message]:
    """What a model is asked for the answer to a turn."""
    before: Said | None = None
    waiting: list[str] = []
    for said in turn.path():
        if said.role == "tool":
            assert said.call_id is not None
            waiting.remove(said.call_id)
        else:
            # The client gave them up.
            yield from _no_results(waiting)
            waiting = list(said.calls)
        yield from said.before
        if said.role == "user" and before is not None and (before.role != "assistant" or before.calls):
            yield assistant(NO_ANSWER)
        message = said.message(said.text)
        yield attrs.evolve(message, tool_calls=(*said.own, *message.tool_calls))
        if said.role == "assistant":
            yield from said.after
        before = said
    yield from _no_results(waiting)


def _no_results(call_ids: Sequence[str]) -> Iterator[Message]:
    for call_id in call_ids:
        yield Message("tool", NO_RESULT, tool_call_id=call_id)


def _own_tool(text: str) -> tuple[ToolCall, Message, Message]:
    """A call that goes with an answer, alone in an answer of its own, and its result."""
    call = ToolCall(f"own {text}", "clock", "{}")
    return call, Message("assistant", "", (call,)), Message("tool", f"own {text}", tool_call_id=call.id)


def _own_entries(text: str, parent_id: str | None, run_id: str) -> tuple[Entry, Entry]:
    call, asked, result = _own_tool(text)
    first = Entry(call.id, parent_id, run_id, asked, 0, "tool_calls", (call.id,))
    return first, Entry(f"{call.id} result", call.id, run_id, result, 0)


def _is_shown(entry: Entry) -> bool:
    """Whether it is neither of an own tool nor an answer that never began."""
    return bool(entry.message.text) and not entry.message.text.startswith("own ")


def _summary(tree: SessionTree) -> object:
    parents = [tree.root, *tree.path]
    for place, (parent, node) in enumerate(zip(parents, tree.path, strict=False)):
        twins = tree.followers(parent, node.role) or tree.children(parent, node.shown)
        assert len(twins) == 1 or place in tree.forks
    nodes = [(node.shown, node.parent and node.parent.number, node.entry_id, node.tail_id) for node in tree.nodes]
    return tree.tip_id, tree.detached, [node.number for node in tree.path], nodes, tree.size_bytes


class RandomTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.conversation = Conversation(self)
        end = Turns.end

        async def end_with_own_tools(
            turns: Turns, placed: PlacedTurn, run: RunRecord, answer: Sequence[Entry], key: KeyEnd | None
        ) -> None:
            await end(turns, placed, run, self.conversation.with_own_tools(answer), key)

        self.patch(Turns, "end", end_with_own_tools)

    @settings(max_examples=120, derandomize=True, deadline=None, database=None)
    @given(_STEPS)
    def test_conversations(self, steps: list[tuple[str, str, int]]) -> None:
        conversation = self.conversation = Conversation(self)
        for kind, end, number in steps:
            conversation.step(kind, end, number)
            conversation.check()
        self.assertEqual([], conversation.bench.clock.getDelayedCalls())
