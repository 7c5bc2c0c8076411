"""Tests of L{openclaw.log}."""

from __future__ import annotations

import io
import warnings

from twisted.logger import LogBeginner, Logger, LogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from openclaw import log as log_module
from openclaw.errors import StartError
from openclaw.log import begin_logging


class LogTests(SynchronousTestCase):
    def setUp(self) -> None:
        publisher = LogPublisher()
        self.publisher = publisher
        beginner = LogBeginner(publisher, io.StringIO(), io.StringIO(), warnings)  # type: ignore[arg-type]
        self.patch(log_module, "globalLogBeginner", beginner)
        self.stream = io.StringIO()

    def logger(self, namespace: str) -> Logger:
        return Logger(namespace, observer=self.publisher)

    def tell(self, namespace: str) -> list[str]:
        """What is written of one message of each level."""
        logger = self.logger(namespace)
        for level in ("debug", "info", "warn", "error", "critical"):
            getattr(logger, level)("it is {what}", what=level)
        return [line.rpartition(" ")[2] for line in self.stream.getvalue().splitlines()]

    def test_a_line(self) -> None:
        begin_logging(self.stream)
        self.logger("openclaw.agents.runs").info("run {run_id}", run_id="r1")
        self.assertRegex(self.stream.getvalue(), r"^\d{4}-\d\d-\d\dT[\d:+-]+ \[agents\.runs\] run r1\n$")

    def test_levels(self) -> None:
        begin_logging(self.stream, "Warn")
        self.assertEqual(["warn", "error", "critical"], self.tell("openclaw.x"))

    def test_twisted_is_quieter(self) -> None:
        for level, namespace, written in (
            ("info", "openclaw.x", ["info", "warn", "error", "critical"]),
            ("info", "twisted.internet", ["warn", "error", "critical"]),
            ("info", "twisted.web.http", ["error", "critical"]),
            ("debug", "twisted.web.http", ["debug", "info", "warn", "error", "critical"]),
            ("critical", "twisted.internet", ["critical"]),
            ("critical", "twisted.web.http", ["critical"]),
        ):
            self.setUp()
            with warnings.catch_warnings(record=True):
                begin_logging(self.stream, level)
            self.assertEqual(written, self.tell(namespace), (level, namespace))

    def test_what_came_before(self) -> None:
        self.logger("openclaw.x").info("early")
        begin_logging(self.stream)
        self.assertNotIn("early", self.stream.getvalue())

    def test_failure(self) -> None:
        begin_logging(self.stream)
        self.logger("openclaw.x").failure("it broke", Failure(ZeroDivisionError("a bug")))
        self.assertIn("[x] it broke\n", self.stream.getvalue())
        self.assertIn("ZeroDivisionError: a bug", self.stream.getvalue())

    def test_empty_messages_are_no_lines(self) -> None:
        begin_logging(self.stream)
        self.logger("openclaw.x").info("")
        self.assertEqual("", self.stream.getvalue())

    def test_unknown_level(self) -> None:
        error = self.assertRaises(StartError, begin_logging, self.stream, "loud")
        self.assertIn("'loud'", error.message)
        self.assertIn("debug, info, warn, error or critical", error.message)
