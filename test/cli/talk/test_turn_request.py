"""The options of commands that give an agent a message."""

import click

from openclaw.cli.talk.turn_request import TurnOptions, turn_options
from test.cli.support import CommandTestCase


class TurnOptionsTests(CommandTestCase):
    def parsed(self, *arguments: str) -> TurnOptions:
        @click.command()
        @turn_options
        def command(turn: TurnOptions) -> TurnOptions:
            return turn

        value = command.main(arguments, standalone_mode=False)
        assert isinstance(value, TurnOptions)
        return value

    def test_names(self) -> None:
        self.assertEqual(self.parsed(), TurnOptions(None, None, None, 600.0))
        for name in ("--session", "--session-key"):
            self.assertEqual(self.parsed(name, "k"), TurnOptions(None, "k", None, 600.0))
        given = self.parsed("--agent", "a", "--thinking", "low", "--timeout", "2.5")
        self.assertEqual(given, TurnOptions("a", None, "low", 2.5))

    def test_both_commands_have_them(self) -> None:
        for command in ("agent", "chat"):
            for bad in ("0", "172801", "nan", "x"):
                arguments = (command, "--timeout", bad)
                self.assertEqual(self.run_command(*arguments), 2, arguments)
