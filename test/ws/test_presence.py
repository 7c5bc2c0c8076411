"""Tests for L{openclaw.ws.presence}."""

from __future__ import annotations

import socket

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from openclaw._version import __version__
from openclaw.ws.frames import ClientInfo
from openclaw.ws.presence import Presence

UI = ClientInfo(
    "openclaw-macos",
    "2.0",
    "darwin",
    "ui",
    display_name="My Mac",
    device_family="Mac",
    time_zone="UTC",
    instance_id="i",
)
PROGRAM = ClientInfo("cli", "1.0", "linux", "cli")


class PresenceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.presence = Presence(self.clock, host="vm", new_id=lambda: "life")

    def test_gateway_itself(self) -> None:
        self.clock.advance(60)
        (entry,) = self.presence.entries()
        self.assertEqual(
            {name: entry[name] for name in ("host", "version", "mode", "reason", "instanceId", "ts")},
            {
                "host": "vm",
                "version": __version__,
                "mode": "gateway",
                "reason": "self",
                "instanceId": "life",
                "ts": 1_000_000,
            },
        )
        self.assertIn("vm", entry["text"])
        (entry,) = Presence(self.clock).entries()
        self.assertEqual(entry["host"], socket.gethostname())
        self.assertRegex(entry["instanceId"], "^[0-9a-f-]{36}$")

    def test_visitor(self) -> None:
        self.assertTrue(self.presence.arrive("c", UI, ("operator.read",), has_device=False))
        self.assertEqual(
            self.presence.entries()[1],
            {
                "clientId": "openclaw-macos",
                "host": "My Mac",
                "version": "2.0",
                "platform": "darwin",
                "mode": "ui",
                "roles": ["operator"],
                "scopes": ["operator.read"],
                "reason": "connect",
                "onlineSince": 1_000_000,
                "text": "Node: My Mac · app 2.0 · mode ui",
                "ts": 1_000_000,
                "deviceFamily": "Mac",
                "timeZone": "UTC",
                "instanceId": "i",
            },
        )

    def test_who_is_listed(self) -> None:
        self.assertFalse(self.presence.arrive("a", PROGRAM, (), has_device=False))
        self.assertTrue(self.presence.arrive("b", PROGRAM, (), has_device=True))
        self.assertEqual(len(self.presence.entries()), 2)
        self.assertEqual(self.presence.entries()[1]["host"], "cli")

    def test_version(self) -> None:
        self.assertEqual(self.presence.version, 1)
        self.presence.arrive("a", UI, (), has_device=False)
        self.assertEqual(self.presence.version, 2)
        self.assertFalse(self.presence.leave("b"))
        self.assertEqual(self.presence.version, 2)
        self.assertTrue(self.presence.leave("a"))
        self.assertFalse(self.presence.leave("a"))
        self.assertEqual(self.presence.version, 3)
