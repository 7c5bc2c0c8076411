"""How the messages of a prompt are written for a server of OpenAI's chat completions: as the model takes them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from openclaw.messages import Message, ToolCall
from openclaw.models import MessageForm

DEVELOPER = "developer"
"""What is left out of a call so that its system message has the role C{system}."""

REASONING = "reasoning_content"
"""The key of a message with what the model thought before."""

TOOL_NAME = "name"
"""The key of a tool's result with the name of the tool."""

NOTED = "(The results were read.)"
"""What stands between results and the user's words where a server wants an answer there."""


def wire_messages(
    messages: Sequence[Message], form: MessageForm, without: Collection[str] = ()
) -> list[dict[str, Any]]:
    """
    Write the messages of a call.

    @param without: keys and roles, as this module names them, that the server is known to refuse.
    """
    if form.strict_keys:
        return _merged(_strict(message) for message in messages)
    names = {call.id: call.name for message in messages for call in message.tool_calls} if form.tool_result_name else {}
    written: list[dict[str, Any]] = []
    role = ""
    for message in messages:
        if form.assistant_after_tool and role == "tool" and message.role == "user":
            written.append({"role": "assistant", "content": NOTED})
        role = message.role
        wire = _message(message, form)
        if role == "system" and form.developer_role and DEVELOPER not in without:
            wire["role"] = DEVELOPER
        elif role == "tool" and form.tool_result_name and TOOL_NAME not in without:
            wire[TOOL_NAME] = names.get(message.tool_call_id or "", "unknown")
        elif role == "assistant" and REASONING not in without and _goes_back(message, form):
            wire[REASONING] = message.reasoning
        written.append(wire)
    return written


def optional_parts(messages: Sequence[Mapping[str, Any]], form: MessageForm) -> set[str]:
    """What of written messages could be left out: keys and roles, as C{without} of L{wire_messages} names them."""
    found: set[str] = set()
    # A transcript may be long, and most models take none of these.
    if form.developer_role:
        found |= {DEVELOPER for message in messages if message["role"] == DEVELOPER}
    if form.reasoning is not None or form.tool_result_name:
        found |= {key for message in messages for key in (REASONING, TOOL_NAME) if key in message}
    return found


def _goes_back(message: Message, form: MessageForm) -> bool:
    return form.reasoning == "always" or (form.reasoning == "content" and bool(message.reasoning))


def _message(message: Message, form: MessageForm) -> dict[str, Any]:
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": message.tool_call_id or "", "content": message.text}
    text = message.text
    if form.reasoning == "text" and message.role == "assistant" and message.reasoning:
        text = f"{message.reasoning}\n\n{text}" if text else message.reasoning
    if message.role == "assistant" and message.tool_calls:
        return {
            "role": "assistant",
            "content": text if text or form.string_content else None,
            "tool_calls": [_call(call) for call in message.tool_calls],
        }
    return {"role": message.role, "content": text}


def _call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _strict(message: Message) -> dict[str, Any]:
    """A message with a role and a content only: calls are told in words, results as words of the user's."""
    if message.role == "tool":
        return {"role": "user", "content": f"Result of the call: {message.text}"}
    calls = [f"Call of {call.name}: {call.arguments}" for call in message.tool_calls]
    return {"role": message.role, "content": "\n".join([message.text, *calls] if message.text else calls)}


def _merged(messages: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages, words of the user's that follow one another as one."""
    merged: list[dict[str, Any]] = []
    for message in messages:
        if merged and message["role"] == merged[-1]["role"] == "user":
            merged[-1] = {"role": "user", "content": f"{merged[-1]['content']}\n\n{message['content']}"}
        else:
            merged.append(message)
    return merged
