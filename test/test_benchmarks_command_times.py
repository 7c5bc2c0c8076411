"""L{benchmarks.command_times}: what is run how often, and when a goal is missed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import command_times
from benchmarks.command_times import COMMANDS, HELP, Timing, added_s, report, timings, wall_s
from benchmarks.targets import Target, TargetError


class TimingTests(SynchronousTestCase):
    def test_rounds(self) -> None:
        """The first round does not count, and every command runs once in each."""
        asked: list[tuple[str, ...]] = []

        def measure(arguments: Sequence[str]) -> float:
            asked.append(tuple(arguments))
            return len(asked) / 1000

        measured = timings(2, measure)
        count = len(HELP) + len(COMMANDS)
        self.assertEqual(len(asked), 3 * count)
        self.assertEqual(asked[:count], asked[count : 2 * count])
        self.assertEqual(measured[0].name, "--help")
        self.assertEqual(measured[0].walls_s, ((count + 1) / 1000, (2 * count + 1) / 1000))
        self.assertEqual([row.goal_s for row in measured], [0.35] * len(HELP) + [0.6] * len(COMMANDS))

    def test_added(self) -> None:
        """The median of what is left of the time of agent."""
        walls = iter([0.4, 0.45, 0.4, 0.9, 0.4, 0.44])
        self.assertAlmostEqual(added_s(3, lambda _: next(walls), lambda: 0.01), 0.04)

    def test_report(self) -> None:
        good, late = Timing("status", (0.1, 0.2, 0.9), 0.6), Timing("doctor", (0.61,), 0.6)
        text, missed = report([good], 0.02)
        self.assertFalse(missed)
        self.assertNotIn("!", text)
        text, missed = report([good, late], 0.0)
        self.assertTrue(missed)
        self.assertEqual([line.endswith(" !") for line in text.splitlines()], [False, False, True, False])
        text, missed = report([good], 0.0201)
        self.assertTrue(missed and text.endswith(" !"))

    def test_wall(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        script = folder / "program.py"
        script.write_text("import sys; print('no', file=sys.stderr); sys.exit(len(sys.argv) > 2)")
        program = (sys.executable, str(script.absolute()))
        target = Target(
            name="x", argv=program, environment={"HOME": str(folder)}, port=1, help_argv=(*program, "--help")
        )
        self.assertGreater(wall_s(target, ["one"]), 0)
        error = self.assertRaises(TargetError, wall_s, target, ["one", "two"])
        self.assertEqual(str(error), "openclaw one two exits with 1: no")
        self.patch(command_times, "COMMAND_DEADLINE_S", 0)
        self.assertRaises(TargetError, wall_s, target, ["one"])
