"""
What a damaged store raises, and how that is told.

SQLite's message names what it met, a table for instance.  Where the damage is in that name the message is no UTF-8,
and the C{sqlite3} module raises C{UnicodeDecodeError} in place of an error of its own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import TypeVar

import msgspec

from openclaw.errors import StoreError

T = TypeVar("T")

STORE_DAMAGED = "store_damaged"
"""Code of the error for what is in the store and cannot be read."""

RESTORE = "restore a copy: openclaw backup restore FILE --force"
"""What is to be done about a damaged store."""

DATABASE_ERRORS = (sqlite3.Error, UnicodeError, OverflowError)
"""What a call of SQLite can raise, whatever the file looks like."""

STORED_DATA_ERRORS = (*DATABASE_ERRORS, msgspec.MsgspecError)
"""What reading and writing rows can raise: the same, and a damaged payload."""

_ROW_ERRORS = (*STORED_DATA_ERRORS, LookupError, TypeError, ValueError)
"""What making values of damaged rows can raise: a parent that is not there, or a column of another type."""

_SCHEMA_FAULTS = ("no such table", "no such column", "no such index", "malformed", "Could not decode")
"""How messages begin, without a code of their own, of an SQL that is ours on a schema that no longer is."""


def is_damage(error: BaseException) -> bool:
    """Whether an error says that what is in the store is not what was written there."""
    if isinstance(error, (UnicodeDecodeError, msgspec.MsgspecError)):
        return True
    if not isinstance(error, sqlite3.Error):
        return False
    # The low byte is SQLite's primary result code: https://www.sqlite.org/rescode.html
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or str(error).startswith(_SCHEMA_FAULTS)


def reason_of(error: BaseException) -> str:
    """What an error says, for people; of a message that cannot be decoded, only that."""
    return "its schema is unreadable" if isinstance(error, UnicodeError) else str(error)


def of_session(key: str, read: Callable[[sqlite3.Connection], T]) -> Callable[[sqlite3.Connection], T]:
    """
    Let a read of one session tell damage as that session's.

    @param key: the session's.
    @param read: what reads it.
    @return: the same, which raises L{StoreError} of the code L{STORE_DAMAGED} with the key for what is damaged.
    """

    def named(connection: sqlite3.Connection) -> T:
        try:
            return read(connection)
        except _ROW_ERRORS as error:
            if isinstance(error, (sqlite3.Error, OverflowError, UnicodeEncodeError)) and not is_damage(error):
                raise
            message = f"the session {key} is damaged in the gateway's store; {RESTORE}"
            raise StoreError(message, code=STORE_DAMAGED) from error

    return named
