"""C{openclaw doctor}: each check finds what is wrong, finds nothing else, and names the remedy."""

import fcntl
import json
import os
import socket
import sqlite3
import stat
import time
from pathlib import Path
from typing import Any
from unittest import mock

from openclaw.cli.doctor import machine as doctor_machine
from openclaw.cli.gateway.unit_file import quoted
from openclaw.config.load import load_config
from openclaw.errors import ConfigError
from openclaw.store.sqlite import open_database
from test.cli.support import CommandTestCase

TOKEN = "f8aXk29dKq0zLw71"
GOOD: dict[str, Any] = {
    "gateway": {
        "mode": "local",
        "auth": {"token": "${TOK}"},
        "http": {"endpoints": {"chatCompletions": {"enabled": True}}},
    },
    "models": {"providers": {"p": {"baseUrl": "http://127.0.0.1:1/v1"}}},
    "agents": {"defaults": {"model": "p/m"}},
}


class DoctorTestCase(CommandTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.path = self.write(GOOD)
        self.state_dir.chmod(0o700)
        os.environ["TOK"] = TOKEN
        self.bound: list[Any] = []
        self.bind_error: OSError | None = None
        patch = mock.patch.object(doctor_machine.socket, "socket", self.socket)
        patch.start()
        self.addCleanup(patch.stop)

    def socket(self, family: int, _kind: int) -> Any:
        made = mock.MagicMock()
        made.__enter__.return_value = made
        made.bind.side_effect = lambda address: self.bind(family, address)
        return made

    def bind(self, family: int, address: Any) -> None:
        self.bound.append((family, address))
        if self.bind_error is not None:
            raise self.bind_error

    def with_settings(self, **paths: Any) -> None:
        """Write the good configuration with some settings; C{__} stands for a dot."""
        from openclaw.config.edit_document import with_value

        document: Any = GOOD
        for path, value in paths.items():
            document = with_value(document, tuple(path.split("__")), value)
        self.write(document)

    def findings(self, *arguments: str) -> list[tuple[str, str, str]]:
        """Check, severity and text of all that is found."""
        self.assertEqual(self.run_command("doctor", "--json", *arguments), 0, self.err)
        told = self.json_out()
        for one in told["findings"]:
            self.assertTrue(one["fixHint"])
        self.assertNotIn(TOKEN, self.out)
        return [
            (one["checkId"].removeprefix("core/doctor/"), one["severity"], one["message"]) for one in told["findings"]
        ]

    def assert_found(self, check: str, severity: str, text: str, *arguments: str) -> dict[str, Any]:
        found = self.findings(*arguments)
        self.assertEqual([(one, level) for one, level, _ in found], [(check, severity)])
        self.assertIn(text, found[0][2])
        row = self.json_out()["findings"][0]
        assert isinstance(row, dict)
        return row


class CommandTests(DoctorTestCase):
    def test_nothing(self) -> None:
        self.assertEqual(self.run_command("doctor"), 0)
        self.assertEqual(self.out, "17 checks: nothing found\n")
        self.assertEqual(self.run_command("doctor", "--lint", "--json"), 0)
        self.assertEqual(
            self.json_out(), {"schemaVersion": 1, "ok": True, "checksRun": 17, "checksSkipped": 0, "findings": []}
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
        self.assertEqual((self.json_out()["checksRun"], self.json_out()["checksSkipped"]), (2, 15))
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

        access = mock.patch.object(doctor_machine.os, "access", return_value=False)
        problem = ConfigError(["cannot be read: Permission denied"], str(self.path))
        broken = mock.patch("openclaw.cli.output.State.load", side_effect=problem)
        stat_of = mock.patch.object(Path, "stat", lambda path, follow_symlinks=True: closed(path))
        with access, broken, stat_of, mock.patch.object(Path, "lstat", closed):
            found = [(check, level) for check, level, _ in self.findings()]
        self.assertEqual(found, [("config-valid", "error"), ("state-folder", "error")])

    def test_check_that_cannot_look(self) -> None:
        error = PermissionError(13, "Permission denied", "/x")
        with mock.patch("openclaw.cli.backup.store_files.look_at_store", side_effect=error):
            (self.state_dir / "gateway.sqlite").touch(0o600)
            self.assert_found("store", "error", "/x cannot be looked at: Permission denied")
            self.assertEqual(self.run_command("doctor", "--lint"), 1)


class ConfigurationTests(DoctorTestCase):
    def test_variables(self) -> None:
        self.with_settings(models__providers__p__apiKey="${NO_KEY}")
        row = self.assert_found("variables", "warning", "environment variable not set: NO_KEY")
        self.assertEqual(row["path"], "models.providers.p.apiKey")

    def test_credential(self) -> None:
        del os.environ["TOK"]
        found = self.findings("--only", "gateway-auth")
        self.assertIn("no credential", found[0][2])
        for weak in ("sh0rt", "password-password", "aaaaaaaaaaaaaaaaaaaaa", "changeme-changeme-1"):
            os.environ["TOK"] = weak
            row = self.assert_found("gateway-auth", "warning", "easy to guess")
            self.assertNotIn(weak, self.out)
            self.assertIn("openssl rand", row["fixHint"])
        self.with_settings(gateway__auth__token="sh0rt")
        found = self.findings("--only", "gateway-auth")
        self.assertIn("easy to guess", found[0][2])
        self.assertIn("openclaw config unset gateway.auth.token", self.json_out()["findings"][0]["fixHint"])

    def test_credential_fixes_work(self) -> None:
        """What the finding says, done, is the end of the finding."""
        del os.environ["TOK"]
        for auth, environ, commands in (
            ({}, {}, 1),
            ({"mode": "token", "password": "${NO_PASSWORD}"}, {}, 1),
            ({"mode": "password"}, {}, 2),
            ({"mode": "none"}, {}, 2),
            ({"token": TOKEN, "password": TOKEN}, {}, 1),
            ({}, {"OPENCLAW_GATEWAY_TOKEN": TOKEN, "OPENCLAW_GATEWAY_PASSWORD": TOKEN}, 1),
            ({"token": "x\ny"}, {}, 2),
            ({"token": "secret"}, {}, 2),
            ({"mode": "password", "password": "secret"}, {}, 1),
            ({"mode": "password", "password": "x\ny"}, {}, 1),
        ):
            self.with_settings(gateway__auth=auth)
            with mock.patch.dict(os.environ, environ):
                self.assertTrue(self.findings("--only", "gateway-auth"), auth)
                [row] = self.json_out()["findings"]
                hint = row["fixHint"].replace('"$(openssl rand -base64 32)"', TOKEN)
                done = hint.split(", then ")
                self.assertEqual(len(done), commands, hint)
                for command in done:
                    self.assertEqual(self.run_command(*command.split()[1:]), 0, self.err)
                self.assertEqual(self.findings("--only", "gateway-auth"), [], (auth, hint))

    def test_credential_of_the_environment(self) -> None:
        del os.environ["TOK"]
        self.findings("--only", "gateway-auth")
        hint = self.json_out()["findings"][0]["fixHint"]
        self.assertEqual(hint, f"set TOK in the environment of the gateway, or in {self.state_dir / '.env'}")
        os.environ["TOK"] = "x\ny"
        self.assertIn("holds a line break", self.findings("--only", "gateway-auth")[0][2])
        self.assertIn("openssl rand", self.json_out()["findings"][0]["fixHint"])

    def test_gateway_elsewhere(self) -> None:
        """What this machine would need for a gateway of its own is nobody's trouble."""
        self.bind_error = OSError(98, "Address already in use")
        self.write({"gateway": {"mode": "remote", "remote": {"url": "ws://127.0.0.1:1", "token": "${TOK}"}}})
        self.assertEqual(self.run_command("doctor", "--lint"), 0, self.out)
        self.assertEqual(self.out, "10 checks, 7 are for a gateway of this machine: nothing found\n")
        self.assertEqual(self.run_command("doctor", "--generate-gateway-token"), 0)
        self.assertNotIn("auth", json.loads(self.path.read_text())["gateway"])

    def test_fixes_are_for_the_profile(self) -> None:
        self.state_dir.rename(self.home / ".openclaw-work-it")
        self.assertEqual(self.run_command("--profile", "work-it", "config", "set", "gateway.bind", "lan"), 0, self.err)
        self.assertEqual(self.run_command("--profile", "work-it", "doctor", "--json"), 0)
        [row] = self.json_out()["findings"]
        self.assertTrue(row["fixHint"].endswith("openclaw --profile work-it config set gateway.bind loopback"))

    def test_no_auth(self) -> None:
        self.with_settings(gateway__auth={"mode": "none"})
        self.assert_found("gateway-auth", "warning", "every program of every user")

    def test_bind(self) -> None:
        self.with_settings(gateway__bind="lan")
        self.assert_found("gateway-bind", "warning", "other machines can reach")
        self.with_settings(gateway__bind="tailnet")
        self.assertIn("error", {level for _, level, _ in self.findings("--only", "gateway-bind")})
        self.with_settings(gateway__http={})
        self.assert_found("gateway-bind", "info", "the endpoint is off")

    def test_plaintext(self) -> None:
        self.with_settings(gateway__auth__token=TOKEN)
        self.assert_found("security", "info", "gateway.auth.token")
        self.with_settings(models__providers__p__apiKey="s3cret")
        self.assert_found("security", "warning", "models.providers.p.apiKey")
        self.assertNotIn("s3cret", self.out)

    def test_clear_key(self) -> None:
        provider = {"baseUrl": "http://models.example/v1", "apiKey": "${TOK}"}
        self.with_settings(models__providers__p=provider)
        self.assert_found("providers", "warning", "without encryption")
        self.with_settings(models__providers__p={**provider, "baseUrl": "https://models.example/v1"})
        self.assertEqual(self.findings(), [])

    def test_key_in_a_url(self) -> None:
        for step in ("sk-abcdefghijklmnop", "0123456789abcdef0123456789abcdef", "aB3dE5fG7hJ9kL1mN3pQ5_x-y"):
            self.with_settings(models__providers__p={"baseUrl": f"https://models.example/{step}/v1"})
            row = self.assert_found("providers", "warning", "the URL of p has a part that looks like a key")
            self.assertEqual(row["path"], "models.providers.p.baseUrl")
            self.assertNotIn(step, self.out)
        for step in ("openai/deployments/gpt-4o-mini-2024-07-18", "models/meta-llama/Llama-3.1-8B-Instruct", "v1beta"):
            self.with_settings(models__providers__p={"baseUrl": f"https://models.example/{step}"})
            self.assertEqual(self.findings(), [])

    def test_foreign_models(self) -> None:
        self.with_settings(agents__entries={"a": {"model": "x/y"}})
        row = self.assert_found("models", "warning", "no provider is configured for x/y")
        self.assertEqual(row["fixHint"], "openclaw models set PROVIDER/MODEL --agent a")
        self.with_settings(agents__defaults__model="x/y")
        self.assertEqual(self.assert_found("models", "warning", "x/y")["fixHint"], "openclaw models set PROVIDER/MODEL")

    def test_embedded_model(self) -> None:
        self.with_settings(agents__defaults__model="local/smollm2-135m")
        with mock.patch("openclaw.providers.local_spawn.library_installed", return_value=True):
            row = self.assert_found("embedded-model", "error", "weights are missing")
        self.assertEqual(row["fixHint"], "openclaw models pull smollm2-135m")
        self.with_settings(agents__defaults__model="local/smollm2-135m", models__local__path="/nowhere.gguf")
        with mock.patch("openclaw.providers.local_spawn.library_installed", return_value=False):
            found = self.findings()
        self.assertEqual([check for check, _, _ in found], ["embedded-model"] * 2)
        self.assertIn("pip install", self.json_out()["findings"][0]["fixHint"])


class MachineTests(DoctorTestCase):
    def test_state_folder(self) -> None:
        usage = mock.Mock(free=1000)
        with mock.patch.object(doctor_machine.shutil, "disk_usage", return_value=usage):
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
        self.assert_found("store", "error", "cannot be read")

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

    def running(self, answer: Any) -> None:
        lock = os.open(self.state_dir / "gateway.lock", os.O_RDWR | os.O_CREAT, 0o600)
        self.addCleanup(os.close, lock)
        os.write(lock, b"4711\n")
        fcntl.flock(lock, fcntl.LOCK_EX)
        options: dict[str, Any] = {"side_effect": answer} if isinstance(answer, Exception) else {"return_value": answer}
        patch = mock.patch("openclaw.cli.talk.health.fetch", **options)
        patch.start()
        self.addCleanup(patch.stop)

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
        unit.write_text(f"[Service]\nExecStart={doctor_machine.sys.executable} -m openclaw\n")
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
        with mock.patch("openclaw.cli.gateway.service_unit.SYSTEM_FOLDER", self.home / "none"):
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
            with mock.patch("openclaw.cli.gateway.service_unit.SYSTEM_FOLDER", folder):
                unit.write_text("[Service]\nUser=claw\nExecStart=/bin/sh gateway run\n")
                with mock.patch("openclaw.cli.gateway.service_unit._user_folder", lambda: self.home / "none"):
                    row = self.assert_found("service-unit", "info", str(unit))
                self.assertEqual(row["fixHint"], "openclaw gateway install --system --run-as claw --force")
            unit.write_text(f"[Service]\nExecStart={doctor_machine.sys.executable} -m openclaw\n")
            self.assertEqual(self.findings(), [])
            odd = self.home / 'my "100%" $py'
            odd.symlink_to(doctor_machine.sys.executable)
            unit.write_text(f"[Service]\nExecStart={quoted(str(odd), is_command=True)} -m openclaw\n")
            with mock.patch.object(doctor_machine.sys, "executable", str(odd)):
                self.assertEqual(self.findings(), [])

    def test_versions(self) -> None:
        with mock.patch.object(doctor_machine.sqlite3, "sqlite_version_info", (3, 1, 0)):
            self.assert_found("versions", "warning", "is older than 3.37.0")

    def test_clock(self) -> None:
        with mock.patch.object(doctor_machine.time, "time", return_value=1_000_000.0):
            self.assert_found("clock", "warning", "the clock of this machine is wrong: 1970-01-12")
