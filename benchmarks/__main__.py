"""
Measure the gateway: C{python -m benchmarks}, from a checkout, in the environment where C{openclaw} is installed.

Prints how it measures, then one table.  Exits 0 unless a target could not be measured or a request failed; with
C{--check} a missed goal makes it exit 1, too.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from benchmarks.report import Row, goals, missed_goals, table
from benchmarks.stats import Pinning, choose_cores
from benchmarks.suite import LOADS, QUICK, STEPS, Extent, Suite
from benchmarks.targets import Target, TargetError, find_original, litellm, model_server, original, ours, started

TARGETS = ("model", "ours", "original", "litellm")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    made.add_argument(
        "--only",
        metavar="NAME,...",
        default="",
        help=f"targets ({', '.join(TARGETS)}) and steps ({', '.join(STEPS)}) to measure",
    )
    made.add_argument("--quick", action="store_true", help="a glance: fewer requests, one start")
    made.add_argument("--json", metavar="FILE", type=Path, help="write everything measured there, too")
    made.add_argument("--check", action="store_true", help="exit 1 when a goal is missed")
    made.add_argument(
        "--ours", metavar="COMMAND", default="", help="how our openclaw is run (default: the one beside this Python)"
    )
    made.add_argument(
        "--original",
        metavar="PATH",
        default="",
        help="the original's package folder or openclaw.mjs (default: $OC_ROOT)",
    )
    made.add_argument(
        "--node", metavar="PROGRAM", default="node", help="the Node that runs the original (default: node)"
    )
    made.add_argument(
        "--litellm", metavar="COMMAND", default="", help="how LiteLLM is run (default: litellm, where it is on PATH)"
    )
    return made


def choose(only: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """
    @param only: names of targets and steps with commas between; none of a kind means all of that kind.
    @return: the targets and the steps.
    @raise ValueError: when there is no such name.
    """
    names = [name.strip() for name in only.split(",") if name.strip()]
    for name in names:
        if name not in TARGETS + STEPS:
            raise ValueError(
                f"--only: there is no {name!r}; targets are {', '.join(TARGETS)}, steps {', '.join(STEPS)}"
            )
    targets = tuple(name for name in TARGETS if name in names) or TARGETS
    return targets, tuple(name for name in STEPS if name in names) or STEPS


def describe(extent: Extent, pinning: Pinning) -> dict[str, str]:
    """
    What the figures depend on: the machine, the versions, and how it is measured.

    @param extent: how much is done.
    @param pinning: which core runs what.
    """
    model = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    versions = []
    for name in ("openclaw", "twisted", "klein", "treq", "msgspec"):
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{name} not installed")
    loads = [
        f"{load.title} ({max(load.concurrency, load.n // extent.divisor)} requests)"
        for name, load in LOADS.items()
        if name in extent.steps
    ]
    pins = f"target on core {pinning.target}, model server and load on core {pinning.load}"
    return {
        "machine": f"{(model or [platform.machine()])[0]}, {os.cpu_count()} cores, {platform.platform()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": ", ".join(versions),
        "pinning": pins + (": ONE CORE FOR ALL, figures are too low" if pinning.shared else ""),
        "load average": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        "loads": "; ".join(loads),
        "bounds": f"no request after {extent.budget_s:g} s of a load; memory read {extent.idle_s:g} s after ready",
    }


def _makers(options: argparse.Namespace, wanted: Sequence[str]) -> dict[str, Callable[[Path, int], Target]]:
    """
    How each gateway that is to be measured is set up; the optional ones only where they are installed or asked for.

    @raise TargetError: when one was named and is not there.
    """
    makers: dict[str, Callable[[Path, int], Target]] = {}
    if "ours" in wanted:
        makers["ours"] = lambda folder, port: ours(folder, port, options.ours)
    if "original" in wanted:
        script = find_original(options.original)
        if script is not None:
            makers["original"] = lambda folder, port: original(folder, port, script, options.node)
    if "litellm" in wanted:
        command = options.litellm or ("litellm" if shutil.which("litellm") else "")
        if command:
            makers["litellm"] = lambda folder, port: litellm(folder, port, command)
    return makers


def measure(
    suite: Suite, makers: Mapping[str, Callable[[Path, int], Target]], pinning: Pinning, folder: Path
) -> list[Row]:
    """
    Start the model server, and measure it and then the gateways in front of it.

    @param suite: what measures.
    @param makers: sets up each gateway, given a folder of its own and the model server's port.
    @param pinning: which core runs what.
    @param folder: where the targets keep their state; not needed afterwards.
    @return: a row for each, that of the model server first.
    @raise TargetError: when the model server does not start.
    """
    model = model_server(folder)
    with started(model, pinning.load, folder / "model.txt") as running:
        base = Row(target=model.name, command=" ".join(model.argv), ready_s=[round(running.ready_s, 3)], loads={})
        suite.run_loads(base, model, running)
        rows = [base]
        for name, make in makers.items():
            own = folder / name
            own.mkdir()
            try:
                target = make(own, model.port)
            except TargetError as error:
                rows.append(Row(target=name, problem=str(error)))
            else:
                rows.append(suite.measure(target, own))
    return rows


def exit_status(rows: Sequence[Row], missed: Sequence[str], check: bool) -> int:
    """
    @param rows: what was measured.
    @param missed: the goals that were not reached.
    @param check: whether a missed goal counts.
    @return: 1 when a target could not be measured, a request failed, or a missed goal counts; else 0.
    """
    return int(any(row.problem or row.failed for row in rows) or (check and bool(missed)))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """
    @param argv: the arguments; L{None} takes the process's.
    @return: the exit status.
    """
    command_line = parser()
    options = command_line.parse_args(argv)
    if not sys.platform.startswith("linux"):
        command_line.error("this needs Linux: procfs for CPU time and memory, and processes that stay on one core")
    pinning = choose_cores(sorted(os.sched_getaffinity(0)))
    try:
        targets, steps = choose(options.only)
        makers = _makers(options, targets)
    except (ValueError, TargetError) as error:
        command_line.error(str(error))
    extent = msgspec.structs.replace(QUICK if options.quick else Extent(), steps=steps)
    setting = describe(extent, pinning)
    for name, text in setting.items():
        print(f"{name + ':':14}{text}", flush=True)
    try:
        with tempfile.TemporaryDirectory(prefix="openclaw-benchmark-") as folder:
            rows = measure(Suite(extent, pinning, _say), makers, pinning, Path(folder))
    except TargetError as error:
        print(f"the model server cannot be used: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    for row in rows:
        if row.command:
            print(f"{row.target}: {row.command}")
    print("\n" + table(rows, rows[0]))
    missed = [line for row in rows[1:] if row.target == "ours" for line in missed_goals(row, rows[0], steps)]
    for line in missed:
        print(f"missed: {line}")
    for row in rows:
        if row.problem:
            print(f"{row.target} could not be measured: {row.problem}")
    if options.json:
        options.json.write_bytes(
            msgspec.json.format(
                msgspec.json.encode({"setting": setting, "goals": goals(), "rows": rows, "missed": missed}), indent=2
            )
        )
    return exit_status(rows, missed, options.check)


if __name__ == "__main__":
    raise SystemExit(main())
