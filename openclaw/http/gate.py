"""
The early gate: what is decided about a request when its headers are complete and before its body is taken.

Path, host, credential, method, scope and declared size, in this order.  A plain object over request heads; the
mechanics of connections are in L{openclaw.http.connection.channel}.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import attrs
from twisted.web.http_headers import Headers

from openclaw.auth.head import RequestHead
from openclaw.auth.policy import AccessPolicy
from openclaw.auth.scopes import require
from openclaw.config.schema import Config
from openclaw.errors import BodyTooLarge, MethodNotAllowed, NotFound, RequestError
from openclaw.http.table import MAX_SMALL_BODY_BYTES, Route, RouteTable
from openclaw.ids import new_token
from openclaw.interfaces import Caller

_SLASHES = re.compile(rb"/{2,}")
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")

ANONYMOUS = Caller("", frozenset())
"""The caller of a route that asks for no credential."""


@attrs.frozen
class Admission:
    """
    A request that may go on.

    @ivar caller: who makes it.
    @ivar max_body_bytes: what its body may have.
    @ivar preflight: the headers of the answer, if it is a CORS preflight that is answered at once with 204.
    @ivar is_upgrade: whether its connection becomes a WebSocket.
    """

    caller: Caller
    max_body_bytes: int
    preflight: Mapping[bytes, bytes] | None = None
    is_upgrade: bool = False


def fold_slashes(path: bytes) -> bytes:
    """Doubled slashes made one; nothing else of a path is touched."""
    return _SLASHES.sub(b"/", path)


def request_id(headers: Headers) -> str:
    """The caller's C{X-Request-Id} if it can be used, else a new one."""
    given = headers.getRawHeaders(b"X-Request-Id")
    if given is not None and len(given) == 1 and _REQUEST_ID.fullmatch(given[0]):
        return given[0].decode("ascii")
    return new_token()


def asks_for_websocket(method: bytes, headers: Headers) -> bool:
    """Whether a request wants the protocol of its connection changed to WebSocket."""
    upgrade = headers.getRawHeaders(b"Upgrade")
    return upgrade is not None and method == b"GET" and upgrade[0].strip().lower() == b"websocket"


@attrs.frozen
class Gate:
    """Decides about requests by the configuration in force."""

    _current_config: Callable[[], Config]
    _policy: AccessPolicy
    routes: RouteTable

    def admit(self, head: RequestHead, declared_bytes: int | None) -> Admission:
        """
        Decide about one request.

        @param declared_bytes: the C{Content-Length}; C{None} for a chunked body, 0 for none.
        @raise openclaw.errors.RequestError: if it may not go on.
        """
        config = self._current_config()
        route = self.routes.find(config, head.path)
        is_page = route is not None and route.is_page
        if route is not None and route.scope is None and not is_page:
            self._check_method(route, head)
            self._check_size(route.max_body_bytes, declared_bytes)
            return Admission(ANONYMOUS, route.max_body_bytes)
        # One for a route, be it off, is passed over.
        is_upgrade = asks_for_websocket(head.method, head.headers) and (is_page or head.path not in self.routes)
        # Before anything is told about the path: a page under a name of its own learns nothing of this machine.
        if not (is_page and _is_check(head)):
            self._policy.check_host(head)
        if is_upgrade:
            # A WebSocket client shows its credential in its first frame, and learns there why it is refused.
            self._check_size(0, declared_bytes)
            return Admission(ANONYMOUS, 0, is_upgrade=True)
        if route is not None and is_page:
            self._check_method(route, head)
            self._check_size(route.max_body_bytes, declared_bytes)
            return Admission(ANONYMOUS, route.max_body_bytes)
        if route is None or route.scope is None:
            raise NotFound(_nothing_at(head.path))
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


def _is_check(head: RequestHead) -> bool:
    """Whether a request for a page may be the check of a load balancer, and cannot be that of another page."""
    return head.method == b"OPTIONS" or not head.headers.hasHeader(b"host")


_CHAT = "/v1/chat/completions"
_TEXT_PATHS = (b"/v1/completions", b"/v1/responses", b"/v1/assistants", b"/v1/threads")


def _nothing_at(path: bytes) -> str:
    """What to tell of a path that is not served; of one of OpenAI's also which one is, as its user reads that."""
    text = "there is nothing at this path"
    if path.startswith(_TEXT_PATHS):
        return f"{text}; use {_CHAT}"
    if path.startswith(b"/v1/") and not path.startswith((b"/v1/chat/completions", b"/v1/models")):
        return f"{text}; of OpenAI's routes {_CHAT} and /v1/models are served"
    if path in (b"/chat/completions", b"/models", b"/completions", b"/responses"):
        return f"{text}; the base URL of this gateway ends in /v1"
    return text


def too_large(max_body_bytes: int) -> BodyTooLarge:
    """The error for a body over its limit."""
    return BodyTooLarge(f"the request body may have at most {max_body_bytes} bytes")


class HeadTooLarge(RequestError):
    """The request line (status 414) or the headers (431) are larger than any client of ours sends."""

    def __init__(self, message: str, *, status: int, code: str) -> None:
        super().__init__(message, code=code)
        self.http_status = status
