"""C{openclaw gateway}: run it, show its credential; what asks or installs one is imported when it is used."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from openclaw.cli.collector import resume
from openclaw.cli.lazy import LazyGroup
from openclaw.cli.output import State, announce
from openclaw.errors import StartError

_REMOTE, _UNIT = "openclaw.cli.gateway_remote", "openclaw.cli.service_unit"

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


@click.group(cls=LazyGroup, commands_at=COMMANDS)
def gateway() -> None:
    """Run the gateway; ask, call and install it."""


@gateway.command()
@click.option("--config", type=click.Path(path_type=Path), help="Configuration file in place of the usual one.")
@click.option("--port", type=click.IntRange(1, 65535), help="TCP port in place of gateway.port.")
@click.option(
    "--bind", type=click.Choice(["loopback", "lan", "auto", "custom"]), help="Interface in place of gateway.bind."
)
@click.option("--endpoint", help="Endpoint description (tcp, tcp6, unix, systemd) in place of port and bind.")
@click.pass_obj
def run(state: State, config: Path | None, port: int | None, bind: str | None, endpoint: str | None) -> int:
    """Run the gateway in the foreground until it is told to end (SIGTERM, Ctrl-C)."""
    from openclaw.config.plan import Options, plan

    if endpoint is not None and (port is not None or bind is not None):
        raise click.UsageError("--endpoint takes the place of --port and --bind: give one or the other")
    planned = plan(state.paths, os.environ, Options(config, port, bind, endpoint, state.log_level))

    # Only now, as this is what takes the time: a configuration that cannot be used is told before.
    from openclaw.log import begin_logging
    from openclaw.service import run_foreground

    resume()
    logging = planned.config.logging
    begin_logging(sys.stderr, state.level(logging.level_on_console), style=logging.console_style)
    return run_foreground(planned, lambda url: announce(f"openclaw gateway listening at {url}"))


@gateway.command("auth-token")
@click.option("--show", is_flag=True, help="Print the secret itself, and nothing else.")
@click.pass_obj
def auth_token(state: State, show: bool) -> None:
    """Show the credential that clients need."""
    from openclaw.config.auth_mode import effective_auth

    loaded = state.load()
    auth = effective_auth(loaded.config, loaded.environ)
    if auth.secret is None:
        raise StartError('gateway.auth.mode is "none": there is no secret')
    if show:
        click.echo(auth.secret.reveal())
    else:
        click.echo(f"mode {auth.mode}, secret hidden; print it with: openclaw gateway auth-token --show")
