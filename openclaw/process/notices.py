"""
What the gateway tells systemd of itself (C{sd_notify}): that it serves, that it stops, that it is alive.

A notice is a datagram of lines C{NAME=value} to the socket that C{NOTIFY_SOCKET} names.  None of it may ever keep the
gateway from its work: sending never blocks, and what cannot be sent now is tried again with the next beat.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping

from openclaw.interfaces import Clock
from openclaw.process.failures import log_bug
from openclaw.waits import looping

BEAT_S = 5.0
"""Seconds between two beats, if the unit's C{WatchdogSec} does not ask for more of them."""

BEATS_IN_TIME = 3
"""How many beats there are in the time after which systemd takes the gateway for stuck."""

STARTING_TIMEOUT_S = 60
"""While the gateway starts, each beat asks systemd for this many seconds more, as a large store takes its time."""


def notify_address(environ: Mapping[str, str]) -> str | None:
    """Where notices go; C{None} if nobody wants any, or by a way that we do not have.  C{@} begins an abstract name."""
    name = environ.get("NOTIFY_SOCKET", "")
    if name.startswith("@"):
        return f"\0{name[1:]}"
    return name if name.startswith("/") else None


def watchdog_s(environ: Mapping[str, str], pid: int) -> float | None:
    """
    After how many seconds of silence systemd restarts us.

    @param pid: of this process: the limit may be meant for another, whose environment we have.
    @return: C{None} if it does not.
    """
    text, whose = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if whose not in ("", str(pid)) or not (text.isascii() and text.isdecimal() and len(text) < 20):
        return None
    return int(text) / 1_000_000 or None


class Notices:
    """
    Tells systemd of a gateway; without C{NOTIFY_SOCKET} all of it does nothing.

    @param environ: the process's environment.
    @param status: gives what the gateway does now, in a few words.
    """

    def __init__(self, environ: Mapping[str, str], clock: Clock, status: Callable[[], str]) -> None:
        self._environ = environ
        self._status = status
        self._socket: socket.socket | None = None
        self._address = ""
        self._watchdog_s: float | None = None
        self._told_status = ""
        self._is_starting = True
        # By name, so that a socket which nobody reads costs no more than one of each.
        self._unsent: dict[str, str] = {}
        self._looping = looping(self._beat, clock)

    def start(self) -> None:
        """Begin to tell that the gateway is alive; it starts."""
        address = notify_address(self._environ)
        if address is None:
            return
        self._address = address
        self._watchdog_s = watchdog_s(self._environ, os.getpid())
        try:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        except OSError:
            return
        interval_s = BEAT_S if self._watchdog_s is None else min(BEAT_S, self._watchdog_s / BEATS_IN_TIME)
        self._looping.start(interval_s).addErrback(log_bug)

    def ready(self) -> None:
        """The port is served."""
        self._is_starting = False
        self._unsent.pop("EXTEND_TIMEOUT_USEC", None)
        self._unsent["READY"] = "1"
        self._beat()

    def stopping(self) -> None:
        """The gateway has begun to stop; it goes on to tell that it is alive."""
        self._is_starting = False
        self._unsent.pop("EXTEND_TIMEOUT_USEC", None)
        self._unsent["STOPPING"] = "1"
        self._beat()

    def stop(self) -> None:
        """Tell nothing more; harmless before L{start}."""
        if self._looping.running:
            self._looping.stop()
        closed, self._socket = self._socket, None
        if closed is not None:
            closed.close()

    def _beat(self) -> None:
        if self._socket is None:
            return
        if self._is_starting:
            self._unsent["EXTEND_TIMEOUT_USEC"] = str(STARTING_TIMEOUT_S * 1_000_000)
        if self._watchdog_s is not None:
            self._unsent["WATCHDOG"] = "1"
        status = self._status()
        if status != self._told_status:
            self._told_status = self._unsent["STATUS"] = status
        if not self._unsent:
            return
        message = "\n".join(f"{name}={value}" for name, value in self._unsent.items())
        try:
            self._socket.sendto(message.encode(), self._address)
        except (OSError, ValueError):
            # Full, or nobody is there, or no name of a socket: the gateway serves all the same.
            return
        self._unsent.clear()
