"""C{agents.list}: the agents of the configuration."""

from __future__ import annotations

from typing import Any

from openclaw.agents.resolve import agent_model_ref
from openclaw.auth.scopes import READ
from openclaw.config.reload import LiveConfig
from openclaw.config.schema import Config
from openclaw.methods.checks import MAIN_SESSION
from openclaw.methods.table import Call, Method, NoParams


def agents_payload(config: Config) -> dict[str, Any]:
    """
    The agents, in the order of the configuration.

    Where none of several is the default, C{selectionRequired} says so, and C{defaultId} is the first one: clients
    need one to begin with.
    """
    agents = config.agents
    return {
        "defaultId": agents.default_agent_id or agents.agent_ids[0],
        "mainKey": MAIN_SESSION,
        "scope": "per-sender",
        "ownership": "sole" if len(agents.agent_ids) == 1 else "explicit",
        "selectionRequired": agents.default_agent_id is None,
        "agents": [_row(config, agent_id) for agent_id in agents.agent_ids],
    }


def _row(config: Config, agent_id: str) -> dict[str, Any]:
    entry = config.agents.entries.get(agent_id)
    choice = config.agents.model_for(agent_id)
    model: dict[str, Any] = {"primary": agent_model_ref(config, agent_id)}
    if choice is not None and choice.fallbacks:
        model["fallbacks"] = list(choice.fallbacks)
    row: dict[str, Any] = {"id": agent_id, "kind": "agent", "model": model}
    workspace = config.agents.defaults.workspace
    if entry is not None:
        workspace = entry.workspace or workspace
        row |= {name: text for name, text in (("name", entry.name), ("description", entry.description)) if text}
    return {**row, "workspace": workspace} if workspace else row


def agents_methods(live: LiveConfig) -> tuple[Method, ...]:
    """The methods of this family."""

    async def list_agents(call: Call, params: NoParams) -> dict[str, Any]:
        """The agents of the configuration in force."""
        return agents_payload(live.current)

    return (Method("agents.list", READ, NoParams, list_agents),)
