"""
Files of lines that are written by a thread of their own.

Whoever tells a line puts it into a bounded queue and goes on; neither a slow nor a full disk holds it up.  A file is
closed when its day or its size is over, and only the newest are kept.
"""

from __future__ import annotations

import os
import re
import stat
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue

import attrs

MAX_QUEUED_LINES = 10_000
"""Most lines that wait to be written; the oldest are dropped beyond as many."""

MAX_QUEUED_BYTES = 16 * 1024 * 1024
"""Most bytes of them."""

CHUNK_BYTES = 256 * 1024
"""About what is written at once, in bytes."""

RETRY_S = 30.0
"""How long to wait before a failed write is tried again, in seconds."""

MAX_FILE_BYTES = 100 * 1024 * 1024
"""Size at which a file is closed and a new one begun, in bytes."""

KEPT_FILES = 5
"""How many closed files are kept, of this day and of those before."""

CLOSE_DEADLINE_S = 2.0
"""How long the last lines may take when the files are closed, in seconds."""

FILE_NAME = re.compile(r"openclaw-(\d{4}-\d\d-\d\d)(?:\.(\d{1,6}))?\.log")
"""Names of our files; C{openclaw-2026-11-22.1.log} is older than C{openclaw-2026-11-22.log}."""


def log_files(folder: Path) -> list[Path]:
    """
    The files of a folder, newest first.  Blocks.

    @raise OSError: if there is no such folder, or it cannot be read.
    """
    found = [(path, FILE_NAME.fullmatch(path.name)) for path in folder.iterdir()]
    named = [(match[1], -int(match[2] or 0), path) for path, match in found if match is not None]
    return [path for _, _, path in sorted(named, reverse=True)]


@attrs.frozen
class Told:
    """
    How the writer tells about itself.

    @ivar failed: called in the writer's thread when writing fails, with the reason; once until it succeeds again.
    @ivar lost: gives the line that says how many were dropped.
    """

    failed: Callable[[str], None]
    lost: Callable[[int], bytes]


class LogFiles:
    """
    Writes lines to C{openclaw-YYYY-MM-DD.log} in a folder, which is made if need be.

    Files are for their owner only.

    @param max_file_bytes: size at which a file is closed.
    @param now_s: seconds since 1970; the day is that of the local time.
    """

    def __init__(
        self,
        folder: Path,
        told: Told,
        *,
        max_file_bytes: int = MAX_FILE_BYTES,
        kept_files: int = KEPT_FILES,
        retry_s: float = RETRY_S,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._told = told
        self._retry_s = retry_s
        self._output = _Output(folder, max_file_bytes, kept_files, now_s)
        # The garbage collector has things logged, too, and at any moment: inside of put, for example.  This lock and
        # this queue may be used again by the thread that is just using them.
        self._lock = threading.RLock()
        self._lines: deque[bytes] = deque()
        self._queued_bytes = 0
        self._dropped = 0
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._closed = threading.Event()
        self._is_failing = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to write; lines that came before are written first."""
        self._thread = threading.Thread(target=self._run, name="openclaw-log", daemon=True)
        self._thread.start()

    def put(self, line: bytes) -> None:
        """Have a line written, which ends in a line feed; returns at once.  Any thread may call this."""
        size = len(line)
        with self._lock:
            self._lines.append(line)
            self._queued_bytes += size
            while len(self._lines) > MAX_QUEUED_LINES or self._queued_bytes > MAX_QUEUED_BYTES:
                size = len(self._lines.popleft())
                self._queued_bytes -= size
                self._dropped += 1
        if self._wake.empty():
            self._wake.put(None)

    def close(self, deadline_s: float = CLOSE_DEADLINE_S) -> None:
        """Write what waits and close; what takes longer than C{deadline_s} is given up.  Blocks as long."""
        self._closed.set()
        self._wake.put(None)
        if self._thread is not None:
            self._thread.join(deadline_s)
            self._thread = None

    # ------------------------------------------------------------------------------- the writer's thread

    def _run(self) -> None:
        try:
            while True:
                self._wake.get()
                # Before the last look at the queue: what was put before the files were closed is written.
                is_last = self._closed.is_set()
                is_done = self._write_all()
                if is_last:
                    return
                if not is_done:
                    self._closed.wait(self._retry_s)
                    self._wake.put(None)
        finally:
            self._output.close()

    def _write_all(self) -> bool:
        """Write what waits; gives whether all of it is written."""
        try:
            self._output.write(b"")
            while chunk := self._take():
                self._output.write(chunk)
        except OSError as error:
            if not self._is_failing:
                self._is_failing = True
                self._told.failed(error.strerror or str(error))
            return False
        self._is_failing = False
        return True

    def _take(self) -> bytes:
        """The next lines, at most about L{CHUNK_BYTES}; empty if there are none."""
        with self._lock:
            taken: list[bytes] = []
            dropped, self._dropped = self._dropped, 0
            if dropped:
                taken.append(self._told.lost(dropped))
            size = 0
            while self._lines and size < CHUNK_BYTES:
                taken.append(self._lines.popleft())
                size += len(taken[-1])
            self._queued_bytes -= size
        return b"".join(taken)


class _Output:
    """The files themselves; used by one thread."""

    def __init__(self, folder: Path, max_file_bytes: int, kept_files: int, now_s: Callable[[], float]) -> None:
        self._folder = folder
        self._max_file_bytes = max_file_bytes
        self._kept_files = kept_files
        self._now_s = now_s
        self._descriptor = -1
        self._day = ""
        self._size = 0
        # What a failed write has left over.
        self._pending = b""

    def write(self, chunk: bytes) -> None:
        """
        Write a chunk, after what an earlier failure left over.

        @raise OSError: if that fails; what is not written is kept, and written first next time.
        """
        self._pending += chunk
        while self._pending:
            self._open()
            written = os.write(self._descriptor, self._pending)
            self._size += written
            self._pending = self._pending[written:]

    def close(self) -> None:
        """Close the present file; harmless where there is none."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _open(self) -> None:
        """Make sure that the present file is that of the day, is not too large and still has its name."""
        day = time.strftime("%Y-%m-%d", time.localtime(self._now_s()))
        if self._descriptor >= 0 and day == self._day and os.fstat(self._descriptor).st_nlink:
            if self._size < self._max_file_bytes:
                return
            self._shift(day)
        self.close()
        self._folder.mkdir(mode=0o700, exist_ok=True)
        path = self._path(day)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(f"{path} is no file")
            os.fchmod(descriptor, 0o600)
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor, self._day, self._size = descriptor, day, status.st_size
        self._prune(path)

    def _path(self, day: str, number: int = 0) -> Path:
        return self._folder / (f"openclaw-{day}.{number}.log" if number else f"openclaw-{day}.log")

    def _shift(self, day: str) -> None:
        """Give the present file the name of a closed one, and those the next number each."""
        for number in range(self._kept_files, 0, -1):
            with suppress(FileNotFoundError):
                self._path(day, number - 1).rename(self._path(day, number))

    def _prune(self, present: Path) -> None:
        # The present file need not be the newest by its name: the clock may have been in the future.
        closed = [path for path in log_files(self._folder) if path != present]
        for path in closed[self._kept_files :]:
            # Not ours to remove, or gone: neither keeps us from writing.
            with suppress(OSError):
                path.unlink()
