"""A gateway as a service of twistd."""

from __future__ import annotations

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from openclaw._version import __version__
from openclaw.config.describe import exit_status
from openclaw.errors import OpenClawError
from openclaw.process.failures import exit_with, log_bug
from openclaw.service.gateway import Gateway

log = Logger()


class GatewayService(Service):
    """Starts and stops a gateway as twistd says."""

    name = "openclaw"

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def startService(self) -> None:
        """Start; a failure is one line on the log and ends the process with a status that is not 0."""
        super().startService()
        starting = Deferred.fromCoroutine(self._gateway.start())
        starting.addCallbacks(self._tell_ready, self._cannot_start).addErrback(log_bug)

    def stopService(self) -> Deferred[None]:
        """Stop; twistd waits for this."""
        super().stopService()
        return Deferred.fromCoroutine(self._gateway.stop())

    def _tell_ready(self, _: None) -> None:
        if self._gateway.health.phase() == "started":
            log.info("openclaw {version} listens at {url}", version=__version__, url=self._gateway.url)

    def _cannot_start(self, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, OpenClawError):
            log.critical("cannot start: {error}", error=error.message)
            exit_with(self._gateway.reactor, exit_status(error))
        else:
            log.failure("cannot start", failure)
            exit_with(self._gateway.reactor, 1)
