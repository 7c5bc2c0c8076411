"""The fork at the root of the port: a WebSocket upgrade goes to Autobahn, everything else to Klein."""

from __future__ import annotations

from twisted.web.iweb import IRequest
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET

from openclaw.http.connection.request import GatewayRequest


class Root(Resource):
    """
    The only resource that routes.

    @param websocket: Autobahn's resource; takes the connection over.
    @param app: Klein's resource.
    """

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
