"""
Requests that a web page makes: the Host, Origin and CORS rules.

A page elsewhere can make a browser talk to this machine: by a name of its own that resolves to 127.0.0.1 (DNS
rebinding; the Host gives it away), by a plain form post (the content type gives it away), or, where no credential is
needed, by any request (C{Origin} and C{Sec-Fetch-Site} give it away).  C{Sec-Fetch-Mode} is not judged: Node sends it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Set
from functools import lru_cache

from openclaw.auth.client import parse_client
from openclaw.auth.head import RequestHead
from openclaw.errors import Forbidden, InvalidRequest, UnsupportedMedia

LONGEST_HOST = 300
"""Bytes; a DNS name has at most 253."""

PREFLIGHT_MAX_AGE_S = 600
"""Seconds for which a browser may keep the answer to a preflight."""

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::([0-9]{0,5}))?")
_ORIGIN = re.compile(r"(https?)://(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::([0-9]{1,5}))?")
_DEFAULT_PORTS = {"http": 80, "https": 443}

_PAGE_TYPES = (b"application/x-www-form-urlencoded", b"multipart/", b"text/plain")
_SAME_SITE = (None, b"same-origin", b"none")

_ALLOWED_HEADERS = b"Authorization, Content-Type, Idempotency-Key, X-Request-Id"
_OWN_HEADER = re.compile(rb"x-(?:openclaw|openwebui|stainless)-[a-z0-9-]{1,64}|x-conversation-id|last-event-id")
_MAX_OWN_HEADERS = 32
_EXPOSED_HEADERS = b", ".join(
    (
        *(b"X-Request-Id", b"X-OpenClaw-Session-Key", b"X-OpenClaw-Run-Id", b"X-OpenClaw-Dropped-Tools"),
        *(b"Server-Timing", b"Retry-After", b"X-Should-Retry", b"Idempotency-Replayed"),
        *(b"X-RateLimit-Limit", b"X-RateLimit-Remaining", b"X-RateLimit-Reset"),
    )
)


def _host_name(text: str) -> str:
    """One spelling of a host's name; addresses without brackets."""
    name = text.lower().removesuffix(".")
    client = parse_client(name.strip("[]"))
    return client.address if client else name


@lru_cache(maxsize=512)
def _split_host(value: bytes) -> tuple[str, int | None] | None:
    match = _HOST.fullmatch(value.decode("latin-1"))
    return (_host_name(match[1]), int(match[2]) if match[2] else None) if match else None


def host_and_port(value: bytes) -> tuple[str, int | None]:
    """
    Read a C{Host} header.

    @return: the name in lower case, an address in its canonical spelling, and the port if there is one.
    @raise InvalidRequest: if it is not a host with an optional port.
    """
    parsed = _split_host(value) if len(value) <= LONGEST_HOST else None
    if parsed is None:
        raise InvalidRequest("the Host header is malformed", param="Host")
    return parsed


def hosts_of(origins: Iterable[str]) -> frozenset[str]:
    """The host names of some origins; what is no origin, such as C{*}, names none."""
    matches = (_ORIGIN.fullmatch(origin) for origin in map(_plain_origin, origins))
    return frozenset(_host_name(match[2]) for match in matches if match)


def listed_origins(entries: Iterable[str]) -> frozenset[bytes]:
    """
    Prepare a list of origins from the configuration.

    @return: the origins as browsers send them.  C{*} and C{null} stand for pages that nobody has named: left out.
    """
    plain = (_plain_origin(entry) for entry in entries)
    return frozenset(origin.encode() for origin in plain if origin not in ("", "*", "null"))


def _plain_origin(entry: str) -> str:
    return entry.strip().lower().removesuffix("/")


def check_host(head: RequestHead, allowed_hosts: Set[str]) -> None:
    """
    Refuse a request that was made to a name which is not ours.

    Only a port that is bound to loopback has the rule: there the names are known.  A unix socket, and one that
    systemd passed, cannot be reached by DNS rebinding, or are not ours to judge.

    @param allowed_hosts: names beyond the loopback ones, as L{hosts_of} gives them.
    @raise InvalidRequest: for more than one C{Host}, a malformed one, or none where the rule applies.
    @raise Forbidden: C{host_not_allowed}.
    """
    value = head.single(b"host")
    if not head.local_tcp:
        return
    if not value:
        if head.loopback_bind:
            raise InvalidRequest("the Host header is missing", param="Host")
        return
    name, _ = host_and_port(value)
    if not head.loopback_bind or name == "localhost" or name in allowed_hosts:
        return
    client = parse_client(name)
    if client is None or not client.is_loopback:
        raise Forbidden(
            f'the host "{name}" is not a name of this gateway; add its origin, such as "https://{name}", to'
            " gateway.controlUi.allowedOrigins",
            code="host_not_allowed",
        )


