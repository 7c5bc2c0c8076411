"""C{openclaw gateway status}."""

import os

from twisted.internet.error import ConnectionRefusedError

from openclaw.config.lock import StateLock, running_pid
from test.cli.gateway.test_health import UNREACHABLE
from test.cli.gateway_fake import RemoteTestCase


class StatusTests(RemoteTestCase):
    def test_json(self) -> None:
        self.assertEqual(self.run_command("gateway", "status", "--json"), 0)
        report = self.json_out()
        self.assertEqual(
            report["config"]["cli"], {"path": str(self.state_dir / "openclaw.json"), "exists": True, "valid": True}
        )
        self.assertEqual(report["gateway"]["probeUrl"], "ws://127.0.0.1:18789")
        self.assertEqual((report["gateway"]["port"], report["gateway"]["bindMode"]), (18789, "loopback"))
        self.assertEqual((report["rpc"]["ok"], report["rpc"]["version"]), (True, "9.9"))
        self.assertEqual(report["gateway"]["version"], "9.9")
        self.assertEqual(report["service"]["runtime"], {"status": "stopped"})
        self.assertTrue(report["logFile"].startswith(str(self.state_dir / "logs/openclaw-")))

    def test_text(self) -> None:
        self.assertEqual(self.run_command("gateway", "status"), 0)
        self.assertIn(f"Config: {self.state_dir}/openclaw.json (valid)\n", self.out)
        self.assertIn("Gateway: ws://127.0.0.1:18789 (mode local, bind loopback)\n", self.out)
        self.assertIn("RPC probe: ok, openclaw 9.9, read_only\n", self.out)

    def test_not_running(self) -> None:
        self.serve = ConnectionRefusedError()
        self.assertEqual(self.run_command("gateway", "status"), 0)
        self.assertIn("RPC probe: failed\n", self.out)
        self.assertEqual(self.err, f"openclaw: {UNREACHABLE}\n")
        self.assertEqual(self.run_command("gateway", "status", "--require-rpc", "--json"), 1)
        self.assertEqual(self.json_out()["rpc"]["error"], UNREACHABLE)

    def test_no_probe(self) -> None:
        self.assertEqual(self.run_command("gateway", "status", "--no-probe"), 0)
        self.assertIn("RPC probe: not made\n", self.out)
        self.assertEqual((self.err, self.gateway.requests), ("", []))

    def test_broken_configuration(self) -> None:
        self.write("{")
        self.assertEqual(self.run_command("gateway", "status"), 0)
        self.assertIn("(cannot be used; see openclaw config validate)", self.out)
        self.assertIn("line 1", self.err)
        self.assertEqual(self.run_command("gateway", "status", "--json", "--require-rpc"), 1)
        self.assertFalse(self.json_out()["config"]["cli"]["valid"])

    def test_without_configuration(self) -> None:
        (self.state_dir / "openclaw.json").unlink()
        self.run_command("gateway", "status")
        self.assertIn("(there is none, the defaults apply)", self.out)

    def test_service(self) -> None:
        os.environ.pop("XDG_CONFIG_HOME", None)
        unit = self.home / ".config/systemd/user/openclaw-gateway.service"
        unit.parent.mkdir(parents=True)
        unit.write_text("")
        lock = StateLock(self.state_dir / "gateway.lock")
        lock.acquire()
        self.addCleanup(lock.release)
        self.run_command("gateway", "status")
        self.assertIn(f"Service: {unit}, process {os.getpid()} runs\n", self.out)


class LockTests(RemoteTestCase):
    def test_pid(self) -> None:
        path = self.state_dir / "gateway.lock"
        self.assertIsNone(running_pid(path))
        lock = StateLock(path)
        lock.acquire()
        self.assertEqual(running_pid(path), os.getpid())
        path.write_text("odd")
        self.assertEqual(running_pid(path), 0)
        lock.release()
        self.assertIsNone(running_pid(path))
