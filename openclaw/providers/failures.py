"""
What a model server's failure means: from statuses, error objects and network errors to provider errors
(L{openclaw.errors.ProviderError}).

Texts of a provider reach the client cut short, without control characters and without our own secrets; texts of
exceptions do not reach it at all.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec
from OpenSSL.SSL import Error as TLSError
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    ConnectionClosed,
    ConnectionRefusedError,  # noqa: A004 - Twisted's, not the built-in one
    DNSLookupError,
    TCPTimedOutError,
    TimeoutError,  # noqa: A004 - Twisted's, not the built-in one
)
from twisted.internet.ssl import VerificationError
from twisted.web.client import RequestGenerationFailed, RequestTransmissionFailed, ResponseFailed, ResponseNeverReceived
from twisted.web.error import SchemeNotSupported
from twisted.web.http_headers import Headers

from openclaw.errors import (
    ContextTooLong,
    LastingProviderFailure,
    OpenClawError,
    ProviderAuthFailed,
    ProviderFailed,
    ProviderOverloaded,
    ProviderQuota,
    ProviderRateLimited,
    ProviderRejected,
    TransientProviderTimeout,
)
from openclaw.providers.proxy import ProxyFault
from openclaw.providers.trust import tls_reason

MAX_TEXT_CHARACTERS = 500
"""Longest text of a provider that is passed on."""

MIN_SECRET_CHARACTERS = 6
"""Shortest text that is looked for as a secret."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")

_CONTEXT_CODES = frozenset({"context_length_exceeded", "exceed_context_size_error", "context_window_exceeded"})
_QUOTA_CODES = frozenset({"insufficient_quota", "billing_error"})
_STATUS_OF_CODE: Mapping[str, int] = {
    "invalid_api_key": 401,
    "authentication_error": 401,
    "permission_error": 403,
    "invalid_request_error": 400,
    "model_not_found": 404,
    "not_found_error": 404,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "too_many_requests": 429,
    "overloaded": 529,
    "overloaded_error": 529,
    "service_unavailable": 503,
    "timeout": 504,
    "timeout_error": 504,
}
_CONTEXT_PHRASES = ("maximum context length", "exceeds the available context size", "prompt is too long")
"""What servers write that have no code for it: vLLM, old llama.cpp, Anthropic's gateway."""


def clean_text(text: str, secrets: Iterable[str] = ()) -> str:
    """
    Make a provider's text fit to be passed on.

    @param secrets: texts that must not appear; each occurrence becomes C{***}.
    @return: one line of at most L{MAX_TEXT_CHARACTERS} characters.
    """
    for secret in secrets:
        # A header's value may be as short as "1": that is no secret, and it stands in every text.
        if len(secret) >= MIN_SECRET_CHARACTERS:
            text = text.replace(secret, "***")
    # Cut first to a generous length: the expression need not walk through megabytes.
    text = _CONTROL.sub(" ", text[: 4 * MAX_TEXT_CHARACTERS]).strip()
    return text if len(text) <= MAX_TEXT_CHARACTERS else text[: MAX_TEXT_CHARACTERS - 1] + "…"


def retry_after_s(headers: Headers) -> float | None:
    """
    Read how long the provider asks to wait: C{retry-after-ms}, else C{Retry-After} in seconds or as a date.

    A date is counted from the response's own C{Date}, so that a wrong clock on either side does no harm.

    @return: seconds, at least 0, or C{None} if nothing usable is said.
    """
    millis = _number(headers.getRawHeaders("retry-after-ms", [""])[-1])
    if millis is not None:
        return millis / 1000.0
    text = headers.getRawHeaders("retry-after", [""])[-1]
    seconds = _number(text)
    if seconds is not None:
        return seconds
    until_s = _http_date(text)
    if until_s is None:
        return None
    now_s = _http_date(headers.getRawHeaders("date", [""])[-1])
    return max(0.0, until_s - (time.time() if now_s is None else now_s))


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return max(0.0, value) if math.isfinite(value) else None


def _http_date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def error_of_answer(
    status: int, headers: Headers, body: bytes, *, name: str, secrets: Iterable[str] = ()
) -> OpenClawError:
    """
    The error of an answer whose status is not 200.

    @param body: what was read of its body.
    @param name: the provider's name in the configuration.
    @param secrets: texts to keep out of messages.
    """
    text, codes = _read_body(body)
    return _error(status, codes, text, name=name, secrets=secrets, retry_after=retry_after_s(headers))


def error_of_event(error: Any, *, name: str, secrets: Iterable[str] = ()) -> OpenClawError:
    """
    The error of an error object that came where an event of the answer was due.

    Its code or type says what it is; a number there is an HTTP status.

    @param error: the decoded object, or a bare text.
    """
    text, codes = _read_error(error)
    for code in codes:
        status = int(code) if code.isascii() and code.isdigit() and len(code) == 3 else _STATUS_OF_CODE.get(code)
        if status is not None and 400 <= status <= 599:
            break
    else:
        status = 500
    return _error(status, codes, text, name=name, secrets=secrets, said_status=False)


