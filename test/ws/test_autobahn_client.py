"""A whole conversation with Autobahn's own client, which shares no code with ours, over a connection in memory."""

from __future__ import annotations

import itertools
import json
from typing import Any

from autobahn.twisted.websocket import WebSocketClientProtocol
from twisted.internet.address import IPv4Address
from twisted.internet.testing import StringTransport

from openclaw.autobahn_internals import ClientSocketFactory
from openclaw.events import RunBegan, RunInfo, RunOutcome, RunOver, RunTold, TextDelta, Timings
from openclaw.messages import Usage
from test.ws.support import WebSocketTestCase, connect_params

INFO = RunInfo("run-1", "run-1", "main", "agent:main:main", "scripted/m", "webchat")


class ScriptedClient(WebSocketClientProtocol):
    """Connects when it is challenged, and keeps what it is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Any] = []
        self.ended: tuple[bool, int | None, str | None] | None = None
        self._ids = itertools.count(1)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Keep it; answer the challenge."""
        value = json.loads(payload)
        self.heard.append(value)
        if value.get("event") == "connect.challenge":
            self.ask("connect", connect_params())

    def ask(self, method: str, params: Any) -> None:
        """Send a request."""
        frame = {"type": "req", "id": str(next(self._ids)), "method": method, "params": params}
        self.sendMessage(json.dumps(frame).encode())

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """Keep how it ended."""
        self.ended = (wasClean, code, reason)


class AutobahnClientTests(WebSocketTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.ours = self.tcp()
        factory = ClientSocketFactory(self.clock, "ws://127.0.0.1:18789/", "test", {})
        factory.setProtocolOptions(openHandshakeTimeout=0, closeHandshakeTimeout=0, serverConnectionDropTimeout=0)
        self.theirs = ScriptedClient()
        self.theirs.factory = factory
        self.wire = StringTransport(hostAddress=IPv4Address("TCP", "127.0.0.1", 50000), lenient=True)
        self.theirs.makeConnection(self.wire)
        self._delivered = 0
        self.pump()

    def pump(self) -> None:
        """Carry bytes both ways until nobody has more to say."""
        while True:
            up = self.wire.value()
            self.wire.clear()
            down = self.ours.output[self._delivered :]
            self._delivered += len(down)
            if not up and not down:
                break
            if up:
                self.ours.send(up)
            if down:
                self.theirs.dataReceived(down)
            self.tick()

    def test_conversation(self) -> None:
        theirs = self.theirs
        self.assertEqual(theirs.heard[0]["event"], "connect.challenge")
        self.assertEqual(theirs.heard[1]["payload"]["type"], "hello-ok")
        text = "päyload " * 20_000
        theirs.ask("echo", {"text": text})
        theirs.ask("hold", {})
        self.pump()
        self.assertEqual(theirs.heard[2]["payload"], {"text": text})
        self.methods.calls[1].respond({"status": "accepted"})
        self.bus.publish(RunBegan(INFO, (), 1))
        self.bus.publish(RunTold(INFO, [TextDelta("hi")]))
        self.bus.publish(RunOver(INFO, RunOutcome("hi", "stop", Usage()), Timings(0.0), "scripted/m", 2))
        self.methods.held[0].callback({"status": "ok"})
        self.pump()
        self.assertEqual(
            [theirs.heard[3]["payload"], theirs.heard[-1]["payload"]], [{"status": "accepted"}, {"status": "ok"}]
        )
        events = theirs.heard[4:-1]
        self.assertEqual([event["event"] for event in events], ["agent", "agent", "chat", "agent", "chat"])
        self.assertEqual([event["seq"] for event in events], [1, 2, 3, 4, 5])

    def test_pings_are_answered(self) -> None:
        for _ in range(4):
            self.wait(25)
            self.pump()
        self.assertIsNone(self.theirs.ended)
        ticks = [value for value in self.theirs.heard if value.get("event") == "tick"]
        self.assertEqual(len(ticks), 3)

    def test_gateway_stops(self) -> None:
        self.crowd.close_all()
        self.pump()
        self.assertEqual(self.theirs.heard[-1]["event"], "shutdown")
        self.assertTrue(self.ours.closed)
        self.assertEqual((self.theirs.remoteCloseCode, self.theirs.remoteCloseReason), (1012, "service restart"))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_client_closes(self) -> None:
        self.theirs.ask("hold", {})
        self.pump()
        self.theirs.sendClose(1000, "done")
        self.pump()
        self.assertTrue(self.ours.closed)
        self.assertEqual(self.methods.cancelled, self.methods.held)
        self.assertEqual(self.crowd.open_connections, set())
        self.assertEqual(self.clock.getDelayedCalls(), [])
