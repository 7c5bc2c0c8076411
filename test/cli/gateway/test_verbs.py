"""C{openclaw gateway start}, C{stop}, C{restart} and C{uninstall}."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path
from unittest import mock

from openclaw.cli.gateway.systemd import service_of
from openclaw.config.lock import StateLock
from test.cli.gateway.service_support import DOCUMENT, ServiceTestCase


class RunTests(ServiceTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.write(DOCUMENT)
        self.gateway("install", "--socket")
        self.calls.clear()

    def test_verbs(self) -> None:
        for verb, result in (("start", "started"), ("stop", "stopped"), ("restart", "restarted")):
            self.assertEqual(self.gateway(verb), 0)
            self.assertEqual(self.out, f"openclaw-gateway is {result}\n")
            # a socket that stays open at a restart keeps clients waiting; closed they would be refused
            units = "" if verb == "restart" else "openclaw-gateway.socket "
            self.assertEqual(self.verbs()[-1], f"--user {verb} {units}openclaw-gateway.service")
        self.assertEqual(self.gateway("stop", "--json"), 0)
        self.assertEqual(self.json_out()["result"], "stopped")

    def test_uninstall(self) -> None:
        self.assertEqual(self.gateway("uninstall"), 0)
        self.assertEqual(
            self.verbs(),
            ["--user disable --now openclaw-gateway.socket openclaw-gateway.service", "--user daemon-reload"],
        )
        self.assertEqual(list(self.folder.iterdir()), [])
        self.assertTrue((self.state_dir / "openclaw.json").exists())
        for verb in ("uninstall", "start", "stop", "restart"):
            self.assertEqual(self.gateway(verb), 1)
            self.assertIn("install it with: openclaw gateway install", self.err)
            self.assertEqual(len(self.err.splitlines()), 1)

    def test_gateway_that_is_no_service(self) -> None:
        """It cannot be restarted by systemd: what else to do is told."""
        self.gateway("uninstall")
        lock = StateLock(self.state_dir / "gateway.lock")
        lock.acquire()
        self.addCleanup(lock.release)
        for verb in ("stop", "restart"):
            self.assertEqual(self.gateway(verb), 1)
            self.assertIn(f"was started otherwise: end it with Ctrl-C or kill {os.getpid()}\n", self.err)

    def test_units_that_cannot_be_removed(self) -> None:
        with mock.patch.object(Path, "unlink", side_effect=PermissionError(13, "Permission denied")):
            self.assertEqual(self.gateway("uninstall"), 1)
        self.assertIn("cannot remove", self.err)

    def test_systemd_refuses(self) -> None:
        self.answers["start"] = (1, "\nJob for openclaw-gateway.service failed.\nSee more.\n")
        self.assertEqual(self.gateway("start"), 1)
        self.assertIn("systemctl --user start failed: Job for", self.err)
        self.assertIn("journalctl --user -u openclaw-gateway", self.err)
        self.answers["start"] = (1, "")
        self.assertEqual(self.gateway("start"), 1)
        self.assertIn("it gives no reason", self.err)

    def test_no_systemd(self) -> None:
        self.answers["start"] = (1, "System has not been booted with systemd as init system (PID 1). Can't operate.")
        self.assertEqual(self.gateway("start"), 1)
        self.assertIn("systemd cannot be reached", self.err)
        self.program = None
        self.assertEqual(self.gateway("start", "--json"), 1)
        self.assertIn("there is no systemctl", self.json_out()["error"]["message"])

    def test_a_program_that_does_not_work(self) -> None:
        for error, reason in (
            (subprocess.TimeoutExpired("x", 1), "did not finish start within"),
            (PermissionError(13, "Permission denied"), "cannot run /bin/systemctl: Permission denied"),
        ):
            self.patch(subprocess, "run", mock.Mock(side_effect=error))
            self.assertEqual(self.gateway("start"), 1)
            self.assertIn(reason, self.err)

    def test_home_of_nobody(self) -> None:
        del os.environ["HOME"]
        with mock.patch.dict(os.environ, {"OPENCLAW_STATE_DIR": str(self.state_dir)}):
            folder = service_of("x", system=False).folder
        self.assertEqual(folder, Path(pwd.getpwuid(os.getuid()).pw_dir) / ".config/systemd/user")
