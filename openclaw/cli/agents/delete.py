"""C{openclaw agents delete}: one agent less in the configuration."""

from __future__ import annotations

import sys

import click

from openclaw.cli.config.editing import apply, report
from openclaw.cli.output import State, json_option
from openclaw.errors import OpenClawError
from openclaw.ids import normalise_agent_id


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
