"""Tests of L{openclaw.log_files}."""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from openclaw import log_files as module
from openclaw.log_files import LogFiles, OneFile, Told, log_files

DEADLINE_S = 10.0
DAY_S = 86_400.0
NOON_S = time.mktime((2026, 11, 22, 12, 0, 0, 0, 0, -1))


def until(is_true: Callable[[], bool]) -> None:
    """Wait for the writer's thread."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not is_true():
        assert time.monotonic() < deadline_s, "it did not come"
        threading.Event().wait(0.002)


class LogFilesTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute() / "logs"
        self.folder.parent.mkdir()
        self.now_s = NOON_S
        self.failures: list[str] = []

    def files(self, **settings: Any) -> LogFiles:
        told = Told(self.failures.append, lambda count: b"%d lost\n" % count)
        files = LogFiles(self.folder, told, now_s=lambda: self.now_s, **settings)
        self.addCleanup(files.close)
        return files

    def text(self, name: str = "openclaw-2026-11-22.log") -> str:
        try:
            return (self.folder / name).read_text()
        except FileNotFoundError:
            # Not yet written, or between its end and the next one's beginning.
            return ""

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


class LogFilesTests(LogFilesTestCase):
    def test_lines(self) -> None:
        files = self.files()
        files.put(b"early\n")
        self.assertFalse(self.folder.exists())
        files.start()
        files.put(b"later\n")
        files.close()
        self.assertEqual(self.text(), "early\nlater\n")

    def test_owner_only(self) -> None:
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        files = self.files()
        files.start()
        files.put(b"x\n")
        files.close()
        self.assertEqual(stat.S_IMODE(self.folder.stat().st_mode), 0o700)
        self.assertEqual(stat.S_IMODE((self.folder / self.names()[0]).stat().st_mode), 0o600)

    def test_a_file_that_others_could_read(self) -> None:
        self.folder.mkdir()
        path = self.folder / "openclaw-2026-11-22.log"
        path.write_text("before\n")
        path.chmod(0o644)
        files = self.files()
        files.start()
        files.put(b"x\n")
        files.close()
        self.assertEqual(self.text(), "before\nx\n")
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)

    def test_close_twice_and_unstarted(self) -> None:
        files = self.files()
        files.close()
        files.start()
        files.close()
        files.close()

    def test_a_new_day(self) -> None:
        files = self.files()
        files.start()
        files.put(b"one\n")
        until(lambda: self.text() == "one\n")
        self.now_s += DAY_S
        files.put(b"two\n")
        files.close()
        self.assertEqual(self.text("openclaw-2026-11-23.log"), "two\n")

    def test_a_full_file(self) -> None:
        files = self.files(max_file_bytes=10, kept_files=2)
        files.start()
        for number in range(5):
            files.put(b"line %d....\n" % number)
            until(lambda number=number: f"line {number}" in self.text())  # type: ignore[misc]
        files.close()
        self.assertEqual(
            [self.text(path.name) for path in log_files(self.folder)],
            ["line 4....\n", "line 3....\n", "line 2....\n"],
        )

    def test_old_files_are_removed_and_others_are_not(self) -> None:
        self.folder.mkdir()
        for name in ("openclaw-2026-11-19.log", "openclaw-2026-11-20.1.log", "openclaw-2026-11-20.log"):
            (self.folder / name).write_text("old")
        for name in ("openclaw-2026-11-1.log", "mine.log", "openclaw-2026-11-19.log.gz"):
            (self.folder / name).write_text("other")
        files = self.files(kept_files=2)
        files.start()
        files.put(b"x\n")
        files.close()
        self.assertEqual(
            self.names(),
            sorted(
                [
                    *("openclaw-2026-11-20.1.log", "openclaw-2026-11-20.log", "openclaw-2026-11-22.log"),
                    *("openclaw-2026-11-1.log", "mine.log", "openclaw-2026-11-19.log.gz"),
                ]
            ),
        )

    def test_a_clock_that_was_in_the_future(self) -> None:
        """Files of days to come do not have the present one removed, and its lines lost."""
        self.folder.mkdir()
        for number in range(3):
            (self.folder / f"openclaw-2099-01-0{number + 1}.log").write_text("then")
        files = self.files(kept_files=2)
        files.start()
        files.put(b"now\n")
        files.close()
        self.assertEqual(self.text(), "now\n")
        self.assertEqual(
            self.names(), ["openclaw-2026-11-22.log", "openclaw-2099-01-02.log", "openclaw-2099-01-03.log"]
        )

    def test_order(self) -> None:
        self.folder.mkdir()
        order = ["openclaw-2026-11-22.log", "openclaw-2026-11-22.1.log", "openclaw-2026-11-22.10.log"]
        for name in [*order, "openclaw-2026-11-21.log"]:
            (self.folder / name).write_text("")
        self.assertEqual([path.name for path in log_files(self.folder)], [*order, "openclaw-2026-11-21.log"])

    def test_a_file_that_was_removed(self) -> None:
        files = self.files()
        files.start()
        files.put(b"one\n")
        until(lambda: self.text() == "one\n")
        (self.folder / "openclaw-2026-11-22.log").unlink()
        files.put(b"two\n")
        files.close()
        self.assertEqual(self.text(), "two\n")

    def test_the_garbage_collector(self) -> None:
        """What it has logged while lines are taken or put, and so at any step of both, does not wait for that."""

        def lost(count: int) -> bytes:
            files.put(b"leaked\n")
            return b"%d lost\n" % count

        files = LogFiles(self.folder, Told(self.failures.append, lost), now_s=lambda: self.now_s)
        with mock.patch.object(module, "MAX_QUEUED_LINES", 1):
            files.put(b"one\n")
            files.put(b"two\n")
        files.start()
        files.close(DEADLINE_S)
        self.assertEqual(self.text(), "1 lost\ntwo\nleaked\n")

    def test_queue_is_bounded(self) -> None:
        self.patch(module, "MAX_QUEUED_LINES", 3)
        files = self.files()
        for number in range(10):
            files.put(b"%d\n" % number)
        files.start()
        files.close()
        self.assertEqual(self.text(), "7 lost\n7\n8\n9\n")

    def test_queue_is_bounded_in_bytes(self) -> None:
        self.patch(module, "MAX_QUEUED_BYTES", 10)
        files = self.files()
        for number in range(5):
            files.put(b"%d....\n" % number)
        files.start()
        files.close()
        self.assertEqual(self.text(), "4 lost\n4....\n")

    def test_in_pieces(self) -> None:
        self.patch(module, "CHUNK_BYTES", 5)
        files = self.files()
        for number in range(9):
            files.put(b"%d\n" % number)
        files.start()
        files.close()
        self.assertEqual(self.text(), "".join(f"{number}\n" for number in range(9)))

    def test_full_disk(self) -> None:
        """It is told once, nothing that fits into the queue is lost, and half a line is completed."""
        real_write = os.write
        full = threading.Event()
        full.set()
        tries: list[int] = []

        def write(descriptor: int, data: bytes) -> int:
            if not full.is_set():
                return real_write(descriptor, data)
            tries.append(len(data))
            if len(tries) == 1:
                return real_write(descriptor, data[:2])
            raise OSError(errno.ENOSPC, "No space left on device")

        files = self.files(retry_s=0.01)
        with mock.patch.object(module.os, "write", write):
            files.start()
            files.put(b"one\n")
            until(lambda: len(tries) > 4)
            files.put(b"two\n")
            full.clear()
            until(lambda: self.text() == "one\ntwo\n")
            self.assertEqual(self.failures, ["No space left on device"])
            full.set()
            files.put(b"three\n")
            until(lambda: len(self.failures) == 2)
            files.close()
        self.assertEqual(self.text(), "one\ntwo\n")

    def test_close_while_the_disk_is_full(self) -> None:
        with mock.patch.object(module.os, "write", side_effect=OSError(errno.ENOSPC, "full")):
            files = self.files(retry_s=1000.0)
            files.start()
            files.put(b"one\n")
            until(lambda: self.failures == ["full"])
            began_s = time.monotonic()
            files.close(DEADLINE_S)
            self.assertLess(time.monotonic() - began_s, DEADLINE_S / 2)

    def test_close_has_a_deadline(self) -> None:
        stuck = threading.Event()
        self.addCleanup(stuck.set)
        with mock.patch.object(module.os, "write", lambda *_: (stuck.wait(DEADLINE_S) and 4) or 4):
            files = self.files()
            files.start()
            files.put(b"one\n")
            files.close(0.01)
            stuck.set()

    def test_no_place_for_files(self) -> None:
        """What is no folder, and what is no file, is a failure to write like any other."""
        self.folder.write_text("a file")
        self.assert_fails("File exists")
        self.folder.unlink()
        self.folder.mkdir()
        path = self.folder / "openclaw-2026-11-22.log"
        os.mkfifo(path)
        self.assert_fails("")
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        self.assert_fails("is no file")
        path.unlink()
        path.symlink_to(self.folder / "elsewhere")
        self.assert_fails("")
        self.assertFalse((self.folder / "elsewhere").exists())

    def assert_fails(self, reason: str) -> None:
        self.failures.clear()
        files = self.files(retry_s=0.01)
        files.start()
        files.put(b"x\n")
        until(lambda: bool(self.failures))
        files.close()
        self.assertIn(reason, self.failures[0])

    def test_files_that_cannot_be_removed(self) -> None:
        self.folder.mkdir()
        (self.folder / "openclaw-2026-11-19.log").mkdir()
        files = self.files(kept_files=0)
        files.start()
        files.put(b"x\n")
        files.close()
        self.assertEqual(self.failures, [])
        self.assertEqual(self.text(), "x\n")


class RenamedTests(LogFilesTestCase):
    """What other programs do to the files."""

    def test_renamed_and_removed(self) -> None:
        files = self.files()
        files.start()
        for number, leave in enumerate((lambda path: path.rename(self.folder / "moved"), Path.unlink)):
            files.put(b"before %d\n" % number)
            until(lambda number=number: self.text().endswith(f"before {number}\n"))
            leave(self.folder / "openclaw-2026-11-22.log")
            files.put(b"after\n")
            until(lambda: self.text() == "after\n")
        self.assertEqual((self.folder / "moved").read_text(), "before 0\n")

    def test_another_in_its_place(self) -> None:
        """logrotate makes the new file itself, for others to read."""
        files = self.files()
        files.start()
        files.put(b"before\n")
        until(self.text)
        path = self.folder / "openclaw-2026-11-22.log"
        path.rename(self.folder / "moved")
        path.touch(0o644)
        files.put(b"after\n")
        until(self.text)
        self.assertEqual((self.text(), stat.S_IMODE(path.stat().st_mode)), ("after\n", 0o600))

    def test_emptied(self) -> None:
        """As by copytruncate: its size counts from there."""
        files = self.files(max_file_bytes=10)
        files.start()
        for _ in range(5):
            files.put(b"123456\n")
            until(self.text)
            os.truncate(self.folder / "openclaw-2026-11-22.log", 0)
        self.assertEqual(self.names(), ["openclaw-2026-11-22.log"])

    def test_reopened(self) -> None:
        """Without a line to write."""
        files = self.files()
        files.start()
        files.put(b"before\n")
        until(self.text)
        path = self.folder / "openclaw-2026-11-22.log"
        path.rename(self.folder / "moved")
        files.reopen()
        until(path.exists)
        self.assertEqual(self.failures, [])


class OneFileTests(LogFilesTestCase):
    """A file that somebody has named."""

    def setUp(self) -> None:
        super().setUp()
        self.folder.mkdir()
        self.path = self.folder / "twistd.log"

    def files(self, **settings: Any) -> LogFiles:
        told = Told(self.failures.append, lambda count: b"%d lost\n" % count)
        files = LogFiles(OneFile(self.path), told, now_s=lambda: self.now_s, **settings)
        self.addCleanup(files.close)
        return files

    def test_bounded(self) -> None:
        files = self.files(max_file_bytes=1, kept_files=2)
        files.start()
        for number in range(5):
            files.put(b"%d\n" % number)
            until(lambda number=number: self.text("twistd.log") == f"{number}\n")
            self.now_s += DAY_S
        self.assertEqual(self.names(), ["twistd.log", "twistd.log.1", "twistd.log.2"])
        self.assertEqual([self.text(name) for name in self.names()], ["4\n", "3\n", "2\n"])
        self.assertEqual({stat.S_IMODE((self.folder / name).stat().st_mode) for name in self.names()}, {0o600})

    def test_what_was_there(self) -> None:
        """Files of a twistd that wrote everything are hidden; those beyond the bound go with the next rotation."""
        names = ["twistd.log", *(f"twistd.log.{number}" for number in (1, 2, 3, 30))]
        for name in (*names, "twistd.log.x", "other"):
            (self.folder / name).write_text("x")
            (self.folder / name).chmod(0o644)
        (self.folder / "twistd.log.9").symlink_to("other")
        files = self.files(max_file_bytes=3, kept_files=2)
        files.start()
        files.put(b"new\n")
        until(lambda: self.text("twistd.log") == "xnew\n")
        modes = {name: stat.S_IMODE((self.folder / name).stat().st_mode) for name in (*names, "twistd.log.x", "other")}
        self.assertEqual(modes, {**dict.fromkeys(names, 0o600), "twistd.log.x": 0o644, "other": 0o644})
        files.put(b"newer\n")
        until(lambda: self.text("twistd.log") == "newer\n")
        self.assertEqual(self.names(), ["other", "twistd.log", "twistd.log.1", "twistd.log.2", "twistd.log.x"])

    def test_no_folder(self) -> None:
        self.path = self.folder / "none" / "twistd.log"
        files = self.files()
        files.start()
        files.put(b"x\n")
        until(lambda: self.failures)
        self.assertEqual(self.failures, [os.strerror(errno.ENOENT)])


class FinishTests(LogFilesTestCase):
    """The last words of a process."""

    def test_without_a_start(self) -> None:
        files = self.files()
        files.put(b"x\n")
        files.close()
        self.assertEqual(self.text(), "")
        files.finish()
        self.assertEqual(self.text(), "x\n")

    def test_after_the_end(self) -> None:
        files = self.files()
        files.start()
        files.put(b"one\n")
        files.close()
        files.put(b"two\n")
        files.finish()
        self.assertEqual(self.text(), "one\ntwo\n")

    def test_while_it_runs(self) -> None:
        files = self.files()
        files.start()
        files.finish()
        files.put(b"x\n")
        until(lambda: self.text() == "x\n")

    def test_what_it_tells_of_itself(self) -> None:
        """That it cannot be written may be a line, too."""
        self.folder.write_text("no folder")
        files = self.files()

        def failed(reason: str) -> None:
            self.failures.append(reason)
            files.put(b"y\n")
            files.finish()

        self.patch(files, "_told", Told(failed, lambda count: b""))
        files.put(b"x\n")
        files.finish()
        self.assertEqual(len(self.failures), 1)
