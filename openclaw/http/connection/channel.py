"""
Connections: Twisted's HTTP channel with an early gate and a bounded body.

Twisted renders a request after its whole body is in, parses forms and spools large bodies to temporary files.  Here
a request is judged when its headers are complete, a refusal is answered and the connection closed, and a body goes
to a bounded buffer in memory as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import datetimeToString
from twisted.web.http_headers import Headers
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

from openclaw.auth.head import ANSWER_HEADERS, RequestHead
from openclaw.errors import BodyTimeout, InvalidRequest, OpenClawError, Unauthorized
from openclaw.http.access import AccessLog, Served
from openclaw.http.answers.respond import as_openclaw_error, error_body, error_headers, reason_phrase
from openclaw.http.connection.delivery import Delivery
from openclaw.http.connection.direct import bound_send_buffer, write_now
from openclaw.http.connection.fair_queue import FairQueue
from openclaw.http.connection.request import SERVER, GatewayRequest
from openclaw.http.connection.stall import StallWatch
from openclaw.http.gate import Gate, HeadTooLarge, fold_slashes, request_id
from openclaw.interfaces import Clock
from openclaw.log_rare import RareLines
from openclaw.twisted_internals import OpenChannel, before_end

HEAD_DEADLINE_S = 10.0
"""From a request's first byte to the end of its headers, in seconds."""

BODY_DEADLINE_S = 30.0
"""From the end of the headers to the end of the body, in seconds."""

IDLE_DEADLINE_S = 60.0
"""How long a connection may say nothing between two requests, in seconds."""

LINGER_IDLE_S = 0.5
"""After a refusal: how long to wait for more of the body before closing, in seconds."""

LINGER_TOTAL_S = 5.0
"""After a refusal: how long to throw the body away at most, in seconds."""

MAX_PIPELINED_BYTES = 0x4000
"""
What a client may send while its request is being handled, in bytes.

Twisted would read no further beyond as much, and whoever does not read does not notice that the client has left.
"""

REQUESTS_AT_ONCE = 8
"""
How many requests of one connection are answered without a turn of the reactor.

One read may hold a thousand that ask for little, which take longer than anybody else should wait.
"""

log = Logger()


