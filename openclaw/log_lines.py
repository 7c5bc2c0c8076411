"""
What a line of the log looks like: for a person, and as JSON.

A JSON line has the fields C{time}, C{level}, C{subsystem} and C{message}, and where they are known C{requestId},
C{runId}, C{sessionKey} and C{traceId}.  Beside them stand those that the original's C{openclaw logs} reads (C{0},
C{1}, C{_meta}, C{hostname}), so that either program can show the other's files.
"""

from __future__ import annotations

import json
import re
import socket
import time
from contextvars import ContextVar
from datetime import UTC, datetime

import attrs
from twisted.logger import LogEvent, eventAsText

from openclaw.redact import Redactor

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_HOST = socket.gethostname()

_META_LEVELS = {"debug": (2, "DEBUG"), "info": (3, "INFO"), "warn": (4, "WARN"), "error": (5, "ERROR")}
_META_FATAL = (6, "FATAL")
"""The original's numbers and names of the levels."""

_COLOURS = {"debug": "\x1b[2m", "warn": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[1;31m"}
_RESET = "\x1b[0m"


@attrs.frozen
class LogContext:
    """
    What a piece of work belongs to; empty where that is not known.

    @ivar trace_id: the W3C trace id that the client sent.
    """

    request_id: str = ""
    run_id: str = ""
    session_key: str = ""
    trace_id: str = ""


_NOTHING = LogContext()
_context: ContextVar[LogContext] = ContextVar("openclaw_log_context", default=_NOTHING)


def add_log_context(*, request_id: str = "", run_id: str = "", session_key: str = "", trace_id: str = "") -> None:
    """
    Have every line that is logged from here on say what it belongs to.

    "From here on" is what the coroutine that calls this does, and what it starts: C{Deferred.fromCoroutine} gives
    each coroutine a copy of the context of whoever starts it.
    """
    known = _context.get()
    _context.set(
        LogContext(
            request_id or known.request_id,
            run_id or known.run_id,
            session_key or known.session_key,
            trace_id or known.trace_id,
        )
    )


@attrs.frozen
class Line:
    """
    One line, without secrets.

    @ivar time_s: seconds since 1970.
    @ivar level: debug, info, warn, error or critical.
    @ivar subsystem: the module that tells it, without the package's name.
    @ivar message: what it tells; with the traceback, on lines of its own, where there is one.
    """

    time_s: float
    level: str
    subsystem: str
    message: str
    context: LogContext = _NOTHING

    def pretty(self, *, colour: bool = False, short: bool = False) -> str:
        """
        The line for a person, with its line feed.

        What is more than a line is indented, and other control characters are escaped: what comes from elsewhere
        can neither look like a line of ours nor command the terminal.

        @param short: the time of day only.
        """
        local = time.localtime(self.time_s)
        when = time.strftime("%H:%M:%S" if short else "%Y-%m-%dT%H:%M:%S%z", local)
        text = _CONTROL.sub(_escaped, self.message).replace("\n", "\n  ")
        known = [("run", self.context.run_id), ("request", self.context.request_id)]
        # An id that the client chose may be anything.
        ids = ", ".join(
            f"{name} {_CONTROL.sub(_escaped, value)}" for name, value in known if value and value not in text
        )
        if ids:
            first, line_feed, rest = text.partition("\n")
            text = f"{first} ({ids}){line_feed}{rest}"
        mark = _COLOURS.get(self.level, "") if colour else ""
        return f"{mark}{when} [{self.subsystem}] {text}{_RESET if mark else ''}\n"

    def as_json(self) -> str:
        """The line as JSON, with its line feed."""
        level_id, level_name = _META_LEVELS.get(self.level, _META_FATAL)
        name = json.dumps({"subsystem": self.subsystem}, separators=(",", ":"))
        moment = datetime.fromtimestamp(self.time_s, UTC)
        utc = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        context = self.context
        fields = {
            "0": name,
            "1": self.message,
            "_meta": {"logLevelId": level_id, "logLevelName": level_name, "date": utc, "name": name},
            "time": moment.astimezone().isoformat(timespec="milliseconds"),
            "hostname": _HOST,
            "level": self.level,
            "subsystem": self.subsystem,
            "message": self.message,
            "requestId": context.request_id,
            "runId": context.run_id,
            "sessionKey": context.session_key,
            "traceId": context.trace_id,
        }
        kept = {key: value for key, value in fields.items() if value != ""}
        return json.dumps(kept, separators=(",", ":"), ensure_ascii=False) + "\n"


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


def line_of(event: LogEvent, redactor: Redactor) -> Line | None:
    """
    An event as a line; C{None} if it says nothing.

    The keys C{run_id}, C{request_id}, C{session_key} (or C{session}) and C{trace_id} of an event name what it belongs
    to, and come before what L{add_log_context} was told.
    """
    text = eventAsText(event, includeTimestamp=False, includeSystem=False)
    if not text:
        return None
    known = _context.get()
    context = LogContext(
        redactor.clean(str(event.get("request_id") or known.request_id)),
        redactor.clean(str(event.get("run_id") or known.run_id)),
        redactor.clean(str(event.get("session_key") or event.get("session") or known.session_key)),
        redactor.clean(str(event.get("trace_id") or known.trace_id)),
    )
    return Line(
        event.get("log_time") or time.time(), level_of(event), subsystem_of(event), redactor.clean(text), context
    )


def level_of(event: LogEvent) -> str:
    """The name of an event's level."""
    level = event.get("log_level")
    return "info" if level is None else str(level.name)


def subsystem_of(event: LogEvent) -> str:
    """The module that tells an event, without the package's name."""
    return str(event.get("log_namespace", "-")).removeprefix("openclaw.")
