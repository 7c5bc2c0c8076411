"""Documents: values by path."""

from twisted.trial.unittest import TestCase

from openclaw.cli.config.document import is_setting, parse_path
from openclaw.config.schema import Config


class PathTests(TestCase):
    def test_forms(self) -> None:
        self.assertEqual(parse_path(""), ())
        self.assertEqual(parse_path("a"), ("a",))
        self.assertEqual(parse_path('["a b"].c[0][1]'), ("a b", "c", "0", "1"))


class SettingTests(TestCase):
    def test_whole(self) -> None:
        self.assertTrue(is_setting((), Config))
