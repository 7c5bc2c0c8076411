"""C{openclaw gateway}: run it, and show its credential."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from openclaw.cli.output import State, announce
from openclaw.errors import StartError


@click.group()
def gateway() -> None:
    """Run the gateway; show its credential."""


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
    planned = plan(state.paths, os.environ, Options(config, port, bind, endpoint))

    # Only now, as this is what takes the time: a configuration that cannot be used is told before.
    from openclaw.log import begin_logging
    from openclaw.service import run_foreground

    begin_logging(sys.stderr, state.level())
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
