"""The paces of all model servers that the gateway asks."""

from __future__ import annotations

from collections.abc import Callable

from openclaw.agents.pace import Pace
from openclaw.config.models import ModelsConfig
from openclaw.interfaces import Clock


class Paces:
    """
    The paces of all providers of one gateway.

    @param models: gives the part of the configuration in force.
    """

    def __init__(self, models: Callable[[], ModelsConfig], clock: Clock) -> None:
        self._models = models
        self._clock = clock
        self._by_provider: dict[str, Pace] = {}

    def of(self, provider_id: str) -> Pace:
        """The pace of a provider, the same one each time."""
        pace = self._by_provider.get(provider_id)
        if pace is None:
            # Those of providers that were taken out of the configuration go, once nobody needs them.
            configured = self._models().providers
            self._by_provider = {
                name: kept for name, kept in self._by_provider.items() if name in configured or not kept.is_idle
            }
            pace = self._by_provider[provider_id] = Pace(provider_id, self._models, self._clock)
        return pace

    @property
    def is_idle(self) -> bool:
        """Whether no call is under way and nobody waits for one."""
        return all(pace.is_idle for pace in self._by_provider.values())

    def limits_changed(self) -> None:
        """Let in who may come in by a new configuration."""
        for pace in list(self._by_provider.values()):
            pace.limits_changed()
