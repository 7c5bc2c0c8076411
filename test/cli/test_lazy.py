"""Groups whose commands are imported when they are used."""

import sys

import click
from click.testing import CliRunner
from twisted.trial.unittest import SynchronousTestCase

from openclaw.cli.lazy import LazyGroup


class LazyTests(SynchronousTestCase):
    def setUp(self) -> None:
        @click.group(cls=LazyGroup, commands_at={"far": ("test.cli.no_such_module", "far", "Is elsewhere.")})
        def group() -> None:
            """A group."""

        @group.command()
        def near() -> None:
            """Is here."""
            click.echo("near")

        self.group = group

    def test_help_imports_nothing(self) -> None:
        done = CliRunner().invoke(self.group, ["--help"])
        self.assertRegex(done.output, r"far +Is elsewhere.\n +near +Is here.\n")
        self.assertNotIn("test.cli.no_such_module", sys.modules)

    def test_commands(self) -> None:
        self.assertEqual(CliRunner().invoke(self.group, ["near"]).output, "near\n")
        self.assertEqual(CliRunner().invoke(self.group, ["nope"]).exit_code, 2)
        done = CliRunner().invoke(self.group, ["naer"])
        self.assertEqual(done.exit_code, 2)
        self.assertIn("No such command 'naer'; did you mean near?", done.output)
        self.assertNotIn("did you mean", CliRunner().invoke(self.group, ["xyz"]).output)
        self.assertIn("did you mean group --help?", CliRunner().invoke(self.group, ["help"]).output)
        self.assertNotIn("No such command", CliRunner().invoke(self.group, ["--nope"]).output)
        self.assertIsInstance(CliRunner().invoke(self.group, ["far"]).exception, ModuleNotFoundError)
