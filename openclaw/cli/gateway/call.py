"""C{openclaw gateway call} and C{health}: any method of a running gateway, and the one that says how it is."""

from __future__ import annotations

from typing import Any

import click

from openclaw.cli.client.calls import run_call
from openclaw.cli.client.remote import Introduction, RemoteOptions, find_remote, remote_options
from openclaw.cli.client.told import number, part, rows
from openclaw.cli.given import read_json
from openclaw.cli.options import timeout_option
from openclaw.cli.output import State, json_option, print_json
from openclaw.cli.tables import age
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
    """Read C{--params}; a L{click.UsageError} if it is no JSON object."""
    try:
        value = read_json(text, "--params")
    except OpenClawError as error:
        raise click.UsageError(error.message) from None
    if not isinstance(value, dict):
        raise click.UsageError("--params: expected a JSON object")
    return value


@click.command()
@remote_options
@timeout_option()
@json_option
@click.pass_obj
def health(state: State, where: RemoteOptions, timeout_s: float) -> int:
    """Show the health of a running gateway, its agents and sessions; exit 1 if it is not well."""
    remote = find_remote(state, where)
    payload = run_call(remote, "health", timeout_s=timeout_s)
    told = part(payload)
    is_well = told.get("ok") is True
    head = f"Gateway: {remote.url} {'ok' if is_well else 'not well'}"
    state.show(payload, "\n".join([head, *health_lines(told)]))
    return 0 if is_well else 1


def health_lines(payload: dict[str, Any]) -> list[str]:
    """What the payload of the method C{health} says, for people."""
    agents = rows(payload, "agents")
    names = [f"{agent.get('agentId')}{' (default)' if agent.get('isDefault') else ''}" for agent in agents]
    lines = [f"Agents: {', '.join(names) or 'none'}"]
    sessions = part(payload, "sessions")
    lines.append(f"Sessions: {sessions.get('count', 0)}")
    lines += [f"  {row.get('key')} ({age(number(row.get('age')))})" for row in rows(sessions, "recent")[:5]]
    loop = part(payload, "eventLoop")
    delay_ms = number(loop.get("delayMaxMs"))
    if delay_ms is not None:
        state = "degraded" if loop.get("degraded") else "ok"
        lines.append(f"Event loop: {state}, longest delay {delay_ms:.0f} ms")
    return lines
