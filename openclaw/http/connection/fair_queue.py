"""A queue for turns of the reactor, one for each connection that has more to do than fits into one."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class GoesOn(Protocol):
    """A connection that has work left."""

    def go_on(self) -> None:
        """Do the next part of it; may ask for another turn."""


class FairQueue:
    """Lets connections go on one in each turn of the reactor; between two of them everybody else is served."""

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._waiting: dict[GoesOn, None] = {}
        self._next: IDelayedCall | None = None

    def __contains__(self, connection: GoesOn) -> bool:
        return connection in self._waiting

    def ask(self, connection: GoesOn) -> None:
        """Have a connection go on after all that wait already; one that waits keeps its place."""
        self._waiting[connection] = None
        self._arm()

    def leave(self, connection: GoesOn) -> None:
        """A connection is gone; harmless if it does not wait."""
        self._waiting.pop(connection, None)
        if not self._waiting and self._next is not None:
            self._next.cancel()
            self._next = None

    def _arm(self) -> None:
        if self._next is None and self._waiting:
            self._next = self._reactor.callLater(0, self._take)

    def _take(self) -> None:
        self._next = None
        connection = next(iter(self._waiting))
        del self._waiting[connection]
        self._arm()
        connection.go_on()
