"""WebSocket clients of a gateway in memory: raw frames in, raw frames out."""

from __future__ import annotations

import itertools
import json
import struct
from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.web.static import Data

from openclaw.auth.policy import AccessPolicy
from openclaw.errors import InvalidRequest
from openclaw.events import EventBus
from openclaw.http.connection.channel import GatewaySite
from openclaw.http.gate import Gate
from openclaw.http.root import Root
from openclaw.methods.table import Call, Method, MethodTable, NoParams, Params
from openclaw.ws.crowd import Crowd, Surface
from openclaw.ws.factory import CLOSE_REPLY_DEADLINE_S, websocket_resource
from openclaw.ws.presence import Presence
from test.gateway import MemoryTestCase
from test.http.support import TOKEN, Client, make_config, routes_of_nothing

KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def frame(
    payload: bytes, opcode: int = 1, *, fin: bool = True, masked: bool = True, mask: bytes = b"\0\0\0\0"
) -> bytes:
    """A client's frame; its mask is all zeros unless one is given."""
    first = bytes([(0x80 if fin else 0) | opcode])
    mask_bit = 0x80 if masked else 0
    length = len(payload)
    if length < 126:
        size = bytes([mask_bit | length])
    elif length < 65536:
        size = bytes([mask_bit | 126]) + struct.pack("!H", length)
    else:
        size = bytes([mask_bit | 127]) + struct.pack("!Q", length)
    if not masked:
        return first + size + payload
    return first + size + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


def connect_params(client: str = "gateway-client", mode: str = "backend", **members: Any) -> dict[str, Any]:
    """
    The parameters of a C{connect} that is let in with all scopes.

    @param members: replace those of the same name; C{None} leaves one out.
    """
    params = {
        "minProtocol": 4,
        "maxProtocol": 4,
        "client": {"id": client, "version": "2026.9.6", "platform": "linux", "mode": mode},
        "caps": [],
        "auth": {"token": TOKEN},
        "role": "operator",
        "scopes": ["operator.admin"],
    } | members
    return {name: value for name, value in params.items() if value is not None}


class Peer:
    """A WebSocket client."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.frames: list[tuple[int, bytes]] = []
        self._ids = itertools.count(1)

    def upgrade(
        self, *headers: str, path: str = "/", version: str = "13", key: str = KEY, host: str = "127.0.0.1"
    ) -> None:
        self.client.request(
            "GET",
            path,
            "Upgrade: websocket",
            "Connection: keep-alive, Upgrade",
            f"Sec-WebSocket-Version: {version}",
            f"Sec-WebSocket-Key: {key}",
            *headers,
            host=host,
        )

    def read(self) -> None:
        """Take all frames that were sent."""
        head, separator, data = self.client.output.partition(b"\r\n\r\n")
        assert separator and head.startswith(b"HTTP/1.1 101 "), head
        self.frames.clear()
        while data:
            opcode, length, at = data[0] & 15, data[1], 2
            if length == 126:
                length, at = struct.unpack("!H", data[2:4])[0], 4
            elif length == 127:
                length, at = struct.unpack("!Q", data[2:10])[0], 10
            self.frames.append((opcode, data[at : at + length]))
            data = data[at + length :]

    @property
    def told(self) -> list[Any]:
        """The JSON that was sent."""
        self.read()
        return [json.loads(payload) for opcode, payload in self.frames if opcode == 1]

    @property
    def last(self) -> Any:
        """The JSON that was sent last."""
        return self.told[-1]

    def events(self, *names: str) -> list[Any]:
        """The events that were sent with a number, of some names or of all."""
        return [
            value
            for value in self.told
            if value["type"] == "event" and "seq" in value and (not names or value["event"] in names)
        ]

    def answers(self, request_id: str) -> list[Any]:
        """The responses to a request."""
        return [value for value in self.told if value["type"] == "res" and value["id"] == request_id]

    @property
    def close_code(self) -> int | None:
        """The code of the close frame."""
        return self.close[0] if self.close else None

    @property
    def close(self) -> tuple[int, str] | None:
        """The one close frame's code and reason."""
        self.read()
        closes = [payload for opcode, payload in self.frames if opcode == 8]
        assert len(closes) <= 1
        return (struct.unpack("!H", closes[0][:2])[0], closes[0][2:].decode()) if closes else None

    def send(self, value: Any) -> None:
        """Send text: JSON unless it is bytes."""
        self.client.send(frame(value if isinstance(value, bytes) else json.dumps(value).encode()))

    def ask(self, method: str, params: Any = None, **members: Any) -> str:
        """
        Send a request.

        @return: its id.
        """
        request_id = f"{next(self._ids)}:ask"
        request = {"type": "req", "id": request_id, "method": method} | members
        self.send(request if params is None else request | {"params": params})
        return request_id

    def answer(self, method: str, params: Any = None) -> Any:
        """The one response to a request, which must not take any time."""
        (answer,) = self.answers(self.ask(method, params))
        return answer

    def connect(self, client: str = "gateway-client", mode: str = "backend", **members: Any) -> Any:
        """The response to a C{connect}, if there is one yet."""
        answers = self.answers(self.ask("connect", connect_params(client, mode, **members)))
        return answers[0] if answers else None


