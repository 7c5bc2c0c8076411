"""
From the chunks of an OpenAI chat completion to events.

This is the hottest path of a stream: one decoder made at import, structures that hold only what is used, and one
list of events for all chunks of a network read.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Sequence
from typing import Any

import msgspec

from openclaw.errors import LastingProviderFailure, OpenClawError
from openclaw.events import ProviderEvent, ProviderFinished, ProviderUsage, ReasoningDelta, TextDelta, ToolCallDelta
from openclaw.messages import FinishReason, Usage
from openclaw.providers.failures import error_of_event

_FINISH_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class _ToolCall(msgspec.Struct, gc=False):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct, gc=False):
    content: str | list[Any] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(msgspec.Struct, gc=False):
    index: int | None = None
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: str | None = None


class _PromptDetails(msgspec.Struct, gc=False):
    cached_tokens: int | float | None = None


class _CompletionDetails(msgspec.Struct, gc=False):
    reasoning_tokens: int | float | None = None


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: int | float | None = None
    completion_tokens: int | float | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None


_decode_chunk = msgspec.json.Decoder(_Chunk).decode

MAX_TOKENS = 2**53
"""A larger number of tokens is none: JSON's numbers are exact up to here, and sums of a few still fit into 64 bits."""


MAX_CALLS = 1000
"""Most tool calls of one answer; only a broken server asks for more."""


