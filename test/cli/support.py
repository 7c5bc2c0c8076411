"""What the tests of the commands share: an empty home, and a way to call a command as the shell does."""

import io
import json
import os
import sys
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.trial.unittest import TestCase

from openclaw.cli.main import main


class FakeStream(io.TextIOWrapper):
    """A stream in memory, that may say it is a terminal."""

    def __init__(self, *, terminal: bool) -> None:
        self.memory = io.BytesIO()
        self._terminal = terminal
        super().__init__(self.memory, "utf-8")

    def isatty(self) -> bool:
        return self._terminal


class CommandTestCase(TestCase):
    """
    A test with an empty home folder and none of our variables.

    @ivar state_dir: where the state folder would be.
    @ivar out: what the last command wrote to standard output.
    @ivar err: what it wrote to standard error.
    """

    def setUp(self) -> None:
        self.home = Path(self.mktemp()).absolute()
        self.home.mkdir()
        self.state_dir = self.home / ".openclaw"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENCLAW_")}
        patch = mock.patch.dict(os.environ, {**kept, "HOME": str(self.home)}, clear=True)
        patch.start()
        self.addCleanup(patch.stop)
        self.out = self.err = ""

    def write(self, document: str | dict[str, Any], mode: int = 0o600) -> Path:
        """Write the configuration."""
        self.state_dir.mkdir(exist_ok=True)
        path = self.state_dir / "openclaw.json"
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        path.chmod(mode)
        return path

    def run_command(self, *arguments: str, terminal: bool = False) -> int:
        """Call C{openclaw}; give its exit status."""
        out, err = FakeStream(terminal=terminal), FakeStream(terminal=terminal)
        with mock.patch.object(sys, "stdout", out), mock.patch.object(sys, "stderr", err):
            with self.assertRaises(SystemExit) as ended:
                main(arguments)
            out.flush()
            err.flush()
        self.out, self.err = out.memory.getvalue().decode(), err.memory.getvalue().decode()
        self.assertNotIn("Traceback", self.err)
        status = ended.exception.code
        assert isinstance(status, int)
        return status

    def json_out(self) -> Any:
        """What the last command printed, as JSON."""
        return json.loads(self.out)