class HandSetSnapshot:
    """A snapshot as a test sets it."""

    def __init__(self) -> None:
        self.health_payload: dict[str, Any] = {"ok": True}

    def health(self) -> dict[str, Any]:
        """As set."""
        return self.health_payload

    def session_defaults(self) -> dict[str, Any]:
        """Fixed."""
        return {"defaultAgentId": "main", "mainKey": "main", "mainSessionKey": "agent:main:main"}

    def uptime_ms(self) -> int:
        """Fixed."""
        return 1234

    def admin_facts(self) -> dict[str, Any]:
        """Fixed."""
        return {"configPath": "<config>", "stateDir": "<state>", "authMode": "token"}


class EchoParams(Params, frozen=True):
    """What C{echo} takes."""

    text: str
    times: int = 1


class TestMethods:
    """
    Methods for tests.

    @ivar held: the Deferreds that calls of C{hold} wait for.
    @ivar cancelled: those of them that were cancelled.
    @ivar cancel: what cancelling one does.
    @ivar calls: the calls that were made.
    """

    __test__ = False

    def __init__(self) -> None:
        self.held: list[Deferred[Any]] = []
        self.cancelled: list[Deferred[Any]] = []
        self.cancel: Callable[[Deferred[Any]], None] = self.cancelled.append
        self.calls: list[Call] = []

    def table(self) -> MethodTable:
        """The table."""
        return MethodTable(
            (
                Method("echo", None, EchoParams, self._echo),
                Method("hold", None, NoParams, self._hold),
                Method("read", "operator.read", NoParams, self._nothing),
                Method("write", "operator.write", NoParams, self._nothing),
                Method("admin", "operator.admin", NoParams, self._nothing),
                Method("refuse", None, NoParams, self._refuse),
                Method("break", None, NoParams, self._break),
                Method("unspeakable", None, NoParams, self._unspeakable),
                Method("huge", None, NoParams, self._huge),
            )
        )

    async def _echo(self, call: Call, params: EchoParams) -> Any:
        self.calls.append(call)
        return {"text": params.text * params.times}

    async def _hold(self, call: Call, params: NoParams) -> Any:
        self.calls.append(call)
        held: Deferred[Any] = Deferred(self.cancel)
        self.held.append(held)
        return await held

    async def _nothing(self, call: Call, params: NoParams) -> Any:
        return {}

    async def _refuse(self, call: Call, params: NoParams) -> Any:
        raise InvalidRequest("not like this", param="how")

    async def _break(self, call: Call, params: NoParams) -> Any:
        raise RuntimeError("the secret of the bug")

    async def _unspeakable(self, call: Call, params: NoParams) -> Any:
        return object()

    async def _huge(self, call: Call, params: NoParams) -> Any:
        return "x" * (25 * 1024 * 1024)


class WebSocketTestCase(MemoryTestCase):
    """A gateway in memory that serves WebSockets, and one page."""

    def setUp(self) -> None:
        """Put it together."""
        super().setUp()
        self.config = make_config()
        self.snapshot = HandSetSnapshot()
        self.bus = EventBus()
        self.methods = TestMethods()
        self.phase: Any = "started"
        self.on_loopback_bind = True
        self.presence = Presence(self.clock, host="vm", new_id=lambda: "life")
        self.build()

    def build(self) -> None:
        """Make the site anew: by hand, as these tests need counted ids and methods and phases of their own."""
        ids = itertools.count(1)
        self.policy = AccessPolicy(lambda: self.config, {}, self.clock, on_loopback_bind=self.on_loopback_bind)
        surface = Surface(self.policy, self.methods.table(), self.bus, self.snapshot, self.presence, lambda: self.phase)
        self.crowd = Crowd(self.clock, surface, new_id=lambda: f"00000000-0000-4000-8000-{next(ids):012d}")
        self.site = GatewaySite(
            Root(websocket_resource(self.clock, self.crowd), Data(b"a page", "text/plain")),
            Gate(lambda: self.config, self.policy, routes_of_nothing()),
            self.clock,
            local_tcp=True,
            loopback_bind=self.on_loopback_bind,
        )

    def tcp(self, address: str = "127.0.0.1") -> Client:
        """A new connection that says nothing yet."""
        client = Client(self, IPv4Address("TCP", address, 50000))  # type: ignore[arg-type]
        self.addCleanup(self._disconnect, client)
        return client

    def _disconnect(self, client: Client) -> None:
        client.leave()
        self.tick()

    def open(self, *headers: str, path: str = "/", address: str = "127.0.0.1", host: str = "127.0.0.1") -> Peer:
        """A connection whose upgrade is done."""
        peer = Peer(self.tcp(address))
        peer.upgrade(*headers, path=path, host=host)
        self.tick()
        return peer

    def connected(self, client: str = "gateway-client", mode: str = "backend", **members: Any) -> Peer:
        """A client that was let in."""
        peer = self.open()
        answer = peer.connect(client, mode, **members)
        self.assertTrue(answer["ok"], answer)
        return peer

    def over(self, peer: Peer) -> None:
        """The client has gone; nothing of the connection may be left."""
        peer.client.leave()
        self.wait(CLOSE_REPLY_DEADLINE_S + 0.5)
        self.assertEqual(self.crowd.open_connections, set())
        self.assertEqual(self.site.open_connections, set())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.problems, [])
