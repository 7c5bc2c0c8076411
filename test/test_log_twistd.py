"""Tests of L{openclaw.log_twistd} and L{openclaw.log_syslog}."""

from __future__ import annotations

import io
import os
import stat
import syslog
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.logger import Logger, LogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from openclaw import log_twistd as module
from openclaw.errors import StartError
from openclaw.log_files import LineWriter, Told
from openclaw.log_lines import Line
from openclaw.log_syslog import SyslogOutput, syslog_lines
from openclaw.log_twistd import TwistdLog, TwistdStream, log_to_file, log_to_syslog
from openclaw.redact import Redactor
from test.test_log_files import until


class TwistdLogTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.path = self.folder / "twistd.log"
        self.at_exit: list[Callable[[], None]] = []
        self.patch(module, "call_at_exit", self.at_exit.append)
        self.redactor = Redactor()
        self.redactor.learn(["known-secret"])
        self.publisher = LogPublisher()
        self.patch(module, "log", Logger("openclaw.log", observer=self.publisher))
        self.log = Logger("openclaw.x", observer=self.publisher)

    def watched(self, made: TwistdLog | TwistdStream) -> TwistdLog | TwistdStream:
        """An observer that is told everything."""
        self.publisher.addObserver(made)
        self.addCleanup(made.stop)
        return made

    def file(self, level: str = "info", **settings: Any) -> TwistdLog | TwistdStream:
        return self.watched(log_to_file(self.path, level, redactor=self.redactor, **settings))

    def text(self) -> str:
        return self.path.read_text() if self.path.exists() else ""


class FileTests(TwistdLogTestCase):
    def test_masked_levelled_and_private(self) -> None:
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        made = self.file()
        self.log.info("it has known-secret")
        self.log.debug("not told")
        Logger("twisted.web.http", observer=self.publisher).info("Timing out client: x")
        # Not before twistd is the daemon that it will be.
        self.assertFalse(self.path.exists())
        made.start()
        self.log.failure("it broke", Failure(ValueError("password=abcdef")))
        made.stop()
        self.assertRegex(self.text(), r"^\d{4}-\d\d-\d\dT\S+ \[x\] it has \*\*\*\n\S+ \[x\] it broke\n  Traceback")
        self.assertNotIn("abcdef", self.text())
        self.assertNotIn("not told", self.text())
        self.assertNotIn("Timing out", self.text())
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)

    def test_bounded(self) -> None:
        made = self.file(max_file_bytes=1)
        made.start()
        for number in range(8):
            self.log.info("{number}", number=number)
            until(lambda number=number: self.text().endswith(f"] {number}\n"))
        self.assertEqual(len(list(self.folder.iterdir())), 6)

    def test_other_level(self) -> None:
        made = self.file("warn")
        made.start()
        self.log.info("one")
        made.set_level("debug")
        self.log.debug("two")
        made.stop()
        self.assertTrue(self.text().endswith("[x] two\n"))
        self.assertEqual(len(self.text().splitlines()), 1)
        self.assertRaises(StartError, made.set_level, "loud")

    def test_last_words(self) -> None:
        """twistd tells that it could not remove its pid file after all has ended."""
        made = self.file()
        made.start()
        made.stop()
        self.log.error("the last word")
        self.assertIn("the last word\n", self.text())

    def test_ends_before_it_starts(self) -> None:
        self.file()
        self.log.error("it cannot")
        self.at_exit[0]()
        self.assertIn("it cannot\n", self.text())

    def test_cannot_be_written_at_the_end(self) -> None:
        made = self.file()
        self.path.mkdir()
        made.stop()
        self.log.error("it cannot")

    def test_no_folder(self) -> None:
        self.path = self.folder / "none" / "twistd.log"
        error = self.assertRaises(StartError, self.file)
        self.assertEqual(error.message, f"cannot write the log {self.path}: No such file or directory")

    def test_wrong_level(self) -> None:
        self.assertRaises(StartError, self.file, "loud")

    def test_link(self) -> None:
        """A file of another folder, as a volume has it."""
        real = self.folder / "real.log"
        self.path.symlink_to(real)
        made = self.file()
        made.start()
        self.log.info("it is")
        made.stop()
        self.assertIn("it is\n", real.read_text())
        self.assertTrue(self.path.is_symlink())

    def test_another_user(self) -> None:
        """twistd begins as root, and the file must be writable by whom it becomes; nothing else is given away."""
        given: list[tuple[int, int]] = []
        self.patch(os, "fchown", lambda _, *owner: given.append(owner))
        self.file(owner=(1, 2))
        self.assertEqual(given, [(1, 2)])
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        (self.folder / "shadow").hardlink_to(self.path)
        self.file(owner=(1, 2))
        self.assertEqual(given, [(1, 2)])

    def test_no_file(self) -> None:
        """As C{/dev/stdout}."""
        os.mkfifo(self.path)
        reader = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        made = self.file()
        made.start()
        self.log.info("it has known-secret")
        self.log.debug("not told")
        made.set_level("debug")
        self.log.debug("told")
        made.reopen()
        self.assertEqual(
            [line.split(b"] ")[1] for line in os.read(reader, 1000).splitlines()], [b"it has ***", b"told"]
        )


