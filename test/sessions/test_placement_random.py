"""
Whatever clients do with a conversation, the model is asked what it should be, and the transcript is what was said.

A client that shows one conversation at a time sends turns, edits, regenerates, stops, goes back to an earlier branch,
sends windows and asks for titles; the gateway is compared with a plain tree of what was said.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from openclaw.agents.context import NO_ANSWER
from openclaw.agents.resolve import Selection
from openclaw.errors import ProviderAuthFailed
from openclaw.events import ProviderFinished, TextDelta, ToolCallDelta
from openclaw.messages import Message, ToolCall
from openclaw.sessions.tree import SessionTree
from openclaw.store.store import GatewayStore
from test.fakes import Bench, Started, assistant, user

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
    @ivar calls: ids of the calls that an answer makes of the client's functions.
    @ivar call_id: the call that a result is of.
    """

    def __init__(self, parent: Said | None, role: str, text: str, call_id: str | None = None) -> None:
        self.parent = parent
        self.role = role
        self.text = self.shown = text
        self.is_detached = False
        self.calls: tuple[str, ...] = ()
        self.call_id = call_id

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
        self.count = 0

    # ---------------------------------------------------------------------- the client

    def step(self, kind: str, end: str, number: int) -> None:
        path = self.shown.path() if self.shown is not None else []
        users = [said for said in path if said.role == "user"]
        if kind == "forget":
            self.bench.runs.forget_session(KEY)
        elif kind == "results" and self.shown is not None and self.shown.calls:
            new = [("tool", self.text("r"), call_id) for call_id in self.shown.calls]
            only = number % 3 == 0
            self.run(SAME_BY_KEY if number % 2 else CHAT, [] if only else path, self.shown, new, end)
        elif kind == "title again" and self.titles:
            self.title(self.titles[number % len(self.titles)])
        elif kind == "title" and path:
            self.title(None)
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
            turn.is_detached = turn.parent is None and has_turns
        assert turn is not None
        at_tip = parent is self.tip
        started = self.bench.start(*sent, selection=selection)
        self.check_asked(turn)
        if end == "titled":
            self.title(None)
        told = self.end(started, turn, end)
        if end in ("failed", "killed, again"):
            # Sent again by the client's own library.
            assert started.run is not None
            again = self.bench.start(*sent, selection=selection, retry_of=started.run.id)
            self.check_asked(turn)
            told = self.end(again, turn, "whole")
        self.shown = told
        if turn.parent is not None and told is not turn:
            # What extends a conversation beside the history makes it a part of it.
            turn.path()[0].is_detached = False
        # A new branch, or another answer to a known turn, of which nothing came is not the current branch.
        if not turn.path()[0].is_detached and (at_tip or told is not turn):
            self.tip = told

    def end(self, started: Started, turn: Said, end: str) -> Said:
        """Let the model answer in some way; returns what the conversation ends with."""
        stream = next(stream for stream in reversed(self.bench.provider.streams) if stream.waiting)
        answer = self.text("a")
        if end == "failed":
            stream.fail(ProviderAuthFailed("no"))
            return turn
        if end.startswith("killed"):
            stream.push(TextDelta(answer))
            self.kill()
            return turn
        if end in ("stopped", "nothing"):
            if end == "stopped":
                stream.push(TextDelta(answer))
            assert started.run is not None
            started.run.cancel()
            self.bench.clock.advance(0)
            if end == "nothing":
                return turn
            said = self.new(turn, "assistant", answer)
            # The client has not seen all of it.
            said.shown = answer[: -(self.count % 4) or None]
            return said
        said = self.new(turn, "assistant", answer)
        if end == "calls":
            said.calls = tuple(f"call{self.count}{letter}" for letter in "ab"[: 1 + self.count % 2])
        calls = [ToolCallDelta(index, call_id, "f", "{}") for index, call_id in enumerate(said.calls)]
        stream.push(TextDelta(answer), *calls, ProviderFinished("tool_calls" if calls else "stop"))
        stream.end()
        return said

    def kill(self) -> None:
        """Another process goes on with what is on disk."""
        count = self.bench._count
        self.bench = Bench(self.store)
        self.bench._count = count

    def title(self, asked: Said | None) -> None:
        """Ask for a title, perhaps once more; the conversation goes on as if nothing had been."""
        if asked is None:
            asked = Said(None, "user", self.text("title"))
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
            while parent is not None and not parent.message.text:
                # An answer that never began.
                parent = by_id[parent.parent_id] if parent.parent_id is not None else None
            if entry.message.text and not entry.message.text.startswith("t"):
                stored.append((entry.message.text, parent.message.text if parent is not None else None))
        said = [(said.text, said.parent.text if said.parent is not None else None) for said in self.said]
        self.case.assertEqual(sorted(said, key=str), sorted(stored, key=str))
        branch = [entry.message.text for entry in self.case.successResultOf(self.store.branch(KEY))]
        path = self.tip.path() if self.tip is not None else []
        self.case.assertEqual([said.text for said in path], [text for text in branch if text])
        kept = self.bench.runs._turns.transcripts.peek(KEY)
        if kept is not None:
            fresh = SessionTree.of(transcript)
            self.case.assertEqual(_summary(fresh), _summary(kept))


def _prompt(turn: Said) -> Iterator[Message]:
    """What a model is asked for the answer to a turn."""
    before: Said | None = None
    for said in turn.path():
        if said.role == "user" and before is not None and before.role != "assistant":
            yield assistant(NO_ANSWER)
        yield said.message(said.text)
        before = said


def _summary(tree: SessionTree) -> object:
    places = {place for place, node in enumerate(tree.path) if tree._has_twins(node)}
    assert places <= tree.forks
    nodes = [(node.shown, node.parent and node.parent.number, node.entry_id, node.tail_id) for node in tree.nodes]
    return tree.tip_id, tree.detached, [node.number for node in tree.path], nodes, tree.size_bytes


class RandomTests(SynchronousTestCase):
    @settings(max_examples=120, derandomize=True, deadline=None, database=None)
    @given(_STEPS)
    def test_conversations(self, steps: list[tuple[str, str, int]]) -> None:
        conversation = Conversation(self)
        for kind, end, number in steps:
            conversation.step(kind, end, number)
            conversation.check()
        self.assertEqual([], conversation.bench.clock.getDelayedCalls())
