"""
The schema's versions: numbered SQL files of this package, applied in order.

The version of a database is its C{user_version}.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import attrs

from openclaw.errors import EXIT_CONFIG, StartError
from openclaw.store.damage import DATABASE_ERRORS


@attrs.frozen
class Migration:
    """
    One step of the schema.

    @ivar version: the C{user_version} that it leads to.
    @ivar sql: its statements, without a transaction of their own.
    """

    version: int
    sql: str


def load_migrations() -> tuple[Migration, ...]:
    """Read the package's migrations C{schema/NNN_*.sql}, oldest first."""
    files = [item for item in (resources.files("openclaw.store") / "schema").iterdir() if item.name.endswith(".sql")]
    steps = (Migration(int(item.name.partition("_")[0]), item.read_text("utf-8")) for item in files)
    return tuple(sorted(steps, key=lambda step: step.version))


def migrate(connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration]) -> None:
    """
    Bring a database to the newest version.

    Each step is a transaction.  A database that has a version already is copied to
    C{<name>.bak-v<version>} beside it first.

    @param path: the database's file.
    @param migrations: all steps, oldest first.
    @raise StartError: if the database is newer than the last step.
    @raise sqlite3.Error: if a step or the copy fails; the database then is as the step before left it.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    newest = migrations[-1].version
    if version > newest:
        raise StartError(
            f"{path} was written by a newer version of the gateway (schema {version}, this one knows {newest}); "
            "install that version, or name another state folder in OPENCLAW_STATE_DIR",
            exit_code=EXIT_CONFIG,
        )
    if 0 < version < newest:
        back_up(connection, path.with_name(f"{path.name}.bak-v{version}"))
    for step in migrations:
        if step.version > version:
            _apply(connection, step)


def back_up(connection: sqlite3.Connection, target: Path) -> None:
    """
    Copy a database, complete or not at all.

    @param target: the copy's file, mode 0600; replaced if it exists.
    @raise sqlite3.Error: if the copy cannot be written.
    @raise OSError: if its file cannot be made.
    """
    partial = target.with_name(f"{target.name}.part")
    partial.unlink(missing_ok=True)
    os.close(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        copy = sqlite3.connect(partial, isolation_level=None)
        try:
            connection.backup(copy)
        finally:
            copy.close()
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _apply(connection: sqlite3.Connection, step: Migration) -> None:
    try:
        connection.executescript(f"BEGIN IMMEDIATE;\n{step.sql}\n;PRAGMA user_version = {step.version:d};\nCOMMIT;")
    except DATABASE_ERRORS:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
