"""The group C{openclaw models}."""

from __future__ import annotations

from openclaw.cli.lazy import lazy_group

models = lazy_group(
    "openclaw.cli.models",
    "List and choose models; fetch the embedded one.",
    {
        "list": ("list_models", "List the models of the configuration."),
        "pull": ("pull", "Fetch the weights of an embedded model into the state folder."),
        "set": ("set_model", "Choose the default model."),
        "status": ("status", "Show which models agents use, and what they lack."),
    },
)
"""Its commands are imported when they are used."""
