"""L{benchmarks}: the statistics, the table, and the command as a whole."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from benchmarks import __main__ as command
from benchmarks import report, stats, store_scale, suite, targets
from benchmarks.load import Plan, Result
from benchmarks.report import Row
from benchmarks.stats import Spread
from benchmarks.targets import Target, TargetError


class QuantileTests(SynchronousTestCase):
    """The statistics."""

    def test_nearest_rank(self) -> None:
        values = [float(number) for number in range(100, 0, -1)]
        self.assertEqual(stats.quantile(values, 0.5), 51.0)
        self.assertEqual(stats.quantile(values, 0.99), 100.0)
        self.assertEqual(stats.quantile(values, 0), 1.0)
        self.assertEqual(stats.quantile([7.0], 1), 7.0)
        self.assertIsNone(stats.quantile([], 0.5))

    def test_fraction_out_of_range(self) -> None:
        error = self.assertRaises(ValueError, stats.quantile, [1.0], 50)
        self.assertEqual(str(error), "fraction: expected 0 to 1, got 50")

    def test_spread_is_in_ms(self) -> None:
        self.assertEqual(stats.spread([0.001, 0.0020049, 0.003]), Spread(p50=2.0, p99=3.0))
        self.assertEqual(stats.spread([]), Spread(p50=None, p99=None))

    def test_cores(self) -> None:
        self.assertEqual(stats.choose_cores([5, 3, 9]), stats.Pinning(target=3, load=5))
        self.assertTrue(stats.choose_cores([4]).shared)

    def test_pinned_is_undone(self) -> None:
        before = os.sched_getaffinity(0)
        with stats.pinned(min(before)):
            self.assertEqual(os.sched_getaffinity(0), {min(before)})
        self.assertEqual(os.sched_getaffinity(0), before)


class ProcessUseTests(SynchronousTestCase):
    """What is read from procfs."""

    def add(self, pid: int, parent: int, *, user: int = 0, system: int = 0, pages: int = 0) -> None:
        fields = ["S", str(parent), *["0"] * 9, str(user), str(system), *["0"] * 8, str(pages), "0"]
        (self.proc / str(pid)).mkdir()
        (self.proc / str(pid) / "stat").write_text(f"{pid} (a) b (c) {' '.join(fields)}\n")

    def setUp(self) -> None:
        self.proc = Path(self.mktemp())
        self.proc.mkdir()
        (self.proc / "self").mkdir()
        (self.proc / "77").mkdir()  # a process that ended while we looked

    def test_descendants_count(self) -> None:
        page, tick = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
        self.add(10, 1, user=2 * tick, system=tick, pages=3 * 1_048_576 // page)
        self.add(11, 10, user=tick, pages=1_048_576 // page)
        self.add(12, 11, system=tick)
        self.add(20, 1, user=50 * tick, pages=1_048_576)
        self.assertEqual(stats.process_tree(10, self.proc), [10, 11, 12])
        self.assertEqual(stats.process_use(10, self.proc), stats.ProcessUse(cpu_s=5.0, rss_mb=4.0))

    def test_a_child_that_ends_meanwhile(self) -> None:
        self.add(10, 1, pages=1)
        with mock.patch.object(stats, "process_tree", lambda pid, proc: [10, 77]):
            self.assertIsNotNone(stats.process_use(10, self.proc))

    def test_gone(self) -> None:
        self.assertIsNone(stats.process_use(10, self.proc))
        self.assertEqual(stats.process_tree(10, self.proc), [10])

    def test_this_process(self) -> None:
        use = stats.process_use(os.getpid())
        assert use is not None
        self.assertGreater(use.rss_mb, 5)
        self.assertGreater(use.cpu_s, 0)


def result(**fields: Any) -> Result:
    """A good result."""
    given = {
        "n": 10, "failed": 0, "concurrency": 8, "stream": True, "wall_s": 1.0, "rps": 200.0, "first_ms": Spread(1, 2),
        "total_ms": Spread(3, 4), "events_per_s": 50_000, "cpu_ms_per_request": 5.0,
    }  # fmt: skip
    return Result(**{**given, **fields})


class ReportTests(SynchronousTestCase):
    """The goals and the table."""

    def rows(self, **fields: Any) -> tuple[Row, Row]:
        base = Row(target="model server alone", ready_s=[0.1], loads={"single": result(total_ms=Spread(0.5, 1))})
        loads = {name: result() for name in ("streams", "whole", "single", "long")}
        given = {"ready_s": [0.9, 3.0, 0.8], "idle_rss_mb": 80.0, "help_s": [0.3], "loads": loads}
        return base, Row(target="ours", **{**given, **fields})

    def test_all_met(self) -> None:
        base, row = self.rows()
        self.assertEqual(report.missed_goals(row, base, suite.STEPS), [])
        self.assertNotIn("!", report.table([base, row], base))

    def test_missed(self) -> None:
        loads = {
            "streams": result(rps=149.9, cpu_ms_per_request=6.01),
            "single": result(total_ms=Spread(4.51, 5)),
            "long": result(events_per_s=39_999),
            "whole": result(failed=1),
        }
        base, row = self.rows(ready_s=[1.01], idle_rss_mb=90.1, help_s=[0.36], loads=loads)
        self.assertEqual(
            report.missed_goals(row, base, suite.STEPS),
            [
                "streams req/s: 149.9, to be >= 150",
                "streams CPU ms: 6.01, to be <= 6",
                "over the model ms: 4.01, to be <= 4",
                "long streams events/s: 39,999, to be >= 40,000",
                "ready s: 1.01, to be <= 1",
                "idle RSS MB: 90.1, to be <= 90",
                "--help s: 0.36, to be <= 0.35",
                "failed requests: 1, to be <= 0",
            ],
        )
        self.assertEqual(report.table([base, row], base).count("!"), 8)

    def test_not_measured(self) -> None:
        base, row = self.rows(loads={"streams": result(failed=10)}, idle_rss_mb=None)
        missed = report.missed_goals(row, base, ("streams", "idle"))
        self.assertEqual(
            missed,
            [
                "streams req/s: not measured, to be >= 150",
                "streams CPU ms: not measured, to be <= 6",
                "idle RSS MB: not measured, to be <= 90",
                "failed requests: 10, to be <= 0",
            ],
        )
        self.assertEqual(report.missed_goals(Row(target="ours"), None, ()), [])

    def test_table(self) -> None:
        base, row = self.rows()
        lines = report.table([base, row, Row(target="LiteLLM", problem="x")], base).splitlines()
        self.assertEqual({len(line) for line in lines}, {len(lines[0])})
        self.assertEqual([line.split("  ")[0] for line in lines[3:6]], ["model server alone", "ours", "LiteLLM"])
        self.assertEqual(
            lines[4].split(),
            ["ours", "200.0", "5.00", "200.0", "5.00", "3.00", "2.50", "50,000", "0.90", "80.0", "0.30", "0"],
        )
        self.assertEqual(lines[5].split(), ["LiteLLM", *"-" * 11])
        self.assertTrue(lines[-1].startswith("goal"))
        self.assertEqual(report.goals()["ready s"], "<= 1")


class SuiteTests(SynchronousTestCase):
    """What is measured of a target."""

    def setUp(self) -> None:
        self.said: list[str] = []
        self.slept: list[float] = []
        self.plans: list[Plan] = []
        self.failed = 0
        self.starts = 0
        self.target = Target(
            name="ours", argv=("serve", "it"), environment={}, port=7, token="t", help_argv=("help",), starts=3
        )
        self.patch(suite, "started", self.started)
        self.patch(suite, "help_wall_s", lambda target, core, runs: [0.1] * runs)

    @contextlib.contextmanager
    def started(self, target: Target, core: int, log: Path) -> Any:
        self.starts += 1
        log = Path(self.mktemp())
        log.write_text("boom\n" * 30)
        yield targets.Started(os.getpid(), 0.5, log)

    async def load(self, plan: Plan, pid: int) -> Result:
        self.plans.append(plan)
        return result(failed=self.failed, problems={"status 500": self.failed} if self.failed else {})

    def measure(self, extent: suite.Extent) -> Row:
        pinning = stats.choose_cores(sorted(os.sched_getaffinity(0)))
        made = suite.Suite(extent, pinning, self.said.append, load=self.load, sleep=self.slept.append)
        return made.measure(self.target, Path(self.mktemp()))

    def test_everything(self) -> None:
        row = self.measure(suite.Extent())
        self.assertEqual((row.target, row.command, row.problem), ("ours", "serve it", ""))
        self.assertEqual((row.ready_s, row.help_s, self.slept), ([0.5] * 3, [0.1] * 5, [5.0]))
        self.assertEqual(list(row.loads), ["streams", "whole", "single", "long"])
        self.assertGreater(row.idle_rss_mb or 0, 5)
        self.assertEqual([plan.n for plan in self.plans], [1200, 1200, 400, 80])
        self.assertEqual([plan.concurrency for plan in self.plans], [8, 8, 1, 4])
        self.assertEqual([plan.stream for plan in self.plans], [True, False, True, True])
        self.assertEqual(self.plans[3].prompt, "chunks=2000")
        self.assertEqual((self.plans[3].min_events, self.plans[1].expect_text), (2000, "w19.0"))
        self.assertEqual({(plan.token, plan.endpoint.port) for plan in self.plans}, {("t", 7)})

    def test_quick_and_joined_events(self) -> None:
        self.target = msgspec.structs.replace(self.target, every_event=False)
        row = self.measure(suite.QUICK)
        self.assertEqual([plan.n for plan in self.plans], [200, 200, 66, 13])
        self.assertEqual({plan.min_events for plan in self.plans}, {0})
        self.assertEqual(len(row.ready_s), 1)

    def test_steps(self) -> None:
        self.assertEqual(self.measure(suite.Extent(steps=("help",))).help_s, [0.1] * 5)
        self.assertEqual(self.starts, 0)
        row = self.measure(suite.Extent(steps=("long",)))
        self.assertEqual((self.starts, list(row.loads), row.idle_rss_mb, row.help_s), (1, ["long"], None, []))
        with mock.patch.object(suite, "process_use", return_value=None):
            self.assertIsNone(self.measure(suite.Extent(steps=("idle",))).idle_rss_mb)

    def test_failed_requests_are_said(self) -> None:
        self.failed = 2
        row = self.measure(suite.Extent(steps=("long",)))
        self.assertEqual(row.failed, 2)
        self.assertIn("ours: 2 requests failed: 2 x status 500", self.said)
        self.assertEqual(self.said[-1], "\n".join(["boom"] * 20))

    def test_target_that_cannot_be_measured(self) -> None:
        with mock.patch.object(suite, "help_wall_s", side_effect=TargetError("no")):
            self.assertEqual(self.measure(suite.Extent()).problem, "no")
        self.assertEqual(self.said[-1], "ours: no")


STAND_IN = """
from benchmarks.model_server import main
main(["--port", sys.argv[-1]])
"""
"""A gateway for the tests: the model server under the gateway's command line."""


