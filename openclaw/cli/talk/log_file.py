"""The end of a log, and what comes, from the files of this machine."""

from __future__ import annotations

import time
from pathlib import Path

import attrs
import click

from openclaw.cli.collector import resume
from openclaw.cli.talk.log_printer import LogOptions, LogPrinter
from openclaw.methods.logs import current_log, read_tail


def tail_file(folder: Path, wanted: LogOptions, show: LogPrinter) -> int:
    """
    Show the end of the newest log of a folder, and what comes.  Blocks.

    @return: the exit status.
    """
    resume()
    cursor: int | None = None
    before: Path | None = None
    while True:
        path = current_log(folder)
        if path is None:
            if not show.has_begun:
                click.echo(f"openclaw: there is no log file in {folder}", err=True)
                return 1
        else:
            ended = _ended_file(before, path, cursor)
            if ended is not None:
                rest = read_tail(ended, cursor, wanted.limit, wanted.max_bytes)
                show.piece({**attrs.asdict(rest), "file": str(ended)})
                cursor = 0
            before = path
            tail = read_tail(path, cursor, wanted.limit, wanted.max_bytes)
            show.piece({**attrs.asdict(tail), "file": str(path)})
            cursor = tail.cursor
        if not wanted.follow:
            return 0
        time.sleep(wanted.interval_s)


def _ended_file(before: Path | None, path: Path, cursor: int | None) -> Path | None:
    """
    The file that was followed so far, if it has ended; its last lines may not have been read.

    @param before: what was followed.
    @param path: what is to be followed now: the same, or that of another day.
    """
    if before is None or cursor is None:
        return None
    if path != before:
        return before
    try:
        is_begun_anew = path.stat().st_size < cursor
    except OSError:
        return None
    older = path.with_name(f"{path.stem}.1.log")
    return older if is_begun_anew and older.exists() else None
