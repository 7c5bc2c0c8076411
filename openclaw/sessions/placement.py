"""
Where a request joins its session's transcript.

Clients send only their new turn, or the whole conversation, or a window of it, or an edited one; and their user
interfaces ask on the side for a title.  A pure function over the session's tree finds out which of it this is, by the
rules of C{docs/http-api.md}, section "Continuing a session".
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from openclaw.messages import Message
from openclaw.sessions.keys import PLAIN, KeySource, Manner
from openclaw.sessions.tree import Node, SessionTree, Shown, is_silent, show

MAX_SINGLE_STARTS = 4
"""
Places where a window may begin that are followed one by one; if there are more, all are followed together.

That gives the same.  The first costs nothing but the steps, and ten times less in a long window of a conversation that
does not repeat itself; the second does not grow with the places.
"""

UNKNOWN_RUN = ""
"""The C{retry_of} of a request that is sent again by a client whose run nobody remembers, as after a restart."""

_APPENDING_SOURCES: frozenset[KeySource] = frozenset({"key", "metadata", "user"})


@attrs.frozen
class Placement:
    """
    Where a request joins its session.

    @ivar parent_id: the stored entry that it follows; C{None} if it begins the session's history, or a detached root,
        because it has no first message in common with its session.
    @ivar new: the messages that are not stored yet.  Empty if all are: then the turn is answered anew, and the answer
        becomes a sibling of those that it has.
    @ivar detached: the turn is a detached root, or belongs to one, which this request does not extend.  It leaves the
        history and the session's other runs alone: it needs no lane.
    @ivar is_root: it begins a chat of a user interface, or something beside that: until a request extends it, it has
        a lane of its own.
    @ivar takes_over: it becomes the history in the place of a root that nothing has extended, which is detached.
    """

    parent_id: str | None
    new: tuple[Message, ...]
    detached: bool = False
    is_root: bool = False
    takes_over: bool = False

    @property
    def is_alone(self) -> bool:
        """Whether it neither waits for the session's other runs nor makes them wait."""
        return self.detached or self.is_root


@attrs.frozen
class _Match:
    """
    A node that sent messages lead to.

    @ivar length: how many of them have a node.
    @ivar exact: whether all of these are the same as what is stored, and not its beginning only.
    @ivar settled: false if the last one is a result of a tool that has the call in common with the stored one, and
        not the text: a new result, unless more that is stored follows it.
    """

    node: Node
    length: int
    exact: bool = True
    settled: bool = True


def place(
    tree: SessionTree,
    sent: Sequence[Message],
    source: KeySource,
    retry_of: str | None = None,
    manner: Manner = PLAIN,
) -> Placement:
    """
    Find where a request joins its session.

    @param sent: the messages of the request without system messages, at least one.
    @param retry_of: a run of the same request that was cancelled or failed, or L{UNKNOWN_RUN}; its turn is answered,
        if it is stored.
    """
    if retry_of is not None:
        turn_id = tree.turn_of(retry_of)
        if turn_id is not None:
            return Placement(turn_id, (), _is_passed(tree, turn_id, retry_of))
        turn_id = _unanswered_twin(tree, sent)
        if turn_id is not None:
            return Placement(turn_id, ())
    if not tree.nodes:
        return _place_root(tree, sent, source, manner)
    if all(message.role == "tool" for message in sent):
        calling = _find_call(tree, sent)
        if calling is not None:
            return Placement(calling.tail_id, tuple(sent))
        if source in _APPENDING_SOURCES:
            return Placement(tree.tip_id, tuple(sent))
    elif len(sent) == 1 and source in _APPENDING_SOURCES:
        return Placement(tree.tip_id, tuple(sent))
    return _place_conversation(tree, sent) or _place_root(tree, sent, source, manner)


def _place_root(tree: SessionTree, sent: Sequence[Message], source: KeySource, manner: Manner) -> Placement:
    """
    Begin something that has no first message in common with the session.

    User interfaces ask for a title beside the first turn, and often before it: what the user said is to be the
    conversation in every order.
    """
    is_chat = source == "chat"
    if tree.tip_id is None:
        is_beside = is_chat and manner.is_side_call(sent)
        return Placement(None, tuple(sent), detached=is_beside, is_root=is_chat)
    takes_over = is_chat and manner.streamed and not tree.has_streamed_root and not tree.is_extended
    return Placement(None, tuple(sent), detached=not takes_over, is_root=is_chat, takes_over=takes_over)


def _is_passed(tree: SessionTree, turn_id: str, run_id: str) -> bool:
    """
    Whether the conversation has gone on since a run that failed, without an answer to its turn, or elsewhere.

    Then a late answer is stored beside it, and the current branch stays what it is: turns that were answered
    meanwhile must not fall out of the history.  What was there before the run does not matter: it was to become
    another branch.
    """
    if tree.is_detached(turn_id):
        return True
    turn, tip = tree.node(turn_id), tree.node(tree.tip_id)
    if tip is turn or (tip.is_answer and tip.parent is turn):
        return False
    return tree.is_newer(tree.tip_id, run_id)