def _error(
    status: int,
    codes: list[str],
    text: str,
    *,
    name: str,
    secrets: Iterable[str],
    retry_after: float | None = None,
    said_status: bool = True,
) -> OpenClawError:
    secrets = tuple(secrets)
    text = clean_text(text, secrets) or "no reason given"
    said = f"{status} {text}" if said_status or status != 500 else text
    if not _CONTEXT_CODES.isdisjoint(codes) or status == 413:
        return ContextTooLong(said)
    if not _QUOTA_CODES.isdisjoint(codes) or status == 402:
        return ProviderQuota(said)
    if status in (401, 403):
        # The text often quotes a part of the key.
        return ProviderAuthFailed(f"the provider {name} refused our credentials ({status})")
    if status in (400, 404, 422):
        if any(phrase in text.lower() for phrase in _CONTEXT_PHRASES):
            return ContextTooLong(said)
        passed = next((clean_text(code, secrets)[:100] for code in codes if not code.isdigit()), None)
        return ProviderRejected(said, status=status, code=passed)
    if status == 429:
        return ProviderRateLimited(said, retry_after_s=retry_after)
    if status in (503, 529):
        return ProviderOverloaded(f"the provider {name} is overloaded: {said}", retry_after_s=retry_after)
    if status in (408, 504):
        return TransientProviderTimeout(f"the provider {name} timed out: {said}", retry_after_s=retry_after)
    if status >= 500:
        return ProviderFailed(f"the provider {name} failed: {said}", retry_after_s=retry_after)
    if 300 <= status < 400:
        return LastingProviderFailure(f"the provider {name} answered {status}, a redirect; set its baseUrl to the end")
    return LastingProviderFailure(f"the provider {name} gave an answer that was not expected: {said}")


def _read_body(body: bytes) -> tuple[str, list[str]]:
    """The message and the codes, most telling first, of the body of an error answer."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = body.decode("utf-8", "replace")
        return ("", []) if text.lstrip().startswith("<") else (text, [])
    if isinstance(document, list) and document:
        document = document[0]
    if isinstance(document, dict):
        return _read_error(document.get("error") or document)
    return _read_error(document)


def _read_error(error: Any) -> tuple[str, list[str]]:
    if isinstance(error, str):
        return error, []
    if not isinstance(error, dict):
        return "", []
    message = next((error[key] for key in ("message", "detail", "error") if error.get(key)), "")
    if not isinstance(message, str):
        message = json.dumps(message, separators=(",", ":"))
    values = (error.get("code"), error.get("type"), error.get("status"))
    codes = [str(value) for value in values if isinstance(value, (str, int)) and not isinstance(value, bool) and value]
    return message, codes


NETWORK_ERRORS: tuple[type[Exception], ...] = (
    OSError,  # DNSLookupError and TimeoutError of Python are among them
    ConnectError,
    ConnectionClosed,
    ConnectingCancelledError,
    DeferredTimeoutError,
    ProxyFault,
    RequestGenerationFailed,
    RequestTransmissionFailed,
    ResponseFailed,
    SchemeNotSupported,
    TLSError,
    VerificationError,
    ValueError,  # a host name or URL that nothing can be made of
)


def error_of_network(error: BaseException, *, name: str) -> OpenClawError:
    """
    The error of a request that got no answer, or only a part of one.

    @param error: what Twisted raised, one of L{NETWORK_ERRORS}.
    """
    causes = list(_causes(error))

    def caused(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    fault = next((cause for cause in causes if isinstance(cause, ProxyFault)), None)
    if fault is not None:
        kind = LastingProviderFailure if fault.is_lasting else ProviderFailed
        return (TransientProviderTimeout if fault.is_late else kind)(
            clean_text(f"the provider {name} could not be reached {fault.text}")
        )
    if caused(TimeoutError, TCPTimedOutError, DeferredTimeoutError):
        return TransientProviderTimeout(f"the provider {name} could not be reached in time")
    if caused(ConnectionRefusedError):
        return ProviderFailed(f"the provider {name} could not be reached: connection refused")
    if caused(DNSLookupError):
        return ProviderFailed(f"the provider {name} could not be reached: its host name cannot be resolved")
    if caused(TLSError, VerificationError):
        said = next(filter(None, map(tls_reason, causes)), "")
        return LastingProviderFailure(
            clean_text(f"the provider {name} could not be reached: TLS failed" + (f": {said}" if said else ""))
        )
    if caused(SchemeNotSupported, ValueError, UnicodeError) and not caused(ResponseFailed):
        return LastingProviderFailure(f"the baseUrl of the provider {name} cannot be used")
    if caused(ResponseNeverReceived, RequestTransmissionFailed):
        return ProviderFailed(f"the provider {name} closed the connection without an answer")
    if caused(ResponseFailed) and not caused(ConnectionClosed):
        return LastingProviderFailure(f"the provider {name} does not speak HTTP")
    if caused(ResponseFailed):
        return ProviderFailed(f"the provider {name} cut its answer off")
    return ProviderFailed(f"the provider {name} could not be reached")


def _causes(error: BaseException) -> Iterable[BaseException]:
    """C{error} and all that Twisted has wrapped into it."""
    yield error
    for reason in getattr(error, "reasons", ()):
        yield from _causes(reason.value)
