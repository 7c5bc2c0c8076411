"""C{openclaw logs}: the end of the gateway's log, and what comes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from openclaw.cli.client.remote import (
    DEFAULT_TIMEOUT_S,
    CallFailed,
    GatewayUnreachable,
    Remote,
    RemoteOptions,
    find_remote,
    remote_options,
)
from openclaw.cli.client.told import part, texts
from openclaw.cli.collector import resume
from openclaw.cli.output import State, json_option, json_text
from openclaw.cli.tables import cell, has_colour, say
from openclaw.errors import ConfigError

if TYPE_CHECKING:
    from openclaw.cli.client.connection import GatewayConnection

MAX_RETRY_INTERVAL_S = 10.0
"""The longest wait between two attempts to reach a gateway that went away, in seconds; the first is of one second."""

_COLOURS = {"error": "red", "critical": "red", "fatal": "red", "warn": "yellow", "debug": "bright_black"}


@attrs.frozen
class Wanted:
    """
    What of the log is asked for.

    @ivar interval_s: how often new lines are asked for when following, in seconds.
    """

    limit: int
    max_bytes: int
    interval_s: float
    follow: bool


@click.command()
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option("--limit", type=click.IntRange(1, 5000), default=200, show_default=True, help="Most lines.")
@click.option(
    "--max-bytes", type=click.IntRange(1, 1_000_000), default=250_000, show_default=True, help="Most bytes to read."
)
@click.option(
    "--interval",
    "interval_ms",
    type=click.IntRange(100, 600_000),
    default=1000,
    show_default=True,
    metavar="MS",
    help="How often to look for new lines, milliseconds.",
)
@click.option("--plain", is_flag=True, help="No colour.")
@click.option("--utc", is_flag=True, help="Times in UTC, not in local time.")
@remote_options
@json_option
@click.pass_obj
def logs(
    state: State,
    follow: bool,
    limit: int,
    max_bytes: int,
    interval_ms: int,
    plain: bool,
    utc: bool,
    url: str | None,
    token: str | None,
    password: str | None,
    as_json: bool,
) -> int:
    """Show the gateway's log; if it does not run, the log file of this machine."""
    options = RemoteOptions(url, token, password)
    remote = find_remote(state, options)
    wanted = Wanted(limit, max_bytes, interval_ms / 1000, follow)
    show = Printer(as_json=as_json, colour=has_colour() and not plain, utc=utc)
    from openclaw.cli.client.loop import run

    tail = Tail(wanted, show)

    try:
        return run(lambda reactor: tail.run(reactor, remote, lambda: find_remote(state, options)))
    except GatewayUnreachable as error:
        if remote.kind != "localLoopback" or show.has_begun:
            raise
        click.echo(f"openclaw: {state.advice(error.message)}; this is the log file of this machine", err=True)
        return _tail_file(state, wanted, show)


class Printer:
    """
    Prints pieces of a log.

    @ivar has_begun: whether anything was printed.
    """

    def __init__(self, *, as_json: bool, colour: bool, utc: bool) -> None:
        self.has_begun = False
        self._as_json = as_json
        self._colour = colour
        self._utc = utc

    def piece(self, told: Mapping[str, Any]) -> None:
        """A piece of the log, as C{logs.tail} answers."""
        if not self.has_begun:
            self._meta(told)
        self.has_begun = True
        if told.get("reset"):
            self.notice("Log cursor reset (the file is another one).")
        for line in texts(told, "lines"):
            self._line(line)
        if told.get("truncated"):
            self.notice("Log tail truncated (increase --limit or --max-bytes).")

    def _meta(self, told: Mapping[str, Any]) -> None:
        if self._as_json:
            known = {name: told.get(name) for name in ("file", "cursor", "size")}
            self._json({"type": "meta", **known, "sourceKind": "file"})
        else:
            say(f"Log file: {told.get('file')}")

    def notice(self, text: str) -> None:
        """Something about the log itself."""
        if self._as_json:
            self._json({"type": "notice", "message": text})
        else:
            click.echo(text, err=True)

    def _line(self, raw: str) -> None:
        entry = parse_line(raw)
        if entry is None:
            if self._as_json:
                self._json({"type": "raw", "raw": raw})
            else:
                say(raw)
        elif self._as_json:
            self._json({"type": "log", **entry, "raw": raw})
        else:
            say_line(entry, colour=self._colour, utc=self._utc)

    def _json(self, value: Mapping[str, Any]) -> None:
        click.echo(json_text(value))


