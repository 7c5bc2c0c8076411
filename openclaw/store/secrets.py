"""Random keys that the gateway makes for itself, once, and that stay the same over restarts."""

from __future__ import annotations

import secrets
import sqlite3

SECRET_BYTES = 32
"""Length of a key."""


def own_secret(connection: sqlite3.Connection, name: str) -> bytes:
    """The key of a name; made now if there is none."""
    connection.execute(
        "INSERT INTO secrets (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING",
        (name, secrets.token_bytes(SECRET_BYTES)),
    )
    (value,) = connection.execute("SELECT value FROM secrets WHERE name = ?", (name,)).fetchone()
    return bytes(value)
