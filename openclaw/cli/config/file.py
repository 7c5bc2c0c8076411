"""C{openclaw config file}: where the configuration file is."""

from __future__ import annotations

import click

from openclaw.cli.output import State, json_option, print_json


@click.command()
@json_option
@click.pass_obj
def file(state: State, as_json: bool) -> None:
    """Print where the configuration file is."""
    path = str(state.paths.config_path)
    if as_json:
        print_json({"path": path, "exists": state.paths.config_path.exists()})
    else:
        click.echo(path)
