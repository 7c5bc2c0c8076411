"""The measured figures of each target, what they are to reach, and the table."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from benchmarks.load import Result
from benchmarks.stats import quantile


class Row(msgspec.Struct, kw_only=True):
    """
    What was measured of one target; what was not is empty or L{None}.

    @ivar target: its name.
    @ivar command: the command that served.
    @ivar ready_s: from exec to the first 200, one per start.
    @ivar idle_rss_mb: resident memory when nothing has been asked yet.
    @ivar help_s: how long the help took, one per run.
    @ivar loads: the results of the loads by name (L{benchmarks.suite.LOADS}).
    @ivar problem: why the target could not be measured, or not wholly.
    """

    target: str
    command: str = ""
    ready_s: list[float] = []
    idle_rss_mb: float | None = None
    help_s: list[float] = []
    loads: dict[str, Result] = {}
    problem: str = ""

    @property
    def failed(self) -> int:
        """Requests that failed, over all loads."""
        return sum(load.failed for load in self.loads.values())


class Goal(msgspec.Struct, frozen=True):
    """
    What a figure of ours is to reach.

    @ivar bound: the number.
    @ivar at_least: whether the figure is to be that or more, rather than that or less.
    """

    bound: float
    at_least: bool = False

    def met(self, value: float) -> bool:
        """Whether a figure reaches it."""
        return value >= self.bound if self.at_least else value <= self.bound


class Column(msgspec.Struct, frozen=True):
    """
    A column of the table.

    @ivar title: two lines, joined by a newline.
    @ivar value: the figure, out of the row and that of the model server alone; L{None} when it was not measured.
    @ivar digits: digits behind the point.
    @ivar step: the step that measures it (L{benchmarks.suite.STEPS}); empty for none of its own.
    @ivar goal: what ours is to reach.
    """

    title: str
    step: str
    value: Callable[[Row, Row | None], float | None]
    digits: int
    goal: Goal | None = None

    @property
    def name(self) -> str:
        """The title in one line."""
        return self.title.replace("\n", " ")


def _load(name: str, figure: Callable[[Result], float | None]) -> Callable[[Row, Row | None], float | None]:
    def value(row: Row, base: Row | None) -> float | None:
        load = row.loads.get(name)
        return None if load is None or load.failed == load.n else figure(load)

    return value


_single_p50 = _load("single", lambda load: load.total_ms.p50)


def _over_model(row: Row, base: Row | None) -> float | None:
    mine, alone = _single_p50(row, None), None if base is None else _single_p50(base, None)
    return None if mine is None or alone is None or row is base else round(mine - alone, 2)


COLUMNS = (
    Column("streams\nreq/s", "streams", _load("streams", lambda load: load.rps), 1, Goal(150, at_least=True)),
    Column("streams\nCPU ms", "streams", _load("streams", lambda load: load.cpu_ms_per_request), 2, Goal(6)),
    Column("whole\nreq/s", "whole", _load("whole", lambda load: load.rps), 1),
    Column("whole\nCPU ms", "whole", _load("whole", lambda load: load.cpu_ms_per_request), 2),
    Column("1 at a time\np50 ms", "single", _single_p50, 2),
    Column("over the\nmodel ms", "single", _over_model, 2, Goal(4)),
    Column(
        "long streams\nevents/s", "long", _load("long", lambda load: load.events_per_s), 0, Goal(40_000, at_least=True)
    ),
    Column("ready\ns", "ready", lambda row, base: quantile(row.ready_s, 0.5), 2, Goal(1)),
    Column("idle RSS\nMB", "idle", lambda row, base: row.idle_rss_mb, 1, Goal(90)),
    Column("--help\ns", "help", lambda row, base: quantile(row.help_s, 0.5), 2, Goal(0.35)),
    Column("failed\nrequests", "", lambda row, base: row.failed if row.loads else None, 0, Goal(0)),
)


def missed_goals(row: Row, base: Row | None, steps: Sequence[str]) -> list[str]:
    """
    @param row: ours.
    @param base: the model server alone, where it was measured.
    @param steps: what was to be measured; the goals of other steps are not missed.
    @return: a line for each goal that was not reached, or whose figure is not there.
    """
    missed = []
    for column in COLUMNS:
        if column.goal is None or column.step not in ("", *steps):
            continue
        value = column.value(row, base)
        if value is None and column.step:
            missed.append(f"{column.name}: not measured, to be {_goal_text(column.goal)}")
        elif value is not None and not column.goal.met(value):
            missed.append(f"{column.name}: {_number(value, column.digits)}, to be {_goal_text(column.goal)}")
    return missed


def goals() -> dict[str, str]:
    """What the figures of ours are to reach, by the name of the figure."""
    return {column.name: _goal_text(column.goal) for column in COLUMNS if column.goal is not None}


def table(rows: Sequence[Row], base: Row | None) -> str:
    """
    One line per target and one with the goals; a C{!} marks a figure of ours that misses its goal.

    @param rows: the targets.
    @param base: the model server alone, where it was measured.
    """
    head = [["target", *(column.title.split("\n")[0] for column in COLUMNS)]]
    head.append(["", *(column.title.split("\n")[1] for column in COLUMNS)])
    body = [[row.target, *(_cell(column, row, base) for column in COLUMNS)] for row in rows]
    goals = ["goal", *("" if column.goal is None else _goal_text(column.goal) for column in COLUMNS)]
    lines = [*head, *body, goals]
    widths = [max(len(line[index]) for line in lines) for index in range(len(goals))]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    text = [
        "  ".join(cell.ljust(width) if index == 0 else cell.rjust(width) for index, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(line, widths, strict=True)) for line in lines)
    ]
    return "\n".join([*text[:2], rule, *text[2:-1], rule, text[-1]])


def _cell(column: Column, row: Row, base: Row | None) -> str:
    value = column.value(row, base)
    if value is None:
        return "-"
    missed = row.target == "ours" and column.goal is not None and not column.goal.met(value)
    return ("!" if missed else "") + _number(value, column.digits)


def _number(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}"


def _goal_text(goal: Goal) -> str:
    return f"{'>=' if goal.at_least else '<='} {goal.bound:,g}"
