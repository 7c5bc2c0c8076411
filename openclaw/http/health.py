"""
The health routes: alive, ready, started.

They are public and answered before anything else is looked at, so what they tell names no secret and no path.
"""

from __future__ import annotations

from typing import Any

import attrs

from openclaw._version import __version__
from openclaw.errors import InvalidRequest
from openclaw.http.answers.respond import json_body, send
from openclaw.http.connection.request import GatewayRequest
from openclaw.interfaces import HealthSource


@attrs.frozen
class Health:
    """The routes, which tell what the gateway says of itself."""

    _source: HealthSource

    def live(self, request: GatewayRequest) -> bytes:
        """The process answers; nothing more."""
        return _send(request, 200, {"ok": True, "status": "live"})

    def ready(self, request: GatewayRequest) -> bytes:
        """Whether a request would be taken: 503 while starting and draining."""
        phase = self._source.phase()
        failing = [*self._source.failing(), *([] if phase == "started" else [phase])]
        body = {"ready": not failing, "failing": failing, "uptimeMs": self._source.uptime_ms()}
        return _send(request, 503 if failing else 200, body)

    def root(self, request: GatewayRequest) -> bytes:
        """
        What the default check of a load balancer asks: ready or not.

        @raise InvalidRequest: if it was to become a WebSocket, and what that takes did not arrive.
        """
        headers = request.requestHeaders
        if any(map(headers.hasHeader, (b"sec-websocket-key", b"sec-websocket-version"))):
            raise InvalidRequest(
                "this is a WebSocket client's request without its Upgrade header, or over HTTP/1.0: a proxy on the way"
                " does not pass it on; docs/proxy.md says how it does",
                code="upgrade_dropped",
            )
        is_ready = self._source.phase() == "started" and not self._source.failing()
        request.responseHeaders.setRawHeaders(b"Cache-Control", [b"no-store"])
        text = b"ok\n" if is_ready else b"not ready\n"
        return send(request, 200 if is_ready else 503, text, b"text/plain; charset=utf-8")

    def startup(self, request: GatewayRequest) -> bytes:
        """Where the gateway is in its life."""
        phase = self._source.phase()
        is_up, uptime_ms = phase == "started", self._source.uptime_ms()
        body = {"ok": is_up, "status": phase, "version": __version__, "uptimeMs": uptime_ms}
        return _send(request, 200 if is_up else 503, body)


def _send(request: GatewayRequest, status: int, body: dict[str, Any]) -> bytes:
    request.responseHeaders.setRawHeaders(b"Cache-Control", [b"no-store"])
    return send(request, status, json_body(body))
