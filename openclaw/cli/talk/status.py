"""C{openclaw status}: a running gateway at a glance."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from openclaw.cli.client.calls import run_connected
from openclaw.cli.client.errors import RemoteError
from openclaw.cli.client.remote import Remote, RemoteOptions, find_remote, remote_options
from openclaw.cli.client.told import number, part, rows
from openclaw.cli.files import disk_trouble
from openclaw.cli.options import timeout_option
from openclaw.cli.output import State, json_option, print_json, say
from openclaw.cli.tables import age, counted, print_table, span

if TYPE_CHECKING:
    from openclaw.cli.client.connection import GatewayConnection


@click.command()
@click.option("--all", "show_all", is_flag=True, help="Show all recent sessions, not the last five only.")
@click.option("--deep", "_deep", is_flag=True, expose_value=False, help="Accepted; the gateway is always asked.")
@remote_options
@timeout_option()
@json_option
@click.pass_obj
def status(state: State, show_all: bool, where: RemoteOptions, timeout_s: float) -> int:
    """Show a running gateway, its agents and sessions; exit 1 if it cannot be reached."""
    remote = find_remote(state, where)
    gateway = _gateway_part(remote)
    try:
        found = _ask(remote, gateway, timeout_s)
    except RemoteError as error:
        error.message = gateway["error"] = state.advice(error.message)
        if state.as_json:
            print_json({**error.envelope(), "gateway": gateway})
        else:
            say(f"Gateway: {remote.url} unreachable")
            _print_disk(state, remote)
        click.echo(f"openclaw: {error.message}", err=True)
        return 1
    if state.as_json:
        print_json({**found["status"], "health": found["health"], "gateway": gateway})
    else:
        _print(state, remote, found, gateway, 50 if show_all else 5)
    return 0


def _gateway_part(remote: Remote) -> dict[str, Any]:
    return {
        "mode": "local" if remote.kind == "localLoopback" else "remote",
        "url": remote.url,
        "urlSource": "local loopback" if remote.kind == "localLoopback" else remote.source,
        "misconfigured": False,
        "reachable": False,
        "connectLatencyMs": None,
        "self": None,
        "error": None,
        "authWarning": None,
    }


def _ask(remote: Remote, gateway: dict[str, Any], timeout_s: float) -> dict[str, Any]:
    began_s = time.monotonic()

    async def ask(connection: GatewayConnection) -> dict[str, Any]:
        """Note what the connection tells; gives that and the answers of both methods."""
        gateway["connectLatencyMs"] = round((time.monotonic() - began_s) * 1000)
        gateway["reachable"] = True
        gateway["self"] = connection.hello.get("server")
        found: dict[str, Any] = {"uptimeMs": number(part(connection.hello, "snapshot").get("uptimeMs"))}
        for method in ("status", "health"):
            found[method] = part(await connection.call(method, timeout_s=timeout_s))
        return found

    return run_connected(remote, ask, timeout_s=timeout_s)


def _print_disk(state: State, remote: Remote) -> None:
    """Tell of the disk of a gateway on this machine, if it is full or nearly so."""
    trouble = disk_trouble(state.paths.state_dir) if remote.kind == "localLoopback" else None
    if trouble is not None:
        say(f"Disk: {trouble[1]}")


def _print(state: State, remote: Remote, found: dict[str, Any], gateway: dict[str, Any], most_recent: int) -> None:
    told, health = found["status"], found["health"]
    well = "well" if health.get("ok") is True else "not well"
    uptime_ms = found["uptimeMs"]
    up = f", up {span(uptime_ms)}" if uptime_ms is not None else ""
    latency_ms = gateway["connectLatencyMs"]
    say(f"Gateway: {remote.url} reachable ({latency_ms} ms), openclaw {told.get('runtimeVersion')}, {well}{up}")
    failing = health.get("failing")
    if isinstance(failing, list) and failing:
        say(f"Not well: {', '.join(map(str, failing))}")
    _print_disk(state, remote)
    say(f"Address: {remote.source}; credential: {remote.secret.source}")
    runs = told.get("runs")
    if isinstance(runs, dict):
        say(f"Runs: {runs.get('active', 0)} active, {runs.get('waiting', 0)} waiting")
    pending = told.get("configReload")
    if isinstance(pending, dict) and pending.get("restartRequired"):
        say(f"Config: changed in a way that needs a restart: {state.advice('openclaw gateway restart')}")
    for agent in rows(health, "agents"):
        default = ", default" if agent.get("isDefault") else ""
        say(f"Agent: {agent.get('agentId')}{default}, {counted(part(agent, 'sessions').get('count', 0), 'session')}")
    recent = rows(part(health, "sessions"), "recent")[:most_recent]
    if recent:
        print_table(("Recent session", "Last used"), [(row.get("key"), age(number(row.get("age")))) for row in recent])
