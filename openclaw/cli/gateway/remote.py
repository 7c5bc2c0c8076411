"""C{openclaw gateway call|health|probe|status}: ask a running gateway, by its own protocol."""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from openclaw._version import __version__
from openclaw.cli.client.remote import (
    CallFailed,
    Remote,
    RemoteError,
    RemoteOptions,
    find_remote,
    remote_options,
    timeout_option,
)
from openclaw.cli.client.told import number, part, rows, texts
from openclaw.cli.output import State, json_option, print_json
from openclaw.cli.tables import age, clean, say
from openclaw.errors import ConfigError, OpenClawError

if TYPE_CHECKING:
    from openclaw.cli.client.connection import GatewayConnection

NO_SCOPE = "connected_no_operator_scope"
"""The original's name for a connection that may do next to nothing."""

PROBE_TIMEOUT_S = 3.0

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
    state: State,
    method: str,
    params_text: str,
    expect_final: bool,
    url: str | None,
    token: str | None,
    password: str | None,
    timeout_s: float,
    as_json: bool,
) -> None:
    """Call a method of a running gateway and print its answer as JSON."""
    params = params_of(params_text)
    remote = find_remote(state, RemoteOptions(url, token, password))
    from openclaw.cli.client.connection import Introduction
    from openclaw.cli.client.loop import run_call

    introduction = Introduction(scopes_for(method))
    print_json(run_call(remote, method, params, introduction, timeout_s=timeout_s, expect_final=expect_final))


def params_of(text: str) -> dict[str, Any]:
    """
    Read C{--params}.

    @raise click.UsageError: if it is no JSON object.
    """
    from openclaw.cli.config.editing import read_json

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
def health(
    state: State, url: str | None, token: str | None, password: str | None, timeout_s: float, as_json: bool
) -> int:
    """Show the health of a running gateway, its agents and sessions; exit 1 if it is not well."""
    remote = find_remote(state, RemoteOptions(url, token, password))
    from openclaw.cli.client.loop import run_call

    payload = run_call(remote, "health", timeout_s=timeout_s)
    told = payload if isinstance(payload, dict) else {}
    if as_json:
        print_json(payload)
    else:
        say(f"Gateway: {remote.url} {'ok' if told.get('ok') is True else 'not well'}")
        for line in health_lines(told):
            say(line)
    return 0 if told.get("ok") is True else 1


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


# -------------------------------------------------------------------------------------------- probe


@click.command()
@remote_options
@timeout_option(PROBE_TIMEOUT_S)
@json_option
@click.pass_obj
def probe(
    state: State, url: str | None, token: str | None, password: str | None, timeout_s: float, as_json: bool
) -> int:
    """Try whether a gateway can be reached, and what it lets us do; exit 1 if it cannot."""
    remote = find_remote(state, RemoteOptions(url, token, password))
    began_s = time.monotonic()
    target = probe_target(remote, timeout_s)
    if target["connect"]["error"] is not None:
        target["connect"]["error"] = state.advice(target["connect"]["error"])
    report = _probe_report(remote, target, timeout_s, round((time.monotonic() - began_s) * 1000))
    if as_json:
        print_json(report)
    else:
        connect = target["connect"]
        if connect["ok"]:
            say(f"{remote.url}: reachable in {connect['latencyMs']} ms, openclaw {target['server'].get('version')}")
            say(f"  capability: {target['auth']['capability']}")
        else:
            say(f"{remote.url}: not reachable")
        for warning in report["warnings"]:
            say(f"  warning: {warning['message']}")
    if not report["ok"]:
        click.echo(f"openclaw: {clean(str(target['connect']['error']))}", err=True)
    return 0 if report["ok"] else 1


