"""C{openclaw config}: show, change and check the configuration."""

from __future__ import annotations

from pathlib import Path

import click

from openclaw.cli.lazy import LazyGroup
from openclaw.cli.output import State, advice, json_option, print_json
from openclaw.errors import ConfigError, OpenClawError

MAX_PATCH_BYTES = 2 * 1024 * 1024
"""Largest patch, bytes."""

COMMANDS = {"set": ("openclaw.cli.config.set", "set_value", "Set a value; comments stay.")}
"""The commands besides those below."""


@click.group(cls=LazyGroup, commands_at=COMMANDS)
def config() -> None:
    """Show, change and check the configuration."""


@config.command()
@json_option
@click.pass_obj
def file(state: State, as_json: bool) -> None:
    """Print where the configuration file is."""
    path = str(state.paths.config_path)
    if as_json:
        print_json({"path": path, "exists": state.paths.config_path.exists()})
    else:
        click.echo(path)


@config.command()
@json_option
@click.pass_obj
def validate(state: State, as_json: bool) -> int:
    """Check the configuration; exit 1 and name every problem if it cannot be used."""
    from openclaw.config.describe import describe

    path = str(state.paths.config_path)
    try:
        loaded = state.load()
    except ConfigError as error:
        if as_json:
            print_json({"valid": False, "path": path, "issues": list(error.problems)})
        else:
            click.echo(describe(error), err=True)
        return 1
    if as_json:
        print_json({"valid": True, "path": path, "warnings": list(loaded.warnings)})
        return 0
    click.echo(f"{path}: {'valid' if loaded.exists else 'there is no such file; the defaults apply'}")
    for warning in loaded.warnings:
        click.echo(f"  warning: {advice(warning)}")
    return 0


@config.command()
@click.argument("path", default="")
@json_option
@click.pass_obj
def get(state: State, path: str, as_json: bool) -> None:
    """Print a value of the configuration file, or the whole of it; secrets are hidden.

    PATH is like gateway.port, agents.list[0].id or models.providers["a.b"].api.
    """
    from openclaw.cli.config.document import is_setting, parse_path
    from openclaw.config.edit_document import is_set, value_at
    from openclaw.config.load import read_document
    from openclaw.config.redaction import redacted
    from openclaw.config.schema import Config

    steps = parse_path(path)
    loaded = state.load()
    document = read_document(loaded.path)
    if document is None:
        raise OpenClawError(f"there is no configuration file at {loaded.path}")
    if not is_set(document, steps):
        known = is_setting(steps, Config)
        raise OpenClawError(f"{path}: {'not set in ' + str(loaded.path) if known else 'there is no such setting'}")
    value = value_at(redacted(document), steps)
    if as_json or not isinstance(value, str):
        print_json(value)
    else:
        click.echo(value)


@config.command()
@click.argument("path")
@click.option("--dry-run", is_flag=True, help="Check everything and write nothing.")
@click.option("--replace", is_flag=True, help="The file may shrink to less than half.")
@json_option
@click.pass_obj
def unset(state: State, path: str, dry_run: bool, replace: bool, as_json: bool) -> None:
    """Remove a value from the configuration file; exit 1 if there is none."""
    from openclaw.cli.config.document import parse_path
    from openclaw.cli.config.editing import apply, outcome, tell
    from openclaw.config.edit_document import without_value

    steps = parse_path(path)
    edit = apply(state, lambda document: without_value(document, steps), dry_run=dry_run, may_shrink=replace)
    if as_json:
        print_json({"ok": True, "operations": 1, **outcome(edit)})
    else:
        tell(edit, f"removed {path}")


@config.command()
@click.option("--file", "source", type=click.Path(path_type=Path), help="A JSON5 file with the changes.")
@click.option("--stdin", is_flag=True, help="Read the changes from standard input.")
@click.option("--replace-path", "replace_paths", multiple=True, metavar="PATH", help="A list to replace as a whole.")
@click.option("--dry-run", is_flag=True, help="Check everything and write nothing.")
@json_option
@click.pass_obj
def patch(
    state: State, source: Path | None, stdin: bool, replace_paths: tuple[str, ...], dry_run: bool, as_json: bool
) -> None:
    """Merge an object into the configuration file: null removes, lists of objects with an id are merged by it."""
    from openclaw.cli.config.document import parse_path
    from openclaw.cli.config.editing import apply, outcome, read_json5, tell
    from openclaw.config.edit_document import merged

    changes = read_json5(_patch_text(source, stdin), str(source or "standard input"))
    steps = [parse_path(path) for path in replace_paths]
    edit = apply(state, lambda document: merged(document, changes, steps), dry_run=dry_run)
    if as_json:
        print_json({"ok": True, "operations": 1, **outcome(edit)})
    else:
        tell(edit, f"merged {', '.join(changes) or 'nothing'}")


def _patch_text(source: Path | None, stdin: bool) -> str:
    if (source is not None) == stdin:
        raise click.UsageError("give --file or --stdin")
    from openclaw.cli.config.editing import read_text

    return read_text(source, str(source or "standard input"), MAX_PATCH_BYTES)


@config.command()
@json_option
def schema(as_json: bool) -> None:
    """Print the JSON Schema of the configuration file; it is JSON with or without --json."""
    from openclaw.config.json_schema import config_schema

    print_json(config_schema())
