"""Look at a store's file without changing it, and copy it while a gateway uses it."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import attrs

from openclaw.errors import OpenClawError, StoreError
from openclaw.store.damage import DATABASE_ERRORS, RESTORE, STORE_DAMAGED, is_damage, reason_of
from openclaw.store.migrate import back_up, load_migrations
from openclaw.store.sqlite import APPLICATION_ID, SMALLEST_BYTES

BUSY_TIMEOUT_S = 10.0
"""How long a lock of the running gateway is waited for, seconds."""


@attrs.frozen
class StoreState:
    """What a store's file says of itself: the version of its schema, and the newest that this program makes."""

    version: int
    newest: int


def connect(path: Path, *, immutable: bool = False) -> sqlite3.Connection:
    """
    Open a store for reading.

    @param immutable: nobody writes to it, and it may lie where nothing can be written.
    @raise OpenClawError: if it holds nothing or is no ordinary file.
    @raise sqlite3.Error: if that fails.
    @raise OSError: if there is none.
    """
    # SQLite would wait at a pipe, and delete the log beside a file that holds nothing.
    status = os.stat(path)  # noqa: PTH116
    if not stat.S_ISREG(status.st_mode):
        raise OpenClawError(f"{path} is no ordinary file; move it away, and {RESTORE}")
    if status.st_size < SMALLEST_BYTES:
        raise _damaged(path, "it is empty, or cut off")
    options = "mode=ro&immutable=1" if immutable else "mode=ro"
    return sqlite3.connect(f"file:{quote(str(path.absolute()))}?{options}", uri=True, timeout=BUSY_TIMEOUT_S)


def look_at_store(path: Path, *, thorough: bool, immutable: bool = False, place: Path | None = None) -> StoreState:
    """
    See whether a file is a whole store of the gateway.  Blocks, and reads all of it.

    @param thorough: compare the indexes with the tables too.
    @param place: what is named in an error, where the file is only a copy of that.
    @raise OpenClawError: if it is none, or damaged.
    """
    name = place or path
    with _told_as(name, "read"), closing(connect(path, immutable=immutable)) as connection:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        if application != APPLICATION_ID:
            raise OpenClawError(f"{name} is not a store of this gateway, or is damaged; {RESTORE}")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        rows = connection.execute("PRAGMA integrity_check(5)" if thorough else "PRAGMA quick_check(5)").fetchall()
    faults = [str(text) for (text,) in rows if text != "ok"]
    if faults:
        raise _damaged(name, "; ".join(faults)[:500])
    return StoreState(version, load_migrations()[-1].version)


def copy_store(path: Path, target: Path) -> None:
    """
    Copy a store as it is at one moment, also while a gateway writes to it.  Blocks.

    @param target: the copy, mode 0600.
    @raise OpenClawError: if that fails; there is no copy then.
    """
    with _told_as(path, "copied"), closing(connect(path)) as connection:
        back_up(connection, target)


def fold(path: Path) -> None:
    """
    Write what lies beside a store, in its write-ahead log, into the store itself.  Blocks; no gateway may run.

    One that is not whole is left as it is.  So is a log of which only a part could be read, as SQLite would delete the
    rest with it.

    @raise OpenClawError: if that fails; nothing is lost then.
    """
    with _log_kept(path):
        look_at_store(path, thorough=False)
        with _told_as(path, "read"), closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_S)) as connection:
            log = path.with_name(f"{path.name}-wal")
            size_bytes = log.stat().st_size if log.exists() else 0
            _, frames, folded = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
            # https://www.sqlite.org/fileformat2.html#the_write_ahead_log
            if frames == folded and size_bytes <= 32 + frames * (page_bytes + 24):
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


@contextmanager
def _log_kept(path: Path) -> Iterator[None]:
    """Have what is in the log beside a store outlive whoever closes the store, by a second name of it."""
    log = path.with_name(f"{path.name}-wal")
    spare = log.with_name(f".{log.name}.kept")
    with _told_as(path, "read"):
        spare.unlink(missing_ok=True)
        if log.is_file():
            os.link(log, spare)
    try:
        yield
    finally:
        with suppress(OSError):
            if spare.exists() and spare.stat().st_size and not log.exists():
                spare.rename(log)
            spare.unlink(missing_ok=True)


def _damaged(path: Path, how: str) -> StoreError:
    return StoreError(f"the store {path} is damaged ({how}); {RESTORE}", code=STORE_DAMAGED)


@contextmanager
def _told_as(path: Path, done: str) -> Iterator[None]:
    """Tell what SQLite or the system says against it as one error."""
    try:
        yield
    except DATABASE_ERRORS as error:
        if is_damage(error):
            raise _damaged(path, reason_of(error)) from None
        raise OpenClawError(f"the store {path} cannot be {done}: {reason_of(error)}") from None
    except OSError as error:
        raise OpenClawError(f"the store {path} cannot be {done}: {error.strerror}") from None
