"""Tests of L{openclaw.config.redaction}: what of documents and settings may be shown."""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from openclaw.config.amounts import Duration, Size
from openclaw.config.gateway import AuthConfig, GatewayConfig
from openclaw.config.load import parse_config
from openclaw.config.models import ModelsConfig, ProviderConfig
from openclaw.config.redaction import REDACTED, as_document, redacted, secret_values
from openclaw.config.schema import Config
from openclaw.config.secret import Secret


class DocumentTests(SynchronousTestCase):
    def test_hides_every_secret_of_the_configuration(self) -> None:
        document = {
            "gateway": {"auth": {"mode": "token", "token": "tok-x", "password": "pass-x"}},
            "models": {
                "providers": {
                    "p": {"baseUrl": "http://h/v1", "apiKey": "key-x", "headers": {"a": "head-x"}},
                }
            },
            "env": {"A": "bare-x", "vars": {"B": "var-x"}},
        }
        config, _ = parse_config(document, {})
        secrets = [secret.reveal() for _, secret in config.secrets()]
        self.assertEqual(len(secrets), 6)
        shown = str(redacted(document))
        for secret in secrets:
            self.assertNotIn(secret, shown)
        self.assertIn("http://h/v1", shown)

    def test_leaves_what_is_none(self) -> None:
        document = {"maxTokens": 5, "tokens": ["a"], "model": "m", "token": {"source": "env", "id": "X"}, "key": None}
        self.assertEqual(redacted(document), document)

    def test_lists_of_secrets(self) -> None:
        self.assertEqual(redacted({"apiKey": ["a"]}), {"apiKey": [REDACTED]})

    def test_does_not_change_the_document(self) -> None:
        document = {"token": "x"}
        redacted(document)
        self.assertEqual(document, {"token": "x"})


class RedactionTests(SynchronousTestCase):
    """Documents and settings without their secrets."""

    def test_documents(self) -> None:
        """A key's name decides, at any depth; what only names a variable or a secret stays."""
        reference = {"source": "env", "id": "NAME"}
        document = {
            "apiKey": "a",
            "private_key": "b",
            "nested": {"password": {"deep": ["c", 7]}, "tokens": 3, "maxTokens": 5},
            "list": [{"clientSecret": "d"}, "plain"],
            "token": reference,
            "env": {"A": "e", "vars": {"B": "f"}, "shellEnv": {"enabled": True}},
            "cookie": "${COOKIE}",
            "url": "https://user:g@host/x",
            "query": "https://host/x?key=h&api_key=i&n=1&access.token=j#k",
        }
        expected = {
            "apiKey": REDACTED,
            "private_key": REDACTED,
            "nested": {"password": {"deep": [REDACTED, 7]}, "tokens": 3, "maxTokens": 5},
            "list": [{"clientSecret": REDACTED}, "plain"],
            "token": reference,
            "env": {"A": REDACTED, "vars": {"B": REDACTED}, "shellEnv": {"enabled": True}},
            "cookie": "${COOKIE}",
            "url": f"https://{REDACTED}@host/x",
            "query": f"https://host/x?key={REDACTED}&api_key={REDACTED}&n=1&access.token={REDACTED}#k",
        }
        self.assertEqual(expected, redacted(document))

    def test_what_is_a_key_by_its_looks(self) -> None:
        """It is hidden below any key, so also in settings that nobody here knows."""
        pem = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY-----"
        document = {
            "args": ["--verbose", "sk-proj-0123456789abcdef"],
            "hook": {"pem": pem, "url": "https://api.example/bot123456789:AAabcdefghijklmnopqrstuvwxyz0123456/send"},
            "model": "hf_hub/task-force-one",
        }
        hidden = {"args": ["--verbose", REDACTED], "hook": {"pem": REDACTED, "url": REDACTED}}
        self.assertEqual({**hidden, "model": "hf_hub/task-force-one"}, redacted(document))

    def test_known_secrets(self) -> None:
        """They are hidden below any key; what may be an ordinary word is not."""
        document = {"tokn": "the-token", "list": ["the-token", "the-token-2"], "api": "ollama"}
        expected = {"tokn": REDACTED, "list": [REDACTED, "the-token-2"], "api": "ollama"}
        self.assertEqual(expected, redacted(document, known={"the-token", "ollama"}))

    def test_settings(self) -> None:
        """Settings under the names of the file; what is not set is left out."""
        config = Config(
            gateway=GatewayConfig(auth=AuthConfig(token=Secret("x"))),
            models=ModelsConfig(providers={"p": ProviderConfig("http://u:p@h/v1?key=q", headers={"X": Secret("y")})}),
            schema="https://example.org",
        )
        shown = as_document(config)
        self.assertEqual("https://example.org", shown["$schema"])
        self.assertEqual(REDACTED, shown["gateway"]["auth"]["token"])
        self.assertNotIn("password", shown["gateway"]["auth"])
        self.assertEqual({"X": REDACTED}, shown["models"]["providers"]["p"]["headers"])
        self.assertEqual(f"http://{REDACTED}@h/v1?key={REDACTED}", shown["models"]["providers"]["p"]["baseUrl"])
        self.assertEqual(["text", REDACTED], as_document(("text", "https://h/v1/sk-proj-0123456789abcdef")))

    def test_amounts(self) -> None:
        """Durations and sizes in a form that the file may have; no limit is C{false}."""
        given = (Duration(90.0), Duration(None), Size(1024), Size(None))
        self.assertEqual(["90s", False, "1024b", False], as_document(given))
        self.assertEqual(given, (Duration.parse("90s"), Duration.parse(False), Size.parse("1024b"), Size.parse(False)))

    def test_part_of_its_parent(self) -> None:
        """A field without a name of its own gives what is in it to its parent."""

        @attrs.frozen
        class Inner:
            a: int = 1

        @attrs.frozen
        class Outer:
            inner: Inner = attrs.field(factory=Inner, metadata={"disk": ""})
            off: bool = False

        self.assertEqual({"a": 1, "off": False}, as_document(Outer()))


class SecretValuesTests(SynchronousTestCase):
    def test_all(self) -> None:
        document = {
            "gateway": {"auth": {"token": "gateway-token"}},
            "models": {
                "providers": {
                    "p": {"baseUrl": "http://h", "apiKey": "${P_KEY}", "headers": {"X-Key": "header-key"}},
                    "q": {"baseUrl": "http://h", "apiKey": "${MISSING_ONE}"},
                }
            },
            "env": {"vars": {"A": "from-env"}},
        }
        environ = {
            "P_KEY": "provider-key",
            "ACME_API_KEYS": "one,two",
            "MY_SECRET": "s",
            "PATH": "/bin",
            "KEYBOARD": "us",
        }
        config, _ = parse_config(document, environ)
        self.assertEqual(
            sorted(secret_values(config, environ)),
            sorted(["gateway-token", "provider-key", "header-key", "from-env", "one,two", "one", "two", "s"]),
        )
