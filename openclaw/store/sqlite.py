"""Opening the database file: whose it is, who may read it, and how SQLite is to treat it."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import stat
from collections.abc import Sequence
from pathlib import Path

from openclaw.errors import EXIT_CONFIG, StartError
from openclaw.store.damage import DATABASE_ERRORS, RESTORE, is_damage, reason_of
from openclaw.store.migrate import Migration, load_migrations, migrate

APPLICATION_ID = 0x4F43544B
"""Marks a file as a store of this gateway (SQLite's C{application_id})."""

BUSY_TIMEOUT_MS = 5000
"""How long a lock of another process, a backup for instance, is waited for."""

CACHE_KIB = 8192
"""Most memory of SQLite's page cache."""

READER_KIB = 2048
"""The same of the connection that only reads."""

WAL_KEPT_BYTES = 64 * 1024 * 1024
"""Size to which the write-ahead log is cut back once a burst is over."""

SMALLEST_BYTES = 512
"""Size of SQLite's smallest page: a file that is smaller holds nothing, and SQLite deletes the log beside it."""

FULL_BELOW_BYTES = 1024 * 1024
"""A disk with less free space is full: even an empty store takes some hundred KiB, its side files included."""


def open_database(path: Path, migrations: Sequence[Migration] | None = None) -> sqlite3.Connection:
    """
    Open the store's file, creating or upgrading it as need be.

    The connection commits by itself outside of an explicit transaction, and a commit is on the disk when it
    returns (C{synchronous=FULL}).  It may be used by the thread that opened it only.

    @param path: the file.  It gets mode 0600; its folder is created with mode 0700, an existing folder is left
        as it is.
    @param migrations: the schema's versions, for tests; otherwise the package's own.
    @raise StartError: with one sentence that names the file and says what to do, if it is a symbolic link, not
        a store of the gateway, of a newer schema, in use, damaged, or cannot be written.
    """
    try:
        _make_private_file(path)
    except OSError as error:
        raise _start_error(path, error) from error
    if _is_cut_off(path):
        raise StartError(f"the store {path} is damaged (it is cut off, and its log is not); {RESTORE}")
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_MS / 1000, isolation_level=None)
    try:
        _claim(connection, path)
        migrate(connection, path, load_migrations() if migrations is None else migrations)
        _configure(connection, "foreign_keys = ON", CACHE_KIB)
        connection.execute(f"PRAGMA journal_size_limit = {WAL_KEPT_BYTES:d}")
        _make_private(path)
    except BaseException as error:
        connection.close()
        if isinstance(error, (*DATABASE_ERRORS, OSError)):
            raise _start_error(path, error) from error
        raise
    return connection


class DatabaseFile:
    """
    The store's file, watched over while it is open; for one thread.

    A file that is removed or replaced under an open connection takes all further writes, and they are gone when
    the process ends.  SQLite notices that only without a write-ahead log.

    @param path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._identity: tuple[int, int] | None = None

    def open(self) -> sqlite3.Connection:
        """Open it; see L{open_database}."""
        connection = open_database(self._path)
        self._identity = self._found()
        return connection

    def check(self) -> None:
        """
        See whether the file that was opened still is the one of that name.

        @raise sqlite3.OperationalError: with C{SQLITE_READONLY_DBMOVED} if it is not.
        """
        if self._found() != self._identity:
            error = sqlite3.OperationalError(
                "its file was removed or replaced under the running gateway; put it back, or restart the gateway"
            )
            error.sqlite_errorcode = sqlite3.SQLITE_READONLY_DBMOVED
            error.sqlite_errorname = "SQLITE_READONLY_DBMOVED"
            raise error

    def _found(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino


def open_reader(path: Path) -> sqlite3.Connection:
    """
    Open a second connection to a store that L{open_database} has opened, for reading only.

    It sees what is committed, and neither waits for the writer nor makes it wait.
    """
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_MS / 1000, isolation_level=None)
    _configure(connection, "query_only = ON", READER_KIB)
    return connection


def open_memory() -> sqlite3.Connection:
    """A new store in memory, for tests; it may be used from any one thread at a time."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    migrate(connection, Path(":memory:"), load_migrations())
    _configure(connection, "foreign_keys = ON", CACHE_KIB)
    return connection


