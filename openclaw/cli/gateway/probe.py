"""C{openclaw gateway probe}: whether a gateway can be reached, and what it lets us do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from openclaw.cli.client.calls import run_connected
from openclaw.cli.client.errors import CallFailed, RemoteError
from openclaw.cli.client.remote import Introduction, Remote, RemoteOptions, find_remote, remote_options
from openclaw.cli.client.told import part, standing
from openclaw.cli.options import timeout_option
from openclaw.cli.output import State, clean, json_option, print_json, say

if TYPE_CHECKING:
    from openclaw.cli.client.connection import GatewayConnection

PROBE_TIMEOUT_S = 3.0


@click.command()
@remote_options
@timeout_option(PROBE_TIMEOUT_S)
@json_option
@click.pass_obj
def probe(state: State, where: RemoteOptions, timeout_s: float) -> int:
    """Try whether a gateway can be reached, and what it lets us do; exit 1 if it cannot."""
    remote = find_remote(state, where)
    began_s = time.monotonic()
    target = probe_target(remote, timeout_s)
    if target["connect"]["error"] is not None:
        target["connect"]["error"] = state.advice(target["connect"]["error"])
    report = _probe_report(remote, target, timeout_s, round((time.monotonic() - began_s) * 1000))
    if state.as_json:
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
    began_s = time.monotonic()

    async def look(connection: GatewayConnection) -> None:
        """Note what the connection tells, then what may be read through it."""
        server = part(connection.hello, "server")
        target["connect"].update(ok=True, latencyMs=round((time.monotonic() - began_s) * 1000))
        target["server"] = {key: server[key] for key in ("version", "connId") if key in server}
        target["auth"] = standing(connection.hello)
        target["health"] = await connection.call("health", timeout_s=timeout_s)
        try:
            target["summary"] = await connection.call("status", timeout_s=timeout_s)
            target["connect"]["rpcOk"] = True
        except CallFailed as error:
            target["connect"].update(error=error.message, scopeLimited=error.told_code == "FORBIDDEN")

    try:
        run_connected(remote, look, Introduction(mode="probe"), timeout_s=timeout_s)
    except RemoteError as error:
        close = error.told_code if isinstance(error.told_code, int) else None
        target["connect"].update(error=error.message, close=close)
    return target


def _probe_report(remote: Remote, target: dict[str, Any], timeout_s: float, duration_ms: int) -> dict[str, Any]:
    connect = target["connect"]
    limited = {
        "code": "probe_scope_limited",
        "message": f"connected, but status could not be read: {connect['error']}",
        "targetIds": [target["id"]],
    }
    return {
        "ok": connect["ok"],
        "degraded": connect["ok"] and not connect["rpcOk"],
        "capability": target["auth"]["capability"] if connect["ok"] else "unreachable",
        "ts": round(time.time() * 1000),
        "durationMs": duration_ms,
        "timeoutMs": round(timeout_s * 1000),
        "primaryTargetId": target["id"] if connect["ok"] else None,
        "warnings": [limited] if connect["scopeLimited"] else [],
        "network": {"localLoopbackUrl": remote.url if remote.kind == "localLoopback" else None},
        "targets": [target],
    }
