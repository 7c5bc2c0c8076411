"""The group C{openclaw backup}."""

from __future__ import annotations

import click

from openclaw.cli.lazy import LazyGroup

_HERE = "openclaw.cli.backup"

COMMANDS = {
    "create": (f"{_HERE}.create", "create", "Write configuration and store into one file."),
    "restore": (f"{_HERE}.restore", "restore", "Put configuration and store of a backup in place."),
    "verify": (f"{_HERE}.verify", "verify", "Check every part of a backup; exit 1 if one is damaged."),
}
"""The commands of the group, as L{openclaw.cli.lazy.CommandTable}."""


@click.group(cls=LazyGroup, commands_at=COMMANDS)
def backup() -> None:
    """Copy configuration and store; verify and restore a copy."""
