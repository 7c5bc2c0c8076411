"""Tests of L{openclaw.methods.snapshot}, and of the wait for files in L{openclaw.methods.checks}."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import Deferred

from openclaw.config.agents import AgentEntry
from openclaw.config.gateway import AuthConfig, GatewayConfig
from openclaw.config.schema import Config
from openclaw.config.secret import Secret
from openclaw.errors import CapacityError
from openclaw.methods.checks import FILE_TIMEOUT_S
from openclaw.methods.logs import log_methods
from openclaw.methods.table import Call
from test.fakes import config_with
from test.methods.support import READER, MethodTestCase


class SnapshotTests(MethodTestCase):
    """What the greeting tells."""

    config = Config(gateway=GatewayConfig(auth=AuthConfig(mode="token", token=Secret("s3cret"))))

    def test_facts(self) -> None:
        """Health, uptime, and for administrators where things lie."""
        snapshot = self.gateway.methods.snapshot
        self.assertEqual("[redacted]", snapshot.health()["sessions"]["path"])
        self.assertEqual(1234, snapshot.uptime_ms())
        self.assertEqual(
            {
                "configPath": str(self.gateway.paths.config_path),
                "stateDir": str(self.gateway.folder),
                "authMode": "token",
            },
            snapshot.admin_facts(),
        )

    def test_session_defaults(self) -> None:
        """The session that a client begins with."""
        self.assertEqual(
            {
                "defaultAgentId": "main",
                "modelConfigured": True,
                "ownership": "sole",
                "selectionRequired": False,
                "mainKey": "main",
                "mainSessionKey": "agent:main:main",
                "scope": "per-sender",
            },
            self.gateway.methods.snapshot.session_defaults(),
        )
        self.gateway.use(config_with({"a": AgentEntry(), "b": AgentEntry()}))
        defaults = self.gateway.methods.snapshot.session_defaults()
        self.assertEqual(("agent:a:main", True), (defaults["mainSessionKey"], defaults["selectionRequired"]))


class FileTests(MethodTestCase):
    """Files that do not come."""

    def test_stalled_disk(self) -> None:
        """A call does not wait for ever; one that is cancelled not at all."""
        calls = []
        for _ in range(2):
            reading: Deferred[object] = Deferred()
            (tail,) = log_methods(Path("nowhere"), lambda *given, reading=reading: reading, self.gateway.clock)
            call = Call(READER, "c", "cli", lambda payload: None)
            calls.append(Deferred.fromCoroutine(tail.run(call, tail.params())))
        calls[1].cancel()
        self.failureResultOf(calls[1])
        self.gateway.clock.advance(FILE_TIMEOUT_S)
        self.assertEqual("file_timeout", self.failureResultOf(calls[0], CapacityError).value.code)
