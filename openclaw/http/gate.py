"""
The early gate: what is decided about a request when its headers are complete and before its body is taken.

Path, host, credential, method, scope and declared size, in this order.  A plain object over request heads; the
mechanics of connections are in L{openclaw.http.connection.channel}.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from typing import Protocol
from urllib.parse import unquote_to_bytes

import attrs
from twisted.web.http_headers import Headers

from openclaw.auth.head import RequestHead
from openclaw.auth.policy import AccessPolicy
from openclaw.auth.scopes import require
from openclaw.config.schema import Config
from openclaw.errors import BodyTooLarge, InvalidRequest, MethodNotAllowed, NotFound, RequestError
from openclaw.interfaces import Caller

MAX_BODY_BYTES = 20 * 1024 * 1024
"""Largest body of any route, in bytes."""

MAX_SMALL_BODY_BYTES = 64 * 1024
"""Largest body that a route without a body of its own swallows, in bytes."""

_SLASHES = re.compile(rb"/{2,}")
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")

GET_OR_HEAD = (b"GET", b"HEAD")


class Enabled(Protocol):
    """Whether the configuration has a route."""

    def __call__(self, config: Config) -> bool: ...


def _always(config: Config) -> bool:
    return True


def _chat_on(config: Config) -> bool:
    return config.gateway.http.endpoints.chat_completions.enabled


def _never(config: Config) -> bool:
    return False


def _metrics_public(config: Config) -> bool:
    return config.gateway.metrics.public


def _any_on(config: Config) -> bool:
    return _chat_on(config) or config.gateway.http.endpoints.responses.enabled


@attrs.frozen
class Route:
    """
    What the gate knows of a path.

    @ivar methods: the methods that it takes.
    @ivar scope: the operator scope that a caller needs; C{None} if it is answered to anybody, before host, proxy
        and credential are looked at.
    @ivar max_body_bytes: largest body.
    @ivar enabled: whether the configuration has it.
    @ivar public: whether the configuration gives it to anybody, whose host is still looked at.
    """

    methods: tuple[bytes, ...]
    scope: str | None
    max_body_bytes: int = MAX_SMALL_BODY_BYTES
    enabled: Enabled = _always
    public: Enabled = _never


_HEALTH = Route(GET_OR_HEAD, scope=None)
_MODELS = Route((b"GET",), scope="operator.read", enabled=_any_on)

ROUTES: Mapping[bytes, Route] = {
    b"/health": _HEALTH,
    b"/healthz": _HEALTH,
    b"/ready": _HEALTH,
    b"/readyz": _HEALTH,
    b"/startup": _HEALTH,
    b"/startupz": _HEALTH,
    b"/metrics": Route((b"GET",), scope="operator.read", public=_metrics_public),
    b"/v1/chat/completions": Route((b"POST",), scope="operator.write", max_body_bytes=MAX_BODY_BYTES, enabled=_chat_on),
    b"/v1/models": _MODELS,
}
"""The paths that are known as they stand; L{MODEL_PREFIX} is the one family."""

MODEL_PREFIX = b"/v1/models/"
"""What a path of C{/v1/models/<id>} begins with."""

ANONYMOUS = Caller("", frozenset())
"""The caller of a route that asks for no credential."""


@attrs.frozen
class Admission:
    """
    A request that may go on.

    @ivar caller: who makes it.
    @ivar max_body_bytes: what its body may have.
    @ivar preflight: the headers of the answer, if it is a CORS preflight that is answered at once with 204.
    """

    caller: Caller
    max_body_bytes: int
    preflight: Mapping[bytes, bytes] | None = None


def fold_slashes(path: bytes) -> bytes:
    """Doubled slashes made one; nothing else of a path is touched."""
    return _SLASHES.sub(b"/", path)


def request_id(headers: Headers) -> str:
    """The caller's C{X-Request-Id} if it can be used, else a new one."""
    given = headers.getRawHeaders(b"X-Request-Id")
    if given is not None and len(given) == 1 and _REQUEST_ID.fullmatch(given[0]):
        return given[0].decode("ascii")
    return uuid.uuid4().hex


def find_route(config: Config, path: bytes) -> Route | None:
    """The route of a folded path; C{None} if there is none or the configuration has it off."""
    route = ROUTES.get(path)
    if route is None and path.startswith(MODEL_PREFIX) and len(path) > len(MODEL_PREFIX) and _is_text(path):
        route = _MODELS
    return route if route is not None and route.enabled(config) else None


