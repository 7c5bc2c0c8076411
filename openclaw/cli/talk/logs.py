"""C{openclaw logs}: the end of the gateway's log, and what comes."""

from __future__ import annotations

import click

from openclaw.cli.client.errors import GatewayUnreachable
from openclaw.cli.client.remote import RemoteOptions, find_remote, remote_options
from openclaw.cli.options import gathered
from openclaw.cli.output import State, json_option
from openclaw.cli.tables import has_colour
from openclaw.cli.talk.log_printer import LogOptions, LogPrinter


@click.command()
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option("--limit", type=click.IntRange(1, 5000), default=200, show_default=True, help="Most lines.")
@click.option(
    "--max-bytes", type=click.IntRange(1, 1_000_000), default=250_000, show_default=True, help="Most bytes to read."
)
@click.option(
    "--interval",
    "interval_ms",
    type=click.IntRange(100, 600_000),
    default=1000,
    show_default=True,
    metavar="MS",
    help="How often to look for new lines, milliseconds.",
)
@gathered("wanted", LogOptions)
@click.option("--plain", is_flag=True, help="No colour.")
@click.option("--utc", is_flag=True, help="Times in UTC, not in local time.")
@remote_options
@json_option
@click.pass_obj
def logs(state: State, wanted: LogOptions, plain: bool, utc: bool, where: RemoteOptions) -> int:
    """Show the gateway's log; if it does not run, the log file of this machine."""
    remote = find_remote(state, where)
    show = LogPrinter(as_json=state.as_json, colour=has_colour() and not plain, utc=utc)
    from openclaw.cli.client.loop import run
    from openclaw.cli.talk.log_tail import LogTail, tail_file

    tail = LogTail(wanted, show)
    try:
        return run(lambda reactor: tail.run(reactor, remote, lambda: find_remote(state, where)))
    except GatewayUnreachable as error:
        if remote.kind != "localLoopback" or show.has_begun:
            raise
        click.echo(f"openclaw: {state.advice(error.message)}; this is the log file of this machine", err=True)
    return tail_file(state.paths.log_dir, wanted, show)
