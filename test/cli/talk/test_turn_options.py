"""The options of commands that give an agent a message."""

from typing import Any

import click

from openclaw.cli.talk.turn_options import turn_options
from test.cli.support import CommandTestCase


class TurnOptionsTests(CommandTestCase):
    def parsed(self, *arguments: str) -> dict[str, Any]:
        @click.command()
        @turn_options
        def command(**options: Any) -> dict[str, Any]:
            return options

        value = command.main(arguments, standalone_mode=False)
        assert isinstance(value, dict)
        return value

    def test_names(self) -> None:
        nothing = {"agent_id": None, "session_key": None, "thinking": None, "timeout_s": 600.0}
        self.assertEqual(self.parsed(), nothing)
        for name in ("--session", "--session-key"):
            self.assertEqual(self.parsed(name, "k"), {**nothing, "session_key": "k"})
        given = self.parsed("--agent", "a", "--thinking", "low", "--timeout", "2.5")
        self.assertEqual(given, {**nothing, "agent_id": "a", "thinking": "low", "timeout_s": 2.5})

    def test_both_commands_have_them(self) -> None:
        for command in ("agent", "chat"):
            for bad in ("0", "172801", "nan", "x"):
                arguments = (command, "--timeout", bad)
                self.assertEqual(self.run_command(*arguments), 2, arguments)
