"""
The table of methods: what a WebSocket client may call.

A method is a row: its name, the shape of its parameters, the scope that it needs, and a function.  The functions
live in one module for each family; L{MethodTable} knows nothing of sockets and is what a test calls, too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import attrs
import msgspec

from openclaw.interfaces import Caller


@attrs.frozen
class Call:
    """
    One call of a method.

    @ivar caller: who calls, with the scopes of its connection.
    @ivar connection_id: its connection, for subscriptions.
    @ivar client_id: what kind of client it said it is, such as C{cli}.
    @ivar respond: sends a first response, as that a run was accepted, under the request id of the last one.
    """

    caller: Caller
    connection_id: str
    client_id: str
    respond: Callable[[Mapping[str, Any]], None]


class Params(msgspec.Struct, forbid_unknown_fields=True, rename="camel", frozen=True):
    """Base of the parameters of all methods: camelCase on the wire, strict.  Subclasses say C{frozen=True}, too."""


class NoParams(Params, frozen=True):
    """For a method that takes none."""


@attrs.frozen
class Method:
    """
    One row of the table.

    @ivar scope: the operator scope that it needs; C{None} if every connected client may call it.
    @ivar params: the type that its parameters are decoded into.
    @ivar run: does it.  It gives the payload of the (last) response, raises an
        L{openclaw.errors.OpenClawError} for what is the caller's or a provider's fault, and ends when its
        Deferred is cancelled, which is what the end of the connection does unless the method says otherwise.
    """

    name: str
    scope: str | None
    params: type[Params]
    run: Callable[[Call, Any], Awaitable[Any]]


class MethodTable:
    """The methods of one gateway; C{ValueError} if a name is there twice."""

    def __init__(self, methods: Iterable[Method]) -> None:
        self._methods: dict[str, Method] = {}
        for method in methods:
            if method.name in self._methods:
                raise ValueError(f"the method {method.name} is there twice")
            self._methods[method.name] = method

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all methods, sorted."""
        return tuple(sorted(self._methods))

    def find(self, name: str) -> Method | None:
        """The method of that name, if there is one."""
        return self._methods.get(name)
