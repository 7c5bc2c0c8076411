"""C{openclaw models set}."""

from test.cli.agents.roster_support import RosterTestCase


class ModelTests(RosterTestCase):
    def test_broken_roster(self) -> None:
        """A roster that is broken by hand is told as such."""
        for agents in ([], 5, {"list": 5}, {"list": [5]}, {"list": [{"id": 5}]}, {"entries": None}):
            self.write({"agents": agents})
            self.assertEqual(self.run_command("models", "set", "p/m", "--agent", "main"), 78)
            self.assertIn("agents", self.err)

    def test_defaults(self) -> None:
        self.assertEqual(self.run_command("models", "set", "local/smollm2-135m"), 0)
        self.assertEqual(self.agents(), {"defaults": {"model": {"primary": "local/smollm2-135m"}}})
        self.run_command("config", "set", "agents.defaults.model.fallbacks", "['a/b']")
        self.run_command("models", "set", "x/y", "--json")
        self.assertEqual(self.json_out()["model"], "x/y")
        self.assertEqual(self.agents()["defaults"]["model"], {"primary": "x/y", "fallbacks": ["a/b"]})

    def test_text(self) -> None:
        self.write({"agents": {"defaults": {"model": "a/b"}, "entries": {"Main": {}}}})
        self.run_command("models", "set", "x/y")
        self.assertIn("the default model is now x/y in", self.out)
        self.assertIn("no provider is configured for x/y", self.err)
        self.assertEqual(self.agents()["defaults"], {"model": "x/y"})

    def test_agent(self) -> None:
        self.write({"agents": {"entries": {"Main": {}}}})
        self.assertEqual(self.run_command("models", "set", "x/y", "--agent", "main"), 0)
        self.assertEqual(self.agents(), {"entries": {"Main": {"model": {"primary": "x/y"}}}})
        self.write({"agents": {"list": [{"id": "a"}, {"id": "b", "model": "p/q"}], "defaults": {}}})
        self.assertEqual(self.run_command("models", "set", "x/y", "--agent", "b"), 0)
        self.assertEqual(self.agents()["list"], [{"id": "a"}, {"id": "b", "model": "x/y"}])

    def test_refused(self) -> None:
        self.refused('expected a model as "provider/model"', "models", "set", "gpt")
        self.refused("there is no agent nope", "models", "set", "x/y", "--agent", "nope")
