"""Connections that fail when told to, and small values, for the store's tests."""

from __future__ import annotations

import sqlite3
from typing import Any

from openclaw.messages import Message
from openclaw.records import Entry, RunRecord


def sqlite_error(code: int, text: str = "secret detail /a/path") -> sqlite3.OperationalError:
    """An error as SQLite raises it."""
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    error.sqlite_errorname = "SQLITE_TEST"
    return error


class FaultyConnection(sqlite3.Connection):
    """Raises C{faults[first word of the statement]}, once for each error in that list; remembers statements."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.faults: dict[str, list[BaseException]] = {}
        self.statements: list[str] = []

    def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:  # type: ignore[override]
        self.statements.append(sql)
        waiting = self.faults.get(sql.split()[0])
        if waiting:
            raise waiting.pop(0)
        return super().execute(sql, *args)


def open_faulty(path: str = ":memory:") -> FaultyConnection:
    """A connection with one table C{t (v)}, whose values are unique."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=FaultyConnection)
    connection.execute("CREATE TABLE t (v UNIQUE)")
    connection.statements.clear()
    return connection


def insert(value: object) -> Any:
    """A job that inserts a value and returns it."""

    def work(connection: sqlite3.Connection) -> object:
        connection.execute("INSERT INTO t VALUES (?)", (value,))
        return value

    return work


def values(connection: sqlite3.Connection) -> list[object]:
    """A job that reads all values."""
    return [row[0] for row in connection.execute("SELECT v FROM t ORDER BY rowid")]


def entry(entry_id: str, parent_id: str | None = None, text: str = "hi", at_ms: int = 1000, **more: Any) -> Entry:
    """An entry of a user, or with C{role} of someone else."""
    message = Message(more.pop("role", "user"), text)
    return Entry(entry_id, parent_id, more.pop("run_id", "run"), message, at_ms, **more)


def run_record(run_id: str = "run", key: str = "agent:main:a", at_ms: int = 1000, **more: Any) -> RunRecord:
    """A run under way of agent C{main}."""
    return RunRecord(run_id, more.pop("agent_id", "main"), key, "local/m", more.pop("status", "running"), at_ms, **more)