def is_upgrade_to_websocket(method: bytes, path: bytes, headers: Headers) -> bool:
    """Whether a request asks for the WebSocket server and not for an API route."""
    upgrade = headers.getRawHeaders(b"Upgrade")
    if upgrade is None or method != b"GET" or upgrade[0].strip().lower() != b"websocket":
        return False
    return path not in ROUTES and not path.startswith(MODEL_PREFIX)


def _is_text(path: bytes) -> bool:
    """Whether a path is UTF-8 once its escapes are resolved and holds no control characters."""
    try:
        return unquote_to_bytes(path).decode().isprintable()
    except UnicodeDecodeError:
        return False


class Gate:
    """
    Decides about requests.

    @param current_config: gives the configuration in force.
    """

    def __init__(self, current_config: Callable[[], Config], policy: AccessPolicy) -> None:
        self._current_config = current_config
        self._policy = policy

    def admit(self, head: RequestHead, declared_bytes: int | None) -> Admission:
        """
        Decide about one request.

        @param declared_bytes: the C{Content-Length}; C{None} for a chunked body, 0 for none.
        @raise openclaw.errors.RequestError: if it may not go on.
        """
        config = self._current_config()
        route = find_route(config, head.path)
        if route is not None and route.scope is None:
            self._check_method(route, head)
            self._check_size(route.max_body_bytes, declared_bytes)
            return Admission(ANONYMOUS, route.max_body_bytes)
        is_upgrade = is_upgrade_to_websocket(head.method, head.path, head.headers)
        # Before anything is told about the path: a page under a name of its own learns nothing of this machine.
        self._policy.check_host(head)
        if is_upgrade:
            # A WebSocket client shows its credential in its first frame, and learns there why it is refused.
            self._check_size(0, declared_bytes)
            return Admission(ANONYMOUS, 0)
        if route is None or route.scope is None:
            raise NotFound("there is nothing at this path")
        preflight = self._policy.preflight(head)
        if preflight is not None:
            return Admission(ANONYMOUS, MAX_SMALL_BODY_BYTES, preflight)
        is_public = route.public(config)
        caller = ANONYMOUS if is_public else self._policy.authenticate(head)
        self._check_method(route, head)
        if not is_public:
            require(caller, route.scope)
        if head.headers.hasHeader(b"x-openclaw-model") and head.method == b"POST":
            require(caller, "operator.admin")
        self._check_size(route.max_body_bytes, declared_bytes)
        return Admission(caller, route.max_body_bytes)

    def response_headers(self, head: RequestHead) -> Mapping[bytes, bytes]:
        """The CORS headers of an answer to a listed origin; empty for everybody else."""
        return self._policy.cors_headers(head)

    @staticmethod
    def _check_method(route: Route, head: RequestHead) -> None:
        if head.method not in route.methods:
            raise MethodNotAllowed(", ".join(method.decode() for method in route.methods))

    @staticmethod
    def _check_size(max_body_bytes: int, declared_bytes: int | None) -> None:
        if declared_bytes is not None and declared_bytes > max_body_bytes:
            raise too_large(max_body_bytes)


def too_large(max_body_bytes: int) -> BodyTooLarge:
    """The error for a body over its limit."""
    return BodyTooLarge(f"the request body may have at most {max_body_bytes} bytes")


class HeadTooLarge(RequestError):
    """
    The request line or the headers are larger than any client of ours sends.

    @param status: 414 for the request line, 431 for the headers.
    """

    def __init__(self, message: str, *, status: int, code: str) -> None:
        super().__init__(message, code=code)
        self._status = status

    @property
    def http_status(self) -> int:
        """As the raiser gave it."""
        return self._status


def long_target(max_bytes: int) -> HeadTooLarge:
    """The error for a request line over its limit."""
    return HeadTooLarge(f"the request line may have at most {max_bytes} bytes", status=414, code="uri_too_long")


def large_headers(max_bytes: int, max_count: int) -> HeadTooLarge:
    """The error for headers over their limit."""
    return HeadTooLarge(
        f"a request may have at most {max_count} headers, and {max_bytes} bytes of them",
        status=431,
        code="headers_too_large",
    )


def missing_host() -> InvalidRequest:
    """The error for an HTTP/1.1 request without a C{Host}."""
    return InvalidRequest("the Host header is required")
