"""From transcript and request to the messages that the model reads."""

from __future__ import annotations

from collections.abc import Sequence

from openclaw.messages import Message
from openclaw.records import Entry

NO_ANSWER = "[This turn was interrupted before it was answered.]"
"""
What the model reads between a turn that was never answered and the next one.

Without it the model would take both for one message, and providers refuse an empty answer.
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

    Each call has its result right behind it, and each result its call before it; what is not so is made so.

    @param client_system: the client's system and developer texts in their order.
    @param branch: the stored part of the conversation, root first.
    @param new: what the request adds; if it is nothing, the branch's last turn is to be answered once more.
    """
    system = "\n\n".join([prompt, *(text for text in client_system if text.strip())])
    conversation = [Message("system", system)]
    unanswered_run: str | None = None
    for entry in branch:
        message = entry.message
        if _says_nothing(message):
            # One that ended by itself is an answer, if an empty one; a cut off one leaves its turn unanswered.
            if entry.stop_reason not in ("aborted", "error"):
                unanswered_run = None
            continue
        if message.role == "user" and unanswered_run not in (None, entry.run_id):
            conversation.append(Message("assistant", NO_ANSWER))
        conversation.append(message)
        # An answer that makes calls is none before their results are there.
        is_answer = message.role == "assistant" and not message.tool_calls
        unanswered_run = None if is_answer else entry.run_id
    told = [message for message in new if not _says_nothing(message)]
    if told and told[0].role == "user" and unanswered_run is not None:
        conversation.append(Message("assistant", NO_ANSWER))
    conversation += told
    if any(message.role == "tool" or message.tool_calls for message in conversation):
        conversation = _pair_calls(conversation)
    return tuple(conversation)


def _pair_calls(messages: Sequence[Message]) -> list[Message]:
    """Put a result of each call right behind it; results that are of no call before them become a user's text."""
    paired: list[Message] = []
    # What stands last has these calls without results, and these results behind it are of none of its calls.
    waiting: list[str] = []
    stray: list[Message] = []
    for message in messages:
        if message.role != "tool":
            paired += _missing(waiting) + stray
            paired.append(message)
            waiting, stray = [call.id for call in message.tool_calls], []
        elif message.tool_call_id in waiting:
            paired.append(message)
            waiting.remove(message.tool_call_id)
        elif message.text.strip():
            stray.append(Message("user", f"{STRAY_RESULT}\n{message.text}"))
    return paired + _missing(waiting) + stray


def _missing(call_ids: Sequence[str]) -> list[Message]:
    return [Message("tool", NO_RESULT, tool_call_id=call_id) for call_id in call_ids]


def _says_nothing(message: Message) -> bool:
    return message.role == "assistant" and not message.text and not message.tool_calls
