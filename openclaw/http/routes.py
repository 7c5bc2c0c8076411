"""The routes of the port: one row each, which names all that is to be known of it (L{openclaw.http.table})."""

from __future__ import annotations

from collections.abc import Callable

from openclaw.agents.runs import Runs
from openclaw.config.schema import Config
from openclaw.http.answers.respond import send
from openclaw.http.connection.request import GatewayRequest
from openclaw.http.health import Health
from openclaw.http.openai.chat import ChatCompletions
from openclaw.http.openai.models import ModelList
from openclaw.http.table import GET, GET_OR_HEAD, MAX_BODY_BYTES, POST, ROOT_METHODS, Page, Route, RouteTable
from openclaw.interfaces import Clock, HealthSource
from openclaw.metrics import CONTENT_TYPE, Metrics
from openclaw.sharing.joins import Joins


def _chat_on(config: Config) -> bool:
    return config.gateway.http.endpoints.chat_completions.enabled


def _any_on(config: Config) -> bool:
    return _chat_on(config) or config.gateway.http.endpoints.responses.enabled


def _metrics_public(config: Config) -> bool:
    return config.gateway.metrics.public


def make_routes(
    runs: Runs,
    joins: Joins,
    clock: Clock,
    current_config: Callable[[], Config],
    health: HealthSource,
    metrics: Metrics,
) -> RouteTable:
    """The table of all routes of a gateway that starts now; C{health} is what it says of itself."""
    about = Health(health)
    chat = ChatCompletions(runs, clock, current_config, joins)
    models = ModelList(current_config, int(clock.seconds()))

    def show_metrics(request: GatewayRequest) -> bytes:
        """The metrics as they are now."""
        return send(request, 200, metrics.text(), CONTENT_TYPE)

    return RouteTable(
        (
            Page("/", ROOT_METHODS, None, about.root),
            Route("/health", GET_OR_HEAD, None, about.live),
            Route("/healthz", GET_OR_HEAD, None, about.live),
            Route("/ready", GET_OR_HEAD, None, about.ready),
            Route("/readyz", GET_OR_HEAD, None, about.ready),
            Route("/startup", GET_OR_HEAD, None, about.startup),
            Route("/startupz", GET_OR_HEAD, None, about.startup),
            Route("/metrics", GET, "operator.read", show_metrics, public=_metrics_public),
            Route("/v1/chat/completions", POST, "operator.write", chat.answer, MAX_BODY_BYTES, enabled=_chat_on),
            Route("/v1/models", GET, "operator.read", models.list, enabled=_any_on),
            Route("/v1/models/{id}", GET, "operator.read", models.get, enabled=_any_on),
        )
    )
