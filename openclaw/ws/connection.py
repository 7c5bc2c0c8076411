"""
A WebSocket connection: from the upgrade to the close frame.

The server speaks first: a challenge goes out with the upgrade.  Until a client has connected (L{openclaw.ws.handshake})
it may send little and has not long; then its requests are served (L{openclaw.ws.dispatch}) and it is told what happens
(L{openclaw.ws.broadcast}).
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.web.http_headers import Headers

from openclaw.auth.connect import ConnectAdmission, ConnectClaim, ConnectRefusal
from openclaw.auth.head import ANSWER_HEADERS, RequestHead
from openclaw.auth.policy import Credential
from openclaw.autobahn_internals import SERVICE_UNAVAILABLE, ServerSocket, refuse_for_now
from openclaw.waits import now_ms
from openclaw.wire import MAX_PAYLOAD_BYTES
from openclaw.ws.crowd import Crowd
from openclaw.ws.dispatch import Calls
from openclaw.ws.frames import EventFrame, close_reason, event_frame, result_frame
from openclaw.ws.handshake import CLOSE_NORMAL, CLOSE_POLICY, Admitted, Handshake, begin
from openclaw.ws.hello import MAX_BUFFERED_BYTES, hello_ok

HANDSHAKE_DEADLINE_S = 15.0
"""From the upgrade to a successful C{connect}, in seconds."""

MAX_EARLY_FRAMES = 100
"""Frames of any kind, pings too, that are looked at while nobody is let in: before C{connect} and after the close."""

CUT_AFTER_S = 2.0
"""How long a client may take to read the last of what it was sent once nothing more is to come, in seconds."""

MAX_STALE_BYTES = 1024 * 1024
"""What may wait for a client that does not read, in bytes, before droppable events are left out."""

CLOSE_UNSUPPORTED_DATA = 1003
CLOSE_NOT_TEXT = 1007
CLOSE_INTERNAL = 1011

UPGRADE_REQUIRED = 426

log = Logger()


class GatewayWebSocket(ServerSocket):
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
    id: str = ""
    scopes: tuple[str, ...] = ()
    credential: Credential | None = None
    unread_bytes: int = 0
    _deadline: IDelayedCall | None = None
    _head: RequestHead
    _handshake: Handshake | None = None
    _calls: Calls | None = None
    _seq: int = 0
    _paused: bool = False
    _early_frames: int = 0
    _cut: IDelayedCall | None = None

    # ------------------------------------------------------------------------------------ the upgrade

    def onConnect(self, request: Any) -> tuple[None, dict[str, str]]:
        """The upgrade is sound: agree to it, without a subprotocol."""
        self._head = self._upgrade_head(request)
        if not self.crowd.count_in(self._head, self):
            raise refuse_for_now("too many connections that have not connected yet")
        return None, self._common_headers()

    def _upgrade_head(self, request: Any) -> RequestHead:
        """What the verdict may look at; the rule about the Host was applied before the upgrade came here."""
        headers = Headers()
        for name, value in self.upgrade_headers.items():
            headers.setRawHeaders(name.encode("latin-1", "replace"), [value.encode("latin-1", "replace")])
        peer = getattr(self.transport.getPeer(), "host", None)
        return RequestHead(b"GET", request.path.encode(), headers, peer, local_tcp=False, loopback_bind=False)

    def _common_headers(self) -> dict[str, str]:
        """What every answer on this port carries; the id is the one that was decided before the upgrade."""
        common = {name.decode(): value.decode() for name, value in ANSWER_HEADERS.items()}
        return {"X-Request-Id": self.upgrade_headers["x-request-id"], **common}

    def refusal(self, code: int, reason: str, headers: list[tuple[str, str]]) -> bytes:
        """Refuse an upgrade as every other request is refused."""
        if any(name == "Sec-WebSocket-Version" for name, _ in headers):
            code = UPGRADE_REQUIRED
            headers.append(("Upgrade", "websocket"))
        error = {"message": reason, "type": "invalid_request_error", "param": None, "code": None}
        if code == SERVICE_UNAVAILABLE:
            error |= {"type": "api_error", "code": "overloaded"}
            headers.append(("Retry-After", "1"))
        body = json.dumps({"error": error}).encode() + b"\n"
        headers += (
            ("Content-Type", "application/json; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
            *self._common_headers().items(),
        )
        lines = [f"HTTP/1.1 {code} {HTTPStatus(code).phrase}", *(f"{name}: {value}" for name, value in headers)]
        return "\r\n".join((*lines, "", "")).encode() + body

    def onOpen(self) -> None:
        """The upgrade is done: challenge the client."""
        self.begin_producing()
        self.crowd.open_connections.add(self)
        self.id = self.crowd.new_id()
        clock = self.clock
        self._deadline = clock.callLater(HANDSHAKE_DEADLINE_S, self.close, CLOSE_NORMAL)
        self._handshake = begin(self, clock, self.crowd.surface.phase, self._judge)
        challenge = {"nonce": self.crowd.new_id(), "ts": now_ms(clock), "capabilities": []}
        self.send(event_frame("connect.challenge", challenge).bare())

    # ------------------------------------------------------------------------------------ what comes in

    def frame_begins(self) -> None:
        """
        End a client that floods us before it has connected or while it is closed: a small frame costs more than 10 µs.

        One that was let in may send as many as it likes: it is the operator's, and others have their turn between.
        """
        if self._calls is None:
            self._early_frames += 1
            if self._early_frames == MAX_EARLY_FRAMES:
                self.close(CLOSE_POLICY, "too many frames before connect")
                # What comes until the client answers the close would be looked at.
                self.drop()

    def onPing(self, payload: bytes) -> None:
        """Answer a ping, unless the client does not read: its answers would pile up beyond every bound."""
        if not self._paused:
            super().onPing(payload)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """A message has come."""
        if not self.is_live or self._handshake is None:
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
            self.crowd.surface.policy.rare.tell(
                log.info,
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
        crowd.count_out(self)
        self.limit_frames(MAX_PAYLOAD_BYTES)
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
        """Send JSON, unless the connection is closing; what a client does not read is kept for it, up to a bound."""
        if not self.is_live:
            return
        if self.unread_bytes + len(data) > MAX_BUFFERED_BYTES:
            self.close_slow()
            return
        self.send_text(data)
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

        @param code: any code that a server may send.
        @param reason: cut at 123 bytes.
        """
        self._retire()
        self.send_close(code, close_reason(reason))

    def dropped(self, *, is_lingering: bool) -> None:
        """The connection is given up; a client that does not read must not keep it."""
        self._retire()
        if is_lingering:
            self._cut = self.clock.callLater(CUT_AFTER_S, self.transport.abortConnection)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """The connection is gone."""
        self.crowd.open_connections.discard(self)
        self.stop_looking()
        if self._cut is not None and self._cut.active():
            self._cut.cancel()
        self._retire()

    def _retire(self) -> None:
        """End what belongs to this connection; harmless when it is done."""
        self._stop_deadline()
        self.crowd.count_out(self)
        self._forget_unread()
        if self._handshake is not None:
            self._handshake.leave()
        calls, self._calls = self._calls, None
        if calls is not None:
            calls.close()
            self.crowd.depart(self)

    def _stop_deadline(self) -> None:
        deadline, self._deadline = self._deadline, None
        if deadline is not None and deadline.active():
            deadline.cancel()
