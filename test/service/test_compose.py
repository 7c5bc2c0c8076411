"""Tests of L{openclaw.service.compose}: the methods of a whole gateway."""

from __future__ import annotations

import msgspec

from openclaw.auth.scopes import READ, WRITE
from test.methods.support import ADMINISTRATOR, MethodTestCase

SCOPES = {
    "agent": WRITE,
    "agent.wait": WRITE,
    "agents.list": READ,
    "chat.abort": WRITE,
    "chat.history": READ,
    "config.get": READ,
    "health": None,
    "logs.tail": READ,
    "models.learned": READ,
    "models.list": READ,
    "sessions.list": READ,
    "status": READ,
    "system-presence": READ,
}


class TableTests(MethodTestCase):
    """The table of a whole gateway."""

    def test_scopes(self) -> None:
        """Every method and the scope that it needs."""
        table = self.gateway.table
        found = {}
        for name in table.names:
            method = table.find(name)
            assert method is not None
            found[name] = method.scope
        self.assertEqual(SCOPES, found)
        self.assertEqual(tuple(sorted(SCOPES)), table.names)
        self.assertIsNone(table.find("nope.nope"))


class WireTests(MethodTestCase):
    """What the methods give can be put into a frame."""

    def test_json(self) -> None:
        """Every payload is JSON."""
        self.gateway.methods.event_loop.start()
        self.addCleanup(self.gateway.stop)
        self.gateway.clock.advance(1)
        self.gateway.answer("ok")
        self.ok(self.ask("hi", idempotencyKey="k"))
        params = {
            "agent": {"message": "hi", "idempotencyKey": "k"},
            "agent.wait": {"runId": "k"},
            "chat.history": {"sessionKey": "main"},
            "chat.abort": {"sessionKey": "main"},
        }
        for name in self.gateway.table.names:
            payload = self.ok(self.gateway.call(name, params.get(name, {}), ADMINISTRATOR))
            self.assertEqual(payload, msgspec.json.decode(msgspec.json.encode(payload)), name)
