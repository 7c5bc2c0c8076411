"""C{openclaw config}: show and check the configuration."""

from __future__ import annotations

import click

from openclaw.cli.output import State, json_option, print_json
from openclaw.errors import ConfigError, OpenClawError


@click.group()
def config() -> None:
    """Show and check the configuration."""


@config.command()
@click.pass_obj
def file(state: State) -> None:
    """Print where the configuration file is."""
    click.echo(str(state.paths.config_path))


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
        click.echo(f"  warning: {warning}")
    return 0


@config.command()
@click.argument("path", default="")
@json_option
@click.pass_obj
def get(state: State, path: str, as_json: bool) -> None:
    """Print a value of the configuration file, or the whole of it; secrets are hidden.

    PATH is like gateway.port, agents.list[0].id or models.providers["a.b"].api.
    """
    from openclaw.cli.document import find, is_setting, parse_path, redacted
    from openclaw.config.load import read_document
    from openclaw.config.schema import Config

    steps = parse_path(path)
    loaded = state.load()
    document = read_document(loaded.path)
    if document is None:
        raise OpenClawError(f"there is no configuration file at {loaded.path}")
    is_set, _ = find(document, steps)
    if not is_set:
        known = is_setting(steps, Config)
        raise OpenClawError(f"{path}: {'not set in ' + str(loaded.path) if known else 'there is no such setting'}")
    _, value = find(redacted(document), steps)
    if as_json or not isinstance(value, str):
        print_json(value)
    else:
        click.echo(value)
