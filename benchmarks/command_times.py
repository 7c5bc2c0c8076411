"""
How long commands take: C{python -m benchmarks.command_times}.

Starts a model server and a gateway of its own and runs each command several times beside them.  Prints the median
wall time of each, and what C{openclaw agent} adds to a run beyond the start of its process and its connection.  With
C{--check} it exits 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import msgspec

from benchmarks.stats import choose_cores
from benchmarks.targets import Target, TargetError, model_server, ours, started

GOAL_COMMAND_S = 0.6
"""Longest wall time of a command against a gateway on this machine, in seconds."""

GOAL_HELP_S = 0.35
"""Longest wall time of C{--help}, in seconds."""

GOAL_ADDED_S = 0.02
"""What C{openclaw agent} may add to a run, in seconds."""

COMMAND_DEADLINE_S = 60.0

_MESSAGE = "chunks=20"

HELP: tuple[tuple[str, ...], ...] = (("--help",), ("gateway", "--help"), ("agent", "--help"))
"""Commands that print their help."""

COMMANDS: tuple[tuple[str, ...], ...] = (
    ("--version",),
    ("agent", "-m", _MESSAGE),
    ("agent", "-m", _MESSAGE, "--json"),
    ("status",),
    ("health",),
    ("sessions",),
    ("agents", "list"),
    ("models", "list"),
    ("models", "status"),
    ("gateway", "status"),
    ("gateway", "probe"),
    ("gateway", "health"),
    ("gateway", "call", "health"),
    ("gateway", "auth-token"),
    ("logs", "--limit", "20"),
    ("config", "get", "gateway.port"),
    ("config", "validate"),
    ("config", "schema"),
    ("config", "set", "agents.defaults.timeoutSeconds", "600", "--dry-run"),
    ("doctor",),
    ("completion", "bash"),
)
"""Commands that are measured against a running gateway."""


class Timing(msgspec.Struct, frozen=True):
    """
    The times of one command.

    @ivar name: as it is typed, without the program.
    @ivar walls_s: wall time of each run, in seconds.
    @ivar goal_s: what the median may be, in seconds.
    """

    name: str
    walls_s: tuple[float, ...]
    goal_s: float

    @property
    def median_s(self) -> float:
        """The median, in seconds."""
        return statistics.median(self.walls_s)

    @property
    def missed(self) -> bool:
        """Whether the median is above its goal."""
        return self.median_s > self.goal_s

    def line(self) -> str:
        """The row of the table."""
        return (
            f"{self.name:<60} {self.median_s * 1000:6.0f} {min(self.walls_s) * 1000:6.0f} "
            f"{max(self.walls_s) * 1000:6.0f} {self.goal_s * 1000:6.0f}{' !' if self.missed else ''}"
        )


def wall_s(target: Target, arguments: Sequence[str]) -> float:
    """
    Run a command of the gateway's program once.

    @param target: the gateway; its environment says where it is.
    @return: wall time in seconds.
    @raise TargetError: when the command fails or takes too long.
    """
    command = (*target.help_argv[:-1], *arguments)
    begun_s = time.perf_counter()
    try:
        done = subprocess.run(
            command,
            check=False,
            env=target.environment,
            cwd=target.environment["HOME"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=COMMAND_DEADLINE_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TargetError(f"{' '.join(arguments)}: {error}") from None
    taken_s = time.perf_counter() - begun_s
    if done.returncode:
        told = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()[-1:]
        raise TargetError(f"openclaw {' '.join(arguments)} exits with {done.returncode}: {' '.join(told)}")
    return taken_s


def http_run_s(target: Target) -> float:
    """
    The same run over HTTP, the connection included.

    @return: wall time in seconds.
    @raise TargetError: when it fails.
    """
    body = json.dumps({"model": "openclaw", "messages": [{"role": "user", "content": _MESSAGE}], "user": "times"})
    begun_s = time.perf_counter()
    with closing(http.client.HTTPConnection("127.0.0.1", target.port, timeout=COMMAND_DEADLINE_S)) as connection:
        connection.request("POST", "/v1/chat/completions", body, {"Authorization": f"Bearer {target.token}"})
        response = connection.getresponse()
        response.read()
    if response.status != 200:
        raise TargetError(f"the run over HTTP is answered with {response.status}")
    return time.perf_counter() - begun_s


def timings(runs: int, measure: Callable[[Sequence[str]], float]) -> list[Timing]:
    """
    Measure all commands, one round after the other, so that a busy moment does not hit one command alone.

    @param runs: how many rounds count; one more goes first, to have all files in memory.
    @param measure: runs a command; gives its wall time in seconds.
    """
    goals = dict.fromkeys(HELP, GOAL_HELP_S) | dict.fromkeys(COMMANDS, GOAL_COMMAND_S)
    walls: dict[tuple[str, ...], list[float]] = {arguments: [] for arguments in goals}
    for counts in (False, *[True] * runs):
        for arguments, times in walls.items():
            taken_s = measure(arguments)
            if counts:
                times.append(taken_s)
    return [Timing(" ".join(arguments), tuple(times), goals[arguments]) for arguments, times in walls.items()]


def added_s(pairs: int, measure: Callable[[Sequence[str]], float], http_s: Callable[[], float]) -> float:
    """
    What C{openclaw agent} adds to a run: its time, without that of a command which only connects and asks, and
    without that of the run itself over HTTP; the median of many such differences.

    @param pairs: how many.
    @return: seconds; may come out a little below 0 on a machine that is busy.
    """
    differences = []
    for _ in range(pairs):
        asked_s = measure(("gateway", "call", "health"))
        ran_s = measure(("agent", "--session-key", "times", "-m", _MESSAGE))
        differences.append(ran_s - asked_s - http_s())
    return statistics.median(differences)


def report(measured: Sequence[Timing], added: float) -> tuple[str, bool]:
    """
    The table, and whether a goal is missed.

    @param added: what C{openclaw agent} adds, in seconds.
    """
    is_late = added > GOAL_ADDED_S
    lines = [f"{'openclaw ... (ms)':<60} median    min    max   goal", *(row.line() for row in measured)]
    lines.append(
        f"{'agent, beyond process, connection and the run itself':<60} {added * 1000:6.1f} {'':13} "
        f"{GOAL_ADDED_S * 1000:6.0f}{' !' if is_late else ''}"
    )
    return "\n".join(lines), is_late or any(row.missed for row in measured)


def main(argv: Sequence[str] | None = None) -> int:
    """
    @param argv: the arguments; C{None} takes the process's.
    @return: the exit status.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.command_times", description=__doc__)
    parser.add_argument("--runs", type=int, default=7, help="how often each command runs (default: 7)")
    parser.add_argument("--check", action="store_true", help="exit 1 when a goal is missed")
    parser.add_argument("--ours", metavar="COMMAND", default="", help="how our openclaw is run")
    options = parser.parse_args(argv)
    if options.runs < 1:
        parser.error("--runs: expected at least 1")
    cores = choose_cores(sorted(os.sched_getaffinity(0)))
    try:
        with tempfile.TemporaryDirectory(prefix="openclaw-times-") as name:
            folder = Path(name)
            model = model_server(folder)
            gateway = ours(folder, model.port, options.ours)
            with (
                started(model, cores.load, folder / "model.txt"),
                started(gateway, cores.load, folder / "gateway.txt"),
            ):

                def measure(arguments: Sequence[str]) -> float:
                    return wall_s(gateway, arguments)

                measured = timings(options.runs, measure)
                added = added_s(2 * options.runs, measure, lambda: http_run_s(gateway))
    except TargetError as error:
        print(f"cannot be measured: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    text, missed = report(measured, added)
    print(text)
    return int(options.check and missed)


if __name__ == "__main__":
    raise SystemExit(main())
