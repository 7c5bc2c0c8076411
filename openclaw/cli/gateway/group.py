"""C{openclaw gateway}: run it, show its credential; what asks or installs one is imported when it is used."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from openclaw.cli.collector import resume
from openclaw.cli.lazy import LazyGroup
from openclaw.cli.output import State, announce, json_option, print_json
from openclaw.errors import StartError

_REMOTE, _UNIT = "openclaw.cli.gateway.remote", "openclaw.cli.gateway.service_unit"

COMMANDS = {
    "call": (_REMOTE, "call", "Call a method of a running gateway."),
    "health": (_REMOTE, "health", "Show the health of a running gateway."),
    "probe": (_REMOTE, "probe", "Try whether a gateway can be reached."),
    "status": (_REMOTE, "status", "Show where the gateway is, and whether it answers."),
    "install": (_UNIT, "install", "Install the gateway as a service of systemd."),
    "uninstall": (_UNIT, "uninstall", "Remove the service."),
    "start": (_UNIT, "start", "Start the service."),
    "stop": (_UNIT, "stop", "Stop the service."),
    "restart": (_UNIT, "restart", "Restart the service."),
}
"""The commands besides those below."""


Command = TypeVar("Command", bound=Callable[..., Any])


def _run_options(command: Command) -> Command:
    """The options of running it."""
    interface = click.Choice(["loopback", "lan", "auto", "custom"])
    endpoint = "Endpoint description (tcp, tcp6, unix, systemd) in place of port and bind."
    options = (
        click.option("--config", type=click.Path(path_type=Path), help="Configuration file in place of the usual one."),
        click.option("--port", type=click.IntRange(1, 65535), help="TCP port in place of gateway.port."),
        click.option("--bind", type=interface, help="Interface in place of gateway.bind."),
        click.option("--endpoint", help=endpoint),
        click.option("--verbose", is_flag=True, help="Log everything, as with --log-level debug."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group(cls=LazyGroup, commands_at=COMMANDS, invoke_without_command=True)
@_run_options
@click.pass_context
def gateway(ctx: click.Context, /, **options: Any) -> int:
    """Run the gateway; ask, call and install it. Without a command it is run, as by: openclaw gateway run."""
    if ctx.invoked_subcommand is None:
        return _run(ctx.ensure_object(State), **options)
    if ctx.invoked_subcommand != "run" and any(options.values()):
        raise click.UsageError("options of running the gateway go with no other command than run")
    ctx.default_map = {"run": {name: value for name, value in options.items() if value}}
    return 0


@gateway.command()
@_run_options
@click.pass_obj
def run(state: State, /, **options: Any) -> int:
    """Run the gateway in the foreground until it is told to end (SIGTERM, Ctrl-C)."""
    return _run(state, **options)


def _run(
    state: State, *, config: Path | None, port: int | None, bind: str | None, endpoint: str | None, verbose: bool
) -> int:
    from openclaw.config.plan import Options, plan

    if endpoint is not None and (port is not None or bind is not None):
        raise click.UsageError("--endpoint takes the place of --port and --bind: give one or the other")
    if verbose:
        state.log_level = state.log_level or "debug"
    planned = plan(state.paths, os.environ, Options(config, port, bind, endpoint, state.log_level))

    # Only now, as this is what takes the time: a configuration that cannot be used is told before.
    from openclaw.log import begin_logging
    from openclaw.service.foreground import run_foreground

    resume()
    logging = planned.config.logging
    begin_logging(sys.stderr, state.level(logging.level_on_console), style=logging.console_style)
    return run_foreground(planned, lambda url: announce(f"openclaw gateway listening at {url}"))


@gateway.command("auth-token")
@click.option("--show", is_flag=True, help="Print the secret itself, and nothing else.")
@json_option
@click.pass_obj
def auth_token(state: State, show: bool, as_json: bool) -> None:
    """Show the credential that clients need."""
    from openclaw.config.auth_mode import effective_auth

    loaded = state.load()
    auth = effective_auth(loaded.config, loaded.environ)
    if auth.secret is None:
        raise StartError('gateway.auth.mode is "none": there is no secret')
    if as_json:
        told = {auth.mode: auth.secret.reveal()} if show else {}
        print_json({"ok": True, "mode": auth.mode, **told})
    elif show:
        click.echo(auth.secret.reveal())
    else:
        show_it = state.advice("openclaw gateway auth-token --show")
        click.echo(f"mode {auth.mode}, secret hidden; print it with: {show_it}")
