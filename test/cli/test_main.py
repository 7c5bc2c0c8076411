"""The entry point: help, version, errors, exit statuses, and that it costs nothing."""

import os
import subprocess
import sys
from unittest import mock

import click
from twisted.trial.unittest import TestCase

from openclaw._version import __version__
from openclaw.cli import main as main_module
from openclaw.cli.main import COMMANDS, cli, main, open_missing_streams
from openclaw.cli.output import State
from openclaw.errors import ConfigError, OpenClawError, StartError
from test.cli.support import CommandTestCase

LAZY = """
import sys
sys.argv = ["openclaw", *%r]
from openclaw.cli.main import main
try:
    main()
except SystemExit as ended:
    print(ended.code, sorted(name for name in sys.modules if name.split(".")[0] in %r), file=sys.stderr)
"""
ALL = """
import sys
import click
from openclaw.cli.main import cli
groups = [cli]
while groups:
    context = click.Context(group := groups.pop())
    commands = [group.get_command(context, name) for name in group.list_commands(context)]
    groups += [command for command in commands if isinstance(command, click.Group)]
print(sorted(name for name in sys.modules if name.split(".")[0] in %r), file=sys.stderr)
"""
HEAVY = ("twisted", "klein", "autobahn", "treq", "cattrs", "msgspec", "pyjson5", "sqlite3", "asyncio")


class HelpTests(CommandTestCase):
    def test_lists_all_commands(self) -> None:
        self.assertEqual(self.run_command("--help"), 0)
        for name, (_, _, text) in COMMANDS.items():
            self.assertIn(f"  {name} ", self.out)
            self.assertIn(text, self.out)

    def test_no_command_is_help_and_an_error(self) -> None:
        self.assertEqual(self.run_command(), 2)
        self.assertIn("Usage: openclaw", self.out + self.err)

    def test_every_subcommand_has_help(self) -> None:
        for arguments in (
            ("gateway", "run"),
            ("gateway", "auth-token"),
            ("gateway", "call"),
            ("gateway", "health"),
            ("gateway", "probe"),
            ("gateway", "status"),
            ("agent",),
            ("agents", "list"),
            ("chat",),
            ("completion",),
            ("health",),
            ("logs",),
            ("models", "status"),
            ("sessions",),
            ("sessions", "list"),
            ("status",),
            ("models", "list"),
            ("models", "pull"),
            ("config", "get"),
            ("config", "validate"),
            ("config", "file"),
        ):
            self.assertEqual(self.run_command(*arguments, "-h"), 0)
            self.assertIn(f"Usage: openclaw {' '.join(arguments)}", self.out)

    def test_version(self) -> None:
        for arguments in (("--version",), ("version",)):
            self.assertEqual(self.run_command(*arguments), 0)
            self.assertEqual(self.out, f"openclaw {__version__}\n")


class ColourTests(CommandTestCase):
    def test_no_color(self) -> None:
        os.environ.pop("NO_COLOR", None)
        os.environ["TERM"] = "xterm"
        for arguments, is_coloured in (((), True), (("--no-color",), False)):
            self.assertEqual(self.run_command(*arguments, "agents", "list", terminal=True), 0, self.err)
            self.assertEqual("\x1b[" in self.out, is_coloured)


class UsageTests(CommandTestCase):
    def test_what_is_unknown_is_two(self) -> None:
        for arguments in (("nope",), ("--nope", "version"), ("gateway", "nope"), ("config", "get", "a", "b")):
            self.assertEqual(self.run_command(*arguments), 2)
            self.assertIn("Error: ", self.err)
            self.assertEqual(self.out, "")

    def test_bad_profile(self) -> None:
        self.assertEqual(self.run_command("--profile", "../x", "config", "file"), 1)
        self.assertEqual(self.err, "openclaw: --profile: expected 1 to 64 letters, digits, _ and -, got '../x'\n")


