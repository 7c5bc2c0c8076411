"""C{openclaw models status}."""

import os
from typing import Any

from twisted.internet.error import ConnectionRefusedError

from openclaw.cli.models import status as status_module
from test.cli.gateway_fake import RemoteTestCase
from test.cli.support import CommandTestCase


class StatusTests(CommandTestCase):
    def document(self, **provider: Any) -> None:
        models = [{"id": "m"}]
        self.write(
            {
                "models": {
                    "providers": {
                        "acme": {"baseUrl": "http://127.0.0.1:1/v1", "models": models, **provider},
                        "free": {"baseUrl": "http://127.0.0.1:2/v1", "models": []},
                    }
                },
                "agents": {"defaults": {"model": {"primary": "acme/m", "fallbacks": ["none/x", "free/y"]}}},
            }
        )

    def test_json(self) -> None:
        self.document(apiKey="sk-a-long-secret-key")
        self.assertEqual(self.run_command("models", "status", "--json"), 0)
        told = self.json_out()
        self.assertEqual((told["defaultModel"], told["resolvedDefault"]), ("acme/m", "acme/m"))
        self.assertEqual(told["fallbacks"], ["none/x", "free/y"])
        self.assertEqual(told["configPath"], str(self.state_dir / "openclaw.json"))
        self.assertEqual(told["auth"]["missingProvidersInUse"], ["none"])
        self.assertEqual(
            told["auth"]["providers"],
            [
                {"provider": "acme", "effective": {"kind": "models.json", "detail": "sk...ey"}},
                {"provider": "free", "effective": {"kind": "none", "detail": "no key is configured"}},
            ],
        )
        self.assertNotIn("long-secret", self.out)

    def test_own_header(self) -> None:
        """A provider that is told who we are by C{request.auth} is not one without a key."""
        self.document(request={"auth": {"mode": "header", "headerName": "api-key", "value": "${ACME_KEY}"}})
        self.run_command("models", "status", "--json")
        self.assertEqual(
            self.json_out()["auth"]["providers"][0]["effective"], {"kind": "missing", "detail": "needs ACME_KEY"}
        )
        os.environ["ACME_KEY"] = "from-the-environment"
        self.run_command("models", "status", "--json")
        self.assertEqual(
            self.json_out()["auth"]["providers"][0]["effective"],
            {"kind": "request.auth", "detail": "in the header api-key"},
        )

    def test_text(self) -> None:
        self.document(apiKey="short")
        self.assertEqual(self.run_command("models", "status"), 0)
        self.assertIn("Default model: acme/m\nFallbacks: none/x, free/y\n", self.out)
        self.assertIn("none/x: no provider is configured for none/x\n", self.out)
        self.assertNotIn("short", self.out)

    def test_variables(self) -> None:
        self.document(apiKey="${ACME_KEY}")
        self.run_command("models", "status", "--json")
        self.assertEqual(
            self.json_out()["auth"]["providers"][0]["effective"], {"kind": "missing", "detail": "needs ACME_KEY"}
        )
        os.environ["ACME_KEY"] = "from-the-environment"
        self.run_command("models", "status", "--json")
        self.assertEqual(self.json_out()["auth"]["providers"][0]["effective"]["kind"], "env")

    def test_check_and_plain(self) -> None:
        self.document()
        self.assertEqual(self.run_command("models", "status", "--check", "--plain"), 1)
        self.assertEqual(self.out, "acme/m\n")
        self.write(
            {
                "models": {"providers": {"a": {"baseUrl": "http://127.0.0.1:1/v1", "models": [{"id": "m"}]}}},
                "agents": {"defaults": {"model": "a/m"}},
            }
        )
        self.assertEqual(self.run_command("models", "status", "--check"), 0)

    def test_without_configuration(self) -> None:
        self.assertEqual(self.run_command("models", "status"), 0)
        self.assertIn("Default model: local/smollm2-135m\n", self.out)
        self.assertIn("local/smollm2-135m: not fetched: openclaw models pull smollm2-135m\n", self.out)
        self.run_command("models", "status", "--json")
        self.assertIsNone(self.json_out()["defaultModel"])


class LearnedTests(RemoteTestCase):
    """What the running gateway learned."""

    def setUp(self) -> None:
        super().setUp()
        setting = "compat.supportsUsageInStreaming: false"
        self.lessons = [
            {"model": "a/m", "field": "stream_options", "setting": setting, "reason": "no", "learnedAt": 1},
            {"model": "a/m", "field": "seed", "setting": None, "reason": "no", "learnedAt": 2},
        ]
        self.gateway.methods["models.learned"] = {"learned": self.lessons}

    def test_no_gateway(self) -> None:
        """Without a gateway on the state folder nobody is asked."""
        self.assertEqual(self.run_command("models", "status", "--json"), 0)
        self.assertEqual((self.json_out()["learned"], self.json_out()["learnedError"]), (None, None))
        self.assertEqual(self.gateway.requests, [])

    def test_told(self) -> None:
        """A gateway that runs is asked, and what it says is told with the setting for good."""
        self.patch(status_module, "running_pid", lambda path: 1)
        self.assertEqual(self.run_command("models", "status", "--json"), 0)
        self.assertEqual(self.json_out()["learned"], self.lessons)
        self.assertEqual(self.run_command("models", "status"), 0)
        self.assertIn(
            "a/m: stream_options is left out, as the server refuses it "
            "(to say so for good: compat.supportsUsageInStreaming: false)\n"
            "a/m: seed is left out, as the server refuses it\n",
            self.out,
        )
        self.assertEqual(self.run_command("models", "status", "--plain"), 0)
        self.assertEqual(self.out.count("\n"), 1)

    def test_not_told(self) -> None:
        """A gateway that cannot be asked is no failure of the command."""
        self.serve = ConnectionRefusedError()
        self.assertEqual(self.run_command("models", "status", "--url", "ws://127.0.0.1:9", "--json"), 0)
        self.assertIsNone(self.json_out()["learned"])
        self.assertIn("127.0.0.1:9", self.json_out()["learnedError"])
        self.run_command("models", "status", "--url", "ws://127.0.0.1:9")
        self.assertIn("What the running gateway learned is not known: ", self.out)
