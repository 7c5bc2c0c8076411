"""
The head of a request: all that access decisions may look at; and what the head of every answer has.

Routing and authorisation see the raw request target and the headers only; the body has not been read then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
from twisted.web.http_headers import Headers

from openclaw.errors import InvalidRequest

ANSWER_HEADERS: Mapping[bytes, bytes] = {
    # A browser must not take an answer for a page or a script that it does not say it is.
    b"X-Content-Type-Options": b"nosniff",
    # Nor tell others the addresses of ours.
    b"Referrer-Policy": b"no-referrer",
}
"""Name and value of what every answer on the port carries, whichever protocol gives it."""


@attrs.frozen(eq=False)
class RequestHead:
    """
    A request line with its headers, and where they came in.

    @ivar method: the method as sent, C{b"POST"}.
    @ivar path: the path without the query, doubled slashes folded, otherwise as sent.
    @ivar headers: all headers; repeated ones are kept apart.
    @ivar peer: the address of the TCP peer as text; C{None} on a unix socket.
    @ivar local_tcp: true if the request came in on a TCP port that the gateway bound itself, so neither on a unix
        socket nor on one that systemd passed.
    @ivar loopback_bind: true if that port is bound to a loopback address.
    """

    method: bytes
    path: bytes
    headers: Headers
    peer: str | None
    local_tcp: bool
    loopback_bind: bool

    def values(self, name: bytes) -> Sequence[bytes]:
        """All values of a header, in the order in which they were sent; empty if it is absent."""
        return self.headers.getRawHeaders(name, ())

    def single(self, name: bytes) -> bytes | None:
        """
        The value of a header that may be sent once.

        @return: the value without surrounding blanks, or C{None} if the header is absent.
        @raise InvalidRequest: if it was sent more than once: two parties could each read another one of them.
        """
        values = self.headers.getRawHeaders(name)
        if values is None:
            return None
        if len(values) > 1:
            shown = name.decode("latin-1")
            raise InvalidRequest(f"the header {shown} was sent more than once", param=shown)
        return values[0].strip(b" \t")
