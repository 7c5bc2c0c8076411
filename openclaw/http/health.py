"""
The health routes: alive, ready, started.

They are public and answered before anything else is looked at, so what they tell names no secret and no path.
"""

from __future__ import annotations

from typing import Any

from openclaw._version import __version__
from openclaw.interfaces import HealthSource


class Health:
    """
    The routes.

    @param source: what the gateway says of itself.
    """

    def __init__(self, source: HealthSource) -> None:
        self._source = source

    def live(self) -> tuple[int, dict[str, Any]]:
        """The process answers; nothing more."""
        return 200, {"ok": True, "status": "live"}

    def ready(self) -> tuple[int, dict[str, Any]]:
        """Whether a request would be taken: 503 while starting and draining."""
        phase = self._source.phase()
        failing = [*self._source.failing(), *([] if phase == "started" else [phase])]
        body = {"ready": not failing, "failing": failing, "uptimeMs": self._source.uptime_ms()}
        return 503 if failing else 200, body

    def startup(self) -> tuple[int, dict[str, Any]]:
        """Where the gateway is in its life."""
        phase = self._source.phase()
        body = {
            "ok": phase == "started",
            "status": phase,
            "version": __version__,
            "uptimeMs": self._source.uptime_ms(),
        }
        return 200 if phase == "started" else 503, body
