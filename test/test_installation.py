"""What to type to install more of this program."""

import importlib.metadata
import json
import shlex
import sys
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from openclaw import installation
from openclaw.installation import install_command, upgrade_command

PIP = f"{shlex.quote(sys.executable)} -m pip install"


class InstallationTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.site = self.folder / "site-packages"
        self.record = self.site / "openclaw-1.dist-info" / "direct_url.json"
        self.record.parent.mkdir(parents=True)
        self.source = self.folder / "my source"
        (self.source / "openclaw").mkdir(parents=True)

    def make_checkout(self) -> None:
        (self.source / "setup.py").write_text("")
        (self.source / "openclaw" / "installation.py").write_text("")

    def installed(self) -> None:
        self.patch(installation, "_PACKAGE", self.site / "openclaw")
        self.record.write_text(json.dumps({"url": self.source.as_uri(), "dir_info": {}}))

    def test_runs_in_a_checkout(self) -> None:
        self.make_checkout()
        self.patch(installation, "_PACKAGE", self.source / "openclaw")
        self.assertEqual(install_command("local"), f"{PIP} -e '{self.source}[local]'")
        self.assertEqual(upgrade_command(), f"{PIP} --upgrade -e '{self.source}'")

    def test_installed_from_a_checkout(self) -> None:
        self.make_checkout()
        self.installed()
        self.assertEqual(install_command("local"), f"{PIP} '{self.source}[local]'")
        self.assertEqual(upgrade_command(), f"{PIP} --upgrade '{self.source}'")

    def test_the_checkout_is_gone(self) -> None:
        """Then the packages themselves are named, and never one of our name on an index."""
        self.installed()
        lines = ["attrs>=1", 'xllamacpp>=2026.10; extra == "local"', "openai; extra == 'test'"]
        with mock.patch.object(importlib.metadata, "requires", return_value=lines):
            self.assertEqual(install_command("local"), f"{PIP} 'xllamacpp>=2026.10'")
        missing = importlib.metadata.PackageNotFoundError("openclaw")
        with mock.patch.object(importlib.metadata, "requires", side_effect=missing):
            self.assertEqual(install_command("local"), f"{PIP} xllamacpp")
        self.assertIsNone(upgrade_command())
        for text in ("", "[]", "{}", '{"url": "https://h.example/x"}'):
            self.record.write_text(text)
            self.assertIsNone(upgrade_command())
