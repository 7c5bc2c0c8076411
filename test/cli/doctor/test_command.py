"""C{openclaw doctor}: what it tells, repairs and leaves out."""

import os
import stat
from pathlib import Path
from typing import Any
from unittest import mock

from openclaw.config.load import load_config
from openclaw.errors import ConfigError
from test.cli.doctor.doctor_support import TOKEN, DoctorTestCase


class CommandTests(DoctorTestCase):
    def test_nothing(self) -> None:
        self.assertEqual(self.run_command("doctor"), 0)
        self.assertEqual(self.out, "18 checks: nothing found\n")
        self.assertEqual(self.run_command("doctor", "--lint", "--json"), 0)
        self.assertEqual(
            self.json_out(), {"schemaVersion": 1, "ok": True, "checksRun": 18, "checksSkipped": 0, "findings": []}
        )

    def test_exit_statuses(self) -> None:
        self.path.chmod(0o644)
        self.with_settings(skills={})
        self.path.chmod(0o644)
        self.assertEqual(self.run_command("doctor"), 0)
        self.assertIn("2 findings", self.out)
        self.assertIn(f"\n        fix: chmod 600 {self.path}\n", self.out)
        self.assertEqual(self.run_command("doctor", "--json"), 0)
        self.assertEqual(self.json_out()["ok"], False)
        self.assertEqual(self.run_command("doctor", "--lint"), 1)
        self.assertEqual(self.run_command("doctor", "--lint", "--severity-min", "error"), 0)
        self.assertIn("nothing found", self.out)
        self.path.chmod(0o600)
        self.assertEqual(self.run_command("doctor", "--lint"), 0)  # the unused setting is no more than information
        self.assertIn("1 finding\n", self.out)
        self.assertEqual(self.run_command("doctor", "--lint", "--severity-min", "info"), 1)
        self.assertEqual(self.run_command("doctor", "--lint", "--only", "nope"), 2)
        self.assertIn("there is no check 'nope'; there are: config-valid", self.err)
        self.assertEqual(self.run_command("doctor", "--skip", "nope"), 1)

    def test_only_and_skip(self) -> None:
        self.path.chmod(0o644)
        self.assertEqual(self.findings("--skip", "file-modes"), [])
        self.assertEqual(self.json_out()["checksSkipped"], 1)
        self.assertEqual(self.findings("--only", "core/doctor/config-valid", "--only", "store"), [])
        self.assertEqual((self.json_out()["checksRun"], self.json_out()["checksSkipped"]), (2, 16))
        self.assertEqual(len(self.findings("--only", "file-modes")), 1)

    def test_broken_configuration(self) -> None:
        self.write("{ gateway: { port: 0, nope: 1 } }")
        found = self.findings()
        self.assertEqual([(check, level) for check, level, _ in found], [("config-valid", "error")] * 2)
        self.assertGreater(self.json_out()["checksSkipped"], 5)
        self.run_command("doctor")
        self.assertIn("could not run without a configuration: 2 findings", self.out)
        self.write("{ gateway ")
        (self.state_dir / "openclaw.json.bak").write_text("{}")
        (self.state_dir / "openclaw.json.bak").chmod(0o600)
        row = self.assert_found("config-valid", "error", "line 1, column")
        self.assertIn("openclaw.json.bak", row["fixHint"])

    def link(self, name: str) -> Path:
        """Put a file of the state folder elsewhere, with a link in its place; give where it is."""
        elsewhere = self.home / "kept"
        elsewhere.mkdir(exist_ok=True)
        (self.state_dir / name).rename(elsewhere / f"my-{name}")
        (self.state_dir / name).symlink_to(elsewhere / f"my-{name}")
        return elsewhere / f"my-{name}"

    def test_behind_links(self) -> None:
        """What a link leads to is what other users can read, and the copies are beside it."""
        (self.state_dir / ".env").write_text("")
        path, dotenv = self.link("openclaw.json"), self.link(".env")
        dotenv.chmod(0o600)
        self.assertEqual(self.findings(), [])
        copy = path.with_name(f"{path.name}.bak")
        copy.write_text("{}")
        for file in (path, dotenv, copy):
            file.chmod(0o644)
        found = [text for _, _, text in self.findings("--only", "file-modes")]
        self.assertEqual(sorted(found), sorted(f"other users can use {file}" for file in (path, dotenv, copy)))
        self.assertEqual(self.run_command("doctor", "--fix", "--only", "file-modes"), 0)
        self.assertEqual({file.stat().st_mode & 0o777 for file in (path, dotenv, copy)}, {0o600})
        path.write_text("{ gateway ")
        self.assertIn(str(copy), self.assert_found("config-valid", "error", "line 1, column")["fixHint"])

    def test_a_linked_state_folder(self) -> None:
        """Nothing is told twice."""
        self.state_dir.rename(self.home / "real")
        self.state_dir.symlink_to(self.home / "real")
        self.path.chmod(0o644)
        self.assert_found("file-modes", "warning", f"other users can use {self.path}", "--only", "file-modes")

    def test_writable(self) -> None:
        """What others can change is told as that, and not as something that they can read."""
        only = ("--only", "file-modes")
        for mode, text in (
            (0o646, f"every user of this machine can change {self.path}"),
            (0o602, f"every user of this machine can change {self.path}"),
            (0o664, f"every user of its group can change {self.path}"),
        ):
            self.path.chmod(mode)
            self.assert_found("file-modes", "warning", text, *only)
        self.path.chmod(0o600)
        self.state_dir.chmod(0o777)
        text = f"every user of this machine can make, rename and remove files in {self.state_dir}"
        self.assert_found("file-modes", "warning", text, *only)

    def test_fix(self) -> None:
        self.write({"gateway": {"mode": "local"}}, 0o644)
        self.state_dir.chmod(0o755)
        (self.state_dir / "logs").mkdir(mode=0o755)
        (self.state_dir / ".env").write_text("")
        (self.state_dir / ".env").chmod(0o640)
        self.assertEqual(self.run_command("doctor", "--fix", "--json"), 0)
        told = self.json_out()
        self.assertEqual(len(told["repaired"]), 4, told["repaired"])  # the token's edit makes the file private
        self.assertEqual([one for one in told["findings"] if "file-modes" in one["checkId"]], [])
        self.run_command("gateway", "auth-token", "--show")
        self.assertGreater(len(self.out.strip()), 40)
        self.assertEqual(self.run_command("doctor", "--fix"), 0)
        self.assertNotIn("repaired", self.out)

    def test_generate_token(self) -> None:
        self.write({"gateway": {"mode": "local"}}, 0o644)
        self.assertEqual(self.run_command("doctor", "--generate-gateway-token", "--only", "gateway-auth"), 0)
        self.assertIn(f"repaired: made a random token: gateway.auth.token in {self.path}\n", self.out)
        self.assertIn("nothing found", self.out)

    def test_token_is_left_alone(self) -> None:
        for auth in (
            {"token": "${NOT_SET}"},
            {"mode": "password"},
            {"token": {"source": "env", "id": "NOT_SET"}},
            {"token": "a" * 20 + "\n1", "password": "b" * 20},
            {"token": TOKEN},
        ):
            self.write({"gateway": {"auth": auth}})
            before = self.path.read_text()
            self.run_command("doctor", "--generate-gateway-token")
            self.assertEqual(self.path.read_text(), before)

    def test_fix_without_a_state_folder(self) -> None:
        self.path.unlink()
        self.state_dir.rmdir()
        found = self.findings("--only", "state-folder", "--only", "config-valid")
        self.assertEqual([level for _, level, _ in found], ["info", "info"])
        self.assertEqual(self.run_command("doctor", "--fix", "--only", "state-folder"), 0)
        self.assertIn(f"repaired: made {self.state_dir}\n", self.out)

    def test_fix_fails(self) -> None:
        self.path.chmod(0o644)
        with mock.patch.object(Path, "chmod", side_effect=OSError(1, "Operation not permitted", "f")):
            self.assertEqual(self.run_command("doctor", "--fix"), 1)
        self.assertIn("core/doctor/file-modes: f: Operation not permitted", self.err)

    def test_one_failure_does_not_keep_the_others_away(self) -> None:
        """A configuration that must not be changed is no reason to leave its folder open."""
        self.write({"gateway": {"mode": "local"}})
        self.state_dir.chmod(0o755)
        os.environ["OPENCLAW_CONFIG_READONLY"] = "1"
        self.assertEqual(self.run_command("doctor", "--fix", "--json"), 1)
        told = self.json_out()
        self.assertEqual(told["repaired"], [f"{self.state_dir}: mode 755 is now 700"])
        (trouble,) = told["notRepaired"]
        self.assertIn("core/doctor/gateway-auth: ", trouble)
        self.assertIn(trouble, self.err)

    def test_fix_of_nothing_does_not_stand_in_the_way_of_quickstart(self) -> None:
        """A file with a token alone would keep quickstart from writing one in which something is served."""
        self.path.unlink()
        self.assertEqual(self.run_command("doctor", "--fix"), 0)
        self.assertIn(f"repaired: wrote {self.path} with a random token\n", self.out)
        config = load_config(self.path, {}).config
        self.assertTrue(config.gateway.http.endpoints.chat_completions.enabled)
        self.assertEqual(config.gateway.mode, "local")
        self.path.unlink()
        os.environ["OPENCLAW_CONFIG_READONLY"] = "1"
        self.assertEqual(self.run_command("doctor", "--fix"), 1)
        self.assertFalse(self.path.exists())

    def test_folder_of_all_users_stays_theirs(self) -> None:
        """C{doctor --fix} by root with the state in C{/tmp} must not take C{/tmp} away from everybody."""
        self.state_dir.chmod(0o1777)
        row = self.assert_found("file-modes", "warning", "is a folder of all users")
        self.assertIn("OPENCLAW_STATE_DIR", row["fixHint"])
        self.run_command("doctor", "--fix")
        self.assertEqual(stat.S_IMODE(self.state_dir.stat().st_mode), 0o1777)

    def test_file_of_another_user_stays_readable(self) -> None:
        """What root wrote for the gateway of a user is readable for that gateway by these rights alone."""
        self.path.chmod(0o644)
        real = Path.stat

        def status(path: Path, **options: Any) -> os.stat_result:
            found = list(real(path, **options))
            found[stat.ST_UID] += 1 if path == self.path else 0
            return os.stat_result(found)

        with mock.patch.object(Path, "stat", status):
            self.run_command("doctor", "--fix")
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o644)

    def test_folder_that_is_closed(self) -> None:
        """As for somebody who is not the gateway's user: that is told, and no check ends the others."""
        real = os.lstat

        def closed(path: Any, **options: Any) -> os.stat_result:
            if str(path).startswith(f"{self.state_dir}/"):
                raise PermissionError(13, "Permission denied", str(path))
            return real(path, **options)

        access = mock.patch.object(os, "access", return_value=False)
        problem = ConfigError(["cannot be read: Permission denied"], str(self.path))
        broken = mock.patch("openclaw.cli.output.State.load", side_effect=problem)
        stat_of = mock.patch.object(Path, "stat", lambda path, follow_symlinks=True: closed(path))
        with access, broken, stat_of, mock.patch.object(Path, "lstat", closed):
            found = [(check, level) for check, level, _ in self.findings()]
        self.assertEqual(found, [("config-valid", "error"), ("state-folder", "error")])

    def test_check_that_cannot_look(self) -> None:
        error = PermissionError(13, "Permission denied", "/x")
        with mock.patch("openclaw.cli.doctor.machine.look_at_store", side_effect=error):
            (self.state_dir / "gateway.sqlite").touch(0o600)
            self.assert_found("store", "error", "/x cannot be looked at: Permission denied")
            self.assertEqual(self.run_command("doctor", "--lint"), 1)
