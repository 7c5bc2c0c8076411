"""C{GET /v1/models} and C{GET /v1/models/<id>}: the agents, as an OpenAI client lists models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from openclaw.agents.resolve import model_names
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
        entries = [self._entry(name) for name in model_names(self._current_config())]
        return send(request, 200, json_body({"object": "list", "data": entries}))

    def get(self, request: GatewayRequest, name: str) -> bytes:
        """One of them; L{NotFound} if there is no such model."""
        if name not in model_names(self._current_config()):
            raise NotFound("there is no such model", code="model_not_found", param="model")
        return send(request, 200, json_body(self._entry(name)))

    def _entry(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._created_s, "owned_by": "openclaw"}
