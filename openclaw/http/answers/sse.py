"""
A response that is a stream of server-sent events: its head, its pace, its signs of life, its end.

Only C{data:} lines and C{: keepalive} comments are ever written: clients of several languages fail on C{id:},
C{event:} and C{retry:} lines (C{docs/http-api.md}, "Streaming").
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer
from zope.interface import implementer

from openclaw.http.connection.request import GatewayRequest
from openclaw.interfaces import Clock

KEEPALIVE_S = 15.0
"""Seconds without a byte after which a comment is sent."""

KEEPALIVE = b": keepalive\n\n"


@implementer(IPushProducer)
class EventStream:
    """
    One streamed response.

    While the client is slow, L{drained} waits; whoever feeds the stream awaits it after each write, so that at most
    one batch more than Twisted's own buffer is ever held for one client.  The channel drops one that does not read.

    @ivar is_open: whether the response's head is out, so that its status can no longer change.
    """

    def __init__(self, request: GatewayRequest, clock: Clock) -> None:
        self._request = request
        self._clock = clock
        self._drain: Deferred[None] | None = None
        self._paused = False
        self._tick: IDelayedCall | None = None
        self.is_open = False

    def open(self) -> None:
        """Set the headers of an event stream; they go out with the first write."""
        headers = self._request.responseHeaders
        headers.setRawHeaders(b"Content-Type", [b"text/event-stream; charset=utf-8"])
        headers.setRawHeaders(b"Cache-Control", [b"no-cache, no-transform"])
        headers.setRawHeaders(b"X-Accel-Buffering", [b"no"])
        self.is_open = True
        self._request.registerProducer(self, True)
        self._tick = self._clock.callLater(KEEPALIVE_S, self._keep_alive)

    def write(self, data: bytes) -> None:
        """Send bytes, as they are, in one write."""
        self._request.sent_s = self._clock.seconds()
        self._request.write(data)

    def drained(self) -> Deferred[None] | None:
        """What fires when the client has read enough to be sent more; C{None} if it has."""
        if not self._paused:
            return None
        self._drain = Deferred(self._stop_waiting)
        return self._drain

    def _stop_waiting(self, _: Deferred[None]) -> None:
        self._drain = None

    def finish(self) -> None:
        """The response is complete."""
        self.close()
        self._request.finish()

    def close(self) -> None:
        """Give up the timer and the place as producer; nobody waits for the client after that.  May be repeated."""
        self._paused = False
        if self._tick is not None and self._tick.active():
            self._tick.cancel()
        self._tick = None
        # A request whose connection is gone has no channel left to unregister from.
        if self._request.producer is self and self._request.channel is not None:
            self._request.unregisterProducer()

    def _keep_alive(self) -> None:
        idle_s = self._clock.seconds() - self._request.sent_s
        if idle_s >= KEEPALIVE_S and not self._paused:
            self.write(KEEPALIVE)
            idle_s = 0.0
        self._tick = self._clock.callLater(max(KEEPALIVE_S - idle_s, 1.0), self._keep_alive)

    def pauseProducing(self) -> None:
        """The client is slow: Twisted's buffer for it is full."""
        self._paused = True

    def resumeProducing(self) -> None:
        """The client has read what there was."""
        self._paused = False
        drain, self._drain = self._drain, None
        if drain is not None:
            drain.callback(None)

    def stopProducing(self) -> None:
        """The connection is gone; the request tells those who have to know."""
