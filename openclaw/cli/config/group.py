"""The group C{openclaw config}."""

from __future__ import annotations

import click

from openclaw.cli.lazy import LazyGroup

_HERE = "openclaw.cli.config"

COMMANDS = {
    "file": (f"{_HERE}.file", "file", "Print where the configuration file is."),
    "get": (
        f"{_HERE}.get",
        "get",
        "Print a value of the configuration file, or the whole of it; secrets are hidden.",
    ),
    "patch": (f"{_HERE}.patch", "patch", "Merge an object into the configuration file."),
    "schema": (
        f"{_HERE}.schema",
        "schema",
        "Print the JSON Schema of the configuration file; it is JSON with or without --json.",
    ),
    "set": (f"{_HERE}.set", "set_value", "Set a value; comments stay."),
    "unset": (f"{_HERE}.unset", "unset", "Remove a value from the configuration file; exit 1 if there is none."),
    "validate": (
        f"{_HERE}.validate",
        "validate",
        "Check the configuration; exit 1 and name every problem if it cannot be used.",
    ),
}
"""The commands of the group, as L{openclaw.cli.lazy.CommandTable}."""


@click.group(cls=LazyGroup, commands_at=COMMANDS)
def config() -> None:
    """Show, change and check the configuration."""
