"""C{openclaw agents list}: the agents of the configuration, or of a gateway elsewhere."""

from __future__ import annotations

from typing import Any

import click

from openclaw.agents.resolve import agent_model_ref
from openclaw.cli.client.calls import run_call
from openclaw.cli.client.remote import RemoteOptions, find_remote, remote_options
from openclaw.cli.client.told import part, rows
from openclaw.cli.options import timeout_option
from openclaw.cli.output import State, json_option, print_json
from openclaw.cli.tables import print_table
from openclaw.config.schema import Config


@click.command("list")
@remote_options
@timeout_option()
@json_option
@click.pass_obj
def list_agents(state: State, where: RemoteOptions, timeout_s: float) -> None:
    """List the agents of the configuration, or with --url those of a running gateway."""
    if where.url is None:
        listed = agent_rows(state.load().config)
    else:
        listed = told_rows(run_call(find_remote(state, where), "agents.list", timeout_s=timeout_s))
    if state.as_json:
        print_json(listed)
        return
    print_table(
        ("Agent", "Model", "Workspace"),
        [
            (f"{row.get('id')}{' (default)' if row['isDefault'] else ''}", row.get("model"), row.get("workspace"))
            for row in listed
        ],
    )


def agent_rows(config: Config) -> list[dict[str, Any]]:
    """The agents of a configuration as the original's C{agents list --json} has them."""
    default = config.agents.default_agent_id
    listed = []
    for agent_id in config.agents.agent_ids:
        entry = config.agents.entries.get(agent_id)
        workspace = (entry.workspace if entry is not None else None) or config.agents.defaults.workspace
        name, model = entry.name if entry is not None else None, agent_model_ref(config, agent_id)
        listed.append(_row(agent_id, name, workspace, model, is_default=agent_id == default))
    return listed


def told_rows(payload: Any) -> list[dict[str, Any]]:
    """The same of the answer of C{agents.list}."""
    told = part(payload)
    listed = []
    for agent in rows(told, "agents"):
        model = agent.get("model")
        model = model.get("primary") if isinstance(model, dict) else model
        agent_id, is_default = agent.get("id"), agent.get("id") == told.get("defaultId")
        listed.append(_row(agent_id, agent.get("name"), agent.get("workspace"), model, is_default=is_default))
    return listed


def _row(agent_id: Any, name: Any, workspace: Any, model: Any, *, is_default: bool) -> dict[str, Any]:
    row = {"id": agent_id, "name": name, "workspace": workspace, "model": model, "bindings": 0, "isDefault": is_default}
    return {field: value for field, value in row.items() if value is not None}
