"""C{openclaw onboard}."""

import io
import os
import sys
from unittest import mock

import click

from openclaw.cli.setup.wishes import provider_name
from openclaw.errors import StartError
from test.cli.setup.onboard_support import CUSTOM, OnboardTestCase


class NonInteractiveTests(OnboardTestCase):
    def test_custom(self) -> None:
        self.assertEqual(self.onboard(*CUSTOM, "--custom-api-key", "k3y", "--json"), 0)
        told, document = self.json_out(), self.document()
        token = document["gateway"]["auth"].pop("token")
        self.assertGreater(len(token), 40)
        self.assertEqual(
            document,
            {
                "gateway": {
                    "mode": "local",
                    "auth": {"mode": "token"},
                    "http": {"endpoints": {"chatCompletions": {"enabled": True}}},
                },
                "models": {
                    "providers": {
                        "custom-127-0-0-1-8080": {
                            "baseUrl": "http://127.0.0.1:8080/v1",
                            "api": "openai-completions",
                            "apiKey": "k3y",
                            "models": [{"id": "m1"}],
                        }
                    }
                },
                "agents": {"defaults": {"model": {"primary": "custom-127-0-0-1-8080/m1"}}},
            },
        )
        self.assertEqual((told["ok"], told["model"], told["written"]), (True, "custom-127-0-0-1-8080/m1", True))
        self.assertEqual(told["gateway"], {"port": 18789, "bind": "loopback", "authMode": "token"})
        self.assertEqual((told["next"], told["health"]), ("openclaw gateway run", {"checked": True, "problem": None}))
        self.assertEqual(self.probed, [("http://127.0.0.1:8080/v1", "k3y")])
        for secret in ("k3y", token):
            self.assertNotIn(secret, self.out + self.err)

    def test_url_of_an_operation(self) -> None:
        url = "https://h.example/v1/chat/completions"
        wish = ("--auth-choice", "custom-api-key", "--custom-model-id", "m", "--custom-base-url", url)
        self.assertEqual(self.onboard(*wish), 1)
        self.assertIn("--custom-base-url: must not end in /chat/completions", self.err)
        self.assertTrue(self.err.endswith("write https://h.example/v1\n"), self.err)
        self.assertFalse(self.path.exists())

    def test_starts(self) -> None:
        """What was set up is a configuration that a gateway starts with."""
        from openclaw.config.paths import resolve_paths
        from openclaw.config.plan import Options, plan

        self.onboard(*CUSTOM, "--skip-health")
        planned = plan(resolve_paths(os.environ), os.environ, Options())
        self.assertEqual(planned.listening.url(), "http://127.0.0.1:18789")
        self.assertEqual(self.probed, [])

    def test_no(self) -> None:
        terminal = mock.patch.object(sys, "stdin", mock.Mock(isatty=lambda: True))
        with terminal, mock.patch.object(click, "confirm", lambda *_, **__: False):
            self.assertEqual(self.run_command("onboard"), 1)
        self.assertEqual(self.err, "openclaw: nothing was changed\n")
        self.assertFalse(self.path.exists())

    def test_local(self) -> None:
        self.assertEqual(self.onboard("--auth-choice", "local"), 0)
        self.assertEqual(self.document()["agents"]["defaults"]["model"], {"primary": "local/smollm2-135m"})
        self.assertTrue(self.out.endswith("Next: openclaw quickstart\n"))
        self.write({"models": {"local": {"model": "other"}}})
        self.onboard("--auth-choice", "local")
        self.assertEqual(self.document()["agents"]["defaults"]["model"], {"primary": "local/other"})

    def test_existing(self) -> None:
        """Only what is asked for changes, and comments stay."""
        text = (
            "{\n  // mine\n  gateway: { mode: 'local', port: 5, auth: { token: '0123456789abcdefgh' },\n"
            "    http: { endpoints: { chatCompletions: { enabled: true } } } },\n}\n"
        )
        self.write(text)
        self.assertEqual(self.onboard("--gateway-port", "6", "--workspace", "/w"), 0)
        expected = text.replace("port: 5", "port: 6").replace(
            "},\n}\n", '},\n  agents: {\n    defaults: {\n      workspace: "/w",\n    },\n  },\n}\n'
        )
        self.assertEqual(self.path.read_text(), expected)
        self.assertEqual(self.onboard(), 0)
        self.assertEqual(self.path.read_text(), expected)

    def test_second_model(self) -> None:
        self.onboard(*CUSTOM, "--custom-provider-id", "p", "--custom-api-key", "${KEY}")
        self.onboard(*CUSTOM[:-1], "m2", "--custom-provider-id", "p")
        provider = self.document()["models"]["providers"]["p"]
        self.assertEqual((provider["apiKey"], provider["models"]), ("${KEY}", [{"id": "m1"}, {"id": "m2"}]))
        self.assertEqual(self.document()["agents"]["defaults"]["model"]["primary"], "p/m2")
        self.assertEqual(self.probed[0], ("http://127.0.0.1:8080/v1", None))

    def test_credentials(self) -> None:
        for arguments, auth in (
            (("--gateway-token", "tok-tok-tok-tok-tok"), {"mode": "token", "token": "tok-tok-tok-tok-tok"}),
            (("--gateway-password", "pa55pa55pa55pa55"), {"mode": "password", "password": "pa55pa55pa55pa55"}),
            (
                ("--gateway-auth", "password", "--gateway-password", "pa55pa55pa55pa55"),
                {"mode": "password", "password": "pa55pa55pa55pa55"},
            ),
        ):
            self.path.unlink(missing_ok=True)
            self.assertEqual(self.onboard(*arguments), 0)
            self.assertEqual(self.document()["gateway"]["auth"], auth)
            self.assertNotIn("pa55", self.out + self.err)

    def test_credential_is_there(self) -> None:
        os.environ["OPENCLAW_GATEWAY_TOKEN"] = "0123456789abcdefgh"
        self.onboard()
        self.assertNotIn("auth", self.document()["gateway"])
        self.write({"gateway": {"auth": {"mode": "none"}}})
        del os.environ["OPENCLAW_GATEWAY_TOKEN"]
        self.onboard()
        self.assertEqual(self.document()["gateway"]["auth"], {"mode": "none"})

    def test_bind(self) -> None:
        self.assertEqual(self.onboard("--gateway-bind", "lan"), 0)
        self.assertEqual(self.document()["gateway"]["bind"], "lan")
        self.assertEqual(self.onboard("--gateway-bind", "custom", "--gateway-custom-host", "192.168.1.5"), 0)
        self.assertEqual(self.document()["gateway"]["bind"], "custom")
        self.assertEqual(self.document()["gateway"]["customBindHost"], "192.168.1.5")

    def test_broken_by_hand(self) -> None:
        """What stands in the place of a section is told, and not a traceback."""
        for document in ({"models": 5}, {"models": {"local": []}}, {"gateway": {"auth": 5}}, {"gateway": None}):
            self.write(document)
            self.assertEqual(self.onboard("--auth-choice", "local"), 1)
            self.assertEqual(self.document(), document)

    def test_no_answer_only_warns(self) -> None:
        self.trouble = "it does not answer"
        self.assertEqual(self.onboard(*CUSTOM), 0)
        self.assertIn("warning: it does not answer\n", self.err)
        self.assertIn("custom-127-0-0-1-8080", self.path.read_text())

    def test_install_daemon(self) -> None:
        @click.command()
        def install() -> None:
            click.echo("installed")

        with mock.patch("openclaw.cli.gateway.install.install", install):
            self.assertEqual(self.onboard("--install-daemon", "--auth-choice", "local"), 0)
            self.assertIn("installed\n", self.out)
            self.assertIn("then openclaw gateway start", self.out)
            self.assertEqual(self.onboard("--install-daemon", "--json"), 0)
            self.assertEqual(self.json_out()["next"], "openclaw gateway start")

        @click.command()
        def refused() -> None:
            raise StartError("no systemd")

        with mock.patch("openclaw.cli.gateway.install.install", refused):
            self.assertEqual(self.onboard("--install-daemon", "--json"), 1)
            self.assertEqual(self.json_out(), {"ok": False, "error": {"type": "cli_error", "message": "no systemd"}})

    def test_refused(self) -> None:
        for arguments, reason in (
            (("--auth-choice", "custom-api-key"), "--custom-base-url is needed"),
            (("--custom-base-url", "ftp://x"), "--custom-base-url: expected a URL"),
            (("--custom-base-url", "http://x/v1"), "--custom-model-id is needed"),
            (("--auth-choice", "local", "--custom-model-id", "m"), "go with --auth-choice custom-api-key"),
            ((*CUSTOM, "--custom-compatibility", "anthropic"), "anthropic is not available yet"),
            (("--gateway-auth", "password"), "needs --gateway-password"),
            (("--gateway-bind", "custom"), "--gateway-custom-host go together"),
            (("--gateway-custom-host", "127.0.0.1"), "--gateway-custom-host go together"),
            (
                ("--gateway-bind", "custom", "--gateway-custom-host", "example.org"),
                "--gateway-custom-host: expected an",
            ),
            (("--gateway-token", "x", "--gateway-password", "y"), "say which one counts"),
            ((*CUSTOM, "--custom-provider-id", "a/b"), 'must not hold "/"'),
        ):
            self.assertEqual(self.onboard(*arguments), 1, arguments)
            self.assertIn(reason, self.err)
            self.assertFalse(self.path.exists())
        self.assertEqual(self.run_command("onboard", "--non-interactive"), 1)
        self.assertIn("needs --accept-risk", self.err)
        with mock.patch.object(sys, "stdin", io.StringIO()):
            self.assertEqual(self.run_command("onboard"), 1)
        self.assertIn("add --non-interactive --accept-risk", self.err)

    def test_names(self) -> None:
        self.assertEqual(provider_name("https://api.Example.com/v1"), "custom-api-example-com")
        self.assertEqual(provider_name("http://[::1]:5/v1"), "custom-1-5")
        self.assertEqual(provider_name(""), "custom-server")
