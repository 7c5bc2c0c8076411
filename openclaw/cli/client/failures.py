"""
What went wrong between a command and a gateway, as one sentence that says what to do.

The gateway's own texts are for programs and for its log; a person at a terminal wants to know which gateway was
meant, where the credential came from, and what to type next.
"""

from __future__ import annotations

import re
from typing import Any

from twisted.internet import error as errors
from twisted.python.failure import Failure

from openclaw._version import __version__
from openclaw.cli.client.errors import CallFailed, ConnectionEnded, GatewayUnreachable, RemoteError
from openclaw.cli.client.remote import Remote
from openclaw.cli.output import UNSHOWN
from openclaw.cli.tables import cell

START = "start it with: openclaw gateway run"
SHOW_TOKEN = "on the gateway's machine this shows it: openclaw gateway auth-token --show"

_STATUS = re.compile(r"\[(\d{3})\]|status code '?(\d{3})'?|HTTP/\d\.\d[^0-9]+(\d{3})")


def shown(text: object, limit: int = 300) -> str:
    """Foreign text for one line: without control characters, and not endless."""
    line = cell(UNSHOWN.sub(" ", str(text))).strip()
    return line if len(line) <= limit else f"{line[:limit]}…"


def not_reached(remote: Remote, error: Exception, timeout_s: float) -> GatewayUnreachable:
    """Nobody took the connection."""
    if isinstance(error, errors.DNSLookupError):
        return GatewayUnreachable(f"{remote.url}: there is no host of that name; check {remote.source}")
    if isinstance(error, errors.TCPTimedOutError | errors.TimeoutError):
        reason = f"no connection within {timeout_s:g} s"
    elif isinstance(error, errors.ConnectionRefusedError):
        reason = "connection refused"
    else:
        reason = shown(getattr(error, "osError", None) or error)
    if remote.pid is not None:
        # To start another one on its state folder would be refused.
        who = f"process {remote.pid}" if remote.pid else "a process"
        end = f"kill {remote.pid}" if remote.pid else "Ctrl-C"
        return GatewayUnreachable(
            f"no gateway answers at {remote.url} ({reason}), although {who} has its state folder: "
            f"it starts, stops or is stuck; see openclaw logs, or end it with {end}"
        )
    advice = START if remote.kind == "localLoopback" else f"check {remote.source}, or {START}"
    return GatewayUnreachable(f"no gateway answers at {remote.url} ({reason}); {advice}")


def answered_no_websocket(remote: Remote, reason: str) -> GatewayUnreachable:
    """Something took the connection and did not want a WebSocket."""
    found = _STATUS.search(reason)
    status = f" (HTTP {next(group for group in found.groups() if group)})" if found else f" ({shown(reason, 120)})"
    return GatewayUnreachable(f"what answers at {remote.url} is no OpenClaw gateway{status}; check {remote.source}")


def closed_before_hello(remote: Remote, close: tuple[int | None, str], failure: Failure | None) -> GatewayUnreachable:
    """The connection ended before anybody said hello."""
    told = tls_problem(remote, failure)
    if told is not None:
        return GatewayUnreachable(told)
    code, reason = close
    if code is None or code == 1006:
        return GatewayUnreachable(
            f"{remote.url} took the connection and closed it without a word; is this an OpenClaw gateway?"
            + ("" if remote.address.is_tls else " If it serves TLS, use wss://")
        )
    if code in (1012, 1013):
        return GatewayUnreachable(f"the gateway at {remote.url} is stopping; try again in a moment", code=code)
    return GatewayUnreachable(
        f"{remote.url} closed the connection before it was ready ({code}{f' {shown(reason)}' if reason else ''})",
        code=code,
    )


def tls_problem(remote: Remote, failure: Failure | None) -> str | None:
    """What is wrong with TLS, if that is what ended the connection."""
    if failure is None or not remote.address.is_tls:
        return None
    kind = type(failure.value)
    if kind.__module__.partition(".")[0] not in ("OpenSSL", "service_identity"):
        return None
    text = shown(failure.value)
    if "wrong version number" in text or "packet length too long" in text:
        return f"{remote.url}: what answers there does not speak TLS; use ws:// if that is meant"
    if "certificate" in text.lower() or kind.__module__.startswith("service_identity"):
        return (
            f"{remote.url}: TLS failed, the certificate is not trusted for {remote.address.host} ({text});"
            " install its issuer (SSL_CERT_FILE) or use the name that it is for"
        )
    return f"{remote.url}: TLS failed ({text})"


def connection_ended(remote: Remote, close: tuple[int | None, str]) -> ConnectionEnded:
    """A connection that worked has ended."""
    code, reason = close
    if code in (1012, 1013):
        return ConnectionEnded(f"the gateway at {remote.url} has stopped or restarts", code=code)
    if code in (None, 1006):
        return ConnectionEnded(f"the connection to {remote.url} was lost")
    return ConnectionEnded(
        f"{remote.url} closed the connection ({code}{f' {shown(reason)}' if reason else ''})", code=code
    )


def told_by_gateway(error: Any) -> CallFailed:
    """The C{error} of an answer."""
    told = error if isinstance(error, dict) else {}
    code = told.get("code")
    message = shown(told.get("message") or "the gateway gives no reason", 2000)
    return CallFailed(message, code=code if isinstance(code, str) else None, details=told.get("details"))


def refused_connect(remote: Remote, error: RemoteError) -> RemoteError:
    """The gateway said no to C{connect}: the same error with a message that says what to do."""
    if not isinstance(error, CallFailed):
        return error
    message = _reason_of_refusal(remote, error)
    return CallFailed(message, code=error.told_code, details=error.told_details)


def _reason_of_refusal(remote: Remote, error: CallFailed) -> str:
    code, details = error.detail_code, error.told_details if isinstance(error.told_details, dict) else {}
    where = f"the gateway at {remote.url}"
    if code in ("AUTH_TOKEN_MISMATCH", "AUTH_PASSWORD_MISMATCH", "AUTH_UNAUTHORIZED"):
        if remote.secret.value is None:
            return f"{where} wants a credential, and there is none: {remote.secret.source}; {SHOW_TOKEN}"
        return f"{where} does not accept the {remote.secret.kind} of {remote.secret.source}; {SHOW_TOKEN}"
    if code in ("AUTH_TOKEN_MISSING", "AUTH_PASSWORD_MISSING", "DEVICE_IDENTITY_REQUIRED"):
        return f"{where} wants a credential ({remote.secret.source}): give --token or --password; {SHOW_TOKEN}"
    if code == "AUTH_RATE_LIMITED":
        wait_ms = details.get("retryAfterMs")
        wait = f"in {wait_ms / 1000:.0f} s" if isinstance(wait_ms, int | float) else "in a few minutes"
        return f"{where} does not listen to us after too many wrong credentials; try again {wait}"
    if code == "PROTOCOL_MISMATCH":
        theirs = shown(details.get("expectedProtocol", "?"), 20)
        return f"{where} speaks version {theirs} of the protocol, this openclaw {__version__} another; update the older"
    if code == "PAIRING_REQUIRED":
        return f"{where} wants this device to be approved first: {error.message}"
    if error.told_code == "UNAVAILABLE":
        return f"{where} is starting or stopping; try again in a moment ({error.message})"
    return f"{where} refused the connection: {error.message}"
