"""
C{openclaw}: the entry point, and the table of its commands.

A command's module is imported when the command is used, so that C{--help} costs next to nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

import click

from openclaw._version import __version__
from openclaw.cli.output import State, fail_json
from openclaw.errors import OpenClawError

COMMANDS = {
    "config": ("openclaw.cli.config", "config", "Show and check the configuration."),
    "gateway": ("openclaw.cli.gateway", "gateway", "Run the gateway; show its credential."),
    "health": ("openclaw.cli.health", "health", "Ask a running gateway how it is."),
    "models": ("openclaw.cli.models", "models", "List models; fetch the embedded one."),
    "quickstart": ("openclaw.cli.quickstart", "quickstart", "Set up what is missing and run the gateway."),
    "version": ("openclaw.cli.version", "version", "Show the version."),
}
"""Name of each command: its module, its object there, its help in one line."""


class _LazyGroup(click.Group):
    """A group whose commands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, name, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][2]) for name in self.list_commands(ctx)])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--profile", metavar="NAME", help="Use the separate state folder ~/.openclaw-NAME.")
@click.option("--log-level", metavar="LEVEL", help="debug, info, warn, error or critical.")
@click.version_option(__version__, prog_name="openclaw", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, profile: str | None, log_level: str | None) -> None:
    """The OpenClaw Gateway: your own AI agents behind one OpenAI-compatible port."""
    state = ctx.ensure_object(State)
    state.profile, state.log_level = profile, log_level


def main(arguments: Sequence[str] | None = None) -> None:
    """
    Run a command and end the process with its exit status.

    An error that is raised on purpose is one line on standard error (a line for each problem of a configuration);
    a command with C{--json} prints the envelope of L{fail_json} besides and ends with 1.

    @param arguments: the command line without the program; the process's own by default.
    """
    state = State()
    try:
        status = cli.main(args=arguments, prog_name="openclaw", standalone_mode=False, obj=state)
    except click.exceptions.Abort:
        status = 130
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except OpenClawError as error:
        status = _told(error, state)
    sys.exit(status if isinstance(status, int) else 0)


def _told(error: OpenClawError, state: State) -> int:
    """Tell an error; give the exit status."""
    from openclaw.config.describe import describe, exit_status

    if state.as_json:
        fail_json(error.message)
    click.echo(describe(error), err=True)
    return 1 if state.as_json else exit_status(error)
