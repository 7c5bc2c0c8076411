"""Tests of L{openclaw.cli.options}."""

from test.cli.support import CommandTestCase


class TimeoutTests(CommandTestCase):
    def test_not_a_number(self) -> None:
        for command in (("status",), ("health",), ("gateway", "call", "health")):
            for text in ("nan", "-nan", "inf", "0", "601"):
                self.assertEqual(self.run_command(*command, f"--timeout={text}"), 2, text)
