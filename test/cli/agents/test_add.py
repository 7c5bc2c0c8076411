"""C{openclaw agents add}."""

from test.cli.agents.roster_support import RosterTestCase


class AddTests(RosterTestCase):
    def test_first_keeps_the_implicit_one(self) -> None:
        self.assertEqual(self.run_command("agents", "add", "Work", "--workspace", "/w", "--model", "local/x"), 0)
        self.assertIn("added the agent work in", self.out)
        self.assertEqual(
            self.agents(),
            {
                "entries": {"main": {}, "work": {"name": "Work", "workspace": "/w", "model": "local/x"}},
                "defaults": {"systemAgent": {"agentId": "main"}},
            },
        )
        self.assertEqual(self.run_command("agents", "add", "third", "--json", "--non-interactive"), 0)
        told = self.json_out()
        self.assertEqual((told["ok"], told["agentId"], told["effect"]), (True, "third", "hot"))
        self.assertEqual(self.agents()["defaults"], {"systemAgent": {"agentId": "main"}})

    def test_main(self) -> None:
        self.run_command("agents", "add", "main")
        self.assertEqual(self.agents(), {"entries": {"main": {}}})

    def test_older_form(self) -> None:
        self.write({"agents": {"list": [{"id": "a", "default": True}]}})
        self.assertEqual(self.run_command("agents", "add", "b", "--agent-dir", "/x"), 0)
        self.assertEqual(self.agents(), {"list": [{"id": "a", "default": True}, {"id": "b", "agentDir": "/x"}]})

    def test_refused(self) -> None:
        self.run_command("agents", "add", "work")
        self.refused("there is an agent work already", "agents", "add", "WORK")
        self.refused("is no agent id", "agents", "add", "a b!")
        self.refused("channels are not available yet", "agents", "add", "x", "--bind", "telegram")
        self.refused('expected a model as "provider/model"', "agents", "add", "x", "--model", "m")
