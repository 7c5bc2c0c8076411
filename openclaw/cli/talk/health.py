"""C{openclaw health}: ask a running gateway how it is."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from typing import Any

import click

from openclaw.cli.client.remote import CallFailed, RemoteOptions, find_remote, parse_url, remote_options, timeout_option
from openclaw.cli.output import State, fail_json, json_option, print_json
from openclaw.cli.tables import cell, say
from openclaw.errors import OpenClawError

TIMEOUT_S = 10.0
"""How long to wait for an answer unless told otherwise, in seconds."""

METHOD_TIMEOUT_S = 3.0
"""How long to wait for what is told besides, in seconds."""

MAX_ANSWER_BYTES = 65536
"""How much of an answer is read."""


@click.command()
@remote_options
@timeout_option(TIMEOUT_S)
@click.option("--verbose", is_flag=True, help="Show its agents and sessions too.")
@json_option
@click.pass_obj
def health(
    state: State,
    url: str | None,
    token: str | None,
    password: str | None,
    timeout_s: float,
    verbose: bool,
    as_json: bool,
) -> int:
    """Ask a running gateway how it is; exit 1 if it does not answer or is not ready.

    No credential is needed for that. With one, --json and --verbose tell of agents and sessions too; one that is
    given here and refused is an error.
    """
    options = RemoteOptions(url, token, password)
    is_given = token is not None or password is not None
    if is_given:
        find_remote(state, options)  # a credential that must not be sent there is told before anything is asked
    base = http_base(url, "--url") if url is not None else configured_url(state)
    try:
        startup = fetch(f"{base}/startupz", timeout_s)
        ready = fetch(f"{base}/readyz", timeout_s)
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = str(getattr(error, "reason", error)) or type(error).__name__
        hint = "start it with: openclaw gateway run" if url is None else "check --url"
        message = state.advice(cell(f"no gateway answers at {base}: {reason}; {hint}"))
        if as_json:
            fail_json(message, "gateway_transport_error")
        click.echo(f"openclaw: {message}", err=True)
        return 1
    is_ready = ready.get("ready") is True
    told = told_by_method(state, options, timeout_s) if as_json or verbose or is_given else {}
    if as_json:
        print_json({**told, **startup, **ready, "ok": is_ready, "url": base})
    else:
        failing = ", ".join(map(str, ready.get("failing") or ()))
        say(cell(f"{base}: {startup.get('status')}, {'ready' if is_ready else f'not ready ({failing})'}"))
        if verbose and told:
            from openclaw.cli.gateway.remote import health_lines

            for line in health_lines(told):
                say(line)
    return 0 if is_ready else 1


def told_by_method(state: State, options: RemoteOptions, timeout_s: float) -> dict[str, Any]:
    """
    What the gateway tells of agents and sessions to who has its credential: the answer of the method C{health}.

    @return: empty where there is no credential to ask with, or no answer; whether the gateway is well does not hang
        on it.
    @raise CallFailed: if a credential of the command line is refused.
    """
    try:
        remote = find_remote(state, options)
        is_open = remote.kind == "localLoopback" and state.load().config.gateway.auth.mode == "none"
        if remote.secret is None and not is_open:
            return {}
        from openclaw.cli.client.loop import run_call

        told = run_call(remote, "health", timeout_s=min(timeout_s, METHOD_TIMEOUT_S))
    except OpenClawError as error:
        is_given = options.token is not None or options.password is not None
        if is_given and isinstance(error, CallFailed) and error.detail_code.startswith("AUTH_"):
            raise
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
