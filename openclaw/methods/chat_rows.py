"""Entries of a transcript as the rows of C{chat.history}."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from openclaw.messages import Message, ToolCall
from openclaw.records import Entry, StopReason

_STOP: dict[StopReason, str] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "toolUse",
    "content_filter": "error",
    "aborted": "aborted",
    "error": "error",
    "refused": "error",
}

CUT_MARK = "\n…(truncated)…"
"""What stands at the end of a text that was cut to C{maxChars}."""


def stop_word(reason: StopReason) -> str:
    """Why an answer ends, in the words that clients of the WebSocket protocol know."""
    return _STOP[reason]


def history_rows(entries: Sequence[Entry], first_seq: int | None, max_chars: int | None) -> list[dict[str, Any]]:
    """
    The rows of some entries, in their order.

    @param first_seq: the place of the first one in its conversation, from 1; C{None} if that is not known.
    @param max_chars: longest text of a row; C{None} for no bound.
    """
    names = {call.id: call.name for entry in entries for call in entry.message.tool_calls}
    return [
        _row(entry, None if first_seq is None else first_seq + index, max_chars, names)
        for index, entry in enumerate(entries)
    ]


def _row(entry: Entry, seq: int | None, max_chars: int | None, names: dict[str, str]) -> dict[str, Any]:
    message = entry.message
    text = message.text
    if max_chars is not None and len(text) > max_chars:
        text = text[:max_chars] + CUT_MARK
    known: dict[str, Any] = {"id": entry.id, "runId": entry.run_id, "recordTimestampMs": entry.created_at_ms}
    if seq is not None:
        known["seq"] = seq
    row: dict[str, Any] = {"role": message.role, "content": text, "timestamp": entry.created_at_ms}
    if message.role == "assistant":
        row["content"] = _parts(message, text)
        if entry.stop_reason is not None:
            row["stopReason"] = stop_word(entry.stop_reason)
    elif message.role == "tool":
        row |= {"role": "toolResult", "toolCallId": message.tool_call_id, "content": [_text(text)]}
        if message.tool_call_id in names:
            row["toolName"] = names[message.tool_call_id]
    return {**row, "__openclaw": known}


def _parts(message: Message, text: str) -> list[dict[str, Any]]:
    parts = [_text(text)] if text else []
    return parts + [
        {"type": "toolCall", "id": call.id, "name": call.name, "arguments": _arguments(call)}
        for call in message.tool_calls
    ]


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


class _Object(msgspec.Struct):
    """Any JSON object; what is in it is checked, and not decoded."""


_object_decoder = msgspec.json.Decoder(_Object)


def _arguments(call: ToolCall) -> msgspec.Raw | str:
    """
    The arguments as an object; as the model wrote them where that is none.

    They go to the client as they are: decoded they take long, and not everything can be encoded again.
    """
    try:
        data = call.arguments.encode()
        _object_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return call.arguments
    return msgspec.Raw(data)
