"""Tests of L{openclaw.log}."""

from __future__ import annotations

import io
import json
import os
import re
import sys
import warnings
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.logger import LogBeginner, Logger, LogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from openclaw import log as log_module
from openclaw import redact
from openclaw.errors import StartError
from openclaw.log import FileLog, StreamLog, begin_logging, twistd_log
from openclaw.log_files import log_files
from openclaw.log_levels import Levels
from openclaw.redact import Redactor


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


class Closed(io.StringIO):
    """A stream that takes no more."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


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

    def test_for_files_only(self) -> None:
        begin_logging(self.stream)
        self.logger("openclaw.process").info("it serves", files_only=True)
        self.assertEqual("", self.stream.getvalue())

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

    def test_styles(self) -> None:
        for style, start in (("pretty", "20"), ("compact", ""), ("json", "{")):
            self.setUp()
            with warnings.catch_warnings(record=True):
                begin_logging(self.stream, style=style)  # type: ignore[arg-type]
            self.logger("openclaw.x").info("it is")
            self.assertTrue(self.stream.getvalue().startswith(start))
        self.assertEqual(json.loads(self.stream.getvalue())["message"], "it is")

    def test_colour(self) -> None:
        for environ, style, is_coloured in (
            ({}, "pretty", True),
            ({"NO_COLOR": ""}, "pretty", True),
            ({"NO_COLOR": "1"}, "pretty", False),
            ({"TERM": "dumb"}, "pretty", False),
            ({}, "compact", False),
            ({}, "json", False),
        ):
            self.setUp()
            self.stream = Terminal()
            with warnings.catch_warnings(record=True):
                begin_logging(self.stream, style=style, environ=environ)  # type: ignore[arg-type]
            self.logger("openclaw.x").error("it is")
            self.assertEqual("\x1b[" in self.stream.getvalue(), is_coloured, (environ, style))

    def test_parts(self) -> None:
        begin_logging(self.stream, "warn,x=debug")
        self.assertEqual(["debug", "info", "warn", "error", "critical"], self.tell("openclaw.x.y"))

    def test_secrets(self) -> None:
        redactor = Redactor()
        redactor.learn(["known-secret"])
        begin_logging(self.stream, redactor=redactor)
        logger = self.logger("openclaw.x")
        logger.info("known-secret and {other}", other="password=abc")
        logger.failure("it broke", Failure(ValueError("known-secret")))
        self.assertNotIn("known-secret", self.stream.getvalue())
        self.assertNotIn("abc", self.stream.getvalue())

    def test_a_reader_who_left(self) -> None:
        self.stream = Closed()
        begin_logging(self.stream)
        self.logger("openclaw.x").info("it is")

    def test_twistd(self) -> None:
        err = io.StringIO()
        with mock.patch.dict(os.environ, {"OPENCLAW_LOG_LEVEL": "warn"}), mock.patch.object(sys, "stdout", err):
            observer = twistd_log()
        self.publisher.addObserver(observer)
        self.logger("openclaw.x").warn("token=abc")
        self.logger("openclaw.x").info("not told")
        self.assertTrue(err.getvalue().endswith(" [x] token=***\n"), err.getvalue())


class FileLogTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.publisher = LogPublisher()
        self.patch(log_module, "globalLogPublisher", self.publisher)
        self.folder = Path(self.mktemp()).absolute()
        self.at_exit: list[Any] = []
        self.patch(log_module, "call_at_exit", self.at_exit.append)
        self.patch(log_module, "forget_at_exit", self.at_exit.remove)
        self.redactor = Redactor()
        self.log = FileLog(self.folder, "info", self.redactor)
        self.logger = Logger("openclaw.x", observer=self.publisher)

    def lines(self) -> list[dict[str, Any]]:
        files = log_files(self.folder) if self.folder.exists() else []
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]

    def test_from_start_to_stop(self) -> None:
        self.logger.info("before")
        self.log.start()
        self.logger.info("it is", run_id="r1")
        self.assertEqual(self.at_exit, [self.log.stop])
        self.log.stop()
        self.logger.info("after")
        self.assertEqual([(line["message"], line["runId"]) for line in self.lines()], [("it is", "r1")])
        self.assertEqual(self.at_exit, [])

    def test_stop_at_exit(self) -> None:
        self.log.start()
        self.logger.info("it is")
        self.at_exit[0]()
        self.assertEqual([line["message"] for line in self.lines()], ["it is"])

    def test_levels(self) -> None:
        self.log.start()
        self.logger.debug("one")
        self.log.set_level("x=debug")
        self.logger.debug("two")
        self.logger.info("")
        self.log.stop()
        self.assertEqual([line["message"] for line in self.lines()], ["two"])

    def test_wrong_level(self) -> None:
        self.assertRaises(StartError, FileLog, self.folder, "loud")
        self.assertRaises(StartError, self.log.set_level, "loud")

    def test_secrets(self) -> None:
        self.redactor.learn(["known-secret"])
        self.log.start()
        self.logger.failure("it broke", Failure(ValueError("known-secret")))
        self.log.stop()
        self.assertIn("ValueError: ***", self.lines()[0]["message"])

    def test_what_is_no_text(self) -> None:
        self.log.start()
        self.logger.info("file {name}", name="a\udcff")
        self.log.stop()
        self.assertEqual(self.lines()[0]["message"], "file a\udcff")

    def test_what_cannot_be_written(self) -> None:
        """It is told on the stream; the rest goes on."""
        self.folder.write_text("no folder")
        stream = io.StringIO()
        self.publisher.addObserver(StreamLog(stream, Levels(), self.redactor, "pretty", colour=False))
        self.patch(log_module, "log", Logger("openclaw.log", observer=self.publisher))
        self.log.start()
        self.logger.info("it is")
        self.log.stop()
        self.assertIn("it is\n", stream.getvalue())
        self.assertEqual(stream.getvalue().count("cannot write the log in"), 1)

    def test_a_slow_pattern(self) -> None:
        self.patch(log_module, "log", Logger("openclaw.log", observer=self.publisher))
        self.redactor.use_patterns([re.compile("ab")])
        self.patch(redact, "PIECE_DEADLINE_S", -1.0)
        self.log.start()
        self.logger.info("ab")
        self.log.stop()
        messages = [line["message"] for line in self.lines()]
        self.assertEqual(messages, ["***", "logging.redactPatterns: ab takes too long and is not used any more"])

    def test_lost_lines(self) -> None:
        # Losing lines takes a full pipe, of which test_log_stream has tests; here is only what is told.
        line = log_module.lost_lines(7)
        self.assertEqual((line.level, line.message[:7]), ("warn", "7 lines"))
