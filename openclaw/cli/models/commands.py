"""C{openclaw models list}, C{set} and C{status}: the models of the configuration, and which of them agents use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from openclaw.cli.config.editing import apply, report
from openclaw.cli.output import State, json_option, print_json, say
from openclaw.cli.tables import print_table
from openclaw.config.checks import MODEL_REF
from openclaw.errors import OpenClawError

if TYPE_CHECKING:
    from openclaw.config.schema import Config


@click.command("list")
@click.option("--all", "_all", is_flag=True, expose_value=False, help="Accepted; all that are configured are shown.")
@click.option("--local", "only_local", is_flag=True, help="Show the embedded model only.")
@click.option("--provider", metavar="ID", help="Show the models of this provider only.")
@click.option("--plain", is_flag=True, help="Print PROVIDER/MODEL and nothing else, a line for each.")
@json_option
@click.pass_obj
def list_models(state: State, only_local: bool, provider: str | None, plain: bool) -> None:
    """List the models of the configuration."""
    from openclaw.cli.models.available import model_rows, why_unavailable

    config = state.load().config
    rows = [
        row
        for row in model_rows(config, state.paths.models_dir)
        if (row["local"] or not only_local) and (provider is None or row["key"].startswith(f"{provider}/"))
    ]
    if state.as_json:
        print_json({"count": len(rows), "models": rows})
        return
    if plain:
        for row in rows:
            say(row["key"])
        return
    if not rows:
        say("no such model is configured")
        return
    width = max(len(row["key"]) for row in rows)
    for row in rows:
        tags = f"  [{', '.join(row['tags'])}]" if row["tags"] else ""
        window = f"{row['contextWindow']:>9,} tokens" if row["contextWindow"] else f"{'?':>9} tokens"
        trouble = "" if row["available"] else f"  ({state.advice(why_unavailable(config, row))})"
        click.echo(f"{row['key']:<{width}}{window}{tags}{trouble}")


@click.command("set")
@click.argument("model", metavar="PROVIDER/MODEL")
@click.option("--agent", "agent", metavar="ID", help="The model of this agent; without this that of the defaults.")
@json_option
@click.pass_obj
def set_model(state: State, model: str, agent: str | None) -> None:
    """Choose the default model; the fallbacks stay."""
    from openclaw.cli.agents.roster import with_model

    fault = MODEL_REF.fault(model)
    if fault is not None:
        raise OpenClawError(f"{model[:200]}: {fault}")
    edit = apply(state, lambda document: with_model(document, model, agent))
    whose = "the default model" if agent is None else f"the model of {agent}"
    report(state, edit, f"{whose} is now {model}", model=model)


@click.command()
@click.option("--plain", is_flag=True, help="Print the default model and nothing else.")
@click.option("--check", is_flag=True, help="Exit 1 if an agent's model cannot be used.")
@json_option
@click.pass_obj
def status(state: State, plain: bool, check: bool) -> int:
    """Show which models the agents use, and what they lack."""
    loaded = state.load()
    report = status_report(loaded.config, str(loaded.path), state)
    missing = report["auth"]["missingProvidersInUse"]
    if state.as_json:
        print_json(report)
    elif plain:
        say(report["resolvedDefault"])
    else:
        say(f"Config: {report['configPath']}")
        say(f"Default model: {report['resolvedDefault']}")
        if report["fallbacks"]:
            say(f"Fallbacks: {', '.join(report['fallbacks'])}")
        rows = [
            (row["provider"], row["effective"]["kind"], row["effective"]["detail"])
            for row in report["auth"]["providers"]
        ]
        if rows:
            print_table(("Provider", "Credential", "Value"), rows)
        for trouble in report["auth"]["modelRouteIssues"]:
            say(f"{trouble['model']}: {trouble['message']}")
    if (missing or report["auth"]["modelRouteIssues"]) and check:
        return 1
    return 0


def status_report(config: Config, config_path: str, state: State) -> dict[str, Any]:
    """The report as the original's C{models status --json} has it; what there is none of is empty."""
    from openclaw.agents.resolve import agent_model_ref
    from openclaw.cli.models.available import model_rows, why_unavailable

    agents = config.agents
    default_agent = agents.default_agent_id or agents.agent_ids[0]
    choice = agents.model_for(default_agent)
    resolved = agent_model_ref(config, default_agent)
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
        "resolvedDefault": resolved,
        "fallbacks": list(choice.fallbacks) if choice is not None else [],
        "imageModel": None,
        "imageFallbacks": [],
        "aliases": {},
        "allowed": [],
        "auth": {"missingProvidersInUse": sorted(set(without)), "modelRouteIssues": issues, "providers": providers},
    }


def _provider_row(name: str, config: Config) -> dict[str, Any]:
    """A provider and how we show who we are; of a key only its ends, and that only if it is long."""
    key = config.models.providers[name].api_key
    if key is None:
        effective = {"kind": "none", "detail": "no key is configured"}
    elif not key.usable:
        effective = {"kind": "missing", "detail": f"needs {', '.join(key.missing) or 'a value'}"}
    else:
        text = key.reveal()
        ends = f"{text[:2]}...{text[-2:]}" if len(text) >= 12 else "..."
        effective = {"kind": "models.json" if key.literal else "env", "detail": ends}
    return {"provider": name, "effective": effective}
