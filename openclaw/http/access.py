"""What is told about each HTTP request when it is over: a line of the log, and a count."""

from __future__ import annotations

import re
from collections.abc import Callable

import attrs
from twisted.logger import Logger
from twisted.web.http_headers import Headers

from openclaw.http.table import RouteTable
from openclaw.log_levels import debugging
from openclaw.log_rare import RareLines

CLIENT_LEFT = 499
"""The status of a request whose client left before its answer was complete; never on the wire."""

_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-|\Z)")

_LINE = "{method} {path} {status} {milliseconds:.0f} ms"

log = Logger()


@attrs.frozen
class Served:
    """
    A request that is over.

    @ivar path: without the query, whatever the client sent.
    @ivar status: what it was answered with; L{CLIENT_LEFT} if it was not.
    @ivar seconds: from the complete request, or its refusal, to the end.
    @ivar run_id: its run; empty if there was none.
    """

    method: bytes
    path: bytes
    status: int
    seconds: float
    request_id: str
    run_id: str = ""


def trace_id(headers: Headers) -> str:
    """The W3C trace id of a request, from its C{traceparent}; empty if it has none that can be used."""
    given = headers.getRawHeaders(b"traceparent")
    found = _TRACEPARENT.match(given[0]) if given else None
    return found[1].decode("ascii") if found is not None else ""


@attrs.frozen
class AccessLog:
    """
    Writes a line at debug, or at info where the gateway failed, and counts by the route's label and the status.

    What is answered to anybody, such as that the gateway is not ready, is a line a minute; see L{RareLines}.
    """

    _routes: RouteTable
    _count: Callable[[str, int], None] | None = None
    _rare: RareLines | None = None
    _open: frozenset[str] = attrs.field(init=False)

    @_open.default
    def _open_labels(self) -> frozenset[str]:
        return frozenset(route.path for route in self._routes if route.scope is None)

    def __call__(self, served: Served) -> None:
        """Tell of a request that is over."""
        label = self._routes.label(served.path)
        if self._count is not None:
            self._count(label, served.status)
        is_failure = served.status >= 500
        if not (is_failure or debugging.is_on):
            return
        fields = {
            "method": served.method.decode("ascii", "backslashreplace"),
            "path": served.path[:1000].decode("ascii", "backslashreplace"),
            "status": served.status,
            "milliseconds": served.seconds * 1000,
            "request_id": served.request_id,
            "run_id": served.run_id,
        }
        if not is_failure:
            log.debug(_LINE, **fields)
        elif self._rare is not None and label in self._open:
            self._rare.tell(log.info, _LINE, **fields)
        else:
            log.info(_LINE, **fields)
