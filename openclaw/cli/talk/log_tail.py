"""The end of a log, and what comes: of a running gateway, or from the files of this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import click
from twisted.internet.task import deferLater

from openclaw.cli.client.connection import GatewayConnection, connect
from openclaw.cli.client.errors import CallFailed, GatewayUnreachable
from openclaw.cli.client.remote import Remote
from openclaw.cli.client.told import part
from openclaw.cli.options import DEFAULT_TIMEOUT_S
from openclaw.cli.output import resume
from openclaw.cli.talk.log_printer import LogOptions, LogPrinter
from openclaw.errors import ConfigError
from openclaw.methods.logs import current_log, read_tail

MAX_RETRY_INTERVAL_S = 10.0
"""The longest wait between two attempts to reach a gateway that went away, in seconds; the first is of one second."""


class LogTail:
    """The end of a gateway's log, and what comes; following goes on where it was when the gateway is back."""

    def __init__(self, wanted: LogOptions, show: LogPrinter) -> None:
        self._wanted = wanted
        self._show = show
        self._cursor: Any = None
        self._file: Any = None

    async def run(self, reactor: Any, remote: Remote, find: Callable[[], Remote]) -> int:
        """
        Show it; a coroutine on the reactor.

        @param find: says where the gateway is by now, and with which credential.
        @raise RemoteError: if the gateway cannot be reached at first, or does not want us.
        """
        connection = await connect(reactor, remote, timeout_s=DEFAULT_TIMEOUT_S)
        while True:
            try:
                return await self._show_pieces(connection)
            except GatewayUnreachable as error:
                if not (self._wanted.follow and self._show.has_begun):
                    raise
                click.echo(f"openclaw: {error.message}; waiting for it to come back (Ctrl-C ends this)", err=True)
            finally:
                await connection.close()
            connection = await self._connect_again(reactor, find)

    async def _connect_again(self, reactor: Any, find: Callable[[], Remote]) -> GatewayConnection:
        """Try until there is a gateway, or one that does not want us."""
        delay_s = 1.0
        while True:
            await deferLater(reactor, delay_s)
            try:
                return await connect(reactor, find(), timeout_s=DEFAULT_TIMEOUT_S)
            except (GatewayUnreachable, ConfigError):
                pass  # a file that is just being edited can be used a moment later
            except CallFailed as error:
                if error.told_code != "UNAVAILABLE":  # it is starting, or stopping still
                    raise
            delay_s = min(2 * delay_s, MAX_RETRY_INTERVAL_S)

    async def _show_pieces(self, connection: GatewayConnection) -> int:
        while True:
            told = await self._piece(connection, self._cursor)
            if self._cursor is not None and told.get("file") != self._file:
                # the file of another day, of which the cursor says nothing
                told = await self._piece(connection, 0)
            self._show.piece(told)
            self._cursor, self._file = told.get("cursor"), told.get("file")
            if not self._wanted.follow:
                return 0
            await connection.pause(self._wanted.interval_ms / 1000)

    async def _piece(self, connection: GatewayConnection, cursor: Any) -> dict[str, Any]:
        params = {"limit": self._wanted.limit, "maxBytes": self._wanted.max_bytes}
        if cursor is not None:
            params["cursor"] = cursor
        return part(await connection.call("logs.tail", params, timeout_s=DEFAULT_TIMEOUT_S))


def tail_file(folder: Path, wanted: LogOptions, show: LogPrinter) -> int:
    """Show the end of the newest log of a folder, and what comes; give the exit status.  Blocks."""
    resume()
    cursor: int | None = None
    before: Path | None = None
    while True:
        path = current_log(folder)
        if path is None:
            if not show.has_begun:
                click.echo(f"openclaw: there is no log file in {folder}", err=True)
                return 1
        else:
            ended = _ended_file(before, path, cursor)
            if ended is not None:
                rest = read_tail(ended, cursor, wanted.limit, wanted.max_bytes)
                show.piece({**attrs.asdict(rest), "file": str(ended)})
                cursor = 0
            before = path
            tail = read_tail(path, cursor, wanted.limit, wanted.max_bytes)
            show.piece({**attrs.asdict(tail), "file": str(path)})
            cursor = tail.cursor
        if not wanted.follow:
            return 0
        time.sleep(wanted.interval_ms / 1000)


def _ended_file(before: Path | None, path: Path, cursor: int | None) -> Path | None:
    """
    The file that was followed so far, if it has ended; its last lines may not have been read.

    @param before: what was followed.
    @param path: what is to be followed now: the same, or that of another day.
    """
    if before is None or cursor is None:
        return None
    if path != before:
        return before
    try:
        is_begun_anew = path.stat().st_size < cursor
    except OSError:
        return None
    older = path.with_name(f"{path.stem}.1.log")
    return older if is_begun_anew and older.exists() else None
