"""C{openclaw models set}: choose the model of the agents."""

from __future__ import annotations

import click

from openclaw.cli.config.editing import apply, report
from openclaw.cli.output import State, json_option
from openclaw.config.checks import MODEL_REF
from openclaw.errors import OpenClawError


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
