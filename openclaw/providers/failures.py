"""
What a model server's failure means: from statuses, error objects and network errors to provider errors
(L{openclaw.errors.ProviderError}).

Texts of a provider reach the client cut short, without control characters and without our own secrets; texts of
exceptions do not reach it at all, and what cannot be read reaches the log alone.  What a failure means is in
L{openclaw.providers.failure_kinds}, where its reason stands in L{openclaw.providers.reasons}.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable
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
from twisted.logger import Logger
from twisted.web.client import RequestGenerationFailed, RequestTransmissionFailed, ResponseFailed, ResponseNeverReceived
from twisted.web.error import SchemeNotSupported
from twisted.web.http_headers import Headers

from openclaw.descriptors import has_none_left, is_out_of_descriptors, out_of_descriptors
from openclaw.errors import (
    ContextTooLong,
    LastingProviderFailure,
    OpenClawError,
    ProviderAuthFailed,
    ProviderError,
    ProviderFailed,
    ProviderModelUnknown,
    ProviderOverloaded,
    ProviderQuota,
    ProviderRateLimited,
    ProviderRejected,
    TransientProviderTimeout,
)
from openclaw.providers.failure_kinds import kind_of, status_of
from openclaw.providers.proxy import ProxyFault
from openclaw.providers.reasons import Reason, error_in, reason_of
from openclaw.providers.sse import SseParser
from openclaw.providers.trust import tls_reason

MAX_TEXT_CHARACTERS = 500
"""Longest text of a provider that is passed on."""

MAX_RETRY_AFTER_S = 86_400.0
"""Longest wait that is passed on, in seconds: nobody means more than a day."""

MIN_SECRET_CHARACTERS = 6
"""Shortest text that is looked for as a secret."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")

MAX_LOGGED_CHARACTERS = 200
"""How much of what cannot be read stands in the log."""

MIN_PIECE_CHARACTERS = 8
"""Shortest beginning or end of a secret that is looked for where a server writes about our key."""

MAX_MASKED_CHARACTERS = 60
"""Longest end that is looked at beside what a server has put in place of the middle of a key."""

_MASK = re.compile(r"\*{2,}[*.]*|\.{3,}|\u2026|[xX]{4,}")
_KEY_BEFORE = re.compile(r"[\w-]*\Z")
_KEY_AFTER = re.compile(r"[\w-]*")

log = Logger()


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


def without_pieces(text: str, secrets: Iterable[str]) -> str:
    """
    Take out of a server's text about our key what it quotes of it: C{sk-abc***wxyz}, its beginning or its end.

    @return: the text with C{***} for each of them.
    """
    secrets = [secret for secret in secrets if len(secret) >= MIN_SECRET_CHARACTERS]
    for secret in secrets:
        if len(secret) >= 2 * MIN_PIECE_CHARACTERS:
            text = text.replace(secret, "***")
            for piece in (secret[:MIN_PIECE_CHARACTERS], secret[-MIN_PIECE_CHARACTERS:]):
                text = _cut_out(text, piece)
    kept: list[str] = []
    at = 0
    for mask in _MASK.finditer(text):
        if mask.start() < at:
            continue
        before = _key_before(text, mask.start(), at)
        after = _KEY_AFTER.match(text, mask.end(), mask.end() + MAX_MASKED_CHARACTERS)
        end = "" if after is None else after[0]
        if any((before and secret.startswith(before)) or (end and secret.endswith(end)) for secret in secrets):
            kept += text[at : mask.start() - len(before)], "***"
            at = mask.end() + len(end)
    return "".join(kept) + text[at:]


def _key_before(text: str, end: int, least: int) -> str:
    """The letters of a key that stand right before a place."""
    found = _KEY_BEFORE.search(text[max(least, end - MAX_MASKED_CHARACTERS) : end])
    return "" if found is None else found[0]


def _cut_out(text: str, piece: str) -> str:
    """Replace a piece of a key, with the letters around it."""
    first, *others = text.split(piece)
    for other in others:
        first = (
            first[: len(first) - len(_key_before(first, len(first), 0))] + "***" + _KEY_AFTER.sub("", other, count=1)
        )
    return first


def log_unreadable(name: str, status: int, beginning: bytes, secrets: Iterable[str] = ()) -> None:
    """
    Tell the log how an answer begins of which nothing can be made; its client is not told.

    @param name: the provider's name in the configuration.
    @param status: the status that it came with.
    @param beginning: its first bytes, or as many as there are.
    """
    text = clean_text(beginning[: 8 * MAX_LOGGED_CHARACTERS].decode("utf-8", "replace"), secrets)
    log.warn(
        "the provider {name} sent what cannot be read, with status {status}: {text}",
        name=name,
        status=status,
        text=text[:MAX_LOGGED_CHARACTERS] or "nothing",
    )


