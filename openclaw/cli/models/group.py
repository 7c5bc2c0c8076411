"""The group C{openclaw models}."""

from __future__ import annotations

import click

from openclaw.cli.lazy import LazyGroup

_HERE = "openclaw.cli.models"

COMMANDS = {
    "list": (f"{_HERE}.list", "list_models", "List the models of the configuration."),
    "pull": (f"{_HERE}.pull", "pull", "Fetch the weights of an embedded model into the state folder."),
    "set": (f"{_HERE}.set", "set_model", "Choose the default model."),
    "status": (f"{_HERE}.status", "status", "Show which models agents use, and what they lack."),
}
"""The commands of the group, as L{openclaw.cli.lazy.CommandTable}."""


@click.group(cls=LazyGroup, commands_at=COMMANDS)
def models() -> None:
    """List and choose models; fetch the embedded one."""
