"""
From the chunks of an OpenAI chat completion to events.

This is the hottest path of a stream: one decoder made at import, structures that hold only what is used, and one
list of events for all chunks of a network read.  What is odd leaves that path as soon as it is seen to be.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
from twisted.logger import Logger

from openclaw.errors import LastingProviderFailure, OpenClawError, ProviderFailed
from openclaw.events import ProviderEvent, ProviderFinished, ProviderUsage, ReasoningDelta, TextDelta
from openclaw.messages import FinishReason, Usage
from openclaw.providers.failures import error_of_event
from openclaw.providers.finish_words import failure_of, finish_of
from openclaw.providers.openai_chunk import (
    CallPiece,
    Choice,
    Chunk,
    Delta,
    Function,
    UsageFigures,
    chunk_of,
    decode_any,
    decode_chunk,
    texts_of_parts,
)
from openclaw.providers.reasons import error_in, is_error, reason_of
from openclaw.providers.sse import ErrorData, UnframedData
from openclaw.providers.think_tags import ThinkTags
from openclaw.providers.tool_call_pieces import MAX_CALLS, ToolCallPieces, TooManyCallsError

MAX_TOKENS = 2**53
"""A larger number of tokens is none: JSON's numbers are exact up to here, and sums of a few still fit into 64 bits."""

_NO_INDEX = -(2**62)

log = Logger()


