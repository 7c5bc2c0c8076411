"""C{openclaw gateway run}."""

import os
from collections.abc import Callable
from pathlib import Path

from openclaw import log
from openclaw.config.plan import Plan
from openclaw.service import foreground
from test.cli.support import CommandTestCase

NO_CREDENTIAL = "openclaw: no credential: run openclaw quickstart, or set OPENCLAW_GATEWAY_TOKEN\n"


class RunTests(CommandTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.planned: list[Plan] = []
        self.levels: list[str] = []
        self.status = 0

        def run_foreground(planned: Plan, on_ready: Callable[[str], None]) -> int:
            self.planned.append(planned)
            on_ready("http://here:1")
            return self.status

        self.patch(foreground, "run_foreground", run_foreground)
        self.patch(log, "begin_logging", lambda stream, level, **_: self.levels.append(level))

    def test_one_line_when_ready(self) -> None:
        self.write({"gateway": {"auth": {"token": "t"}}})
        self.assertEqual(self.run_command("gateway", "run"), 0)
        self.assertEqual((self.out, self.err), ("openclaw gateway listening at http://here:1\n", ""))
        self.assertEqual(self.levels, ["info"])
        self.assertEqual(self.planned[0].listening.port, 18789)

    def test_its_status_is_ours(self) -> None:
        self.write({"gateway": {"auth": {"token": "t"}}})
        self.status = 78
        self.assertEqual(self.run_command("gateway", "run"), 78)

    def test_options(self) -> None:
        other = Path(self.mktemp())
        other.write_text('{gateway: {auth: {token: "t"}, port: 18990, customBindHost: "127.0.0.9"}}')
        other.chmod(0o600)
        arguments = ("--log-level", "debug", "gateway", "run", "--config", str(other))
        self.assertEqual(self.run_command(*arguments, "--port", "18991", "--bind", "custom"), 0)
        planned = self.planned[0]
        self.assertEqual((planned.listening.host, planned.listening.port), ("127.0.0.9", 18991))
        self.assertEqual(planned.loaded.path, other.absolute())
        self.assertEqual(self.levels, ["debug"])
        self.assertEqual(self.run_command(*arguments, "--endpoint", "unix:/tmp/x"), 0)
        self.assertEqual(self.planned[1].listening.description, "unix:/tmp/x")

    def test_without_a_command(self) -> None:
        """As the original's documentation has it."""
        self.write({"gateway": {"auth": {"token": "t"}}})
        self.assertEqual(self.run_command("gateway"), 0)
        self.assertEqual(self.run_command("gateway", "--port", "18991", "--verbose"), 0)
        self.assertEqual(self.run_command("gateway", "--port", "18991", "run", "--bind", "loopback"), 0)
        self.assertEqual([planned.listening.port for planned in self.planned], [18789, 18991, 18991])
        self.assertEqual(self.levels, ["info", "debug", "info"])
        self.assertEqual(self.run_command("gateway", "--port", "1", "auth-token"), 2)
        self.assertIn("go with no other command than run", self.err)
        self.assertEqual(self.run_command("gateway", "--port", "0"), 2)
        self.assertEqual(self.run_command("gateway", "nope"), 2)
        self.assertEqual(len(self.planned), 3)

    def test_profile(self) -> None:
        os.environ["OPENCLAW_GATEWAY_TOKEN"] = "t"
        self.assertEqual(self.run_command("--profile", "dev", "gateway", "run"), 0)
        self.assertEqual(self.planned[0].paths.state_dir, self.home / ".openclaw-dev")

    def test_refused(self) -> None:
        for arguments, status, reason in (
            ((), 78, NO_CREDENTIAL),
            (("--config", "/nowhere.json"), 78, "openclaw: --config: there is no file /nowhere.json\n"),
            (("--port", "0"), 2, "0 is not in the range"),
            (("--port", "x"), 2, "not a valid integer"),
            (("--bind", "tailnet"), 2, "'tailnet' is not one of"),
            (("--endpoint", "unix:x", "--port", "1"), 2, "--endpoint takes the place of --port and --bind"),
            (("--endpoint", "unix:x", "--bind", "lan"), 2, "--endpoint takes the place of --port and --bind"),
            (("--endpoint", "ssl:1"), 1, "openclaw: --endpoint: 'ssl' is not served"),
        ):
            self.assertEqual(self.run_command("gateway", "run", *arguments), status, arguments)
            self.assertIn(reason, self.err)
            self.assertEqual(self.out, "")
        self.assertEqual(self.planned, [])

    def test_broken_configuration(self) -> None:
        self.write({"gateway": {"port": "x", "bind": 3, "auth": {"mode": "no"}, "tls": 1}, "nope": 1})
        self.assertEqual(self.run_command("gateway", "run"), 78)
        self.assertEqual(len(self.err.splitlines()), 6)
        for name in ("gateway.port", "gateway.bind", "gateway.auth.mode", "gateway.tls", "nope"):
            self.assertIn(name, self.err)
