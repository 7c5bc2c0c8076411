"""What the log is told of connections: peers without a credential cannot write it at will."""

from __future__ import annotations

from typing import Any

from twisted.logger import formatEvent, globalLogPublisher

from openclaw.http.connection import channel as channel_module
from openclaw.log_rare import TOLD_EVERY_S
from test.http.support import CHAT, GatewayTestCase


class ChannelLogTests(GatewayTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.events: list[Any] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

    def told(self) -> list[str]:
        """The lines since the last call, requests excepted, at whatever level."""
        told = [formatEvent(event) for event in self.events if event["log_namespace"] != "openclaw.http.access"]
        self.events.clear()
        return told

    def test_slow_heads(self) -> None:
        for _ in range(50):
            self.connect().send(b"GET / HTTP/1.1\r\nHost:")
        self.wait(channel_module.HEAD_DEADLINE_S)
        self.assertEqual(len(self.told()), 1)
        self.wait(TOLD_EVERY_S)
        self.connect().send(b"GET / HTTP/1.1\r\nHost:")
        self.wait(channel_module.HEAD_DEADLINE_S)
        (line,) = self.told()
        self.assertIn("the request's head was not complete in time (the last of 50 in ", line)

    def test_idle_connections(self) -> None:
        """Twisted's "Timing out client" would be a line for each, and "Forcibly timing out client" another."""
        for _ in range(3):
            self.connect()
        self.wait(channel_module.IDLE_DEADLINE_S + 1)
        self.connect()
        self.site.abort_all()
        self.tick()
        self.assertEqual(self.told(), [])
        self.assertEqual(self.site.open_connections, set())

    def test_wrong_secrets(self) -> None:
        for _ in range(50):
            self.connect().request("POST", CHAT, "Authorization: Bearer wrong", body=b"{}")
        self.assertEqual(len(self.told()), 1)

    def test_kinds_have_their_own_lines(self) -> None:
        self.connect().send(b"GET / HTTP/1.1\r\nHost:")
        self.wait(channel_module.HEAD_DEADLINE_S)
        self.connect().request("POST", CHAT, "Authorization: Bearer wrong", body=b"{}")
        self.assertEqual(len(self.told()), 2)
