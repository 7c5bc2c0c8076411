"""
The body of a model server's answer: handed over read by read, with back-pressure, deadlines and abort.

Three things the library does not do are done here.  A body is handed over once for each read of the network and
not once for each chunk of the transfer coding.  A body that nobody takes pauses its connection.  And a connection
can be aborted, where the library can only ask it to close, which over TLS a hung peer never lets happen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall, IHandshakeListener, ITransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IResponse
from zope.interface import implementer

from openclaw.errors import OpenClawError, ProviderFailed, ProviderTimeout
from openclaw.interfaces import Clock
from openclaw.twisted_internals import connection_of

READ_BYTES = 16 * 1024
"""
Most that is read from a model server at once: what is held for a client that is slow.

Events grow on their way out, tiny ones about five times, and a stream must stay far below 256 KiB.
"""

MAX_HEAD_BYTES = 256 * 1024
"""Most that is read of the head of an answer; the library keeps all of one that does not end."""


@implementer(IHandshakeListener)
class ProviderConnection(ProtocolWrapper):
    """
    A connection that tells when a read of the network is over, and reads no more than L{READ_BYTES} at once, nor
    more than L{MAX_HEAD_BYTES} before the body of an answer begins.

    @ivar at_read_end: called once, after the read that is under way.
    @ivar head_bytes: how much came since the last request; C{None} once the body has begun.
    @ivar was_reset: whether it was lost otherwise than by the peer's closing it.
    """

    at_read_end: Callable[[], None] | None = None
    head_bytes: int | None = 0
    was_reset = False
    _is_secure = False
    _securing: Deferred[ProviderConnection] | None = None

    def makeConnection(self, transport: Any) -> None:
        # Below TLS, whose own reads are as large as what it was given allows.
        below = transport
        while isinstance(below, ProtocolWrapper):
            below = below.transport
        # It is also how many unsent bytes pause a producer; ours write a request at once and have nothing to pause.
        below.bufferSize = READ_BYTES
        cast(Any, super()).makeConnection(transport)

    def secured(self) -> Deferred[ProviderConnection]:
        """
        Wait until TLS is agreed on.  Cancelling aborts the connection.

        @return: fires with this connection, or fails with the reason for which it was lost.
        """
        if self._is_secure:
            return succeed(self)
        self._securing = Deferred(self._stop_securing)
        return self._securing

    def handshakeCompleted(self) -> None:
        """See C{IHandshakeListener}."""
        self._is_secure = True
        securing, self._securing = self._securing, None
        if securing is not None:
            securing.callback(self)

    def _stop_securing(self, _: Deferred[ProviderConnection]) -> None:
        self._securing = None
        cast(Any, self.transport).abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.head_bytes is not None and self.head_bytes > MAX_HEAD_BYTES:
            reason = Failure(ValueError("the head of the answer does not end"))
        self.was_reset = reason.check(ConnectionDone) is None
        cast(Any, super()).connectionLost(reason)
        securing, self._securing = self._securing, None
        if securing is not None:
            securing.errback(reason)

    def write(self, data: bytes) -> None:
        """Send a piece of a request; the next head is that of its answer."""
        self.head_bytes = 0
        cast(Any, super()).write(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """See L{write}."""
        self.head_bytes = 0
        cast(Any, super()).writeSequence(data)

    def dataReceived(self, data: bytes) -> None:
        if self.head_bytes is not None:
            self.head_bytes += len(data)
            if self.head_bytes > MAX_HEAD_BYTES:
                cast(Any, self.transport).abortConnection()
                return
        cast(Any, super()).dataReceived(data)
        told = self.at_read_end
        if told is not None:
            self.at_read_end = None
            told()


def abort_body(transport: ITransport | None) -> None:
    """
    Cut the connection that a response's body comes over, at once and without asking the peer.

    @param transport: the body protocol's transport.  Nothing happens if its body is complete.
    """
    if transport is None:
        return
    connection = connection_of(transport) or transport
    abort = getattr(connection, "abortConnection", None)
    if abort is not None:
        abort()
    else:
        connection.loseConnection()


class BodyReceiver(Protocol):
    """
    Takes the body of a response and hands it over read by read.

    While a batch waits for L{read}, the connection is paused; at most one read of the network is held.  While it
    is not paused, a gap of more than C{idle_timeout_s} between bytes aborts it.  There is one timer, which looks
    when it fires how long ago the last bytes came.
    """

    def __init__(self, clock: Clock, idle_timeout_s: float, name: str) -> None:
        """@param name: the provider's name, for messages."""
        self._clock = clock
        self._idle_timeout_s = idle_timeout_s
        self._name = name
        self._pieces: list[bytes] = []
        self._waiter: Deferred[bytes | None] | None = None
        self._ended = False
        self._error: OpenClawError | None = None
        self._paused = False
        self._draining = False
        self._limited = False
        self._timer: IDelayedCall | None = None
        self._last_s = 0.0
        self._connection: ProviderConnection | None = None

    @property
    def was_reset(self) -> bool:
        """
        Whether the connection was reset.

        A body without a length ends with its connection, and the library takes any end of that for a good one.
        """
        return self._connection is not None and self._connection.was_reset

    def connectionMade(self) -> None:
        """The body begins."""
        connection = connection_of(self.transport)
        if isinstance(connection, ProviderConnection):
            self._connection = connection
            connection.head_bytes = None
        self._last_s = self._clock.seconds()
        self._timer = self._clock.callLater(self._idle_timeout_s, self._look)

    def dataReceived(self, data: bytes) -> None:
        """Some of the body: perhaps one of several chunks of the same read."""
        if self._ended or self._draining:
            return
        self._last_s = self._clock.seconds()
        self._pieces.append(data)
        if self._connection is None:
            self.hand_over()
        elif len(self._pieces) == 1:
            self._connection.at_read_end = self.hand_over

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The end of the body, or of its connection."""
        if self._ended:
            return
        complete = reason.check(ResponseDone, PotentialDataLoss) is not None
        self._end(None if complete else ProviderFailed(f"the provider {self._name} cut its answer off"))

    def hand_over(self) -> None:
        """Give what has come to whoever waits; if nobody does, pause the connection."""
        if not self._pieces:
            return
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.callback(self._take())
        elif not self._paused and not self._ended:
            self._paused = True
            cast(Any, self.transport).pauseProducing()

    def read(self) -> Deferred[bytes | None]:
        """
        Take the next batch.  Only one read may wait at a time.

        Cancelling aborts the connection.

        @return: fires with the bytes, with C{None} at the end of the body, or fails with L{ProviderFailed} if the
            body was cut off or L{ProviderTimeout} if it stopped coming.
        """
        if self._pieces:
            data = self._take()
            self._resume()
            return succeed(data)
        waiter: Deferred[bytes | None] = Deferred(self._cancelled)
        if self._ended:
            self._tell_end(waiter)
        else:
            self._waiter = waiter
        return waiter

    def abort(self) -> None:
        """Cut the connection unless the body is complete; what was not taken is thrown away."""
        self._pieces.clear()
        if not self._ended:
            self._end(ProviderFailed(f"the call of the provider {self._name} was closed"))
            abort_body(self.transport)

    def drain(self, timeout_s: float) -> None:
        """
        Throw away the rest of the body, so that its connection can serve another request.

        @param timeout_s: seconds after which the connection is cut instead.
        """
        self._draining = True
        self._pieces.clear()
        self.limit(timeout_s)
        self._resume()

    def limit(self, timeout_s: float) -> None:
        """Expect the end of the body within C{timeout_s} seconds, whether or not bytes come meanwhile."""
        if not self._ended:
            self._limited = True
            self._stop_timer()
            self._timer = self._clock.callLater(timeout_s, self._time_out)

    def lift_limit(self) -> None:
        """Expect no end any more: only gaps are bounded, as before L{limit}."""
        if self._limited and not self._ended:
            self._limited = False
            self._stop_timer()
            self._last_s = self._clock.seconds()
            if not self._paused:
                self._timer = self._clock.callLater(self._idle_timeout_s, self._look)

    def _take(self) -> bytes:
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        return data

    def _resume(self) -> None:
        if not self._paused:
            return
        self._paused = False
        if self._ended:
            return
        self._last_s = self._clock.seconds()
        if self._timer is None and not self._limited:
            self._timer = self._clock.callLater(self._idle_timeout_s, self._look)
        cast(Any, self.transport).resumeProducing()

    def _look(self) -> None:
        self._timer = None
        if self._paused:
            return
        left_s = self._last_s + self._idle_timeout_s - self._clock.seconds()
        if left_s > 0:
            self._timer = self._clock.callLater(left_s, self._look)
        else:
            self._time_out()

    def _time_out(self) -> None:
        self._timer = None
        self._end(ProviderTimeout(f"the provider {self._name} stopped answering"))
        abort_body(self.transport)

    def _cancelled(self, waiter: Deferred[bytes | None]) -> None:
        self._waiter = None
        self.abort()

    def _end(self, error: OpenClawError | None) -> None:
        self._ended = True
        self._error = error
        self._stop_timer()
        # Pieces go first; a waiter that gets them comes back for the end.
        self.hand_over()
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            self._tell_end(waiter)

    def _tell_end(self, waiter: Deferred[bytes | None]) -> None:
        if self._error is None:
            waiter.callback(None)
        else:
            waiter.errback(self._error)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()


def discard(response: IResponse) -> None:
    """Abort the connection of a response that nobody wants."""
    response.deliverBody(_Discarded())


class _Discarded(Protocol):
    def connectionMade(self) -> None:
        abort_body(self.transport)


def receive(response: IResponse, clock: Clock, idle_timeout_s: float, name: str) -> BodyReceiver:
    """
    Begin to take the body of a response.

    @param idle_timeout_s: longest gap between its bytes, in seconds.
    """
    receiver = BodyReceiver(clock, idle_timeout_s, name)
    response.deliverBody(receiver)
    # Bytes that were here before came without a read whose end could be told.
    receiver.hand_over()
    return receiver
