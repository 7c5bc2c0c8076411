"""
A WebSocket connection: from the upgrade to the close frame.

The server speaks first: a challenge goes out with the upgrade.  Until a client has connected (L{openclaw.ws.handshake})
it may send little and has not long; then its requests are served (L{openclaw.ws.dispatch}) and it is told what happens
(L{openclaw.ws.broadcast}).
"""

from __future__ import annotations

import json
import os
import struct
from http import HTTPStatus
from typing import Any

# The accelerated masking costs 60 ms of start; what it is good for is done here by one operation on large integers.
os.environ.setdefault("AUTOBAHN_USE_NVX", "0")

from autobahn.twisted.websocket import WebSocketServerProtocol
from autobahn.websocket.types import ConnectionDeny, ConnectionRequest
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.web.http_headers import Headers

from openclaw.auth.answer_headers import ANSWER_HEADERS
from openclaw.auth.connect import ConnectAdmission, ConnectClaim, ConnectRefusal
from openclaw.auth.head import RequestHead
from openclaw.auth.policy import Credential
from openclaw.ws.crowd import Crowd
from openclaw.ws.dispatch import Calls
from openclaw.ws.frames import MAX_PAYLOAD_BYTES, EventFrame, close_reason, event_frame, result_frame
from openclaw.ws.handshake import CLOSE_NORMAL, CLOSE_POLICY, Admitted, Handshake
from openclaw.ws.hello import MAX_BUFFERED_BYTES, hello_ok

HANDSHAKE_DEADLINE_S = 15.0
"""From the upgrade to a successful C{connect}, in seconds."""

MAX_EARLY_FRAMES = 100
"""Frames of any kind, pings too, that are looked at while nobody is let in: before C{connect} and after the close."""

STEPS_AT_ONCE = 200
"""
How many heads and payloads of frames are looked at before others have their turn: those of 100 small frames, 1 to 5 ms.
"""

MAX_CONTROL_BYTES = 125
"""Longest payload of a ping, a pong or a close frame (RFC 6455, 5.5)."""

CUT_AFTER_S = 2.0
"""How long a client may take to read the last of what it was sent once nothing more is to come, in seconds."""

MAX_STALE_BYTES = 1024 * 1024
"""What may wait for a client that does not read, in bytes, before droppable events are left out."""

CLOSE_UNSUPPORTED_DATA = 1003
CLOSE_NOT_TEXT = 1007
CLOSE_INTERNAL = 1011

UPGRADE_REQUIRED = 426

_FIRST_CONTROL = 8
"""The first opcode of a control frame (RFC 6455, 5.2)."""

_WHOLE_TEXT = 0x81
"""The first byte of a text frame that is not fragmented (RFC 6455, 5.2)."""

log = Logger()


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


