"""C{openclaw agents add}, C{delete} and C{list}: the agents of the configuration, or of a gateway elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from openclaw.cli.client.calls import run_call
from openclaw.cli.client.remote import RemoteOptions, find_remote, remote_options
from openclaw.cli.client.told import part, rows
from openclaw.cli.config.editing import apply, report
from openclaw.cli.options import timeout_option
from openclaw.cli.output import State, json_option, print_json
from openclaw.cli.tables import print_table
from openclaw.errors import OpenClawError
from openclaw.ids import normalise_agent_id

if TYPE_CHECKING:
    from openclaw.config.load import LoadedConfig


@click.command()
@click.argument("name")
@click.option("--workspace", type=click.Path(path_type=Path), help="Folder of its files.")
@click.option("--model", metavar="PROVIDER/MODEL", help="Its model; without this that of the defaults.")
@click.option("--agent-dir", metavar="PATH", help="Accepted as in the original, and not used.")
@click.option("--bind", "bindings", multiple=True, metavar="CHANNEL", help="Not available yet: there are no channels.")
@click.option("--non-interactive", is_flag=True, expose_value=False, help="Ask nothing; this command never asks.")
@json_option
@click.pass_obj
def add(
    state: State,
    name: str,
    workspace: Path | None,
    model: str | None,
    agent_dir: str | None,
    bindings: tuple[str, ...],
) -> None:
    """Add an agent to the configuration.

    NAME becomes its id: 1 to 64 letters, digits, _ and -. The agent that answered requests which name none goes on to
    do so.
    """
    from openclaw.cli.agents.roster import with_agent

    if bindings:
        raise OpenClawError("--bind: channels are not available yet; leave it away")
    agent_id = normalise_agent_id(name)
    if agent_id is None:
        raise OpenClawError(f"{name[:80]!r} is no agent id: 1 to 64 letters, digits, _ and -, the first no - or _")
    entry = {
        "name": name if name != agent_id else None,
        "workspace": str(workspace.expanduser().absolute()) if workspace is not None else None,
        "model": model,
        "agentDir": agent_dir,
    }
    entry = {key: value for key, value in entry.items() if value is not None}
    edit = apply(state, lambda document: with_agent(document, agent_id, entry))
    report(state, edit, f"added the agent {agent_id}", agentId=agent_id, **entry)


@click.command()
@click.argument("name")
@click.option("--force", is_flag=True, help="Do not ask.")
@json_option
@click.pass_obj
def delete(state: State, name: str, force: bool) -> None:
    """Delete an agent from the configuration; its sessions and files stay."""
    from openclaw.cli.agents.roster import without_agent

    agent_id = normalise_agent_id(name) or name
    if not force:
        if state.as_json or not sys.stdin.isatty():
            raise OpenClawError(f"this deletes the agent {agent_id} from the configuration; add --force")
        if not click.confirm(f"Delete the agent {agent_id} from the configuration?"):
            raise OpenClawError("nothing was changed")
    edit = apply(state, lambda document: without_agent(document, agent_id))
    report(state, edit, f"deleted the agent {agent_id}", agentId=agent_id)


@click.command("list")
@remote_options
@timeout_option()
@json_option
@click.pass_obj
def list_agents(state: State, where: RemoteOptions, timeout_s: float) -> None:
    """List the agents of the configuration, or with --url those of a running gateway."""
    if where.url is None:
        listed = agent_rows(state.load())
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


def agent_rows(loaded: LoadedConfig) -> list[dict[str, Any]]:
    """The agents of a configuration as the original's C{agents list --json} has them."""
    from openclaw.agents.resolve import agent_model_ref

    config = loaded.config
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
