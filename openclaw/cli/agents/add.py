"""C{openclaw agents add}: one more agent in the configuration."""

from __future__ import annotations

from pathlib import Path

import click

from openclaw.cli.config.editing import apply, report
from openclaw.cli.output import State, json_option
from openclaw.errors import OpenClawError
from openclaw.ids import normalise_agent_id


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
    state: State, name: str, workspace: Path | None, model: str | None, agent_dir: str | None, bindings: tuple[str, ...]
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
