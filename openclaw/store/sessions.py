"""Sessions: one row for each, with its tip and what lists of sessions show."""

from __future__ import annotations

import sqlite3
from typing import Any

from openclaw.records import Entry, SessionPage, SessionQuery, SessionRecord, SessionRow
from openclaw.store.runs import check_limit, check_offset, run_columns, run_record

# The rows of one page are found by an index alone, and only these are then read: what is left out at the front may be
# a million rows.
_NEWEST = " ORDER BY s.updated_at_ms DESC, s.id DESC"
_LIST = f"""
SELECT s.key, s.agent_id, s.created_at_ms, s.updated_at_ms, s.entry_count, s.archived_at_ms, {run_columns("r")}
FROM (SELECT s.id FROM sessions AS s {{where}}{_NEWEST} LIMIT ? OFFSET ?) AS page
CROSS JOIN sessions AS s ON s.id = page.id LEFT JOIN runs AS r ON r.run_id = s.last_run_id{_NEWEST}
"""  # noqa: S608 - constants


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


def session_created_at_ms(connection: sqlite3.Connection, key: str) -> int | None:
    """When a session was begun, milliseconds since 1970; C{None} if it is not stored."""
    row = connection.execute("SELECT created_at_ms FROM sessions WHERE key = ?", (key,)).fetchone()
    return None if row is None else int(row[0])


def count_entries(connection: sqlite3.Connection, key: str) -> int:
    """How many entries a session has, of all its branches; 0 if it is not stored."""
    row = connection.execute("SELECT entry_count FROM sessions WHERE key = ?", (key,)).fetchone()
    return 0 if row is None else int(row[0])


def count_bytes(connection: sqlite3.Connection, key: str) -> int:
    """How large the entries of a session are together; it looks at each of them, but not at what is said there."""
    (size,) = connection.execute(
        "SELECT sum(length(e.payload)) FROM sessions AS s JOIN entries AS e ON e.session_id = s.id WHERE s.key = ?",
        (key,),
    ).fetchone()
    return size or 0


def set_tip(connection: sqlite3.Connection, session_id: int, tip_seq: int, added: int, last: Entry) -> None:
    """
    Move a session's tip to an entry just appended; one that was put away is so back.

    @param added: how many entries were appended.
    @param last: the entry at the tip.  A clock that was set back does not make the session older.
    """
    connection.execute(
        "UPDATE sessions SET tip_seq = ?, entry_count = entry_count + ?, updated_at_ms = max(updated_at_ms, ?), "
        "last_run_id = ?, archived_at_ms = NULL WHERE id = ?",
        (tip_seq, added, last.created_at_ms, last.run_id, session_id),
    )


def list_sessions(connection: sqlite3.Connection, query: SessionQuery) -> SessionPage:
    """
    The sessions last written, newest first.

    @raise InvalidRequest: if the limit or the offset is out of range.
    """
    # As literals, so that SQLite uses the partial indexes.  Those at 0 are being deleted.
    conditions = ["s.archived_at_ms > 0" if query.archived else "s.archived_at_ms IS NULL"]
    values: list[Any] = []
    for condition, value in (
        ("s.key = ?", query.key),
        ("s.agent_id = ?", query.agent_id),
        ("s.updated_at_ms >= ?", query.updated_since_ms),
        ("instr(lower(s.key), lower(?)) > 0", query.search),
    ):
        if value is not None:
            conditions.append(condition)
            values.append(value)
    where = f"WHERE {' AND '.join(conditions)}"
    (total,) = connection.execute(f"SELECT count(*) FROM sessions AS s {where}", values).fetchone()  # noqa: S608
    page = (check_limit(query.limit), check_offset(query.offset))
    rows = connection.execute(_LIST.format(where=where), (*values, *page))
    return SessionPage(tuple(_row(row) for row in rows), total)


def _row(row: tuple[Any, ...]) -> SessionRow:
    # The first column of the run is its id, which is never NULL where there is a run.
    return SessionRow(SessionRecord(*row[:6]), run_record(row[6:]) if row[6] is not None else None)
