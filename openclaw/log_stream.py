"""
A stream of lines that never holds its writer up.

Whoever reads standard error may stop to: a terminal after Ctrl-S or behind a dead connection, a supervisor that never
looks at its pipe.  A plain write would then wait for ever, and the whole gateway with it.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

WAIT_MS = 5
"""How long one line waits for a reader that is behind, in milliseconds."""

_READY = select.POLLOUT | select.POLLERR | select.POLLHUP


class LineStream:
    """
    Writes lines to a stream, whole and in order; while its reader takes none they are dropped and counted.

    Any thread may use it.  A stream that takes no more, such as a pipe whose reader has left, is nobody's failure.

    @param lost: gives the line that says how many were dropped.
    """

    def __init__(self, stream: TextIO, lost: Callable[[int], str]) -> None:
        self._stream = stream
        self._lost = lost
        self._dropped = 0
        # What the reader has not taken of the last line.
        self._rest = b""
        # The garbage collector has things logged, too, and at any moment: inside of a write, for example.
        self._lock = threading.RLock()
        self._is_writing = False
        with suppress(OSError, ValueError):
            stream.flush()
        self._terminal = _terminal(stream)

    def write(self, line: str) -> None:
        """Write one line, or drop it; takes about L{WAIT_MS} milliseconds at most."""
        descriptor = self._descriptor()
        if descriptor is None:
            with suppress(OSError, ValueError):
                self._stream.write(line)
                self._stream.flush()
            return
        with self._lock:
            if self._is_writing:
                self._dropped += 1
                return
            self._is_writing = True
            try:
                self._write(descriptor, line)
            finally:
                self._is_writing = False

    def _write(self, descriptor: int, line: str) -> None:
        if self._rest:
            self._push(descriptor, 0)
        if self._rest:
            self._dropped += 1
            return
        dropped, self._dropped = self._dropped, 0
        if dropped:
            line = self._lost(dropped) + line
        self._rest = line.encode(self._stream.encoding or "utf-8", "backslashreplace")
        self._push(descriptor, WAIT_MS)

    def _descriptor(self) -> int | None:
        """Where to write; C{None} if the stream has no descriptor."""
        try:
            # A daemon has let go of its terminal.
            return self._terminal if self._terminal is not None and self._stream.isatty() else self._stream.fileno()
        except (OSError, ValueError):
            return None

    def _push(self, descriptor: int, wait_ms: int) -> None:
        """Write what is left, as far as the reader takes it within the time."""
        poll = select.poll()
        poll.register(descriptor, _READY)
        while self._rest:
            if not poll.poll(0):
                if not wait_ms or not poll.poll(wait_ms):
                    return
                wait_ms = 0
            try:
                # A pipe that is ready takes as much without waiting.
                written = os.write(descriptor, self._rest[: select.PIPE_BUF])
            except BlockingIOError:
                return
            except OSError:
                self._rest = b""
                return
            self._rest = self._rest[written:]


def _terminal(stream: TextIO) -> int | None:
    """
    Open a stream's terminal anew; C{None} if it is none.

    A terminal may be ready for less than a line, and a write would then wait.  Not to wait is a property of what was
    opened, and that of the stream is shared with the shell.
    """
    try:
        if not stream.isatty():
            return None
        return os.open(os.ttyname(stream.fileno()), os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
