"""C{openclaw status}."""

import shutil
from typing import Any
from unittest import mock

from twisted.internet.error import ConnectionRefusedError

from test.cli.gateway_fake import GatewayError, RemoteTestCase

STATUS = {
    "runtimeVersion": "9.9",
    "runs": {"active": 1, "waiting": 2},
    "configReload": {"restartRequired": True},
    "sessions": {"count": 1},
}


class StatusTests(RemoteTestCase):
    def setUp(self) -> None:
        super().setUp()
        recent = [{"key": f"agent:main:{number}", "age": number * 60_000} for number in range(7)]
        self.health: dict[str, Any] = {
            "ok": True,
            "agents": [{"agentId": "main", "isDefault": True, "sessions": {"count": 7}}, {"agentId": "b"}],
            "sessions": {"recent": recent},
        }
        self.gateway.methods.update(status=STATUS, health=self.health)

    def test_text(self) -> None:
        self.assertEqual(self.run_command("status"), 0)
        lines = self.out.splitlines()
        self.assertRegex(
            lines[0], r"^Gateway: ws://127.0.0.1:18789 reachable \(\d+ ms\), openclaw 9.9, well, up 1 m 1 s$"
        )
        self.assertEqual(
            lines[1:7],
            [
                f"Address: the configuration; credential: the configuration ({self.state_dir}/openclaw.json)",
                "Runs: 1 active, 2 waiting",
                "Config: changed in a way that needs a restart: openclaw gateway restart",
                "Agent: main, default, 7 sessions",
                "Agent: b, 0 sessions",
                "Recent session  Last used",
            ],
        )
        self.assertEqual(lines[-1], "agent:main:4    4m ago")
        self.run_command("status", "--all")
        self.assertIn("agent:main:6    6m ago", self.out)

    def test_little_to_tell(self) -> None:
        self.gateway.methods.update(status={}, health=lambda socket, frame: None)
        self.gateway.hello["snapshot"] = None
        self.assertEqual(self.run_command("status", "--deep"), 0)
        self.assertEqual(len(self.out.splitlines()), 2)
        self.assertIn("not well", self.out)

    def test_json(self) -> None:
        self.assertEqual(self.run_command("status", "--json"), 0)
        told = self.json_out()
        self.assertEqual((told["runtimeVersion"], told["health"]), ("9.9", self.health))
        gateway = told["gateway"]
        self.assertEqual(
            (gateway["mode"], gateway["url"], gateway["reachable"], gateway["error"]),
            ("local", "ws://127.0.0.1:18789", True, None),
        )
        self.assertIsInstance(gateway["connectLatencyMs"], int)

    def test_not_running(self) -> None:
        self.serve = ConnectionRefusedError()
        self.assertEqual(self.run_command("status"), 1)
        self.assertEqual(self.out, "Gateway: ws://127.0.0.1:18789 unreachable\n")
        self.assertEqual(len(self.err.splitlines()), 1)
        self.assertIn("start it with: openclaw gateway run", self.err)
        self.assertEqual(self.run_command("status", "--json", "--url", "ws://127.0.0.1:1"), 1)
        told = self.json_out()
        self.assertEqual((told["ok"], told["error"]["type"]), (False, "gateway_transport_error"))
        self.assertEqual((told["gateway"]["reachable"], told["gateway"]["urlSource"]), (False, "--url"))

    def test_full_disk(self) -> None:
        """A full disk is told beside what it makes of the gateway, whether that runs or not."""
        self.gateway.methods["health"] = {**self.health, "ok": False, "failing": ["store"]}
        said = f"Disk: the disk of {self.state_dir} is full: 0 MB left"
        with mock.patch.object(shutil, "disk_usage", return_value=mock.Mock(free=1000)):
            self.assertEqual(self.run_command("status"), 0)
            self.assertEqual(self.out.splitlines()[1:3], ["Not well: store", said])
            self.serve = ConnectionRefusedError()
            self.assertEqual(self.run_command("status"), 1)
            self.assertIn(said, self.out)
            self.run_command("status", "--url", "ws://127.0.0.1:1")
            self.assertNotIn("Disk:", self.out)
        with mock.patch.object(shutil, "disk_usage", side_effect=OSError(13, "no")):
            self.run_command("status")
            self.assertNotIn("Disk:", self.out)

    def test_one(self) -> None:
        self.health["agents"] = [{"agentId": "main", "sessions": {"count": 1}}]
        self.run_command("status")
        self.assertIn("Agent: main, 1 session\n", self.out)

    def test_without_the_scope(self) -> None:
        self.gateway.methods["status"] = GatewayError("FORBIDDEN", "missing scope: operator.read")
        self.assertEqual(self.run_command("status"), 1)
        self.assertEqual(self.err, "openclaw: missing scope: operator.read\n")

    def test_interrupted(self) -> None:
        import os
        import signal

        def hang(socket: Any, frame: Any) -> Any:
            self.reactor.callLater(1, os.kill, os.getpid(), signal.SIGINT)
            return ...

        self.gateway.methods["status"] = hang
        for command in ("status",):
            self.assertEqual(self.run_command(command), 130)
        self.gateway.methods["sessions.list"] = hang
        self.assertEqual(self.run_command("sessions"), 130)
