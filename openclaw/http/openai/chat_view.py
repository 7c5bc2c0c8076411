"""How a run is shown to a client of C{POST /v1/chat/completions}: as a stream of chunks, or as one body."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from openclaw.errors import OpenClawError
from openclaw.events import (
    ReasoningDelta,
    RunEvent,
    RunFailed,
    RunFinished,
    RunOutcome,
    TextDelta,
    Timings,
    ToolCallDelta,
)
from openclaw.http.answers.headers import run_headers
from openclaw.http.answers.respond import error_object
from openclaw.http.answers.sse import EventStream
from openclaw.http.connection.request import GatewayRequest
from openclaw.interfaces import Clock
from openclaw.messages import FinishReason, Usage

HEAD_DELAY_S = 1.0
"""Seconds after which a stream's head goes out although the model has said nothing yet."""

DONE = b"data: [DONE]\n\n"

_NOT_IN_LINES = tuple((chr(code).encode(), b"\\u%04x" % code) for code in (0x2028, 0x2029, 0x85))
_encode = msgspec.json.Encoder().encode


@attrs.frozen
class ChatView:
    """
    How a run is shown to its client.

    @ivar session_key: the run's session, in full.
    @ivar model: the C{model} that the client asked for, echoed as it was.
    @ivar created: seconds since 1970.
    @ivar stream: whether the answer is a stream.
    @ivar include_usage: whether a stream ends with a chunk that has the usage.
    @ivar reasoning: whether the model's reasoning is shown.
    """

    run_id: str
    session_key: str
    model: str
    created: int
    stream: bool
    include_usage: bool
    reasoning: bool


class ChatStream:
    """
    The chunks of one streamed answer.

    The head goes out with the first batch, or L{HEAD_DELAY_S} after the request was complete; so whatever is
    refused at once still has its own status.

    @ivar timings: the run's milestones, once it has its place; C{None} also where an old answer is told.
    """

    def __init__(self, request: GatewayRequest, clock: Clock, view: ChatView) -> None:
        self._request = request
        self._view = view
        self._events = EventStream(request, clock)
        self.timings: Timings | None = None
        head = {"id": view.run_id, "object": "chat.completion.chunk", "created": view.created, "model": view.model}
        # A chunk is made of pieces that are the same for the whole stream; only the delta is encoded anew.
        self._opening = b"data: " + encode_line(head)[:-1]
        self._delta = self._opening + b',"choices":[{"index":0,"delta":'
        self._usage_null = b',"usage":null' if view.include_usage else b""
        self._plain_end = b',"logprobs":null,"finish_reason":null}]' + self._usage_null + b"}\n\n"
        late_s = max(request.received_s + HEAD_DELAY_S - clock.seconds(), 0.0)
        self._open_late: IDelayedCall | None = clock.callLater(min(late_s, HEAD_DELAY_S), self._open_now)

    def send(self, batch: Sequence[RunEvent]) -> None:
        """Send what a batch tells, in one write; raises the run's error if that came before anything was sent."""
        last = batch[-1]
        if isinstance(last, RunFailed):
            if not self._events.is_open:
                run_headers(self._request, self._view.run_id, self._view.session_key, self.timings)
                raise last.error
            self.fail(last.error)
            return
        pieces = [] if self._events.is_open else [self._open()]
        for event in batch:
            if isinstance(event, TextDelta):
                pieces += (self._delta, b'{"content":', encode_line(event.text), b"}", self._plain_end)
            elif isinstance(event, ToolCallDelta):
                pieces += (self._delta, encode_line({"tool_calls": [_call_delta(event)]}), self._plain_end)
            elif isinstance(event, ReasoningDelta) and self._view.reasoning:
                pieces += (self._delta, b'{"reasoning_content":', encode_line(event.text), b"}", self._plain_end)
        if isinstance(last, RunFinished):
            pieces.append(self._end(last.reason, last.usage))
        if pieces:
            self._events.write(b"".join(pieces))
        if isinstance(last, RunFinished):
            self._events.finish()

    def fail(self, error: OpenClawError) -> None:
        """Send the error that ends an open stream."""
        self._events.write(b"data: " + encode_line({"error": error_object(error)}) + b"\n\n" + DONE)
        self._events.finish()

    def take(self, batch: Sequence[RunEvent]) -> Deferred[None] | None:
        """Send a batch; gives what to wait for while the client is slow.  See L{send}."""
        self.send(batch)
        return self._events.drained()

    def close(self) -> None:
        """Give up timers; harmless when the stream is finished."""
        self._cancel_opening()
        self._events.close()

    def _cancel_opening(self) -> None:
        # One that has fired refers to this stream.
        timer, self._open_late = self._open_late, None
        if timer is not None and timer.active():
            timer.cancel()

    def _open_now(self) -> None:
        self._events.write(self._open())

    def _open(self) -> bytes:
        """Make the head ready; returns the first chunk, which goes out with it."""
        self._cancel_opening()
        run_headers(self._request, self._view.run_id, self._view.session_key, self.timings)
        self._events.open()
        return self._delta + b'{"role":"assistant","content":""}' + self._plain_end

    def _end(self, reason: FinishReason, usage: Usage) -> bytes:
        finish = b'{},"logprobs":null,"finish_reason":' + _encode(reason) + b"}]" + self._usage_null + b"}\n\n"
        pieces = [self._delta, finish]
        if self._view.include_usage:
            pieces += (self._opening, b',"choices":[],"usage":', _encode(usage_object(usage)), b"}\n\n")
        return b"".join((*pieces, DONE))


def encode_line(value: Any) -> bytes:
    """JSON that holds no character which any client could take for the end of a line."""
    encoded: bytes = _encode(value)
    if not encoded.isascii():
        for letter, escape in _NOT_IN_LINES:
            encoded = encoded.replace(letter, escape)
    return encoded


def _call_delta(event: ToolCallDelta) -> dict[str, Any]:
    function: dict[str, str] = {"arguments": event.arguments}
    delta: dict[str, Any] = {"index": event.index, "function": function}
    if event.id is not None:
        delta |= {"id": event.id, "type": "function"}
    if event.name is not None:
        function["name"] = event.name
    return delta


def usage_object(usage: Usage) -> dict[str, Any]:
    """The C{usage} object."""
    body: dict[str, Any] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }
    if usage.cached_tokens is not None:
        body["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    if usage.reasoning_tokens is not None:
        body["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    if usage.estimated:
        body["estimated"] = True
    return body


def completion(view: ChatView, outcome: RunOutcome) -> dict[str, Any]:
    """The body of an answer that is not streamed."""
    text = outcome.text.strip()
    message: dict[str, Any] = {"role": "assistant", "content": text if text or not outcome.tool_calls else None}
    if view.reasoning and outcome.reasoning:
        message["reasoning_content"] = outcome.reasoning
    if outcome.tool_calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in outcome.tool_calls
        ]
    return {
        "id": view.run_id,
        "object": "chat.completion",
        "created": view.created,
        "model": view.model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": outcome.reason}],
        "usage": usage_object(outcome.usage),
    }
