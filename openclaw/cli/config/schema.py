"""C{openclaw config schema}: the JSON Schema of the configuration file."""

from __future__ import annotations

import click

from openclaw.cli.output import json_option, print_json


@click.command()
@json_option
def schema() -> None:
    """Print the JSON Schema of the configuration file; it is JSON with or without --json."""
    from openclaw.config.json_schema import config_schema

    print_json(config_schema())
