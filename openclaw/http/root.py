"""
What the port serves: WebSocket upgrades go to Autobahn, everything else to Klein, which has the table of routes behind
the gate; and the one place where failures become answers.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from klein import Klein
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET
from werkzeug.exceptions import HTTPException

from openclaw.errors import NotFound, RunCancelled
from openclaw.http.access import trace_id
from openclaw.http.answers.respond import as_openclaw_error, error_body, error_headers, send
from openclaw.http.connection.request import GatewayRequest
from openclaw.http.table import Route, RouteTable
from openclaw.log_lines import add_log_context


def make_app(routes: RouteTable) -> IResource:
    """The resource that serves all routes; what arrives here was admitted by the gate (L{openclaw.http.gate})."""
    app = Klein()
    for route in routes:
        # Klein keys functions by their names, and these have the same one: each is told which it is.
        methods = [method.decode() for method in route.methods]
        app.route(route.rule, methods=methods, endpoint=route.path)(_endpoint(route))
    app.handle_errors(Exception)(_failed)  # type: ignore[arg-type]
    resource: IResource = app.resource()
    return resource


def _endpoint(route: Route) -> Any:
    """The function that Klein calls."""
    answer = route.answer

    def serve(request: GatewayRequest, **parts: str) -> bytes | Deferred[bytes | None] | None:
        answered = answer(request, *parts.values())
        if answered is None or isinstance(answered, bytes):
            return answered
        return Deferred.fromCoroutine(_in_context(request, answered))

    return serve


async def _in_context(request: GatewayRequest, answering: Coroutine[Any, Any, bytes | None]) -> bytes | None:
    """Answer with the request named in all that is logged meanwhile."""
    add_log_context(request_id=request.request_id, trace_id=trace_id(request.requestHeaders))
    return await answering


def _failed(request: GatewayRequest, failure: Failure) -> bytes | None:
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
    return send(request, error.http_status, error_body(error))


class Root(Resource):
    """The only resource that routes: to Autobahn's, which takes the connection over, or to Klein's."""

    isLeaf = True

    def __init__(self, websocket: IResource, app: IResource) -> None:
        super().__init__()
        self._websocket = websocket
        self._app = app

    def render(self, request: IRequest) -> int | bytes:
        """Hand the request to whom it is for."""
        assert isinstance(request, GatewayRequest)
        if request.admission.preflight is not None:
            request.setResponseCode(204)
            # Twisted would add a Content-Length to what is returned, and a 204 has none.
            request.finish()
            return NOT_DONE_YET
        if request.admission.is_upgrade:
            request.channel.give_up_transport()
            # Autobahn is given the request's headers and nothing else: this is how it learns under which id to answer.
            request.requestHeaders.setRawHeaders(b"X-Request-Id", [request.request_id.encode()])
            answer: int | bytes = self._websocket.render(request)
            return answer
        rendered: int | bytes = self._app.render(request)
        return rendered
