"""
The wire shapes of C{POST /v1/chat/completions}, and their way into the gateway's own values.

Unknown fields are ignored, C{null} in an optional field is as good as its absence, and whatever is wrong is told
with the field's dotted name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

import attrs
import msgspec
from msgspec import Meta, Struct

from openclaw.errors import InvalidRequest, ModelNotFound
from openclaw.http.answers.respond import from_validation_error
from openclaw.messages import Message, ToolCall
from openclaw.models import Sampling
from openclaw.wire import LONE_SURROGATE

_Penalty = Annotated[float, Meta(ge=-2, le=2)]
_StopText = Annotated[str, Meta(min_length=1)]
_TokenLimit = Annotated[int, Meta(ge=1, le=2**53)]

MAX_MESSAGES = 10_000
"""Most messages of one request, so that going through them does not hold the reactor."""

MAX_ITEMS = 20_000
"""Most messages, content parts and tool calls together."""

MAX_RESPONSE_FORMAT_BYTES = 1024 * 1024
"""Largest C{response_format}, which is passed on as it is."""

MAX_PINNED_BYTES = 256 * 1024
"""Largest body in which half of a surrogate pair is looked for, so as to name its field."""

_SYSTEM = ("system", "developer")

_TEXT_PARTS = ("text", "input_text", "output_text", "refusal")

_PART_KINDS = {
    "image_url": "an image",
    "input_image": "an image",
    "input_audio": "a recording",
    "audio": "a recording",
    "file": "a file",
    "input_file": "a file",
    "video_url": "a video",
}
"""What stands in the place of parts of these types in earlier messages."""

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")

# msgspec has no unions with Raw; this stands for an absent value and for null alike.
_NULL = msgspec.Raw(b"null")


class ContentPart(Struct, gc=False):
    """One part of a message's content."""

    type: str
    text: str | None = None
    refusal: str | None = None


class FunctionCall(Struct, gc=False):
    """The function of a tool call."""

    name: str
    arguments: str = ""


class CallOfTool(Struct, gc=False):
    """A tool call of an assistant message."""

    id: str
    function: FunctionCall


class ChatMessage(Struct, gc=False):
    """One message as the client sent it."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[ContentPart] | None = None
    name: str | None = None
    tool_calls: list[CallOfTool] | None = None
    tool_call_id: str | None = None
    # Of what other servers have taught clients to send back; whatever else it is, it is none.
    reasoning_content: Any = None


class StreamOptions(Struct):
    """The C{stream_options} object."""

    include_usage: bool | None = None


class Metadata(Struct):
    """The one key of C{metadata} that the gateway reads."""

    session_id: str | None = None


class TextFormat(Struct, tag="text"):
    """C{response_format} of plain text."""


class JsonObjectFormat(Struct, tag="json_object"):
    """C{response_format} of any JSON object."""


class JsonSchema(Struct):
    """The C{json_schema} object."""

    name: str
    schema: msgspec.Raw = _NULL


class JsonSchemaFormat(Struct, tag="json_schema"):
    """C{response_format} of JSON that follows a schema."""

    json_schema: JsonSchema


class ChatRequest(Struct):
    """The whole body."""

    messages: Annotated[list[ChatMessage], Meta(max_length=MAX_MESSAGES)]
    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None
    metadata: Metadata | None = None
    store: bool | None = None
    n: Annotated[int, Meta(ge=1, le=1)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    frequency_penalty: _Penalty | None = None
    presence_penalty: _Penalty | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    stop: _StopText | Annotated[list[_StopText], Meta(max_length=4)] | None = None
    max_tokens: _TokenLimit | None = None
    max_completion_tokens: _TokenLimit | None = None
    response_format: msgspec.Raw = _NULL
    reasoning_effort: Annotated[str, Meta(min_length=1, max_length=32)] | None = None
    tools: msgspec.Raw = _NULL

    @property
    def has_tools(self) -> bool:
        """Whether the client brings tools of its own."""
        return bytes(memoryview(self.tools)[:16]).translate(None, b" \t\r\n") not in (b"null", b"[]")

    def sampling(self) -> Sampling:
        """What of the request is the model's business."""
        return Sampling(
            temperature=self.temperature,
            top_p=self.top_p,
            frequency_penalty=self.frequency_penalty,
            presence_penalty=self.presence_penalty,
            seed=self.seed,
            stop=(self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ()),
            max_tokens=self.max_completion_tokens or self.max_tokens,
            response_format=_response_format(self.response_format),
            reasoning_effort=self.reasoning_effort,
        )


@attrs.frozen
class Conversation:
    """A request's messages, and apart from them the system and developer texts in their order."""

    messages: tuple[Message, ...]
    system: tuple[str, ...]


_CHAT_REQUEST = msgspec.json.Decoder(ChatRequest)
_RESPONSE_FORMAT = msgspec.json.Decoder(TextFormat | JsonObjectFormat | JsonSchemaFormat)


