"""Look at a store's file without changing it, and copy it while a gateway uses it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

import attrs

from openclaw.errors import OpenClawError
from openclaw.store.migrate import back_up, load_migrations
from openclaw.store.sqlite import APPLICATION_ID

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
    @raise sqlite3.Error: if that fails.
    """
    options = "mode=ro&immutable=1" if immutable else "mode=ro"
    return sqlite3.connect(f"file:{quote(str(path.absolute()))}?{options}", uri=True, timeout=BUSY_TIMEOUT_S)


def look_at_store(path: Path, *, thorough: bool, immutable: bool = False) -> StoreState:
    """
    See whether a file is a whole store of the gateway.  Blocks, and reads all of it.

    @param thorough: compare the indexes with the tables too.
    @raise OpenClawError: if it is none, or damaged.
    """
    with _told_as(f"the store {path} cannot be read"), closing(connect(path, immutable=immutable)) as connection:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        if application != APPLICATION_ID:
            raise OpenClawError(f"{path} is not a store of this gateway")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        rows = connection.execute("PRAGMA integrity_check(5)" if thorough else "PRAGMA quick_check(5)").fetchall()
    faults = [str(text) for (text,) in rows if text != "ok"]
    if faults:
        raise OpenClawError(f"the store {path} is damaged: {'; '.join(faults)[:500]}")
    return StoreState(version, load_migrations()[-1].version)


def copy_store(path: Path, target: Path) -> None:
    """
    Copy a store as it is at one moment, also while a gateway writes to it.  Blocks.

    @param target: the copy, mode 0600.
    @raise OpenClawError: if that fails; there is no copy then.
    """
    with _told_as(f"the store {path} cannot be copied"), closing(connect(path)) as connection:
        back_up(connection, target)


def fold(path: Path) -> None:
    """
    Write what lies beside a store, in its write-ahead log, into the store itself.  Blocks; no gateway may run.

    @raise OpenClawError: if that fails; nothing is lost then.
    """
    with (
        _told_as(f"the store {path} cannot be read"),
        closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_S)) as connection,
    ):
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


@contextmanager
def _told_as(problem: str) -> Iterator[None]:
    """Tell what SQLite or the system says against it as one error."""
    try:
        yield
    except sqlite3.Error as error:
        raise OpenClawError(f"{problem}: {error}") from None
    except OSError as error:
        raise OpenClawError(f"{problem}: {error.strerror}") from None