class ChunkReader:
    """
    Reads the chunks of one answer.

    @ivar finish_reason: why the model stopped, as soon as it is known.
    @ivar over: whether the answer is whole: C{[DONE]} came, or usage after the model's last word.
    @ivar error: what an error object, or garbage, means; nothing after it is read.
    @ivar seen: whether any chunk came at all.
    """

    def __init__(self, name: str, secrets: Sequence[str] = ()) -> None:
        """
        @param name: the provider's name, for messages.
        @param secrets: texts to keep out of messages.
        """
        self._name = name
        self._secrets = secrets
        self.finish_reason: FinishReason | None = None
        self.over = False
        self.error: OpenClawError | None = None
        self.seen = False
        self._has_choice = False
        self._usage: Usage | None = None
        self._call_ids: dict[int, str] = {}
        self._named_calls: set[int] = set()
        self._halves: dict[tuple[str, int], str] = {}

    def read(self, payloads: Sequence[bytes]) -> list[ProviderEvent]:
        """
        Read the data of some events.

        @return: what they tell, without the finish and the usage: these come from L{end}.
        """
        events: list[ProviderEvent] = []
        for payload in payloads:
            if payload == b"[DONE]":
                self.over = True
                break
            try:
                chunk = _decode_chunk(payload)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                if not payload.strip():
                    continue
                rescued = self._rescue(payload, error)
                if rescued is None:
                    break
                chunk = rescued
            else:
                if self._halves:
                    self._give_up_halves(events)
            self.seen = True
            if chunk.choices:
                self._has_choice = True
                choice = chunk.choices[0]
                if not choice.index:
                    delta = choice.delta
                    if delta is not None:
                        # The ordinary chunk first: text and nothing else.
                        text = delta.content
                        if delta.reasoning_content or delta.reasoning or delta.refusal or delta.tool_calls:
                            self._add(delta, events)
                        elif text:
                            events.append(TextDelta(text if isinstance(text, str) else _joined(text)))
                    elif choice.message is not None:
                        self._add(choice.message, events)
                    if choice.finish_reason and self.finish_reason is None:
                        self.finish_reason = _FINISH_REASONS.get(choice.finish_reason, "stop")
                        if chunk.usage is not None:
                            self._note(chunk.usage)
                        if chunk.error is None:
                            continue
            if chunk.error is not None or (chunk.choices is None and chunk.usage is None):
                if self._fail(chunk, payload):
                    break
            elif chunk.usage is not None:
                self._note(chunk.usage)
                if self.finish_reason is not None:
                    self.over = True
                    break
        return events

    def end(self) -> list[ProviderEvent]:
        """
        The last events: why the model stopped and, if it was said, what the call cost.

        @return: nothing of why it stopped if that is not known; C{[DONE]} alone counts as C{stop}.
        """
        events: list[ProviderEvent] = []
        self._give_up_halves(events)
        reason = self.finish_reason
        if reason is None and self.over:
            reason = "stop"
        if reason is not None:
            # Some servers say "stop" after tool calls.
            events.append(ProviderFinished("tool_calls" if reason == "stop" and self._call_ids else reason))
        if self._usage is not None:
            events.append(ProviderUsage(self._usage))
        return events

    def read_document(self, body: bytes) -> list[ProviderEvent]:
        """Read a whole completion that came as one JSON document, as of a server that cannot stream."""
        events = self.read([body])
        if self.error is None:
            if self._has_choice:
                self.over = True
            else:
                self.error = self._no_completion()
        return events

    def _add(self, delta: _Delta, events: list[ProviderEvent]) -> None:
        reasoning = delta.reasoning_content or delta.reasoning
        if reasoning:
            events.append(ReasoningDelta(reasoning))
        text = delta.content
        if text:
            events.append(TextDelta(text if isinstance(text, str) else _joined(text)))
        if delta.refusal:
            events.append(TextDelta(delta.refusal))
        for position, call in enumerate(delta.tool_calls or ()):
            self._add_call(position, call, events)

    def _add_call(self, position: int, call: _ToolCall, events: list[ProviderEvent]) -> None:
        index = call.index
        if index is None:
            known = next((at for at, id_ in self._call_ids.items() if id_ == call.id), None)
            index = known if known is not None else len(self._call_ids) if call.id else position
        function = call.function or _Function()
        arguments = function.arguments or ""
        if not isinstance(arguments, str):
            arguments = msgspec.json.encode(arguments).decode()
        first = index not in self._call_ids
        if first:
            if len(self._call_ids) >= MAX_CALLS:
                self.error = LastingProviderFailure(f"the provider {self._name} called over {MAX_CALLS} tools at once")
                return
            self._call_ids[index] = call.id or f"call_{uuid.uuid4().hex}"
        # Some servers repeat the name with each piece.
        name = None if index in self._named_calls else function.name or None
        if name is not None:
            self._named_calls.add(index)
        if first or name is not None or arguments:
            events.append(ToolCallDelta(index, self._call_ids[index] if first else None, name, arguments))

    def _note(self, usage: _Usage) -> None:
        """
        Remember the usage; some servers repeat it with every chunk, and the last one counts.

        One with a figure that cannot be is none, so that it is estimated, and so marked, like one that never came.
        """
        if usage.prompt_tokens is None and usage.completion_tokens is None:
            return
        prompt, completion = _count(usage.prompt_tokens or 0), _count(usage.completion_tokens or 0)
        if prompt is None or completion is None:
            self._usage = None
            return
        of_prompt, of_completion = usage.prompt_tokens_details, usage.completion_tokens_details
        self._usage = Usage(
            prompt_tokens=prompt,
            completion_tokens=completion,
            cached_tokens=None if of_prompt is None else _count(of_prompt.cached_tokens),
            reasoning_tokens=None if of_completion is None else _count(of_completion.reasoning_tokens),
        )

    def _fail(self, chunk: _Chunk, payload: bytes) -> bool:
        """See whether an unusual event is an error, which some servers send without the C{error} around it."""
        error = chunk.error
        if error is None:
            try:
                document = json.loads(payload)
            except (ValueError, RecursionError):
                # Garbage in fields that nobody reads.
                return False
            if document.get("object") != "error" and document.get("type") != "error":
                return False
            error = document
        self.error = error_of_event(error, name=self._name, secrets=self._secrets)
        return True

    def _no_completion(self) -> OpenClawError:
        return LastingProviderFailure(f"the provider {self._name} sent an answer that is no chat completion")

    def _rescue(self, payload: bytes, cause: Exception) -> _Chunk | None:
        """
        Read what the decoder refuses because of half of a surrogate pair, or of a usage that is none.

        Servers cut texts between the two C{\\u} escapes of one character.  The halves are joined over two chunks.
        A usage with C{NaN}, C{1e999} or texts in it is left out: an answer is not worth less because of it.

        @return: the chunk, or C{None} after noting that the payload is garbage.
        """
        if payload.strip() == b"[DONE]":
            self.over = True
            return None
        try:
            if b"\\u" not in payload and b'"usage"' not in payload:
                raise cause
            chunk = _converted(json.loads(payload, parse_int=_whole_number))
        except (ValueError, RecursionError, msgspec.MsgspecError):
            failure = self._no_completion()
            failure.__cause__ = cause
            self.error = failure
            return None
        for choice in chunk.choices or ():
            delta = choice.delta or choice.message
            if delta is not None:
                self._mend(delta)
        return chunk

    def _mend(self, delta: _Delta) -> None:
        content = delta.content or ""
        delta.content = self._mended(content if isinstance(content, str) else _joined(content), ("content", 0))
        delta.reasoning = self._mended(delta.reasoning_content or delta.reasoning or "", ("reasoning", 0))
        delta.reasoning_content = None
        delta.refusal = _without_halves(delta.refusal or "")
        for position, call in enumerate(delta.tool_calls or ()):
            call.id = _without_halves(call.id or "")
            function = call.function
            if function is None:
                continue
            function.name = _without_halves(function.name or "")
            if isinstance(function.arguments, str):
                index = position if call.index is None else call.index
                function.arguments = self._mended(function.arguments, ("arguments", index))
            elif function.arguments is not None:
                function.arguments = json.dumps(function.arguments)

    def _mended(self, text: str, place: tuple[str, int]) -> str:
        text = self._halves.pop(place, "") + text
        if text and "\ud800" <= text[-1] <= "\udbff":
            self._halves[place] = text[-1]
            text = text[:-1]
        return _without_halves(text)

    def _give_up_halves(self, events: list[ProviderEvent]) -> None:
        """Replace halves whose other half did not come with the next chunk."""
        halves, self._halves = self._halves, {}
        for place, index in halves:
            if place == "content":
                events.append(TextDelta("\ufffd"))
            elif place == "reasoning":
                events.append(ReasoningDelta("\ufffd"))
            else:
                events.append(ToolCallDelta(index, None, None, "\ufffd"))


def _joined(parts: list[Any]) -> str:
    """The text of content that is a list of parts."""
    texts = (part.get("text") for part in parts if isinstance(part, dict))
    return "".join(text for text in texts if isinstance(text, str))


def _without_halves(text: str) -> str:
    """Join surrogate pairs and replace what is left over."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _whole_number(digits: str) -> float:
    """Read an integer; Python refuses one of thousands of digits."""
    return int(digits) if len(digits) < 20 else math.inf


def _converted(document: Any) -> _Chunk:
    """
    Make a chunk of a decoded one, without its usage if that is none.

    @raise msgspec.ValidationError: if it is no chunk.
    """
    try:
        return msgspec.convert(document, _Chunk)
    except msgspec.ValidationError:
        if not isinstance(document, dict) or not document.get("usage"):
            raise
        # Usage there is, only none that can be read.
        return msgspec.convert({**document, "usage": {"prompt_tokens": math.nan}}, _Chunk)


def _count(value: float | None) -> int | None:
    """A number of tokens; C{None} for none, and for what can be none: negative, huge, not a number."""
    return int(value) if value is not None and 0 <= value <= MAX_TOKENS else None
