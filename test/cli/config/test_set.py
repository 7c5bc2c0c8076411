"""C{openclaw config set}."""

import json
import os
from unittest import mock

from test.cli.config.editing_support import EditingTestCase

TEXT = """\
{
  // of mine
  gateway: { mode: "local", port: 18789, auth: { token: "0123456789abcdefgh" } },
  agents: { entries: { a: {}, b: {} }, defaults: { systemAgent: { agentId: "a" } } },
}
"""


class SetTests(EditingTestCase):
    def test_set(self) -> None:
        self.assertEqual(self.run_command("config", "set", "gateway.port", "18790"), 0)
        self.assertEqual(self.path.read_text(), TEXT.replace("18789", "18790"))
        self.assertEqual(
            self.out,
            f"set gateway.port in {self.path}\n"
            "A running gateway needs a restart for this: gateway.port (openclaw gateway restart).\n",
        )
        self.assertEqual(self.err, "")

    def test_hints(self) -> None:
        self.run_command("config", "set", "gateway.port", "18789")
        self.assertEqual(self.out, "Nothing to change: the file says so already.\n")
        self.run_command("config", "set", "gateway.auth.token", "another-good-token")
        self.assertIn("A running gateway applies this at once.", self.out)
        self.run_command("config", "set", "skills.x", "1")
        self.assertIn("No restart is needed.", self.out)
        self.assertIn("warning: these settings are accepted and not used: skills\n", self.err)

    def test_values(self) -> None:
        for text, value in (
            ("plain text", "plain text"),
            ("12", 12),
            ("'quoted'", "quoted"),
            ("{a: [1,], /* c */}", {"a": [1]}),
            ("", ""),
            ("${NAME}", "${NAME}"),
        ):
            self.assertEqual(self.run_command("config", "set", "skills.x", text), 0)
            self.run_command("config", "get", "skills.x", "--json")
            self.assertEqual(self.json_out(), value)

    def test_strict_json(self) -> None:
        self.assertEqual(self.run_command("config", "set", "skills.x", '{"a": 1}', "--strict-json"), 0)
        for text in ("{a: 1}", "plain", "NaN", ""):
            self.assert_refused("VALUE: not JSON", "config", "set", "skills.x", text, "--strict-json")

    def test_secret_is_never_told(self) -> None:
        for more in ((), ("--json",), ("--dry-run",), ("--dry-run", "--json")):
            self.run_command("config", "set", "gateway.auth.token", "s3cret-s3cret-s3cret", *more)
            self.assertNotIn("s3cret", self.out + self.err)
        self.run_command("config", "set", "gateway.auth.token", '{source: "s3cret-value"}')
        self.run_command("config", "set", "gateway.auth.token", "5123456789")
        self.assertNotIn("5123456789", self.out + self.err)

    def test_invalid(self) -> None:
        self.assert_refused(
            f"openclaw: {self.path} is not changed, as the result could not be used:"
            " gateway.port: must be between 1 and 65535, got 0\n",
            "config", "set", "gateway.port", "0",
        )  # fmt: skip
        self.assert_refused('unknown key "prot"; did you mean "port"?', "config", "set", "gateway.prot", "1")
        self.assert_refused("this is no path", "config", "set", "gateway..port", "1")
        self.assert_refused("this is neither", "config", "set", "gateway.port.x", "1")
        self.run_command("config", "set", "gateway.port", "0", "--json")
        told = self.json_out()
        self.assertEqual((told["ok"], told["error"]["type"]), (False, "cli_error"))

    def test_broken_file(self) -> None:
        self.write("{\n  gateway: {\n  port 5 } }")
        self.assert_refused("line 3, column 8: not valid JSON5", "config", "set", "gateway.port", "5", status=78)

    def test_readonly(self) -> None:
        os.environ["OPENCLAW_CONFIG_READONLY"] = "1"
        self.assert_refused("OPENCLAW_CONFIG_READONLY is set", "config", "set", "gateway.port", "5")
        self.assertEqual(self.run_command("config", "set", "gateway.port", "5", "--dry-run"), 0)

    def test_dry_run(self) -> None:
        self.assertEqual(self.run_command("config", "set", "gateway.port", "5", "--dry-run"), 0)
        self.assertTrue(self.out.startswith(f"dry run, nothing was written: set gateway.port in {self.path}\n"))
        self.assertEqual(self.run_command("config", "set", "gateway.port", "5", "--dry-run", "--json"), 0)
        self.assertEqual(
            self.json_out(),
            {
                "ok": True,
                "operations": 1,
                "configPath": str(self.path),
                "inputModes": ["json"],
                "checks": {"schema": True, "resolvability": True, "resolvabilityComplete": True},
                "refsChecked": 0,
                "skippedExecRefs": 0,
            },
        )
        self.assertEqual(self.run_command("config", "set", "gateway.port", "x", "--dry-run", "--json"), 1)
        told = self.json_out()
        self.assertEqual((told["ok"], told["inputModes"], told["errors"][0]["kind"]), (False, ["value"], "schema"))
        self.assertIn("gateway.port: expected a whole number", told["errors"][0]["message"])
        self.assertEqual(self.path.read_text(), TEXT)

    def test_dry_run_resolves(self) -> None:
        reference = '[{source: "env", id: "SOME_KEY"}, 1]'
        arguments = ("config", "set", "skills.x", reference, "--dry-run", "--json")
        self.assertEqual(self.run_command(*arguments), 1)
        told = self.json_out()
        self.assertEqual((told["ok"], told["refsChecked"]), (False, 1))
        self.assertEqual((told["errors"][0]["kind"], told["errors"][0]["ref"]), ("resolvability", "env:SOME_KEY"))
        os.environ["SOME_KEY"] = "x"
        self.assertEqual(self.run_command(*arguments), 0)
        self.assertTrue(self.json_out()["ok"])
        # where the gateway has it from, too
        del os.environ["SOME_KEY"]
        (self.state_dir / ".env").write_text("SOME_KEY=x\n")
        self.assertEqual(self.run_command(*arguments), 0)
        (self.state_dir / ".env").unlink()
        self.path.write_text('{env: {SOME_KEY: "x"}}')
        self.assertEqual(self.run_command(*arguments), 0)

    def test_json(self) -> None:
        self.assertEqual(self.run_command("config", "set", "gateway.port", "5", "--json"), 0)
        self.assertEqual(
            self.json_out(),
            {
                "ok": True,
                "operations": 1,
                "configPath": str(self.path),
                "inputModes": ["json"],
                "written": True,
                "effect": "restart",
                "changed": ["gateway.port"],
                "warnings": [],
            },
        )

    def test_guarded(self) -> None:
        command = ("config", "set", "agents.entries", "{a: {name: 'A'}}")
        self.assert_refused("agents.entries: this would remove agents.entries.b; add --merge", *command)
        self.assertEqual(self.run_command(*command, "--merge"), 0)
        self.run_command("config", "get", "agents.entries", "--json")
        self.assertEqual(self.json_out(), {"a": {"name": "A"}, "b": {}})
        self.assertEqual(self.run_command(*command, "--replace"), 0)
        self.run_command("config", "get", "agents.entries", "--json")
        self.assertEqual(self.json_out(), {"a": {"name": "A"}})

    def test_many_lost(self) -> None:
        names = ", ".join(f"a{number}: {{}}" for number in range(20))
        self.run_command("config", "set", "plugins.entries", f"{{{names}}}")
        self.assert_refused("plugins.entries.a9, ...; add --merge", "config", "set", "plugins.entries", "{}")

    def test_expectations(self) -> None:
        command = ("config", "set", "gateway.port", "5")
        self.assert_refused("the current value is another one", *command, "--expect-current-json", "1")
        self.assert_refused("--expect-current-json: not JSON", *command, "--expect-current-json", "{")
        self.assert_refused("there is a value already", *command, "--expect-current-absent")
        self.assertEqual(self.run_command(*command, "--expect-current-json", "18789"), 0)
        self.assertEqual(self.run_command("config", "set", "skills.x", "1", "--expect-current-absent"), 0)
        self.assert_refused("another one", "config", "set", "skills.y", "1", "--expect-current-json", "null")

    def test_batch(self) -> None:
        batch = json.dumps([{"path": "gateway.port", "value": 7}, {"path": "skills.x", "value": "text"}])
        self.assertEqual(self.run_command("config", "set", "--batch-json", batch, "--json"), 0)
        self.assertEqual((self.json_out()["operations"], self.json_out()["inputModes"]), (2, ["json"]))
        file = self.home / "batch.json"
        file.write_text(batch.replace("7", "8"))
        self.assertEqual(self.run_command("config", "set", "--batch-file", str(file)), 0)
        self.assertIn("set gateway.port, skills.x in", self.out)
        many = json.dumps([{"path": f"skills.x{number}", "value": 1} for number in range(6)])
        self.assertEqual(self.run_command("config", "set", "--batch-json", many), 0)
        self.assertIn("set 6 values in", self.out)
        # one that is wrong keeps all out
        wrong = json.dumps([{"path": "gateway.port", "value": 9}, {"path": "gateway.bind", "value": "x"}])
        self.assert_refused("gateway.bind: expected one of", "config", "set", "--batch-json", wrong)

    def test_bad_batch(self) -> None:
        for text in (
            "{}",
            "[]",
            "[1]",
            '[{"path": "a"}]',
            '[{"path": 1, "value": 1}]',
            "[",
            '[{"path":"a","value":1,"x":1}]',
        ):
            self.assert_refused("--batch-json: ", "config", "set", "--batch-json", text)
        self.assert_refused("cannot be read: No such file", "config", "set", "--batch-file", str(self.home / "no"))
        with mock.patch("openclaw.cli.config.set.MAX_BATCH_BYTES", 3):
            (self.home / "large").write_text("[   ]")
            self.assert_refused("larger than 3 bytes", "config", "set", "--batch-file", str(self.home / "large"))

    def test_not_alike(self) -> None:
        """A file that its reader and its editor do not see alike stays, for every command that would change it."""
        text = TEXT.replace("// of mine\n", "// of mine\r")
        self.path.write_bytes(text.encode())
        said = f"{self.path} is not changed: this file cannot be edited: line 2, column 13: a comment ends here by"
        for arguments in (
            ("config", "set", "gateway.port", "5"),
            ("config", "set", "gateway.port", "5", "--dry-run"),
            ("config", "unset", "gateway.port"),
            ("agents", "add", "c"),
        ):
            self.assertEqual(self.run_command(*arguments), 1)
            self.assertIn(said, self.err)
            self.assertEqual(self.path.read_bytes(), text.encode())

    def test_no_start(self) -> None:
        """A value with which the gateway could not start is refused, with its path and the reason."""
        for path, value, said in (
            ("gateway.auth.mode", "password", "no credential: set gateway.auth.password first"),
            (
                "gateway.auth",
                "{mode: 'trusted-proxy', trustedProxy: {userHeader: 'x'}}",
                'gateway.auth.mode "trusted-proxy" is not available yet',
            ),
            ("gateway.auth.token", "'a\\nb'", "gateway.auth.token holds a line break"),
            ("gateway.auth.password", "another-secret", "gateway.auth: token and password are both set"),
            ("gateway.bind", "tailnet", 'gateway.bind "tailnet" is not available yet'),
            ("env.OPENCLAW_GATEWAY_PORT", "'x'", "OPENCLAW_GATEWAY_PORT: expected a port"),
        ):
            self.assert_refused(said, "config", "set", path, value)
            self.assertIn("(the gateway could not start)", self.err)
            self.assert_refused(said, "config", "set", path, value, "--dry-run")
        batch = [{"path": "gateway.auth.mode", "value": "none"}, {"path": "gateway.bind", "value": "lan"}]
        self.assert_refused('"none" needs gateway.bind', "config", "set", "--batch-json", json.dumps(batch))

    def test_no_start_without_this(self) -> None:
        """What keeps the gateway from starting may be there already, or be gone in its service's environment."""
        self.assertEqual(self.run_command("config", "set", "gateway.auth.token", "${NOT_SET}"), 0, self.err)
        self.assertIn("does not start like this: no credential: gateway.auth.token needs NOT_SET", self.err)
        self.assertEqual(self.run_command("config", "set", "gateway.port", "5"), 0, self.err)
        self.assertIn("does not start like this: no credential", self.err)
        self.assert_refused("tailnet", "config", "set", "gateway.bind", "tailnet")
        batch = [
            {"path": "gateway.bind", "value": "custom"},
            {"path": "gateway.customBindHost", "value": "203.0.113.77"},
        ]
        self.assertEqual(self.run_command("config", "set", "--batch-json", json.dumps(batch)), 0, self.err)
        self.assertIn('gateway.customBindHost: this machine has no address "203.0.113.77"', self.err)

    def test_usage(self) -> None:
        for arguments in (
            (),
            ("gateway.port",),
            ("gateway.port", "1", "--batch-json", "[]"),
            ("gateway.port", "1", "--merge", "--replace"),
            ("gateway.port", "1", "--expect-current-json", "1", "--expect-current-absent"),
            ("--batch-json", '[{"path":"a","value":1},{"path":"b","value":1}]', "--expect-current-absent"),
        ):
            self.assert_refused("Usage: ", "config", "set", *arguments, status=2)

    def test_new_file(self) -> None:
        self.path.unlink()
        self.assertEqual(self.run_command("config", "set", "gateway.port", "5"), 0)
        self.assertEqual(self.out, f"set gateway.port in {self.path}, which is new\n")
        self.assertIn("does not start like this: no credential", self.err)
        self.assertEqual(json.loads(self.path.read_text()), {"gateway": {"port": 5}})
