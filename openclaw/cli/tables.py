"""How commands show rows and foreign text: plain where a program reads, with some form where a person does."""

from __future__ import annotations

import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Sequence
from typing import Any

import click

from openclaw.cli.output import clean, is_terminal

_BREAKS = re.compile(r"[\n\t]+")


def has_colour() -> bool:
    """Whether colour may be used: on a terminal that has some, and nobody asked for none (C{NO_COLOR})."""
    return is_terminal() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def cell(value: Any) -> str:
    """A value as one line."""
    return "" if value is None else _BREAKS.sub(" ", clean(str(value)))


def print_table(headers: Sequence[str], rows: Sequence[Sequence[Any]], *, right: Sequence[int] = ()) -> None:
    """
    Print rows in columns: drawn by rich on a terminal that has colour, else aligned by blanks.

    A column that is empty in every row is left out.

    @param right: the columns that are aligned to the right, counted from 0.
    """
    cells = [[cell(value) for value in row] for row in rows]
    filled = [index for index in range(len(headers)) if not cells or any(row[index] for row in cells)]
    headers, cells = [headers[index] for index in filled], [[row[index] for index in filled] for row in cells]
    right = [place for place, index in enumerate(filled) if index in right]
    if has_colour() and _print_rich(headers, cells, right):
        return
    widths = [max(map(_width, column)) for column in zip(headers, *cells, strict=True)]
    for line in (headers, *cells):
        padded = [
            " " * (width - _width(text)) + text if index in right else text + " " * (width - _width(text))
            for index, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        click.echo("  ".join(padded).rstrip())


def _width(text: str) -> int:
    """How many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) != 0 for character in text)


def _print_rich(headers: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int]) -> bool:
    """Print a table with rich; false if it is not installed."""
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return False
    table = Table(box=None, header_style="bold", pad_edge=False)
    for index, header in enumerate(headers):
        table.add_column(header, justify="right" if index in right else "left", overflow="fold")
    for row in rows:
        # as Text, so that brackets in it are not taken for markup
        table.add_row(*map(Text, row))
    Console(file=sys.stdout, width=shutil.get_terminal_size().columns).print(table)
    return True


def counted(count: Any, noun: str) -> str:
    """A number of things, as C{1 session}; C{noun} is one of them, and gets an C{s} where there are more or none."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def age(elapsed_ms: float | None) -> str:
    """A span of time as a person says it: C{just now}, C{5m ago}, C{3d ago}."""
    if elapsed_ms is None:
        return "never"
    seconds = max(elapsed_ms, 0) / 1000
    for unit_s, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= unit_s:
            return f"{int(seconds // unit_s)}{unit} ago"
    return "just now"


def span(elapsed_ms: float) -> str:
    """A length of time: C{850 ms}, C{12 s}, C{3 h 5 m}, C{2 d 4 h}."""
    if elapsed_ms < 1000:
        return f"{elapsed_ms:.0f} ms"
    minutes, seconds = divmod(int(elapsed_ms // 1000), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} m"
    return f"{minutes} m {seconds} s" if minutes else f"{seconds} s"
