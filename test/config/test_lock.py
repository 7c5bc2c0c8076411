"""Tests of L{openclaw.config.lock}."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from openclaw.config.lock import LOCK_ATTEMPTS, LOCK_PAUSE_S, Holder, StateLock, lock_holder, running_pid
from openclaw.errors import StartError


class LockTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = self.folder / "gateway.lock"
        self.slept: list[float] = []
        self.lock = StateLock(self.path, self.slept.append)
        self.addCleanup(self.lock.release)

    def refusal(self, lock: StateLock) -> StartError:
        before = os.listdir("/proc/self/fd")
        error = self.assertRaises(StartError, lock.acquire)
        self.assertEqual(len(before), len(os.listdir("/proc/self/fd")))
        return error

    def test_take_and_give_back(self) -> None:
        self.lock.acquire()
        self.assertEqual(f"{os.getpid()}\n", self.path.read_text())
        self.assertEqual(0o600, stat.S_IMODE(self.path.stat().st_mode))
        self.lock.release()
        self.lock.release()
        self.assertTrue(self.path.exists())
        second = StateLock(self.path)
        second.acquire()
        second.release()

    def test_somebody_else_has_it(self) -> None:
        self.lock.acquire()
        error = self.refusal(StateLock(self.path, self.slept.append))
        self.assertEqual(78, error.exit_code)
        self.assertIn(f"already running (pid {os.getpid()})", error.message)
        self.assertIn(str(self.folder), error.message)
        self.assertEqual([LOCK_PAUSE_S] * (LOCK_ATTEMPTS - 1), self.slept)
        self.assertEqual(f"{os.getpid()}\n", self.path.read_text())

    def test_somebody_looks_who_has_it(self) -> None:
        """A command that asks whether a gateway runs keeps none from starting at this moment."""
        with self.path.open("w") as looking:
            fcntl.flock(looking, fcntl.LOCK_SH)

            def sleep(seconds: float) -> None:
                self.slept.append(seconds)
                if len(self.slept) == LOCK_ATTEMPTS - 1:
                    fcntl.flock(looking, fcntl.LOCK_UN)

            lock = StateLock(self.path, sleep)
            lock.acquire()
            self.addCleanup(lock.release)
        self.assertEqual(running_pid(self.path), os.getpid())

    def test_holder_that_has_not_said_who_it_is(self) -> None:
        self.lock.acquire()
        self.path.write_text("")
        self.assertIn("(pid unknown)", self.refusal(StateLock(self.path, self.slept.append)).message)

    def test_an_older_longer_content_is_replaced(self) -> None:
        self.path.write_text("99999999999999999\nrubbish")
        self.lock.acquire()
        self.assertEqual(f"{os.getpid()}\n", self.path.read_text())

    def test_it_cannot_be_opened(self) -> None:
        self.path.mkdir()
        error = self.refusal(self.lock)
        self.assertIn(f"{self.path} cannot be opened: Is a directory", error.message)
        self.refusal(StateLock(self.folder / "missing" / "gateway.lock"))

    def test_a_link_is_not_followed(self) -> None:
        (self.folder / "target").write_text("precious")
        self.path.symlink_to("target")
        self.refusal(self.lock)
        self.assertEqual("precious", (self.folder / "target").read_text())

    def test_file_system_without_locks(self) -> None:
        def flock(descriptor: int, operation: int) -> None:
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

        self.patch(fcntl, "flock", flock)
        self.assertIn("cannot be locked: No locks available", self.refusal(self.lock).message)

    def test_full_disk(self) -> None:
        def pwrite(descriptor: int, data: bytes, offset: int) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        self.patch(os, "pwrite", pwrite)
        self.assertIn("cannot be written: No space left", self.refusal(self.lock).message)

    def test_who_holds_it(self) -> None:
        self.assertIsNone(running_pid(self.path))
        self.lock.acquire()
        self.assertEqual(running_pid(self.path), os.getpid())
        for odd in ("odd", "", "-5"):
            self.path.write_text(odd)
            self.assertEqual(running_pid(self.path), 0)
        self.lock.release()
        self.assertIsNone(running_pid(self.path))

    def test_where_it_listens(self) -> None:
        self.lock.tell("http://127.0.0.1:1")
        self.assertFalse(self.path.exists())
        self.lock.acquire()
        self.assertEqual(lock_holder(self.path), Holder(os.getpid(), ""))
        self.lock.tell("http://127.0.0.1:18789")
        self.assertEqual(lock_holder(self.path), Holder(os.getpid(), "http://127.0.0.1:18789"))
        error = self.refusal(StateLock(self.path, self.slept.append))
        self.assertIn(f"already running (pid {os.getpid()})", error.message)
        for text in ("7\nhttp://half", "7\nhttp://a\x1b[m\n", "7\n"):
            self.path.write_text(text)
            self.assertEqual(lock_holder(self.path), Holder(7, ""), text)
        self.lock.release()
        self.assertIsNone(lock_holder(self.path))
        self.lock.acquire()
        self.assertEqual(lock_holder(self.path), Holder(os.getpid(), ""))
