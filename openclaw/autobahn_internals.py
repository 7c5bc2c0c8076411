"""
What is known of the inside of Autobahn, and done better than it does it: all in this one place.

Nothing else imports the library.  Its accelerated masking costs 60 ms of start, and is off: what it is good for is done
here by one operation on large integers.  C{test/test_autobahn_internals.py} fails when a name is gone that is leant on
here; C{setup.py} bounds the versions.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

# Read when Autobahn is imported.
os.environ.setdefault("AUTOBAHN_USE_NVX", "0")

from autobahn.twisted.websocket import (
    WebSocketClientFactory,
    WebSocketClientProtocol,
    WebSocketServerFactory,
    WebSocketServerProtocol,
)
from autobahn.websocket.types import ConnectionDeny
from twisted.internet.interfaces import IDelayedCall

from openclaw.interfaces import Clock

if TYPE_CHECKING:
    from twisted.web.resource import IResource

STEPS_AT_ONCE = 200
"""How many heads and payloads of frames are looked at in one turn: those of 100 small frames, 1 to 5 ms."""

MAX_CONTROL_BYTES = 125
"""Longest payload of a ping, a pong or a close frame (RFC 6455, 5.5)."""

SERVICE_UNAVAILABLE = 503

_FIRST_CONTROL = 8
"""The first opcode of a control frame (RFC 6455, 5.2)."""

_WHOLE_TEXT = 0x81
"""The first byte of a text frame that is not fragmented (RFC 6455, 5.2)."""


def unmask(data: bytes, mask: bytes, offset: int) -> bytes:
    """
    Take the mask off a part of a frame's payload (RFC 6455, 5.3), in one operation for all of its bytes.

    @param mask: the frame's four bytes.
    @param offset: where in the payload the part begins.
    """
    size = len(data)
    turn = offset % 4
    repeated = ((mask[turn:] + mask[:turn]) * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "little") ^ int.from_bytes(repeated, "little")).to_bytes(size, "little")


def frame_head(size_bytes: int) -> bytes:
    """What stands before the payload of a text frame; a server masks nothing (RFC 6455, 5.2)."""
    if size_bytes < 126:
        return bytes((_WHOLE_TEXT, size_bytes))
    if size_bytes < 65536:
        return struct.pack("!BBH", _WHOLE_TEXT, 126, size_bytes)
    return struct.pack("!BBQ", _WHOLE_TEXT, 127, size_bytes)


class _Timer:
    """Autobahn's deadlines on the reactor that was injected; its own are on the global one."""

    def __init__(self, clock: Clock) -> None:
        self.call_later = clock.callLater


def refuse_for_now(reason: str) -> Exception:
    """What C{onConnect} raises to refuse an upgrade with L{SERVICE_UNAVAILABLE}."""
    refusal: Exception = ConnectionDeny(SERVICE_UNAVAILABLE, reason)
    return refusal