class ChunkReader:
    """
    Reads the chunks of one answer.

    @ivar is_finished: whether the model has said why it stopped, and nothing since.
    @ivar over: whether the answer is whole: C{[DONE]} came, or usage after the model's last word.
    @ivar error: what an error object, or garbage, means; nothing after it is read.
    @ivar garbage: the payload that made it, if that is no JSON; it may only be cut off.
    @ivar seen: whether any chunk came at all.
    @ivar may_go_on: whether a finish reason of this server need not be its last word: it has taken one back, or it
        gave one behind nothing but reasoning.
    """

    def __init__(
        self, name: str, secrets: Sequence[str] = (), *, think_tags: bool = True, takes_calls: bool = True
    ) -> None:
        """
        @param name: the provider's name, for messages.
        @param secrets: texts to keep out of messages.
        @param think_tags: whether C{<think>} at the start of the text begins reasoning.
        @param takes_calls: whether the model was offered any tool; else its calls are left out.
        """
        self._name = name
        self._secrets = secrets
        self._takes_calls = takes_calls
        self.over = False
        self.error: OpenClawError | None = None
        self.garbage: bytes | None = None
        self.seen = False
        self.is_finished = False
        self.may_go_on = False
        self._reason: str | None = None
        self._index: int | None = _NO_INDEX
        self._has_choice = False
        self._has_thought = False
        self._has_told = False
        # Whether a text is just that: thinking is over, and the model has not said that it stopped.
        self._is_plain = False
        self._has_unasked_call = False
        self._usage: Usage | None = None
        self._note_said: dict[str, Any] | None = None
        self._calls = ToolCallPieces()
        self._halves: dict[tuple[str, int], str] = {}
        self._tags = ThinkTags() if think_tags else None

    def read(self, payloads: Sequence[bytes]) -> list[ProviderEvent]:
        """
        Read the data of some events.

        @return: what they tell, without the finish and the usage: these come from L{end}.
        """
        events: list[ProviderEvent] = []
        for payload in payloads:
            if payload == b"[DONE]":
                self._done()
                break
            try:
                chunk = decode_chunk(payload)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                lines = _events_of_lines(payload)
                if lines:
                    events.extend(self.read(lines))
                    if self.over or self.error is not None:
                        break
                    continue
                rescued = self._rescue(payload, error)
                if rescued is None:
                    if self.over or self.error is not None:
                        break
                    continue
                chunk = rescued
            else:
                if self._halves:
                    self._give_up_halves(events)
            self.seen = True
            choices = chunk.choices
            if choices:
                choice = choices[0]
                if choice.index != self._index:
                    ours = self._ours(choices)
                    if ours is None:
                        continue
                    choice = ours
                delta = choice.delta
                if delta is None:
                    delta = choice.message or (Delta(choice.text) if choice.text else None)
                if delta is not None:
                    # The ordinary chunk first: text and nothing else.
                    text = delta.content
                    if text and self._is_plain and text.__class__ is str:
                        events.append(TextDelta(text))
                        text = None
                    if (
                        text
                        or delta.reasoning_content
                        or delta.reasoning
                        or delta.refusal
                        or delta.tool_calls
                        or delta.reasoning_text
                        or delta.function_call
                    ):
                        self._add(delta, text, events)
                if chunk.usage is not None:
                    self._note(chunk.usage)
                if choice.finish_reason:
                    self._finish(choice.finish_reason)
                    if choice.usage is not None:
                        self._note(choice.usage)
                    if b'"base_resp"' in payload or b'"error_' in payload:
                        self._look_for_error(payload)
                if chunk.error is not None:
                    self._look_for_error(payload)
                if choice.error is not None and is_error(choice.error):
                    self._fail({"error": choice.error})
                if self.error is not None:
                    break
            elif self._read_other(chunk, payload):
                break
        return events

    def end(self) -> list[ProviderEvent]:
        """
        The last events: why the model stopped and, if it was said, what the call cost.

        L{error} is set if it stopped because something failed.

        @return: nothing of why it stopped if that is not known; C{[DONE]} alone counts as C{stop}.
        """
        events: list[ProviderEvent] = []
        self._give_up_halves(events)
        if self._tags is not None:
            events.extend(self._tags.finish())
        word = self._reason
        finish = finish_of(word, self._name) if word is not None else None
        if word is not None and finish is not None:
            self.error = failure_of(finish, word, self._name)
            if self.error is not None:
                return events
        reason: FinishReason | None = finish if finish not in ("failed", "overloaded") else None  # type: ignore[assignment]
        if reason is None and self.over:
            reason = "stop"
        if reason is not None:
            # Some servers say "stop" after tool calls, others of calls that there are none of.
            if reason in ("stop", "tool_calls"):
                reason = "tool_calls" if len(self._calls) else "stop"
            events.append(ProviderFinished(reason))
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
                self.error = self._no_completion(body)
        return events

    def said_instead(self) -> OpenClawError | None:
        """What the server said in place of an answer, at the end of one that never began; C{None} if nothing."""
        if self._has_choice or self._note_said is None:
            return None
        return error_of_event(self._note_said, name=self._name, secrets=self._secrets)

    def _done(self) -> None:
        if self._has_choice:
            self.over = True
        elif self.error is None:
            # What served it is gone; asked once more it may answer.
            nothing = ProviderFailed(f"the provider {self._name} ended its answer before it began")
            self.error = self.said_instead() or nothing

    def _ours(self, choices: Sequence[Choice]) -> Choice | None:
        """The choice that counts, the first that was ever seen."""
        if self._index is None or not self._has_choice:
            first = choices[0]
            self._index = first.index
            self._has_choice = True
            return first
        return next((choice for choice in choices if choice.index is None or choice.index == self._index), None)

    def _finish(self, word: str) -> None:
        """Note a finish reason; of several the last one counts."""
        if finish_of(word, self._name) is None:
            return
        self._reason = word
        self.is_finished = True
        self._is_plain = False
        if self._has_thought and not self._has_told:
            self.may_go_on = True

    def _take_back(self) -> None:
        """There is more: what was said of the end does not hold."""
        self._reason = None
        self.is_finished = False
        self.may_go_on = True
        self._is_plain = self._tags is None

    def _add(self, delta: Delta, text: str | list[Any] | None, events: list[ProviderEvent]) -> None:
        """Tell what a delta has beyond a plain text; C{text} is what is left of its content."""
        before = len(events)
        reasoning = delta.reasoning_content or delta.reasoning or delta.reasoning_text
        if reasoning:
            self._has_thought = True
            events.append(ReasoningDelta(reasoning))
        if isinstance(text, str):
            self._tell(text, events)
        elif text:
            thoughts, texts = zip(*texts_of_parts(text), strict=True)
            if any(thoughts):
                self._has_thought = True
                events.append(ReasoningDelta("".join(thoughts)))
            if any(texts):
                self._tell("".join(texts), events)
        if delta.refusal:
            self._tell(delta.refusal, events)
        calls = delta.tool_calls or ()
        if delta.function_call is not None and not calls:
            calls = [CallPiece(0, None, delta.function_call)]
        for place, call in enumerate(calls):
            self._add_call(place, call, events)
        if self.is_finished and (text or len(events) > before):
            self._take_back()

    def _tell(self, text: str, events: list[ProviderEvent]) -> None:
        """Tell a text, and of the first ones what is thinking."""
        tags = self._tags
        if tags is not None:
            told = tags.feed(text)
            self._has_thought = self._has_thought or any(isinstance(event, ReasoningDelta) for event in told)
            events.extend(told)
            if not tags.over:
                return
            self._tags = None
        else:
            events.append(TextDelta(text))
        self._has_told = True
        self._is_plain = not self.is_finished

    def _add_call(self, place: int, call: CallPiece, events: list[ProviderEvent]) -> None:
        if not self._takes_calls:
            if not self._has_unasked_call:
                self._has_unasked_call = True
                log.warn("the provider {name} called a tool though none was offered; left out", name=self._name)
            return
        try:
            told = self._calls.add(place, call)
        except TooManyCallsError:
            self.error = LastingProviderFailure(f"the provider {self._name} called over {MAX_CALLS} tools at once")
            return
        if told is not None:
            self._has_told = True
            events.append(told)

    def _note(self, usage: UsageFigures) -> None:
        """
        Remember the usage; some servers repeat it with every chunk, and the last one counts.

        One with a figure that cannot be is none, so that it is estimated, and so marked, like one that never came.
        """
        said_prompt = usage.input_tokens if usage.prompt_tokens is None else usage.prompt_tokens
        said_completion = usage.output_tokens if usage.completion_tokens is None else usage.completion_tokens
        if not said_prompt and not said_completion:
            # No call costs nothing: a count that has not begun.
            return
        prompt, completion = _count(said_prompt or 0), _count(said_completion or 0)
        if prompt is None or completion is None:
            self._usage = None
            return
        of_prompt, of_completion = usage.prompt_tokens_details, usage.completion_tokens_details
        cached = of_prompt.cached_tokens if of_prompt is not None else None
        if cached is None:
            cached = usage.prompt_cache_hit_tokens if usage.cached_tokens is None else usage.cached_tokens
        self._usage = Usage(
            prompt_tokens=prompt,
            completion_tokens=completion,
            cached_tokens=_count(cached),
            reasoning_tokens=None if of_completion is None else _count(of_completion.reasoning_tokens),
        )

    def _read_other(self, chunk: Chunk, payload: bytes) -> bool:
        """Read what has no choices: usage, an error, or a note; tells whether the answer ends with it."""
        usage = chunk.usage
        if usage is not None:
            self._note(usage)
        if usage is None or chunk.choices is None or chunk.error is not None:
            self._look_for_error(payload)
        if usage is not None and self.is_finished and self.error is None:
            self.over = True
        return self.over or self.error is not None

    def _look_for_error(self, payload: bytes) -> None:
        """See whether an unusual event is an error, which some servers send without the C{error} around it."""
        try:
            document = json.loads(payload)
        except (ValueError, RecursionError):
            # Garbage in fields that nobody reads.
            document = None
        if payload.__class__ is ErrorData:
            self._fail(document if is_error(document) else payload.decode("utf-8", "replace"))
            return
        error = error_in(document)
        if error is not None:
            self._fail(error)
        elif isinstance(document, dict) and not self._has_choice and reason_of(document).text:
            self._note_said = document

    def _fail(self, error: Any) -> None:
        self.error = error_of_event(error, name=self._name, secrets=self._secrets)

    def _no_completion(self, payload: bytes) -> OpenClawError:
        """The error of a document that is no completion: what it says, if anything."""
        try:
            document = json.loads(payload)
        except (ValueError, RecursionError):
            document = None
        if reason_of(document).text:
            return error_of_event(document, name=self._name, secrets=self._secrets)
        self.garbage = payload
        return LastingProviderFailure(f"the provider {self._name} sent an answer that is no chat completion")

    def _rescue(self, payload: bytes, cause: Exception) -> Chunk | None:
        """
        Read what the decoder refuses: fields of a wrong type, half of a surrogate pair, what is no object.

        Servers cut texts between the two C{\\u} escapes of one character.  The halves are joined over two chunks.

        @return: the chunk; C{None} for what is passed over, and after noting an error.
        """
        stripped = payload.strip()
        if stripped.startswith(b"data:"):
            # A relay that frames what is framed.
            payload = stripped = stripped[5:].strip()
        if payload.__class__ is ErrorData:
            self._look_for_error(payload)
            return None
        if not stripped:
            return None
        if stripped == b"[DONE]":
            self._done()
            return None
        try:
            document = decode_any(payload)
        except (ValueError, RecursionError):
            if payload.__class__ is not UnframedData:
                self.error = LastingProviderFailure(
                    f"the provider {self._name} sent an answer that is no chat completion"
                )
                self.error.__cause__ = cause
                self.garbage = payload
            return None
        if not isinstance(document, dict):
            self._look_for_error(payload)
            return None
        chunk = chunk_of(document)
        for choice in chunk.choices or ():
            delta = choice.delta or choice.message
            if delta is not None:
                self._mend(delta)
            choice.text = _without_halves(choice.text or "")
        return chunk

    def _mend(self, delta: Delta) -> None:
        content = delta.content
        if isinstance(content, list):
            delta.content = _without_halves_within(content)
        elif content is not None:
            delta.content = self._mended(content, ("content", 0))
        reasoning = delta.reasoning_content or delta.reasoning or delta.reasoning_text or ""
        delta.reasoning_content = self._mended(reasoning, ("reasoning", 0))
        delta.reasoning = delta.reasoning_text = None
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
                self._tell("\ufffd", events)
            elif place == "reasoning":
                events.append(ReasoningDelta("\ufffd"))
            else:
                self._add_call(0, CallPiece(index, None, Function(None, "\ufffd")), events)


def _events_of_lines(payload: bytes) -> list[bytes]:
    """The events of a server that leaves the empty lines between them out; none if these are no events."""
    if payload.__class__ is not bytes or b"\n" not in payload:
        return []
    lines = [line for line in map(bytes.strip, payload.split(b"\n")) if line]
    whole = all(line == b"[DONE]" or (line.startswith(b"{") and line.endswith(b"}")) for line in lines)
    return lines if whole and len(lines) > 1 else []


def _without_halves(text: str) -> str:
    """Join surrogate pairs and replace what is left over."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _without_halves_within(parts: list[Any]) -> list[Any]:
    """The thinking and the text of some parts, two parts for each."""
    thoughts, texts = zip(*texts_of_parts(parts), strict=True) if parts else ((), ())
    thought, text = _without_halves("".join(thoughts)), _without_halves("".join(texts))
    return [{"type": "thinking", "thinking": thought}, {"type": "text", "text": text}]


def _count(value: float | None) -> int | None:
    """A number of tokens; C{None} for none, and for what can be none: negative, huge, not a number."""
    return int(value) if value is not None and 0 <= value <= MAX_TOKENS else None
