"""What is given to an agent: a message, and the options of every command that gives it one."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import attrs
import click

from openclaw.cli.options import Seconds, gathered, together

MAX_TIMEOUT_S = 172_800
"""Longest run that can be asked for, in seconds."""


@attrs.frozen
class TurnOptions:
    """How messages are answered, C{None} where the command line does not say; a run lasts C{timeout_s} at most."""

    agent_id: str | None
    session_key: str | None
    thinking: str | None
    timeout_s: float


turn_options = together(
    click.option("--agent", "agent_id", metavar="ID", help="The agent; the default one otherwise."),
    click.option(
        "--session-key",
        "--session",
        "session_key",
        metavar="KEY",
        help="The session, agent:ID:NAME or a name; the agent's main one otherwise.",
    ),
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
    gathered("turn", TurnOptions),
)
"""C{--agent}, C{--session-key}, C{--thinking} and C{--timeout}, as the argument C{turn}."""


@attrs.frozen
class TurnRequest:
    """
    A message for an agent.

    @ivar timeout_s: longest run, in seconds.
    @ivar choices: further parameters of the method C{agent}, such as C{agentId}, C{sessionKey}, C{model}.
    @ivar run_id: the id of the run, which is ours to choose.
    """

    message: str
    timeout_s: float
    choices: Mapping[str, str] = attrs.field(factory=dict)
    run_id: str = attrs.field(factory=lambda: str(uuid.uuid4()))

    @property
    def scopes(self) -> tuple[str, ...]:
        """The least that the turn needs; to choose the model is an administrator's."""
        basic = ("operator.read", "operator.write")
        return ("operator.admin", *basic) if "model" in self.choices else basic

    def params(self) -> dict[str, Any]:
        """The parameters of the method C{agent}."""
        limit = int(self.timeout_s) if float(self.timeout_s).is_integer() else self.timeout_s
        return {
            "message": self.message,
            **self.choices,
            "deliver": False,
            "timeout": limit,
            "idempotencyKey": self.run_id,
        }
