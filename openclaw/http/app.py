"""The Klein application: the routes behind the gate, and the one place where their failures become answers."""

from __future__ import annotations

from typing import Any

from klein import Klein
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from werkzeug.exceptions import HTTPException

from openclaw.errors import NotFound, RunCancelled
from openclaw.http.access import trace_id
from openclaw.http.answers.respond import (
    JSON_TYPE,
    as_openclaw_error,
    error_body,
    error_headers,
    json_body,
    reason_phrase,
)
from openclaw.http.connection.request import GatewayRequest
from openclaw.http.health import Health
from openclaw.http.metrics import MetricsPage
from openclaw.http.openai.chat import ChatCompletions
from openclaw.http.openai.models import ModelList
from openclaw.log_lines import add_log_context
from openclaw.metrics import Metrics


class Api:
    """
    All HTTP routes.

    Whether a route exists, and who may use it, is the gate's business (L{openclaw.http.gate}); what arrives here
    was admitted.

    @param metrics: of a gateway that counts nothing by default.
    """

    app = Klein()

    def __init__(
        self, chat: ChatCompletions, models: ModelList, health: Health, metrics: MetricsPage | None = None
    ) -> None:
        self._chat = chat
        self._models = models
        self._health = health
        self._metrics = metrics or MetricsPage(Metrics())

    def resource(self) -> IResource:
        """The root of the routes."""
        resource: IResource = self.app.resource()
        return resource

    @app.route("/v1/chat/completions", methods=["POST"])
    def chat_completions(self, request: GatewayRequest) -> Deferred[bytes | None]:
        """An answer of an agent."""
        return Deferred.fromCoroutine(self._chat_completions(request))

    async def _chat_completions(self, request: GatewayRequest) -> bytes | None:
        add_log_context(request_id=request.request_id, trace_id=trace_id(request.requestHeaders))
        body = await self._chat.answer(request)
        return None if body is None else _send(request, 200, body)

    @app.route("/v1/models", methods=["GET"])
    def list_models(self, request: GatewayRequest) -> bytes:
        """The agents."""
        return _send(request, 200, json_body(self._models.list()))

    @app.route("/v1/models/<path:name>", methods=["GET"])
    def get_model(self, request: GatewayRequest, name: str) -> bytes:
        """One agent."""
        return _send(request, 200, json_body(self._models.get(name)))

    @app.route("/health", methods=["GET", "HEAD"])
    @app.route("/healthz", methods=["GET", "HEAD"])
    def live(self, request: GatewayRequest) -> bytes:
        """Alive."""
        return _send_uncached(request, *self._health.live())

    @app.route("/ready", methods=["GET", "HEAD"])
    @app.route("/readyz", methods=["GET", "HEAD"])
    def ready(self, request: GatewayRequest) -> bytes:
        """Ready."""
        return _send_uncached(request, *self._health.ready())

    @app.route("/startup", methods=["GET", "HEAD"])
    @app.route("/startupz", methods=["GET", "HEAD"])
    def startup(self, request: GatewayRequest) -> bytes:
        """Started."""
        return _send_uncached(request, *self._health.startup())

    @app.route("/metrics", methods=["GET"])
    def metrics(self, request: GatewayRequest) -> bytes:
        """Counters for Prometheus."""
        answer = _send(request, 200, self._metrics.text())
        request.responseHeaders.setRawHeaders(b"Content-Type", [self._metrics.content_type])
        return answer

    @app.handle_errors(Exception)  # type: ignore[arg-type]
    def failed(self, request: GatewayRequest, failure: Failure) -> bytes | None:
        """Turn a failure into an answer; if a part of another one is out already, cut the connection."""
        given = failure
        if failure.check(CancelledError):
            # The client is gone, or the run was ended under it: then it is told so.
            failure = Failure(RunCancelled("the request was cancelled"))
        elif failure.check(HTTPException):
            # What the gate let through and no route takes, such as a model's name with doubled slashes.
            failure = Failure(NotFound("there is nothing at this path"))
        error = as_openclaw_error(failure, request.request_id)
        # Its traceback holds the frames that hold it; it has been logged if it is a bug.
        given.cleanFailure()
        if request.startedWriting:
            request.channel.forceAbortClient()
            return None
        error_headers(error, request.responseHeaders, request.produced_output)
        return _send(request, error.http_status, error_body(error))


def _send(request: GatewayRequest, status: int, body: bytes) -> bytes:
    """Set the headers of a complete answer; returns its body for Klein to write."""
    request.setResponseCode(status, reason_phrase(status))
    request.responseHeaders.setRawHeaders(b"Content-Type", [JSON_TYPE])
    request.responseHeaders.setRawHeaders(b"Content-Length", [b"%d" % len(body)])
    return body


def _send_uncached(request: GatewayRequest, status: int, value: dict[str, Any]) -> bytes:
    request.responseHeaders.setRawHeaders(b"Cache-Control", [b"no-store"])
    return _send(request, status, json_body(value))