class ServerSocket(WebSocketServerProtocol):
    """A server's end, in which no client can hold the reactor, or have more kept than it should."""

    clock: Clock
    transport: Any
    _unmasked_bytes: int = 0
    _next_look: IDelayedCall | None = None

    @property
    def is_live(self) -> bool:
        """Whether messages can be sent, and those that come are of interest."""
        is_live: bool = self.state == self.STATE_OPEN
        return is_live

    @property
    def upgrade_headers(self) -> Mapping[str, str]:
        """The headers of the upgrade, their names in lower case."""
        headers: Mapping[str, str] = self.http_headers
        return headers

    def frame_begins(self) -> None:
        """A frame of any kind has begun to come."""

    def limit_frames(self, max_bytes: int) -> None:
        """From now on a message may have so many bytes."""
        # There is a copy of the factory's options in each connection.
        self.maxFramePayloadSize = self.maxMessagePayloadSize = max_bytes

    def send_text(self, data: bytes) -> None:
        """Send a message; it has to be open.  The library's own way takes ten times as long."""
        self.transport.writeSequence((frame_head(len(data)), data))

    def send_close(self, code: int, reason: bytes) -> None:
        """Begin to close, with any code that a server may send; C{sendClose} takes those of applications only."""
        self.sendCloseFrame(code=code, reasonUtf8=reason)

    def refusal(self, code: int, reason: str, headers: list[tuple[str, str]]) -> bytes:
        """The whole answer that refuses an upgrade."""
        raise NotImplementedError

    def sendHttpErrorResponse(self, code: int, reason: str, responseHeaders: Any = None) -> None:
        """Refuse an upgrade; the library's own answer has no body and no length."""
        self.sendData(self.refusal(code, reason, list(responseHeaders or ())))

    def begin_producing(self) -> None:
        """Be told when the client does not read: until now Twisted's HTTP channel is."""
        self.transport.unregisterProducer()
        self.transport.registerProducer(self, True)

    # ------------------------------------------------------------------------------------ what comes in

    @property
    def _mask(self) -> bytes:
        """That of the present frame.  One without has broken the protocol and is read to its end, but not looked at."""
        mask: Any = self.current_frame.mask
        return bytes(mask) if mask else b"\0\0\0\0"

    def consumeData(self) -> None:
        """Look at the frames that have come; if they are many, at some of them, and nothing more is read meanwhile."""
        if self.state not in (self.STATE_OPEN, self.STATE_CLOSING):
            super().consumeData()
            return
        if self._next_look is not None:
            # TLS may hand over one more piece of what it had read.
            return
        for _ in range(STEPS_AT_ONCE):
            if not self.processData() or self.state == self.STATE_CLOSED:
                return
        self.transport.pauseProducing()
        self._next_look = self.clock.callLater(0, self._look_on)

    def _look_on(self) -> None:
        self._next_look = None
        self.consumeData()
        if self._next_look is None and self.state != self.STATE_CLOSED:
            self.transport.resumeProducing()

    def onMessageFrameBegin(self, length: int) -> None:
        self._unmasked_bytes = 0
        self.frame_begins()
        super().onMessageFrameBegin(length)

    def onMessageFrameData(self, payload: bytes) -> None:
        """
        Put a message together while it comes: its pieces, of which Autobahn makes a list, may be tiny and many.

        What comes once the connection is closing is passed over.
        """
        if self.state != self.STATE_OPEN:
            return
        plain = unmask(payload, self._mask, self._unmasked_bytes)
        self._unmasked_bytes += len(payload)
        if not self.message_data:
            self.message_data.append(bytearray())  # type: ignore[arg-type]
        self.message_data[0] += plain

    def onFrameData(self, payload: bytes) -> bool | None:
        """Pass over a control frame that is too long, for which the connection is closing: Autobahn would keep it."""
        frame: Any = self.current_frame
        if frame.opcode >= _FIRST_CONTROL and frame.length > MAX_CONTROL_BYTES:
            return None
        result: bool | None = super().onFrameData(payload)
        return result

    def processControlFrame(self) -> Any:
        self.frame_begins()
        payload = b"".join(self.control_frame_data)
        if payload:
            self.control_frame_data = [unmask(payload, self._mask, 0)]
        return super().processControlFrame()

    def stop_looking(self) -> None:
        """Look at no more of what has come."""
        if self._next_look is not None and self._next_look.active():
            self._next_look.cancel()

    # ------------------------------------------------------------------------------------ the end

    def drop(self) -> None:
        """Close the connection when what was sent is out, without looking at what comes until then."""
        self.dropConnection(abort=False)

    def dropConnection(self, abort: bool = False) -> None:
        was_closed = self.state == self.STATE_CLOSED
        super().dropConnection(abort)
        self.dropped(is_lingering=not abort and not was_closed)

    def dropped(self, *, is_lingering: bool) -> None:
        """The connection is given up; if it is lingering it is open until its client has read what was sent."""


class ServerSocketFactory(WebSocketServerFactory):
    """Makes server's ends; whatever takes time goes by the clock that is given."""

    def __init__(self, clock: Any, server: str) -> None:
        super().__init__(reactor=clock, server=server)
        self._batched_timer = _Timer(clock)


def resource_of(factory: ServerSocketFactory) -> IResource:
    """What turns a request of an HTTP server into a WebSocket; it reads the headers anew, and by other rules."""
    # A client has no use for a web server, and all of it would be loaded.
    from autobahn.twisted.resource import WebSocketResource

    resource: IResource = WebSocketResource(factory)
    return resource


class ClientSocket(WebSocketClientProtocol):
    """A client's end; C{refusal} is why the upgrade was refused, in the library's words."""

    refusal: str | None = None

    def failHandshake(self, reason: str) -> None:
        self.refusal = reason
        super().failHandshake(reason)


class ClientSocketFactory(WebSocketClientFactory):
    """Makes client's ends; whatever takes time goes by the clock that is given."""

    def __init__(self, clock: Any, url: str, useragent: str, headers: Mapping[str, str]) -> None:
        super().__init__(url, useragent=useragent, headers=headers, reactor=clock)
        self._batched_timer = _Timer(clock)
