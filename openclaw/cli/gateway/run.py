"""C{openclaw gateway run}: the gateway in the foreground."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from openclaw.cli.options import together
from openclaw.cli.output import State, announce, resume

run_options = together(
    click.option("--config", type=click.Path(path_type=Path), help="Configuration file in place of the usual one."),
    click.option("--port", type=click.IntRange(1, 65535), help="TCP port in place of gateway.port."),
    click.option(
        "--bind", type=click.Choice(["loopback", "lan", "auto", "custom"]), help="Interface in place of gateway.bind."
    ),
    click.option("--endpoint", help="Endpoint description (tcp, tcp6, unix, systemd) in place of port and bind."),
    click.option("--verbose", is_flag=True, help="Log everything, as with --log-level debug."),
)
"""The options of running it."""


@click.command()
@run_options
@click.pass_obj
def run(state: State, /, **options: Any) -> int:
    """Run the gateway in the foreground until it is told to end (SIGTERM, Ctrl-C)."""
    return run_gateway(state, **options)


def run_gateway(
    state: State, *, config: Path | None, port: int | None, bind: str | None, endpoint: str | None, verbose: bool
) -> int:
    """
    Run it as the options say.  Blocks.

    @return: the exit status.
    @raise openclaw.errors.StartError: if it cannot be started.
    """
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
