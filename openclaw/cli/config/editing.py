"""What the commands that edit the configuration file share: doing it, and telling what it takes."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from openclaw.cli.output import State, advice, print_json
from openclaw.errors import OpenClawError

if TYPE_CHECKING:
    from openclaw.config.edit import Edit

dry_run_option = click.option("--dry-run", is_flag=True, help="Check everything and write nothing.")


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
    """Tell a person what was done: the change, such as C{set gateway.port}."""
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


def report(state: State, edit: Edit, what: str, **told: Any) -> None:
    """Tell what was done as the command was asked to: a person by L{tell}, a program by C{told} and the L{outcome}."""
    if state.as_json:
        print_json({"ok": True, **told, **outcome(edit)})
    else:
        tell(edit, what)
