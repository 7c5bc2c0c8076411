"""Tests of L{openclaw.methods.config}."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from openclaw.config.load import load_config
from openclaw.config.redaction import REDACTED
from openclaw.methods.config import ConfigFile, document_hash
from test.methods.support import READER, MethodTestCase

TEXT = """{
    // a comment
    gateway: { mode: "local", port: 19101, auth: { mode: "token", token: "tops3cret" } },
    env: { vars: { OTHER: "env-s3cret" } },
    models: { providers: { p: {
        baseUrl: "http://127.0.0.1:9/v1", apiKey: "${P_KEY}", headers: { "X-Key": "head-s3cret" },
        models: [{ id: "m" }],
    } } },
    agents: { defaults: { model: "p/m" } },
}"""

KEY = 'models.providers["a b"].baseUrl'
EXPECTED_URL = "expected a URL such as http://127.0.0.1:8080/v1"


class GetTests(MethodTestCase):
    """C{config.get}."""

    def get(self) -> Any:
        """Its answer."""
        return self.ok(self.gateway.call("config.get", {}, READER))

    def write(self, text: str) -> None:
        """Write the file."""
        self.gateway.paths.config_path.write_text(text)
        self.gateway.paths.config_path.chmod(0o600)

    def test_no_file(self) -> None:
        """Without a file the defaults are in force."""
        answer = self.get()
        self.assertEqual(str(self.gateway.paths.config_path), answer["path"])
        self.assertEqual((False, True, {}), (answer["exists"], answer["valid"], answer["parsed"]))
        self.assertEqual(18789, answer["config"]["gateway"].get("port", 18789))
        self.assertEqual("smollm2-135m", answer["config"]["models"]["local"]["model"])

    def test_no_secrets(self) -> None:
        """What stands in the file and what is in force, without any secret."""
        self.write(TEXT)
        loaded = load_config(self.gateway.paths.config_path, {"P_KEY": "key-s3cret"}, self.gateway.folder)
        self.gateway.use(loaded.config)
        answer = self.get()
        self.assertNotIn("s3cret", json.dumps(answer))
        self.assertEqual((True, True, []), (answer["exists"], answer["valid"], answer["issues"]))
        for name in ("parsed", "sourceConfig", "resolved"):
            self.assertEqual({"mode": "token", "token": REDACTED}, answer[name]["gateway"]["auth"])
        provider = answer["parsed"]["models"]["providers"]["p"]
        self.assertEqual(("${P_KEY}", {"X-Key": REDACTED}), (provider["apiKey"], provider["headers"]))
        self.assertEqual("http://127.0.0.1:9/v1", provider["baseUrl"])
        for name in ("config", "runtimeConfig"):
            self.assertEqual(REDACTED, answer[name]["gateway"]["auth"]["token"])
            self.assertEqual("p/m", answer[name]["agents"]["defaults"]["model"]["primary"])
        self.assertEqual(["models.providers.p.apiKey: environment variable not set: P_KEY"], answer["warnings"])

    def test_in_force(self) -> None:
        """The running configuration may differ from the file's."""
        self.write("{gateway: {port: 1234}}")
        answer = self.get()
        self.assertEqual(1234, answer["parsed"]["gateway"]["port"])
        self.assertNotEqual(1234, answer["config"]["gateway"].get("port"))

    def test_hash(self) -> None:
        """The hash changes with the content and tells nothing of it."""
        self.write(TEXT)
        first = self.get()["hash"]
        self.assertRegex(first, r"^hmac-sha256:v1:[A-Za-z0-9_-]{43}$")
        self.assertEqual(first, self.get()["hash"])
        self.write(TEXT.replace("tops3cret", "another"))
        self.assertNotEqual(first, self.get()["hash"])
        document = {"b": 1, "a": "x"}
        self.assertEqual(document_hash(document, b"k"), document_hash({"a": "x", "b": 1}, b"k"))
        self.assertNotEqual(document_hash(document, b"k"), document_hash(document, b"l"))

    def test_invalid(self) -> None:
        """What is wrong with the file is named, and what it says is shown nevertheless."""
        self.write(
            '{gateway: {port: "x", auth: {token: "s3cret"}}, bogus: 1, models: {providers: {"a b": {baseUrl: "x"}}}}'
        )
        answer = self.get()
        self.assertEqual((True, False), (answer["exists"], answer["valid"]))
        self.assertEqual(
            {
                "gateway.port": 'expected a whole number, got a string ("x")',
                "": 'unknown key "bogus"',
                KEY: EXPECTED_URL,
            },
            {issue["path"]: issue["message"] for issue in answer["issues"]},
        )
        self.assertEqual("x", answer["parsed"]["gateway"]["port"])
        self.assertNotIn("s3cret", json.dumps(answer))

    def test_broken(self) -> None:
        """A file that is no JSON5 has nothing to show."""
        self.write("{gateway: ")
        answer = self.get()
        self.assertEqual((True, False, {}), (answer["exists"], answer["valid"], answer["parsed"]))
        (issue,) = answer["issues"]
        self.assertEqual("", issue["path"])
        self.assertIn("not valid JSON5", issue["message"])

    def test_no_params(self) -> None:
        """It takes none."""
        self.assertRaises(msgspec.ValidationError, self.gateway.call, "config.get", {"path": "gateway"})


class ConfigFileTests(MethodTestCase):
    """Which file it is."""

    def test_secrets_are_not_shown(self) -> None:
        """Neither the environment nor the key is in what a log might show."""
        shown = repr(ConfigFile(Path("c.json"), Path("state"), {"A_KEY": "s3cret"}, b"kkkk"))
        self.assertNotIn("s3cret", shown)
        self.assertNotIn("kkkk", shown)
