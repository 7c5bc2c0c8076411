"""The group C{openclaw backup}."""

from __future__ import annotations

from openclaw.cli.lazy import lazy_group

backup = lazy_group(
    "openclaw.cli.backup",
    "Copy configuration and store; verify and restore a copy.",
    {
        "create": ("create", "Write configuration and store into one file."),
        "restore": ("restore", "Put configuration and store of a backup in place."),
        "verify": ("verify", "Check every part of a backup; exit 1 if one is damaged."),
    },
)
"""Its commands are imported when they are used."""
