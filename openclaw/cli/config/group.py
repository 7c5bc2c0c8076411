"""The group C{openclaw config}."""

from __future__ import annotations

from openclaw.cli.lazy import lazy_group

config = lazy_group(
    "openclaw.cli.config",
    "Show, change and check the configuration.",
    {
        "file": ("file", "Print where the configuration file is."),
        "get": ("get", "Print a value of the configuration file, or the whole of it; secrets are hidden."),
        "patch": ("patch", "Merge an object into the configuration file."),
        "schema": ("schema", "Print the JSON Schema of the configuration file; it is JSON with or without --json."),
        "set": ("set_value", "Set a value; comments stay."),
        "unset": ("unset", "Remove a value from the configuration file; exit 1 if there is none."),
        "validate": ("validate", "Check the configuration; exit 1 and name every problem if it cannot be used."),
    },
)
"""Its commands are imported when they are used."""
