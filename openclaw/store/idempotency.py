"""
Keys of requests that may be repeated, with the results that a repetition is answered with.

A key is kept for a day.  There are bounds for the number of keys and for the results together; beyond them the keys
that were claimed first go, some at each write, so that no write takes long.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import get_args

import msgspec

from openclaw.records import KeptResult, KeyClaim, KeyRecord, KeySurface

KEPT_MS = 24 * 3600 * 1000
"""How long a key is kept, in milliseconds from when it was claimed."""

MAX_RESULT_BYTES = 1024 * 1024
"""Largest result that is kept, in bytes of JSON."""

MAX_KEYS = 10_000
"""Most keys of one surface."""

MAX_TOTAL_BYTES = 256 * 1024 * 1024
"""Most that all results of one surface may take together."""

PRUNED_AT_ONCE = 64
"""Most keys that one write deletes."""

PRUNED_BYTES = 4 * 1024 * 1024
"""The results of such a write, together, but for the last one."""

MAX_ATTEMPTS = 16
"""How many runs of one key are remembered; the first ones go."""

_OLDEST = """
SELECT seq, claimed_at_ms, result_bytes FROM idempotency_keys WHERE surface = ? ORDER BY claimed_at_ms, seq LIMIT 1
"""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(KeptResult).decode


def claim_key(connection: sqlite3.Connection, claim: KeyClaim) -> KeyRecord | None:
    """
    Take a key for a run where that may be; see L{openclaw.stores.IdempotencyStore.claim_key}.

    @return: what was known of the key, whether it was taken or not.
    """
    known = find_key(connection, claim)
    if known is not None and known.state == "free" and known.fingerprint != claim.fingerprint:
        known = None
    if known is None:
        connection.execute(
            "DELETE FROM idempotency_keys WHERE surface = ? AND caller = ? AND key = ?",
            (claim.surface, claim.caller, claim.key),
        )
        connection.execute(
            "INSERT INTO idempotency_keys (surface, caller, key, fingerprint, state, attempts, claimed_at_ms) "
            "VALUES (?, ?, ?, ?, 'running', ?, ?)",
            (claim.surface, claim.caller, claim.key, claim.fingerprint, claim.run_id, claim.claimed_at_ms),
        )
    elif known.state in ("running", "free") and known.fingerprint == claim.fingerprint:
        attempts = (*known.attempts, claim.run_id)[-MAX_ATTEMPTS:]
        connection.execute(
            "UPDATE idempotency_keys SET state = 'running', attempts = ?, claimed_at_ms = ? "
            "WHERE surface = ? AND caller = ? AND key = ?",
            (" ".join(attempts), claim.claimed_at_ms, claim.surface, claim.caller, claim.key),
        )
    _prune(connection, claim.surface, claim.claimed_at_ms)
    return known


def finish_key(connection: sqlite3.Connection, claim: KeyClaim, result: KeptResult | None) -> None:
    """
    Keep a result, or that it is too large; nothing happens if the key has gone meanwhile or is another run's.

    @raise UnicodeEncodeError: for text with lone surrogates.
    """
    payload = b"" if result is None else _encode(result)
    if not 0 < len(payload) <= MAX_RESULT_BYTES:
        _set_state(connection, claim, "too_large", 0)
        return
    seq = _set_state(connection, claim, "done", len(payload))
    if seq is not None:
        connection.execute("INSERT OR REPLACE INTO idempotency_results VALUES (?, ?)", (seq, payload))
        _prune(connection, claim.surface, claim.claimed_at_ms)


def free_key(connection: sqlite3.Connection, claim: KeyClaim) -> None:
    """Let a key be used again; nothing happens if it has gone meanwhile, has its result or is another run's."""
    _set_state(connection, claim, "free", 0)


def find_turn(connection: sqlite3.Connection, session_key: str, run_ids: Sequence[str]) -> str | None:
    """Which of some runs stored the user's turn in a session; reads the whole session, so it is for retries only."""
    marks = ", ".join("?" * len(run_ids))
    row = connection.execute(
        "SELECT e.run_id FROM sessions AS s JOIN entries AS e ON e.session_id = s.id "  # noqa: S608 - marks
        f"WHERE s.key = ? AND e.run_id IN ({marks}) AND e.role <> 'assistant' ORDER BY e.seq DESC LIMIT 1",
        (session_key, *run_ids),
    ).fetchone()
    return None if row is None else str(row[0])


def prune_keys(connection: sqlite3.Connection, now_ms: int) -> int:
    """
    Delete keys that are too old or too many, the oldest first, at most L{PRUNED_AT_ONCE} of each surface.

    @return: how many were deleted; 0 only if no more are to be.
    """
    return sum(_prune(connection, surface, now_ms) for surface in get_args(KeySurface))


def _prune(connection: sqlite3.Connection, surface: KeySurface, now_ms: int) -> int:
    deleted = size = 0
    while deleted < PRUNED_AT_ONCE and size < PRUNED_BYTES:
        row = connection.execute(_OLDEST, (surface,)).fetchone()
        if row is None or not (row[1] < now_ms - KEPT_MS or _is_over(connection, surface)):
            break
        connection.execute("DELETE FROM idempotency_keys WHERE seq = ?", row[:1])
        deleted += 1
        size += row[2]
    return deleted


def _is_over(connection: sqlite3.Connection, surface: KeySurface) -> bool:
    count, total = connection.execute(
        "SELECT key_count, total_bytes FROM idempotency_totals WHERE surface = ?", (surface,)
    ).fetchone()
    return bool(count > MAX_KEYS or total > MAX_TOTAL_BYTES)


def find_key(connection: sqlite3.Connection, name: KeyClaim) -> KeyRecord | None:
    """What is known of a key; see L{openclaw.stores.IdempotencyStore.find_key}."""
    row = connection.execute(
        "SELECT fingerprint, state, attempts, payload FROM idempotency_keys LEFT JOIN idempotency_results "
        "ON key_seq = seq WHERE surface = ? AND caller = ? AND key = ? AND claimed_at_ms >= ?",
        (name.surface, name.caller, name.key, name.claimed_at_ms - KEPT_MS),
    ).fetchone()
    if row is None:
        return None
    fingerprint, state, attempts, payload = row
    return KeyRecord(fingerprint, state, tuple(attempts.split()), None if payload is None else _decode(payload))


def _set_state(connection: sqlite3.Connection, claim: KeyClaim, state: str, result_bytes: int) -> int | None:
    """Set the state of the key that a run holds; returns its row's id, C{None} if there is none."""
    row = connection.execute(
        "SELECT seq, attempts, state FROM idempotency_keys WHERE surface = ? AND caller = ? AND key = ?",
        (claim.surface, claim.caller, claim.key),
    ).fetchone()
    if row is None or row[1].split()[-1] != claim.run_id or (state == "free" and row[2] != "running"):
        return None
    connection.execute(
        "UPDATE idempotency_keys SET state = ?, result_bytes = ? WHERE seq = ?", (state, result_bytes, row[0])
    )
    return int(row[0])
