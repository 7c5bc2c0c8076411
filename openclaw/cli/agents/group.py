"""The group C{openclaw agents}."""

from __future__ import annotations

import click

from openclaw.cli.lazy import LazyGroup

_HERE = "openclaw.cli.agents"

COMMANDS = {
    "add": (f"{_HERE}.add", "add", "Add an agent."),
    "delete": (f"{_HERE}.delete", "delete", "Delete an agent."),
    "list": (
        f"{_HERE}.list",
        "list_agents",
        "List the agents of the configuration, or with --url those of a running gateway.",
    ),
}
"""The commands of the group, as L{openclaw.cli.lazy.CommandTable}."""


@click.group(cls=LazyGroup, commands_at=COMMANDS)
def agents() -> None:
    """List, add and delete agents."""
