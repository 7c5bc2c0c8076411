"""
All connections of a gateway: what they have in common, and who makes them.

The factory counts those that have not connected yet, tells all who are connected what happens, and closes those whose
credential is not good any more.
"""

from __future__ import annotations

import os
import uuid
from collections import deque
from collections.abc import Callable
from typing import Any

# As in openclaw.ws.connection: whichever of the two is imported first decides.
os.environ.setdefault("AUTOBAHN_USE_NVX", "0")

import attrs
from autobahn.twisted.resource import WebSocketResource
from autobahn.twisted.websocket import WebSocketServerFactory
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.web.resource import IResource

from openclaw._version import __version__
from openclaw.auth.head import RequestHead
from openclaw.auth.policy import AccessPolicy
from openclaw.events import EventBus
from openclaw.methods.table import MethodTable
from openclaw.ws.broadcast import Broadcaster
from openclaw.ws.connection import GatewayWebSocket
from openclaw.ws.dispatch import CountCall, count_nothing
from openclaw.ws.handshake import CLOSE_TRY_AGAIN, Phase
from openclaw.ws.hello import Snapshot
from openclaw.ws.presence import Presence
from openclaw.ws.run_broadcast import RunBroadcast

MAX_PREAUTH_FRAME_BYTES = 65536
"""Largest frame before C{connect} succeeded, in bytes (original: the same, closes with 1009)."""

MAX_PREAUTH_CONNECTIONS = 32
"""Most connections of one client address that have not connected yet (original: the same)."""

PREAUTH_GRACE_S = 2.0
"""After what time such a connection gives way to a new one if there are too many, in seconds."""

SLICE_CLOSED = 32
"""How many connections are closed before others have their turn: about 3 ms."""

CLOSE_REPLY_DEADLINE_S = 2.0
"""How long a client may take to answer a close frame, in seconds."""

MAX_UNREAD_BYTES = 128 * 1024 * 1024
"""What may wait for all clients together that do not read, in bytes: each alone may have much of it."""

PING_INTERVAL_S = 25.0
"""How often a client is pinged, and how long it may take to answer, in seconds (original: the same)."""

PRESENCE_INTERVAL_S = 0.25
"""
Shortest pause between two tellings of who is there, in seconds.

Each goes to everybody and names everybody: told at once, a thousand who come back together would be told a million
times.
"""

CLOSE_RESTART = 1012

CLOSE_AUTH_CHANGED = 4001
"""The credential that let a client in is not good any more (original: the same)."""


@attrs.frozen
class Surface:
    """
    What the connections of a gateway have in common, given by L{openclaw.service.compose}.

    @ivar policy: decides who may connect.
    @ivar methods: what may be called.
    @ivar bus: tells what runs do.
    @ivar snapshot: tells how things stand.
    @ivar presence: who is there; the method C{system-presence} tells it, too.
    @ivar phase: the gateway's phase of life; a client is let in only while it is C{started}.
    @ivar count: told the name of each method that was called, and whether it did what was asked.
    """

    policy: AccessPolicy
    methods: MethodTable
    bus: EventBus
    snapshot: Snapshot
    presence: Presence
    phase: Callable[[], Phase]
    count: CountCall = count_nothing


class _Timer:
    """Autobahn's deadlines on the reactor that was injected; its own are on the global one."""

    def __init__(self, clock: IReactorTime) -> None:
        self.call_later = clock.callLater


def _new_id() -> str:
    return str(uuid.uuid4())


_BREAKS_LINES = bytes.maketrans(b"\x0b\x0c\x1c\x1d\x1e\x85", b" " * 6)
"""What ends a line for C{str.splitlines}, and not for HTTP."""


class _Upgrades(WebSocketResource):
    """Hands upgrades to Autobahn, which reads their headers anew, and by other rules."""

    def render(self, request: Any) -> Any:
        """Take care that what was one header stays one: nobody may forge those that a proxy adds."""
        headers = request.requestHeaders
        for name, values in list(headers.getAllRawHeaders()):
            headers.setRawHeaders(name, [value.translate(_BREAKS_LINES) for value in values])
        return super().render(request)


