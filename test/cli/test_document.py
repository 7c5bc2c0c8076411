"""Documents: what may be shown."""

from twisted.trial.unittest import TestCase

from openclaw.cli.document import find, is_setting, parse_path, redacted
from openclaw.cli.output import REDACTED
from openclaw.config.load import parse_config
from openclaw.config.schema import Config


class PathTests(TestCase):
    def test_forms(self) -> None:
        self.assertEqual(parse_path(""), ())
        self.assertEqual(parse_path("a"), ("a",))
        self.assertEqual(parse_path('["a b"].c[0][1]'), ("a b", "c", "0", "1"))

    def test_find_tells_null_from_nothing(self) -> None:
        self.assertEqual(find({"a": None}, ("a",)), (True, None))
        self.assertEqual(find({"a": None}, ("a", "b")), (False, None))
        self.assertEqual(find({"a": [1]}, ("a", "1")), (False, None))


class RedactedTests(TestCase):
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


class SettingTests(TestCase):
    def test_whole(self) -> None:
        self.assertTrue(is_setting((), Config))
