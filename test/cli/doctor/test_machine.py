"""C{openclaw doctor}: what is wrong on the machine."""

import fcntl
import os
import shutil
import socket
import sqlite3
import sys
import time
from typing import Any
from unittest import mock

from openclaw.cli.gateway.unit_file import quoted
from openclaw.store.sqlite import open_database
from test.cli.doctor.doctor_support import DoctorTestCase


class MachineTests(DoctorTestCase):
    def test_state_folder(self) -> None:
        usage = mock.Mock(free=1000)
        with mock.patch.object(shutil, "disk_usage", return_value=usage):
            self.assert_found("state-folder", "error", "0 MB left")
            usage.free = 100 * 1024 * 1024
            self.assert_found("state-folder", "warning", "105 MB left")
        with mock.patch.object(os, "access", return_value=False):
            self.assert_found("state-folder", "error", "cannot be written", "--only", "state-folder")
        os.environ["OPENCLAW_CONFIG_PATH"] = str(self.path)
        (self.home / "file").write_text("")
        os.environ["OPENCLAW_STATE_DIR"] = str(self.home / "file")
        self.assert_found("state-folder", "error", "is not a folder")

    def test_store(self) -> None:
        store = self.state_dir / "gateway.sqlite"
        open_database(store).close()
        self.assertEqual(self.findings(), [])
        connection = sqlite3.connect(store)
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        for schema, level, text in ((version + 1, "error", "newer version"), (version - 1, "info", "keeps a copy")):
            connection.execute(f"PRAGMA user_version = {schema}")
            self.assert_found("store", level, text)
        connection.execute("PRAGMA application_id = 1")
        self.assert_found("store", "error", "is not a store of this gateway")
        connection.close()
        store.write_bytes(b"x" * 5000)
        self.assert_found("store", "error", "is damaged (file is not a database); restore a copy")
        for content in (b"", None):
            store.unlink()
            store.mkdir() if content is None else store.write_bytes(content)
            store.chmod(0o700 if content is None else 0o600)
            self.assert_found("store", "error", "restore a copy")

    def test_damaged_store(self) -> None:
        store = self.state_dir / "gateway.sqlite"
        connection = open_database(store)
        connection.execute("CREATE TABLE t (a, b)")
        connection.execute("CREATE INDEX i ON t (a)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", [("x" * 300, n) for n in range(500)])
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 't'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        connection.close()
        content = bytearray(store.read_bytes())
        content[(page - 1) * size + 8 : (page - 1) * size + 200] = b"\xee" * 192
        store.write_bytes(content)
        self.assertIn("damaged", self.findings()[0][2])

    def test_port(self) -> None:
        self.assertEqual(self.findings(), [])
        self.assertEqual(self.bound, [(socket.AF_INET, ("127.0.0.1", 18789))])
        self.bind_error = OSError(98, "Address already in use")
        row = self.assert_found("gateway-port", "error", "port 18789 at 127.0.0.1 cannot be used: Address already")
        self.assertIn("openclaw config set gateway.port 18790", row["fixHint"])
        self.with_settings(gateway__bind="custom", gateway__customBindHost="::1")
        self.findings()
        self.assertEqual(self.bound[-1], (socket.AF_INET6, ("::1", 18789)))
        os.environ["OPENCLAW_GATEWAY_PORT"] = "x"
        self.assert_found("gateway-port", "error", "OPENCLAW_GATEWAY_PORT")

    def running(self, answer: Any, note: bytes = b"4711\n") -> Any:
        lock = os.open(self.state_dir / "gateway.lock", os.O_RDWR | os.O_CREAT, 0o600)
        self.addCleanup(os.close, lock)
        os.write(lock, note)
        fcntl.flock(lock, fcntl.LOCK_EX)
        options: dict[str, Any] = {"side_effect": answer} if isinstance(answer, Exception) else {"return_value": answer}
        patch = mock.patch("openclaw.cli.client.health_routes.fetch", **options)
        self.addCleanup(patch.stop)
        return patch.start()

    def test_running_at_a_place_of_its_own(self) -> None:
        fetch = self.running({"ready": True, "uptimeMs": 1}, b"4711\nhttp://127.0.0.1:19001\n")
        self.findings()
        self.assertEqual(fetch.call_args.args[0], "http://127.0.0.1:19001/readyz")

    def test_running_at_a_unix_socket(self) -> None:
        fetch = self.running({"ready": True}, b"4711\nunix:/run/x\n")
        self.assert_found("gateway-ready", "info", "listens at unix:/run/x")
        fetch.assert_not_called()

    def test_running(self) -> None:
        self.bind_error = OSError(98, "Address already in use")
        os.utime(self.path, (1_800_000_000, 1_700_000_000))
        self.running({"ready": True, "uptimeMs": 1000})
        self.assertEqual(self.findings(), [])
        self.assertEqual(self.bound, [])

    def test_running_with_an_older_configuration(self) -> None:
        os.utime(self.path, (time.time(), time.time()))
        self.running({"ready": True, "uptimeMs": 3_600_000})
        row = self.assert_found("gateway-ready", "info", "changed after the gateway had started")
        self.assertIn("kill 4711, and start it as before", row["fixHint"])  # no service is installed
        unit = self.home / ".config" / "systemd" / "user" / "openclaw-gateway.service"
        unit.parent.mkdir(parents=True)
        unit.write_text(f"[Service]\nExecStart={sys.executable} -m openclaw\n")
        os.environ.pop("XDG_CONFIG_HOME", None)
        row = self.assert_found("gateway-ready", "info", "changed after the gateway had started")
        self.assertEqual(row["fixHint"], "openclaw gateway restart")

    def test_running_and_not_ready(self) -> None:
        self.running({"ready": False, "failing": ["store"]})
        self.assert_found("gateway-ready", "warning", "is not ready: store")

    def test_running_elsewhere(self) -> None:
        self.running(ConnectionRefusedError("refused"))
        self.assert_found("gateway-ready", "warning", "a gateway runs (pid 4711) and does not answer")

    def test_locks_that_cannot_be_asked(self) -> None:
        (self.state_dir / "gateway.lock").write_text("")
        self.assertEqual(self.findings(), [])
        with mock.patch.object(fcntl, "flock", side_effect=OSError(37, "No locks available")):
            self.assertEqual(self.findings(), [])

    def test_service_unit(self) -> None:
        folder = self.home / ".config" / "systemd" / "user"
        folder.mkdir(parents=True)
        os.environ.pop("XDG_CONFIG_HOME", None)
        unit = folder / "openclaw-gateway.service"
        with mock.patch("openclaw.cli.gateway.systemd.SYSTEM_FOLDER", self.home / "none"):
            for command, level in (
                ("/nowhere/python -m openclaw", "warning"),
                ("/bin/sh -c x", "info"),
                ("", "warning"),
            ):
                unit.write_text(f"[Service]\nExecStart={command}\n")
                row = self.assert_found("service-unit", level, str(unit))
                self.assertEqual(row["fixHint"], "openclaw gateway install --force")
                unit.with_suffix(".socket").touch()
                row = self.assert_found("service-unit", level, str(unit))
                self.assertEqual(row["fixHint"], "openclaw gateway install --socket --force")
                unit.with_suffix(".socket").write_text("[Socket]\nListenStream=127.0.0.1:18789\n")
                row = self.assert_found("service-unit", level, str(unit))
                self.assertEqual(row["fixHint"], "openclaw gateway install --socket --force")
                unit.with_suffix(".socket").write_text("[Socket]\nListenStream=[::1]:19000\n")
                row = self.assert_found("service-unit", level, str(unit))
                self.assertEqual(row["fixHint"], "openclaw gateway install --port 19000 --socket --force")
                unit.with_suffix(".socket").unlink()
            unit.write_text("[Service]\nExecStart=/bin/sh gateway run --port 19000\n")
            row = self.assert_found("service-unit", "info", str(unit))
            self.assertEqual(row["fixHint"], "openclaw gateway install --port 19000 --force")
            with mock.patch("openclaw.cli.gateway.systemd.SYSTEM_FOLDER", folder):
                unit.write_text("[Service]\nUser=claw\nExecStart=/bin/sh gateway run\n")
                with mock.patch.dict(os.environ, {"XDG_CONFIG_HOME": str(self.home / "none")}):
                    row = self.assert_found("service-unit", "info", str(unit))
                self.assertEqual(row["fixHint"], "openclaw gateway install --system --run-as claw --force")
            unit.write_text(f"[Service]\nExecStart={sys.executable} -m openclaw\n")
            self.assertEqual(self.findings(), [])
            odd = self.home / 'my "100%" $py'
            odd.symlink_to(sys.executable)
            unit.write_text(f"[Service]\nExecStart={quoted(str(odd), is_command=True)} -m openclaw\n")
            with mock.patch.object(sys, "executable", str(odd)):
                self.assertEqual(self.findings(), [])

    def test_versions(self) -> None:
        with mock.patch.object(sqlite3, "sqlite_version_info", (3, 1, 0)):
            self.assert_found("versions", "warning", "is older than 3.37.0")

    def test_clock(self) -> None:
        with mock.patch.object(time, "time", return_value=1_000_000.0):
            self.assert_found("clock", "warning", "the clock of this machine is wrong: 1970-01-12")
