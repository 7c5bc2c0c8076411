"""C{openclaw config file}."""

import os

from test.cli.support import CommandTestCase


class FileTests(CommandTestCase):
    def test_file(self) -> None:
        self.assertEqual(self.run_command("config", "file"), 0)
        self.assertEqual(self.out, f"{self.state_dir / 'openclaw.json'}\n")

    def test_profile_and_variable(self) -> None:
        self.run_command("--profile", "dev", "config", "file")
        self.assertEqual(self.out, f"{self.home / '.openclaw-dev' / 'openclaw.json'}\n")
        os.environ["OPENCLAW_CONFIG_PATH"] = "~/x.json"
        self.run_command("config", "file")
        self.assertEqual(self.out, f"{self.home / 'x.json'}\n")
