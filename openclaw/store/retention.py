"""
Keeping the store small: sessions are put away, and deleted only to make room; old runs are forgotten.

Every function here does a bounded piece of the work; whoever calls it goes on until nothing is left.
"""

from __future__ import annotations

import sqlite3

DROPPED_AT_MS = 0
"""C{archived_at_ms} of a session that is being deleted: it comes before all others and is in no list."""

_STALE = """
SELECT id FROM sessions WHERE archived_at_ms IS NULL AND updated_at_ms < ? ORDER BY updated_at_ms, id LIMIT ?
"""
_OLDEST = "SELECT id FROM sessions WHERE archived_at_ms IS NULL ORDER BY updated_at_ms, id LIMIT ?"
_DROPPED = f"SELECT id FROM sessions WHERE archived_at_ms = {DROPPED_AT_MS} LIMIT 1"  # noqa: S608 - a constant
_SLICE = "SELECT seq, length(payload) FROM entries WHERE session_id = ? ORDER BY id LIMIT ?"
_ENDED = """
SELECT ended_at_ms, seq, EXISTS (SELECT 1 FROM sessions AS s WHERE s.last_run_id = runs.run_id) FROM runs
WHERE (ended_at_ms, seq) > (?, ?) AND ended_at_ms < ? ORDER BY ended_at_ms, seq LIMIT ?
"""

PURGED_BYTES = 4 * 1024 * 1024
"""What was said in the entries of one call of L{purge_dropped}, together, but for the last one; images are large."""


def count_sessions(connection: sqlite3.Connection) -> int:
    """How many sessions are not put away."""
    (count,) = connection.execute("SELECT count(*) FROM sessions WHERE archived_at_ms IS NULL").fetchone()
    return int(count)


def archive_sessions(connection: sqlite3.Connection, before_ms: int, excess: int, now_ms: int, limit: int) -> int:
    """
    Put sessions away that nobody wrote to since C{before_ms}; and if these are fewer, the oldest up to C{excess}.

    @param now_ms: noted as the time at which they were put away.
    @param limit: most sessions of one call.
    @return: how many there were.
    """
    rows = connection.execute(_STALE, (before_ms, limit)).fetchall()
    if len(rows) < min(excess, limit):
        rows = connection.execute(_OLDEST, (min(excess, limit),)).fetchall()
    connection.executemany("UPDATE sessions SET archived_at_ms = ? WHERE id = ?", ((now_ms, row[0]) for row in rows))
    return len(rows)


def list_archived(connection: sqlite3.Connection, limit: int) -> tuple[str, ...]:
    """The keys of the sessions that were put away first."""
    rows = connection.execute(
        "SELECT key FROM sessions WHERE archived_at_ms > ? ORDER BY archived_at_ms, updated_at_ms, id LIMIT ?",
        (DROPPED_AT_MS, limit),
    )
    return tuple(row[0] for row in rows)


def drop_session(connection: sqlite3.Connection, key: str) -> bool:
    """
    Take a session out of sight, for L{purge_dropped} to delete; its key is free for a new one.

    @return: whether there was such a session, and it was still put away.
    """
    # No session of anybody has such a key: they all begin with "agent:".
    cursor = connection.execute(
        "UPDATE sessions SET key = 'dropped:' || id, tip_seq = NULL, last_run_id = NULL, archived_at_ms = ? "
        "WHERE key = ? AND archived_at_ms IS NOT NULL",
        (DROPPED_AT_MS, key),
    )
    return cursor.rowcount > 0


def purge_dropped(connection: sqlite3.Connection, limit: int) -> bool:
    """
    Delete what was said in the sessions that L{drop_session} took away, and at last these themselves.

    @param limit: most entries of one call.
    @return: whether anything is left.
    """
    row = connection.execute(_DROPPED).fetchone()
    if row is None:
        return False
    seqs: list[tuple[int]] = []
    size = 0
    for seq, entry_size in connection.execute(_SLICE, (row[0], limit)):
        seqs.append((seq,))
        size += entry_size
        if size >= PURGED_BYTES:
            break
    # A root with its entry: the number of an entry that is gone may be that of the next one of any session.
    connection.executemany("DELETE FROM detached_roots WHERE root_seq = ?", seqs)
    connection.executemany("DELETE FROM entries WHERE seq = ?", seqs)
    if len(seqs) < limit and size < PURGED_BYTES:
        connection.execute("DELETE FROM sessions WHERE id = ?", row)
    return True


def delete_runs(
    connection: sqlite3.Connection, after: tuple[int, int], before_ms: int, limit: int
) -> tuple[int, int] | None:
    """
    Forget runs that ended before C{before_ms}; not those that a stored session shows as its last one.

    @param after: what the call before gave; C{(0, 0)} for the first one.
    @param limit: most runs that are looked at.
    @return: where to go on; C{None} when all is done.
    """
    rows = connection.execute(_ENDED, (*after, before_ms, limit)).fetchall()
    connection.executemany("DELETE FROM runs WHERE seq = ?", ((seq,) for _, seq, is_shown in rows if not is_shown))
    return (rows[-1][0], rows[-1][1]) if len(rows) == limit else None


def used_bytes(connection: sqlite3.Connection) -> int:
    """Space that the stored data takes, free pages not counted."""
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)
