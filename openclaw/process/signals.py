"""A gateway that is all that its process is for: the signals that end it, and the exit status."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger
from twisted.python.failure import Failure

from openclaw._version import __version__
from openclaw.config.describe import describe, exit_status
from openclaw.errors import OpenClawError
from openclaw.interfaces import HealthSource
from openclaw.process.failures import log_bug

log = Logger()


class RunnableGateway(Protocol):
    """What L{Foreground} needs of a gateway; see L{openclaw.service.gateway.Gateway}."""

    url: str

    @property
    def health(self) -> HealthSource:
        """What it says of itself."""

    async def start(self) -> None:
        """Open everything."""

    def reload(self) -> None:
        """Open the log files anew; the configuration file is followed by itself."""

    async def stop(self) -> None:
        """Stop in order."""


def has_terminal() -> bool:
    """Whether this process has a terminal, whose end it would be told by SIGHUP."""
    try:
        descriptor = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    os.close(descriptor)
    return True


class Foreground:
    """
    A gateway that is all that its process is for.

    The first SIGTERM or SIGINT stops it in order; a second one ends the process at once.  SIGHUP, which a terminal
    sends that is closed, stops it in order, too, unless C{nohup} had it ignored.  Where there is no terminal somebody
    sent it on purpose: to have the log files opened anew.

    @ivar status: the exit status of the process: 0 after a stop in order.
    @param on_ready: called with the gateway's URL when the port is served.
    """

    def __init__(self, reactor: Any, gateway: RunnableGateway, on_ready: Callable[[str], None]) -> None:
        self.status = 0
        self._reactor = reactor
        self._gateway = gateway
        self._on_ready = on_ready
        self._told_to_end = False

    def run(self) -> int:
        """
        Run until told to end; blocks.

        @return: the exit status.
        """
        self._reactor.callWhenRunning(self.begin)
        self._reactor.run()
        return self.status

    def begin(self) -> None:
        """Take the signals over and start."""
        # Twisted has just set its own handlers, which would stop the reactor without waiting for runs.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.on_signal)
        if not has_terminal():
            signal.signal(signal.SIGHUP, self.on_reload)
        elif signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self.on_hangup)
        Deferred.fromCoroutine(self._start()).addErrback(self._broken)

    def on_signal(self, number: int, frame: object) -> None:
        """A signal to end has come, anywhere between two instructions of the reactor's thread."""
        if self._told_to_end:
            os._exit(128 + number)
        self._told_to_end = True
        self._reactor.callFromThread(lambda: Deferred.fromCoroutine(self._stop()).addErrback(self._broken))

    def on_hangup(self, number: int, frame: object) -> None:
        """The terminal is gone.  The shell and the system may both say so: that is no wish for a sudden end."""
        if not self._told_to_end:
            self.on_signal(number, frame)

    def on_reload(self, number: int, frame: object) -> None:
        """A service manager, or a program that has renamed the log files, asks for them to be opened anew."""
        self._reactor.callFromThread(self._gateway.reload)

    async def _start(self) -> None:
        try:
            await self._gateway.start()
        except OpenClawError as error:
            print(describe(error), file=sys.stderr)  # noqa: T201 -- what is to be read by whoever started it
            self._end(exit_status(error))
            return
        if self._gateway.health.phase() == "started":
            # Whoever started it sees this anyway; the files would else not say when that was.
            log.info("openclaw {version} serves at {url}", version=__version__, url=self._gateway.url, files_only=True)
            self._on_ready(self._gateway.url)

    async def _stop(self) -> None:
        log.info("told to stop", files_only=True)
        await self._gateway.stop()
        self._end(self.status)

    def _broken(self, failure: Failure) -> None:
        log_bug(failure)
        self._end(1)

    def _end(self, status: int) -> None:
        self.status = status
        with suppress(ReactorNotRunning):
            self._reactor.stop()


class DaemonSignals:
    """
    The signals that twistd does not take over, and of which a process would die.

    SIGHUP and SIGUSR1 have the log files opened anew, and SIGUSR2 does nothing; at the end of a terminal, twistd stops
    in order.

    @param reload: opens them; called in the reactor's thread.
    """

    def __init__(self, reactor: Any, reload: Callable[[], None]) -> None:
        self._reactor = reactor
        self._reload = reload

    def take(self) -> None:
        """Take the signals over that nobody has taken."""
        hangup = self._on_hangup if has_terminal() else self._on_reload
        for number, act in (
            (signal.SIGHUP, hangup),
            (signal.SIGUSR1, self._on_reload),
            # Not SIG_IGN, which the gateway's children would inherit.
            (signal.SIGUSR2, self._on_nothing),
        ):
            taken = signal.getsignal(number)
            if taken == signal.SIG_DFL or (taken == signal.SIG_IGN and act == self._on_reload):
                signal.signal(number, act)

    def _on_reload(self, number: int, frame: object) -> None:
        self._reactor.callFromThread(self._reload)

    def _on_hangup(self, number: int, frame: object) -> None:
        self._reactor.callFromThread(self._stop)

    def _on_nothing(self, number: int, frame: object) -> None:
        """What comes is lost."""

    def _stop(self) -> None:
        with suppress(ReactorNotRunning):
            self._reactor.stop()
