"""C{openclaw config get}: a value of the configuration file."""

from __future__ import annotations

import click

from openclaw.cli.config.document import is_setting, parse_path
from openclaw.cli.output import State, json_option, print_json
from openclaw.config.schema import Config
from openclaw.errors import OpenClawError


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
