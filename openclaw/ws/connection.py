"""
A WebSocket connection before its client has said who it is.

The server speaks first: a challenge goes out with the upgrade.  Until a client has connected it may send little
and has not long.  The methods behind C{connect} are not served yet, and a client is told so in the protocol's own
terms.
"""

from __future__ import annotations

import json
import os
import uuid
from http import HTTPStatus
from typing import Any

# The accelerated masking costs 60 ms of start and gains nothing at chat-sized frames.
os.environ.setdefault("AUTOBAHN_USE_NVX", "0")

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.types import ConnectionRequest
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from openclaw._version import __version__

MAX_PREAUTH_FRAME_BYTES = 65536
"""Largest frame before C{connect} succeeded, in bytes (original: the same, closes with 1009)."""

HANDSHAKE_DEADLINE_S = 15.0
"""From the upgrade to a successful C{connect}, in seconds."""

CLOSE_REPLY_DEADLINE_S = 2.0
"""How long a client may take to answer a close frame, in seconds."""

CLOSE_NORMAL = 1000
CLOSE_UNSUPPORTED_DATA = 1003
CLOSE_POLICY = 1008
CLOSE_INTERNAL = 1011
CLOSE_RESTART = 1012

UPGRADE_REQUIRED = 426

log = Logger()


class GatewayWebSocket(WebSocketServerProtocol):
    """One connection; made by L{GatewayWebSocketFactory}."""

    factory: GatewayWebSocketFactory
    transport: Any
    _deadline: IDelayedCall | None = None

    def onConnect(self, request: ConnectionRequest) -> tuple[None, dict[str, str]]:
        """The upgrade is sound: agree to it, without a subprotocol."""
        return None, self._common_headers()

    def _common_headers(self) -> dict[str, str]:
        """What every answer on this port carries; the id is the one that was decided before the upgrade."""
        return {
            "X-Request-Id": self.http_headers["x-request-id"],
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        }

    def onOpen(self) -> None:
        """The upgrade is done: challenge the client."""
        # Twisted's HTTP channel is still the transport's producer; without this Autobahn's own would be refused.
        self.transport.unregisterProducer()
        self.factory.open_connections.add(self)
        self._deadline = self.factory.clock.callLater(HANDSHAKE_DEADLINE_S, self._handshake_is_late)
        now_ms = int(self.factory.clock.seconds() * 1000)
        challenge = {"nonce": str(uuid.uuid4()), "ts": now_ms, "capabilities": []}
        self._tell({"type": "event", "event": "connect.challenge", "payload": challenge})

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """A frame: only a request can be answered."""
        if self.state != self.STATE_OPEN:
            # It came with one that made us close.
            return
        try:
            self._take(payload, isBinary)
        except Exception:  # noqa: BLE001 -- Autobahn would drop the connection without a word
            log.failure("a WebSocket frame was not served because of a bug")
            self.close(CLOSE_INTERNAL, "internal error")

    def _take(self, payload: bytes, is_binary: bool) -> None:
        if is_binary:
            self.close(CLOSE_UNSUPPORTED_DATA, "text frames only")
            return
        try:
            frame = json.loads(payload)
            request_id = frame["id"]
            if frame["type"] != "req" or not isinstance(request_id, str):
                raise ValueError
        except (ValueError, KeyError, TypeError, RecursionError):
            self.close(CLOSE_POLICY, "invalid request frame")
            return
        error = {"code": "UNAVAILABLE", "message": "this gateway does not serve WebSocket methods yet"}
        self._tell({"type": "res", "id": request_id, "ok": False, "error": error})
        self.close(CLOSE_POLICY, "not available yet")

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """The connection is gone."""
        self.factory.open_connections.discard(self)
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None

    def _handshake_is_late(self) -> None:
        self._deadline = None
        self.close(CLOSE_NORMAL)

    def close(self, code: int, reason: str = "") -> None:
        """
        Close the connection; harmless when it is closing already.

        @param code: any code that a server may send.  Autobahn's own C{sendClose} takes those of applications only.
        @param reason: at most 123 bytes.
        """
        self.sendCloseFrame(code=code, reasonUtf8=reason.encode())

    def sendHttpErrorResponse(self, code: int, reason: str, responseHeaders: Any = None) -> None:
        """Refuse an upgrade as every other request is refused: Autobahn's own answer has no body and no length."""
        headers = list(responseHeaders or ())
        if any(name == "Sec-WebSocket-Version" for name, _ in headers):
            code = UPGRADE_REQUIRED
            headers.append(("Upgrade", "websocket"))
        error = {"message": reason, "type": "invalid_request_error", "param": None, "code": None}
        body = json.dumps({"error": error}).encode() + b"\n"
        headers += (
            ("Content-Type", "application/json; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
            *self._common_headers().items(),
        )
        lines = [f"HTTP/1.1 {code} {HTTPStatus(code).phrase}", *(f"{name}: {value}" for name, value in headers)]
        self.sendData("\r\n".join((*lines, "", "")).encode() + body)

    def _tell(self, frame: dict[str, Any]) -> None:
        self.sendMessage(json.dumps(frame, separators=(",", ":")).encode())


class _Timer:
    """Autobahn's deadlines on the reactor that was injected; its own are on the global one."""

    def __init__(self, clock: IReactorTime) -> None:
        self.call_later = clock.callLater


class GatewayWebSocketFactory(WebSocketServerFactory):
    """
    Makes the connections.

    @ivar clock: times the handshake.
    @ivar open_connections: the connections whose upgrade is done.
    """

    protocol = GatewayWebSocket  # type: ignore[assignment]

    def __init__(self, reactor: IReactorTime) -> None:
        super().__init__(reactor=reactor, server=f"openclaw/{__version__}")
        self.clock = reactor
        self.open_connections: set[GatewayWebSocket] = set()
        self._batched_timer = _Timer(reactor)
        # Autobahn judges no origin here: whoever comes from a foreign one learns why at connect.
        # allowNullOrigin must be passed each time, every call of setProtocolOptions resets it.
        self.setProtocolOptions(
            allowedOrigins=["*"],
            allowNullOrigin=True,
            maxFramePayloadSize=MAX_PREAUTH_FRAME_BYTES,
            maxMessagePayloadSize=MAX_PREAUTH_FRAME_BYTES,
            openHandshakeTimeout=5,
            # A client is told by a close code what it did wrong.
            failByDrop=False,
            closeHandshakeTimeout=CLOSE_REPLY_DEADLINE_S,
            perMessageCompressionAccept=lambda offers: None,
        )

    def close_all(self) -> None:
        """Tell every client that the gateway stops; one that does not answer is dropped after a moment."""
        for connection in list(self.open_connections):
            connection.close(CLOSE_RESTART, "service restart")
