"""C{openclaw config get}."""

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
