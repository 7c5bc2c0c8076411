"""C{openclaw gateway health}."""

from twisted.internet.error import ConnectionRefusedError

from openclaw.cli.gateway.health import health_lines
from test.cli.gateway_fake import RemoteTestCase

HEALTH = {
    "ok": True,
    "ts": 1,
    "agents": [{"agentId": "main", "isDefault": True}, {"agentId": "b", "isDefault": False}],
    "sessions": {"count": 2, "recent": [{"key": "agent:main:x", "updatedAt": 1, "age": 120_000}]},
    "eventLoop": {"degraded": False, "delayMaxMs": 12.4},
}

UNREACHABLE = "no gateway answers at ws://127.0.0.1:18789 (connection refused); start it with: openclaw gateway run"


class HealthTests(RemoteTestCase):
    def test_text(self) -> None:
        self.gateway.methods["health"] = HEALTH
        self.assertEqual(self.run_command("gateway", "health"), 0)
        self.assertEqual(
            self.out.splitlines(),
            [
                "Gateway: ws://127.0.0.1:18789 ok",
                "Agents: main (default), b",
                "Sessions: 2",
                "  agent:main:x (2m ago)",
                "Event loop: ok, longest delay 12 ms",
            ],
        )

    def test_json(self) -> None:
        self.gateway.methods["health"] = HEALTH
        self.assertEqual(self.run_command("gateway", "health", "--json"), 0)
        self.assertEqual(self.json_out(), HEALTH)

    def test_not_well(self) -> None:
        for payload in ({**HEALTH, "ok": False}, lambda socket, frame: None):
            self.gateway.methods["health"] = payload
            self.assertEqual(self.run_command("gateway", "health"), 1)
            self.assertIn("not well", self.out)
        self.assertEqual(
            health_lines({"eventLoop": {"degraded": True, "delayMaxMs": 1}})[-1][:20], "Event loop: degraded"
        )

    def test_not_running(self) -> None:
        self.serve = ConnectionRefusedError()
        self.assertEqual(self.run_command("gateway", "health"), 1)
        self.assertEqual((self.out, self.err), ("", f"openclaw: {UNREACHABLE}\n"))
        self.assertEqual(self.run_command("gateway", "health", "--json"), 1)
        self.assertEqual(
            self.json_out(), {"ok": False, "error": {"type": "gateway_transport_error", "message": UNREACHABLE}}
        )
