"""
One chunk of an OpenAI chat completion: what is read of it, and how one is read that is odd.

The ordinary chunk is decoded at once.  What the decoder refuses is decoded in full and taken field by field: a field
of another type than it should have counts as absent, whichever it is, and the rest of the chunk is as good as ever.
"""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec

MAX_PARTS_DEPTH = 4
"""How deep parts of a text may hold parts."""


class Function(msgspec.Struct, gc=False):
    """The function of a call, or a piece of it."""

    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class CallPiece(msgspec.Struct, gc=False):
    """A call of a tool, or a piece of it."""

    index: int | None = None
    id: str | None = None
    function: Function | None = None


class Delta(msgspec.Struct, gc=False):
    """What a choice adds; C{function_call} is what calls were before there were several."""

    content: str | list[Any] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_text: str | None = None
    refusal: str | None = None
    tool_calls: list[CallPiece] | None = None
    function_call: Function | None = None


class PromptDetails(msgspec.Struct, gc=False):
    """What of a prompt was in a cache."""

    cached_tokens: int | float | None = None


class CompletionDetails(msgspec.Struct, gc=False):
    """What of an answer was reasoning."""

    reasoning_tokens: int | float | None = None


class UsageFigures(msgspec.Struct, gc=False):
    """What a call cost, in OpenAI's names and in the other ones (Anthropic's, DeepSeek's, Moonshot's)."""

    prompt_tokens: int | float | None = None
    completion_tokens: int | float | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None
    input_tokens: int | float | None = None
    output_tokens: int | float | None = None
    prompt_cache_hit_tokens: int | float | None = None
    cached_tokens: int | float | None = None


class Choice(msgspec.Struct, gc=False):
    """One of the answers; Moonshot has the usage here, OpenRouter the error, servers of plain completions the text."""

    index: int | None = None
    delta: Delta | None = None
    message: Delta | None = None
    finish_reason: str | None = None
    usage: UsageFigures | None = None
    text: str | None = None
    error: Any = None


class Chunk(msgspec.Struct, gc=False):
    """A chunk; C{error} is looked at wherever it stands."""

    choices: list[Choice] | None = None
    usage: UsageFigures | None = None
    error: Any = None


decode_chunk = msgspec.json.Decoder(Chunk).decode
"""
Decode an ordinary chunk.

@raise msgspec.DecodeError: or C{UnicodeDecodeError}, or C{RecursionError}, if it is none.
"""


def decode_any(payload: bytes) -> Any:
    """
    Decode what L{decode_chunk} refuses: with halves of surrogate pairs, C{NaN}, numbers without end, and control
    characters within a text.

    @raise ValueError: or C{RecursionError}, if it is no JSON.
    """
    return json.loads(payload, parse_int=_whole_number, strict=False)


def _whole_number(digits: str) -> float:
    """Read an integer; Python refuses one of thousands of digits."""
    return int(digits) if len(digits) < 20 else math.inf


def chunk_of(document: dict[str, Any]) -> Chunk:
    """Make a chunk of a decoded object, without the fields that have a wrong type."""
    choices = document.get("choices")
    if isinstance(choices, dict):
        choices = [choices]
    return Chunk(
        choices=[_choice(each) for each in choices if isinstance(each, dict)] if isinstance(choices, list) else None,
        usage=_usage(document.get("usage")),
        error=document.get("error"),
    )


def _choice(choice: dict[str, Any]) -> Choice:
    return Choice(
        index=_index(choice.get("index")),
        delta=_delta(choice.get("delta")),
        message=_delta(choice.get("message")),
        finish_reason=_text(choice.get("finish_reason")),
        usage=_usage(choice.get("usage")),
        text=_text(choice.get("text")),
        error=choice.get("error"),
    )


def _delta(delta: Any) -> Delta | None:
    if not isinstance(delta, dict):
        return None
    content = delta.get("content")
    calls = delta.get("tool_calls")
    if isinstance(calls, dict):
        calls = [calls] if calls else None
    return Delta(
        content=[content] if isinstance(content, dict) else content if isinstance(content, str | list) else None,
        reasoning_content=_joined(delta.get("reasoning_content")),
        reasoning=_joined(delta.get("reasoning")),
        reasoning_text=_joined(delta.get("reasoning_text")),
        refusal=_text(delta.get("refusal")),
        tool_calls=[_call(each) for each in calls if isinstance(each, dict)] if isinstance(calls, list) else None,
        function_call=_function(delta.get("function_call")),
    )


def _call(call: dict[str, Any]) -> CallPiece:
    return CallPiece(_index(call.get("index")), _text(call.get("id")), _function(call.get("function")))


def _function(function: Any) -> Function | None:
    if not isinstance(function, dict):
        return None
    arguments = function.get("arguments")
    if isinstance(arguments, list | int | float) and not isinstance(arguments, bool):
        arguments = json.dumps(arguments, separators=(",", ":"))
    return Function(_text(function.get("name")), arguments if isinstance(arguments, str | dict) else None)


def _usage(usage: Any) -> UsageFigures | None:
    """Usage that is there and cannot be read is not absent: it makes an earlier one void."""
    if not isinstance(usage, dict):
        return UsageFigures(prompt_tokens=math.nan) if usage else None
    figures = {
        name: _figure(usage.get(name)) for name in UsageFigures.__struct_fields__ if not name.endswith("details")
    }
    prompt, completion = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    return UsageFigures(
        **figures,
        prompt_tokens_details=PromptDetails(_figure(prompt.get("cached_tokens"))) if isinstance(prompt, dict) else None,
        completion_tokens_details=(
            CompletionDetails(_figure(completion.get("reasoning_tokens"))) if isinstance(completion, dict) else None
        ),
    )


def _figure(value: Any) -> float | None:
    if value is None:
        return None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _index(value: Any) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _joined(value: Any, depth: int = MAX_PARTS_DEPTH) -> str | None:
    """Reasoning as a text, as parts or as an object."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list) or not depth:
        return None
    return "".join("".join(texts_of_part(part, depth - 1)) for part in value) or None


def texts_of_parts(parts: list[Any]) -> list[tuple[str, str]]:
    """Read a content that is a list: each part as L{texts_of_part} does, or nothing but texts."""
    if all(isinstance(part, str) for part in parts):
        return [("", part) for part in parts]
    return [texts_of_part(part) for part in parts]


def texts_of_part(part: Any, depth: int = MAX_PARTS_DEPTH) -> tuple[str, str]:
    """
    Read one part of a content that is a list.

    @param depth: how deep parts within it are read.
    @return: the thinking in it, and the text.
    """
    if not isinstance(part, dict):
        return "", ""
    kind = part.get("type")
    if isinstance(kind, str) and kind.startswith(("thinking", "reasoning")):
        for name in ("thinking", "text", "reasoning", "content", "summary"):
            thought = _joined(part.get(name), depth)
            if thought:
                return thought, ""
        return "", ""
    text = part.get("text")
    if isinstance(text, dict):
        text = text.get("value")
    if not isinstance(text, str):
        text = part.get("content") if kind is None or kind == "text" else None
    return "", text if isinstance(text, str) else ""
