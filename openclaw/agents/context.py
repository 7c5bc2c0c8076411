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
        unanswered_run = None if message.role == "assistant" else entry.run_id
    told = [message for message in new if not _says_nothing(message)]
    if told and told[0].role == "user" and unanswered_run is not None:
        conversation.append(Message("assistant", NO_ANSWER))
    return (*conversation, *told)


def _says_nothing(message: Message) -> bool:
    return message.role == "assistant" and not message.text and not message.tool_calls
