"""C{openclaw config file}, C{get}, C{schema} and C{validate}: what is in the configuration file."""

from __future__ import annotations

import click

from openclaw.cli.config.document import is_setting, parse_path
from openclaw.cli.output import State, advice, json_option, print_json
from openclaw.errors import ConfigError, OpenClawError


@click.command()
@json_option
@click.pass_obj
def file(state: State) -> None:
    """Print where the configuration file is."""
    path = state.paths.config_path
    state.show({"path": str(path), "exists": path.exists()}, str(path))


@click.command()
@click.argument("path", default="")
@json_option
@click.pass_obj
def get(state: State, path: str) -> None:
    """Print a value of the configuration file, or the whole of it; secrets are hidden.

    PATH is like gateway.port, agents.list[0].id or models.providers["a.b"].api.
    """
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
    if state.as_json or not isinstance(value, str):
        print_json(value)
    else:
        click.echo(value)


@click.command()
@json_option
def schema() -> None:
    """Print the JSON Schema of the configuration file; it is JSON with or without --json."""
    from openclaw.config.json_schema import config_schema

    print_json(config_schema())


@click.command()
@json_option
@click.pass_obj
def validate(state: State) -> int:
    """Check the configuration; exit 1 and name every problem if it cannot be used."""
    from openclaw.config.describe import describe

    path = str(state.paths.config_path)
    try:
        loaded = state.load()
    except ConfigError as error:
        if state.as_json:
            print_json({"valid": False, "path": path, "issues": list(error.problems)})
        else:
            click.echo(describe(error), err=True)
        return 1
    lines = [f"{path}: {'valid' if loaded.exists else 'there is no such file; the defaults apply'}"]
    lines += [f"  warning: {advice(warning)}" for warning in loaded.warnings]
    state.show({"valid": True, "path": path, "warnings": list(loaded.warnings)}, "\n".join(lines))
    return 0
