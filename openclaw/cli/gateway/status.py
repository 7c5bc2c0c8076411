"""C{openclaw gateway status} and C{probe}: where the gateway is, whether it answers, and what it lets us do."""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from openclaw._version import __version__
from openclaw.cli.client.calls import run_connected
from openclaw.cli.client.errors import CallFailed, RemoteError
from openclaw.cli.client.remote import Introduction, Remote, RemoteOptions, find_remote, remote_options
from openclaw.cli.client.told import part, standing
from openclaw.cli.gateway.systemd import services_of
from openclaw.cli.options import timeout_option
from openclaw.cli.output import State, clean, json_option, print_json, say
from openclaw.config.lock import running_pid
from openclaw.errors import ConfigError, OpenClawError

if TYPE_CHECKING:
    from openclaw.cli.client.connection import GatewayConnection

PROBE_TIMEOUT_S = 3.0


@click.command()
@click.option("--no-probe", is_flag=True, help="Do not connect.")
@click.option("--require-rpc", is_flag=True, help="Exit 1 if the gateway does not answer.")
@click.option("--deep", "_deep", is_flag=True, expose_value=False, help="Accepted; there is nothing deeper to look at.")
@remote_options
@timeout_option()
@json_option
@click.pass_obj
def status(state: State, no_probe: bool, require_rpc: bool, where: RemoteOptions, timeout_s: float) -> int:
    """Show where the gateway is, and whether it answers.

    The exit status is 0 also if it does not, unless with --require-rpc.
    """
    report = _status_report(state)
    try:
        remote = find_remote(state, where)
    except ConfigError as error:
        rpc: dict[str, Any] = {"ok": False, "kind": "connect", "error": error.message, "url": None}
    else:
        report["gateway"].update(probeUrl=remote.url, port=remote.address.port, bindHost=remote.address.host)
        rpc = {"ok": False, "kind": "skipped", "url": remote.url} if no_probe else rpc_part(remote, timeout_s)
    if "error" in rpc:
        rpc["error"] = state.advice(rpc["error"])
    report["rpc"] = rpc
    if "version" in rpc:
        report["gateway"]["version"] = rpc["version"]
    if state.as_json:
        print_json(report)
    else:
        _print_status(report)
    if not rpc["ok"] and not no_probe:
        click.echo(f"openclaw: {clean(rpc['error'])}", err=True)
    return 1 if require_rpc and not rpc["ok"] else 0


def rpc_part(remote: Remote, timeout_s: float) -> dict[str, Any]:
    """Connect and say how that went, as the original's C{rpc}."""
    rpc: dict[str, Any] = {"ok": False, "kind": "connect", "url": remote.url}

    async def look(connection: GatewayConnection) -> None:
        """Note what the connection tells."""
        server, auth = part(connection.hello, "server"), standing(connection.hello)
        rpc.update(ok=True, capability=auth["capability"], auth=auth, server=server, version=server.get("version"))

    try:
        run_connected(remote, look, timeout_s=timeout_s)
    except RemoteError as error:
        return {**rpc, "error": error.message}
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
    services = services_of(state.profile, os.environ)
    unit = next((str(service.path) for service in services if service.path.exists()), None)
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
        target["connect"].update(
            error=error.message, close=error.told_code if isinstance(error.told_code, int) else None
        )
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
