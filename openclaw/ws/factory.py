"""Who makes the connections: Autobahn's factory, and the resource that upgrades are handed to."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.web.resource import IResource, Resource

from openclaw._version import __version__
from openclaw.autobahn_internals import ServerSocketFactory, resource_of
from openclaw.ws.connection import GatewayWebSocket
from openclaw.ws.crowd import Crowd

MAX_PREAUTH_FRAME_BYTES = 65536
"""Largest frame before C{connect} succeeded, in bytes (original: the same, closes with 1009)."""

CLOSE_REPLY_DEADLINE_S = 2.0
"""How long a client may take to answer a close frame, in seconds."""

PING_INTERVAL_S = 25.0
"""How often a client is pinged, and how long it may take to answer, in seconds (original: the same)."""


_BREAKS_LINES = bytes.maketrans(b"\x0b\x0c\x1c\x1d\x1e\x85", b" " * 6)
"""What ends a line for C{str.splitlines}, and not for HTTP."""


class _Upgrades(Resource):
    """Hands upgrades to a factory."""

    isLeaf = True

    def __init__(self, factory: GatewayWebSocketFactory) -> None:
        super().__init__()
        self._resource = resource_of(factory)

    def render(self, request: Any) -> Any:
        """Take care that what was one header stays one: nobody may forge those that a proxy adds."""
        headers = request.requestHeaders
        for name, values in list(headers.getAllRawHeaders()):
            headers.setRawHeaders(name, [value.translate(_BREAKS_LINES) for value in values])
        return self._resource.render(request)


class GatewayWebSocketFactory(ServerSocketFactory):
    """Makes the connections of a crowd."""

    protocol = GatewayWebSocket

    def __init__(self, reactor: IReactorTime, crowd: Crowd) -> None:
        super().__init__(reactor, f"openclaw/{__version__}")
        self._crowd = crowd
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

    def buildProtocol(self, addr: IAddress | None) -> GatewayWebSocket:
        """Make one."""
        connection: Any = super().buildProtocol(addr)
        connection.crowd, connection.clock = self._crowd, self._crowd.clock
        return cast(GatewayWebSocket, connection)


def websocket_resource(reactor: IReactorTime, crowd: Crowd) -> IResource:
    """What an HTTP server hands upgrades to; whoever comes is one of the crowd."""
    factory = GatewayWebSocketFactory(reactor, crowd)
    factory.startFactory()
    return _Upgrades(factory)
