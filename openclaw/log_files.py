"""
Files of lines that are written by a thread of their own.

Whoever tells a line puts it into a bounded queue and goes on; neither a slow nor a full disk holds it up.  A file is
closed when its day or its size is over, and only the newest are kept.  Another program may rename or remove a file at
any time: the next line begins a new one.
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
from typing import Protocol

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


class Output(Protocol):
    """Where a L{LineWriter} has its lines; used by one thread at a time."""

    def write(self, chunk: bytes) -> None:
        """
        Write whole lines, after what an earlier failure left over.

        @raise OSError: if that fails; what is not written is kept, and written first next time.
        """

    def reopen(self) -> None:
        """Open it anew; an C{OSError} if that fails."""

    def close(self) -> None:
        """Let go of it; harmless when it is not open, and the next line opens it."""


class LineWriter:
    """
    Writes lines in a thread of its own.

    @param output: where they go.
    @param retry_s: how long to wait before a failed write is tried again, in seconds.
    """

    def __init__(self, output: Output, told: Told, retry_s: float = RETRY_S) -> None:
        self._told = told
        self._retry_s = retry_s
        self._output = output
        # The garbage collector has things logged, too, and at any moment: inside of put, for example.  This lock and
        # this queue may be used again by the thread that is just using them.
        self._lock = threading.RLock()
        self._lines: deque[bytes] = deque()
        self._queued_bytes = 0
        self._dropped = 0
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._closed = threading.Event()
        self._reopens = threading.Event()
        self._is_failing = False
        self._is_finishing = False
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

    def reopen(self) -> None:
        """Have the output opened anew, now rather than with the next line; returns at once.  Any thread may call it."""
        self._reopens.set()
        self._wake.put(None)

    def close(self, deadline_s: float = CLOSE_DEADLINE_S) -> None:
        """Write what waits and close; what takes longer than C{deadline_s} is given up.  Blocks as long."""
        self._closed.set()
        self._wake.put(None)
        if self._thread is not None:
            self._thread.join(deadline_s)
            if not self._thread.is_alive():
                self._thread = None

    def finish(self) -> None:
        """
        Write what was put after L{close}, or without a start, in this thread.

        It is for the last words of a process; it blocks as long as the disk does, and does nothing while the writer's
        thread runs.
        """
        if self._thread is not None or self._is_finishing:
            return
        self._is_finishing = True
        try:
            self._write_all()
            self._output.close()
        finally:
            self._is_finishing = False

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
            if self._reopens.is_set():
                self._reopens.clear()
                self._output.reopen()
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


class LogFiles(LineWriter):
    """
    Writes lines to C{openclaw-YYYY-MM-DD.log} in a folder, which is made if need be, or to L{OneFile}.

    Files are for their owner only.

    @param place: the folder, or that file.
    @param max_file_bytes: size at which a file is closed.
    @param now_s: seconds since 1970; the day is that of the local time.
    """

    def __init__(
        self,
        place: Path | OneFile,
        told: Told,
        *,
        max_file_bytes: int = MAX_FILE_BYTES,
        kept_files: int = KEPT_FILES,
        retry_s: float = RETRY_S,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        names = _DailyFiles(place, now_s) if isinstance(place, Path) else place
        super().__init__(_Files(names, max_file_bytes, kept_files), told, retry_s)


class _Names(Protocol):
    """What the files are called."""

    def prepare(self) -> None:
        """Called before a file is opened; an C{OSError} if none can be."""

    def present(self) -> Path:
        """The file that is written to now."""

    def closed(self, present: Path, number: int) -> Path:
        """What a file is called that was closed; the higher the number, the older it is."""

    def all_closed(self, present: Path, *, is_shifted: bool) -> list[Path]:
        """
        The closed files among which the oldest may be removed, newest first.

        @param is_shifted: whether one was just closed because of its size.
        """


class _DailyFiles:
    """Files of a folder of our own, one a day."""

    def __init__(self, folder: Path, now_s: Callable[[], float]) -> None:
        self._folder = folder
        self._now_s = now_s

    def prepare(self) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)

    def present(self) -> Path:
        day = time.strftime("%Y-%m-%d", time.localtime(self._now_s()))
        return self._folder / f"openclaw-{day}.log"

    def closed(self, present: Path, number: int) -> Path:
        return present.with_name(f"{present.stem}.{number}.log")

    def all_closed(self, present: Path, *, is_shifted: bool) -> list[Path]:
        # The present file need not be the newest by its name: the clock may have been in the future.
        return [path for path in log_files(self._folder) if path != present]


class OneFile:
    """
    A file that somebody named, in a folder of theirs; those that were closed have a number behind the name.

    Files with such a name that another program has rotated are let be, until one of ours was closed for its size.
    """

    def __init__(self, path: Path) -> None:
        """@param path: absolute, without links."""
        self._path = path
        self._is_new = True

    def prepare(self) -> None:
        """Keep what was closed before us, by a twistd that wrote everything, from the eyes of others."""
        if self._is_new:
            self._is_new = False
            for path in self._numbered():
                with suppress(OSError):
                    if stat.S_ISREG(path.lstat().st_mode):
                        path.chmod(0o600)

    def present(self) -> Path:
        """The file itself."""
        return self._path

    def closed(self, present: Path, number: int) -> Path:
        """The name with a number behind it."""
        return present.with_name(f"{present.name}.{number}")

    def all_closed(self, present: Path, *, is_shifted: bool) -> list[Path]:
        """Those with a number, after one of ours was closed."""
        return self._numbered() if is_shifted else []

    def _numbered(self) -> list[Path]:
        pattern = re.compile(re.escape(self._path.name) + r"\.(\d{1,6})")
        found = [(path, pattern.fullmatch(path.name)) for path in self._path.parent.iterdir()]
        return [path for _, path in sorted((int(match[1]), path) for path, match in found if match is not None)]


class _Files:
    """The files themselves."""

    def __init__(self, names: _Names, max_file_bytes: int, kept_files: int) -> None:
        self._names = names
        self._max_file_bytes = max_file_bytes
        self._kept_files = kept_files
        self._descriptor = -1
        self._path = Path()
        # What a failed write has left over.
        self._pending = b""

    def write(self, chunk: bytes) -> None:
        self._pending += chunk
        while self._pending:
            self._open()
            written = os.write(self._descriptor, self._pending)
            self._pending = self._pending[written:]

    def reopen(self) -> None:
        self.close()
        self._open()

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _open(self) -> None:
        """Make sure that the present file is that of the day, is not too large and still has its name."""
        path = self._names.present()
        is_full = False
        if self._descriptor >= 0 and path == self._path and self._has_its_name():
            is_full = os.fstat(self._descriptor).st_size >= self._max_file_bytes
            if not is_full:
                return
            self._shift(path)
        self.close()
        self._names.prepare()
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
        self._descriptor, self._path = descriptor, path
        self._prune(path, is_shifted=is_full)

    def _has_its_name(self) -> bool:
        """Whether nobody has renamed or removed the file that is open, or put another in its place."""
        try:
            return os.path.samestat(os.fstat(self._descriptor), self._path.lstat())
        except FileNotFoundError:
            return False
        except OSError:
            # Whatever is amiss with the folder, this file can still be written.
            return True

    def _shift(self, path: Path) -> None:
        """Give the present file the name of a closed one, and those the next number each."""
        for number in range(self._kept_files, 0, -1):
            with suppress(FileNotFoundError):
                before = self._names.closed(path, number - 1) if number > 1 else path
                before.rename(self._names.closed(path, number))

    def _prune(self, path: Path, *, is_shifted: bool) -> None:
        for closed in self._names.all_closed(path, is_shifted=is_shifted)[self._kept_files :]:
            # Not ours to remove, or gone: neither keeps us from writing.
            with suppress(OSError):
                closed.unlink()
