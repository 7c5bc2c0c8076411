"""C{openclaw agents add} and C{delete}, C{openclaw models set}."""

import sys
from typing import Any
from unittest import mock

import click

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


class DeleteTests(RosterTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.run_command("agents", "add", "work")

    def test_delete(self) -> None:
        self.assertEqual(self.run_command("agents", "delete", "WORK", "--force"), 0)
        self.assertEqual(self.agents()["entries"], {"main": {}})

    def test_json(self) -> None:
        self.assertEqual(self.run_command("agents", "delete", "work", "--force", "--json"), 0)
        self.assertEqual(self.json_out()["changed"], ["agents.entries.work"])

    def test_older_form(self) -> None:
        self.write({"agents": {"list": [{"id": "a", "default": True}, {"id": "B"}]}})
        self.assertEqual(self.run_command("agents", "delete", "b", "--force"), 0)
        self.assertEqual(self.agents(), {"list": [{"id": "a", "default": True}]})

    def test_asks(self) -> None:
        with mock.patch.object(sys, "stdin", mock.Mock(isatty=lambda: True)):
            for effect, status, left in (
                ({"side_effect": click.Abort}, 130, 2),
                ({"return_value": False}, 1, 2),
                ({"return_value": True}, 0, 1),
            ):
                with mock.patch("click.confirm", **effect):
                    self.assertEqual(self.run_command("agents", "delete", "work"), status)
                self.assertEqual(self.err, "openclaw: nothing was changed\n" if status == 1 else "")
                self.assertEqual(len(self.agents()["entries"]), left)

    def test_refused(self) -> None:
        with mock.patch.object(sys, "stdin", mock.Mock(isatty=lambda: False)):
            self.refused("add --force", "agents", "delete", "work")
        self.refused("there is no agent nope in the configuration (main, work)", "agents", "delete", "nope", "--force")
        self.refused("systemAgent.agentId work", "agents", "delete", "main", "--force")
        self.write({"agents": {"entries": {"only": {}}}})
        self.refused("only is the only agent", "agents", "delete", "only", "--force")
        self.write({})
        self.refused("none is named", "agents", "delete", "main", "--force")


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