class GatewayChannel(OpenChannel):
    """One connection of a L{GatewaySite}; see L{openclaw.http.connection.request.Connection}."""

    requestFactory = GatewayRequest
    # After the idle deadline: one that still reads its answer is not cut off.
    abortTimeout = None  # type: ignore[assignment]
    transport: Any
    site: GatewaySite
    clock: Clock
    requests: list[GatewayRequest]

    def __init__(self) -> None:
        super().__init__()
        self.is_refused = False
        self.is_pipelining = False
        self._done_at_once = 0
        self._deadline: IDelayedCall | None = None
        self._stall: StallWatch | None = None
        self._linger_until_s = 0.0
        self._response_headers = Headers()
        # That of the last answer, until it is known what became of it.
        self._delivery: Delivery | None = None
        self._watches_end = False

    def served(self, served: Served) -> None:
        """Tell of a request that is over."""
        self.site.served(served)

    def connectionMade(self) -> None:
        super().connectionMade()
        self.site.open_connections.add(self)
        bound_send_buffer(self.transport)

    def dataReceived(self, data: bytes) -> None:
        if self.is_refused:
            self._keep_lingering()
            return
        if self.is_receiving:
            # What is behind a body whose request was answered at once; the call that is under way goes on with it.
            super().dataReceived(data)
            return
        if self not in self.site.queue:
            self.paused, self._done_at_once = False, 0
        super().dataReceived(data)
        if self.paused and self.unread and not self.transport.disconnecting:
            self.pause_reading()
            self.site.queue.ask(self)
        elif self.is_handling and self.transport is not None and self.bytes_behind > MAX_PIPELINED_BYTES:
            self.site.rare.tell(
                log.info, "cutting off {peer}: it sends on while its request is handled", peer=self.getPeer()
            )
            self.forceAbortClient()
        elif (
            self.line_mode and (self.unread or self.requests) and not (self.is_refused or self.transport.disconnecting)
        ):
            # Amid a head.  Complete lines are taken already, so a line feed that is left has no carriage return.
            if b"\n" in self.unread:
                self.bad_request()
            elif self._deadline is None:
                self._arm(HEAD_DEADLINE_S, self._head_is_late)

    def go_on(self) -> None:
        """Read on after L{REQUESTS_AT_ONCE}, now that it is this connection's turn."""
        if not self.waits_for_client:
            self.resume_reading()
        self.dataReceived(b"")

    def pauseProducing(self) -> None:
        """The client is slow: Twisted's buffer for it is full."""
        super().pauseProducing()
        self._watch_reading()

    def resumeProducing(self) -> None:
        """The client has read what was written."""
        self._stop_watching()
        super().resumeProducing()
        if self in self.site.queue:
            self.pause_reading()

    def lineReceived(self, line: bytes) -> None:
        if self.is_refused:
            return
        if line[:1] in (b" ", b"\t"):
            # A folded header: two parties may each read another header there.
            self.bad_request()
        else:
            super().lineReceived(line)

    def headerReceived(self, line: bytes) -> bool:
        try:
            ok: bool = super().headerReceived(line)
        except ValueError:
            # A Content-Length of more digits than int() takes.
            self.bad_request()
            return False
        return ok

    def rawDataReceived(self, data: bytes) -> None:
        if not self.is_refused:
            super().rawDataReceived(data)

    def lineLengthExceeded(self, line: bytes) -> None:
        self.length = None
        text = f"the request line may have at most {self.MAX_LENGTH} bytes"
        long_target = HeadTooLarge(text, status=414, code="uri_too_long")
        self.refuse(self._large_headers() if self.first_line is not None else long_target)

    def _large_headers(self) -> OpenClawError:
        text = f"a request may have at most {self.maxHeaders} headers, and {self.totalHeadersSize} bytes of them"
        return HeadTooLarge(text, status=431, code="headers_too_large")

    def allHeadersReceived(self) -> None:
        """Judge the request; only an admitted one is told to continue and may send its body."""
        self._disarm()
        if self._delivery is not None and not self.is_pipelining:
            # It was sent by somebody who had read the answer.
            self._settle_delivery(is_read=True)
        request = self.requests[-1]
        request.request_id = request_id(request.requestHeaders)
        assert self.first_line is not None  # the head is complete
        method, target, version = self.first_line
        if version == b"HTTP/1.0":
            # RFC 9110, 7.8: it must be passed over there.
            request.requestHeaders.removeHeader(b"Upgrade")
        try:
            head = self._head_of(request, method, target)
            self._response_headers = common_headers(request.request_id)
            for name, value in self.site.gate.response_headers(head).items():
                self._response_headers.setRawHeaders(name, [value])
            if version == b"HTTP/1.1" and not request.requestHeaders.hasHeader(b"Host"):
                raise InvalidRequest("the Host header is required")
            if any(coding.lower() != b"chunked" for coding in head.values(b"Transfer-Encoding")):
                # Twisted passes over "identity", and what follows would be taken for a request of its own.
                raise malformed()
            request.admission = self.site.gate.admit(head, self.length)
        except OpenClawError as error:
            self.refuse(error)
            return
        except Exception:  # noqa: BLE001 -- a bug in the gate must refuse, never let through
            self.refuse(as_openclaw_error(Failure(), request.request_id))
            return
        request.responseHeaders = self._response_headers
        if request.admission.preflight is not None:
            for name, value in request.admission.preflight.items():
                request.responseHeaders.setRawHeaders(name, [value])
        if self.length != 0:
            self._arm(BODY_DEADLINE_S, self._body_is_late)
        super().allHeadersReceived()

    def allContentReceived(self) -> None:
        if self.is_refused:
            return
        self._disarm()
        super().allContentReceived()

    def requestDone(self, request: Request) -> None:
        # They belonged to that request; the next one may be refused before it has any of its own.
        self._response_headers = Headers()
        self._done_at_once += 1
        self.paused = self._done_at_once >= REQUESTS_AT_ONCE
        delivery = cast(GatewayRequest, request).delivery
        if delivery is not None:
            self._watch_delivery(delivery)
        super().requestDone(request)
        cast(GatewayRequest, request).forget()

    def _watch_delivery(self, delivery: Delivery) -> None:
        """The answer is written: see whether it arrives."""
        self._settle_delivery()
        self._delivery = delivery
        self.is_pipelining = bool(self.bytes_behind or self.unread)
        delivery.sent(self.transport)
        if not self._watches_end:
            self._watches_end = True
            before_end(self.transport, self._settle_delivery)

    def _settle_delivery(self, *, is_read: bool = False) -> None:
        delivery, self._delivery = self._delivery, None
        if delivery is not None:
            delivery.settle(is_read=is_read)

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Write a piece of a stream; see L{write_now}."""
        write_now(self.transport, iovec)

    def timeoutConnection(self) -> None:
        """Close a connection on which nothing was said; Twisted would write a line for each."""
        self.loseConnection()

    def forceAbortClient(self) -> None:
        """Cut the connection, without a line, too."""
        self.transport.abortConnection()

    def give_up_transport(self) -> None:
        """Another protocol is about to take the connection over: it is no longer this site's, nor watched here."""
        self._stop_watching()
        self.site.open_connections.discard(self)

    def loseConnection(self) -> None:
        """Close the connection once what was written to it is out, or its client stops reading."""
        super().loseConnection()
        self._watch_reading()

    def _watch_reading(self) -> None:
        if self._stall is None:
            self._stall = StallWatch(self.transport, self.clock, self.site.rare)

    def _stop_watching(self) -> None:
        if self._stall is not None:
            self._stall.stop()
            self._stall = None

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008
        self._disarm()
        self._stop_watching()
        self._settle_delivery()
        self.site.open_connections.discard(self)
        self.site.queue.leave(self)
        super().connectionLost(reason)

    def _head_of(self, request: GatewayRequest, method: bytes, target: bytes) -> RequestHead:
        """What the gate may see of a request."""
        path, peer = fold_slashes(target.partition(b"?")[0]), getattr(self.getPeer(), "host", None)
        return RequestHead(method, path, request.requestHeaders, peer, self.site.local_tcp, self.site.loopback_bind)

    # ------------------------------------------------------------------------------------ refusing

    def refuse(self, error: OpenClawError) -> None:
        """
        Answer a request that will not be served, and close the connection.

        What the client still sends is thrown away for a moment, because closing with unread data would reset the
        connection and take the answer with it.
        """
        if self.is_refused:
            return
        self.is_refused = True
        self.persistent = 0
        self._disarm()
        self.setTimeout(None)
        if isinstance(error, Unauthorized) and error.delay_s > 0:
            self._arm(error.delay_s, self._send_refusal, error)
        else:
            self._send_refusal(error)

    def _send_refusal(self, error: OpenClawError) -> None:
        self._deadline = None
        headers = self._response_headers
        if not headers.hasHeader(b"X-Request-Id"):
            sent = self.requests[-1].requestHeaders if self.requests else Headers()
            headers = common_headers(request_id(sent))
        body = error_body(error)
        error_headers(error, headers)
        headers.setRawHeaders(b"Content-Length", [b"%d" % len(body)])
        headers.setRawHeaders(b"Connection", [b"close"])
        headers.setRawHeaders(b"Server", [SERVER])
        headers.setRawHeaders(b"Date", [datetimeToString()])
        status = error.http_status
        method, target, _ = self.first_line or (b"-", b"-", b"")
        answered_id = headers.getRawHeaders(b"X-Request-Id", [b""])[0].decode()
        self.served(Served(method, fold_slashes(target.partition(b"?")[0]), status, 0.0, answered_id))
        self.writeHeaders(b"HTTP/1.1", b"%d" % status, reason_phrase(status), headers)
        if method != b"HEAD":
            self.write(body)
        self._linger_until_s = self.clock.seconds() + LINGER_TOTAL_S
        if self.length == 0:
            self.loseConnection()
        else:
            self._arm(LINGER_IDLE_S, self._close)

    def _keep_lingering(self) -> None:
        if self._linger_until_s == 0.0 or self._deadline is None:
            return
        left_s = self._linger_until_s - self.clock.seconds()
        if left_s > 0:
            self._deadline.reset(min(LINGER_IDLE_S, left_s))
        else:
            self._close()

    def _close(self) -> None:
        self._disarm()
        self.loseConnection()

    def bad_request(self) -> None:
        """What comes is no HTTP; Twisted's own answer has no body."""
        self.length = None
        self.refuse(self._large_headers() if self.is_head_large else malformed())

    # ------------------------------------------------------------------------------------ deadlines

    def _arm(self, delay_s: float, late: object, *arguments: object) -> None:
        self._disarm()
        self._deadline = self.clock.callLater(delay_s, late, *arguments)

    def _disarm(self) -> None:
        deadline, self._deadline = self._deadline, None
        if deadline is not None and deadline.active():
            deadline.cancel()

    def _head_is_late(self) -> None:
        self._deadline = None
        self.site.rare.tell(
            log.info, "closing {peer}: the request's head was not complete in time", peer=self.getPeer()
        )
        self.loseConnection()

    def _body_is_late(self) -> None:
        self._deadline = None
        self.refuse(BodyTimeout(f"the request body was not complete within {BODY_DEADLINE_S:.0f} s"))


