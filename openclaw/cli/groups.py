"""The groups that do nothing themselves; their commands are imported when they are used."""

from __future__ import annotations

from openclaw.cli.lazy import lazy_group

agents = lazy_group(
    "openclaw.cli.agents",
    "List, add and delete agents.",
    {
        "add": ("commands", "add", "Add an agent."),
        "delete": ("commands", "delete", "Delete an agent."),
        "list": (
            "commands",
            "list_agents",
            "List the agents of the configuration, or with --url those of a running gateway.",
        ),
    },
)

backup = lazy_group(
    "openclaw.cli.backup",
    "Copy configuration and store; verify and restore a copy.",
    {
        "create": ("commands", "create", "Write configuration and store into one file."),
        "restore": ("commands", "restore", "Put configuration and store of a backup in place."),
        "verify": ("commands", "verify", "Check every part of a backup; exit 1 if one is damaged."),
    },
)

config = lazy_group(
    "openclaw.cli.config",
    "Show, change and check the configuration.",
    {
        "file": ("show", "file", "Print where the configuration file is."),
        "get": ("show", "get", "Print a value of the configuration file, or the whole of it; secrets are hidden."),
        "patch": ("change", "patch", "Merge an object into the configuration file."),
        "schema": (
            "show",
            "schema",
            "Print the JSON Schema of the configuration file; it is JSON with or without --json.",
        ),
        "set": ("change", "set_value", "Set a value; comments stay."),
        "unset": ("change", "unset", "Remove a value from the configuration file; exit 1 if there is none."),
        "validate": (
            "show",
            "validate",
            "Check the configuration; exit 1 and name every problem if it cannot be used.",
        ),
    },
)

models = lazy_group(
    "openclaw.cli.models",
    "List and choose models; fetch the embedded one.",
    {
        "list": ("commands", "list_models", "List the models of the configuration."),
        "pull": ("pull", "pull", "Fetch the weights of an embedded model into the state folder."),
        "set": ("commands", "set_model", "Choose the default model."),
        "status": ("commands", "status", "Show which models agents use, and what they lack."),
    },
)
