"""
What C{twistd} logs to, whatever it was told: its own observers write secrets, at every level and without end.

twistd makes its observer before it becomes a daemon, changes its folder and takes another user.  So a file is opened,
and the thread that writes it is started, by L{TwistdLog.start}; what is told before waits for that.
"""

from __future__ import annotations

import os
import stat
import sys
from atexit import register as call_at_exit
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from twisted.logger import ILogObserver, LogEvent, Logger
from zope.interface import implementer

from openclaw.errors import StartError
from openclaw.log import StreamLog, lost_lines, parse_levels
from openclaw.log_files import MAX_FILE_BYTES, LineWriter, LogFiles, OneFile, Told
from openclaw.log_levels import debugging
from openclaw.log_lines import Line, level_of, line_of, subsystem_of
from openclaw.log_syslog import SyslogOutput, syslog_lines
from openclaw.redact import Redactor, process_redactor

log = Logger()


@implementer(ILogObserver)
class TwistdLog:
    """
    The observer of a twistd: lines without secrets, of a level, to one place.

    @param level: as for L{openclaw.log.begin_logging}; a L{StartError} if there is no such level.
    @param redactor: knows the secrets.
    @param writer: writes the lines.
    @param shape: makes what it writes of a line.
    """

    def __init__(
        self, level: str, writer: LineWriter, shape: Callable[[Line], bytes], redactor: Redactor = process_redactor
    ) -> None:
        self._levels = parse_levels(level)
        self._writer = writer
        self._shape = shape
        self._redactor = redactor
        self._is_over = False
        # Even of a twistd that fails before it has started anything.
        call_at_exit(self.stop)

    def start(self) -> None:
        """Begin to write: the process is the daemon now."""
        debugging.tell("console", self._levels.admits_debug)
        self._writer.start()

    def stop(self) -> None:
        """Write what waits; the last words that are told then are written at once.  Blocks for 2 s at most."""
        self._is_over = True
        self._writer.close()
        self._writer.finish()

    def reopen(self) -> None:
        """Open the file anew; returns at once."""
        self._writer.reopen()

    def set_level(self, level: str) -> None:
        """
        Write from another level on.

        @raise StartError: if there is no such level.
        """
        self._levels = parse_levels(level)
        debugging.tell("console", self._levels.admits_debug)

    def __call__(self, event: LogEvent) -> None:
        """Have one event written."""
        if not self._levels.admits(subsystem_of(event), level_of(event)):
            return
        line = line_of(event, self._redactor)
        if line is not None:
            self._writer.put(self._shape(line))
            if self._is_over:
                self._writer.finish()


@implementer(ILogObserver)
class TwistdStream(StreamLog):
    """The observer of a twistd that stays in the foreground; with the methods of L{TwistdLog}."""

    def __init__(self, level: str, stream: TextIO, redactor: Redactor = process_redactor) -> None:
        super().__init__(stream, parse_levels(level), redactor, "pretty", colour=False)

    def start(self) -> None:
        """Begin; the stream is open."""

    def stop(self) -> None:
        """End; nothing waits."""

    def reopen(self) -> None:
        """There is nothing to be opened anew."""

    def set_level(self, level: str) -> None:
        """Write from another level on; a L{StartError} if there is no such level."""
        self._levels = parse_levels(level)


def log_to_file(
    path: Path,
    level: str,
    *,
    max_file_bytes: int = MAX_FILE_BYTES,
    owner: tuple[int, int] | None = None,
    redactor: Redactor = process_redactor,
) -> TwistdLog | TwistdStream:
    """
    Make the observer of C{twistd --logfile}.

    The file is for its owner only, and kept within C{max_file_bytes} as those of the gateway are.  What is no file,
    such as C{/dev/stdout}, is taken as it is.

    @param owner: user and group that the process will have when it writes; the file is made theirs.
    @raise StartError: if nothing can be written there, or there is no such level.
    """
    try:
        if _is_special(path):
            return TwistdStream(level, path.open("a", encoding="utf-8"), redactor)
        real = path.resolve()
        # It fails where there is no such folder.
        real.parent.stat()
        if owner is not None:
            _give(real, owner)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise StartError(f"cannot write the log {path}: {reason}") from None
    told = Told(lambda reason: _tell_failure(path, reason), lambda count: _as_text(lost_lines(count)))
    return TwistdLog(level, LogFiles(OneFile(real), told, max_file_bytes=max_file_bytes), _as_text, redactor)


def log_to_syslog(prefix: str, level: str, redactor: Redactor = process_redactor) -> TwistdLog:
    """
    Make the observer of C{twistd --syslog}.

    @raise StartError: if there is no such level.
    """
    told = Told(lambda reason: _tell_failure("syslog", reason), lambda count: syslog_lines(lost_lines(count)))
    return TwistdLog(level, LineWriter(SyslogOutput(prefix), told), syslog_lines, redactor)


def log_to_stdout(level: str) -> TwistdStream:
    """Make the observer of C{twistd --nodaemon}; a L{StartError} if there is no such level."""
    return TwistdStream(level, sys.stdout)


def _give(path: Path, owner: tuple[int, int]) -> None:
    """Make a file, and the one that there is, another user's: a folder such as C{/var/log} is closed to that one."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        status = os.fstat(descriptor)
        # Another name of a file of root's stays root's.
        if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
            os.fchmod(descriptor, 0o600)
            os.fchown(descriptor, *owner)
    finally:
        os.close(descriptor)


def _is_special(path: Path) -> bool:
    """Whether what stands there is no file, or somebody's standard output."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return False
    return not stat.S_ISREG(status.st_mode) or path.is_relative_to("/dev") or path.is_relative_to("/proc")


def _as_text(line: Line) -> bytes:
    return line.pretty().encode("utf-8", "backslashreplace")


def _tell_failure(where: object, reason: str) -> None:
    log.error(
        "cannot write the log {where}: {reason}; the gateway goes on and tries again", where=str(where), reason=reason
    )
