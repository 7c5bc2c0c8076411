"""
The seams that belong to no one layer: the clock, who asks, what the port tells of itself.

C{store}, C{providers} and C{auth} do not import one another, nor do C{http} and C{ws}; what one needs of another
is a Protocol here, in L{openclaw.models} or in L{openclaw.stores}, given to its constructor by L{openclaw.service}.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import attrs
from twisted.internet.interfaces import IDelayedCall


class Clock(Protocol):
    """The part of C{IReactorTime} that the gateway uses; C{twisted.internet.task.Clock} in tests."""

    def seconds(self) -> float:
        """
        Seconds since 1970, as Twisted's reactors have it; stored times are made of it.

        It jumps when somebody sets the system's clock, though not while a run is under way; see
        L{openclaw.process.clock.SteadyClock}.
        """

    def callLater(self, delay: float, callable: Any, *args: Any, **kw: Any) -> IDelayedCall:  # noqa: A002
        """Call something after C{delay} seconds."""


@attrs.frozen
class Caller:
    """
    Who makes a request, as decided before its body was read.

    @ivar name: a stable name of the credential; C{operator} for the shared secret.
    @ivar scopes: the operator scopes it has.
    @ivar address: the canonical address of the client, for logs and limits; empty on a unix socket.
    """

    name: str
    scopes: frozenset[str]
    address: str = ""


class HealthSource(Protocol):
    """What the health routes tell."""

    def phase(self) -> Literal["starting", "started", "draining"]:
        """The gateway's phase of life."""

    def uptime_ms(self) -> int:
        """Milliseconds since the gateway's start."""

    def failing(self) -> Sequence[str]:
        """Names of the parts that keep the gateway from being ready."""
