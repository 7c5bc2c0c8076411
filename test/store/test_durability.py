"""What was acknowledged survives C{kill -9}, exactly once and in order."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import test.store
from openclaw.store.runs import interrupt_running
from openclaw.store.sqlite import open_database
from openclaw.store.transcripts import read_branch

from .appending_child import SESSIONS

ROUNDS = 10


class KillTests(SynchronousTestCase):
    def kill_after(self, path: Path, first: int, acknowledgements: int) -> list[int]:
        """Let a child append until it acknowledged so many turns; then kill it."""
        root = Path(test.store.__file__).parents[2]
        child = subprocess.Popen(
            [sys.executable, "-m", "test.store.appending_child", str(path), str(first)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": str(root)},
        )
        assert child.stdout is not None
        with child, child.stdout:
            lines = [child.stdout.readline() for _ in range(acknowledgements)]
            child.kill()
            # Written before the kill, so acknowledged too; the last line may be cut.
            lines += [line for line in child.stdout if line.endswith(b"\n")]
        return [int(line) for line in lines]

    def test_killed(self) -> None:
        path = Path(self.mktemp()).absolute() / "gateway.sqlite"
        acknowledged: list[int] = []
        for turn in range(ROUNDS):
            acknowledged += self.kill_after(path, turn * 1_000_000, 1 + 37 * turn)
            connection = open_database(path)
            stored: list[int] = []
            for session in range(SESSIONS):
                numbers = [int(entry.id, 16) for entry in read_branch(connection, f"agent:main:{session}")]
                self.assertEqual(len(numbers), len(set(numbers)))
                mine = [number for number in acknowledged if number % SESSIONS == session]
                kept = set(mine)
                self.assertEqual([number for number in numbers if number in kept], mine)
                stored += numbers
            (entries,) = connection.execute("SELECT count(*) FROM entries").fetchone()
            (runs,) = connection.execute("SELECT count(*) FROM runs").fetchone()
            self.assertEqual((entries, runs), (len(stored), len(stored)))
            self.assertLessEqual(set(acknowledged), set(stored))
            self.assertGreater(interrupt_running(connection), 0)
            self.assertEqual(connection.execute("PRAGMA integrity_check").fetchone(), ("ok",))
            connection.close()
