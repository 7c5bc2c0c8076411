"""Tests of L{openclaw.config.secrets}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from openclaw.config.load import parse_config
from openclaw.config.secrets import secret_values


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
