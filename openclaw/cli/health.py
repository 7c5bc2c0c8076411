"""C{openclaw health}: ask a running gateway how it is."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from typing import Any

import click

from openclaw.cli.output import State, fail_json, json_option, print_json
from openclaw.cli.remote import RemoteOptions, find_remote, parse_url
from openclaw.cli.tables import cell, say
from openclaw.errors import OpenClawError

TIMEOUT_S = 10.0
"""How long to wait for an answer unless told otherwise, in seconds."""

METHOD_TIMEOUT_S = 3.0
"""How long to wait for what is told besides, in seconds."""

MAX_ANSWER_BYTES = 65536
"""How much of an answer is read."""


@click.command()
@click.option(
    "--url", help="Where the gateway is, ws://host:port or http://host:port, in place of the configured place."
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0.1, 600),
    default=TIMEOUT_S,
    show_default=True,
    metavar="SECONDS",
    help="How long it may be silent.",
)
@json_option
@click.pass_obj
def health(state: State, url: str | None, timeout_s: float, as_json: bool) -> int:
    """Ask a running gateway how it is; exit 1 if it does not answer or is not ready."""
    base = http_base(url, "--url") if url is not None else configured_url(state)
    try:
        startup = fetch(f"{base}/startupz", timeout_s)
        ready = fetch(f"{base}/readyz", timeout_s)
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = str(getattr(error, "reason", error)) or type(error).__name__
        hint = "start it with: openclaw gateway run" if url is None else "check --url"
        message = cell(f"no gateway answers at {base}: {reason}; {hint}")
        if as_json:
            fail_json(message, "gateway_transport_error")
        click.echo(f"openclaw: {message}", err=True)
        return 1
    is_ready = ready.get("ready") is True
    if as_json:
        print_json({**told_by_method(state, url, timeout_s), **startup, **ready, "ok": is_ready, "url": base})
    else:
        failing = ", ".join(map(str, ready.get("failing") or ()))
        say(cell(f"{base}: {startup.get('status')}, {'ready' if is_ready else f'not ready ({failing})'}"))
    return 0 if is_ready else 1


def told_by_method(state: State, url: str | None, timeout_s: float) -> dict[str, Any]:
    """
    What the gateway tells of agents and sessions to who has its credential: the answer of the method C{health}.

    @return: empty where there is no credential to ask with, or no answer; whether the gateway is well does not hang
        on it.
    """
    try:
        remote = find_remote(state, RemoteOptions(url))
        is_open = remote.kind == "localLoopback" and state.load().config.gateway.auth.mode == "none"
        if remote.secret is None and not is_open:
            return {}
        from openclaw.cli.client import run_call

        told = run_call(remote, "health", timeout_s=min(timeout_s, METHOD_TIMEOUT_S))
    except OpenClawError:
        return {}
    return told if isinstance(told, dict) else {}


def http_base(url: str, source: str) -> str:
    """
    A gateway's address for HTTP, however it is spelled.

    @param source: where it stands, for the message.
    @raise OpenClawError: if it is none.
    """
    return parse_url(url, source)[0].replace("ws", "http", 1)


def configured_url(state: State) -> str:
    """
    Where the configuration has the gateway listen, or where C{OPENCLAW_GATEWAY_URL} or C{gateway.remote} says it is.

    @raise OpenClawError: if it cannot be used.
    """
    remote = find_remote(state)
    return http_base(remote.url, remote.source)


def fetch(url: str, timeout_s: float) -> dict[str, Any]:
    """
    A JSON object from the gateway; the answers 503 of its health routes are answers too.

    @param timeout_s: longest silence, seconds.
    @raise OSError: if nobody answers.
    @raise http.client.HTTPException: if what answers does not speak HTTP.
    @raise ValueError: if what answers is no gateway.
    """
    # The gateway is on this machine or named on purpose: a proxy of the environment has no part in it.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=timeout_s) as response:
            content = response.read(MAX_ANSWER_BYTES)
    except urllib.error.HTTPError as error:
        with error:
            content = error.read(MAX_ANSWER_BYTES)
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or not ("ready" in value or "status" in value):
        raise ValueError("what answers there is no gateway")
    return value
