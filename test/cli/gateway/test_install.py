"""C{openclaw gateway install}."""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path
from typing import Any
from unittest import mock

from test.cli.gateway.service_support import DOCUMENT, ServiceTestCase


class InstallTests(ServiceTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.write(DOCUMENT)

    def test_user(self) -> None:
        self.assertEqual(self.gateway("install"), 0, self.err)
        text = self.unit.read_text()
        self.assertIn(f"ExecStart={sys.executable} -P -m openclaw gateway run\n", text)
        self.assertIn(f"Environment=OPENCLAW_STATE_DIR={self.state_dir}\n", text)
        self.assertIn(f"Environment=OPENCLAW_CONFIG_PATH={self.state_dir}/openclaw.json\n", text)
        self.assertIn("TimeoutStopSec=45\n", text)
        self.assertNotIn("a-good-token", text)
        self.assertEqual(self.unit.stat().st_mode & 0o777, 0o644)
        self.assertEqual(self.verbs(), ["--user daemon-reload", "--user enable openclaw-gateway.service"])
        self.assertIn(f"{self.unit} is written\n", self.out)
        self.assertIn("openclaw gateway restart", self.out)
        self.assertIn("loginctl enable-linger", self.out)
        self.assertEqual([path.name for path in self.folder.iterdir()], [self.unit.name])

    def test_again(self) -> None:
        self.gateway("install")
        self.assertEqual(self.gateway("install", "--json"), 0)
        self.assertEqual(self.json_out()["result"], "unchanged")

    def test_a_different_one_is_not_replaced(self) -> None:
        self.folder.mkdir(parents=True)
        self.unit.write_text("mine")
        self.assertEqual(self.gateway("install"), 1)
        self.assertIn("install --force", self.err)
        self.assertEqual((self.unit.read_text(), self.calls), ("mine", []))
        self.assertEqual(self.gateway("install", "--force"), 0)
        self.assertIn("ExecStart", self.unit.read_text())

    def test_a_masked_one(self) -> None:
        self.folder.mkdir(parents=True)
        self.unit.symlink_to("/dev/null")
        self.assertEqual(self.gateway("install", "--force"), 1)
        self.assertIn("is a link", self.err)

    def test_one_that_cannot_be_read(self) -> None:
        self.unit.mkdir(parents=True)
        self.assertEqual(self.gateway("install"), 1)
        self.assertIn("cannot read", self.err)

    def test_json(self) -> None:
        self.assertEqual(self.gateway("install", "--json", "--now"), 0)
        told = self.json_out()
        self.assertEqual(
            (told["ok"], told["action"], told["result"], told["path"]), (True, "install", "installed", str(self.unit))
        )
        self.assertEqual(self.verbs()[-1], "--user restart openclaw-gateway.service")

    def test_dry_run(self) -> None:
        self.assertEqual(self.gateway("install", "--dry-run", "--socket"), 0)
        self.assertIn("ExecStart=", self.out)
        self.assertIn("ListenStream=127.0.0.1:18789\n", self.out)
        self.assertEqual(self.gateway("install", "--dry-run", "--json"), 0)
        self.assertIn("ExecStart=", self.json_out()["files"][str(self.unit)])
        self.assertEqual((self.folder.exists(), self.calls), (False, []))

    def test_port_and_profile(self) -> None:
        folder = self.home / ".openclaw-a"
        self.state_dir.rename(folder)
        self.assertEqual(self.run_command("--profile", "a", "gateway", "install", "--port", "19000"), 0, self.err)
        self.assertIn("restart it with: openclaw --profile a gateway restart\n", self.out)
        text = (self.folder / "openclaw-gateway-a.service").read_text()
        self.assertIn(" gateway run --port 19000\n", text)
        self.assertIn("Environment=OPENCLAW_PROFILE=a\n", text)
        self.assertIn(f"OPENCLAW_STATE_DIR={folder}\n", text)

    def test_the_usual_profile_by_name(self) -> None:
        self.assertEqual(self.run_command("--profile", "default", "gateway", "install"), 0, self.err)
        self.assertTrue(self.unit.exists())

    def test_socket(self) -> None:
        self.assertEqual(self.gateway("install", "--socket", "--port", "19000"), 0, self.err)
        self.assertIn("--endpoint systemd:domain=INET:index=0\n", self.unit.read_text())
        self.assertIn("ListenStream=127.0.0.1:19000\n", self.socket.read_text())
        self.assertEqual(self.verbs()[-1], "--user enable openclaw-gateway.socket openclaw-gateway.service")
        # One without a socket takes its place, and the socket's file goes.
        self.assertEqual(self.gateway("install"), 1)
        self.assertEqual(self.gateway("install", "--force"), 0)
        self.assertFalse(self.socket.exists())
        # systemd would go on to hold its port
        self.assertEqual(self.verbs()[-3], "--user disable --now openclaw-gateway.socket")
        self.gateway("install", "--socket", "--force")
        self.calls.clear()
        self.assertEqual(self.gateway("install", "--force", "--no-enable"), 0, self.err)
        self.assertEqual((self.calls, self.socket.exists()), ([], False))

    def test_another_socket(self) -> None:
        """systemd listens where the old one says until the socket itself is begun anew."""
        self.gateway("install", "--socket")
        self.assertIn("restart it with: openclaw gateway restart\n", self.out)
        self.gateway("install", "--socket", "--now")
        self.assertEqual(self.verbs()[-1], "--user restart openclaw-gateway.service")
        self.assertEqual(self.gateway("install", "--socket", "--port", "19000", "--force"), 0, self.err)
        self.assertIn("begin anew with: openclaw gateway stop, then openclaw gateway start\n", self.out)
        self.assertEqual(self.gateway("install", "--socket", "--port", "19001", "--force", "--now"), 0, self.err)
        self.assertEqual(self.verbs()[-1], "--user restart openclaw-gateway.socket openclaw-gateway.service")

    def test_what_replaces_a_different_one(self) -> None:
        """The whole command: without an option of it the unit would become yet another one."""
        self.gateway("install")
        self.assertEqual(self.gateway("install", "--socket", "--port", "19000"), 1)
        self.assertIn("replace it with: openclaw gateway install --port 19000 --socket --force\n", self.err)

    def test_socket_of_another_family(self) -> None:
        self.write({"gateway": {**DOCUMENT["gateway"], "bind": "custom", "customBindHost": "::1"}})
        self.assertEqual(self.gateway("install", "--socket"), 0, self.err)
        self.assertIn("--endpoint systemd:domain=INET6:index=0\n", self.unit.read_text())
        self.assertIn("ListenStream=[::1]:18789\n", self.socket.read_text())

    def test_other_places(self) -> None:
        os.environ["XDG_CONFIG_HOME"] = str(self.home / "xdg")
        os.environ["PYTHONPATH"] = "/some where"
        self.assertEqual(self.gateway("install"), 0)
        text = (self.home / "xdg" / "systemd" / "user" / self.unit.name).read_text()
        self.assertIn('Environment="PYTHONPATH=/some where"\n', text)

    def test_relative_places(self) -> None:
        """The service works in its state folder, whence nothing must be imported that an agent may have put there."""
        os.environ["PYTHONPATH"] = "src::."
        self.assertEqual(self.gateway("install"), 0)
        here = Path.cwd()
        self.assertIn(f"Environment=PYTHONPATH={here}/src:{here}\n", self.unit.read_text())

    def test_a_credential_of_this_shell_only(self) -> None:
        self.write({})
        os.environ["OPENCLAW_GATEWAY_TOKEN"] = "of-this-shell"
        self.assertEqual(self.gateway("install"), 78)
        self.assertIn("a service has no variables of this shell", self.err)
        self.assertFalse(self.folder.exists())

    def test_a_configuration_that_cannot_be_used(self) -> None:
        self.write({"gateway": {"mode": "remote"}})
        self.assertEqual(self.gateway("install"), 78)
        self.assertIn("gateway.mode", self.err)

    def test_no_state_folder(self) -> None:
        path = self.write(DOCUMENT)
        os.environ["OPENCLAW_CONFIG_PATH"] = str(path)
        os.environ["OPENCLAW_STATE_DIR"] = str(self.home / "nowhere")
        self.assertEqual(self.gateway("install"), 1)
        self.assertIn("there is no state folder", self.err)

    def test_options_that_exclude_each_other(self) -> None:
        for arguments in (("--run-as", "x"), ("--now", "--no-enable")):
            self.assertEqual(self.gateway("install", *arguments), 2)

    def test_without_systemd(self) -> None:
        self.answers["daemon-reload"] = (1, "Failed to connect to bus: No medium found\n")
        self.assertEqual(self.gateway("install"), 1)
        self.assertIn("is written, but not enabled", self.err)
        self.assertEqual(len(self.err.splitlines()), 1)
        self.assertTrue(self.unit.exists())
        self.assertEqual(self.gateway("install", "--no-enable"), 0)
        self.assertEqual(len(self.calls), 1)

    def test_a_folder_that_cannot_be_written(self) -> None:
        (self.home / ".config").write_text("no folder")
        self.assertEqual(self.gateway("install"), 1)
        self.assertIn("cannot", self.err)

    def test_a_full_disk(self) -> None:
        with mock.patch.object(Path, "replace", side_effect=PermissionError(13, "Permission denied")):
            self.assertEqual(self.gateway("install"), 1)
        self.assertIn("Permission denied; a system unit needs root: use sudo", self.err)
        self.assertEqual(list(self.folder.iterdir()), [])


class SystemTests(ServiceTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.account = mock.Mock(pw_name="claw", pw_uid=1000, pw_dir=str(self.home / "claw"))
        self.patch(pwd, "getpwnam", self.getpwnam)
        state = self.home / "claw" / ".openclaw"
        state.mkdir(parents=True)
        path = state / "openclaw.json"
        path.write_text('{gateway: {auth: {token: "a-good-token"}}}')
        path.chmod(0o600)

    def getpwnam(self, name: str) -> Any:
        if name == "root":
            return mock.Mock(pw_name="root", pw_uid=0)
        if name != "claw":
            raise KeyError(name)
        return self.account

    def test_install(self) -> None:
        self.assertEqual(self.gateway("install", "--system", "--run-as", "claw"), 0, self.err)
        text = (self.system_folder / "openclaw-gateway.service").read_text()
        self.assertIn("User=claw\n", text)
        self.assertIn(f"ReadWritePaths={self.home}/claw/.openclaw\n", text)
        self.assertEqual(self.verbs(), ["daemon-reload", "enable openclaw-gateway.service"])
        self.assertNotIn("linger", self.out)

    def test_the_caller_of_sudo(self) -> None:
        os.environ["SUDO_USER"] = "claw"
        self.assertEqual(self.gateway("install", "--system"), 0, self.err)

    def test_the_user_of_this_process(self) -> None:
        self.patch(pwd, "getpwuid", lambda _: mock.Mock(pw_name="claw"))
        self.assertEqual(self.gateway("install", "--system"), 0, self.err)

    def test_nobody_to_run_as(self) -> None:
        self.assertEqual(self.gateway("install", "--system", "--run-as", "nobody-here"), 1)
        self.assertIn("there is no user 'nobody-here'", self.err)
        self.assertEqual(self.gateway("install", "--system", "--run-as", "root"), 1)
        self.assertIn("does not run as root", self.err)

    def test_the_one_that_is_installed(self) -> None:
        self.gateway("install", "--system", "--run-as", "claw")
        self.calls.clear()
        self.assertEqual(self.gateway("start"), 0)
        self.assertEqual(self.verbs(), ["start openclaw-gateway.service"])
        self.assertEqual(self.gateway("start", "--user"), 1)
        self.answers["stop"] = (1, "Failed to connect to bus: Host is down")
        self.assertEqual(self.gateway("stop", "--system"), 1)
        self.assertNotIn("--system,", self.err)