def probe_target(remote: Remote, timeout_s: float) -> dict[str, Any]:
    """Connect as a probe and try to read; the result is a row of C{targets} in the original's report."""
    target: dict[str, Any] = {
        "id": remote.kind,
        "kind": remote.kind,
        "url": remote.url,
        "active": True,
        "tunnel": None,
        "connect": {
            "ok": False,
            "rpcOk": False,
            "scopeLimited": False,
            "latencyMs": None,
            "error": None,
            "close": None,
        },
        "auth": {"role": None, "scopes": [], "capability": "unknown"},
        "server": {},
        "self": None,
        "config": None,
        "health": None,
        "summary": None,
        "presence": None,
    }
    from openclaw.cli.client.connection import Introduction
    from openclaw.cli.client.loop import run_connected

    began_s = time.monotonic()

    async def look(connection: GatewayConnection) -> int:
        """Note what the connection tells, then what may be read through it."""
        server, auth = part(connection.hello, "server"), part(connection.hello, "auth")
        scopes = texts(auth, "scopes")
        target["connect"].update(ok=True, latencyMs=round((time.monotonic() - began_s) * 1000))
        target["server"] = {key: server[key] for key in ("version", "connId") if key in server}
        target["auth"] = {"role": auth.get("role"), "scopes": scopes, "capability": capability_of(scopes)}
        target["health"] = await connection.call("health", timeout_s=timeout_s)
        try:
            target["summary"] = await connection.call("status", timeout_s=timeout_s)
            target["connect"]["rpcOk"] = True
        except CallFailed as error:
            target["connect"].update(error=error.message, scopeLimited=error.told_code == "FORBIDDEN")
        return 0

    try:
        status = run_connected(remote, look, Introduction(mode="probe"), timeout_s=timeout_s)
    except RemoteError as error:
        target["connect"].update(
            error=error.message, close=error.told_code if isinstance(error.told_code, int) else None
        )
    else:
        if status:
            raise SystemExit(status)
    return target


def capability_of(scopes: list[str]) -> str:
    """What a connection with these scopes can do, in the original's words."""
    for scope, word in (("admin", "admin_capable"), ("write", "write_capable"), ("read", "read_only")):
        if f"operator.{scope}" in scopes:
            return word
    return NO_SCOPE


def _probe_report(remote: Remote, target: dict[str, Any], timeout_s: float, duration_ms: int) -> dict[str, Any]:
    connect = target["connect"]
    warnings = []
    if connect["scopeLimited"]:
        warnings.append(
            {
                "code": "probe_scope_limited",
                "message": f"connected, but status could not be read: {connect['error']}",
                "targetIds": [target["id"]],
            }
        )
    return {
        "ok": connect["ok"],
        "degraded": connect["ok"] and not connect["rpcOk"],
        "capability": target["auth"]["capability"] if connect["ok"] else "unreachable",
        "ts": round(time.time() * 1000),
        "durationMs": duration_ms,
        "timeoutMs": round(timeout_s * 1000),
        "primaryTargetId": target["id"] if connect["ok"] else None,
        "warnings": warnings,
        "network": {"localLoopbackUrl": remote.url if remote.kind == "localLoopback" else None},
        "targets": [target],
    }


# ------------------------------------------------------------------------------------------- status


@click.command()
@click.option("--no-probe", is_flag=True, help="Do not connect.")
@click.option("--require-rpc", is_flag=True, help="Exit 1 if the gateway does not answer.")
@click.option("--deep", is_flag=True, help="Accepted; there is nothing deeper to look at.")
@remote_options
@timeout_option()
@json_option
@click.pass_obj
def status(
    state: State,
    no_probe: bool,
    require_rpc: bool,
    deep: bool,
    url: str | None,
    token: str | None,
    password: str | None,
    timeout_s: float,
    as_json: bool,
) -> int:
    """Show where the gateway is, and whether it answers.

    The exit status is 0 also if it does not, unless with --require-rpc.
    """
    report = _status_report(state)
    try:
        remote = find_remote(state, RemoteOptions(url, token, password))
    except ConfigError as error:
        rpc: dict[str, Any] = {"ok": False, "kind": "connect", "error": error.message, "url": None}
    else:
        report["gateway"].update(probeUrl=remote.url, port=remote.port, bindHost=remote.host)
        rpc = {"ok": False, "kind": "skipped", "url": remote.url} if no_probe else rpc_part(remote, timeout_s)
    if "error" in rpc:
        rpc["error"] = state.advice(rpc["error"])
    report["rpc"] = rpc
    if "version" in rpc:
        report["gateway"]["version"] = rpc["version"]
    if as_json:
        print_json(report)
    else:
        _print_status(report)
    if not rpc["ok"] and not no_probe:
        click.echo(f"openclaw: {clean(rpc['error'])}", err=True)
    return 1 if require_rpc and not rpc["ok"] else 0


