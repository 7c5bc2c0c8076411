"""
Where a request joins its session's transcript.

A pure function over the stored branch and the messages sent.  It knows a session's plain continuation: a client
that sends only its new turn, and one that sends the whole conversation each time.  Whatever matches neither is
I{detached}: the run is made of what was sent and leaves the transcript as it is, so nothing stored is ever
doubled or overwritten by a guess.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from openclaw.agents.resolve import KeySource
from openclaw.interfaces import Entry
from openclaw.messages import Message

_APPENDING_SOURCES: frozenset[KeySource] = frozenset({"key", "metadata", "user"})


@attrs.frozen
class Append:
    """
    The request continues the branch at its tip.

    @ivar new: the messages that are not stored yet; empty when the stored branch waits for its answer.
    """

    new: tuple[Message, ...]


@attrs.frozen
class Detached:
    """The request stands for itself: it runs on what was sent, and nothing of it is stored."""


Placement = Append | Detached


def place(branch: Sequence[Entry], sent: Sequence[Message], source: KeySource) -> Placement:
    """
    Find where a request joins its session.

    @param branch: the current branch from root to tip; empty for a session without turns.
    @param sent: the messages of the request without system messages, at least one.
    @param source: where the session key came from.
    """
    if not branch:
        return Append(tuple(sent))
    if source in _APPENDING_SOURCES and (len(sent) == 1 or all(message.role == "tool" for message in sent)):
        return Append(tuple(sent))
    stored = _project_branch(branch)
    told = [message for message in sent if not _is_silent(message)]
    if len(told) < len(stored) or not all(map(_same, stored, told)):
        return Detached()
    new = tuple(told[len(stored) :])
    if not new and not (stored and _waits_for_answer(stored[-1])):
        return Detached()
    return Append(new)


def _project_branch(branch: Sequence[Entry]) -> list[Message]:
    """
    The branch as a client sees it: the answers of one run joined into one message, without the agent's own calls
    between them and their results, and without answers that never began.
    """
    visible: list[Message] = []
    answering_run: str | None = None
    for entry in branch:
        message = entry.message
        if entry.stop_reason is None:
            # It came with a request, or is the result of a tool of the agent's own.
            if message.role == "tool" and entry.run_id == answering_run:
                continue
            answering_run = None
        elif entry.run_id == answering_run:
            message = Message("assistant", visible.pop().text + message.text, message.tool_calls)
        else:
            answering_run = entry.run_id
        visible.append(message)
    return [message for message in visible if not _is_silent(message)]


def _is_silent(message: Message) -> bool:
    """Whether it is an answer that never began: some clients keep an empty message for it and some nothing."""
    return message.role == "assistant" and not message.tool_calls and (not message.text or message.text.isspace())


def _waits_for_answer(message: Message) -> bool:
    return message.role != "assistant"


def _same(stored: Message, shown: Message) -> bool:
    if stored.role != shown.role or stored.tool_call_id != shown.tool_call_id or not _same_calls(stored, shown):
        return False
    if stored.text == shown.text:
        return True
    if stored.role == "assistant":
        # A user who pressed stop has only the beginning of what was stored.
        return stored.text.strip().startswith(shown.text.strip())
    return stored.text.strip() == shown.text.strip()


def _same_calls(stored: Message, shown: Message) -> bool:
    if not stored.tool_calls and not shown.tool_calls:
        return True
    return [call.id for call in stored.tool_calls] == [call.id for call in shown.tool_calls]