class GatewayWebSocket(WebSocketServerProtocol):
    """
    One connection; made by L{openclaw.ws.factory.GatewayWebSocketFactory}.

    @ivar crowd: the others.
    @ivar id: names it in the log and to its client.
    @ivar scopes: what its client may do; nothing before it has connected.
    @ivar unread_bytes: what waits for its client since that stopped reading; nothing once the connection is closing.
    @ivar credential: what L{AccessPolicy.credential<openclaw.auth.policy.AccessPolicy.credential>} was when it was let
        in; C{None} before that.
    """

    crowd: Crowd
    transport: Any
    id: str = ""
    scopes: tuple[str, ...] = ()
    credential: Credential | None = None
    unread_bytes: int = 0
    _deadline: IDelayedCall | None = None
    _head: RequestHead
    _bucket: str | None = None
    _handshake: Handshake | None = None
    _calls: Calls | None = None
    _seq: int = 0
    _paused: bool = False
    _unmasked_bytes: int = 0
    _early_frames: int = 0
    _next_look: IDelayedCall | None = None
    _cut: IDelayedCall | None = None

    # ------------------------------------------------------------------------------------ the upgrade

    def onConnect(self, request: ConnectionRequest) -> tuple[None, dict[str, str]]:
        """The upgrade is sound: agree to it, without a subprotocol."""
        self._head = self._upgrade_head(request)
        bucket = self.crowd.bucket_of(self._head)
        if not self.crowd.count_in(bucket, self):
            raise ConnectionDeny(ConnectionDeny.SERVICE_UNAVAILABLE, "too many connections that have not connected yet")
        self._bucket = bucket
        return None, self._common_headers()

    def _upgrade_head(self, request: ConnectionRequest) -> RequestHead:
        """What the verdict may look at; the rule about the Host was applied before the upgrade came here."""
        headers = Headers()
        for name, value in self.http_headers.items():
            headers.setRawHeaders(name.encode("latin-1", "replace"), [value.encode("latin-1", "replace")])
        peer = getattr(self.transport.getPeer(), "host", None)
        return RequestHead(b"GET", request.path.encode(), headers, peer, local_tcp=False, loopback_bind=False)

    def _common_headers(self) -> dict[str, str]:
        """What every answer on this port carries; the id is the one that was decided before the upgrade."""
        common = {name.decode(): value.decode() for name, value in ANSWER_HEADERS.items()}
        return {"X-Request-Id": self.http_headers["x-request-id"], **common}

    def sendHttpErrorResponse(self, code: int, reason: str, responseHeaders: Any = None) -> None:
        """Refuse an upgrade as every other request is refused: Autobahn's own answer has no body and no length."""
        headers = list(responseHeaders or ())
        if any(name == "Sec-WebSocket-Version" for name, _ in headers):
            code = UPGRADE_REQUIRED
            headers.append(("Upgrade", "websocket"))
        full = code == ConnectionDeny.SERVICE_UNAVAILABLE
        error_type, error_code = ("api_error", "overloaded") if full else ("invalid_request_error", None)
        error = {"message": reason, "type": error_type, "param": None, "code": error_code}
        body = json.dumps({"error": error}).encode() + b"\n"
        headers += (
            *((("Retry-After", "1"),) if full else ()),
            ("Content-Type", "application/json; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
            *self._common_headers().items(),
        )
        lines = [f"HTTP/1.1 {code} {HTTPStatus(code).phrase}", *(f"{name}: {value}" for name, value in headers)]
        self.sendData("\r\n".join((*lines, "", "")).encode() + body)

    def onOpen(self) -> None:
        """The upgrade is done: challenge the client."""
        # Twisted's HTTP channel is still the transport's producer; without this Autobahn's own would be refused.
        self.transport.unregisterProducer()
        self.transport.registerProducer(self, True)
        self.crowd.open_connections.add(self)
        self.id = self.crowd.new_id()
        clock = self.crowd.clock
        self._deadline = clock.callLater(HANDSHAKE_DEADLINE_S, self._handshake_is_late)
        self._handshake = Handshake(self, clock, self.crowd.surface.phase, self._judge)
        challenge = {"nonce": self.crowd.new_id(), "ts": int(clock.seconds() * 1000), "capabilities": []}
        self.send(event_frame("connect.challenge", challenge).bare())

    # ------------------------------------------------------------------------------------ what comes in

    @property
    def _mask(self) -> bytes:
        """That of the present frame.  One without has broken the protocol and is read to its end, but not looked at."""
        mask: Any = self.current_frame.mask
        return bytes(mask) if mask else b"\0\0\0\0"

    def _count_early_frame(self) -> None:
        """
        End a client that floods us before it has connected or while it is closed: a small frame costs more than 10 µs.

        One that was let in may send as many as it likes: it is the operator's, and others have their turn between.
        """
        if self._calls is None:
            self._early_frames += 1
            if self._early_frames == MAX_EARLY_FRAMES:
                self.close(CLOSE_POLICY, "too many frames before connect")
                # Autobahn would go on to look at what comes, until the client answers the close.
                self.dropConnection(abort=False)

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
        self._next_look = self.crowd.clock.callLater(0, self._look_on)

    def _look_on(self) -> None:
        self._next_look = None
        self.consumeData()
        if self._next_look is None and self.state != self.STATE_CLOSED:
            self.transport.resumeProducing()

    def onMessageFrameBegin(self, length: int) -> None:
        self._unmasked_bytes = 0
        self._count_early_frame()
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
        self._count_early_frame()
        payload = b"".join(self.control_frame_data)
        if payload:
            self.control_frame_data = [unmask(payload, self._mask, 0)]
        return super().processControlFrame()

    def onPing(self, payload: bytes) -> None:
        """Answer a ping, unless the client does not read: its answers would pile up beyond every bound."""
        if not self._paused:
            super().onPing(payload)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """A message has come."""
        if self.state != self.STATE_OPEN or self._handshake is None:
            # It came with one that made us close.
            return
        try:
            self._take(self._handshake, payload, isBinary)
        except Exception:  # noqa: BLE001 -- Autobahn would drop the connection without a word
            log.failure("a frame on connection {id} was not served because of a bug", id=self.id)
            self.close(CLOSE_INTERNAL, "internal error")

    def _take(self, handshake: Handshake, payload: bytes, is_binary: bool) -> None:
        if is_binary:
            self.close(CLOSE_UNSUPPORTED_DATA, "text frames only")
            return
        try:
            payload.decode()
        except UnicodeDecodeError:
            self.close(CLOSE_NOT_TEXT, "text frames must be UTF-8")
        else:
            handshake.receive(payload)

    def _judge(self, claim: ConnectClaim) -> ConnectAdmission | ConnectRefusal:
        verdict = self.crowd.surface.policy.judge_connect(self._head, claim)
        if isinstance(verdict, ConnectRefusal):
            log.info(
                "refused {client} from {peer}: {why}",
                client=f"{claim.client_id}/{claim.mode}",
                peer=self._head.peer or "this machine",
                why=verdict.details.get("code"),
            )
        return verdict

    def welcome(self, admitted: Admitted) -> None:
        """The client is let in: say hello, and tell it what happens from now on."""
        surface, crowd = self.crowd.surface, self.crowd
        self._stop_deadline()
        self._count_out()
        # Autobahn keeps a copy of the factory's options in each connection.
        self.maxFramePayloadSize = self.maxMessagePayloadSize = MAX_PAYLOAD_BYTES
        admission, info = admitted.admission, admitted.params.client
        self.scopes = admission.scopes
        self.credential = surface.policy.credential
        self._calls = Calls(surface.methods, admission.caller, self.id, info.id, self.send, surface.count)
        changed = surface.presence.arrive(self.id, info, self.scopes, has_device=bool(admitted.params.device))
        version = crowd.broadcaster.health_version
        hello = hello_ok(admission, self.id, surface.methods, surface.snapshot, surface.presence, version)
        self.send(result_frame(admitted.request_id, hello))
        crowd.broadcaster.join(self)
        if changed:
            crowd.tell_presence()
        log.debug(
            "{client} connected as {id} with {scopes}",
            client=f"{info.id}/{info.mode}",
            id=self.id,
            scopes=" ".join(self.scopes) or "no scopes",
        )

    def serve(self, data: bytes) -> None:
        """A frame of a client that was let in."""
        assert self._calls is not None  # the handshake serves nobody else
        self._calls.take(data)

    # ------------------------------------------------------------------------------------ what goes out

    def send(self, data: bytes) -> None:
        """
        Send a frame; one that a client does not read is kept for it, up to a bound.

        @param data: JSON.  Nothing is sent on a connection that is closing.
        """
        if self.state != self.STATE_OPEN:
            return
        if self.unread_bytes + len(data) > MAX_BUFFERED_BYTES:
            self.close_slow()
            return
        # Autobahn's own way takes ten times as long, which counts where an event goes to a thousand clients.
        self.transport.writeSequence((frame_head(len(data)), data))
        if self._paused:
            self.unread_bytes += len(data)
            self.crowd.count_unread(len(data))

    def close_slow(self) -> None:
        """Close the connection because too much waits for its client."""
        log.warn("closing {id}: it does not read what it is sent", id=self.id)
        self.close(CLOSE_POLICY, "slow consumer")

    def tell(self, frame: EventFrame) -> None:
        """Send an event under this connection's next number; a droppable one is left out if there is no room."""
        self._seq += 1
        data = frame.numbered(self._seq)
        full = self.unread_bytes > MAX_STALE_BYTES or self.unread_bytes + len(data) > MAX_BUFFERED_BYTES
        if frame.droppable and full:
            return
        self.send(data)

    def pauseProducing(self) -> None:
        """The client does not read: count what waits for it from now on."""
        self._paused = True

    def resumeProducing(self) -> None:
        """The client has read everything."""
        self._paused = False
        self._forget_unread()

    def _forget_unread(self) -> None:
        unread_bytes, self.unread_bytes = self.unread_bytes, 0
        self.crowd.count_unread(-unread_bytes)

    def stopProducing(self) -> None:
        """The transport is gone, which L{onClose} tells, too."""

    # ------------------------------------------------------------------------------------ the end

    def close(self, code: int, reason: str = "") -> None:
        """
        Close the connection; harmless when it is closing already.  What is under way for its client is cancelled.

        @param code: any code that a server may send.  Autobahn's own C{sendClose} takes those of applications only.
        @param reason: cut at 123 bytes.
        """
        self._retire()
        self.sendCloseFrame(code=code, reasonUtf8=close_reason(reason))

    def dropConnection(self, abort: bool = False) -> None:
        """
        Close the connection at once, or when what was sent is out; a client that does not read must not keep it.
        """
        was_closed = self.state == self.STATE_CLOSED
        super().dropConnection(abort)
        self._retire()
        if not abort and not was_closed:
            self._cut = self.crowd.clock.callLater(CUT_AFTER_S, self.transport.abortConnection)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """The connection is gone."""
        self.crowd.open_connections.discard(self)
        for call in (self._next_look, self._cut):
            if call is not None and call.active():
                call.cancel()
        self._retire()

    def _retire(self) -> None:
        """End what belongs to this connection; harmless when it is done."""
        self._stop_deadline()
        self._count_out()
        self._forget_unread()
        if self._handshake is not None:
            self._handshake.leave()
        calls, self._calls = self._calls, None
        if calls is not None:
            calls.close()
            self.crowd.depart(self)

    def _count_out(self) -> None:
        bucket, self._bucket = self._bucket, None
        if bucket is not None:
            self.crowd.count_out(bucket, self)

    def _stop_deadline(self) -> None:
        deadline, self._deadline = self._deadline, None
        if deadline is not None and deadline.active():
            deadline.cancel()

    def _handshake_is_late(self) -> None:
        self.close(CLOSE_NORMAL)
