"""C{openclaw agents add} and C{delete}: the roster of the configuration file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from openclaw.cli.output import State, json_option, print_json
from openclaw.errors import OpenClawError

if TYPE_CHECKING:
    from openclaw.config.agents import AgentsConfig


@click.command()
@click.argument("name")
@click.option("--workspace", type=click.Path(path_type=Path), help="Folder of its files.")
@click.option("--model", metavar="PROVIDER/MODEL", help="Its model; without this that of the defaults.")
@click.option("--agent-dir", metavar="PATH", help="Accepted as in the original, and not used.")
@click.option("--bind", "bindings", multiple=True, metavar="CHANNEL", help="Not available yet: there are no channels.")
@click.option("--non-interactive", is_flag=True, help="Ask nothing; this command never asks.")
@json_option
@click.pass_obj
def add(
    state: State,
    name: str,
    workspace: Path | None,
    model: str | None,
    agent_dir: str | None,
    bindings: tuple[str, ...],
    non_interactive: bool,
    as_json: bool,
) -> None:
    """Add an agent to the configuration.

    NAME becomes its id: 1 to 64 letters, digits, _ and -. The agent that answered requests which name none goes on to
    do so.
    """
    from openclaw.cli.config.editing import apply, outcome, tell
    from openclaw.ids import normalise_agent_id

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
    if as_json:
        print_json({"ok": True, "agentId": agent_id, **entry, **outcome(edit)})
    else:
        tell(edit, f"added the agent {agent_id}")


def with_agent(document: Any, agent_id: str, entry: dict[str, Any]) -> Any:
    """
    A document with one more agent.

    @raise OpenClawError: if there is one of that id, or the roster cannot be used.
    """
    from openclaw.config.agents import IMPLICIT_AGENT
    from openclaw.config.edit_document import with_value

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


@click.command()
@click.argument("name")
@click.option("--force", is_flag=True, help="Do not ask.")
@json_option
@click.pass_obj
def delete(state: State, name: str, force: bool, as_json: bool) -> None:
    """Delete an agent from the configuration; its sessions and files stay."""
    from openclaw.cli.config.editing import apply, outcome, tell
    from openclaw.ids import normalise_agent_id

    agent_id = normalise_agent_id(name) or name
    if not force:
        if as_json or not sys.stdin.isatty():
            raise OpenClawError(f"this deletes the agent {agent_id} from the configuration; add --force")
        if not click.confirm(f"Delete the agent {agent_id} from the configuration?"):
            raise OpenClawError("nothing was changed")
    edit = apply(state, lambda document: without_agent(document, agent_id))
    if as_json:
        print_json({"ok": True, "agentId": agent_id, **outcome(edit)})
    else:
        tell(edit, f"deleted the agent {agent_id}")


def without_agent(document: Any, agent_id: str) -> Any:
    """
    A document without an agent.

    @raise OpenClawError: if there is none of that id, or it is the one that answers requests which name none.
    """
    from openclaw.config.edit_document import without_value
    from openclaw.ids import normalise_agent_id

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
    section = document["agents"]
    for written in section.get("entries", {}):
        if normalise_agent_id(written) == agent_id:
            document = without_value(document, ("agents", "entries", written))
    for index in reversed(range(len(section.get("list", ())))):
        if normalise_agent_id(str(section["list"][index].get("id"))) == agent_id:
            document = without_value(document, ("agents", "list", str(index)))
    return document


def roster_of(document: Any) -> AgentsConfig:
    """
    The agents of a document.

    @raise openclaw.errors.ConfigError: if the document cannot be used.
    """
    import os

    from openclaw.config.load import parse_config

    return parse_config(document, os.environ)[0].agents
