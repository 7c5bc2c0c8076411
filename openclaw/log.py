"""
Where log lines go.

Every module has its own C{twisted.logger.Logger}; what is written and where is decided here, once, at start.
"""

from __future__ import annotations

from typing import TextIO

from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    InvalidLogLevelError,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    eventAsText,
    formatTime,
    globalLogBeginner,
)
from zope.interface import implementer

from openclaw.errors import StartError


@implementer(ILogObserver)
class _HumanLines:
    """Writes C{time [part] message} lines to a stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, event: LogEvent) -> None:
        text = eventAsText(event, includeTimestamp=False, includeSystem=False)
        if text:
            part = str(event.get("log_namespace", "-")).removeprefix("openclaw.")
            self._stream.write(f"{formatTime(event.get('log_time'))} [{part}] {text}\n")
            self._stream.flush()


def begin_logging(stream: TextIO, level: str = "info") -> None:
    """
    Write the gateway's log to a stream from now on.

    @param level: least level that is written: debug, info, warn, error or critical.
    @raise StartError: if there is no such level.
    """
    try:
        threshold = LogLevel.levelWithName(level.lower())
    except InvalidLogLevelError:
        raise StartError(f"unknown log level {level!r}; use debug, info, warn, error or critical") from None
    predicate = LogLevelFilterPredicate(defaultLogLevel=threshold)
    # Twisted's own modules tell about every connection; that is for debugging only.
    if threshold is not LogLevel.debug:
        predicate.setLogLevelForNamespace("log_legacy", max(threshold, LogLevel.warn))
        predicate.setLogLevelForNamespace("twisted", max(threshold, LogLevel.warn))
        predicate.setLogLevelForNamespace("twisted.web", max(threshold, LogLevel.error))
    observer = FilteringLogObserver(_HumanLines(stream), [predicate])
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False, discardBuffer=True)
