"""Runs: one row for each, with its status and what it used."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from openclaw.errors import InvalidRequest
from openclaw.messages import Usage
from openclaw.records import RunRecord

MAX_LISTED = 10_000
"""Most rows of one list."""

_COLUMNS = (
    "run_id, agent_id, session_key, model_ref, status, started_at_ms, ended_at_ms, "
    "prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, usage_estimated, error_code"
)
_INSERT = f"INSERT INTO runs ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - constants

# A run may end with another model than it began with.
_END = (
    _INSERT
    + """ ON CONFLICT (run_id) DO UPDATE SET
    model_ref = excluded.model_ref, status = excluded.status, ended_at_ms = excluded.ended_at_ms,
    prompt_tokens = excluded.prompt_tokens, completion_tokens = excluded.completion_tokens,
    cached_tokens = excluded.cached_tokens, reasoning_tokens = excluded.reasoning_tokens,
    usage_estimated = excluded.usage_estimated, error_code = excluded.error_code"""
)

_row = attrgetter(
    *("run_id", "agent_id", "session_key", "model_ref", "status", "started_at_ms", "ended_at_ms"),
    *("usage.prompt_tokens", "usage.completion_tokens", "usage.cached_tokens", "usage.reasoning_tokens"),
    *("usage.estimated", "error_code"),
)
"""The values of L{_COLUMNS}, of a L{RunRecord}."""


def check_limit(limit: int) -> int:
    """
    Check the length that is asked of a list.

    @raise InvalidRequest: if it is negative, which SQLite would take for no limit, or above L{MAX_LISTED}.
    """
    if not 0 <= limit <= MAX_LISTED:
        raise InvalidRequest(f"limit must be 0 to {MAX_LISTED}", param="limit")
    return limit


def check_offset(offset: int) -> int:
    """
    Check where a list is asked to begin.

    @raise InvalidRequest: if it is negative.
    """
    if offset < 0:
        raise InvalidRequest("offset must not be negative", param="offset")
    return offset


def insert_run(connection: sqlite3.Connection, run: RunRecord) -> None:
    """Store a run that begins; one that is stored already is left as it is."""
    connection.execute(_INSERT + " ON CONFLICT (run_id) DO NOTHING", _row(run))


def finish_run(connection: sqlite3.Connection, run: RunRecord) -> None:
    """Store a run's end, and the run itself if it is new."""
    connection.execute(_END, _row(run))


def interrupt_running(connection: sqlite3.Connection) -> int:
    """
    Mark the runs that a dead process left behind as interrupted; to be called before any run begins.

    When they ended nobody knows; for what is old enough to be forgotten they count from their start.

    @return: how many there were.
    """
    # The literal lets SQLite use the partial index of running runs.
    return connection.execute(
        "UPDATE runs SET status = 'interrupted', ended_at_ms = started_at_ms WHERE status = 'running'"
    ).rowcount


def list_runs(connection: sqlite3.Connection, limit: int) -> tuple[RunRecord, ...]:
    """
    The runs last started, newest first.

    @raise InvalidRequest: if C{limit} is out of range.
    """
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM runs ORDER BY started_at_ms DESC, seq DESC LIMIT ?",  # noqa: S608 - constants
        (check_limit(limit),),
    )
    return tuple(run_record(row) for row in rows)


def run_columns(table: str) -> str:
    """The columns that L{run_record} reads, of a table or its alias."""
    return ", ".join(f"{table}.{name}" for name in _COLUMNS.split(", "))


def run_record(row: Sequence[Any]) -> RunRecord:
    """Make a record of the columns of L{run_columns}."""
    run_id, agent_id, session_key, model_ref, status, started_at_ms, ended_at_ms, *used, error_code = row
    prompt, completion, cached, reasoning, estimated = used
    usage = Usage(prompt, completion, cached, reasoning, bool(estimated))
    return RunRecord(run_id, agent_id, session_key, model_ref, status, started_at_ms, ended_at_ms, usage, error_code)
