"""C{openclaw models list}."""

from typing import Any

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
