"""C{openclaw agents}."""

import sys
from unittest import mock

import click

from test.cli.agents.roster_support import RosterTestCase
from test.cli.gateway_fake import RemoteTestCase


class ListTests(RemoteTestCase):
    def test_configuration(self) -> None:
        self.write(
            {
                "models": {"providers": {"acme": {"baseUrl": "http://127.0.0.1:1/v1", "models": []}}},
                "agents": {
                    "defaults": {"workspace": "/w"},
                    "entries": {"a": {"model": "acme/m", "name": "Anna"}, "b": {"default": True, "workspace": "/b"}},
                },
            }
        )
        self.assertEqual(self.run_command("agents", "list", "--json"), 0)
        self.assertEqual(
            self.json_out(),
            [
                {"id": "a", "name": "Anna", "workspace": "/w", "model": "acme/m", "bindings": 0, "isDefault": False},
                {"id": "b", "workspace": "/b", "model": "local/smollm2-135m", "bindings": 0, "isDefault": True},
            ],
        )
        self.run_command("agents", "list")
        self.assertEqual(
            self.out.splitlines(),
            [
                "Agent        Model               Workspace",
                "a            acme/m              /w",
                "b (default)  local/smollm2-135m  /b",
            ],
        )
        self.assertEqual(self.gateway.requests, [])

    def test_implicit_agent(self) -> None:
        self.run_command("agents", "list", "--json")
        self.assertEqual(
            self.json_out(), [{"id": "main", "model": "local/smollm2-135m", "bindings": 0, "isDefault": True}]
        )

    def test_gateway_elsewhere(self) -> None:
        self.gateway.methods["agents.list"] = {
            "defaultId": "x",
            "agents": [{"id": "x", "name": "X", "workspace": "/x", "model": {"primary": "p/m"}}, {"id": "y"}],
        }
        self.assertEqual(self.run_command("agents", "list", "--json", "--url", "ws://127.0.0.1:1", "--token", "t"), 0)
        self.assertEqual(
            self.json_out(),
            [
                {"id": "x", "name": "X", "workspace": "/x", "model": "p/m", "bindings": 0, "isDefault": True},
                {"id": "y", "bindings": 0, "isDefault": False},
            ],
        )
        self.gateway.methods["agents.list"] = lambda socket, frame: None
        self.run_command("agents", "list", "--json", "--url", "ws://127.0.0.1:1")
        self.assertEqual(self.json_out(), [])

    def test_help_names_all(self) -> None:
        self.assertEqual(self.run_command("agents", "--help"), 0)
        for name in ("add", "delete", "list"):
            self.assertIn(f"\n  {name} ", self.out)


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
