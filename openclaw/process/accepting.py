"""
A port that cannot accept: it rests for a moment.

Twisted keeps one descriptor in reserve, to accept and close connections while there are none left.  Where another
thread takes that one, it tries the same connection again in each turn of the reactor, with a line of the log each time
(65,000 a second measured, with Twisted 26.10), and never takes a reserve again.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from openclaw.descriptors import cannot_accept, has_none_left
from openclaw.interfaces import Clock
from openclaw.twisted_internals import reserve_descriptor

REST_S = 1.0
"""How long a port rests that cannot accept, in seconds; who connects meanwhile waits."""


@implementer(ILogObserver)
class PortRest:
    """
    Has a port rest that cannot accept.  Twisted tells nobody but the log: so this is an observer of it.

    @param port: as a reactor gives it.
    """

    def __init__(self, port: Any, clock: Clock) -> None:
        self._port = port
        self._clock = clock
        self._next: IDelayedCall | None = None

    def start(self) -> None:
        """Begin to watch."""
        globalLogPublisher.addObserver(self)

    def stop(self) -> None:
        """Watch no longer; a port that rests is not woken."""
        globalLogPublisher.removeObserver(self)
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def __call__(self, event: LogEvent) -> None:
        """Something is told."""
        if self._next is None and cannot_accept(event):
            self._port.stopReading()
            self._next = self._clock.callLater(REST_S, self._go_on)

    def _go_on(self) -> None:
        self._next = None
        # Twisted tells a traceback where it cannot.
        if not has_none_left():
            reserve_descriptor()
        self._port.startReading()
