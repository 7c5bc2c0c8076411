"""
Where log lines go.

Every module has its own C{twisted.logger.Logger}; what is written and where is decided here, once, at start: lines
for a person on a stream (L{begin_logging}), and JSON lines in files (L{FileLog}).  Both are without secrets
(L{openclaw.redact}).
"""

from __future__ import annotations

import os
import sys
import time
from atexit import register as call_at_exit
from atexit import unregister as forget_at_exit
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal, TextIO

from twisted.logger import ILogObserver, LogEvent, Logger, globalLogBeginner, globalLogPublisher
from zope.interface import implementer

from openclaw.errors import StartError
from openclaw.log_files import CLOSE_DEADLINE_S, MAX_FILE_BYTES, LogFiles, Told
from openclaw.log_levels import Levels, debugging
from openclaw.log_lines import Line, level_of, line_of, subsystem_of
from openclaw.log_stream import LineStream
from openclaw.redact import Redactor, process_redactor

Style = Literal["pretty", "compact", "json"]
"""How the lines on a stream look: C{compact} has the time of day only and no colour."""

log = Logger()


def parse_levels(text: str) -> Levels:
    """
    L{Levels.parse} for what was given on a command line or in the environment.

    @raise StartError: if it means nothing.
    """
    try:
        return Levels.parse(text)
    except ValueError as error:
        raise StartError(str(error)) from None


# ------------------------------------------------------------------------------------------ the stream


@implementer(ILogObserver)
class StreamLog:
    """
    Writes lines to a stream; those excepted that were logged with C{files_only}.

    A reader that is slow or has left holds nothing up; see L{LineStream}.
    """

    def __init__(self, stream: TextIO, levels: Levels, redactor: Redactor, style: Style, *, colour: bool) -> None:
        self._stream = LineStream(stream, lambda count: self._text(lost_lines(count)))
        self._levels = levels
        self._redactor = redactor
        self._style = style
        self._colour = colour and style == "pretty"

    def __call__(self, event: LogEvent) -> None:
        """Write one event."""
        if event.get("files_only") or not self._levels.admits(subsystem_of(event), level_of(event)):
            return
        line = line_of(event, self._redactor)
        if line is not None:
            self._stream.write(self._text(line))

    def _text(self, line: Line) -> str:
        if self._style == "json":
            return line.as_json()
        return line.pretty(colour=self._colour, short=self._style == "compact")


def begin_logging(
    stream: TextIO,
    level: str = "info",
    *,
    style: Style = "pretty",
    redactor: Redactor = process_redactor,
    environ: Mapping[str, str] = os.environ,
) -> None:
    """
    Write the gateway's log to a stream from now on; in colour if it is a terminal and C{NO_COLOR} is not set.

    @param level: least level that is written (debug, info, warn, error, critical or silent), and those of single
        parts: C{info,http=debug}.
    @param redactor: knows the secrets; that of the process by default.
    @raise StartError: if there is no such level.
    """
    levels = parse_levels(level)
    colour = not environ.get("NO_COLOR") and environ.get("TERM") != "dumb" and stream.isatty()
    observer = StreamLog(stream, levels, redactor, style, colour=colour)
    debugging.tell("console", levels.admits_debug)
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False, discardBuffer=True)


def twistd_log() -> StreamLog:
    """
    Make the observer of C{twistd --logger=openclaw.log.twistd_log}: our lines, without secrets, on standard output.

    The level is that of C{OPENCLAW_LOG_LEVEL}.

    @raise StartError: if there is no such level.
    """
    levels = parse_levels(os.environ.get("OPENCLAW_LOG_LEVEL", "").strip() or "info")
    return StreamLog(sys.stdout, levels, process_redactor, "pretty", colour=False)


# ------------------------------------------------------------------------------------------ the files


@implementer(ILogObserver)
class FileLog:
    """
    Writes everything that is logged to files, as JSON lines; see L{LogFiles}.

    @param folder: made if need be.
    @param level: as for L{begin_logging}.
    @param redactor: knows the secrets.
    @raise StartError: if there is no such level.
    """

    def __init__(
        self, folder: Path, level: str, redactor: Redactor = process_redactor, *, max_file_bytes: int = MAX_FILE_BYTES
    ) -> None:
        self._folder = folder
        self._is_begun = False
        self._levels = parse_levels(level)
        self._redactor = redactor
        self._files = LogFiles(
            folder,
            Told(self._tell_failure, lambda count: lost_lines(count).as_json().encode()),
            max_file_bytes=max_file_bytes,
        )

    def start(self) -> None:
        """Begin; what is logged at the very end of the process is written too."""
        self._files.start()
        self._is_begun = True
        debugging.tell("files", self._levels.admits_debug)
        globalLogPublisher.addObserver(self)
        call_at_exit(self.stop)

    def stop(self, deadline_s: float = CLOSE_DEADLINE_S) -> None:
        """
        Write what waits and end; harmless when called twice.

        It blocks until that is done, at most C{deadline_s} seconds, so call it in a thread.
        """
        forget_at_exit(self.stop)
        self._is_begun = False
        debugging.tell("files", None)
        with suppress(ValueError):
            globalLogPublisher.removeObserver(self)
        self._files.close(deadline_s)

    def reopen(self) -> None:
        """Open the file anew, as after another program has renamed it; returns at once."""
        self._files.reopen()

    def set_level(self, level: str) -> None:
        """
        Write from another level on.

        @raise StartError: if there is no such level.
        """
        self._levels = parse_levels(level)
        if self._is_begun:
            debugging.tell("files", self._levels.admits_debug)

    def __call__(self, event: LogEvent) -> None:
        """Have one event written."""
        if self._levels.admits(subsystem_of(event), level_of(event)):
            line = line_of(event, self._redactor)
            if line is not None:
                # What is no text, such as a lone surrogate of a file's name, is escaped.
                self._files.put(line.as_json().encode("utf-8", "backslashreplace"))
        while self._redactor.slow_patterns:
            pattern = self._redactor.slow_patterns.pop()
            log.warn("logging.redactPatterns: {pattern} takes too long and is not used any more", pattern=pattern)

    def _tell_failure(self, reason: str) -> None:
        log.error(
            "cannot write the log in {folder}: {reason}; the gateway goes on and tries again",
            folder=str(self._folder),
            reason=reason,
        )


def lost_lines(count: int) -> Line:
    """The line that stands for lines that were dropped."""
    return Line(time.time(), "warn", "log", f"{count} lines are missing here: they could not be written in time")