def is_same_origin(head: RequestHead, origin: bytes) -> bool:
    """
    Tell whether a page comes from where its request goes.

    @raise InvalidRequest: for more than one C{Host}, or a malformed one.
    """
    match = _ORIGIN.fullmatch(origin.decode("latin-1"))
    value = head.single(b"host")
    if match is None or not value:
        return False
    default_port = _DEFAULT_PORTS[match[1]]
    name, port = host_and_port(value)
    return (_host_name(match[2]), int(match[3] or default_port)) == (name, port or default_port)


def origin_host(origin: bytes) -> str | None:
    """The name of an origin's host in one spelling; C{None} if it is no origin, as C{null} is none."""
    match = _ORIGIN.fullmatch(origin.decode("latin-1")) if len(origin) <= LONGEST_HOST else None
    return _host_name(match[2]) if match else None


def check_page_origin(head: RequestHead, listed: Set[bytes]) -> None:
    """
    Refuse another site's page where no credential is needed (mode C{none}).

    @param listed: origins that may call all the same, as L{listed_origins} gives them.
    @raise InvalidRequest: for more than one C{Origin} or C{Sec-Fetch-Site}.
    @raise Forbidden: C{origin_not_allowed}.
    """
    origin = head.single(b"origin")
    site = head.single(b"sec-fetch-site")
    if origin in listed:
        return
    if site not in _SAME_SITE or (origin is not None and not is_same_origin(head, origin)):
        raise Forbidden(
            "a page of another origin may not call a gateway that asks for no credential; add the origin to"
            " gateway.http.cors.allowedOrigins or gateway.controlUi.allowedOrigins",
            code="origin_not_allowed",
        )


def check_page_type(head: RequestHead) -> None:
    """
    Refuse a post that any page can make without asking first.

    @raise UnsupportedMedia: for a C{POST} with an C{Origin} and a form, multipart or plain text type.
    """
    if head.method != b"POST" or not head.values(b"origin"):
        return
    for value in head.values(b"content-type"):
        if any(part.strip().lower().startswith(_PAGE_TYPES) for part in value.split(b",")):
            raise UnsupportedMedia("the Content-Type of a request from a web page must be application/json")


def cors_headers(head: RequestHead, origins: Set[bytes]) -> dict[bytes, bytes]:
    """
    What every answer carries for the sake of pages, an error too.

    @param origins: those of C{gateway.http.cors.allowedOrigins}, as L{listed_origins} gives them.
    @return: headers by name; empty if no origin is listed at all.  Credentials (cookies) are never allowed.
    """
    if not origins:
        return {}
    headers = {b"Vary": b"Origin"}
    sent = head.values(b"origin")
    if len(sent) == 1 and sent[0] in origins:
        headers[b"Access-Control-Allow-Origin"] = sent[0]
        headers[b"Access-Control-Expose-Headers"] = _EXPOSED_HEADERS
    return headers


def preflight(head: RequestHead, origins: Set[bytes]) -> dict[bytes, bytes] | None:
    """
    Answer a browser that asks whether a page may make a request.

    @param origins: as for L{cors_headers}.
    @return: the headers of a 204 answer, or C{None} if this is no preflight from a listed origin; then it is a
        request like any other.
    @raise InvalidRequest: for more than one C{Origin}.
    """
    if head.method != b"OPTIONS" or not head.values(b"access-control-request-method"):
        return None
    origin = head.single(b"origin")
    if origin is None or origin not in origins:
        return None
    asked = b",".join(head.values(b"access-control-request-headers")).lower()
    # CORS has no wildcard within a name, so X-OpenClaw-* and the like are allowed by naming those that were asked for.
    own = sorted({name for name in map(bytes.strip, asked.split(b",")) if _OWN_HEADER.fullmatch(name)})
    return {
        b"Access-Control-Allow-Origin": origin,
        b"Access-Control-Allow-Methods": b"GET, POST",
        b"Access-Control-Allow-Headers": b", ".join((_ALLOWED_HEADERS, *own[:_MAX_OWN_HEADERS])),
        b"Access-Control-Max-Age": b"%d" % PREFLIGHT_MAX_AGE_S,
        b"Vary": b"Origin, Access-Control-Request-Headers",
    }