def _place_conversation(tree: SessionTree, sent: Sequence[Message]) -> Placement | None:
    told = _without_silent_ends(sent)
    match, used = _best(tree, _walk(tree, [_Match(tree.root, 0)], told, 0))
    # What follows a turn that is known is new, if it is a user's.  Else the client may have a window of the
    # conversation that begins with the words that this began with.
    if match is None or (used < len(told) and told[used].role != "user"):
        spoken = [message for message in told if not is_silent(message)]
        window, window_used = _match_window(tree, spoken) if spoken else (None, 0)
        if window is not None and (match is None or window.length > match.length):
            match, told, used = window, spoken, window_used
    if match is None:
        return None
    node = match.node
    new = tuple([message for message in told[used:] if not is_silent(message)])
    if new:
        return Placement(node.tail_id, new)
    return Placement(node.entry_id, (), tree.is_detached(node.entry_id))


def _without_silent_ends(sent: Sequence[Message]) -> Sequence[Message]:
    """Without empty answers at the beginning, and at the end, where a client keeps one for the answer to come."""
    first, last = 0, len(sent)
    while last > first and is_silent(sent[last - 1]):
        last -= 1
    while first < last and is_silent(sent[first]):
        first += 1
    return sent[first:last]


# ------------------------------------------------------------------------------ the whole conversation


_Walk = tuple[list[_Match], int]
"""Where sent messages lead to, and how many of them."""


def _walk(tree: SessionTree, frontier: list[_Match], told: Sequence[Message], used: int) -> list[_Walk]:
    """
    Follow a conversation through the tree as far as it goes.

    Most conversations go along the current branch, where messages are compared one by one; elsewhere, and wherever
    several nodes may be meant, they are looked up.

    @param frontier: the nodes to go on from.
    @param used: how many messages led there.
    @return: the longest match, and those that left the current branch where it has twins.
    """
    walks: list[_Walk] = []
    best: _Walk = ([match for match in frontier if match.length], used)
    while used < len(told) and frontier:
        if len(frontier) == 1 and (frontier[0].length == 0 or tree.is_current(frontier[0].node)):
            start = frontier[0]
            steps = _common(tree, start.node.depth, told, used)
            for fork in tree.forks:
                if 0 <= fork - start.node.depth < steps:
                    walks += _walk_twins(tree, start, told, used, fork)
            if steps:
                node = tree.path[start.node.depth + steps - 1]
                frontier = [_Match(node, start.length + steps, start.exact)]
                used += steps
                best = (frontier, used)
                continue
        wanted = show(told[used])
        frontier = [match for known in frontier for match in _matches(tree, known, wanted)]
        used += 1
        settled = [match for match in frontier if match.settled]
        if settled:
            best = (settled, used)
    return [best, *walks]


def _common(tree: SessionTree, depth: int, told: Sequence[Message], used: int) -> int:
    """How many messages are those of the current branch from this depth on."""
    count = 0
    for message, node in zip(told[used:], tree.path[depth:], strict=False):
        role, text, ids = node.shown
        if message.text != text and message.text.strip() != text:
            break
        if message.role != role or ((ids or message.tool_calls) and show(message) != node.shown):
            break
        count += 1
    return count


def _walk_twins(tree: SessionTree, start: _Match, told: Sequence[Message], used: int, fork: int) -> list[_Walk]:
    """Follow what matches at a fork of the current branch as well as that does."""
    steps = fork - start.node.depth
    node = tree.path[fork]
    assert node.parent is not None
    known = _Match(node.parent, start.length + steps, start.exact)
    twins = [match for match in _matches(tree, known, show(told[used + steps])) if match.node is not node]
    return _walk(tree, twins, told, used + steps + 1) if twins else []


def _best(tree: SessionTree, walks: Sequence[_Walk]) -> tuple[_Match | None, int]:
    """The match that takes the most messages; of equally good ones that of the current branch, else the newest."""
    used = max(count for _, count in walks)
    matches = [match for found, count in walks if count == used for match in found if match.settled]
    return _choose(tree, matches), used


def _matches(tree: SessionTree, known: _Match, wanted: Shown) -> list[_Match]:
    """The nodes after a node that a message may be."""
    role, text, ids = wanted
    node, length = known.node, known.length + 1
    matches = [_Match(child, length, known.exact) for child in tree.children(node, wanted)]
    if role == "assistant" and not text and not ids:
        # There was nothing to see of it, and perhaps nothing is stored.
        matches.append(known)
        if node.tail_id != node.entry_id:
            return matches
    if role == "assistant":
        for answer in tree.followers(node, role):
            if answer.shown != wanted and _begins(answer, text, ids):
                matches.append(_Match(answer, length, exact=False))
    elif role == "tool":
        for result in tree.followers(node, role):
            if result.shown != wanted and result.shown[2] == ids:
                matches.append(_Match(result, length, exact=False, settled=False))
    return matches


def _begins(answer: Node, text: str, ids: tuple[str, ...]) -> bool:
    """Whether a client that shows this text may mean this answer: who pressed stop has only its beginning."""
    return answer.shown[2] == ids and answer.shown[1].startswith(text)


