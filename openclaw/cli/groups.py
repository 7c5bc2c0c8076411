"""The groups; their commands are imported when they are used."""

from __future__ import annotations

from typing import Any

import click

from openclaw.cli.gateway.run import run_gateway, run_options
from openclaw.cli.lazy import LazyGroup, lazy_group
from openclaw.cli.output import State

agents = lazy_group(
    "openclaw.cli.agents",
    "List, add and delete agents.",
    {
        "add": ("add", "Add an agent."),
        "delete": ("delete", "Delete an agent."),
        "list": ("list_agents", "List the agents of the configuration, or with --url those of a running gateway."),
    },
)

backup = lazy_group(
    "openclaw.cli.backup",
    "Copy configuration and store; verify and restore a copy.",
    {
        "create": ("create", "Write configuration and store into one file."),
        "restore": ("restore", "Put configuration and store of a backup in place."),
        "verify": ("verify", "Check every part of a backup; exit 1 if one is damaged."),
    },
)

config = lazy_group(
    "openclaw.cli.config",
    "Show, change and check the configuration.",
    {
        "file": ("file", "Print where the configuration file is."),
        "get": ("get", "Print a value of the configuration file, or the whole of it; secrets are hidden."),
        "patch": ("patch", "Merge an object into the configuration file."),
        "schema": ("schema", "Print the JSON Schema of the configuration file; it is JSON with or without --json."),
        "set": ("set_value", "Set a value; comments stay."),
        "unset": ("unset", "Remove a value from the configuration file; exit 1 if there is none."),
        "validate": ("validate", "Check the configuration; exit 1 and name every problem if it cannot be used."),
    },
)

_GATEWAY = "openclaw.cli.gateway"

_GATEWAY_COMMANDS = {
    "auth-token": (f"{_GATEWAY}.auth_token", "auth_token", "Show the credential that clients need."),
    "call": (f"{_GATEWAY}.call", "call", "Call a method of a running gateway."),
    "health": (f"{_GATEWAY}.health", "health", "Show the health of a running gateway."),
    "install": (f"{_GATEWAY}.install", "install", "Install the gateway as a service of systemd."),
    "probe": (f"{_GATEWAY}.probe", "probe", "Try whether a gateway can be reached."),
    "restart": (f"{_GATEWAY}.verbs", "restart", "Restart the service."),
    "run": (f"{_GATEWAY}.run", "run", "Run the gateway in the foreground until it is told to end (SIGTERM, Ctrl-C)."),
    "start": (f"{_GATEWAY}.verbs", "start", "Start the service."),
    "status": (f"{_GATEWAY}.status", "status", "Show where the gateway is, and whether it answers."),
    "stop": (f"{_GATEWAY}.verbs", "stop", "Stop the service."),
    "uninstall": (f"{_GATEWAY}.uninstall", "uninstall", "Remove the service."),
}


@click.group(cls=LazyGroup, commands_at=_GATEWAY_COMMANDS, invoke_without_command=True)
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


models = lazy_group(
    "openclaw.cli.models",
    "List and choose models; fetch the embedded one.",
    {
        "list": ("list_models", "List the models of the configuration."),
        "probe": ("probe", "Ask a model for a few words; tell what its server does."),
        "pull": ("pull", "Fetch the weights of an embedded model into the state folder."),
        "set": ("set_model", "Choose the default model."),
        "status": ("status", "Show which models agents use, and what they lack."),
    },
)
