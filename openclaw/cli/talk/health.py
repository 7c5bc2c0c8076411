"""C{openclaw health}: ask a running gateway how it is."""

from __future__ import annotations

import http.client
from typing import Any

import click

from openclaw.cli.client.calls import run_call
from openclaw.cli.client.errors import CallFailed, GatewayUnreachable
from openclaw.cli.client.health_routes import fetch
from openclaw.cli.client.remote import RemoteOptions, find_remote, parse_url, remote_options
from openclaw.cli.client.told import part
from openclaw.cli.gateway.health import health_lines
from openclaw.cli.options import timeout_option
from openclaw.cli.output import State, json_option, print_json, say
from openclaw.cli.tables import cell
from openclaw.errors import OpenClawError

METHOD_TIMEOUT_S = 3.0
"""How long to wait for what is told besides, in seconds."""


@click.command()
@remote_options
@timeout_option()
@click.option("--verbose", is_flag=True, help="Show its agents and sessions too.")
@json_option
@click.pass_obj
def health(state: State, where: RemoteOptions, timeout_s: float, verbose: bool) -> int:
    """Ask a running gateway how it is; exit 1 if it does not answer or is not ready.

    No credential is needed for that. With one, --json and --verbose tell of agents and sessions too; one that is
    given here and refused is an error.
    """
    if where.secret is not None:
        find_remote(state, where)  # a credential that must not be sent there is told before anything is asked
    address = parse_url(where.url, "--url") if where.url is not None else find_remote(state).address
    base = address.text.replace("ws", "http", 1)
    try:
        startup = fetch(f"{base}/startupz", timeout_s)
        ready = fetch(f"{base}/readyz", timeout_s)
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = str(getattr(error, "reason", error)) or type(error).__name__
        hint = "start it with: openclaw gateway run" if where.url is None else "check --url"
        raise GatewayUnreachable(cell(f"no gateway answers at {base}: {reason}; {hint}")) from None
    is_ready = ready.get("ready") is True
    told = told_by_method(state, where, timeout_s) if state.as_json or verbose or where.secret is not None else {}
    if state.as_json:
        print_json({**told, **startup, **ready, "ok": is_ready, "url": base})
    else:
        failing = ", ".join(map(str, ready.get("failing") or ()))
        say(cell(f"{base}: {startup.get('status')}, {'ready' if is_ready else f'not ready ({failing})'}"))
        if verbose and told:
            for line in health_lines(told):
                say(line)
    return 0 if is_ready else 1


def told_by_method(state: State, where: RemoteOptions, timeout_s: float) -> dict[str, Any]:
    """
    What the gateway tells of agents and sessions to who has its credential: the answer of the method C{health}.

    @return: empty where there is no credential to ask with, or no answer; whether the gateway is well does not hang
        on it.
    @raise CallFailed: if a credential of the command line is refused.
    """
    try:
        remote = find_remote(state, where)
        is_open = remote.kind == "localLoopback" and state.load().config.gateway.auth.mode == "none"
        if remote.secret.value is None and not is_open:
            return {}
        return part(run_call(remote, "health", timeout_s=min(timeout_s, METHOD_TIMEOUT_S)))
    except OpenClawError as error:
        if where.secret is not None and isinstance(error, CallFailed) and error.detail_code.startswith("AUTH_"):
            raise
        return {}