class SyslogTests(TwistdLogTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.calls: list[tuple[Any, ...]] = []

    def output(self) -> SyslogOutput:
        return SyslogOutput(
            "gateway",
            begin=lambda *given: self.calls.append(("begin", *given)),
            send=lambda *given: self.calls.append(given),
            end=lambda: self.calls.append(("end",)),
        )

    def test_priorities(self) -> None:
        for level, priority in (("debug", 7), ("info", 6), ("warn", 4), ("error", 3), ("critical", 2)):
            self.assertEqual(syslog_lines(Line(0.0, level, "x", "it is")), b"<%d>[x] it is\n" % priority)

    def test_lines(self) -> None:
        """Nothing of a text can be a line of its own, with another priority."""
        output = self.output()
        output.write(b"")
        self.assertEqual(self.calls, [])
        output.write(syslog_lines(Line(0.0, "warn", "x", "one\n<0>two\r\n\n\0three\u2028<1>four \udcff")))
        self.assertEqual(self.calls.pop(0), ("begin", "gateway", syslog.LOG_PID, syslog.LOG_DAEMON))
        self.assertEqual(
            self.calls,
            [
                (4, "[x] one"),
                (4, "  <0>two\\r"),
                (4, "  "),
                (4, "  \\x00three\\u2028<1>four \\udcff"),
            ],
        )
        output.close()
        output.close()
        self.assertEqual(self.calls[-1], ("end",))
        self.assertEqual(len(self.calls), 5)
        output.reopen()

    def test_masked_and_levelled(self) -> None:
        writer = LineWriter(self.output(), Told(mock.Mock(), mock.Mock()))
        made = self.watched(TwistdLog("warn", writer, syslog_lines, self.redactor))
        made.start()
        self.log.warn("it has known-secret")
        self.log.info("not told")
        made.stop()
        self.assertEqual(self.calls[1:], [(4, "[x] it has ***"), ("end",)])

    def test_the_systems(self) -> None:
        with (
            mock.patch.object(syslog, "openlog"),
            mock.patch.object(syslog, "syslog"),
        ):
            made = self.watched(log_to_syslog("gateway", "silent"))
        made.start()
        self.log.critical("not told")
        made.stop()
        self.assertRaises(StartError, log_to_syslog, "gateway", "loud")


class StreamTests(TwistdLogTestCase):
    def test_lines(self) -> None:
        out = io.StringIO()
        made = self.watched(TwistdStream("info", out, self.redactor))
        made.start()
        self.log.info("it has known-secret")
        made.reopen()
        made.stop()
        self.assertTrue(out.getvalue().endswith(" [x] it has ***\n"))
