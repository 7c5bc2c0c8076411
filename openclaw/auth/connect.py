"""
The verdict on a WebSocket client's C{connect}.

The secret comes in the first frame, in a member for tokens or one for passwords, either of which will do.  What a
web page may do is decided by its C{Origin} here and not at the upgrade, so that a client learns why it is refused.
Order: the client behind a proxy, Origin, device, secret.  Texts and codes are the original's; its clients act on
them.

No device is known yet.  A client that shows one is treated as one that does not, and user interfaces, which the
original lets in with a device only, are refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any, Literal

import attrs

from openclaw.auth.client import Client, client_of_peer, parse_client
from openclaw.auth.credentials import is_secret, presented_secret
from openclaw.auth.head import RequestHead
from openclaw.auth.origin import host_and_port, is_same_origin, origin_host
from openclaw.auth.proxy import ATTRIBUTION_REQUIRED, TrustedProxies, resolve_client
from openclaw.auth.ratelimit import FailureLimiter
from openclaw.auth.scopes import ALL_SCOPES, OPEN_BEYOND_LOOPBACK, declared_scopes
from openclaw.config.gateway import is_loopback_host
from openclaw.errors import Forbidden, LockedOut
from openclaw.interfaces import Caller

UI_CLIENTS = frozenset(("openclaw-control-ui", "openclaw-tui", "webchat-ui", "webchat", "openclaw-browser-copilot"))
"""Ids of the user interfaces that must show a device."""

_KEEPING_SCOPES = frozenset((("gateway-client", "backend"), ("cli", "cli")))
"""
Programs, by id and mode, that need no device to keep their scopes: those of this machine with the secret, those of
another one if they also send it as the bearer of the upgrade, which the original's clients never do.
"""

_PRIVATE_NAMES = (".local", ".ts.net")
"""Ends of names that only a private network resolves."""

OPERATOR = "operator"
"""The name of whoever has the shared secret, or needs none."""


@attrs.frozen
class ConnectClaim:
    """
    What a client says of itself.

    @ivar client_id: what kind of program it is.
    @ivar mode: what it is there for.
    @ivar scopes: what it asks for, in its order.
    @ivar token: what it shows as a token; C{None} if nothing.
    @ivar password: what it shows as a password; C{None} if nothing.
    @ivar device_token: what it shows as the token of a device; C{None} if nothing.
    @ivar has_device: whether it shows a device.
    """

    client_id: str
    mode: str
    scopes: tuple[str, ...] = ()
    token: str | None = attrs.field(default=None, repr=False)
    password: str | None = attrs.field(default=None, repr=False)
    device_token: str | None = attrs.field(default=None, repr=False)
    has_device: bool = False


@attrs.frozen
class ConnectRules:
    """
    What is in force.

    @ivar digest: of the shared secret; C{None} in mode C{none}.
    @ivar origins: pages that may connect, as L{openclaw.auth.origin.listed_origins} gives them.
    @ivar on_loopback_bind: whether the gateway can be reached from this machine only.
    """

    mode: Literal["none", "token", "password"]
    digest: bytes | None
    proxies: TrustedProxies
    origins: Set[bytes]
    on_loopback_bind: bool


@attrs.frozen
class ConnectAdmission:
    """
    A client is let in.

    @ivar scopes: what it may do, in the order in which it asked.
    @ivar method: by what: C{none}, C{token} or C{password}.
    """

    caller: Caller
    scopes: tuple[str, ...]
    method: str


@attrs.frozen
class ConnectRefusal:
    """
    A client is not let in.

    @ivar details: members for programs; C{code} among them says why.
    @ivar code: the C{code} of the error.
    @ivar delay_s: seconds by which the answer is to be held back.
    @ivar retry_after_s: seconds after which another attempt may succeed; C{None} if none will.
    """

    message: str
    details: Mapping[str, Any]
    code: str = "INVALID_REQUEST"
    delay_s: float = 0.0
    retry_after_s: float | None = None


def judge_connect(
    head: RequestHead, claim: ConnectClaim, rules: ConnectRules, limiter: FailureLimiter
) -> ConnectAdmission | ConnectRefusal:
    """
    Decide about a C{connect}.

    @param head: that of the upgrade.
    @param limiter: the one that counts wrong credentials on every surface.
    @raise openclaw.errors.InvalidRequest: for a header that was sent more than once, or a malformed Host.
    """
    try:
        client = resolve_client(head, rules.proxies)
    except Forbidden as error:
        return ConnectRefusal(error.message, {"code": ATTRIBUTION_REQUIRED.upper()})
    origin = head.single(b"origin")
    local = is_local(head, client)
    if origin is not None and not origin_may_connect(head, origin, rules.origins, local=local):
        return _origin_refused(origin)
    if claim.client_id in UI_CLIENTS:
        return _device_needed(claim)
    refusal = None
    if rules.mode != "none":
        refusal = _judge_secret(client, origin, claim, rules, limiter)
    elif not rules.on_loopback_bind:
        refusal = ConnectRefusal(OPEN_BEYOND_LOOPBACK, {"code": "AUTH_UNAUTHORIZED"})
    if refusal is not None:
        return refusal
    scopes: tuple[str, ...] = ()
    is_program = origin is None and (claim.client_id, claim.mode) in _KEEPING_SCOPES
    if is_program and (local or _shows_bearer(head, rules)):
        allowed = declared_scopes(head) if rules.mode == "none" else ALL_SCOPES
        scopes = tuple(scope for scope in dict.fromkeys(claim.scopes) if scope in allowed)
    return ConnectAdmission(Caller(OPERATOR, frozenset(scopes), client.address), scopes, rules.mode)


def _shows_bearer(head: RequestHead, rules: ConnectRules) -> bool:
    """
    Whether the upgrade carries the secret as an HTTP request would.

    Over HTTP that is all that a program of another machine needs, so it is enough here.  Alone it lets nobody in:
    the secret in C{connect} is judged all the same, and only that counts as an attempt.
    """
    presented = presented_secret(head)
    return presented is not None and rules.digest is not None and is_secret(presented, rules.digest)


def is_local(head: RequestHead, client: Client) -> bool:
    """
    Tell whether a client is a program of this machine that talks to us directly.

    One that came through a proxy is none, nor one that reached us by a name which is not this machine's own: its
    packets were passed on by something else.

    @param client: as L{openclaw.auth.proxy.resolve_client} gives it.
    """
    if head.peer is None:
        return True
    return client.is_loopback and client_of_peer(head.peer).is_loopback and is_loopback_host(_host_name(head))


def _host_name(head: RequestHead) -> str:
    value = head.single(b"host")
    return host_and_port(value)[0] if value else ""


def origin_may_connect(head: RequestHead, origin: bytes, listed: Set[bytes], *, local: bool) -> bool:
    """
    Decide whether a page may connect.

    It may if its origin is listed; if it is the gateway's own page, under a name that an attacker's DNS cannot give
    to this machine; or if both it and its browser are on this machine.

    @param listed: as L{openclaw.auth.origin.listed_origins} gives them.
    @param local: as L{is_local} says.
    @raise openclaw.errors.InvalidRequest: for a malformed Host.
    """
    if origin in listed:
        return True
    name = origin_host(origin)
    if name is None:
        return False
    if is_loopback_host(name):
        return local
    return is_same_origin(head, origin) and _is_private(name)


def _is_private(name: str) -> bool:
    client = parse_client(name)
    if client is not None and client.ip is not None:
        return client.ip.is_private or client.ip.is_link_local
    return name.endswith(_PRIVATE_NAMES)


def _judge_secret(
    client: Client, origin: bytes | None, claim: ConnectClaim, rules: ConnectRules, limiter: FailureLimiter
) -> ConnectRefusal | None:
    """Compare what is shown with the secret; only a wrong one counts, never an absent one."""
    counted = client if origin is None else _page_on(client, origin)
    try:
        limiter.check(counted)
        shown = [secret for secret in (claim.token, claim.password) if secret]
        if not shown:
            return _secret_missing(claim, rules)
        # Both are always compared, so that the time tells nothing.
        matches = [is_secret(secret.encode(), rules.digest) for secret in shown if rules.digest]
        if any(matches):
            return None
        return _secret_refused(claim, rules, "mismatch", "update_auth_credentials", limiter.failed(counted))
    except LockedOut as error:
        message = "unauthorized: too many failed authentication attempts (retry later)"
        details = {
            "code": "AUTH_RATE_LIMITED",
            "authReason": "rate_limited",
            "recommendedNextStep": "wait_then_retry",
            "retryAfterMs": int((error.retry_after_s or 0) * 1000),
        }
        return ConnectRefusal(message, details, retry_after_s=error.retry_after_s)


def _page_on(client: Client, origin: bytes) -> Client:
    """
    What a page's wrong secrets are counted under.

    It must not be able to slow down, nor to lock out, the programs of the machine that it is shown on, and on this
    one no other page either.  From another machine anybody can claim any number of origins: they count as one.
    """
    name = f"origin {origin.decode('latin-1')}" if client.is_loopback else f"pages on {client.bucket}"
    return Client(client.address, name, False)


# ------------------------------------------------------------------------------------ the refusals


def _origin_refused(origin: bytes) -> ConnectRefusal:
    advice = "open the Control UI from the gateway host or allow it in gateway.controlUi.allowedOrigins"
    reason = "origin not allowed" if origin_host(origin) is not None else "origin missing or invalid"
    details = {"code": "CONTROL_UI_ORIGIN_NOT_ALLOWED", "reason": reason}
    return ConnectRefusal(f"origin not allowed ({advice})", details)


def _device_needed(claim: ConnectClaim) -> ConnectRefusal:
    unverified, absent = ", and this gateway cannot verify one yet", " (use HTTPS or localhost secure context)"
    message = f"control ui requires device identity{unverified if claim.has_device else absent}"
    return ConnectRefusal(message, {"code": "CONTROL_UI_DEVICE_IDENTITY_REQUIRED"})


def _secret_missing(claim: ConnectClaim, rules: ConnectRules) -> ConnectRefusal:
    if claim.device_token:
        return ConnectRefusal(
            "unauthorized: device token mismatch (rotate/reissue device token)",
            {"code": "AUTH_DEVICE_TOKEN_MISMATCH", "authReason": "device_token_mismatch"},
        )
    if not claim.has_device:
        return ConnectRefusal("device identity required", {"code": "DEVICE_IDENTITY_REQUIRED"}, "NOT_PAIRED")
    return _secret_refused(claim, rules, "missing", "update_auth_configuration")


def _secret_refused(
    claim: ConnectClaim,
    rules: ConnectRules,
    fault: Literal["missing", "mismatch"],
    next_step: str,
    delay_s: float = 0.0,
) -> ConnectRefusal:
    hint = "use this gateway's gateway.auth." if claim.client_id == "cli" else "provide gateway auth "
    return ConnectRefusal(
        f"unauthorized: gateway {rules.mode} {fault} ({hint}{rules.mode})",
        {
            "code": f"AUTH_{rules.mode.upper()}_{fault.upper()}",
            "authReason": f"{rules.mode}_{fault}",
            "canRetryWithDeviceToken": False,
            "recommendedNextStep": next_step,
        },
        delay_s=delay_s,
    )