def _choose(tree: SessionTree, matches: Sequence[_Match]) -> _Match | None:
    """Of equally good matches the one of the current branch, else the newest."""
    if len(matches) <= 1:
        return matches[0] if matches else None
    return max(matches, key=lambda match: (match.length, match.exact, tree.is_current(match.node), match.node.number))


# ------------------------------------------------------------------------------ a window of it


def _match_window(tree: SessionTree, told: Sequence[Message]) -> tuple[_Match | None, int]:
    """The longest match of a conversation without its front, of equal ones the nearest to the tip; and its length."""
    first = show(told[0])
    role, text, ids = first
    if role == "assistant":
        starts = [node for node in tree.nodes if node.shown[0] == role and _begins(node, text, ids)]
    else:
        starts = [node for node in tree.nodes if node.shown == first]
    if len(starts) > MAX_SINGLE_STARTS:
        match = _match_repeated(tree, [show(message) for message in told])
        return match, match.length if match is not None else 0
    walks = [
        walk
        for node in starts
        for walk in _walk(tree, [_Match(node, 1, exact=node.shown == first)], told, 1)
        # The beginning of a single answer alone is too little to know it by.
        if walk[1] > 1 or node.shown == first
    ]
    return _best(tree, walks) if walks else (None, 0)


def _match_repeated(tree: SessionTree, shown: Sequence[Shown]) -> _Match | None:
    """
    The same where the first message is found in many places, in one pass over all nodes, parents first.

    For each node there is a set of numbers, as the bits of an integer: bit C{n} is there if the messages up to the
    C{n}th lead to this node from wherever they begin.  So it costs the same however often the conversation repeats
    itself.
    """
    places: dict[Shown, int] = {}
    # Results of tools by their call alone.
    results: dict[tuple[str, ...], int] = {}
    answers = 0
    for number, wanted in enumerate(shown):
        places[wanted] = places.get(wanted, 0) | 1 << number
        if wanted[0] == "assistant":
            answers |= 1 << number
        elif wanted[0] == "tool":
            results[wanted[2]] = results.get(wanted[2], 0) | 1 << number
    reached: dict[int, tuple[int, int]] = {}
    best: list[_Match] = []
    longest = 1
    for node in tree.nodes:
        here = places.get(node.shown, 0)
        assert node.parent is not None
        is_reached = node.parent.number in reached
        if not here and not is_reached and not (node.role == "assistant" and answers & 1):
            continue
        exactly, somehow = reached.get(node.parent.number, (0, 0))
        exactly = (exactly << 1 | 1) & here
        could_be = somehow << 1 | 1
        settled = somehow = could_be & here
        if node.role == "assistant":
            settled = somehow = somehow | _beginnings(node, shown, could_be & answers & ~here)
        elif node.role == "tool" and is_reached:
            somehow |= could_be & ~1 & results.get(node.shown[2], 0)
        if not somehow:
            continue
        reached[node.number] = exactly, somehow
        length = settled.bit_length()
        exact = exactly.bit_length() == length
        # The beginning of a single answer alone is too little to know it by.
        if length < longest or (length == 1 and not exact):
            continue
        if length > longest:
            longest, best = length, []
        best.append(_Match(node, length, exact))
    return _choose(tree, best)


def _beginnings(answer: Node, shown: Sequence[Shown], numbers: int) -> int:
    """Those of the numbered messages that are the beginning of an answer."""
    found = 0
    while numbers:
        bit = numbers & -numbers
        numbers ^= bit
        _, text, ids = shown[bit.bit_length() - 1]
        if _begins(answer, text, ids):
            found |= bit
    return found


# ------------------------------------------------------------------------------ parts of a turn


def _find_call(tree: SessionTree, results: Sequence[Message]) -> Node | None:
    """The answer that made these calls: that at the tip, else one of the current branch, else the newest."""
    ids = {message.tool_call_id for message in results}
    tip = tree.node(tree.tip_id)
    if tip.role == "assistant" and ids.issubset(tip.shown[2]):
        return tip
    calling = [_Match(node, 0) for node in tree.nodes if node.role == "assistant" and ids.issubset(node.shown[2])]
    match = _choose(tree, calling)
    return match.node if match is not None else None


def _unanswered_twin(tree: SessionTree, sent: Sequence[Message]) -> str | None:
    """The turn that is what was sent and has no answer: the last of the current branch, or new results elsewhere."""
    ends = [tree.node(tree.tip_id)]
    # Anything else that begins a branch is found by what goes before it.
    if tree.nodes and tree.nodes[-1].role == "tool" and not tree.is_detached(tree.nodes[-1].entry_id):
        ends.append(tree.nodes[-1])
    return next((end.entry_id for end in ends if _ends_with(end, sent)), None)


def _ends_with(end: Node, sent: Sequence[Message]) -> bool:
    node = end
    for message in reversed(sent):
        if node.parent is None or node.is_answer or node.shown != show(message):
            return False
        node = node.parent
    return True
