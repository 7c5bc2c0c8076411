"""Tests of L{openclaw.descriptors}."""

from __future__ import annotations

import errno
import os
from typing import Any

from twisted.internet.error import ConnectBindError, ConnectionRefusedError
from twisted.internet.tcp import _accept
from twisted.logger import LogEvent, Logger, LogPublisher, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from openclaw import descriptors as module
from openclaw.descriptors import has_none_left, is_out_of_descriptors, out_of_descriptors, watch_accepting
from openclaw.log_rare import RareLines


class Full:
    """A listening socket of a process without descriptors."""

    def accept(self) -> Any:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


class NoReserve:
    """No descriptor is kept in reserve."""

    def available(self) -> bool:
        return False


class DescriptorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(module, "_rare", RareLines(module.time.monotonic))
        self.events: list[LogEvent] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

    def told(self) -> list[str]:
        return [formatEvent(event) for event in self.events if event["log_namespace"] == "openclaw.descriptors"]

    def test_recognised(self) -> None:
        for error, expected in (
            (OSError(errno.EMFILE, ""), True),
            (OSError(errno.ENFILE, ""), True),
            (ConnectBindError(errno.EMFILE, ""), True),
            (OSError(errno.ENOENT, ""), False),
            (ConnectionRefusedError(), False),
            (ValueError(), False),
            (None, False),
        ):
            self.assertIs(is_out_of_descriptors(error), expected, error)

    def test_error_and_one_line(self) -> None:
        errors = [out_of_descriptors() for _ in range(10)]
        told = {(error.http_status, error.code, error.retry_after_s) for error in errors}
        self.assertEqual(told, {(503, "overloaded", 5.0)})
        (line,) = self.told()
        self.assertIn("out of file descriptors", line)
        self.assertIn("LimitNOFILE", line)

    def test_none_left(self) -> None:
        self.assertFalse(has_none_left())
        for number, expected in ((errno.EMFILE, True), (errno.ENOENT, False)):

            def refuse(*_: object, number: int = number) -> int:
                raise OSError(number, "")

            self.patch(os, "open", refuse)
            self.assertIs(has_none_left(), expected)

    def test_twisted_cannot_accept(self) -> None:
        """By the words of the Twisted that is installed."""
        log = Logger("twisted.internet.tcp.Port", observer=LogPublisher(watch_accepting))
        for _ in range(3):
            self.assertEqual(list(_accept(log, range(1), Full(), NoReserve())), [])
        self.assertEqual(len(self.told()), 1)
        log.info("something else")
        Logger("openclaw.x", observer=LogPublisher(watch_accepting)).info("EMFILE encountered")
        self.assertEqual(len(self.told()), 1)
