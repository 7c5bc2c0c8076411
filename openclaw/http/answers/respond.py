"""
The one place where a failure becomes an HTTP answer.

Every error has one envelope: C{{"error": {"message", "type", "param", "code"}}}, and a newline at its end.
"""

from __future__ import annotations

import math
import re
from http import HTTPStatus
from typing import Any

import msgspec
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers

from openclaw.descriptors import is_out_of_descriptors, out_of_descriptors
from openclaw.errors import (
    InvalidRequest,
    LockedOut,
    MethodNotAllowed,
    MissingScope,
    OpenClawError,
    ProviderError,
    RunTimeout,
    Unauthorized,
)
from openclaw.http.connection.request import GatewayRequest
from openclaw.wire import steps_of

JSON_TYPE = b"application/json; charset=utf-8"
"""Content type of every JSON answer."""

log = Logger()

_MISSING = re.compile(r"Object missing required field `(.+)`")


def error_object(error: OpenClawError) -> dict[str, Any]:
    """The C{error} member of the envelope."""
    body: dict[str, Any] = {
        "message": error.message,
        "type": error.wire_type,
        "param": error.param,
        "code": error.code,
    }
    if error.details is not None:
        body["details"] = error.details
    return body


def error_body(error: OpenClawError) -> bytes:
    """The whole body of an error answer."""
    envelope: dict[str, Any] = {"error": error_object(error)}
    if isinstance(error, MissingScope):
        envelope = {"ok": False, **envelope}
    return msgspec.json.encode(envelope) + b"\n"


def error_headers(error: OpenClawError, headers: Headers, produced_output: bool = False) -> None:
    """Put what belongs to an error into response headers; no retry is safe once the run has C{produced_output}."""
    headers.setRawHeaders(b"Content-Type", [JSON_TYPE])
    if isinstance(error, Unauthorized):
        headers.setRawHeaders(b"WWW-Authenticate", [b'Bearer realm="openclaw"'])
    if isinstance(error, MethodNotAllowed):
        headers.setRawHeaders(b"Allow", [error.allow.encode()])
    if error.retry_after_s is not None:
        headers.setRawHeaders(b"Retry-After", [b"%d" % max(1, math.ceil(error.retry_after_s))])
    # A provider that failed, or took too long, was asked as often as is of use.
    is_spent = isinstance(error, ProviderError | RunTimeout) and error.http_status in (502, 504)
    if produced_output or is_spent or (error.retry_useless and not isinstance(error, LockedOut)):
        headers.setRawHeaders(b"X-Should-Retry", [b"false"])


def as_openclaw_error(failure: Failure, request_id: str) -> OpenClawError:
    """What to tell a client of a failure; a bug is logged with the request's id, and the client learns no more."""
    error = failure.value
    if isinstance(error, OpenClawError):
        return error
    if is_out_of_descriptors(error):
        return out_of_descriptors()
    log.failure("request {request_id} failed by a bug", failure, request_id=request_id)
    return OpenClawError("internal error")


def json_body(value: Any) -> bytes:
    """A JSON answer's body, with a newline at its end for those who read it in a terminal."""
    return msgspec.json.encode(value) + b"\n"


def send(request: GatewayRequest, status: int, body: bytes, content_type: bytes = JSON_TYPE) -> bytes:
    """Set status and headers of a complete answer; returns its body, which Klein writes."""
    request.setResponseCode(status, reason_phrase(status))
    request.responseHeaders.setRawHeaders(b"Content-Type", [content_type])
    request.responseHeaders.setRawHeaders(b"Content-Length", [b"%d" % len(body)])
    return body


def from_validation_error(error: msgspec.ValidationError) -> InvalidRequest:
    """
    Say in the terms of the wire what msgspec found wrong.

    C{Expected `str`, got `int` - at `$.messages[0].content`} becomes the field C{messages.0.content}.
    """
    text = str(error)
    reason, _, where = text.rpartition(" - at `")
    if not reason:
        reason, where = text, ""
    param = ".".join(steps_of(where.rstrip("`"))) or None
    missing = _MISSING.match(reason)
    if missing is not None:
        param = f"{param}.{missing[1]}" if param else missing[1]
        return InvalidRequest(f"{param} is required", param=param)
    reason = reason.replace("`", "")
    return InvalidRequest(f"{param}: {reason}" if param else reason, param=param)


_PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus}


def reason_phrase(status: int) -> bytes:
    """What follows a status in the first line; Twisted does not know the newer ones, 422 and 429 among them."""
    return _PHRASES.get(status, b"Error")
