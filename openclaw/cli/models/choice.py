"""The choice of model in a configuration file."""

from __future__ import annotations

from typing import Any

from openclaw.cli.agents.roster import place_of
from openclaw.config.edit_document import value_at, with_value


def with_model(document: Any, model: str, agent: str | None = None) -> Any:
    """
    A document with another first choice of model.

    @param agent: the agent whose model it is; C{None} for the defaults.
    @raise OpenClawError: if there is no such agent.
    """
    place = ("agents", "defaults") if agent is None else place_of(document, agent)
    if isinstance(value_at(document, (*place, "model")), str):
        return with_value(document, (*place, "model"), model)
    return with_value(document, (*place, "model", "primary"), model)
