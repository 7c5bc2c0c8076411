"""C{openclaw models set}: choose the model of the agents."""

from __future__ import annotations

from typing import Any

import click

from openclaw.cli.output import State, json_option, print_json
from openclaw.errors import OpenClawError


@click.command("set")
@click.argument("model", metavar="PROVIDER/MODEL")
@click.option("--agent", "agent", metavar="ID", help="The model of this agent; without this that of the defaults.")
@json_option
@click.pass_obj
def set_model(state: State, model: str, agent: str | None, as_json: bool) -> None:
    """Choose the default model; the fallbacks stay."""
    from openclaw.cli.config.editing import apply, outcome, tell
    from openclaw.config.checks import ModelRef

    fault = ModelRef().fault(model)
    if fault is not None:
        raise OpenClawError(f"{model[:200]}: {fault}")
    edit = apply(state, lambda document: with_model(document, model, agent))
    if as_json:
        print_json({"ok": True, "model": model, **outcome(edit)})
    else:
        whose = "the default model" if agent is None else f"the model of {agent}"
        tell(edit, f"{whose} is now {model}")


def with_model(document: Any, model: str, agent: str | None = None) -> Any:
    """
    A document with another first choice of model.

    @param agent: the agent whose model it is; C{None} for the defaults.
    @raise OpenClawError: if there is no such agent.
    """
    from openclaw.config.edit_document import value_at, with_value

    place = ("agents", "defaults") if agent is None else _place_of(document, agent)
    if isinstance(value_at(document, (*place, "model")), str):
        return with_value(document, (*place, "model"), model)
    return with_value(document, (*place, "model", "primary"), model)


def _place_of(document: Any, agent: str) -> tuple[str, ...]:
    from openclaw.cli.agents.edit import roster_of
    from openclaw.ids import normalise_agent_id

    agent_id = normalise_agent_id(agent)
    roster_of(document)  # a roster that cannot be used is told as such
    section = document.get("agents", {})
    for written in section.get("entries", {}):
        if normalise_agent_id(written) == agent_id:
            return ("agents", "entries", written)
    for index, listed in enumerate(section.get("list", ())):
        if normalise_agent_id(listed["id"]) == agent_id:
            return ("agents", "list", str(index))
    raise OpenClawError(
        f"there is no agent {agent[:80]} in the configuration; add it: openclaw agents add {agent[:80]}"
    )
