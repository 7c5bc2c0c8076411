"""
Transcripts: the tree of entries of each session, its current branch, and what is detached from that.

A detached root and what is below it are stored like the rest and are not current: the tip is never there.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

from openclaw.errors import StoreError
from openclaw.messages import Message
from openclaw.records import Entry, StopReason, Transcript
from openclaw.store.sessions import ensure_session, set_tip

_encode = msgspec.json.Encoder().encode
_decode_message = msgspec.json.Decoder(Message).decode
_decode_ids = msgspec.json.Decoder(tuple[str, ...]).decode

MAX_LOOKED_AT = 2000
"""Entries after which one call of L{prune_detached} looks at no further session."""

# From the tip upwards.  UNION ALL, as a parent is always older than its child and the chain cannot be a circle; in a
# damaged store, a parent that is not older ends it.  Only numbers pass through the recursion, which is what makes it
# quick.
_UPWARDS = """
WITH RECURSIVE branch (seq) AS (
    SELECT tip_seq FROM sessions WHERE key = ?
    UNION ALL
    SELECT e.parent_seq FROM branch AS b JOIN entries AS e ON e.seq = b.seq WHERE e.parent_seq < e.seq
    LIMIT ?
)
"""
_BRANCH = f"""{_UPWARDS}
SELECT e.id, e.run_id, e.payload, e.created_at_ms, e.stop_reason, e.own_calls, e.parent_seq
FROM branch AS b CROSS JOIN entries AS e USING (seq)
"""  # noqa: S608 - a constant
_BRANCH_BYTES = f"""{_UPWARDS}
SELECT coalesce(sum(length(e.payload)), 0) FROM branch AS b CROSS JOIN entries AS e USING (seq)
"""  # noqa: S608 - a constant

_HAS_TIP = "SELECT 1 FROM sessions WHERE key = ? AND tip_seq IS NOT NULL"

# All branches, in the order in which they were written.  The numbers come from an index and are sorted alone: the
# LIMIT keeps SQLite from making one query of the two, which would sort whole messages.
_WHOLE = """
SELECT e.seq, e.parent_seq, e.id, e.run_id, e.payload, e.created_at_ms, e.stop_reason, e.own_calls, e.streamed
FROM (SELECT seq FROM entries WHERE session_id = ? ORDER BY seq LIMIT -1) AS s CROSS JOIN entries AS e USING (seq)
"""

# From an entry up to its root, or to the tip, which is never below a detached root.
_ROOT = """
WITH RECURSIVE above (seq) AS (
    SELECT ?
    UNION ALL
    SELECT e.parent_seq FROM above AS a JOIN entries AS e ON e.seq = a.seq
    WHERE e.parent_seq < e.seq AND e.seq IS NOT ?
)
SELECT seq FROM above ORDER BY seq LIMIT 1
"""

# The oldest that may go; not in a session with a run under way, as that may be going to append there.  CROSS JOIN
# keeps SQLite from beginning with the sessions: the runs under way are few, and have an index.
_PRUNABLE = """
SELECT d.session_id, d.root_seq FROM detached_roots AS d
WHERE d.is_kept = 0 AND d.created_at_ms < ? AND d.session_id NOT IN (
    SELECT s.id FROM runs AS r CROSS JOIN sessions AS s ON s.key = r.session_key WHERE r.status = 'running'
)
ORDER BY d.created_at_ms LIMIT ?
"""

_INSERT = """
INSERT INTO entries (session_id, id, parent_seq, run_id, role, payload, created_at_ms, stop_reason, own_calls, streamed)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (session_id, id) DO NOTHING
"""


def read_branch(connection: sqlite3.Connection, session_key: str, limit: int | None = None) -> tuple[Entry, ...]:
    """
    Read a session's current branch.

    @param limit: only so many of its last entries.
    @return: its entries from root to tip; empty if the session is not stored.
    @raise msgspec.MsgspecError: if a stored message is damaged.
    @raise LookupError: if the tip or the parent of an entry is not there.
    """
    entries: list[Entry] = []
    # One more than asked for: it tells the parent of the first.
    rows = connection.execute(_BRANCH, (session_key, -1 if limit is None else limit + 1))
    row = rows.fetchone()
    if row is None and connection.execute(_HAS_TIP, (session_key,)).fetchone() is not None:
        raise LookupError("the tip of a session is not there")
    # Row by row: each step of SQLite lets the reactor's thread run, which fetchall() and a loop after it would not.
    while row is not None:
        entry_id, *columns, parent_seq = row
        row = rows.fetchone()
        parent_id = None if row is None else row[0]
        if limit is None or len(entries) < limit:
            if row is None and parent_seq is not None:
                raise LookupError("the parent of an entry is not there")
            entries.append(_entry(entry_id, parent_id, *columns))
    entries.reverse()
    return tuple(entries)


def count_branch_bytes(connection: sqlite3.Connection, session_key: str, limit: int) -> int:
    """How large the entries are that L{read_branch} reads, without looking at what is said there."""
    (size,) = connection.execute(_BRANCH_BYTES, (session_key, limit + 1)).fetchone()
    return int(size)


def read_transcript(connection: sqlite3.Connection, session_key: str) -> Transcript:
    """
    Read all branches of a session.

    @return: an empty transcript if the session is not stored.
    @raise msgspec.MsgspecError: if a stored message is damaged.
    @raise LookupError: if the tip, the parent of an entry or a detached root is not there.
    """
    session = connection.execute("SELECT id, tip_seq FROM sessions WHERE key = ?", (session_key,)).fetchone()
    if session is None:
        return Transcript()
    session_id, tip_seq = session
    ids: dict[int, str] = {}
    entries: list[Entry] = []
    rows = connection.execute(_WHOLE, (session_id,))
    # Row by row, as in read_branch().
    while (row := rows.fetchone()) is not None:
        seq, parent_seq, entry_id, *columns = row
        ids[seq] = entry_id
        entries.append(_entry(entry_id, None if parent_seq is None else ids[parent_seq], *columns))
    roots = connection.execute("SELECT root_seq FROM detached_roots WHERE session_id = ?", (session_id,))
    detached = frozenset(ids[root_seq] for (root_seq,) in roots)
    return Transcript(tuple(entries), None if tip_seq is None else ids[tip_seq], detached)


def append_entries(
    connection: sqlite3.Connection, session_key: str, agent_id: str, entries: Sequence[Entry], *, detached: bool = False
) -> None:
    """
    Append entries to a session, creating it if need be; the last one becomes its tip.

    Entries that are stored already are passed over, so that the same call may be made again.  What is appended
    below a detached root makes that a part of the history.

    @param detached: leave the tip where it is; a new root is a detached one, and one that was stays so.
    @raise StoreError: C{store_conflict} if an entry's parent is not in this session.
    @raise UnicodeEncodeError: for text with lone surrogates.
    """
    if not entries:
        return
    session_id = ensure_session(connection, session_key, agent_id, entries[0].created_at_ms)
    seqs: dict[str, int] = {}
    added: list[int] = []
    for entry in entries:
        parent_seq = None if entry.parent_id is None else _seq_of(connection, session_id, entry.parent_id, seqs)
        cursor = connection.execute(
            _INSERT,
            (
                session_id,
                entry.id,
                parent_seq,
                entry.run_id,
                entry.message.role,
                _encode(entry.message),
                entry.created_at_ms,
                entry.stop_reason,
                _encode(entry.own_calls) if entry.own_calls else None,
                1 if entry.streamed else None,
            ),
        )
        if not cursor.rowcount:
            continue
        assert cursor.lastrowid is not None
        seqs[entry.id] = cursor.lastrowid
        added.append(cursor.lastrowid)
        if detached and parent_seq is None:
            root = (cursor.lastrowid, session_id, entry.created_at_ms, entry.streamed)
            connection.execute("INSERT INTO detached_roots VALUES (?, ?, ?, ?)", root)
        elif not detached and parent_seq is None:
            _give_way(connection, session_id)
        elif not detached and parent_seq is not None and len(added) == 1:
            _adopt(connection, session_id, parent_seq)
    if added and detached:
        connection.execute("UPDATE sessions SET entry_count = entry_count + ? WHERE id = ?", (len(added), session_id))
    elif added:
        set_tip(connection, session_id, added[-1], len(added), entries[-1])


def _entry(
    entry_id: str,
    parent_id: str | None,
    run_id: str,
    payload: bytes,
    created_at_ms: int,
    stop_reason: StopReason | None,
    own_calls: bytes | None,
    streamed: int | None = None,
) -> Entry:
    own = () if own_calls is None else _decode_ids(own_calls)
    return Entry(entry_id, parent_id, run_id, _decode_message(payload), created_at_ms, stop_reason, own, bool(streamed))


def _adopt(connection: sqlite3.Connection, session_id: int, parent_seq: int) -> None:
    """Make the root above an entry a part of the history, if it is a detached one."""
    row = connection.execute(
        "SELECT tip_seq FROM sessions AS s WHERE id = ? AND EXISTS "
        "(SELECT 1 FROM detached_roots AS d WHERE d.session_id = s.id)",
        (session_id,),
    ).fetchone()
    # Most sessions have nothing that is detached, and most turns follow the tip.
    if row is not None and row[0] != parent_seq:
        (root_seq,) = connection.execute(_ROOT, (parent_seq, row[0])).fetchone()
        connection.execute("DELETE FROM detached_roots WHERE root_seq = ?", (root_seq,))


def _give_way(connection: sqlite3.Connection, session_id: int) -> None:
    """Detach the root of the current branch, if there is one: another root takes its place."""
    (tip_seq,) = connection.execute("SELECT tip_seq FROM sessions WHERE id = ?", (session_id,)).fetchone()
    if tip_seq is not None:
        (root_seq,) = connection.execute(_ROOT, (tip_seq, None)).fetchone()
        connection.execute(
            "INSERT OR IGNORE INTO detached_roots "
            "SELECT seq, session_id, created_at_ms, streamed IS NOT NULL FROM entries WHERE seq = ?",
            (root_seq,),
        )


def prune_detached(connection: sqlite3.Connection, before_ms: int, limit: int) -> int:
    """
    Delete detached roots that were stored before C{before_ms}, the oldest first, with all that is below them.

    Those that were asked for as streams are kept.

    Sessions with a run under way are left for a later call.

    @param limit: most roots of one call, which are fewer where they are in long sessions.
    @return: how many there were; 0 only if none is left.
    """
    by_session: dict[int, set[int]] = {}
    for session_id, root_seq in connection.execute(_PRUNABLE, (before_ms, limit)):
        by_session.setdefault(session_id, set()).add(root_seq)
    count = looked_at = 0
    for session_id, doomed in by_session.items():
        if looked_at >= MAX_LOOKED_AT:
            break
        roots = tuple(doomed)
        count += len(roots)
        # A parent is older than its children, so one look from the oldest root on finds all of them.
        rows = connection.execute(
            "SELECT seq, parent_seq FROM entries WHERE session_id = ? AND seq > ? ORDER BY seq",
            (session_id, min(doomed)),
        )
        for seq, parent_seq in rows:
            looked_at += 1
            if parent_seq in doomed:
                doomed.add(seq)
        connection.executemany("DELETE FROM entries WHERE seq = ?", ((seq,) for seq in doomed))
        connection.executemany("DELETE FROM detached_roots WHERE root_seq = ?", ((seq,) for seq in roots))
        connection.execute("UPDATE sessions SET entry_count = entry_count - ? WHERE id = ?", (len(doomed), session_id))
    return count


def _seq_of(connection: sqlite3.Connection, session_id: int, entry_id: str, known: dict[str, int]) -> int:
    seq = known.get(entry_id)
    if seq is None:
        row = connection.execute(
            "SELECT seq FROM entries WHERE session_id = ? AND id = ?", (session_id, entry_id)
        ).fetchone()
        if row is None:
            raise StoreError("an entry's parent is not in its session", code="store_conflict")
        seq = int(row[0])
    return seq
