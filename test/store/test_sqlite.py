"""Tests of L{openclaw.store.sqlite}."""

from __future__ import annotations

import errno
import itertools
import os
import sqlite3
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from openclaw.errors import StartError
from openclaw.store import sqlite
from openclaw.store.migrate import Migration, load_migrations
from openclaw.store.sqlite import APPLICATION_ID, open_database, open_memory

from .connections import sqlite_error


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class OpenDatabaseTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute() / "state"
        self.path = self.folder / "gateway.sqlite"

    def open(self) -> sqlite3.Connection:
        connection = open_database(self.path)
        self.addCleanup(connection.close)
        return connection

    def side(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    def refused(self, *parts: str, exit_code: int = 78, **more: Any) -> None:
        error = self.assertRaises(StartError, open_database, self.path, **more)
        self.assertEqual(error.exit_code, exit_code)
        for part in (str(self.path), *parts):
            self.assertIn(part, error.message)

    def pragma(self, connection: sqlite3.Connection, name: str) -> Any:
        return connection.execute(f"PRAGMA {name}").fetchone()[0]

    def make_foreign(self, statement: str) -> None:
        self.folder.mkdir(parents=True)
        other = sqlite3.connect(self.path)
        other.execute(statement)
        other.commit()
        other.close()

    def test_private(self) -> None:
        self.addCleanup(os.umask, os.umask(0))
        self.open().execute(
            "INSERT INTO sessions (id, key, agent_id, created_at_ms, updated_at_ms) VALUES (1, 'k', 'a', 1, 1)"
        )
        self.assertEqual(mode(self.folder), 0o700)
        for path in (self.path, self.side("-wal"), self.side("-shm")):
            self.assertEqual(mode(path), 0o600)

    def test_private_from_the_first_moment(self) -> None:
        self.addCleanup(os.umask, os.umask(0))
        connect = sqlite3.connect
        modes: list[int] = []

        def note(path: Path, **more: Any) -> sqlite3.Connection:
            modes.append(mode(path))
            return connect(path, **more)

        self.patch(sqlite3, "connect", note)
        self.open()
        self.assertEqual(modes, [0o600])

    def test_settings(self) -> None:
        connection = self.open()
        for name, value in (
            ("journal_mode", "wal"),
            ("synchronous", 2),
            ("foreign_keys", 1),
            ("application_id", APPLICATION_ID),
            ("busy_timeout", 5000),
            ("user_version", load_migrations()[-1].version),
        ):
            self.assertEqual(self.pragma(connection, name), value, name)
        self.assertLess(self.pragma(connection, "cache_size"), 0)
        self.assertIsNone(connection.isolation_level)

    def test_opened_again(self) -> None:
        first = self.open()
        first.execute(
            "INSERT INTO sessions (id, key, agent_id, created_at_ms, updated_at_ms) VALUES (1, 'k', 'a', 1, 1)"
        )
        first.close()
        for path in (self.path, self.side("-journal")):
            path.touch()
            path.chmod(0o644)
        self.folder.chmod(0o755)
        again = self.open()
        self.assertEqual(again.execute("SELECT count(*) FROM sessions").fetchone(), (1,))
        self.assertEqual((mode(self.path), mode(self.folder)), (0o600, 0o755))

    def test_symbolic_links(self) -> None:
        self.folder.mkdir(parents=True)
        self.path.symlink_to(self.folder / "elsewhere")
        self.refused("symbolic link")
        self.path.unlink()
        self.side("-wal").symlink_to(self.folder / "elsewhere")
        self.refused("symbolic link", "-wal")
        self.assertFalse((self.folder / "elsewhere").exists())

    def test_a_folder_in_its_place(self) -> None:
        self.path.mkdir(parents=True)
        self.refused("no ordinary file")

    def test_not_a_database(self) -> None:
        self.folder.mkdir(parents=True)
        for content in (b"hello", b"hello " * 1000):
            self.path.write_bytes(content)
            self.refused("not a store of this gateway")
            self.assertEqual(self.path.read_bytes(), content)

    def test_of_another_application(self) -> None:
        self.make_foreign("PRAGMA application_id = 7")
        self.refused("not a store of this gateway")

    def test_of_an_unmarked_application(self) -> None:
        self.make_foreign("CREATE TABLE theirs (x)")
        before = self.path.read_bytes()
        self.refused("not a store of this gateway")
        self.assertEqual(self.path.read_bytes(), before)

    def test_left_by_a_crash_while_it_was_made(self) -> None:
        self.make_foreign("PRAGMA journal_mode = WAL")
        self.assertEqual(self.pragma(self.open(), "application_id"), APPLICATION_ID)

    def test_newer_schema(self) -> None:
        self.open().execute("PRAGMA user_version = 999")
        self.refused("was written by a newer version", "999")

    def test_upgrade(self) -> None:
        self.open().close()
        newest = load_migrations()[-1].version
        step = Migration(newest + 1, "CREATE TABLE more (x)")
        connection = open_database(self.path, [*load_migrations(), step])
        self.addCleanup(connection.close)
        self.assertEqual(self.pragma(connection, "user_version"), newest + 1)
        self.assertTrue(self.side(f".bak-v{newest}").exists())

    def test_folder_that_cannot_be_made(self) -> None:
        self.folder.parent.mkdir()
        self.folder.write_text("a file")
        self.refused("make its folder writable")

    def test_read_only(self) -> None:
        self.open().close()
        connect = sqlite3.connect
        self.patch(sqlite3, "connect", lambda path, **more: connect(f"file:{path}?mode=ro", uri=True, **more))
        self.refused("make its folder writable", "readonly")

    def test_in_use(self) -> None:
        other = self.open()
        other.execute("BEGIN IMMEDIATE")
        self.patch(sqlite, "BUSY_TIMEOUT_MS", 1)
        self.refused("in use by another process", exit_code=1)

    def test_other_failures(self) -> None:
        for code, part in (
            (sqlite3.SQLITE_FULL, "is full; free some space"),
            (sqlite3.SQLITE_IOERR, "cannot be opened: boom; see whether its disk is in order"),
            (sqlite3.SQLITE_INTERNAL, "cannot be opened: boom"),
        ):
            self.failing_with(sqlite_error(code, "boom"))
            self.refused(part, exit_code=1)

    def failing_with(self, error: Exception) -> None:
        def fail(*_: object) -> None:
            raise error

        self.patch(sqlite, "migrate", fail)

    def on_disk(self, **figures: int) -> None:
        """Let the disk have so many blocks of 4 KiB, and so many entries."""
        disk = {"f_frsize": 4096, "f_bavail": 1 << 20, "f_files": 1000, "f_favail": 500, **figures}
        self.patch(os, "statvfs", lambda path: SimpleNamespace(**disk))

    def test_full_disk(self) -> None:
        """What fails on a full disk is the disk's fault: no damage, nothing to restore and no lack of permission."""
        codes = (sqlite3.SQLITE_IOERR | 19 << 8, sqlite3.SQLITE_CANTOPEN)
        for code, figures in itertools.product(codes, ({"f_bavail": 255}, {"f_favail": 0})):
            self.failing_with(sqlite_error(code, "disk I/O error"))
            self.on_disk(**figures)
            self.refused("is full; free some space", exit_code=1)

    def test_disk_that_is_not_full(self) -> None:
        for figures in ({}, {"f_bavail": 256}, {"f_files": 0, "f_favail": 0}):
            self.on_disk(**figures)
            self.failing_with(sqlite_error(sqlite3.SQLITE_IOERR, "disk I/O error"))
            self.refused("disk is in order", exit_code=1)
            self.failing_with(sqlite_error(sqlite3.SQLITE_CANTOPEN))
            self.refused("make its folder writable")

    def test_disk_that_cannot_be_asked(self) -> None:
        self.failing_with(sqlite_error(sqlite3.SQLITE_IOERR))
        self.patch(os, "statvfs", mock.Mock(side_effect=OSError(errno.EIO, "Input/output error")))
        self.refused("disk is in order", exit_code=1)

    def test_full_disk_before_sqlite(self) -> None:
        for number in (errno.ENOSPC, errno.EDQUOT):
            self.patch(os, "open", mock.Mock(side_effect=OSError(number, os.strerror(number))))
            self.refused("is full; free some space", exit_code=1)

    def test_restored_only_where_it_is_damaged(self) -> None:
        for code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL):
            self.failing_with(sqlite_error(code))
            message = self.assertRaises(StartError, open_database, self.path).message
            self.assertNotIn("restore a copy", message)
        for error in (sqlite_error(sqlite3.SQLITE_CORRUPT), sqlite_error(sqlite3.SQLITE_ERROR, "no such table: x"),
                      UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad")):  # fmt: skip
            self.failing_with(error)
            self.refused("is damaged", "restore a copy: openclaw backup restore FILE --force", exit_code=1)
        # damage in the head of a store of ours looks like this, too
        self.failing_with(sqlite_error(sqlite3.SQLITE_NOTADB))
        self.refused("not a store of this gateway, or is damaged; restore a copy")

    def test_log_of_a_store_that_was_cut_off(self) -> None:
        """SQLite would delete it."""
        self.open().close()
        self.path.write_bytes(b"")
        self.side("-wal").write_bytes(b"log")
        self.refused("is damaged", "restore a copy", exit_code=1)
        self.assertEqual(self.side("-wal").read_bytes(), b"log")

    def test_damaged(self) -> None:
        self.open().close()
        content = bytearray(self.path.read_bytes())
        content[100:4096] = b"\xff" * 3996
        self.path.write_bytes(content)
        self.refused("malformed", exit_code=1)

    def test_bugs_are_not_hidden(self) -> None:
        def bug(*_: object) -> None:
            raise ZeroDivisionError

        self.patch(sqlite, "migrate", bug)
        self.assertRaises(ZeroDivisionError, open_database, self.path)

    def test_memory(self) -> None:
        connection = open_memory()
        self.addCleanup(connection.close)
        self.assertEqual(connection.execute("SELECT count(*) FROM runs").fetchone(), (0,))
