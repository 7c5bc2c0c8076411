"""C{openclaw config unset}."""

from test.cli.config.editing_support import EditingTestCase

TEXT = """\
{
  // of mine
  gateway: { mode: "local", port: 18789, auth: { token: "0123456789abcdefgh" } },
  agents: { entries: { a: {}, b: {} }, defaults: { systemAgent: { agentId: "a" } } },
}
"""


class UnsetTests(EditingTestCase):
    def test_unset(self) -> None:
        self.assertEqual(self.run_command("config", "unset", "gateway.port", "--dry-run"), 0)
        self.assertEqual(self.path.read_text(), TEXT)
        self.assertEqual(self.run_command("config", "unset", "gateway.port"), 0)
        self.assertEqual(self.path.read_text(), TEXT.replace(" port: 18789,", ""))
        self.assertIn("removed gateway.port in", self.out)
        self.assertEqual(self.run_command("config", "unset", "agents.entries.b", "--json"), 0)
        self.assertEqual(self.json_out()["changed"], ["agents.entries.b"])

    def test_refused(self) -> None:
        self.assert_refused("gateway.bind: not set", "config", "unset", "gateway.bind")
        self.assert_refused("name what is to be removed", "config", "unset", "")
        self.assert_refused("no credential: set gateway.auth.token first", "config", "unset", "gateway.auth.token")
        self.assert_refused("lose gateway.mode", "config", "unset", "gateway.mode")

    def test_shrink(self) -> None:
        self.run_command("config", "set", "skills.x", "y" * 900)
        self.assert_refused("shrink", "config", "unset", "skills")
        self.assertEqual(self.run_command("config", "unset", "skills", "--replace"), 0)
