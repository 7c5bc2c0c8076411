"""The group C{openclaw agents}."""

from __future__ import annotations

from openclaw.cli.lazy import lazy_group

agents = lazy_group(
    "openclaw.cli.agents",
    "List, add and delete agents.",
    {
        "add": ("add", "Add an agent."),
        "delete": ("delete", "Delete an agent."),
        "list": ("list_agents", "List the agents of the configuration, or with --url those of a running gateway."),
    },
)
"""Its commands are imported when they are used."""
