"""The options that every command has which gives an agent a message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from openclaw.cli.client.remote import Seconds

MAX_TIMEOUT_S = 172_800
"""Longest run that can be asked for, in seconds."""

Command = TypeVar("Command", bound=Callable[..., Any])


def turn_options(command: Command) -> Command:
    """C{--agent}, C{--session-key}, C{--thinking} and C{--timeout}."""
    session = "The session, agent:ID:NAME or a name; the agent's main one otherwise."
    options = (
        click.option("--agent", "agent_id", metavar="ID", help="The agent; the default one otherwise."),
        click.option("--session-key", "--session", "session_key", metavar="KEY", help=session),
        click.option("--thinking", metavar="LEVEL", help="How much the model shall think."),
        click.option(
            "--timeout",
            "timeout_s",
            type=Seconds(1, MAX_TIMEOUT_S),
            default=600.0,
            show_default="600",
            metavar="SECONDS",
            help="Longest run.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command
