"""C{openclaw agent}: one message, one answer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from openclaw.cli.client.calls import run_connected
from openclaw.cli.client.remote import Introduction, RemoteOptions, find_remote, remote_options
from openclaw.cli.given import read_text
from openclaw.cli.options import DEFAULT_TIMEOUT_S
from openclaw.cli.output import State, clean, is_terminal, json_option, print_json, say
from openclaw.cli.talk.turn_request import TurnOptions, TurnRequest, turn_options

if TYPE_CHECKING:
    from openclaw.cli.client.connection import GatewayConnection

MAX_MESSAGE_BYTES = 8 * 1024 * 1024
"""Largest message that is read from a file or from standard input, in bytes."""


@click.command()
@click.option("-m", "--message", help='The message; "-" reads it from standard input.')
@click.option("--message-file", metavar="FILE", help='File that holds the message; "-" is standard input.')
@turn_options
@click.option("--session-id", metavar="ID", help="The session by its id.")
@click.option("--model", metavar="PROVIDER/MODEL", help="Model for this run.")
@click.option("--stream", is_flag=True, help="Print the text as it comes, also where a program reads.")
@remote_options
@json_option
@click.pass_obj
def agent(
    state: State,
    message: str | None,
    message_file: str | None,
    turn: TurnOptions,
    session_id: str | None,
    model: str | None,
    stream: bool,
    where: RemoteOptions,
) -> int:
    """Give an agent a message and print its answer.

    Ctrl-C stops the run.  The exit status is 0 for an answer, 1 for an error, 130 or 143 after a signal.
    """
    named = {"agentId": turn.agent_id, "sessionKey": turn.session_key, "sessionId": session_id}
    named |= {"model": model, "thinking": turn.thinking}
    choices = {name: value for name, value in named.items() if value is not None}
    request = TurnRequest(message_of(message, message_file), turn.timeout_s, choices)

    async def work(connection: GatewayConnection) -> int:
        streams = not state.as_json and (stream or is_terminal())
        return await _answer(connection, request, as_json=state.as_json, streams=streams)

    introduction = Introduction(request.scopes)
    return run_connected(find_remote(state, where), work, introduction, timeout_s=DEFAULT_TIMEOUT_S)


async def _answer(connection: GatewayConnection, turn: TurnRequest, *, as_json: bool, streams: bool) -> int:
    from openclaw.cli.talk.turn import RunningTurn, Shown, text_of, why_not

    shown = Shown(lambda more: say(more, end="")) if streams else None
    answer: dict[str, Any] = await RunningTurn(connection, turn, shown).result()
    text, trouble = text_of(answer), why_not(answer)
    if as_json:
        print_json(answer)
    elif shown is not None:
        shown.final(text)
    elif text:
        say(text.rstrip("\n"))
    if trouble is not None:
        click.echo(f"openclaw: {clean(trouble)}", err=True)
        return 1
    return 0


def message_of(message: str | None, message_file: str | None) -> str:
    """
    The message that the options mean.

    @raise click.UsageError: if they mean none, or two.
    @raise OpenClawError: if it cannot be read, is too large or not UTF-8.
    """
    if (message is None) == (message_file is None):
        raise click.UsageError("give the message: --message TEXT, or --message-file FILE")
    if message is not None and message != "-":
        text = message
    else:
        source = None if message_file in (None, "-") else Path(str(message_file))
        name = "the message in standard input" if source is None else f"--message-file: {source}"
        text = read_text(source, name, MAX_MESSAGE_BYTES)
    if not text.strip():
        raise click.UsageError("the message is empty")
    return text.encode("utf-8", "replace").decode()
