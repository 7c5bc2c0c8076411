"""C{openclaw gateway status}: where the gateway is, and whether it answers."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from openclaw._version import __version__
from openclaw.cli.client.calls import run_connected
from openclaw.cli.client.errors import RemoteError
from openclaw.cli.client.remote import NoAddress, Remote, RemoteOptions, find_remote, remote_options
from openclaw.cli.client.told import part, standing
from openclaw.cli.gateway.systemd import services_of
from openclaw.cli.options import timeout_option
from openclaw.cli.output import State, clean, json_option, print_json, say
from openclaw.config.lock import running_pid
from openclaw.errors import ConfigError, OpenClawError

if TYPE_CHECKING:
    from openclaw.cli.client.connection import GatewayConnection


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
    except (ConfigError, NoAddress) as error:
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
