"""C{openclaw gateway call}: any method of a running gateway."""

from __future__ import annotations

from typing import Any

import click

from openclaw.cli.client.calls import run_call
from openclaw.cli.client.remote import Introduction, RemoteOptions, find_remote, remote_options
from openclaw.cli.given import read_json
from openclaw.cli.options import timeout_option
from openclaw.cli.output import State, json_option, print_json
from openclaw.errors import OpenClawError

_METHODS = {
    "operator.read": """
        agents.list chat.history config.get config.schema health logs.tail models.list sessions.describe sessions.list
        sessions.preview sessions.resolve status system-presence
    """,
    "operator.write": "agent agent.wait chat.abort chat.send sessions.abort sessions.create sessions.send",
}
_SCOPES = {name: scope for scope, names in _METHODS.items() for name in names.split()}
_ALL_SCOPES = tuple(
    f"operator.{name}" for name in ("admin", "read", "write", "approvals", "questions", "pairing", "talk.secrets")
)


def scopes_for(method: str) -> tuple[str, ...]:
    """The least scopes that a method needs; all for one that we do not know."""
    scope = _SCOPES.get(method)
    return (scope,) if scope is not None else _ALL_SCOPES


@click.command()
@click.argument("method")
@click.option("--params", "params_text", metavar="JSON", default="{}", help="Parameters, a JSON object.")
@click.option("--expect-final", is_flag=True, help="Wait for the second answer of a method that accepts first.")
@remote_options
@timeout_option()
@json_option
@click.pass_obj
def call(
    state: State, method: str, params_text: str, expect_final: bool, where: RemoteOptions, timeout_s: float
) -> None:
    """Call a method of a running gateway and print its answer as JSON."""
    params = params_of(params_text)
    remote, introduction = find_remote(state, where), Introduction(scopes_for(method))
    print_json(run_call(remote, method, params, introduction, timeout_s=timeout_s, expect_final=expect_final))


def params_of(text: str) -> dict[str, Any]:
    """Read C{--params}; a C{click.UsageError} if it is no JSON object."""
    try:
        value = read_json(text, "--params")
    except OpenClawError as error:
        raise click.UsageError(error.message) from None
    if not isinstance(value, dict):
        raise click.UsageError("--params: expected a JSON object")
    return value
