"""C{openclaw agents}: the agents of the configuration, or of a gateway elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from openclaw.cli.client.remote import RemoteOptions, find_remote, remote_options, timeout_option
from openclaw.cli.client.told import part, rows
from openclaw.cli.lazy import LazyGroup
from openclaw.cli.output import State, json_option, print_json
from openclaw.cli.tables import print_table

if TYPE_CHECKING:
    from openclaw.config.load import LoadedConfig

COMMANDS = {
    "add": ("openclaw.cli.agents.edit", "add", "Add an agent."),
    "delete": ("openclaw.cli.agents.edit", "delete", "Delete an agent."),
}
"""The commands besides those below."""


@click.group(cls=LazyGroup, commands_at=COMMANDS)
def agents() -> None:
    """List, add and delete agents."""


@agents.command("list")
@remote_options
@timeout_option()
@json_option
@click.pass_obj
def list_agents(
    state: State, url: str | None, token: str | None, password: str | None, timeout_s: float, as_json: bool
) -> None:
    """List the agents of the configuration, or with --url those of a running gateway."""
    if url is None:
        listed = agent_rows(state.load(), str(state.paths.state_dir))
    else:
        remote = find_remote(state, RemoteOptions(url, token, password))
        from openclaw.cli.client.loop import run_call

        listed = told_rows(run_call(remote, "agents.list", timeout_s=timeout_s))
    if as_json:
        print_json(listed)
        return
    print_table(
        ("Agent", "Model", "Workspace"),
        [
            (f"{row.get('id')}{' (default)' if row['isDefault'] else ''}", row.get("model"), row.get("workspace"))
            for row in listed
        ],
    )


def agent_rows(loaded: LoadedConfig, state_dir: str) -> list[dict[str, Any]]:
    """The agents of a configuration as the original's C{agents list --json} has them."""
    from openclaw.agents.resolve import agent_model_ref

    config = loaded.config
    default = config.agents.default_agent_id
    listed = []
    for agent_id in config.agents.agent_ids:
        entry = config.agents.entries.get(agent_id)
        workspace = (entry.workspace if entry is not None else None) or config.agents.defaults.workspace
        row = {
            "id": agent_id,
            "name": entry.name if entry is not None else None,
            "workspace": workspace,
            "model": agent_model_ref(config, agent_id),
            "bindings": 0,
            "isDefault": agent_id == default,
        }
        listed.append({name: value for name, value in row.items() if value is not None})
    return listed


def told_rows(payload: Any) -> list[dict[str, Any]]:
    """The same of the answer of C{agents.list}."""
    told = part(payload)
    listed = []
    for agent in rows(told, "agents"):
        model = agent.get("model")
        row = {
            "id": agent.get("id"),
            "name": agent.get("name"),
            "workspace": agent.get("workspace"),
            "model": model.get("primary") if isinstance(model, dict) else model,
            "bindings": 0,
            "isDefault": agent.get("id") == told.get("defaultId"),
        }
        listed.append({name: value for name, value in row.items() if value is not None})
    return listed
