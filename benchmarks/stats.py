"""The figures: what a distribution is boiled down to, and what the kernel says about a process."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec


class Spread(msgspec.Struct, frozen=True):
    """
    A distribution of durations, in milliseconds.

    @ivar p50: the median, or L{None} when nothing was measured.
    @ivar p99: what 99 of 100 stay under, or L{None}.
    """

    p50: float | None
    p99: float | None


def quantile(values: Sequence[float], fraction: float) -> float | None:
    """
    The value below which a fraction of the values lies (nearest rank, no interpolation).

    @param values: in any order.
    @param fraction: from 0 to 1.
    @return: one of the values, or L{None} when there are none.
    @raise ValueError: when the fraction is out of range.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction: expected 0 to 1, got {fraction}")
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(fraction * len(ordered)))]


def spread(values_s: Sequence[float]) -> Spread:
    """
    @param values_s: durations in seconds.
    @return: their spread in milliseconds, to a hundredth.
    """

    def in_ms(fraction: float) -> float | None:
        value = quantile(values_s, fraction)
        return None if value is None else round(value * 1000, 2)

    return Spread(p50=in_ms(0.5), p99=in_ms(0.99))


class ProcessUse(msgspec.Struct, frozen=True):
    """
    What a process and its descendants have used so far.

    @ivar cpu_s: user and system time of all threads, in seconds; of live processes only, so that a child which
        ended in between makes a difference too small, never too big.
    @ivar rss_mb: resident memory, in units of 1,048,576 bytes; pages shared by two of them count twice.
    """

    cpu_s: float
    rss_mb: float


def _stat_fields(directory: Path) -> list[str] | None:
    try:
        text = (directory / "stat").read_text(errors="replace")
    except OSError:
        return None  # it ended while we looked
    return text[text.rindex(")") + 2 :].split()  # the name in front may hold blanks and parentheses


def process_tree(pid: int, proc: Path = Path("/proc")) -> list[int]:
    """
    A process and all its descendants.

    @param pid: the process.
    @param proc: where procfs is.
    @return: the process ids, C{pid} first; only C{pid} when it is gone.
    """
    children: dict[int, list[int]] = {}
    for directory in proc.iterdir():
        if directory.name.isdigit() and (fields := _stat_fields(directory)) is not None:
            children.setdefault(int(fields[1]), []).append(int(directory.name))
    tree = [pid]
    for member in tree:  # grows as it goes
        tree += children.get(member, [])
    return tree


def process_use(pid: int, proc: Path = Path("/proc")) -> ProcessUse | None:
    """
    Time and memory of a process and its descendants (C{proc(5)}: utime, stime and rss of C{/proc/PID/stat}).

    @param pid: the process.
    @param proc: where procfs is.
    @return: L{None} when it is gone, or where there is no procfs.
    """
    if not (proc / str(pid) / "stat").exists():
        return None
    ticks = pages = 0
    for member in process_tree(pid, proc):
        if (fields := _stat_fields(proc / str(member))) is not None:
            ticks += int(fields[11]) + int(fields[12])
            pages += int(fields[21])
    return ProcessUse(
        cpu_s=ticks / os.sysconf("SC_CLK_TCK"), rss_mb=round(pages * os.sysconf("SC_PAGE_SIZE") / 1_048_576, 1)
    )


class Pinning(msgspec.Struct, frozen=True):
    """
    Which processor core runs what.

    @ivar target: the core of the gateway that is measured.
    @ivar load: the core of the model server and the load generator.
    """

    target: int
    load: int

    @property
    def shared(self) -> bool:
        """Whether there is only one core for both, so that the figures are too low."""
        return self.target == self.load


def choose_cores(available: Sequence[int]) -> Pinning:
    """
    The first core for the target, the second for the load.

    @param available: the cores that this process may use; not empty.
    """
    ordered = sorted(available)
    return Pinning(target=ordered[0], load=ordered[1] if len(ordered) > 1 else ordered[0])


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """
    Run on one core for a while; a process started meanwhile stays there.

    @raise OSError: when this process may not use that core.
    """
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