class StoreScaleTests(SynchronousTestCase):
    """The store that is measured when it is large."""

    def test_built_as_the_schema_is(self) -> None:
        path = Path(self.mktemp())
        store_scale.build(path, 2)
        with contextlib.closing(store_scale.open_database(path)) as connection:
            rows = connection.execute("SELECT count(*), count(own_calls) FROM entries").fetchone()
        self.assertEqual((2 * store_scale.ENTRIES_EACH, 0), rows)


class CommandTests(SynchronousTestCase):
    """C{python -m benchmarks}."""

    def run_main(self, *argv: str) -> tuple[int, str, str]:
        output, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            try:
                status = command.main(argv)
            except SystemExit as stop:
                status = int(stop.code or 0)
        return status, output.getvalue(), errors.getvalue()

    def test_choice(self) -> None:
        self.assertEqual(command.choose(""), (command.TARGETS, suite.STEPS))
        self.assertEqual(command.choose("long, ours,streams"), (("ours",), ("streams", "long")))
        self.assertRaises(ValueError, command.choose, "ours,theirs")

    def test_wrong_options(self) -> None:
        status, _, errors = self.run_main("--only", "theirs")
        self.assertEqual(status, 2)
        self.assertIn("--only: there is no 'theirs'; targets are model, ours,", errors)
        status, _, errors = self.run_main("--original", "/nonexistent")
        self.assertEqual(status, 2)
        self.assertIn("there is no /nonexistent", errors)

    def test_other_systems(self) -> None:
        with mock.patch.object(sys, "platform", "darwin"):
            status, _, errors = self.run_main()
        self.assertEqual(status, 2)
        self.assertIn("this needs Linux", errors)

    def test_optional_targets(self) -> None:
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        (folder / "openclaw.mjs").touch()
        found = str(folder)
        with mock.patch.dict(os.environ), mock.patch("shutil.which", return_value=None):
            os.environ.pop("OC_ROOT", None)
            for argv, names in (
                ([], ["ours"]),
                (["--litellm", "x"], ["ours", "litellm"]),
                (["--original", found], ["ours", "original"]),
            ):
                options = command.parser().parse_args(argv)
                # By its public way it would start these programs.
                makers = command._makers(options, command.TARGETS)
                self.assertEqual(list(makers), names)
                if argv:  # none of these programs is there
                    self.assertRaises(TargetError, makers[names[1]], folder, 1)
            self.assertEqual(command._makers(options, ["model"]), {})
        with mock.patch("shutil.which", return_value="/bin/litellm"):
            self.assertIn("litellm", command._makers(command.parser().parse_args([]), ["litellm"]))

    def test_exit_status(self) -> None:
        good, bad = Row(target="a", loads={"x": result()}), Row(target="b", loads={"x": result(failed=1)})
        for rows, missed, check, status in (
            ([good], [], True, 0),
            ([good], ["x"], False, 0),
            ([good], ["x"], True, 1),
            ([good, bad], [], False, 1),
            ([good, Row(target="c", problem="x")], [], False, 1),
        ):
            self.assertEqual(command.exit_status(rows, missed, check), status)

    def test_loopback_the_whole_command(self) -> None:
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        script = folder / "stand_in.py"
        script.write_text(f"import sys\nsys.path.insert(0, {str(targets.CHECKOUT)!r})\n" + STAND_IN)
        self.patch(
            command, "Extent", lambda: suite.Extent(divisor=200, idle_s=0.001, warmup=1, max_starts=1, help_runs=1)
        )
        status, output, errors = self.run_main(
            "--only", "ours,ready,idle,streams,single", "--ours", f"{sys.executable} {script}",
            "--json", str(folder / "out.json"), "--check",
        )  # fmt: skip
        written = json.loads((folder / "out.json").read_text())
        self.assertEqual([row["target"] for row in written["rows"]], ["model server alone", "ours"])
        ours = written["rows"][1]
        self.assertEqual(ours["loads"]["streams"]["failed"], 0, errors)
        self.assertEqual(ours["problem"], "")
        self.assertEqual(status, int(bool(written["missed"])))
        self.assertIn("pinning:", output)
        self.assertIn("\ngoal ", output)

    def test_loopback_a_gateway_that_is_not_there(self) -> None:
        status, output, _ = self.run_main("--quick", "--only", "ours,ready", "--ours", "/no/such/openclaw")
        self.assertEqual(status, 1)
        self.assertIn("ours could not be measured: /no/such/openclaw cannot be started", output)
        with mock.patch.object(command, "ours", side_effect=TargetError("not installed")):
            status, output, _ = self.run_main("--quick", "--only", "ours,ready")
        self.assertIn("ours could not be measured: not installed", output)

    def test_stopped(self) -> None:
        for error, expected in ((KeyboardInterrupt, 130), (TargetError("why"), 1)):
            with mock.patch.object(command, "measure", side_effect=error):
                status, _, errors = self.run_main("--quick")
            self.assertEqual(status, expected)
        self.assertIn("the model server cannot be used: why", errors)

    def test_description(self) -> None:
        with mock.patch("importlib.metadata.version", side_effect=command.importlib.metadata.PackageNotFoundError):
            setting = command.describe(suite.QUICK, stats.Pinning(0, 0))
        self.assertIn("openclaw not installed", setting["versions"])
        self.assertIn("ONE CORE FOR ALL", setting["pinning"])
        self.assertIn("2,000-chunk streams, 4 at a time (13 requests)", setting["loads"])
