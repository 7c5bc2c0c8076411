"""What is installed is complete: a wheel in an environment of its own has the commands, the plugin and the data."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from twisted.trial.unittest import SkipTest, TestCase

import openclaw
from openclaw._version import __version__

ROOT = Path(openclaw.__file__).parent.parent


class WheelTests(TestCase):
    """A wheel, built from a copy of the checkout and installed where nothing of the checkout is."""

    timeout = 120

    def setUp(self) -> None:
        if not (ROOT / "setup.py").exists():
            raise SkipTest("not a checkout")
        self.folder = Path(self.mktemp()).absolute()
        source = self.folder / "source"
        source.mkdir(parents=True)
        for name in ("setup.py", "pyproject.toml", "README.md"):
            shutil.copy(ROOT / name, source)
        for name in ("openclaw", "twisted"):
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "dropin.cache"))
        self.source = source
        # Only what is installed may be found, neither the checkout nor a user's packages.
        self.environ = {"PATH": os.defpath, "HOME": str(self.folder), "PYTHONNOUSERSITE": "1"}

    def command(self, *arguments: object, cwd: Path | None = None) -> str:
        """Run a command to its end; its output, or a failure that shows it."""
        done = subprocess.run(
            [str(argument) for argument in arguments],
            check=False,
            cwd=cwd or self.folder,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=100,
        )
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout

    def test_wheel(self) -> None:
        """The commands run, twistd lists the plugin, and the database's schema is there."""
        self.command(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", self.folder, self.source)
        [wheel] = self.folder.glob("*.whl")
        self.command(sys.executable, "-m", "venv", self.folder / "venv")
        python = self.folder / "venv" / "bin" / "python"
        self.command(python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", wheel)
        # The dependencies are those of the environment that runs this test; openclaw itself is not taken from there.
        site = Path(self.command(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
        (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")

        where = self.command(python, "-c", "import openclaw; print(openclaw.__file__)")
        self.assertTrue(where.startswith(str(site)), where)
        self.assertEqual(self.command(python.parent / "openclaw", "version"), f"openclaw {__version__}\n")
        self.assertIn("--endpoint", self.command(python, "-m", "twisted", "openclaw", "--help"))
        self.assertIn("--endpoint", self.command(python, "-c", TWISTD, "openclaw", "--help"))
        self.assertEqual(self.command(python, "-c", SCHEMA), "opened\n")


TWISTD = "from twisted.scripts.twistd import run; run()"

SCHEMA = """
from pathlib import Path
from openclaw.store.store import GatewayStore
GatewayStore.in_memory()
print("opened")
"""
