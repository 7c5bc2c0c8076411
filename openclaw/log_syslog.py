"""Lines for the system's log: C{syslog} may hold its caller up, so they are sent in the thread of a L{LineWriter}."""

from __future__ import annotations

import re
import syslog
from collections.abc import Callable

from openclaw.log_lines import Line

_PRIORITIES = {"debug": syslog.LOG_DEBUG, "info": syslog.LOG_INFO, "warn": syslog.LOG_WARNING, "error": syslog.LOG_ERR}

_MARKED = re.compile(rb"<(\d)>(.*)\n")


def syslog_lines(line: Line) -> bytes:
    """
    A line as L{SyslogOutput} takes it: each line of its text marked with its priority (RFC 5424, 6.2.1).

    The system adds the time.
    """
    priority = _PRIORITIES.get(line.level, syslog.LOG_CRIT)
    _, _, text = line.pretty(short=True).partition(" ")
    marked = "".join(f"<{priority}>{part}\n" for part in text.splitlines() if part)
    return marked.encode("utf-8", "backslashreplace")


class SyslogOutput:
    """
    The system's log.

    @param prefix: stands before each line, with the process id.
    """

    def __init__(
        self,
        prefix: str,
        *,
        begin: Callable[[str, int, int], None] = syslog.openlog,
        send: Callable[[int, str], None] = syslog.syslog,
        end: Callable[[], None] = syslog.closelog,
    ) -> None:
        self._prefix = prefix
        self._begin = begin
        self._send = send
        self._end = end
        self._is_open = False

    def write(self, chunk: bytes) -> None:
        """Send lines; a system without such a log takes them, too."""
        if chunk and not self._is_open:
            self._is_open = True
            self._begin(self._prefix, syslog.LOG_PID, syslog.LOG_DAEMON)
        for found in _MARKED.finditer(chunk):
            # It takes no text with a zero byte; what else commands a terminal was escaped before.
            self._send(int(found[1]), found[2].decode("utf-8", "replace").replace("\0", "\\x00"))

    def reopen(self) -> None:
        """Connect anew with the next line."""
        self.close()

    def close(self) -> None:
        """Let go of it."""
        if self._is_open:
            self._is_open = False
            self._end()
