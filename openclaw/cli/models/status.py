"""C{openclaw models status}: which models the agents use, and what they lack."""

from __future__ import annotations

from typing import Any

import click

from openclaw.agents.resolve import agent_model_ref
from openclaw.cli.client.calls import run_call
from openclaw.cli.client.remote import RemoteOptions, find_remote, remote_options
from openclaw.cli.client.told import part
from openclaw.cli.client.told import rows as rows_of
from openclaw.cli.models.available import model_rows, why_unavailable
from openclaw.cli.options import timeout_option
from openclaw.cli.output import State, json_option, print_json, say
from openclaw.cli.tables import print_table
from openclaw.config.lock import running_pid
from openclaw.config.schema import Config
from openclaw.errors import OpenClawError

ASKED_TIMEOUT_S = 3.0
"""How long a running gateway may take to tell what it learned, in seconds."""


@click.command()
@click.option("--plain", is_flag=True, help="Print the default model and nothing else.")
@click.option("--check", is_flag=True, help="Exit 1 if an agent's model cannot be used.")
@remote_options
@timeout_option(ASKED_TIMEOUT_S)
@json_option
@click.pass_obj
def status(state: State, plain: bool, check: bool, where: RemoteOptions, timeout_s: float) -> int:
    """Show which models the agents use, what they lack, and what a running gateway learned of their servers."""
    loaded = state.load()
    report = status_report(loaded.config, str(loaded.path), state)
    if not plain:
        report |= learned_part(state, where, timeout_s)
    if state.as_json:
        print_json(report)
    elif plain:
        say(report["resolvedDefault"])
    else:
        say(f"Config: {report['configPath']}")
        say(f"Default model: {report['resolvedDefault']}")
        if report["fallbacks"]:
            say(f"Fallbacks: {', '.join(report['fallbacks'])}")
        rows = [(row["provider"], *row["effective"].values()) for row in report["auth"]["providers"]]
        if rows:
            print_table(("Provider", "Credential", "Value"), rows)
        for trouble in report["auth"]["modelRouteIssues"]:
            say(f"{trouble['model']}: {trouble['message']}")
        for lesson in report["learned"] or ():
            setting = lesson.get("setting")
            hint = f" (to say so for good: {setting})" if setting else ""
            say(f"{lesson.get('model')}: {lesson.get('field')} is left out, as the server refuses it{hint}")
        if report["learnedError"] is not None:
            say(f"What the running gateway learned is not known: {report['learnedError']}")
    lacks = report["auth"]["missingProvidersInUse"] or report["auth"]["modelRouteIssues"]
    return 1 if check and lacks else 0


def learned_part(state: State, where: RemoteOptions, timeout_s: float) -> dict[str, Any]:
    """
    What the running gateway learned of the servers of models.

    @return: C{learned}, a list, or C{None} if no gateway runs here and none is named; C{learnedError}, why it is not
        known.
    """
    told: dict[str, Any] = {"learned": None, "learnedError": None}
    try:
        remote = find_remote(state, where)
        if remote.kind == "localLoopback" and running_pid(state.paths.lock_path) is None:
            return told
        answer = run_call(remote, "models.learned", timeout_s=timeout_s)
        told["learned"] = rows_of(part(answer), "learned")
    except OpenClawError as error:
        told["learnedError"] = state.advice(error.message)
    return told


def status_report(config: Config, config_path: str, state: State) -> dict[str, Any]:
    """The report as the original's C{models status --json} has it; what there is none of is empty."""
    agents = config.agents
    default_agent = agents.default_agent_id or agents.agent_ids[0]
    choice = agents.model_for(default_agent)
    used = dict.fromkeys(agent_model_ref(config, agent_id) for agent_id in agents.agent_ids)
    for agent_id in agents.agent_ids:
        own = agents.model_for(agent_id)
        used |= dict.fromkeys(own.fallbacks if own is not None else ())
    rows = {row["key"]: row for row in model_rows(config, state.paths.models_dir)}
    issues = []
    for ref in used:
        row = rows.get(ref, {"key": ref, "available": config.models.why_not_served(ref) is None})
        if not row["available"]:
            issues.append({"model": ref, "message": state.advice(why_unavailable(config, row))})
    providers = [_provider_row(name, config) for name in config.models.providers]
    without = [ref.partition("/")[0] for ref in used if config.models.why_not_served(ref) is not None]
    return {
        "configPath": config_path,
        "defaultModel": choice.primary if choice is not None else None,
        "resolvedDefault": agent_model_ref(config, default_agent),
        "fallbacks": list(choice.fallbacks) if choice is not None else [],
        "imageModel": None,
        "imageFallbacks": [],
        "aliases": {},
        "allowed": [],
        "auth": {"missingProvidersInUse": sorted(set(without)), "modelRouteIssues": issues, "providers": providers},
    }


def _provider_row(name: str, config: Config) -> dict[str, Any]:
    """A provider and how we show who we are; of a key only its ends, and that only if it is long."""
    provider = config.models.providers[name]
    key = provider.api_key
    header = None if provider.request is None or provider.request.auth is None else provider.request.auth.header
    if header is not None and not header[1].usable:
        effective = {"kind": "missing", "detail": f"needs {', '.join(header[1].missing) or 'a value'}"}
    elif header is not None:
        effective = {"kind": "request.auth", "detail": f"in the header {header[0]}"}
    elif key is None:
        effective = {"kind": "none", "detail": "no key is configured"}
    elif not key.usable:
        effective = {"kind": "missing", "detail": f"needs {', '.join(key.missing) or 'a value'}"}
    else:
        text = key.reveal()
        ends = f"{text[:2]}...{text[-2:]}" if len(text) >= 12 else "..."
        effective = {"kind": "models.json" if key.literal else "env", "detail": ends}
    return {"provider": name, "effective": effective}
