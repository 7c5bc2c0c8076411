"""C{openclaw gateway health}: how a running gateway is, by its own protocol."""

from __future__ import annotations

from typing import Any

import click

from openclaw.cli.client.calls import run_call
from openclaw.cli.client.remote import RemoteOptions, find_remote, remote_options
from openclaw.cli.client.told import number, part, rows
from openclaw.cli.options import timeout_option
from openclaw.cli.output import State, json_option
from openclaw.cli.tables import age


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
