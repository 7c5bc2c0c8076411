"""Request heads for the tests of this package."""

from __future__ import annotations

from twisted.web.http_headers import Headers

from openclaw.auth.head import RequestHead


def make_head(
    *headers: tuple[str, str | bytes],
    method: bytes = b"GET",
    path: bytes = b"/v1/models",
    peer: str | None = "127.0.0.1",
    host: str | None = "127.0.0.1:18789",
    local_tcp: bool = True,
    loopback_bind: bool = True,
) -> RequestHead:
    """A head with the given headers, repeated ones kept apart; by default from and to loopback."""
    sent = Headers()
    if host is not None:
        sent.addRawHeader("Host", host)
    for name, value in headers:
        sent.addRawHeader(name, value)
    return RequestHead(method, path, sent, peer, local_tcp, loopback_bind)
