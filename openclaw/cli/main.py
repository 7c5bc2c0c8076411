"""
C{openclaw}: the entry point, and the table of its commands.

A command's module is imported when the command is used, so that C{--help} costs next to nothing.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Sequence

import click

from openclaw._version import __version__
from openclaw.cli.client.errors import RemoteError
from openclaw.cli.lazy import LazyGroup
from openclaw.cli.output import State, fail_json, print_json
from openclaw.config.describe import describe, exit_status
from openclaw.errors import OpenClawError

COMMANDS = {
    "agent": ("openclaw.cli.talk.agent", "agent", "Give an agent a message and print its answer."),
    "agents": ("openclaw.cli.groups", "agents", "List, add and delete agents."),
    "backup": ("openclaw.cli.groups", "backup", "Copy configuration and store; verify and restore a copy."),
    "chat": ("openclaw.cli.talk.chat", "chat", "Chat with an agent in the terminal."),
    "completion": ("openclaw.cli.completion", "completion", "Print the completion script of a shell."),
    "config": ("openclaw.cli.groups", "config", "Show, change and check the configuration."),
    "doctor": ("openclaw.cli.doctor.command", "doctor", "Look for what is wrong, and say what to do."),
    "gateway": ("openclaw.cli.groups", "gateway", "Run the gateway; ask, call and install it."),
    "health": ("openclaw.cli.talk.health", "health", "Ask a running gateway how it is."),
    "logs": ("openclaw.cli.talk.logs", "logs", "Show the gateway's log."),
    "models": ("openclaw.cli.groups", "models", "List and choose models; fetch the embedded one."),
    "onboard": ("openclaw.cli.setup.onboard", "onboard", "Set up models and the gateway step by step."),
    "quickstart": ("openclaw.cli.setup.quickstart", "quickstart", "Set up what is missing and run the gateway."),
    "sessions": ("openclaw.cli.talk.sessions", "sessions", "List the sessions of a running gateway."),
    "status": ("openclaw.cli.talk.status", "status", "Show a running gateway, its agents and sessions."),
    "version": ("openclaw.cli.version", "version", "Show the version."),
}
"""Name of each command: its module, its object there, its help in one line."""


@click.group(cls=LazyGroup, commands_at=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--profile", metavar="NAME", help="Use the separate state folder ~/.openclaw-NAME.")
@click.option("--log-level", metavar="LEVEL", help="debug, info, warn, error or critical.")
@click.option("--no-color", is_flag=True, help="No colour, as with NO_COLOR in the environment.")
@click.version_option(__version__, prog_name="openclaw", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, profile: str | None, log_level: str | None, no_color: bool) -> None:
    """The OpenClaw Gateway: your own AI agents behind one OpenAI-compatible port."""
    state = ctx.ensure_object(State)
    state.profile, state.log_level = profile, log_level
    if no_color:
        os.environ["NO_COLOR"] = "1"


def main(arguments: Sequence[str] | None = None) -> None:
    """
    Run a command and end the process with its exit status.

    An error that is raised on purpose is one line on standard error (a line for each problem of a configuration);
    a command with C{--json} prints the envelope of L{fail_json} besides and ends with 1.  A command line that is wrong
    gives 2 with or without it, and Ctrl-C 130.

    @param arguments: the command line without the program; the process's own by default.
    """
    state = State()
    given = list(sys.argv[1:] if arguments is None else arguments)
    if arguments is None:
        # the process is this command and nothing else: see openclaw.cli.output.resume
        gc.disable()
        open_missing_streams()
    try:
        status = cli.main(args=given, prog_name="openclaw", standalone_mode=False, obj=state)
    except click.exceptions.Abort:
        status = 130
    except click.ClickException as error:
        # what is wrong may stand before --json, which then was not read
        if state.as_json or "--json" in given:
            fail_json(error.format_message())
        error.show()
        status = error.exit_code
    except OpenClawError as error:
        status = _told(error, state)
    except OSError as error:
        status = _told_system_error(error, state)
    if arguments is None:
        gc.freeze()  # the interpreter need not look for garbage once more
    sys.exit(status if isinstance(status, int) else 0)


def open_missing_streams() -> None:
    """
    Give the process the standard streams that whoever started it closed: they are empty, and swallow what is written.

    Without this C{sys.stdout} is C{None}, and a socket might get the number of the standard output.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 -- for the whole life


def _told_system_error(error: OSError, state: State) -> int:
    """Tell what the system refused where no command foresaw it: a folder that is closed to us, a full disk."""
    place = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
    message = f"{place}{error.strerror or error}"
    with contextlib.suppress(OSError):  # it may be standard output itself that is full
        if state.as_json:
            fail_json(message)
    click.echo(f"openclaw: {message}", err=True)
    return 1


def _told(error: OpenClawError, state: State) -> int:
    """Tell an error; give the exit status."""
    error.message = state.advice(error.message)
    if isinstance(error, RemoteError):
        if state.as_json:
            print_json(error.envelope())
        click.echo(f"openclaw: {error.message}", err=True)
        return 1
    if state.as_json:
        fail_json(error.message)
    text = state.advice(describe(error))
    if len(lines := text.splitlines()) == 2:
        # the one problem of a configuration fits behind what it is about
        text = f"{lines[0]} {lines[1].strip()}"
    click.echo(text, err=True)
    return 1 if state.as_json else exit_status(error)
