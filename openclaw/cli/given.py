"""What a command is given: files, standard input, JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from openclaw.errors import ConfigError, OpenClawError


def read_text(source: Path | None, name: str, max_bytes: int) -> str:
    """
    Read a file of the command line.

    @param source: the file; C{None} for standard input.
    @param name: what it is called in errors.
    @raise OpenClawError: if it cannot be read, is too large or not UTF-8.
    """
    try:
        if source is None:
            content = sys.stdin.buffer.read(max_bytes + 1)
        else:
            with source.open("rb") as file:
                content = file.read(max_bytes + 1)
    except OSError as error:
        raise OpenClawError(f"{name} cannot be read: {error.strerror}") from None
    if len(content) > max_bytes:
        raise OpenClawError(f"{name} is larger than {max_bytes} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise OpenClawError(f"{name} is not UTF-8") from None


def read_json(text: str, name: str) -> Any:
    """Read strict JSON of the command line, from the option C{name}; an L{OpenClawError} if it is none."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise OpenClawError(f"{name}: not JSON: {error}") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def read_json5(text: str, name: str) -> Any:
    """Read JSON5 of the command line or a file; an L{OpenClawError} if it is none."""
    from openclaw.config.load import decode_json5

    try:
        return decode_json5(text.encode("utf-8", "surrogatepass"))
    except ConfigError as error:
        raise OpenClawError(f"{name}: {error.message}") from None
