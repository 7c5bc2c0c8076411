"""A gateway as a service of twistd."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, Logger
from twisted.python.components import Componentized
from twisted.python.failure import Failure

from openclaw._version import __version__
from openclaw.config.describe import exit_status
from openclaw.errors import OpenClawError
from openclaw.process.failures import exit_with, log_bug
from openclaw.process.signals import DaemonSignals
from openclaw.service.gateway import Gateway

log = Logger()


class ServiceLog(Protocol):
    """What twistd logs with; see L{openclaw.log_twistd}."""

    def __call__(self, event: LogEvent) -> None:
        """Have an event written."""

    def start(self) -> None:
        """Begin to write."""

    def stop(self) -> None:
        """Write what is left; blocks."""

    def reopen(self) -> None:
        """Open the file anew."""

    def set_level(self, level: str) -> None:
        """Write from another level on."""


@attrs.frozen
class Logged:
    """
    A log, and whose level it has.

    @ivar level: gives the level that it is to have now.
    """

    log: ServiceLog
    level: Callable[[], str]


class GatewayService(Service):
    """
    Starts and stops a gateway as twistd says.

    @param logged: what twistd is to log with; without it, what twistd was told.
    """

    name = "openclaw"

    def __init__(self, gateway: Gateway, logged: Logged | None = None) -> None:
        self._gateway = gateway
        self._logged = logged

    def setServiceParent(self, parent: Any) -> None:
        """Become a part of an application; it is told which observer twistd shall take."""
        if self._logged is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self._logged.log)
        super().setServiceParent(parent)

    def startService(self) -> None:
        """Start; a failure is one line on the log and ends the process with a status that is not 0."""
        super().startService()
        self._begin_log()
        DaemonSignals(self._gateway.reactor, self._reload).take()
        starting = Deferred.fromCoroutine(self._gateway.start())
        starting.addCallbacks(self._tell_ready, self._cannot_start).addErrback(log_bug)

    def stopService(self) -> Deferred[None]:
        """Stop; twistd waits for this."""
        super().stopService()
        return Deferred.fromCoroutine(self._gateway.stop())

    def _begin_log(self) -> None:
        if self._logged is not None:
            self._logged.log.start()
            self._gateway.live.subscribe(self._follow_level)
            # twistd dies of the signal that it was told to stop by: nothing is called then at its exit.
            self._gateway.reactor.addSystemEventTrigger("after", "shutdown", self._logged.log.stop)

    def _follow_level(self) -> None:
        if self._logged is not None:
            self._logged.log.set_level(self._logged.level())

    def _reload(self) -> None:
        if self._logged is not None:
            self._logged.log.reopen()
        self._gateway.reload()

    def _tell_ready(self, _: None) -> None:
        if self._gateway.health.phase() == "started":
            log.info("openclaw {version} listens at {url}", version=__version__, url=self._gateway.url)

    def _cannot_start(self, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, OpenClawError):
            log.critical("cannot start: {error}", error=error.message)
            status = exit_status(error)
        else:
            log.failure("cannot start", failure)
            status = 1
        last = self._logged.log.stop if self._logged is not None else lambda: None
        exit_with(self._gateway.reactor, status, last)
