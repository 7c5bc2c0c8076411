"""
A session's transcript as a client sees it: the tree that requests are placed in.

What is stored is a tree of entries.  A client knows less of it: the answers of one run are one message to it, it has
never seen the calls of the agent's own tools, and an answer that never began is nothing.  So the entries are folded
into nodes, one for each message that a client can have, and the nodes are found by what they show.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from sys import getsizeof

from openclaw.messages import Message, Role
from openclaw.records import Entry, Transcript

ENTRY_BYTES = 1150
"""Estimated memory of an entry and of its part in the tree, in bytes, without its text; measured on CPython 3.11."""

CALL_BYTES = 80
"""The same of a call of a tool, without its texts."""

TREE_BYTES = 2000
"""The same of a tree without entries."""

Shown = tuple[Role, str, tuple[str, ...]]
"""
What a client can tell of a message: its role, its text without blanks around it, the ids of its calls of the client's
tools or of the call that it answers.

Such values are looked up by their hash.  Their texts are compared only where hashes are equal, so that one message
never passes for another.
"""


_NOTHING: Shown = ("assistant", "", ())


def show(message: Message, own_calls: Collection[str] = ()) -> Shown:
    """What a client can tell of a message whose C{own_calls} (ids) are none of the client's."""
    if message.role == "assistant":
        ids = tuple([call.id for call in message.tool_calls if call.id not in own_calls])
        return "assistant", message.text.strip(), ids
    if message.role == "tool":
        return "tool", message.text.strip(), (message.tool_call_id or "",)
    return message.role, message.text.strip(), ()


def is_silent(message: Message) -> bool:
    """Whether it is an answer that never began: some clients keep an empty message for it and some nothing."""
    return message.role == "assistant" and not message.tool_calls and (not message.text or message.text.isspace())


def _size(entry: Entry) -> int:
    size = ENTRY_BYTES + getsizeof(entry.message.text)
    if entry.message.reasoning:
        size += getsizeof(entry.message.reasoning)
    for call in entry.message.tool_calls:
        size += CALL_BYTES + getsizeof(call.id) + getsizeof(call.name) + getsizeof(call.arguments)
    if entry.own_calls:
        size += getsizeof(entry.own_calls) + sum(map(getsizeof, entry.own_calls))
    return size


class Node:
    """
    One message as a client sees it; the root of all, which is no message, shows an empty system message.

    An answer's node holds all that its run wrote: texts, calls, and results of the agent's own tools.

    @ivar number: counts nodes in the order in which they came.
    @ivar depth: how many messages there are from the root to this one.
    @ivar entry_id: the last of its entries; C{None} at the root of all.
    @ivar tail_id: where the conversation goes on: C{entry_id}, or the end of the last silent answer after it.
    @ivar is_answer: whether a run wrote it, and not a client.
    @ivar text: its text with its blanks, to which the next answer of the run is joined.
    """

    __slots__ = ("_extra", "depth", "entry_id", "is_answer", "number", "parent", "run_id", "shown", "tail_id", "text")

    def __init__(self, number: int, parent: Node | None, shown: Shown, entry: Entry | None) -> None:
        self.number = number
        self.parent = parent
        self.depth: int = parent.depth + 1 if parent is not None else 0
        self.shown = shown
        self.entry_id = entry.id if entry is not None else None
        self.tail_id = self.entry_id
        self.run_id = entry.run_id if entry is not None else None
        self.is_answer = entry is not None and entry.stop_reason is not None
        self.text = entry.message.text if entry is not None else ""
        # Bytes of that text where it is no entry's.
        self._extra = 0

    @property
    def role(self) -> Role:
        """Who the message is from."""
        return self.shown[0]

    def add_text(self, more: str) -> int:
        """Join more text to its own; gives by how many bytes that makes it larger, besides the texts of its entries."""
        before, is_joined = self._extra, bool(self.text and more)
        self.text += more
        if is_joined:
            self._extra = getsizeof(self.text)
        return self._extra - before


