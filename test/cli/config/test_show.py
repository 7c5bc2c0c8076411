"""C{openclaw config file}, C{get}, C{schema} and C{validate}, and the group itself."""

import os
from typing import Any

from test.cli.config.editing_support import EditingTestCase
from test.cli.support import CommandTestCase

HIDDEN = "__OPENCLAW_REDACTED__"


DOCUMENT = {
    "gateway": {"port": 18999, "auth": {"mode": "token", "token": "s3cret"}},
    "agents": {"list": [{"id": "main", "name": "Main"}, {"id": "b"}]},
    "env": {"BARE_VALUE": "s3cret", "vars": {"OTHER": "s3cret"}, "shellEnv": {"enabled": True}},
    "models": {
        "providers": {
            "a.b": {
                "baseUrl": "http://127.0.0.1:1/v1",
                "apiKey": "s3cret",
                "headers": {"X-Plain": "s3cret"},
                "models": [{"id": "m", "maxTokens": 5}],
            },
            "ref": {"baseUrl": "http://127.0.0.1:1/v1", "apiKey": "${FROM_ENVIRONMENT}"},
        }
    },
    "channels": {"telegram": {"botToken": "s3cret", "proxy": "http://me:s3cret@proxy:1"}},
}


class GetTests(CommandTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.path = self.write(DOCUMENT)

    def get(self, path: str) -> str:
        self.assertEqual(self.run_command("config", "get", path), 0, self.err)
        return self.out.rstrip("\n")

    def test_values(self) -> None:
        self.assertEqual(self.get("gateway.port"), "18999")
        self.assertEqual(self.get("gateway.auth.mode"), "token")
        self.assertEqual(self.get("agents.list.0.name"), "Main")
        self.assertEqual(self.get("agents.list[1].id"), "b")
        self.assertEqual(self.get('models.providers["a.b"].models[0].maxTokens'), "5")
        self.assertEqual(self.get("env.shellEnv"), '{\n  "enabled": true\n}')

    def test_json_quotes_texts(self) -> None:
        self.assertEqual(self.run_command("config", "get", "gateway.auth.mode", "--json"), 0)
        self.assertEqual(self.out, '"token"\n')

    def test_whole(self) -> None:
        self.assertEqual(self.run_command("config", "get", "--json"), 0)
        self.assertEqual(self.json_out()["gateway"]["port"], 18999)
        self.assertNotIn("s3cret", self.out)

    def test_secrets_are_hidden(self) -> None:
        for path in (
            "gateway.auth.token",
            "env.BARE_VALUE",
            "env.vars.OTHER",
            'models.providers["a.b"].apiKey',
            'models.providers["a.b"].headers.X-Plain',
            "channels.telegram.botToken",
        ):
            self.assertEqual(self.get(path), HIDDEN)
        self.assertEqual(self.get("channels.telegram.proxy"), f"http://{HIDDEN}@proxy:1")
        self.assertEqual(self.get("models.providers.ref.apiKey"), "${FROM_ENVIRONMENT}")

    def test_not_set_and_unknown_are_told_apart(self) -> None:
        for path in (
            "gateway.bind",
            "gateway.auth.rateLimit.windowMs",
            "agents.entries.x.model.primary",
            "agents.list[7].name",
            "models.providers.new.baseUrl",
            "models.providers.ref.headers.X-Any",
            "env.NEW",
            "skills",
            "skills.anything.below",
            "gateway.tls.certPath",
        ):
            self.assertEqual(self.run_command("config", "get", path), 1)
            self.assertEqual(self.err, f"openclaw: {path}: not set in {self.path}\n")
        for path in ("nope", "gateway.nope", "gateway.port.below", "agents.list.first", "gateway[0]"):
            self.assertEqual(self.run_command("config", "get", path), 1)
            self.assertEqual(self.err, f"openclaw: {path}: there is no such setting\n")

    def test_no_path(self) -> None:
        for path in (".", "a..b", "a.", "a[", "a[x]", 'a["x]', ".a", "a]b"):
            self.assertEqual(self.run_command("config", "get", path), 1)
            self.assertIn("this is no path", self.err)

    def test_failure_as_json(self) -> None:
        self.assertEqual(self.run_command("config", "get", "gateway.bind", "--json"), 1)
        self.assertEqual(self.json_out()["error"]["type"], "cli_error")
        self.assertIn("not set", self.json_out()["error"]["message"])

    def test_no_file(self) -> None:
        self.path.unlink()
        self.assertEqual(self.run_command("config", "get", "gateway.port"), 1)
        self.assertEqual(self.err, f"openclaw: there is no configuration file at {self.path}\n")

    def test_invalid(self) -> None:
        self.write({"gateway": {"port": "x"}})
        self.assertEqual(self.run_command("config", "get", "gateway.port"), 78)
        self.assertIn("cannot be used: gateway.port: ", self.err)


class FileTests(CommandTestCase):
    def test_file(self) -> None:
        self.assertEqual(self.run_command("config", "file"), 0)
        self.assertEqual(self.out, f"{self.state_dir / 'openclaw.json'}\n")

    def test_profile_and_variable(self) -> None:
        self.run_command("--profile", "dev", "config", "file")
        self.assertEqual(self.out, f"{self.home / '.openclaw-dev' / 'openclaw.json'}\n")
        os.environ["OPENCLAW_CONFIG_PATH"] = "~/x.json"
        self.run_command("config", "file")
        self.assertEqual(self.out, f"{self.home / 'x.json'}\n")


class OtherTests(EditingTestCase):
    def test_schema(self) -> None:
        self.assertEqual(self.run_command("config", "schema"), 0)
        told: Any = self.json_out()
        self.assertEqual(told["properties"]["gateway"]["properties"]["port"]["default"], 18789)
        self.run_command("config", "schema", "--json")
        self.assertEqual(self.json_out(), told)

    def test_file_as_json(self) -> None:
        self.run_command("config", "file", "--json")
        self.assertEqual(self.json_out(), {"path": str(self.path), "exists": True})

    def test_help_lists_all(self) -> None:
        self.run_command("config", "--help")
        for name in ("file", "get", "patch", "schema", "set", "unset", "validate"):
            self.assertIn(f"  {name} ", self.out)


class ValidateTests(CommandTestCase):
    def test_absent(self) -> None:
        self.assertEqual(self.run_command("config", "validate"), 0)
        self.assertIn("there is no such file; the defaults apply", self.out)

    def test_valid_with_warning(self) -> None:
        path = self.write({"skills": {}})
        self.assertEqual(self.run_command("config", "validate"), 0)
        self.assertEqual(self.out, f"{path}: valid\n  warning: these settings are accepted and not used: skills\n")
        self.assertEqual(self.run_command("config", "validate", "--json"), 0)
        self.assertEqual(
            self.json_out(),
            {"valid": True, "path": str(path), "warnings": ["these settings are accepted and not used: skills"]},
        )

    def test_invalid_names_all(self) -> None:
        path = self.write({"gateway": {"port": "x", "bind": 1, "nope": 1}, "nope": 1, "agents": {"list": 1}})
        self.assertEqual(self.run_command("config", "validate"), 1)
        self.assertEqual(len(self.err.splitlines()), 6)
        self.assertTrue(self.err.startswith(f"openclaw: the configuration {path} cannot be used:\n  "))
        self.assertEqual(self.run_command("config", "validate", "--json"), 1)
        told = self.json_out()
        self.assertEqual((told["valid"], told["path"], len(told["issues"])), (False, str(path), 5))

    def test_not_json5(self) -> None:
        self.write("{ a: ")
        self.assertEqual(self.run_command("config", "validate"), 1)
        self.assertIn("line 1", self.err)