def retry_after_s(headers: Headers) -> float | None:
    """
    Read how long the provider asks to wait: C{retry-after-ms}, else C{Retry-After} in seconds or as a date.

    A date is counted from the response's own C{Date}, so that a wrong clock on either side does no harm.

    @return: seconds, from 0 to L{MAX_RETRY_AFTER_S}, or C{None} if nothing usable is said.
    """
    asked_s = _asked_s(headers)
    return None if asked_s is None else min(asked_s, MAX_RETRY_AFTER_S)


def _asked_s(headers: Headers) -> float | None:
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
    The error of an answer whose status is not one of success.

    @param body: what was read of its body; the log is told how it begins if it holds no reason.
    @param name: the provider's name in the configuration.
    @param secrets: texts to keep out of messages.
    """
    secrets = tuple(secrets)
    reason = _read_body(body)
    if not reason.text and body.strip():
        log_unreadable(name, status, body, secrets)
    return _error(status, reason, name=name, secrets=secrets, retry_after=retry_after_s(headers))


def said_in(body: bytes, secrets: Iterable[str] = ()) -> str:
    """The words of a refusal alone, fit to be shown, for where it is said beside them whose they are."""
    return clean_text(_read_body(body).text, secrets) or "no reason given"


def error_of_event(error: Any, *, name: str, secrets: Iterable[str] = ()) -> OpenClawError:
    """
    The error of an error object that came where an event of the answer was due.

    Its codes and its words say what it is; a number there is an HTTP status.

    @param error: the decoded object, or a bare text.
    """
    reason = reason_of(error)
    return _error(status_of(reason.codes), reason, name=name, secrets=tuple(secrets))


def _error(
    status: int | None, reason: Reason, *, name: str, secrets: tuple[str, ...], retry_after: float | None = None
) -> OpenClawError:
    error = _by_kind(status, reason, name, secrets, retry_after)
    if isinstance(error, ProviderError):
        error.said_status = status
    return error


def _by_kind(
    status: int | None, reason: Reason, name: str, secrets: tuple[str, ...], retry_after: float | None
) -> OpenClawError:
    """
    Make the error of a failure, in the one form of all of them: the provider, what it did, and its own words.

    The status is not among them: clients put that of ours before the message, and would say it twice.
    """
    kind = kind_of(status, reason.codes, reason.text)
    text = reason.text
    if status is not None:
        text = re.sub(rf"^\s*(?:HTTP(?:/[\d.]+)? |error code:? )?{status}\b[\s:-]*", "", text, flags=re.IGNORECASE)
    if kind == "auth":
        # What follows is cut off, but not within a key.
        text = without_pieces(text[: 8 * MAX_TEXT_CHARACTERS], secrets)
    text = clean_text(text, secrets)

    def said(deed: str) -> str:
        return f"the provider {name} {deed}: {text}" if text else f"the provider {name} {deed} and gives no reason"

    if kind == "too long":
        return ContextTooLong(said("finds the prompt too long"))
    if kind == "no money":
        return ProviderQuota(said("has no quota left for us"))
    if kind == "auth":
        return ProviderAuthFailed(said("refused our credentials"))
    if kind == "unknown model":
        told_status = status if status in (400, 404, 422) else 404
        told_code = _passed_code(reason, secrets) or "model_not_found"
        return ProviderModelUnknown(said("does not serve the model"), status=told_status, code=told_code)
    if kind == "too fast":
        return ProviderRateLimited(said("asks to slow down"), retry_after_s=retry_after)
    if kind == "overloaded":
        return ProviderOverloaded(said("is overloaded"), retry_after_s=retry_after)
    if kind == "timeout":
        return TransientProviderTimeout(said("timed out"), retry_after_s=retry_after)
    if status in (400, 404, 422):
        return ProviderRejected(said("refused the request"), status=status, code=_passed_code(reason, secrets))
    if status is None or status >= 500:
        return ProviderFailed(said("failed"), retry_after_s=retry_after)
    if 300 <= status < 400:
        return LastingProviderFailure(f"the provider {name} answered with a redirect; set its baseUrl to the end")
    return LastingProviderFailure(said("gave an answer that was not expected"))


def _passed_code(reason: Reason, secrets: tuple[str, ...]) -> str | None:
    """The code of a refused request that its client is told; a number is none."""
    return next((clean_text(code, secrets)[:100] for code in reason.codes if not code.isdigit()), None)


def _read_body(body: bytes) -> Reason:
    """The reason in the body of an error answer: JSON, an event with JSON, or a bare text that is no page."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        if b"data:" in body[:200] or body.startswith(b"error:"):
            parser = SseParser()
            for payload in [*parser.feed(body), *parser.finish()]:
                reason = _read_body(bytes(payload))
                if reason.text or reason.codes:
                    return reason
        text = body.decode("utf-8", "replace")
        return Reason("") if text.lstrip("\ufeff \t\r\n").startswith("<") else Reason(text)
    if isinstance(document, list) and document:
        document = document[0]
    found = error_in(document)
    return reason_of(document if found is None else found)


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

    if any(map(is_out_of_descriptors, causes)) or (caused(DNSLookupError) and has_none_left()):
        return out_of_descriptors()
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
