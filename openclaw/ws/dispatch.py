"""
Requests of a connected client: from a frame to a method of the table, and from what comes of it to a response.

Calls run side by side and are answered as they end, in any order.  They belong to their connection and are cancelled
with it.  This is the one place of this surface where a failure becomes an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Protocol

import attrs
import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from openclaw.auth.scopes import require
from openclaw.errors import Forbidden, InvalidRequest, OpenClawError, RequestError
from openclaw.interfaces import Caller
from openclaw.log_lines import add_log_context
from openclaw.methods.table import Call, Method, MethodTable, Params
from openclaw.waits import without_frames
from openclaw.wire import MAX_PAYLOAD_BYTES
from openclaw.ws.frames import (
    MalformedFrame,
    RequestFrame,
    WireError,
    decode,
    error_frame,
    id_of_malformed,
    params_of,
    read_request,
    result_frame,
)

MAX_CALLS = 64
"""Most calls of one connection that are under way at one time."""

LONGEST_SHOWN_NAME = 100
"""Characters of an unknown method's name that are told back."""

BUSY_RETRY_AFTER_MS = 1000
"""What a client with too many calls is told to wait, in milliseconds."""

log = Logger()


@cache
def _decoder(params: type[Params]) -> msgspec.json.Decoder[Params]:
    """The decoder of a method's parameters; there are as many as there are methods."""
    return msgspec.json.Decoder(params)


def wire_error(error: OpenClawError) -> WireError:
    """
    Say in the protocol's terms why a call failed.

    What is the caller's fault is C{INVALID_REQUEST}, or C{FORBIDDEN}; everything else is C{UNAVAILABLE}, with a word
    about whether and when to try again.  C{details.code} is the code that HTTP would have given.
    """
    details: dict[str, Any] = dict(error.details or {})
    if error.code is not None:
        details.setdefault("code", error.code)
    if error.param is not None:
        details.setdefault("param", error.param)
    if isinstance(error, RequestError):
        code = "FORBIDDEN" if isinstance(error, Forbidden) else "INVALID_REQUEST"
        return WireError(code, error.message, details or None)
    retry_after_ms = None if error.retry_after_s is None else int(error.retry_after_s * 1000)
    return WireError("UNAVAILABLE", error.message, details or None, not error.retry_useless, retry_after_ms)


class CountCall(Protocol):
    """Is told the name of each method that was called, and whether it did what was asked."""

    def __call__(self, method: str, *, ok: bool) -> None: ...


def count_nothing(method: str, *, ok: bool) -> None:
    """A L{CountCall} for where nobody counts."""


@attrs.define(eq=False)
class Calls:
    """The calls of one connection: C{send} sends it a frame, C{count} hears of every call."""

    _methods: MethodTable
    _caller: Caller
    _connection_id: str
    _client_id: str
    _send: Callable[[bytes], None]
    _count: CountCall
    _under_way: set[Deferred[None]] = attrs.field(factory=set, init=False)
    _closed: bool = attrs.field(default=False, init=False)

    def take(self, data: bytes) -> None:
        """A frame has come: begin what it asks for, or say what is wrong with it.  The connection stays."""
        try:
            frame = read_request(data)
        except MalformedFrame as error:
            self._fail(id_of_malformed(data), WireError("INVALID_REQUEST", f"invalid request frame: {error}"))
            return
        try:
            method, params = self._admit(frame)
        except OpenClawError as error:
            self._count(frame.method, ok=False)
            self._fail(frame.id, wire_error(error))
        else:
            self._begin(frame.id, method, params)

    def _admit(self, frame: RequestFrame) -> tuple[Method, Params]:
        """Find the method and read its parameters; L{InvalidRequest} or C{MissingScope} if that cannot be."""
        if frame.method == "connect":
            raise InvalidRequest("connect is only valid as the first request")
        method = self._methods.find(frame.method)
        if method is None:
            raise InvalidRequest(f"unknown method: {frame.method[:LONGEST_SHOWN_NAME]}")
        if method.scope is not None:
            require(self._caller, method.scope)
        try:
            return method, decode(_decoder(method.params), params_of(frame))
        except MalformedFrame as error:
            raise InvalidRequest(f"invalid {method.name} params: {error}") from None

    def _begin(self, request_id: str, method: Method, params: Params) -> None:
        if len(self._under_way) >= MAX_CALLS:
            message = f"this connection has {MAX_CALLS} calls under way; wait for one of them"
            details = {"code": "too_many_calls"}
            self._count(method.name, ok=False)
            self._fail(request_id, WireError("UNAVAILABLE", message, details, True, BUSY_RETRY_AFTER_MS))
            return

        def respond(payload: Mapping[str, Any]) -> None:
            self._answer(result_frame(request_id, payload))

        call = Call(self._caller, self._connection_id, self._client_id, respond)
        under_way = Deferred.fromCoroutine(self._run(request_id, method, call, params))
        if not under_way.called:
            self._under_way.add(under_way)
            under_way.addBoth(lambda _: self._under_way.discard(under_way))

    async def _run(self, request_id: str, method: Method, call: Call, params: Params) -> None:
        add_log_context(request_id=request_id[:LONGEST_SHOWN_NAME])
        ok = False
        try:
            frame = result_frame(request_id, await method.run(call, params))
            ok = True
        except OpenClawError as error:
            frame = error_frame(request_id, wire_error(error))
            # It may be kept for those who ask again, and its traceback would keep this call's parameters.
            without_frames(error)
        except Exception as error:  # noqa: BLE001 -- a bug of one method is told to its caller and ends there
            if self._closed and isinstance(error, CancelledError):
                return
            log.failure(
                "{method} failed by a bug on connection {connection_id}",
                method=method.name,
                connection_id=self._connection_id,
            )
            frame = error_frame(request_id, WireError("UNAVAILABLE", "internal error", {"code": "internal_error"}))
        self._count(method.name, ok=ok)
        if len(frame) > MAX_PAYLOAD_BYTES:
            message = f"the result has {len(frame)} bytes and at most {MAX_PAYLOAD_BYTES} can be sent; ask for less"
            frame = error_frame(request_id, WireError("INVALID_REQUEST", message, {"code": "result_too_large"}))
        self._answer(frame)

    def _fail(self, request_id: str, error: WireError) -> None:
        self._answer(error_frame(request_id, error))

    def _answer(self, frame: bytes) -> None:
        if not self._closed:
            self._send(frame)

    def close(self) -> None:
        """The connection is gone: cancel what is under way.  Nothing is sent any more."""
        self._closed = True
        for under_way in list(self._under_way):
            under_way.cancel()
