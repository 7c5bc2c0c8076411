"""What the commands that edit the configuration share: doing it, and telling what it takes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from openclaw.cli.output import State, advice
from openclaw.errors import OpenClawError

if TYPE_CHECKING:
    from openclaw.config.edit import Edit


def apply(state: State, change: Callable[[Any], Any], *, dry_run: bool = False, may_shrink: bool = False) -> Edit:
    """
    Change the configuration file; see L{openclaw.config.edit.edit_config}.

    @param change: from the document to the changed document.
    @raise openclaw.errors.ConfigError: if the file is broken.
    @raise OpenClawError: if nothing was changed.
    """
    from openclaw.config.edit import InvalidResult, edit_config

    paths = state.paths
    try:
        return edit_config(
            paths.config_path, change, os.environ, paths.state_dir, dry_run=dry_run, may_shrink=may_shrink
        )
    except InvalidResult as error:
        listed = "".join(f"\n  {problem}" for problem in error.problems)
        raise OpenClawError(f"{paths.config_path} is not changed, as the result could not be used:{listed}") from None


def hint(edit: Edit) -> str:
    """What has to be done for a change to apply, as a sentence."""
    from openclaw.config.reload_rules import restart_keys

    match edit.effect:
        case "unchanged":
            return "Nothing to change: the file says so already."
        case "none":
            return "No restart is needed."
        case "hot":
            return "A running gateway applies this at once."
        case _:
            keys = ", ".join(restart_keys(edit.changed) or edit.changed)
            return f"A running gateway needs a restart for this: {keys} ({advice('openclaw gateway restart')})."


def tell(edit: Edit, what: str) -> None:
    """
    Tell a person what was done.

    @param what: the change, such as C{set gateway.port}.
    """
    path = edit.before.path
    if edit.effect == "unchanged":
        click.echo(hint(edit))
    elif edit.written and edit.before.content is None:
        click.echo(f"{what} in {path}, which is new")
    elif edit.written:
        click.echo(f"{what} in {path}\n{hint(edit)}")
    else:
        click.echo(f"dry run, nothing was written: {what} in {path}\n{hint(edit)}")
    for warning in edit.warnings:
        click.echo(f"warning: {advice(warning)}", err=True)


def outcome(edit: Edit) -> dict[str, Any]:
    """What programs are told of a change."""
    return {
        "configPath": str(edit.before.path),
        "written": edit.written,
        "effect": edit.effect,
        "changed": list(edit.changed),
        "warnings": list(edit.warnings),
    }


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
    """
    Read strict JSON of the command line.

    @param name: the option, for the error.
    @raise OpenClawError: if it is none.
    """
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise OpenClawError(f"{name}: not JSON: {error}") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def read_json5(text: str, name: str) -> Any:
    """
    Read JSON5 of the command line or a file.

    @raise OpenClawError: if it is none.
    """
    from openclaw.config.load import decode_json5
    from openclaw.errors import ConfigError

    try:
        return decode_json5(text.encode("utf-8", "surrogatepass"))
    except ConfigError as error:
        raise OpenClawError(f"{name}: {error.message}") from None
