"""C{openclaw version}."""

from __future__ import annotations

import click

from openclaw._version import __version__


@click.command()
def version() -> None:
    """Show the version."""
    click.echo(f"openclaw {__version__}")
