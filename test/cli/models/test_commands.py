"""C{openclaw models list}, C{set} and C{status}."""

import os
from typing import Any

from test.cli.agents.roster_support import RosterTestCase
from test.cli.support import CommandTestCase


class ListTests(CommandTestCase):
    def document(self, **models: Any) -> dict[str, Any]:
        provider = {
            "baseUrl": "http://127.0.0.1:1/v1",
            "models": [{"id": "big", "name": "Big", "contextWindow": 64000, "input": ["text", "image"]}],
        }
        return {
            "models": {"providers": {"acme": provider}, **models},
            "agents": {"defaults": {"model": "acme/big"}, "entries": {"a": {}, "b": {"model": "none/m"}}},
        }

    def test_without_configuration(self) -> None:
        self.assertEqual(self.run_command("models", "list"), 0)
        self.assertEqual(
            self.out,
            "local/smollm2-135m    4,096 tokens  [default]  (not fetched: openclaw models pull smollm2-135m)\n",
        )

    def test_table(self) -> None:
        self.write(self.document())
        self.assertEqual(self.run_command("models", "list"), 0)
        lines = self.out.splitlines()
        self.assertEqual(lines[0], "acme/big             64,000 tokens  [default]")
        self.assertIn("not fetched", lines[1])
        self.assertNotIn("default", lines[1])
        self.assertEqual(
            lines[2], "none/m                    ? tokens  [default]  (no provider is configured for none/m)"
        )

    def test_other_local_model(self) -> None:
        self.write({"agents": {"defaults": {"model": "local/gpt-5"}}})
        self.assertEqual(self.run_command("models", "list"), 0)
        self.assertIn("[default]  (the embedded model is local/smollm2-135m, not local/gpt-5)", self.out)

    def test_json(self) -> None:
        self.write(self.document())
        self.assertEqual(self.run_command("models", "list", "--json"), 0)
        told = self.json_out()
        self.assertEqual(told["count"], 3)
        self.assertEqual(
            told["models"][0],
            {
                "key": "acme/big",
                "name": "Big",
                "input": "text+image",
                "contextWindow": 64000,
                "local": False,
                "available": True,
                "tags": ["default"],
            },
        )
        local = told["models"][1]
        self.assertEqual((local["key"], local["local"], local["available"]), ("local/smollm2-135m", True, False))
        self.assertEqual((told["models"][2]["key"], told["models"][2]["available"]), ("none/m", False))

    def test_some_of_them(self) -> None:
        self.write(self.document())
        for arguments, keys in (
            (("--all",), ["acme/big", "local/smollm2-135m", "none/m"]),
            (("--local",), ["local/smollm2-135m"]),
            (("--provider", "acme"), ["acme/big"]),
            (("--provider", "acm"), []),
            (("--provider", "acme", "--local"), []),
        ):
            self.assertEqual(self.run_command("models", "list", *arguments, "--plain"), 0)
            self.assertEqual(self.out.split(), keys)
            self.assertEqual(self.run_command("models", "list", *arguments, "--json"), 0)
            self.assertEqual([row["key"] for row in self.json_out()["models"]], keys)
        self.assertEqual(self.run_command("models", "list", "--provider", "acm"), 0)
        self.assertEqual(self.out, "no such model is configured\n")

    def test_a_file_of_ones_own(self) -> None:
        gguf = self.home / "my.gguf"
        self.write(self.document(local={"path": str(gguf)}))
        self.run_command("models", "list")
        self.assertIn("(models.local.path names no GGUF file)", self.out)
        gguf.write_bytes(b"GGUF....")
        self.run_command("models", "list", "--json")
        self.assertTrue(self.json_out()["models"][1]["available"])

    def test_unusable_configuration(self) -> None:
        self.write({"gateway": {"port": "x"}})
        self.assertEqual(self.run_command("models", "list", "--json"), 1)
        self.assertIn("gateway.port", self.json_out()["error"]["message"])
        self.assertEqual(self.run_command("models", "list"), 78)
        self.assertEqual(self.out, "")


class ModelTests(RosterTestCase):
    def test_broken_roster(self) -> None:
        """A roster that is broken by hand is told as such."""
        for agents in ([], 5, {"list": 5}, {"list": [5]}, {"list": [{"id": 5}]}, {"entries": None}):
            self.write({"agents": agents})
            self.assertEqual(self.run_command("models", "set", "p/m", "--agent", "main"), 78)
            self.assertIn("agents", self.err)

    def test_defaults(self) -> None:
        self.assertEqual(self.run_command("models", "set", "local/smollm2-135m"), 0)
        self.assertEqual(self.agents(), {"defaults": {"model": {"primary": "local/smollm2-135m"}}})
        self.run_command("config", "set", "agents.defaults.model.fallbacks", "['a/b']")
        self.run_command("models", "set", "x/y", "--json")
        self.assertEqual(self.json_out()["model"], "x/y")
        self.assertEqual(self.agents()["defaults"]["model"], {"primary": "x/y", "fallbacks": ["a/b"]})

    def test_text(self) -> None:
        self.write({"agents": {"defaults": {"model": "a/b"}, "entries": {"Main": {}}}})
        self.run_command("models", "set", "x/y")
        self.assertIn("the default model is now x/y in", self.out)
        self.assertIn("no provider is configured for x/y", self.err)
        self.assertEqual(self.agents()["defaults"], {"model": "x/y"})

    def test_agent(self) -> None:
        self.write({"agents": {"entries": {"Main": {}}}})
        self.assertEqual(self.run_command("models", "set", "x/y", "--agent", "main"), 0)
        self.assertEqual(self.agents(), {"entries": {"Main": {"model": {"primary": "x/y"}}}})
        self.write({"agents": {"list": [{"id": "a"}, {"id": "b", "model": "p/q"}], "defaults": {}}})
        self.assertEqual(self.run_command("models", "set", "x/y", "--agent", "b"), 0)
        self.assertEqual(self.agents()["list"], [{"id": "a"}, {"id": "b", "model": "x/y"}])

    def test_refused(self) -> None:
        self.refused('expected a model as "provider/model"', "models", "set", "gpt")
        self.refused("there is no agent nope", "models", "set", "x/y", "--agent", "nope")


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