class ErrorTests(CommandTestCase):
    def fail_with(self, error: BaseException, *arguments: str) -> int:
        @click.command()
        @click.option("--json", "as_json", is_flag=True)
        @click.pass_obj
        def failing(state: State, as_json: bool) -> None:
            state.as_json = as_json
            raise error

        self.patch(main_module.LazyGroup, "get_command", lambda *_: failing)
        return self.run_command("failing", *arguments)

    def test_statuses(self) -> None:
        for error, status in (
            (OpenClawError("no"), 1),
            (StartError("no"), 1),
            (StartError("no", 78), 78),
            (click.UsageError("no"), 2),
            (click.ClickException("no"), 1),
        ):
            self.assertEqual(self.fail_with(error), status)
            self.assertEqual(len(self.err.splitlines()[-1:]), 1)
            self.assertTrue(self.err.endswith(": no\n"), self.err)

    def test_config_error_names_all(self) -> None:
        self.assertEqual(self.fail_with(ConfigError(["a: bad", "b: bad"], "/x/openclaw.json")), 78)
        self.assertEqual(self.err, "openclaw: the configuration /x/openclaw.json cannot be used:\n  a: bad\n  b: bad\n")

    def test_what_no_command_foresaw_of_the_system(self) -> None:
        """A folder that is closed to us is told, and no traceback."""
        refused = PermissionError(13, "Permission denied", "/root/x")
        self.assertEqual(self.fail_with(refused), 1)
        self.assertEqual(self.err, "openclaw: /root/x: Permission denied\n")
        self.assertEqual(self.fail_with(refused, "--json"), 1)
        self.assertEqual(self.json_out()["error"]["message"], "/root/x: Permission denied")
        self.assertEqual(self.fail_with(OSError(28, "No space left on device")), 1)
        self.assertEqual(self.err, "openclaw: No space left on device\n")
        with mock.patch.object(main_module, "fail_json", side_effect=OSError(28, "No space left on device")):
            self.assertEqual(self.fail_with(refused, "--json"), 1)
        self.assertEqual(self.err, "openclaw: /root/x: Permission denied\n")

    def test_streams_that_were_closed(self) -> None:
        with (
            mock.patch.object(sys, "stdin", None),
            mock.patch.object(sys, "stdout", None),
            mock.patch.object(sys, "stderr", sys.stderr),
        ):
            before = sys.stderr
            open_missing_streams()
            self.assertIs(sys.stderr, before)
            with sys.stdin as stdin, sys.stdout as stdout:
                self.assertEqual(stdin.read(), "")
                print("é")
                self.assertFalse(stdout.isatty())

    def test_closed_standard_input(self) -> None:
        code = "from openclaw.cli.main import main; main()"
        shell = 'exec "$0" -c "$1" agent --message - <&-'
        done = subprocess.run(["/bin/sh", "-c", shell, sys.executable, code], capture_output=True, check=False)
        self.assertIn(b"the message is empty", done.stderr)
        self.assertEqual(done.returncode, 2)

    def test_did_you_mean(self) -> None:
        """In every group."""
        for words, meant in (
            (("agnet",), "agent"),
            (("agents", "lst"), "list"),
            (("backup", "creat"), "create"),
            (("config", "valdate"), "validate"),
            (("gateway", "stauts"), "status"),
            (("models", "pul"), "pull"),
            (("help",), "openclaw --help"),
            (("config", "help"), "openclaw config --help"),
        ):
            self.assertEqual(self.run_command(*words), 2)
            self.assertIn(f"No such command {words[-1]!r}; did you mean {meant}?\n", self.err)

    def test_wrong_command_lines_in_json(self) -> None:
        """Also where what is wrong stands before C{--json}, or a command itself finds it wrong."""
        for arguments, reason in (
            (("status", "--nope", "--json"), "--nope"),
            (("status", "--json", "--nope"), "--nope"),
            (("config", "nope", "--json"), "No such command 'nope'."),
            (("config", "get", "--json", "a", "b"), "unexpected extra argument (b)"),
            (("sessions", "--json", "--agent", "a", "--all-agents"), "exclude each other"),
        ):
            self.assertEqual(self.run_command(*arguments), 2)
            error = self.json_out()["error"]
            self.assertEqual(error["type"], "cli_error")
            self.assertIn(reason, error["message"])
            self.assertIn("Usage: ", self.err)

    def test_interrupted(self) -> None:
        self.assertEqual(self.fail_with(KeyboardInterrupt()), 130)

    def test_envelope(self) -> None:
        self.assertEqual(self.fail_with(StartError("no", 78), "--json"), 1)
        self.assertEqual(self.json_out(), {"ok": False, "error": {"type": "cli_error", "message": "no"}})
        self.assertEqual(self.err, "openclaw: no\n")

    def test_a_bug_is_not_hidden(self) -> None:
        self.patch(main_module, "cli", mock.Mock(main=mock.Mock(side_effect=ZeroDivisionError)))
        with self.assertRaises(ZeroDivisionError):
            main(())


class LazyTests(TestCase):
    def loaded_by(self, *arguments: str) -> str:
        command = [sys.executable, "-c", LAZY % (list(arguments), HEAVY)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
        return done.stderr.strip()

    def test_help_and_version_import_nothing_heavy(self) -> None:
        for arguments in (
            ("--help",),
            ("version",),
            ("gateway", "--help"),
            ("gateway", "run", "--help"),
            ("gateway", "call", "--help"),
            ("agent", "--help"),
            ("chat", "--help"),
            ("completion", "bash"),
            ("config", "file"),
        ):
            self.assertEqual(self.loaded_by(*arguments), "0 []")

    def test_no_command_is_heavy_before_it_is_used(self) -> None:
        """Their help, and completing their options, import their modules and nothing that these need to work."""
        done = subprocess.run([sys.executable, "-c", ALL % (HEAVY,)], check=False, capture_output=True, text=True)
        self.assertEqual(done.stderr.strip(), "[]")


class TableTests(TestCase):
    def test_all_commands_exist(self) -> None:
        """What a table names is there, and its help says more than the table does not."""
        context = click.Context(cli)
        groups = [(cli, COMMANDS)]
        while groups:
            group, table = groups.pop()
            for name in table:
                command = group.get_command(context, name)
                self.assertIsInstance(command, click.Command, name)
                if isinstance(command, main_module.LazyGroup):
                    groups.append((command, command.commands_at))


class ArgumentsTests(TestCase):
    def test_the_process_own_by_default(self) -> None:
        with mock.patch.object(sys, "argv", ["openclaw", "version"]), self.assertRaises(SystemExit) as ended:
            main()
        self.assertEqual(ended.exception.code, 0)