class GatewayWebSocketFactory(WebSocketServerFactory):
    """
    Makes the connections.

    @ivar clock: times everything.
    @ivar surface: what the connections serve.
    @ivar open_connections: the connections whose upgrade is done.
    @ivar broadcaster: tells events to all clients that may see them.
    @ivar new_id: makes the ids of connections, and nonces: nobody may be able to guess the next one.
    """

    protocol = GatewayWebSocket  # type: ignore[assignment]

    def __init__(self, reactor: IReactorTime, surface: Surface, *, new_id: Callable[[], str] = _new_id) -> None:
        super().__init__(reactor=reactor, server=f"openclaw/{__version__}")
        self.clock = reactor
        self.surface = surface
        self.open_connections: set[GatewayWebSocket] = set()
        self.new_id = new_id
        self.broadcaster = Broadcaster(reactor, surface.snapshot.health, self._listen_to_runs)
        self._run_broadcast = RunBroadcast(surface.bus, reactor, self.broadcaster.publish)
        # When they came, those of each client in that order.
        self._preauth: dict[str, dict[GatewayWebSocket, float]] = {}
        self._unread_bytes = 0
        self._presence_pause: IDelayedCall | None = None
        self._presence_changed = False
        self._is_stopping = False
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
            autoPingInterval=PING_INTERVAL_S,
            autoPingTimeout=PING_INTERVAL_S,
            # Autobahn does both a byte at a time: seconds for a large frame.
            applyMask=False,
            utf8validateIncoming=False,
        )

    def as_resource(self) -> IResource:
        """What an HTTP server hands upgrades to."""
        resource: IResource = _Upgrades(self)
        return resource

    def bucket_of(self, head: RequestHead) -> str:
        """What the limit on connections counts a client under."""
        return self.surface.policy.client_of(head).bucket

    def count_in(self, bucket: str, connection: GatewayWebSocket) -> bool:
        """
        Count a connection whose client has not connected yet.

        If its client has too many of them the oldest one is closed, unless that came just now: whoever only holds
        connections, as a web page can, must not keep the programs of the same address out.

        @return: false if there was no room; then it was not counted.
        """
        waiting = self._preauth.get(bucket, {})
        now_s = self.clock.seconds()
        if len(waiting) >= MAX_PREAUTH_CONNECTIONS:
            oldest, since_s = next(iter(waiting.items()))
            if 0 <= now_s - since_s < PREAUTH_GRACE_S:
                return False
            oldest.close(CLOSE_TRY_AGAIN, "too many connections that have not connected yet")
        self._preauth.setdefault(bucket, {})[connection] = now_s
        return True

    def count_out(self, bucket: str, connection: GatewayWebSocket) -> None:
        """That connection is connected, or gone."""
        waiting = self._preauth[bucket]
        del waiting[connection]
        if not waiting:
            del self._preauth[bucket]

    def count_unread(self, size_bytes: int) -> None:
        """
        Count what waits for clients that do not read; over L{MAX_UNREAD_BYTES} the one with the most is closed.

        @param size_bytes: what waits now beyond what waited; negative for what waits no longer.
        """
        self._unread_bytes += size_bytes
        if self._unread_bytes > MAX_UNREAD_BYTES:
            # One is enough: it has at least what was added just now.
            max(self.open_connections, key=lambda connection: connection.unread_bytes).close_slow()

    def depart(self, connection: GatewayWebSocket) -> None:
        """A client that was let in has gone."""
        self.broadcaster.leave(connection)
        if self.surface.presence.leave(connection.id):
            self.tell_presence()

    def tell_presence(self) -> None:
        """Tell everybody who is there now; a little later if they were told just now, and not while all leave."""
        if self._is_stopping:
            return
        if self._presence_pause is not None:
            self._presence_changed = True
            return
        self._presence_pause = self.clock.callLater(PRESENCE_INTERVAL_S, self._presence_may_be_told)
        presence = self.surface.presence
        version = {"presence": presence.version, "health": self.broadcaster.health_version}
        payload = {"presence": presence.entries()}
        self.broadcaster.publish("presence", payload, droppable=True, state_version=version)

    def _presence_may_be_told(self) -> None:
        self._presence_pause = None
        if self._presence_changed:
            self._presence_changed = False
            self.tell_presence()

    def _listen_to_runs(self, wanted: bool) -> None:
        self._run_broadcast.listen(wanted)

    def check_credentials(self) -> None:
        """Another configuration applies: close the connections of clients that its credential would not let in."""
        good = self.surface.policy.credential
        stale = [connection for connection in self.open_connections if connection.credential not in (None, good)]
        self._close(deque(stale), CLOSE_AUTH_CHANGED, "gateway auth changed")

    def close_all(self) -> None:
        """Tell every client that the gateway stops; one that does not answer is dropped after a moment."""
        self._is_stopping = True
        pause, self._presence_pause = self._presence_pause, None
        if pause is not None:
            pause.cancel()
        self.broadcaster.publish("shutdown", {"reason": "gateway stopping"})
        self._close_told()

    def _close_told(self) -> None:
        """Close all connections once their clients were told everything, a few at a time as ever."""
        if self.broadcaster.is_behind:
            self.clock.callLater(0, self._close_told)
        else:
            self._close(deque(self.open_connections), CLOSE_RESTART, "service restart")

    def _close(self, connections: deque[GatewayWebSocket], code: int, reason: str) -> None:
        """Close connections; others have their turn while there are many."""
        for _ in range(min(len(connections), SLICE_CLOSED)):
            connections.popleft().close(code, reason)
        if connections:
            self.clock.callLater(0, self._close, connections, code, reason)
