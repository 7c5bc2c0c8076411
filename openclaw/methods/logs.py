"""C{logs.tail}: the last lines of the gateway's log file, and what came since."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
from pathlib import Path
from typing import Annotated, Any

import attrs
from msgspec import Meta

from openclaw.auth.scopes import READ
from openclaw.config.reload import ReadInThread
from openclaw.interfaces import Clock
from openclaw.methods.checks import read_in_time
from openclaw.methods.table import Call, Method, Params

MAX_TAIL_BYTES = 250_000
"""Most bytes that one call reads, as in the original."""

MAX_TAIL_LINES = 5000
"""Most lines that one call gives."""

CLOCK_SLACK_NS = 60 * 10**9
"""How far ahead of the clock the time of a file may be, nanoseconds: a file server has a clock of its own."""

_NAME = re.compile(r"openclaw-\d{4}-\d\d-\d\d\.log")


class LogsTailParams(Params, frozen=True):
    """
    Parameters of C{logs.tail}.

    @ivar cursor: the C{cursor} of the last answer; only what came since is given.  Without it the file's end.
    @ivar limit: most lines.
    @ivar max_bytes: most bytes that are read.
    """

    cursor: Annotated[int, Meta(ge=0, le=2**53)] | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_TAIL_LINES)] = 200
    max_bytes: Annotated[int, Meta(ge=1, le=1_000_000)] = MAX_TAIL_BYTES


@attrs.frozen
class Tail:
    """
    A piece of a log file.

    @ivar cursor: where the next piece begins: behind the last complete line.
    @ivar size: of the whole file, bytes.
    @ivar truncated: lines between the cursor that was asked for, or the file's beginning, and the first one are left
        out.
    @ivar reset: the piece does not follow the cursor that was asked for: the file is another one, or has grown by
        more than was to be read.
    """

    lines: tuple[str, ...] = ()
    cursor: int = 0
    size: int = 0
    truncated: bool = False
    reset: bool = False


def current_log(log_dir: Path) -> Path | None:
    """
    The log file that was written last; C{None} if there is none.  Blocks.

    While the clock is wrong, lines go to a file of another day: its name tells nothing, and one that was written in
    the future counts last.
    """
    latest_ns = time.time_ns() + CLOCK_SLACK_NS
    found: list[tuple[bool, int, Path]] = []
    with contextlib.suppress(OSError):
        for path in log_dir.iterdir():
            if _NAME.fullmatch(path.name):
                written_ns = _written_ns(path)
                found.append((written_ns <= latest_ns, written_ns, path))
    return max(found)[2] if found else None


def _written_ns(path: Path) -> int:
    try:
        return path.lstat().st_mtime_ns
    except OSError:
        # It has gone meanwhile.
        return 0


def read_tail(path: Path, cursor: int | None, limit: int, max_bytes: int) -> Tail:
    """
    Read the end of a log file; only whole lines.  Blocks.

    What is no regular file is as one that is not there: a link could lead anywhere.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return Tail(reset=bool(cursor))
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(os.close, descriptor)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return Tail(reset=bool(cursor))
        size = status.st_size
        follows = cursor is not None and cursor <= size and size - cursor <= max_bytes
        start = cursor if follows and cursor is not None else max(size - max_bytes, 0)
        # One byte more at the front: it tells whether the first line is whole.
        block = os.pread(descriptor, size - max(start - 1, 0), max(start - 1, 0))
    if start > 0:
        first = 1 if block[:1] == b"\n" else block.find(b"\n", 1) + 1 or len(block)
        start += first - 1
        block = block[first:]
    end = block.rfind(b"\n") + 1
    lines = block[:end].decode(errors="replace").split("\n")[:-1]
    return Tail(
        lines=tuple(lines[-limit:]),
        cursor=start + end,
        size=size,
        truncated=len(lines) > limit or (start > 0 and not follows),
        reset=cursor is not None and not follows,
    )


def log_methods(log_dir: Path, in_thread: ReadInThread, clock: Clock) -> tuple[Method, ...]:
    """The methods of this family."""

    def read(params: LogsTailParams) -> tuple[Path | None, Tail]:
        """In a thread."""
        path = current_log(log_dir)
        if path is None:
            return None, Tail(reset=bool(params.cursor))
        return path, read_tail(path, params.cursor, params.limit, min(params.max_bytes, MAX_TAIL_BYTES))

    async def tail(call: Call, params: LogsTailParams) -> dict[str, Any]:
        """The lines, and where the file goes on."""
        path, piece = await read_in_time(in_thread(read, params), clock)
        return {
            "file": str(path if path is not None else log_dir),
            "cursor": piece.cursor,
            "size": piece.size,
            "lines": list(piece.lines),
            "truncated": piece.truncated,
            "reset": piece.reset,
        }

    return (Method("logs.tail", READ, LogsTailParams, tail),)
