"""
One gateway for one state folder.

The lock is the operating system's (C{flock}): it is gone with the process, however that ends, and never has to be
cleaned up.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

import attrs

from openclaw.errors import EXIT_CONFIG, StartError

LOCK_ATTEMPTS = 10
"""How often the lock is tried for: somebody may just be looking who holds it, or a killed gateway be about to end."""

_MAX_NOTE_BYTES = 1024

LOCK_PAUSE_S = 0.02
"""Time between two attempts, in seconds."""


def take_lock(descriptor: int, attempts: int, pause_s: float, sleep: Callable[[float], object]) -> None:
    """
    Lock an open file against all others; tried again while somebody else has the lock.  Blocks.

    @raise BlockingIOError: if somebody else has it at the last attempt.
    @raise OSError: if it cannot be locked at all.
    """
    for _ in range(attempts - 1):
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sleep(pause_s)
    return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


@attrs.frozen
class Holder:
    """
    Who holds the lock of a state folder.

    @ivar pid: 0 if it cannot be told.
    @ivar url: where its gateway listens, as L{StateLock.tell} noted it; empty if it does not yet, or will not.
    """

    pid: int
    url: str = ""


def running_pid(path: Path) -> int | None:
    """The process that holds the lock of a state folder; C{None} if none does, 0 if it cannot be told which."""
    holder = lock_holder(path)
    return holder.pid if holder is not None else None


def lock_holder(path: Path) -> Holder | None:
    """
    Who holds the lock of a state folder; C{None} if nobody does.

    @param path: the lock file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _noted(descriptor)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return None


def _noted(descriptor: int) -> Holder:
    """What stands in a lock file: the process on a line, and its URL on the next."""
    pid, _, rest = os.pread(descriptor, _MAX_NOTE_BYTES, 0).decode("utf-8", "replace").partition("\n")
    url, end, _ = rest.partition("\n")
    # A line without its end is still being written.
    return Holder(int(pid) if pid.isascii() and pid.isdigit() else 0, url if end and url.isprintable() else "")


class StateLock:
    """
    The lock of a state folder.

    @param path: the lock file; it stays when the lock is given back.
    @param sleep: how to wait between two attempts.
    """

    def __init__(self, path: Path, sleep: Callable[[float], object] = time.sleep) -> None:
        self._path = path
        self._sleep = sleep
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """
        Take the lock and note this process's id in it.  Blocks for a fifth of a second if somebody else has it.

        @raise StartError: with exit code 78 and the holder's process id, if somebody else has it; if the file
            cannot be written.
        """
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise StartError(f"the lock file {self._path} cannot be opened: {error.strerror}") from None
        step = "locked"
        try:
            take_lock(descriptor, LOCK_ATTEMPTS, LOCK_PAUSE_S, self._sleep)
            step = "written"
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            holder = _noted(descriptor)
            os.close(descriptor)
            raise StartError(
                f"gateway already running (pid {holder.pid or 'unknown'}) on the state folder {self._path.parent}; "
                "stop it, or set OPENCLAW_STATE_DIR",
                EXIT_CONFIG,
            ) from None
        except OSError as error:
            os.close(descriptor)
            raise StartError(f"the lock file {self._path} cannot be {step}: {error.strerror}") from None
        self._descriptor = descriptor

    def tell(self, url: str) -> None:
        """
        Note where the gateway listens, for commands that look for it; harmless without the lock.

        @raise OSError: if it cannot be written; the lock stays.
        """
        if self._descriptor is not None:
            first = f"{os.getpid()}\n"
            os.pwrite(self._descriptor, f"{url}\n".encode(), len(first))

    def release(self) -> None:
        """Give the lock back; harmless without it."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
