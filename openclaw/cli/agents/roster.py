"""The agents of a configuration file: one more, one less, another model."""

from __future__ import annotations

import os
from typing import Any

from openclaw.config.agents import IMPLICIT_AGENT, AgentsConfig
from openclaw.config.edit_document import value_at, with_value, without_value
from openclaw.config.load import parse_config
from openclaw.errors import OpenClawError
from openclaw.ids import normalise_agent_id


def with_agent(document: Any, agent_id: str, entry: dict[str, Any]) -> Any:
    """
    A document with one more agent.

    @raise OpenClawError: if there is one of that id, or the roster cannot be used.
    """
    agents = roster_of(document)
    if agent_id in agents.entries:
        raise OpenClawError(f"there is an agent {agent_id} already; change it with: openclaw config set")
    default = agents.default_agent_id
    if not agents.entries and agent_id != IMPLICIT_AGENT:
        # whoever names no agent speaks with the implicit one, which a roster without it would end
        document = with_value(document, ("agents", "entries", IMPLICIT_AGENT), {})
    listed = document.get("agents", {}).get("list")
    if listed:
        document = with_value(document, ("agents", "list", str(len(listed))), {"id": agent_id, **entry})
    else:
        document = with_value(document, ("agents", "entries", agent_id), entry)
    is_named = agents.defaults.system_agent is not None or any(one.default for one in agents.entries.values())
    if default is not None and default != agent_id and not is_named:
        document = with_value(document, ("agents", "defaults", "systemAgent", "agentId"), default)
    return document


def without_agent(document: Any, agent_id: str) -> Any:
    """
    A document without an agent.

    @raise OpenClawError: if there is none of that id, or it is the one that answers requests which name none.
    """
    agents = roster_of(document)
    if agent_id not in agents.entries:
        known = ", ".join(agents.entries) or "none is named, which leaves main alone"
        raise OpenClawError(f"there is no agent {agent_id} in the configuration ({known})")
    if len(agents.entries) == 1:
        raise OpenClawError(f"{agent_id} is the only agent; add another one first: openclaw agents add NAME")
    rest = [one for one in agents.entries if one != agent_id]
    if agents.default_agent_id == agent_id:
        raise OpenClawError(
            f"{agent_id} answers requests that name no agent; choose another one first: "
            f"openclaw config set agents.defaults.systemAgent.agentId {rest[0]}"
        )
    for place in reversed(_places(document, agent_id)):
        document = without_value(document, place)
    return document


def roster_of(document: Any) -> AgentsConfig:
    """The agents of a document; a L{openclaw.errors.ConfigError} if it cannot be used."""
    return parse_config(document, os.environ)[0].agents


def _places(document: Any, agent_id: str | None) -> list[tuple[str, ...]]:
    """Where an agent stands in a document."""
    section = document.get("agents", {})
    written = [(("entries", name), name) for name in section.get("entries", {})]
    written += [(("list", str(index)), str(one.get("id"))) for index, one in enumerate(section.get("list", ()))]
    return [("agents", *place) for place, name in written if normalise_agent_id(name) == agent_id]


def with_model(document: Any, model: str, agent: str | None = None) -> Any:
    """
    A document with another first choice of model.

    @param agent: the agent whose model it is; C{None} for the defaults.
    @raise OpenClawError: if there is no such agent.
    """
    place: tuple[str, ...] = ("agents", "defaults")
    if agent is not None:
        roster_of(document)  # a roster that cannot be used is told as such
        place = next(iter(_places(document, normalise_agent_id(agent))), ())
        if not place:
            name = agent[:80]
            raise OpenClawError(f"there is no agent {name} in the configuration; add it: openclaw agents add {name}")
    if isinstance(value_at(document, (*place, "model")), str):
        return with_value(document, (*place, "model"), model)
    return with_value(document, (*place, "model", "primary"), model)
