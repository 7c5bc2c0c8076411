"""C{openclaw models pull}: fetch the weights of an embedded model."""

from __future__ import annotations

import click

from openclaw.cli.models.fetching import fetch_weights
from openclaw.cli.output import State, json_option, print_json


@click.command()
@click.argument("name")
@json_option
@click.pass_obj
def pull(state: State, name: str, as_json: bool) -> None:
    """Fetch the weights of an embedded model into the state folder."""
    path = fetch_weights(state, name)
    if as_json:
        print_json({"ok": True, "model": name, "path": str(path), "bytes": path.stat().st_size})
    else:
        click.echo(f"{name} is there: {path}")