def common_headers(request_id: str) -> Headers:
    """New headers with what every answer carries."""
    headers = Headers()
    headers.setRawHeaders(b"X-Request-Id", [request_id.encode()])
    for name, value in ANSWER_HEADERS.items():
        headers.setRawHeaders(name, [value])
    return headers


def malformed() -> InvalidRequest:
    """The error for what is no HTTP."""
    return InvalidRequest("this is not a valid HTTP/1.1 request")


class GatewaySite(Site):
    """
    The HTTP side of the port.

    @ivar gate: judges heads of requests.
    @ivar local_tcp: whether the gateway itself bound a TCP port (and was not given a unix or systemd socket).
    @ivar loopback_bind: whether that port is bound to a loopback address.
    @ivar open_connections: the connections that are open and speak HTTP.
    @ivar queue: whose turn it is of the connections that have more requests than are answered at once.
    @ivar served: is told of each request when it is over; by default it only logs.
    @ivar rare: tells the log of peers that are cut off.
    """

    protocol = GatewayChannel  # type: ignore[assignment]
    requestFactory = GatewayRequest
    displayTracebacks = False

    def __init__(
        self,
        resource: IResource,
        gate: Gate,
        reactor: IReactorTime,
        *,
        local_tcp: bool,
        loopback_bind: bool,
        served: Callable[[Served], None] | None = None,
        rare: RareLines | None = None,
    ) -> None:
        super().__init__(resource, timeout=IDLE_DEADLINE_S, reactor=reactor)
        self.gate = gate
        self.local_tcp = local_tcp
        self.loopback_bind = loopback_bind
        self.open_connections: set[GatewayChannel] = set()
        self.queue = FairQueue(reactor)
        self.rare = rare if rare is not None else RareLines(reactor.seconds)
        self.served = served or AccessLog(gate.routes)

    def close_all(self) -> None:
        """Close every connection once what was written to it is out."""
        for channel in list(self.open_connections):
            channel.loseConnection()

    def abort_all(self) -> None:
        """Cut every connection that is left."""
        for channel in list(self.open_connections):
            channel.forceAbortClient()

    def buildProtocol(self, addr: IAddress | None) -> GatewayChannel:  # type: ignore[override]
        """Make the protocol of a new connection."""
        channel: GatewayChannel = super().buildProtocol(addr)
        channel.clock = self.reactor
        return channel

    def startFactory(self) -> None:
        """Twisted would start a timer here that ticks for the access log, which the gateway does not have."""

    def stopFactory(self) -> None:
        """See L{startFactory}."""

    def log(self, request: Request) -> None:  # type: ignore[override]
        """An answer is complete."""
        assert isinstance(request, GatewayRequest)
        self.served(request.served(request.code))
