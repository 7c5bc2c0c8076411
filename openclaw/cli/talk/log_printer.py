"""What of a log is shown, and how."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import attrs
import click

from openclaw.cli.client.told import texts
from openclaw.cli.output import json_text, say
from openclaw.cli.tables import cell

_COLOURS = {"error": "red", "critical": "red", "fatal": "red", "warn": "yellow", "debug": "bright_black"}


@attrs.frozen
class LogOptions:
    """
    What of the log is asked for.

    @ivar interval_ms: how often new lines are asked for when following, in milliseconds.
    """

    limit: int
    max_bytes: int
    interval_ms: int
    follow: bool


class LogPrinter:
    """Prints pieces of a log; C{has_begun} says whether anything was printed."""

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
        if self._as_json:
            self._json({"type": "raw", "raw": raw} if entry is None else {"type": "log", **entry, "raw": raw})
        elif entry is None:
            say(raw)
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
    try:
        moment = datetime.fromisoformat(str(text)).astimezone(UTC if utc else None)
    except (ValueError, OverflowError):
        return cell(text)
    return moment.strftime("%Y-%m-%d %H:%M:%S") + ("Z" if utc else "")
