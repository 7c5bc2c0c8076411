"""Commands that are run to their end as processes, beside a real gateway."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from test.scenario.support import DEADLINE_S, OPENCLAW, GatewayTestCase, Program

ESCAPE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
"""What only a terminal wants."""


@attrs.frozen
class Done:
    """What a command did."""

    status: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """Its standard output without the blanks at its end."""
        return self.out.rstrip()

    @property
    def json(self) -> Any:
        """Its standard output, which is JSON and nothing else."""
        return json.loads(self.out)

    @property
    def told(self) -> list[str]:
        """The lines on standard error."""
        return self.err.splitlines()


def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > deadline_s:
            raise AssertionError("it did not come to that")
        time.sleep(0.02)


class CommandsTestCase(GatewayTestCase):
    """A test that runs commands."""

    def run_command(self, *arguments: str, stdin: bytes = b"", status: int | None = 0, **environ: str) -> Done:
        """
        Run C{openclaw} to its end.

        @param status: the exit status that is expected; C{None} for any.
        @param environ: variables besides those of the test.
        """
        completed = subprocess.run(
            (*OPENCLAW, *arguments),
            check=False,
            env={**self.environ, **environ},
            cwd=self.home,
            input=stdin,
            capture_output=True,
            timeout=DEADLINE_S,
        )
        done = Done(completed.returncode, completed.stdout.decode(), completed.stderr.decode())
        self.assertNotIn("Traceback", done.err, arguments)
        self.assertIsNone(ESCAPE.search(done.out + done.err), f"{arguments}: {done.out!r} {done.err!r}")
        if status is not None:
            self.assertEqual(done.status, status, f"{arguments}: {done.out}\n{done.err}")
        return done

    def assert_failed(self, done: Done, text: str, status: int = 1) -> None:
        """It has ended with one line on standard error and nothing on standard output."""
        self.assertEqual((done.status, done.out), (status, ""), done.err)
        self.assertEqual(len(done.told), 1, done.err)
        self.assertTrue(done.err.startswith("openclaw: "), done.err)
        self.assertIn(text, done.err)

    def assert_failed_json(self, done: Done, kind: str, text: str) -> dict[str, Any]:
        """It has told the failure as JSON on standard output and in one line on standard error; give the error."""
        self.assertEqual(done.status, 1, done.err)
        envelope = done.json
        self.assertEqual((envelope["ok"], envelope["error"]["type"]), (False, kind), done.out)
        self.assertIn(text, envelope["error"]["message"])
        self.assertEqual(len(done.told), 1, done.err)
        error: dict[str, Any] = envelope["error"]
        return error

    def serve(self, **gateway: Any) -> Program:
        """Write the usual configuration and start a gateway."""
        self.write(self.document(**gateway))
        return self.gateway()

    def config_path(self) -> Path:
        """The configuration file."""
        return self.state_dir / "openclaw.json"
