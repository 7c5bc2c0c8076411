"""C{GET /v1/models} and C{GET /v1/models/<id>}: the agents, as an OpenAI client lists models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from openclaw.agents.resolve import MODEL_ALIAS, model_agent, model_names
from openclaw.config.schema import Config
from openclaw.errors import NotFound
from openclaw.http.answers.respond import json_body, send
from openclaw.http.connection.request import GatewayRequest


@attrs.frozen
class ModelList:
    """The routes; every entry shows the gateway's start in seconds since 1970."""

    _current_config: Callable[[], Config]
    _created_s: int

    def list(self, request: GatewayRequest) -> bytes:
        """All models that would work."""
        config = self._current_config()
        entries = [self._entry(config, name) for name in model_names(config)]
        return send(request, 200, json_body({"object": "list", "data": entries}))

    def get(self, request: GatewayRequest, name: str) -> bytes:
        """One of them; L{NotFound} if there is no such model."""
        config = self._current_config()
        if name not in model_names(config):
            raise NotFound("there is no such model", code="model_not_found", param="model")
        return send(request, 200, json_body(self._entry(config, name)))

    def _entry(self, config: Config, name: str) -> dict[str, Any]:
        agent_id = model_agent(config, name)
        entry = config.agents.entries.get(agent_id)
        shown = (entry.name if entry is not None else None) or agent_id
        if name in (MODEL_ALIAS, f"{MODEL_ALIAS}/default"):
            # Menus have all three names of the default agent.
            shown = f"{shown} (default)"
        return {"id": name, "object": "model", "created": self._created_s, "owned_by": "openclaw", "name": shown}
