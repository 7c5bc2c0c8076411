"""Runs: one row for each, with its status and what it used."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from openclaw.messages import Usage
from openclaw.records import RunRecord
from openclaw.store.limits import check_limit

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
    *ran, prompt, completion, cached, reasoning, estimated, error_code = row
    run_id, agent_id, session_key, model_ref, status, started_at_ms, ended_at_ms = ran
    return RunRecord(
        run_id,
        agent_id,
        session_key,
        model_ref,
        status,
        started_at_ms,
        ended_at_ms,
        Usage(prompt, completion, cached, reasoning, bool(estimated)),
        error_code,
    )


def _row(run: RunRecord) -> tuple[object, ...]:
    usage = run.usage
    return (
        run.run_id,
        run.agent_id,
        run.session_key,
        run.model_ref,
        run.status,
        run.started_at_ms,
        run.ended_at_ms,
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.cached_tokens,
        usage.reasoning_tokens,
        usage.estimated,
        run.error_code,
    )
