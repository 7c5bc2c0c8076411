"""Tests of L{openclaw.cli.options}."""

from typing import Any

import attrs
import click
from click.testing import CliRunner
from twisted.trial.unittest import SynchronousTestCase

from openclaw.cli.options import gathered, together
from test.cli.support import CommandTestCase


@attrs.frozen
class Pair:
    left: str | None
    right: int


pair_options = together(
    click.option("--left", help="One."),
    click.option("--right", type=int, default=2, help="Other."),
    gathered("pair", Pair),
)


class GatheredTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.given: list[Any] = []

        @click.command()
        @pair_options
        @click.option("--more", is_flag=True)
        @click.pass_context
        def command(ctx: click.Context, pair: Pair, more: bool) -> None:
            self.given.append((pair, more))

        self.command = command

    def test_one_value(self) -> None:
        for arguments, value in (((), (Pair(None, 2), False)), (("--right=5", "--more"), (Pair(None, 5), True))):
            self.assertEqual(CliRunner().invoke(self.command, arguments).exit_code, 0)
            self.assertEqual(self.given.pop(), value)

    def test_help_in_their_order(self) -> None:
        words = CliRunner().invoke(self.command, ["--help"]).output.split()
        self.assertEqual([word for word in words if word.startswith("--")], ["--left", "--right", "--more", "--help"])


class TimeoutTests(CommandTestCase):
    def test_not_a_number(self) -> None:
        for command in (("status",), ("health",), ("gateway", "call", "health")):
            for text in ("nan", "-nan", "inf", "0", "601"):
                self.assertEqual(self.run_command(*command, f"--timeout={text}"), 2, text)
