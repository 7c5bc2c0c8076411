"""Tests of L{openclaw.process.accepting}."""

from __future__ import annotations

import errno
import os
from typing import Any

from twisted.internet.task import Clock
from twisted.internet.tcp import _accept
from twisted.logger import Logger, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from openclaw.process import accepting as module
from openclaw.process.accepting import REST_S, PortRest


class Listener:
    """A listening socket, and the reserve of a process: there is no descriptor, here or there."""

    def accept(self) -> Any:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    def available(self) -> bool:
        return False


class Port:
    """Notes what is done to it."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def stopReading(self) -> None:
        self.calls.append("stop")

    def startReading(self) -> None:
        self.calls.append("start")


class PortRestTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.port = Clock(), Port()
        self.patch(module, "reserve_descriptor", lambda: self.port.calls.append("reserve"))
        self.rest = PortRest(self.port, self.clock)
        self.rest.start()
        self.addCleanup(globalLogPublisher.removeObserver, self.rest)
        self.log = Logger("twisted.internet.tcp.Port")

    def fail(self) -> None:  # type: ignore[override]
        """As Twisted tells it."""
        listener: Any = Listener()
        self.assertEqual(list(_accept(self.log, range(1), listener, listener)), [])

    def test_rests(self) -> None:
        self.log.info("something else")
        self.assertEqual(self.port.calls, [])
        for _ in range(3):
            self.fail()
        self.assertEqual(self.port.calls, ["stop"])
        self.clock.advance(REST_S)
        self.assertEqual(self.port.calls, ["stop", "reserve", "start"])
        self.fail()
        self.assertEqual(self.port.calls[3:], ["stop"])

    def test_still_none_left(self) -> None:
        """A reserve is not asked for: Twisted would tell a traceback each time."""
        self.patch(module, "has_none_left", lambda: True)
        self.fail()
        self.clock.advance(REST_S)
        self.assertEqual(self.port.calls, ["stop", "start"])

    def test_stop(self) -> None:
        self.fail()
        self.rest.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.fail()
        self.assertEqual(self.port.calls, ["stop"])