def parse_line(raw: str) -> dict[str, Any] | None:
    """A line of the log file as its parts; C{None} if it is not one of JSON."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or "message" not in value:
        return None
    meta = value.get("_meta")
    level = value.get("level") or (meta.get("logLevelName") if isinstance(meta, dict) else None) or "info"
    known = {
        "time": value.get("time"),
        "level": str(level).lower(),
        "subsystem": value.get("subsystem") or _subsystem(value.get("0")),
        "message": str(value["message"]),
    }
    return {name: part for name, part in known.items() if part is not None}


def _subsystem(text: Any) -> str | None:
    """The subsystem where the original's lines have it: in JSON of its own."""
    try:
        value = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return None
    name = value.get("subsystem") if isinstance(value, dict) else None
    return name if isinstance(name, str) else None


def say_line(entry: Mapping[str, Any], *, colour: bool, utc: bool) -> None:
    """Print one line for people."""
    when = shown_time(entry.get("time"), utc=utc)
    level = cell(entry.get("level"))
    head = f"{when} {level:<5} {cell(entry.get('subsystem')):<12}"
    if colour:
        head = click.style(cell(head), fg=_COLOURS.get(level, "cyan"))
        message = "\n".join(cell(line) for line in str(entry["message"]).split("\n"))
        click.echo(f"{head} {message}")
    else:
        say(f"{head} {entry['message']}")


def shown_time(text: Any, *, utc: bool) -> str:
    """A time of the log in local time or UTC, to the second; as it stands if it is none."""
    from datetime import UTC

    try:
        moment = datetime.fromisoformat(str(text)).astimezone(UTC if utc else None)
    except (ValueError, OverflowError):
        return cell(text)
    return moment.strftime("%Y-%m-%d %H:%M:%S") + ("Z" if utc else "")


class Tail:
    """The end of a gateway's log, and what comes; following goes on where it was when the gateway is back."""

    def __init__(self, wanted: Wanted, show: Printer) -> None:
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
        connection = await self._connect(reactor, remote)
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

    async def _connect(self, reactor: Any, remote: Remote) -> GatewayConnection:
        from openclaw.cli.client.connection import connect

        return await connect(reactor, remote, timeout_s=DEFAULT_TIMEOUT_S)

    async def _connect_again(self, reactor: Any, find: Callable[[], Remote]) -> GatewayConnection:
        """Try until there is a gateway, or one that does not want us."""
        from twisted.internet.task import deferLater

        delay_s = 1.0
        while True:
            await deferLater(reactor, delay_s)
            try:
                return await self._connect(reactor, find())
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
            await connection.pause(self._wanted.interval_s)

    async def _piece(self, connection: GatewayConnection, cursor: Any) -> dict[str, Any]:
        params = {"limit": self._wanted.limit, "maxBytes": self._wanted.max_bytes}
        if cursor is not None:
            params["cursor"] = cursor
        return part(await connection.call("logs.tail", params, timeout_s=DEFAULT_TIMEOUT_S))


def _tail_file(state: State, wanted: Wanted, show: Printer, sleep: Callable[[float], None] = time.sleep) -> int:
    """The same from the file itself."""
    from openclaw.methods.logs import current_log, read_tail

    resume()
    folder = state.paths.log_dir
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
        sleep(wanted.interval_s)


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