def touch(connection: sqlite3.Connection) -> None:
    """
    Write what is there already, to see whether the disk takes it; within a transaction.

    @raise sqlite3.Error: if it does not.
    """
    # An UPDATE that changes nothing would write nothing; this does.
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID:d}")


def _files_of(path: Path) -> list[Path]:
    """The file, and those that SQLite puts beside it."""
    return [path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm", "-journal")]


def _make_private_file(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in _files_of(path):
        try:
            mode = name.lstat().st_mode
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(mode):
            raise StartError(
                f"{name} is a symbolic link or no ordinary file; move the real file there", exit_code=EXIT_CONFIG
            )
    # SQLite gives its side files the mode of this one, so it must be private before SQLite sees it.  One that
    # exists is not opened here: closing it again would drop the locks that this process has on it.
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _make_private(path: Path) -> None:
    for name in _files_of(path):
        try:
            if stat.S_IMODE(name.stat().st_mode) & 0o077:
                name.chmod(0o600)
        except FileNotFoundError:
            continue


def _claim(connection: sqlite3.Connection, path: Path) -> None:
    """Check that the file is ours or new, and that it can be written; make a new one ours."""
    (found,) = connection.execute("PRAGMA application_id").fetchone()
    if found != APPLICATION_ID:
        (user_version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if found or user_version or tables:
            raise _foreign(path)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID:d}")
    connection.execute("PRAGMA journal_mode = WAL").fetchone()
    connection.execute("PRAGMA synchronous = FULL")
    # Fails where writing would, and writes nothing; BEGIN IMMEDIATE alone succeeds on a read-only file.
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID:d}")
    connection.execute("ROLLBACK")


def _configure(connection: sqlite3.Connection, own: str, cache_kib: int) -> None:
    for setting in (own, "trusted_schema = OFF", "temp_store = MEMORY", f"cache_size = -{cache_kib:d}"):
        connection.execute(f"PRAGMA {setting}")


def _foreign(path: Path) -> StartError:
    return StartError(
        f"{path} is not a store of this gateway, or is damaged; {RESTORE}, or move it away, "
        "or name another state folder in OPENCLAW_STATE_DIR",
        exit_code=EXIT_CONFIG,
    )


def _is_cut_off(path: Path) -> bool:
    """Whether the file holds nothing and a log lies beside it, which SQLite would delete: none of ours is ever so."""
    log = path.with_name(f"{path.name}-wal")
    return path.stat().st_size < SMALLEST_BYTES and log.exists() and log.stat().st_size > 0


def _unusable(path: Path, reason: str) -> StartError:
    return StartError(
        f"the store {path} cannot be opened for writing ({reason}); make its folder writable for this user, "
        "or name another one in OPENCLAW_STATE_DIR",
        exit_code=EXIT_CONFIG,
    )


def _is_full(path: Path) -> bool:
    """Whether there is no space for a file, or no entry for one more, where this one is or was to be."""
    try:
        disk = os.statvfs(path.parent)
    except OSError:
        return False
    # Some file systems count no entries at all.
    return disk.f_bavail * disk.f_frsize < FULL_BELOW_BYTES or (disk.f_files > 0 and disk.f_favail == 0)


def _start_error(path: Path, error: Exception) -> StartError:
    if isinstance(error, OSError):
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return StartError(f"the disk of the store {path} is full; free some space")
        return _unusable(path, error.strerror or str(error))
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    # On a full disk some of its files cannot be made or enlarged, which SQLite does not tell from other troubles.
    doubtful = code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
    if code == sqlite3.SQLITE_FULL or (doubtful and _is_full(path)):
        return StartError(f"the disk of the store {path} is full; free some space")
    if code == sqlite3.SQLITE_NOTADB:
        return _foreign(path)
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return _unusable(path, str(error))
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StartError(f"the store {path} is in use by another process; stop that one first")
    if is_damage(error):
        return StartError(f"the store {path} is damaged ({reason_of(error)}); {RESTORE}")
    return StartError(f"the store {path} cannot be opened: {reason_of(error)}; see whether its disk is in order")
