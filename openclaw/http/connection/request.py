"""A request whose head the gate has admitted, with its body in memory."""

from __future__ import annotations

import io
from typing import Protocol

from twisted.python.failure import Failure
from twisted.web.resource import IResource
from twisted.web.server import Request

from openclaw.errors import OpenClawError
from openclaw.http.access import CLIENT_LEFT, Served
from openclaw.http.connection.delivery import Delivery
from openclaw.http.gate import Admission, fold_slashes, too_large
from openclaw.interfaces import Clock
from openclaw.twisted_internals import REQUEST_ADAPTERS

SERVER = b"openclaw"

_HELD = (
    "requestHeaders",
    "responseHeaders",
    "received_cookies",
    "cookies",
    "args",
    "prepath",
    "postpath",
    "admission",
    "client",
    "host",
    "transport",
    REQUEST_ADAPTERS,
)


class Connection(Protocol):
    """What a request needs of its connection: L{openclaw.http.connection.channel.GatewayChannel}."""

    @property
    def clock(self) -> Clock:
        """Times everything."""

    @property
    def is_refused(self) -> bool:
        """Whether a refusal has been answered; nothing that comes is of use any more."""

    def refuse(self, error: OpenClawError) -> None:
        """Answer with an error, and close."""

    def served(self, served: Served) -> None:
        """Tell of a request that is over."""

    def give_up_transport(self) -> None:
        """Another protocol is about to take the connection over."""

    def forceAbortClient(self) -> None:
        """Cut the connection."""


class GatewayRequest(Request):
    """
    A request whose head was admitted by the gate.

    @ivar admission: what the gate decided.
    @ivar request_id: the caller's or a new one; every answer carries it.
    @ivar received_s: when the request was complete, on the reactor's clock.
    @ivar began_s: when its headers were complete, on the same clock.
    @ivar sent_s: when anything of a stream was last written, on the same clock; 0 before that.
    @ivar produced_output: whether the run behind it had told anything before it failed.
    @ivar delivery: what is to learn whether the answer has reached its client.
    """

    channel: Connection  # type: ignore[assignment]
    defaultContentType = None
    admission: Admission
    request_id: str = ""
    received_s: float = 0.0
    began_s: float = 0.0
    sent_s: float = 0.0
    produced_output: bool = False
    delivery: Delivery | None = None
    content: io.BytesIO

    def gotLength(self, length: int | None) -> None:
        """Prepare for the body: one buffer, so that a body of many small chunks costs no more than its bytes."""
        self.content = io.BytesIO()
        self.began_s = self.channel.clock.seconds()

    def handleContentChunk(self, data: bytes) -> None:
        """Take a piece of the body; too large a body is refused as soon as that is known."""
        if self.channel.is_refused:
            return
        if self.content.tell() + len(data) > self.admission.max_body_bytes:
            self.content = io.BytesIO()
            self.channel.refuse(too_large(self.admission.max_body_bytes))
        else:
            self.content.write(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """The request is complete: render it.  Neither forms nor query strings are parsed."""
        self.content.seek(0)
        self.args = {}
        self.method, self.clientproto = command, version
        self.path, question_mark, query = path.partition(b"?")
        self.path = fold_slashes(self.path)
        self.uri = self.path + question_mark + query
        self.received_s = self.channel.clock.seconds()
        self.process()

    def take_body(self) -> bytes:
        """The whole body, once: it may be large, and a run long."""
        content, self.content = self.content, io.BytesIO()
        return content.getvalue()

    def served(self, status: int) -> Served:
        """What is told of this request at its end."""
        run_id = self.responseHeaders.getRawHeaders(b"X-OpenClaw-Run-Id")
        return Served(
            self.method,
            self.path,
            status,
            self.channel.clock.seconds() - self.received_s,
            self.request_id,
            run_id[0].decode() if run_id else "",
        )

    def forget(self) -> None:
        """
        Let go of what is of no use once the answer is out.

        Klein leaves a function that refers to itself and to the request, so that only the garbage collector finds
        the two; what else the request has need not wait for that.
        """
        for name in _HELD:
            vars(self).pop(name, None)

    def connectionLost(self, reason: Failure) -> None:
        if self.received_s and not self.finished and not self.channel.is_refused:
            self.channel.served(self.served(CLIENT_LEFT))
        super().connectionLost(reason)

    def render(self, resrc: IResource) -> None:
        self.setHeader(b"Server", SERVER)
        super().render(resrc)
