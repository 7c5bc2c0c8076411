"""C{openclaw agents delete}."""

import sys
from unittest import mock

import click

from test.cli.agents.roster_support import RosterTestCase


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