def decode_chat_request(body: bytes) -> ChatRequest:
    """Decode a body; L{InvalidRequest} names the field if it is no JSON or not of the right shape."""
    try:
        if not body.isascii():
            # msgspec does not look into the texts of fields that it ignores.
            body.decode()
        return _CHAT_REQUEST.decode(body)
    except msgspec.ValidationError as error:
        raise from_validation_error(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _bad_json(body, str(error)) from None
    except RecursionError:
        raise InvalidRequest("the request body is nested too deeply") from None


def _bad_json(body: bytes, reason: str) -> InvalidRequest:
    """The error for a body that is no JSON; half a surrogate pair is pinned to its field."""
    if not body.strip():
        return InvalidRequest("the request body is empty; send a JSON object")
    # msgspec has several ways to say that half a pair is missing.
    if len(body) <= MAX_PINNED_BYTES and _SURROGATE.search(body):
        try:
            where = next(_lone_surrogates(json.loads(body), ()), ())
        except (ValueError, RecursionError):
            where = ()
        if where == ("model",):
            return ModelNotFound("unknown model; use openclaw or openclaw/<agent id>", param="model")
        if where:
            param = ".".join(where)
            return InvalidRequest(f"{param}: half of a surrogate pair is no text", param=param)
    return InvalidRequest(f"the request body is not valid JSON: {reason}")


def _lone_surrogates(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The paths of all texts in a JSON value that are not valid Unicode."""
    if isinstance(value, str):
        if LONE_SURROGATE.search(value):
            yield path
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _lone_surrogates(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _lone_surrogates(item, (*path, str(index)))


def _response_format(raw: msgspec.Raw) -> bytes | None:
    if len(memoryview(raw)) > MAX_RESPONSE_FORMAT_BYTES:
        raise InvalidRequest(
            f"response_format: at most {MAX_RESPONSE_FORMAT_BYTES} bytes of JSON", param="response_format"
        )
    text = bytes(raw).strip()
    if text == b"null":
        return None
    try:
        _RESPONSE_FORMAT.decode(raw)
    except msgspec.ValidationError as error:
        found = from_validation_error(error)
        param = f"response_format.{found.param}" if found.param else "response_format"
        raise InvalidRequest(f"{param}: {found.message}", param=param) from None
    return text


def read_conversation(request: ChatRequest) -> Conversation:
    """Turn the wire's messages into the gateway's; L{InvalidRequest} if one cannot be, or nothing is to be answered."""
    _check_count(request.messages)
    messages: list[Message] = []
    system: list[str] = []
    newest = max((index for index, wire in enumerate(request.messages) if wire.role not in _SYSTEM), default=0)
    for index, wire in enumerate(request.messages):
        where = f"messages.{index}"
        text = _text(wire.content, where, is_newest=index == newest)
        if wire.role in _SYSTEM:
            system.append(text)
        elif wire.role == "user":
            messages.append(Message("user", text))
        elif wire.role == "assistant":
            calls = tuple(
                ToolCall(call.id, call.function.name, call.function.arguments) for call in wire.tool_calls or ()
            )
            thought = wire.reasoning_content
            reasoning = thought if isinstance(thought, str) else ""
            messages.append(Message("assistant", text, tool_calls=calls, reasoning=reasoning))
        else:
            messages.append(Message("tool", text, tool_call_id=_call_id(wire, where)))
    if not any(message.role == "tool" or message.tool_calls or message.text.strip() for message in messages):
        raise InvalidRequest("messages: there is nothing to answer; send a user message with text", param="messages")
    return Conversation(tuple(messages), tuple(system))


def _check_count(messages: Sequence[ChatMessage]) -> None:
    parts = sum(len(wire.content) for wire in messages if isinstance(wire.content, list))
    count = len(messages) + parts + sum(len(wire.tool_calls) for wire in messages if wire.tool_calls)
    if count > MAX_ITEMS:
        raise InvalidRequest(
            f"messages: at most {MAX_ITEMS} messages, content parts and tool calls together", param="messages"
        )


def _text(content: str | list[ContentPart] | None, where: str, *, is_newest: bool) -> str:
    """
    The text of a message.

    @param is_newest: whether it is what is to be answered.  In an earlier message a part that cannot be taken is no
        reason to refuse the conversation for ever: a note stands in its place.
    """
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    texts: list[str] = []
    for index, part in enumerate(content):
        param = f"{where}.content.{index}"
        text = part.refusal if part.type == "refusal" else part.text
        if part.type not in _TEXT_PARTS:
            kind = _PART_KINDS.get(part.type, "something else")
            if is_newest:
                raise _unsupported(part.type, f"{param}.type")
            text = f"[Not shown here: {kind}.]"
        elif text is None:
            field = "refusal" if part.type == "refusal" else "text"
            raise InvalidRequest(f"{param}.{field} is required", param=f"{param}.{field}")
        texts.append(text)
    return "\n".join(texts)


def _unsupported(kind: str, param: str) -> InvalidRequest:
    if kind in ("image_url", "input_image"):
        return InvalidRequest(
            f"{param}: images are not supported by this gateway yet", code="images_unsupported", param=param
        )
    if kind in _PART_KINDS:
        return InvalidRequest(f"{param}: {kind} parts are not supported by this gateway yet", param=param)
    return InvalidRequest(f"{param}: content of this type is not supported", param=param)


def _call_id(wire: ChatMessage, where: str) -> str:
    # The older function role has no call id: its function's name stands for it.
    call_id = wire.tool_call_id if wire.role == "tool" else wire.tool_call_id or wire.name
    if not call_id:
        field = "tool_call_id" if wire.role == "tool" else "name"
        raise InvalidRequest(f"{where}.{field} is required", param=f"{where}.{field}")
    return call_id
