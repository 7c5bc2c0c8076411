"""What the tests of commands share that change the agents of the configuration."""

from typing import Any

from test.cli.support import CommandTestCase


class RosterTestCase(CommandTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.path = self.write({"gateway": {"mode": "local", "auth": {"token": "0123456789abcdefgh"}}})

    def agents(self) -> Any:
        self.assertEqual(self.run_command("config", "get", "agents", "--json"), 0, self.err)
        return self.json_out()

    def refused(self, reason: str, *arguments: str) -> None:
        before = self.path.read_text()
        self.assertEqual(self.run_command(*arguments), 1)
        self.assertIn(reason, self.err)
        self.assertEqual(self.path.read_text(), before)
