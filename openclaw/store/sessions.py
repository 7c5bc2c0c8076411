"""Sessions: one row for each, with its tip and what lists of sessions show."""

from __future__ import annotations

import sqlite3

from openclaw.errors import InvalidRequest
from openclaw.interfaces import SessionRecord

MAX_LISTED = 10_000
"""Most rows of one list."""

_COLUMNS = "SELECT key, agent_id, created_at_ms, updated_at_ms, entry_count FROM sessions"
_NEWEST = "ORDER BY updated_at_ms DESC, id DESC LIMIT ?"


def check_limit(limit: int) -> int:
    """
    Check the length that is asked of a list.

    @raise InvalidRequest: if it is negative, which SQLite would take for no limit, or above L{MAX_LISTED}.
    """
    if not 0 <= limit <= MAX_LISTED:
        raise InvalidRequest(f"limit must be 0 to {MAX_LISTED}", param="limit")
    return limit


def ensure_session(connection: sqlite3.Connection, key: str, agent_id: str, created_at_ms: int) -> int:
    """
    Find a session, creating it if it is new.

    @return: its row id.
    """
    # Most sessions exist already, and reading is cheaper than a refused insert.
    row = connection.execute("SELECT id FROM sessions WHERE key = ?", (key,)).fetchone()
    if row is not None:
        return int(row[0])
    cursor = connection.execute(
        "INSERT INTO sessions (key, agent_id, created_at_ms, updated_at_ms) VALUES (?, ?, ?, ?)",
        (key, agent_id, created_at_ms, created_at_ms),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def set_tip(connection: sqlite3.Connection, session_id: int, tip_seq: int, added: int, updated_at_ms: int) -> None:
    """
    Move a session's tip to an entry just appended.

    @param added: how many entries were appended.
    @param updated_at_ms: when; a clock that was set back does not make the session older.
    """
    connection.execute(
        "UPDATE sessions SET tip_seq = ?, entry_count = entry_count + ?, updated_at_ms = max(updated_at_ms, ?) "
        "WHERE id = ?",
        (tip_seq, added, updated_at_ms, session_id),
    )


def list_sessions(connection: sqlite3.Connection, agent_id: str | None, limit: int) -> tuple[SessionRecord, ...]:
    """
    The sessions last written, newest first.

    @param agent_id: only those of this agent; C{None} for all.
    @raise InvalidRequest: if C{limit} is out of range.
    """
    check_limit(limit)
    if agent_id is None:
        rows = connection.execute(f"{_COLUMNS} {_NEWEST}", (limit,))
    else:
        rows = connection.execute(f"{_COLUMNS} WHERE agent_id = ? {_NEWEST}", (agent_id, limit))
    return tuple(SessionRecord(*row) for row in rows)
