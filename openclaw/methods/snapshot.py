"""How things stand, for the greeting of a client that has just connected; all of it is there at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from openclaw.config.auth_mode import effective_auth
from openclaw.config.reload import LiveConfig
from openclaw.interfaces import HealthSource
from openclaw.methods.agents import agents_payload
from openclaw.methods.health import HealthReport


@attrs.frozen
class GatewaySnapshot:
    """
    What the layer of the connections does not know itself.

    @ivar environ: the process's environment, for a configuration that does not know its own.
    """

    report: HealthReport
    live: LiveConfig
    source: HealthSource
    config_path: Path
    state_dir: Path
    environ: Mapping[str, str] = attrs.field(repr=False)

    def health(self) -> dict[str, Any]:
        """What the method C{health} answers everybody, with sessions as they were counted last."""
        return self.report.payload()

    def session_defaults(self) -> dict[str, Any]:
        """The agent and the session that a client begins with."""
        agents = agents_payload(self.live.current)
        agent_id, main_key = agents["defaultId"], agents["mainKey"]
        return {
            "defaultAgentId": agent_id,
            # The embedded model is there without any configuration.
            "modelConfigured": True,
            "ownership": agents["ownership"],
            "selectionRequired": agents["selectionRequired"],
            "mainKey": main_key,
            "mainSessionKey": f"agent:{agent_id}:{main_key}",
            "scope": agents["scope"],
        }

    def uptime_ms(self) -> int:
        """Milliseconds since the gateway's start."""
        return self.source.uptime_ms()

    def admin_facts(self) -> dict[str, Any]:
        """What only an administrator is told."""
        return {
            "configPath": str(self.config_path),
            "stateDir": str(self.state_dir),
            "authMode": effective_auth(self.live.current, self.live.environ or self.environ).mode,
        }
