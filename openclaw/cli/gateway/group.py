"""The group C{openclaw gateway}, which without a command runs the gateway."""

from __future__ import annotations

from typing import Any

import click

from openclaw.cli.gateway.run import run_gateway, run_options
from openclaw.cli.lazy import LazyGroup
from openclaw.cli.output import State

_HERE = "openclaw.cli.gateway"

COMMANDS = {
    "auth-token": (f"{_HERE}.auth_token", "auth_token", "Show the credential that clients need."),
    "call": (f"{_HERE}.call", "call", "Call a method of a running gateway."),
    "health": (f"{_HERE}.health", "health", "Show the health of a running gateway."),
    "install": (f"{_HERE}.install", "install", "Install the gateway as a service of systemd."),
    "probe": (f"{_HERE}.probe", "probe", "Try whether a gateway can be reached."),
    "restart": (f"{_HERE}.verbs", "restart", "Restart the service."),
    "run": (f"{_HERE}.run", "run", "Run the gateway in the foreground until it is told to end (SIGTERM, Ctrl-C)."),
    "start": (f"{_HERE}.verbs", "start", "Start the service."),
    "status": (f"{_HERE}.status", "status", "Show where the gateway is, and whether it answers."),
    "stop": (f"{_HERE}.verbs", "stop", "Stop the service."),
    "uninstall": (f"{_HERE}.verbs", "uninstall", "Remove the service."),
}
"""The commands of the group, as L{openclaw.cli.lazy.CommandTable}."""


@click.group(cls=LazyGroup, commands_at=COMMANDS, invoke_without_command=True)
@run_options
@click.pass_context
def gateway(ctx: click.Context, /, **options: Any) -> int:
    """Run the gateway; ask, call and install it. Without a command it is run, as by: openclaw gateway run."""
    if ctx.invoked_subcommand is None:
        return run_gateway(ctx.ensure_object(State), **options)
    if ctx.invoked_subcommand != "run" and any(options.values()):
        raise click.UsageError("options of running the gateway go with no other command than run")
    ctx.default_map = {"run": {name: value for name, value in options.items() if value}}
    return 0
