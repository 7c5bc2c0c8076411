"""C{openclaw config file}: where the configuration file is."""

from __future__ import annotations

import click

from openclaw.cli.output import State, json_option


@click.command()
@json_option
@click.pass_obj
def file(state: State) -> None:
    """Print where the configuration file is."""
    path = state.paths.config_path
    state.show({"path": str(path), "exists": path.exists()}, str(path))
