"""What the tests of the commands share that change the configuration file."""

from test.cli.support import CommandTestCase

TEXT = """\
{
  // of mine
  gateway: { mode: "local", port: 18789, auth: { token: "0123456789abcdefgh" } },
  agents: { entries: { a: {}, b: {} }, defaults: { systemAgent: { agentId: "a" } } },
}
"""


class EditingTestCase(CommandTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.path = self.write(TEXT)

    def assert_refused(self, reason: str, *arguments: str, status: int = 1) -> None:
        before = self.path.read_text()
        self.assertEqual(self.run_command(*arguments), status, self.out + self.err)
        self.assertIn(reason, self.err + self.out)
        self.assertEqual(self.path.read_text(), before)
