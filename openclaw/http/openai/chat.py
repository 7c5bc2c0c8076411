"""
C{POST /v1/chat/completions}: a request in OpenAI's shape becomes a run, a run's events become the answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import attrs
import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from openclaw.agents.request import DEFAULT_CHANNEL, RunRequest
from openclaw.agents.resolve import MODEL_ALIAS, Selection, Target
from openclaw.agents.runs import Runs
from openclaw.config.schema import Config
from openclaw.errors import InvalidRequest, OpenClawError
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
from openclaw.http.answers.respond import as_openclaw_error, error_object, json_body, send
from openclaw.http.answers.source import AnswerSource, OwnRun
from openclaw.http.answers.sse import EventStream
from openclaw.http.connection.request import GatewayRequest
from openclaw.http.idempotency import Repeating, body_digest, read_repeating
from openclaw.http.openai.types import ChatRequest, decode_chat_request, read_conversation
from openclaw.ids import new_run_id
from openclaw.interfaces import Clock
from openclaw.messages import FinishReason, Usage
from openclaw.sharing.joins import Joins
from openclaw.sharing.shared import Claim

HEAD_DELAY_S = 1.0
"""Seconds after which a stream's head goes out although the model has said nothing yet."""

DONE = b"data: [DONE]\n\n"

_TIMING_UNSAFE = re.compile(r'[^!-~]|["\\\\]')
_CHANNEL = re.compile(r"[A-Za-z0-9._-]{1,64}")
_NOT_IN_LINES = tuple((chr(code).encode(), b"\\u%04x" % code) for code in (0x2028, 0x2029, 0x85))
_encode = msgspec.json.Encoder().encode


class ChatCompletions:
    """
    The route.

    @param runs: the door to the agents.
    @param current_config: gives the configuration in force.
    @param joins: answers requests that are sent more than once, and those whose runs go on without their clients.
    """

    def __init__(self, runs: Runs, clock: Clock, current_config: Callable[[], Config], joins: Joins) -> None:
        self._runs = runs
        self._clock = clock
        self._current_config = current_config
        self._joins = joins

    async def answer(self, request: GatewayRequest) -> bytes | None:
        """
        Answer one request.

        Being cancelled, which is what a disconnect does, ends the run, unless others read it or it is to go on.

        @return: the body; C{None} if it was streamed.
        @raise OpenClawError: if nothing was sent yet.
        """
        source, view = await self._open(request)
        try:
            if view.stream:
                await self._stream(request, source, view)
                return None
            return await self._whole(request, source, view)
        finally:
            source.leave()

    async def _open(self, request: GatewayRequest) -> tuple[AnswerSource, _View]:
        # In a function of its own, so that no name keeps the body, or what was decoded from it, for the whole run.
        run_request, target, view, claim = self._read(request)
        caller = request.admission.caller
        if claim is None:
            return OwnRun(partial(self._runs.start, caller, run_request, target)), view
        reader = await self._joins.start(caller, run_request, target, claim)
        if reader.replayed:
            request.responseHeaders.setRawHeaders(b"Idempotency-Replayed", [b"true"])
        shown = attrs.evolve(view, run_id=reader.run_id, session_key=reader.session_key, created=reader.created_s)
        return reader, shown

    def _read(self, request: GatewayRequest) -> tuple[RunRequest, Target, _View, Claim | None]:
        repeating = read_repeating(request)
        raw = request.take_body()
        body = decode_chat_request(raw)
        run_request = to_run_request(body, request)
        target = self._runs.resolve(run_request)
        view = _View(
            run_id=run_request.run_id,
            session_key=str(target.session_key),
            model=body.model or MODEL_ALIAS,
            created=int(self._clock.seconds()),
            received_s=run_request.received_s,
            stream=bool(body.stream),
            include_usage=body.stream_options is not None and bool(body.stream_options.include_usage),
            reasoning=self._current_config().gateway.http.endpoints.chat_completions.reasoning,
        )
        if repeating is None and target.is_stable:
            # Its client may send it again, and say only then that it is a retry.
            repeating = Repeating(retry_count=0)
        if repeating is None:
            return run_request, target, view, None
        digest = body_digest(raw) if repeating.can_meet_another else b""
        override = run_request.selection.model_override
        claim = repeating.claim(request.admission.caller, request.path, target, override, digest)
        return run_request, target, view, claim

    async def _whole(self, request: GatewayRequest, source: AnswerSource, view: _View) -> bytes:
        timings = await source.placed()
        outcome = await source.outcome()
        run_headers(request, view.run_id, view.session_key, timings)
        if outcome.error is not None:
            request.produced_output = outcome.produced_output
            raise outcome.error
        return send(request, 200, json_body(_completion(view, outcome)))

    async def _stream(self, request: GatewayRequest, source: AnswerSource, view: _View) -> None:
        stream = ChatStream(request, self._clock, view)
        try:
            stream.timings = await source.placed()
            await source.each(stream.take)
        except CancelledError:
            raise
        except Exception:
            if not request.startedWriting:
                raise
            # A bug, too, is told: a stream that is merely cut tells its client nothing.
            stream.fail(as_openclaw_error(Failure(), request.request_id))
        finally:
            stream.close()


