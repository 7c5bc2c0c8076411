"""C{openclaw chat}: a conversation in the terminal."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from openclaw.cli.client.errors import RemoteError
from openclaw.cli.client.remote import RemoteOptions, find_remote, remote_options
from openclaw.cli.output import State, advice, clean, say, terminating
from openclaw.cli.talk.turn_request import TurnOptions, turn_options
from openclaw.errors import OpenClawError

if TYPE_CHECKING:
    from concurrent.futures import Future

    from openclaw.cli.talk.background import Background
    from openclaw.cli.talk.chat_session import ChatSession

MAX_LINE_CHARS = 1_000_000
"""Longest line that is taken from standard input, in characters."""

STOP_DEADLINE_S = 4.0
"""How long an aborted turn may take to end, in seconds."""

HELP = """/new      begin a new session; the one so far stays: openclaw sessions
/history  show the last messages of the session
/abort    stop the answer (while it comes: Ctrl-C)
/help     show this
/exit     leave (or Ctrl-D)"""

ReadLine = Callable[[], str | None]
"""Gives the next line, C{None} at the end."""


@click.command()
@turn_options
@remote_options
@click.pass_obj
def chat(state: State, turn: TurnOptions, where: RemoteOptions) -> int:
    """Chat with an agent in the terminal.

    Ctrl-C stops the answer that comes, Ctrl-D or /exit leaves.  Where standard input is no terminal each line is a
    message, and the exit status is 1 if one of them had no answer.
    """
    remote = find_remote(state, where)
    from openclaw.cli.client.loop import process_reactor
    from openclaw.cli.talk.background import Background
    from openclaw.cli.talk.chat_session import ChatSession

    interactive = sys.stdin.isatty()
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")  # a byte that is no UTF-8 is no reason to end
    with Background(process_reactor()) as background, terminating():
        session = ChatSession(background.reactor, remote, turn)
        try:
            background.call(session.connect)
            return converse(background, session, terminal_lines() if interactive else stdin_lines, interactive)
        finally:
            background.call(session.close, STOP_DEADLINE_S)


def terminal_lines() -> ReadLine:
    """Lines that a person types, with editing and history where the system has them."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 -- gives input() its editing

    def read() -> str | None:
        try:
            return input("> ")
        except EOFError:
            click.echo()
            return None

    return read


def stdin_lines() -> str | None:
    """
    The next line of standard input.

    @raise OpenClawError: if it is longer than L{MAX_LINE_CHARS}; what follows would pass for another message.
    """
    line = sys.stdin.readline(MAX_LINE_CHARS + 1)
    if len(line) > MAX_LINE_CHARS:
        raise OpenClawError(f"a line of standard input is longer than {MAX_LINE_CHARS} characters")
    return line or None


def converse(background: Background, session: ChatSession, read: ReadLine, interactive: bool) -> int:
    """Read lines and answer them, until there are no more; give the exit status."""
    status = 0
    if interactive:
        say(f"{session.session_key} at {session.remote.url}; /help shows what can be typed")
        show_history(background.call(session.history))
    while True:
        try:
            line = read()
        except KeyboardInterrupt:
            if not interactive:
                raise
            click.echo("\n(Ctrl-D or /exit leaves)")
            continue
        if line is None:
            return status
        text = line.strip()
        if text in ("/exit", "/quit"):
            return status
        if not text:
            continue
        try:
            if text.startswith("/"):
                _command(background, session, text)
            elif not answer(background, session, text):
                status = 0 if interactive else 1
        except RemoteError as error:
            click.echo(f"openclaw: {clean(advice(error.message))}", err=True)
            status = 0 if interactive else 1


def _command(background: Background, session: ChatSession, text: str) -> None:
    match text.split()[0]:
        case "/help":
            click.echo(advice(HELP))
        case "/history":
            show_history(background.call(session.history))
        case "/abort":
            stopped = background.call(session.abort_session)
            click.echo("stopped" if stopped else "nothing is running")
        case "/new" | "/reset":
            session.begin_anew()
            come_back = advice("openclaw chat --session-key KEY")
            say(f"{session.session_key} is new; to come back to it: {come_back}")
        case other:
            click.echo(f"unknown: {clean(other)}; /help shows what can be typed")


def answer(background: Background, session: ChatSession, text: str) -> bool:
    """Send a message and show the answer as it comes; Ctrl-C stops it.  True if there was one."""
    turn = background.submit(lambda: session.send(text, lambda more: say(more, end="")))
    try:
        trouble = background.outcome(turn)
    except KeyboardInterrupt:
        trouble = _stopped(background, session, turn)
    except SystemExit:
        with contextlib.suppress(RemoteError):
            _stopped(background, session, turn)
        raise
    if trouble is not None:
        click.echo(f"openclaw: {clean(trouble)}", err=True)
    return trouble is None


def _stopped(background: Background, session: ChatSession, turn: Future[str | None]) -> str:
    click.echo()
    try:
        background.call(session.abort, STOP_DEADLINE_S)
        return background.outcome(turn, STOP_DEADLINE_S) or "the answer was complete already"
    except TimeoutError:
        return "the gateway does not confirm that it stopped the answer"


def show_history(rows: list[tuple[str, str]]) -> None:
    """Print messages: who, and what."""
    for who, text in rows:
        say(f"{who}: {text}")
