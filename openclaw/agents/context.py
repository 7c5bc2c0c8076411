"""
From transcript and request to the messages that the model reads.

Whatever was said, and however turns ended, the prompt keeps four laws, because servers with strict templates answer
nothing else: the system message stands first and alone; user and assistant take turns, the user first, and last where
that is no result; each call has its result right behind it, and each result its call before it; a turn that a server
refused is not in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from openclaw.messages import Message
from openclaw.records import Entry
from openclaw.sessions.tree import is_silent

NO_ANSWER = "[There was no answer to this.]"
"""
What the model reads between two messages of the user, where an answer was empty, was interrupted or never began.

Without it the model would take both for one message, and providers refuse an empty answer.
"""

NO_BEGINNING = "[The beginning of this conversation is not there.]"
"""What the model reads as the user's words before a conversation that begins with an answer."""

GO_ON = "[Please go on.]"
"""
What the model reads as the user's words behind an answer that a client wants to be let go on.

Servers with strict templates refuse a prompt that ends with an answer, and others begin another answer behind it.
"""

NO_RESULT = "[There is no result: this call was never answered.]"
"""What the model reads as the result of a call that nobody has answered, as providers refuse a call without one."""

STRAY_RESULT = "[The result of a call that is not in this conversation:]"
"""What stands above the text of such a result, which providers would refuse as it is."""


def build_context(
    prompt: str, client_system: Sequence[str], branch: Sequence[Entry], new: Sequence[Message]
) -> tuple[Message, ...]:
    """
    Put a prompt together.

    The stable part stands first: the agent's prompt, then what the client wrote as system or developer, then the
    conversation.  Two turns of one session share everything up to the new turn, byte for byte.

    @param client_system: the client's system and developer texts in their order.
    @param branch: the stored part of the conversation, root first.
    @param new: what the request adds; if it is nothing, the branch's last turn is to be answered once more.
    """
    system = "\n\n".join([prompt, *(text for text in client_system if text.strip())])
    stored = _without_refused(branch) if any(entry.stop_reason == "refused" for entry in branch) else branch
    conversation = list(_with_gaps(stored, new))
    if any(message.role == "tool" or message.tool_calls for message in conversation):
        conversation = _pair_calls(conversation)
    return (Message("system", system), *_take_turns(conversation))


def _without_refused(branch: Iterable[Entry]) -> list[Entry]:
    """
    Without the turns that were refused.

    Such a turn is all that its run wrote, but for what its client had sent as the conversation before it; if the run
    wrote nothing, as it was to answer a stored turn anew, it is that one.
    """
    kept: list[Entry] = []
    for entry in branch:
        if entry.stop_reason != "refused":
            kept.append(entry)
            continue
        anew = bool(kept) and kept[-1].run_id != entry.run_id
        run_id = kept[-1].run_id if anew else entry.run_id
        while kept and kept[-1].run_id == run_id:
            if kept[-1].message.role == "assistant" and (anew or kept[-1].stop_reason is None):
                break
            kept.pop()
    return kept


def _with_gaps(branch: Iterable[Entry], new: Iterable[Message]) -> Iterable[Message]:
    """The conversation without empty answers, and L{NO_ANSWER} where a turn follows another that has no answer."""
    said: Iterable[tuple[Message, str | None, bool]] = (
        *((entry.message, entry.run_id, entry.stop_reason in ("aborted", "error")) for entry in branch),
        *((message, None, False) for message in new),
    )
    # The run whose turn, or whose calls, have no answer yet.
    unanswered_run: str | None = None
    last_role: str | None = None
    # What was thought before an empty answer, for whatever stands in its place.
    thought = ""
    for message, run_id, was_cut in said:
        if is_silent(message):
            thought = message.reasoning
            # One that ended by itself is an answer, if an empty one; a cut off one leaves its turn unanswered.
            if not was_cut:
                unanswered_run = None
            continue
        if message.role == "user" and (last_role == "user" or unanswered_run not in (None, run_id)):
            yield Message("assistant", NO_ANSWER, reasoning=thought)
        yield message
        last_role, thought = message.role, ""
        # An answer that makes calls is none before its results are there.
        is_answer = message.role == "assistant" and not message.tool_calls
        unanswered_run = None if is_answer else run_id


def _pair_calls(messages: Sequence[Message]) -> list[Message]:
    """Put a result of each call right behind it; results that are of no call before them become a user's text."""
    paired: list[Message] = []
    # What stands last has these calls without results, and these results behind it are of none of its calls.
    waiting: list[str] = []
    stray: list[str] = []
    for message in messages:
        if message.role != "tool":
            paired += _missing(waiting, stray)
            paired.append(message)
            waiting, stray = [call.id for call in message.tool_calls], []
        elif message.tool_call_id in waiting:
            paired.append(message)
            waiting.remove(message.tool_call_id)
        elif message.text.strip():
            stray.append(f"{STRAY_RESULT}\n{message.text}")
    return paired + _missing(waiting, stray)


def _missing(call_ids: Sequence[str], stray: Sequence[str]) -> list[Message]:
    """What is missing behind calls, then the stray results that stand there."""
    results = [Message("tool", NO_RESULT, tool_call_id=call_id) for call_id in call_ids]
    return [*results, Message("user", "\n\n".join(stray))] if stray else results


def _take_turns(messages: Iterable[Message]) -> Iterable[Message]:
    """
    Let user and assistant take turns, the user first, and last where it is not a result.

    Two answers in a row, as of a client that lets an answer go on, become one.
    """
    last: Message | None = None
    for message in messages:
        if message.role == "assistant":
            if last is None:
                yield Message("user", NO_BEGINNING)
            elif last.role == "assistant":
                # A result that said nothing may have stood between an answer and the gap behind it.
                if message.text != NO_ANSWER:
                    last = _joined(last, message)
                continue
        elif message.role == "user" and last is not None and last.role == "user":
            yield last
            last = Message("assistant", NO_ANSWER)
        if last is not None:
            yield last
        last = message
    if last is not None:
        yield last
    if last is None or last.role == "assistant":
        yield Message("user", NO_BEGINNING if last is None else GO_ON)


def _joined(first: Message, second: Message) -> Message:
    """Two answers as one; the first makes no calls, as their results would stand between."""
    texts = (text for text in (first.text, second.text) if text.strip())
    thoughts = (text for text in (first.reasoning, second.reasoning) if text.strip())
    return attrs.evolve(second, text="\n\n".join(texts), reasoning="\n\n".join(thoughts))