@attrs.frozen
class _View:
    """
    How a run is shown to its client.

    @ivar session_key: the run's session, in full.
    @ivar received_s: when the request was complete, on the gateway's clock.
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
    received_s: float
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

    def __init__(self, request: GatewayRequest, clock: Clock, view: _View) -> None:
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
        late_s = max(view.received_s + HEAD_DELAY_S - clock.seconds(), 0.0)
        self._open_late: IDelayedCall | None = clock.callLater(min(late_s, HEAD_DELAY_S), self._open_now)

    @property
    def is_open(self) -> bool:
        """Whether the response's head is out."""
        return self._events.is_open

    def send(self, batch: Sequence[RunEvent]) -> None:
        """
        Send what a batch tells, in one write.

        @raise OpenClawError: if the run failed before anything was sent.
        """
        last = batch[-1]
        if isinstance(last, RunFailed):
            if not self.is_open:
                run_headers(self._request, self._view.run_id, self._view.session_key, self.timings)
                raise last.error
            self.fail(last.error)
            return
        pieces = [] if self.is_open else [self._open()]
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
        if self._open_late is not None and self._open_late.active():
            self._open_late.cancel()
        self._events.close()

    def _open_now(self) -> None:
        self._events.write(self._open())

    def _open(self) -> bytes:
        """Make the head ready; returns the first chunk, which goes out with it."""
        if self._open_late is not None and self._open_late.active():
            self._open_late.cancel()
        self._open_late = None
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


def _completion(view: _View, outcome: RunOutcome) -> dict[str, Any]:
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


def run_headers(request: GatewayRequest, run_id: str, session_key: str, timings: Timings | None) -> None:
    """
    Tell in headers which run and session this is, and where its time went, as far as that is known.

    @param session_key: the session's full key.
    @param timings: C{None} if the run was not placed, or if it is not this request that it has worked for.
    """
    headers = request.responseHeaders
    headers.setRawHeaders(b"X-OpenClaw-Run-Id", [run_id.encode()])
    headers.setRawHeaders(b"X-OpenClaw-Session-Key", [session_key.encode()])
    timing = "" if timings is None else server_timing(timings)
    if timing:
        headers.setRawHeaders(b"Server-Timing", [timing.encode()])


def server_timing(timings: Timings) -> str:
    """
    The value of C{Server-Timing}: milliseconds; and if it took more than one call of a model, how many, and which
    model answered.
    """
    durations: list[tuple[str, float]] = []
    if timings.admitted is not None and timings.let_in is not None and timings.placed is not None:
        prepare_s = (timings.admitted - timings.received) + (timings.placed - timings.let_in)
        durations += (("prepare", prepare_s), ("queue", timings.let_in - timings.admitted))
        if timings.first_output is not None:
            durations.append(("provider-first-byte", timings.first_output - timings.placed))
    parts = [f"{name};dur={seconds * 1000:.1f}" for name, seconds in durations]
    if timings.attempts > 1:
        parts.append(f'attempts;desc="{timings.attempts}"')
        if timings.model_ref is not None:
            parts.append(f'model;desc="{_TIMING_UNSAFE.sub("_", timings.model_ref)}"')
    return ", ".join(parts)


def to_run_request(body: ChatRequest, request: GatewayRequest) -> RunRequest:
    """
    Turn a body and its headers into what an agent is asked.

    @raise InvalidRequest: if a header or a message cannot be used.
    """
    conversation = read_conversation(body)
    chat_id = None
    for name in ("X-OpenWebUI-Chat-Id", "X-Conversation-Id"):
        text = header_text(request, name)
        if text:
            chat_id = (name, text)
            break
    channel = header_text(request, "x-openclaw-message-channel") or DEFAULT_CHANNEL
    if not _CHANNEL.fullmatch(channel):
        raise InvalidRequest(
            "x-openclaw-message-channel: 1 to 64 letters, digits, dots, dashes and underscores",
            param="x-openclaw-message-channel",
        )
    agent_id = header_text(request, "x-openclaw-agent-id") or header_text(request, "x-openclaw-agent")
    return RunRequest(
        run_id=new_run_id(),
        selection=Selection(
            model=body.model,
            agent_id=agent_id,
            session_key=header_text(request, "x-openclaw-session-key"),
            chat_id=chat_id,
            metadata_session_id=body.metadata.session_id if body.metadata is not None else None,
            user=body.user,
            model_override=header_text(request, "x-openclaw-model"),
        ),
        messages=conversation.messages,
        received_s=request.received_s,
        system=conversation.system,
        sampling=body.sampling(),
        channel=channel,
        keep=bool(body.store),
        whole=not body.stream,
    )


def header_text(request: GatewayRequest, name: str) -> str | None:
    """
    A header's value as text.

    @raise InvalidRequest: if it was sent more than once or is not UTF-8.
    """
    values = request.requestHeaders.getRawHeaders(name.encode())
    if values is None:
        return None
    if len(values) > 1:
        raise InvalidRequest(f"{name} was sent more than once", param=name)
    try:
        return values[0].decode()
    except UnicodeDecodeError:
        raise InvalidRequest(f"{name} is not UTF-8", param=name) from None
