"""How errors are told."""

from twisted.trial.unittest import TestCase

from openclaw.config.describe import describe, exit_status
from openclaw.errors import ConfigError, OpenClawError, StartError, StoreError


class DescribeTests(TestCase):
    def test_one_line(self) -> None:
        self.assertEqual(describe(StartError("no port")), "openclaw: no port")

    def test_a_line_for_each_problem(self) -> None:
        self.assertEqual(
            describe(ConfigError(["a: bad", "b: bad"], "/x")),
            "openclaw: the configuration /x cannot be used:\n  a: bad\n  b: bad",
        )
        self.assertEqual(describe(ConfigError(["a: bad"])), "openclaw: the configuration cannot be used:\n  a: bad")

    def test_statuses(self) -> None:
        self.assertEqual(exit_status(ConfigError(["x"])), 78)
        self.assertEqual(exit_status(StartError("x")), 1)
        self.assertEqual(exit_status(StartError("x", 5)), 5)
        self.assertEqual(exit_status(StoreError("x")), 1)
        self.assertEqual(exit_status(OpenClawError("x")), 1)