def rpc_part(remote: Remote, timeout_s: float) -> dict[str, Any]:
    """Connect and say how that went, as the original's C{rpc}."""
    from openclaw.cli.client.connection import Introduction
    from openclaw.cli.client.loop import run_connected

    rpc: dict[str, Any] = {"ok": False, "kind": "connect", "url": remote.url}

    async def look(connection: GatewayConnection) -> int:
        """Note what the connection tells."""
        server, auth = part(connection.hello, "server"), part(connection.hello, "auth")
        scopes = texts(auth, "scopes")
        rpc.update(
            ok=True,
            capability=capability_of(scopes),
            auth={"role": auth.get("role"), "scopes": scopes, "capability": capability_of(scopes)},
            server=server,
            version=server.get("version"),
        )
        return 0

    try:
        ended = run_connected(remote, look, Introduction(), timeout_s=timeout_s)
    except RemoteError as error:
        return {**rpc, "error": error.message}
    if ended:
        raise SystemExit(ended)
    return rpc


def _status_report(state: State) -> dict[str, Any]:
    """What the files of this machine say."""
    path, valid, mode, bind, problem = state.paths.config_path, True, "local", None, None
    try:
        gateway = state.load().config.gateway
        mode, bind = gateway.mode or "local", gateway.bind
    except OpenClawError as error:
        valid, problem = False, error.message
    today = datetime.now(UTC).astimezone().date().isoformat()
    return {
        "cli": {"version": __version__, "entrypoint": sys.argv[0]},
        "logFile": str(state.paths.log_dir / f"openclaw-{today}.log"),
        "service": _service_part(state),
        "config": {
            "cli": {
                "path": str(path),
                "exists": os.path.lexists(path) or not valid,
                "valid": valid,
                **({"error": problem} if problem else {}),
            }
        },
        "gateway": {"mode": mode, "bindMode": bind, "portSource": "env/config"},
    }


def _service_part(state: State) -> dict[str, Any]:
    from openclaw.cli.gateway.service_unit import service_of
    from openclaw.cli.gateway.unit_file import named_profile, unit_name
    from openclaw.config.lock import running_pid

    name = unit_name(named_profile(state.profile, os.environ))
    places = [service_of(name, system=system).path for system in (False, True)]
    unit = next((str(path) for path in places if path.exists()), None)
    pid = running_pid(state.paths.lock_path)
    return {
        "label": "systemd" if unit else "no service is installed",
        "loaded": unit is not None,
        "unit": unit,
        "runtime": {"status": "stopped" if pid is None else "running", **({"pid": pid} if pid else {})},
    }


def _print_status(report: dict[str, Any]) -> None:
    config, gateway, rpc, service = report["config"]["cli"], report["gateway"], report["rpc"], report["service"]
    found = "valid" if config["valid"] else "cannot be used; see openclaw config validate"
    say(f"Config: {config['path']} ({found if config['exists'] else 'there is none, the defaults apply'})")
    say(f"Gateway: {gateway.get('probeUrl') or '?'} (mode {gateway['mode']}, bind {gateway['bindMode'] or '?'})")
    runtime = service["runtime"]
    process = f"process {runtime.get('pid', '?')} runs" if runtime["status"] == "running" else "process not running"
    say(f"Service: {service['unit'] or service['label']}, {process}")
    say(f"Log file: {report['logFile']}")
    if rpc["kind"] == "skipped":
        say("RPC probe: not made")
    elif rpc["ok"]:
        say(f"RPC probe: ok, openclaw {rpc['version']}, {rpc['capability']}")
    else:
        say("RPC probe: failed")
