"""The route C{/metrics}, and which names of the configuration may be labels there."""

from __future__ import annotations

from collections.abc import Callable, Collection

from openclaw.config.schema import Config
from openclaw.http.answers.respond import send
from openclaw.http.connection.request import GatewayRequest
from openclaw.metrics import CONTENT_TYPE, Metrics


class MetricsPage:
    """The route."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def show(self, request: GatewayRequest) -> bytes:
        """The metrics as they are now."""
        return send(request, 200, self._metrics.text(), CONTENT_TYPE)


def make_metrics(current_config: Callable[[], Config], methods: Collection[str] = ()) -> Metrics:
    """
    Counters whose labels are the agents and models of the configuration in force.

    @param methods: names of the methods that clients can call.
    """
    last: list[tuple[Config, frozenset[str]]] = []

    def models() -> frozenset[str]:
        config = current_config()
        if not last or last[0][0] is not config:
            last[:] = [(config, configured_models(config))]
        return last[0][1]

    return Metrics(lambda: current_config().agents.agent_ids, models, methods)


def configured_models(config: Config) -> frozenset[str]:
    """The references of all models that a configuration names."""
    refs = {config.models.local_ref}
    for name, provider in config.models.providers.items():
        refs.update(f"{name}/{model.id}" for model in provider.models)
    for choice in (config.agents.defaults.model, *(entry.model for entry in config.agents.entries.values())):
        refs.update(choice.refs if choice is not None else ())
    return frozenset(refs)
