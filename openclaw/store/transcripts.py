"""Transcripts: the tree of entries of each session, and its current branch."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

from openclaw.errors import StoreError
from openclaw.interfaces import Entry
from openclaw.messages import Message
from openclaw.store.sessions import ensure_session, set_tip

_encode_message = msgspec.json.Encoder().encode
_decode_message = msgspec.json.Decoder(Message).decode

# From the tip upwards.  UNION ALL, as a parent is always older than its child and the chain cannot be a circle;
# only numbers pass through the recursion, which is what makes it quick.
_BRANCH = """
WITH RECURSIVE branch (seq) AS (
    SELECT tip_seq FROM sessions WHERE key = ?
    UNION ALL
    SELECT e.parent_seq FROM branch AS b JOIN entries AS e ON e.seq = b.seq
    LIMIT ?
)
SELECT e.id, e.run_id, e.payload, e.stop_reason, e.created_at_ms FROM branch AS b CROSS JOIN entries AS e USING (seq)
"""

_INSERT = """
INSERT INTO entries (session_id, id, parent_seq, run_id, role, payload, stop_reason, created_at_ms)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (session_id, id) DO NOTHING
"""


def read_branch(connection: sqlite3.Connection, session_key: str, limit: int | None = None) -> tuple[Entry, ...]:
    """
    Read a session's current branch.

    @param limit: only so many of its last entries.
    @return: its entries from root to tip; empty if the session is not stored.
    @raise msgspec.MsgspecError: if a stored message is damaged.
    """
    entries: list[Entry] = []
    # One more than asked for: it tells the parent of the first.
    rows = connection.execute(_BRANCH, (session_key, -1 if limit is None else limit + 1))
    row = rows.fetchone()
    # Row by row: each step of SQLite lets the reactor's thread run, which fetchall() and a loop after it would not.
    while row is not None:
        entry_id, run_id, payload, stop_reason, created_at_ms = row
        row = rows.fetchone()
        parent_id = None if row is None else row[0]
        if limit is None or len(entries) < limit:
            entries.append(Entry(entry_id, parent_id, run_id, _decode_message(payload), created_at_ms, stop_reason))
    entries.reverse()
    return tuple(entries)


def append_entries(connection: sqlite3.Connection, session_key: str, agent_id: str, entries: Sequence[Entry]) -> None:
    """
    Append entries to a session, creating it if need be; the last one becomes its tip.

    Entries that are stored already are passed over, so that the same call may be made again.

    @raise StoreError: C{store_conflict} if an entry's parent is not in this session.
    @raise UnicodeEncodeError: for text with lone surrogates.
    """
    if not entries:
        return
    session_id = ensure_session(connection, session_key, agent_id, entries[0].created_at_ms)
    seqs: dict[str, int] = {}
    tip: int | None = None
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
                _encode_message(entry.message),
                entry.stop_reason,
                entry.created_at_ms,
            ),
        )
        if cursor.rowcount:
            assert cursor.lastrowid is not None
            tip = seqs[entry.id] = cursor.lastrowid
    if tip is not None:
        set_tip(connection, session_id, tip, len(seqs), entries[-1])


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
