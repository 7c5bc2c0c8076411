"""Which names of the configuration may be labels of the metrics."""

from __future__ import annotations

from collections.abc import Callable, Collection

from openclaw.config.schema import Config
from openclaw.metrics import Metrics


def make_metrics(current_config: Callable[[], Config], methods: Collection[str] = ()) -> Metrics:
    """Counters whose labels are the agents and models of the configuration in force, and C{methods}."""
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