class SessionTree:
    """
    The nodes of one session, found by their parent and what they show.

    @ivar tip_id: the entry that the current branch ends at; C{None} if there is no current branch.
    @ivar detached: ids of the roots that are no part of the history.
    @ivar root: what the first messages of all branches follow.
    @ivar nodes: all nodes without that one, parents before their children.
    @ivar path: the nodes of the current branch.
    @ivar forks: places in C{path} at which there are other nodes that might show the same, or a part of it.
    @ivar size_bytes: estimated memory.
    """

    def __init__(self) -> None:
        self.tip_id: str | None = None
        self.detached: set[str] = set()
        self.root = Node(0, None, ("system", "", ()), None)
        self.nodes: list[Node] = []
        self.path: list[Node] = []
        self.forks: set[int] = set()
        self.size_bytes = TREE_BYTES
        self._entries: dict[str, Entry] = {}
        # The node that an entry belongs to; a silent answer belongs to what it follows.
        self._node_of: dict[str | None, Node] = {None: self.root}
        self._children: dict[tuple[int, Shown], list[Node]] = {}
        # Besides those, answers and results of tools by their parent alone: they may match by less than all they show.
        self._by_role: dict[tuple[int, Role], list[Node]] = {}

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All entries, in the order in which they came."""
        return tuple(self._entries.values())

    # ------------------------------------------------------------------------------ growing

    def grow(self, entries: Iterable[Entry]) -> bool:
        """Take new entries in, whose parents are there, and pass known ones over; gives whether any was new."""
        before = len(self._entries)
        for entry in entries:
            if entry.id not in self._entries:
                self._add(entry)
        return len(self._entries) > before

    def settle(self, transcript: Transcript) -> None:
        """Take over what is current of a transcript whose entries are all here."""
        self._move_tip(transcript.tip_id)
        self.detached = set(transcript.detached)

    def append(self, entries: Sequence[Entry], *, detached: bool) -> None:
        """Do what the store did with these entries; see L{openclaw.stores.SessionStore.begin_run}."""
        if not self.grow(entries):
            return
        if detached:
            self.detached.update(entry.id for entry in entries if entry.parent_id is None)
            return
        if entries[0].parent_id is None and self.tip_id is not None:
            # Another root takes the place of the one that was current.
            self.detached.add(self._root_id(self.tip_id))
        if self.detached:
            self.detached.discard(self._root_id(entries[0].id))
        self._move_tip(entries[-1].id)

    def _move_tip(self, entry_id: str | None) -> None:
        self.tip_id = entry_id
        node = self._node_of[entry_id]
        added: list[Node] = []
        while node.parent is not None and not self.is_current(node):
            added.append(node)
            node = node.parent
        if len(self.path) > node.depth:
            del self.path[node.depth :]
            self.forks = {place for place in self.forks if place < node.depth}
        for node in reversed(added):
            self.path.append(node)
            if self._has_twins(node):
                self.forks.add(node.depth - 1)

    def _has_twins(self, node: Node) -> bool:
        assert node.parent is not None
        twins = self.followers(node.parent, node.role) or self.children(node.parent, node.shown)
        return len(twins) > 1

    def _add(self, entry: Entry) -> None:
        parent = self._node_of[entry.parent_id]
        self._entries[entry.id] = entry
        self.size_bytes += _size(entry)
        shown = show(entry.message, entry.own_calls)
        goes_on = self._goes_on(parent, entry)
        if goes_on and parent.is_answer and parent.run_id == entry.run_id:
            self._join(parent, entry, shown)
        elif shown == _NOTHING or (goes_on and entry.stop_reason is None):
            parent.tail_id = entry.id
            self._node_of[entry.id] = parent
        else:
            node = Node(len(self.nodes) + 1, parent, shown, entry)
            self.nodes.append(node)
            self._node_of[entry.id] = node
            self._index(node)
            if goes_on:
                self._go_back(parent, entry)

    def _goes_on(self, node: Node, entry: Entry) -> bool:
        """Whether an entry below a node goes on with an answer of its run: by a result of an own tool, or by more."""
        if entry.stop_reason is None and entry.message.role != "tool":
            return False
        if node.is_answer and node.run_id == entry.run_id:
            return True
        # An answer of which nothing is to be seen yet has no node.
        before = self._entries.get(entry.parent_id or "")
        return (
            before is not None
            and before.run_id == entry.run_id
            and before.id != node.entry_id
            and (before.stop_reason is not None or before.message.role == "tool")
        )

    def _go_back(self, turn: Node, entry: Entry) -> None:
        """Let a turn end where it did before an answer began of which something is to be seen now."""
        if turn.tail_id != entry.parent_id:
            return
        while entry.parent_id is not None and self._goes_on(turn, entry):
            entry = self._entries[entry.parent_id]
        turn.tail_id = entry.parent_id

    def _join(self, node: Node, entry: Entry, shown: Shown) -> None:
        """Let an answer go on: by a result of the agent's own tool, which nobody sees, or by more text and calls."""
        assert node.parent is not None
        node.entry_id = node.tail_id = entry.id
        self._node_of[entry.id] = node
        twins = self._children[node.parent.number, node.shown]
        twins.remove(node)
        if not twins:
            # What an answer showed on its way is not kept.
            del self._children[node.parent.number, node.shown]
        _, text, ids = node.shown
        if entry.stop_reason is None:
            # Whatever its answer says of it: the client is not to answer what is answered.
            ids = tuple([call_id for call_id in ids if call_id != entry.message.tool_call_id])
        else:
            self.size_bytes += node.add_text(entry.message.text)
            text, ids = node.text.strip(), ids + shown[2]
        node.shown = "assistant", text, ids
        self._children.setdefault((node.parent.number, node.shown), []).append(node)

    def _index(self, node: Node) -> None:
        assert node.parent is not None
        self._children.setdefault((node.parent.number, node.shown), []).append(node)
        if node.role in ("assistant", "tool"):
            self._by_role.setdefault((node.parent.number, node.role), []).append(node)
        if len(self.path) >= node.depth and self.path[node.depth - 1].parent is node.parent:
            self.forks.add(node.depth - 1)

    # ------------------------------------------------------------------------------ looking

    def children(self, node: Node, shown: Shown) -> Sequence[Node]:
        """What follows a node and shows just this."""
        return self._children.get((node.number, shown), ())

    def followers(self, node: Node, role: Role) -> Sequence[Node]:
        """The answers, or the results of tools, that follow a node."""
        return self._by_role.get((node.number, role), ())

    def knows(self, entry_id: str | None) -> bool:
        """Whether an entry is here; C{None}, from which all begins, always is."""
        return entry_id in self._node_of

    def node(self, entry_id: str | None) -> Node:
        """The node that an entry belongs to; the root of all for C{None}."""
        return self._node_of[entry_id]

    def branch(self, entry_id: str | None) -> tuple[Entry, ...]:
        """The entries from the root to this one."""
        entries: list[Entry] = []
        while entry_id is not None:
            entry = self._entries[entry_id]
            entries.append(entry)
            entry_id = entry.parent_id
        entries.reverse()
        return tuple(entries)

    def is_detached(self, entry_id: str | None) -> bool:
        """
        Whether an entry came with the request that began a detached root, or answers that.

        The turn of a later request extends the root: it makes it a part of the history as soon as it is answered.
        """
        if not self.detached or entry_id is None:
            return False
        root_id = self._root_id(entry_id)
        turn = self._node_of[entry_id]
        while turn.is_answer and turn.parent is not None:
            turn = turn.parent
        return root_id in self.detached and turn.run_id == self._entries[root_id].run_id

    def detached_since_ms(self) -> int | None:
        """When the oldest detached root that is not kept was stored, milliseconds since 1970; C{None} without any."""
        roots = [self._entries[root_id] for root_id in self.detached]
        return min((root.created_at_ms for root in roots if not root.streamed), default=None)

    def root_run(self, entry_id: str | None) -> str | None:
        """The run whose request began the conversation that an entry belongs to; C{None} where there is no entry."""
        return None if entry_id is None else self._entries[self._root_id(entry_id)].run_id

    @property
    def has_streamed_root(self) -> bool:
        """Whether the current branch began with a request for a stream."""
        return self.tip_id is not None and self._entries[self._root_id(self.tip_id)].streamed

    @property
    def is_extended(self) -> bool:
        """Whether any request has extended the root of the current branch; looks at all nodes, so ask it last."""
        if not self.path:
            return False
        run_id, below = self.root_run(self.tip_id), {self.path[0].number}
        for node in self.nodes:
            if node.parent is not None and node.parent.number in below:
                if not node.is_answer and node.run_id != run_id:
                    return True
                below.add(node.number)
        return False

    def is_current(self, node: Node) -> bool:
        """Whether a node is on the current branch."""
        return 0 < node.depth <= len(self.path) and self.path[node.depth - 1] is node

    def is_newer(self, entry_id: str | None, run_id: str) -> bool:
        """Whether an entry came after all that a run wrote."""
        for entry in reversed(self._entries.values()):
            if entry.run_id == run_id:
                return False
            if entry.id == entry_id:
                return True
        return False

    def turn_of(self, run_id: str) -> str | None:
        """
        The entry that the answer of a run follows, or would follow.

        @return: the last message that came with the run's request, or what its answer follows if it came with none;
            C{None} if the run wrote nothing here.
        """
        turn: str | None = None
        for entry in self._entries.values():
            if entry.run_id != run_id:
                continue
            if entry.stop_reason is not None:
                return turn if turn is not None else entry.parent_id
            turn = entry.id
        return turn

    def _root_id(self, entry_id: str) -> str:
        entry = self._entries[entry_id]
        while entry.parent_id is not None:
            entry = self._entries[entry.parent_id]
        return entry.id
