"""
The table of routes: what the port serves, under which path, for whom, by which function.

A route is a row of L{openclaw.http.routes}.  The gate, the Klein application and the labels of the metrics all read
this one table, which knows neither requests nor the functions behind it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Any, ClassVar
from urllib.parse import unquote_to_bytes

import attrs

from openclaw.config.schema import Config

MAX_BODY_BYTES = 20 * 1024 * 1024
"""Largest body of any route, in bytes."""

MAX_SMALL_BODY_BYTES = 64 * 1024
"""Largest body that a route without a body of its own swallows, in bytes."""

GET = (b"GET",)
GET_OR_HEAD = (b"GET", b"HEAD")
ROOT_METHODS = (b"GET", b"HEAD", b"OPTIONS")
POST = (b"POST",)

_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def _always(config: Config) -> bool:
    return True


def _never(config: Config) -> bool:
    return False


@attrs.frozen
class Route:
    """
    A row.

    @ivar path: as it stands, or a family of paths whose last part is any text, such as C{/v1/models/{id}}.
    @ivar methods: the methods that it takes.
    @ivar scope: the operator scope that a caller needs; C{None} if it is answered to anybody, before host, proxy
        and credential are looked at.
    @ivar answer: given the request, and the text of its last part if it is a family; gives the body of the answer,
        or C{None} if it has written all of it.  What it raises becomes the answer.  It may be C{async}, and is
        cancelled when the client leaves.
    @ivar max_body_bytes: largest body.
    @ivar enabled: whether the configuration has it.
    @ivar public: whether the configuration gives it to anybody, whose host is still looked at.
    @cvar is_page: whether it is a L{Page}.
    """

    is_page: ClassVar[bool] = False

    path: str
    methods: tuple[bytes, ...]
    scope: str | None
    answer: Callable[..., bytes | Coroutine[Any, Any, bytes | None] | None]
    max_body_bytes: int = MAX_SMALL_BODY_BYTES
    enabled: Callable[[Config], bool] = _always
    public: Callable[[Config], bool] = _never

    @property
    def rule(self) -> str:
        """The path as Werkzeug writes it."""
        return _PLACEHOLDER.sub(r"<path:\1>", self.path)


@attrs.frozen
class Page(Route):
    """A row that is no part of the API: for anybody whose host is ours, and an upgrade there is the WebSocket's."""

    is_page: ClassVar[bool] = True


class RouteTable:
    """All routes, no path twice."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = tuple(routes)
        self._exact = {route.path.encode(): route for route in self._routes if "{" not in route.path}
        families = [route for route in self._routes if "{" in route.path]
        self._families = {route.path.partition("{")[0].encode(): route for route in families}

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes)

    def _of(self, path: bytes) -> Route | None:
        """The route that a path belongs to."""
        families = (family for prefix, family in self._families.items() if path.startswith(prefix))
        return self._exact.get(path) or next(families, None)

    def __contains__(self, path: bytes) -> bool:
        """Whether a folded path belongs to a route, be it one that the configuration has off."""
        return self._of(path) is not None

    def find(self, config: Config, path: bytes) -> Route | None:
        """The route of a folded path; C{None} if there is none or the configuration has it off."""
        route = self._exact.get(path)
        if route is None and path not in self._families and _is_text(path):
            route = self._of(path)
        return route if route is not None and route.enabled(config) else None

    def label(self, path: bytes) -> str:
        """The route of a folded path, as one of few names."""
        route = self._of(path)
        return route.path if route is not None else "other"


def _is_text(path: bytes) -> bool:
    """Whether a path is UTF-8 once its escapes are resolved and holds no control characters."""
    try:
        return unquote_to_bytes(path).decode().isprintable()
    except UnicodeDecodeError:
        return False
