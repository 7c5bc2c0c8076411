"""
C{POST /v1/chat/completions}: a request in OpenAI's shape becomes a run, which L{openclaw.http.openai.chat_view} shows.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure

from openclaw.agents.plan import RunPlan
from openclaw.agents.request import DEFAULT_CHANNEL, Asked, RunOptions, RunRequest
from openclaw.agents.resolve import MODEL_ALIAS, Selection
from openclaw.agents.runs import Runs
from openclaw.config.schema import Config
from openclaw.errors import InvalidRequest
from openclaw.http.answers.headers import run_headers
from openclaw.http.answers.respond import as_openclaw_error, json_body, send
from openclaw.http.connection.delivery import Delivery
from openclaw.http.connection.request import GatewayRequest
from openclaw.http.idempotency import Repeating, body_digest, is_timeout, read_repeating
from openclaw.http.openai.chat_view import ChatStream, ChatView, completion
from openclaw.http.openai.types import ChatRequest, decode_chat_request, read_conversation
from openclaw.ids import new_run_id
from openclaw.interfaces import Clock
from openclaw.sessions.keys import Manner
from openclaw.sharing.joins import Joins, Part
from openclaw.sharing.shared import Claim, Reader
from openclaw.wire import CHANNEL_NAME


@attrs.frozen
class ChatCompletions:
    """
    The route.

    @ivar _runs: the door to the agents.
    @ivar _joins: answers requests that are sent more than once, and those whose runs go on without their clients.
    """

    _runs: Runs
    _clock: Clock
    _current_config: Callable[[], Config]
    _joins: Joins

    async def answer(self, request: GatewayRequest) -> bytes | None:
        """
        Answer one request.

        Being cancelled, which is what a disconnect does, ends the run, unless others read it or it is to go on.

        @return: the body; C{None} if it was streamed.
        @raise OpenClawError: if nothing was sent yet.
        """
        source, view = await self._open(request)
        if isinstance(source, Reader):
            request.delivery = Delivery()
            source.goes_by(request.delivery)
        by_timeout = False
        try:
            if view.stream:
                await self._stream(request, source, view)
                return None
            return await self._whole(request, source, view)
        except CancelledError:
            by_timeout = is_timeout(request, self._clock.seconds())
            raise
        finally:
            source.leave(by_timeout=by_timeout)

    async def _open(self, request: GatewayRequest) -> tuple[Part, ChatView]:
        # In a function of its own, so that no name keeps the body, or what was decoded from it, for the whole run.
        plan, view, claim = self._read(request)
        part = await self._joins.start(plan, claim)
        if part.replayed:
            request.responseHeaders.setRawHeaders(b"Idempotency-Replayed", [b"true"])
        if (part.run_id, part.created_s) != (view.run_id, view.created):
            view = attrs.evolve(view, run_id=part.run_id, session_key=part.session_key, created=part.created_s)
        return part, view

    def _read(self, request: GatewayRequest) -> tuple[RunPlan, ChatView, Claim]:
        repeating = read_repeating(request)
        raw = request.take_body()
        body = decode_chat_request(raw)
        is_retry = repeating is not None and bool(repeating.retry_count)
        plan = self._runs.plan(request.admission.caller, to_run_request(body, request, is_retry=is_retry))
        view = ChatView(
            run_id=plan.request.run_id,
            session_key=plan.session_key,
            model=body.model or MODEL_ALIAS,
            created=int(self._clock.seconds()),
            stream=bool(body.stream),
            include_usage=body.stream_options is not None and bool(body.stream_options.include_usage),
            reasoning=self._current_config().gateway.http.endpoints.chat_completions.reasoning,
        )
        if repeating is None and plan.target.is_stable:
            # Its client may send it again, and say only then that it is a retry.
            repeating = Repeating(retry_count=0)
        if repeating is None:
            return plan, view, Claim()
        digest = body_digest(raw) if repeating.can_meet_another else b""
        return plan, view, repeating.claim(request.path, plan, digest)

    async def _whole(self, request: GatewayRequest, source: Part, view: ChatView) -> bytes:
        timings = await source.placed()
        outcome = await source.outcome()
        run_headers(request, view.run_id, view.session_key, timings)
        if outcome.error is not None:
            request.produced_output = outcome.produced_output
            raise outcome.error
        return send(request, 200, json_body(completion(view, outcome)))

    async def _stream(self, request: GatewayRequest, source: Part, view: ChatView) -> None:
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


def to_run_request(body: ChatRequest, request: GatewayRequest, *, is_retry: bool = False) -> RunRequest:
    """
    Turn a body and its headers into what an agent is asked, or refuse it with L{InvalidRequest}.

    @param is_retry: the client's library says that it sends this once more.
    """
    conversation = read_conversation(body)
    chat_ids = ((name, header_text(request, name)) for name in ("X-OpenWebUI-Chat-Id", "X-Conversation-Id"))
    chat_id = next(((name, text) for name, text in chat_ids if text), None)
    channel = header_text(request, "x-openclaw-message-channel") or DEFAULT_CHANNEL
    if not CHANNEL_NAME.fullmatch(channel):
        raise InvalidRequest(
            "x-openclaw-message-channel: 1 to 64 letters, digits, dots, dashes and underscores",
            param="x-openclaw-message-channel",
        )
    session_key, user = header_text(request, "x-openclaw-session-key"), body.user
    metadata_session_id = (body.metadata.session_id or None) if body.metadata is not None else None
    # Its value names what is asked for; a client that is told to send it always sends it empty with a user's turn.
    is_side_call = bool((header_text(request, "X-OpenWebUI-Task") or "").strip())
    if is_side_call:
        # It is no part of the conversation that it names.
        session_key = chat_id = metadata_session_id = user = None
    return RunRequest(
        run_id=new_run_id(),
        selection=Selection(
            model=body.model,
            agent_id=header_text(request, "x-openclaw-agent-id") or header_text(request, "x-openclaw-agent"),
            session_key=session_key,
            chat_id=chat_id,
            metadata_session_id=metadata_session_id,
            user=user,
            model_override=header_text(request, "x-openclaw-model"),
        ),
        asked=Asked(conversation.messages, conversation.system, body.sampling()),
        received_s=request.received_s,
        channel=channel,
        options=RunOptions(
            keep=bool(body.store) and not is_side_call,
            whole=not body.stream,
            manner=Manner(bool(body.stream), body.has_tools),
            one_attempt=is_retry,
        ),
    )


def header_text(request: GatewayRequest, name: str) -> str | None:
    """A header's value as text; L{InvalidRequest} if it was sent more than once or is not UTF-8."""
    values = request.requestHeaders.getRawHeaders(name.encode())
    if values is None:
        return None
    if len(values) > 1:
        raise InvalidRequest(f"{name} was sent more than once", param=name)
    try:
        return values[0].decode()
    except UnicodeDecodeError:
        raise InvalidRequest(f"{name} is not UTF-8", param=name) from None
