"""
Whether an answer has wholly reached its client.

What is written goes to the kernel, and only the peer's acknowledgement tells that it arrived.  The kernel is asked when
somebody wants to know, when the next request comes, and at the last moment before the connection's socket is closed.
"""

from __future__ import annotations

import socket
import struct
import sys
from fcntl import ioctl
from typing import Any

from openclaw.twisted_internals import holds_nothing_back

_OUTQ = 0x5411
"""Linux's C{SIOCOUTQ}: bytes that were written to a socket and are not acknowledged."""

_COUNT = struct.Struct("=i")


class Delivery:
    """The way of one answer to its client; nothing is known of it until it is L{sent}."""

    __slots__ = ("_is_complete", "_transport")

    def __init__(self) -> None:
        self._is_complete = False
        self._transport: Any = None

    def sent(self, transport: Any) -> None:
        """All of it was written to this transport."""
        self._transport = transport

    def settle(self, *, is_read: bool = False) -> None:
        """
        Look for the last time, before anything else is written, or the socket closed.

        @param is_read: the client has shown that it has the answer.
        """
        if self._transport is not None:
            self._is_complete = is_read or is_acknowledged(self._transport)
            self._transport = None

    @property
    def is_complete(self) -> bool:
        """Whether the client's system has all of it; false where that cannot be known."""
        return self._is_complete or (self._transport is not None and is_acknowledged(self._transport))


def is_acknowledged(transport: Any) -> bool:
    """Whether the peer's system has taken all that was ever written; false where nobody can tell, as with TLS."""
    handle = transport.getHandle() if hasattr(transport, "getHandle") else None
    if sys.platform != "linux" or not isinstance(handle, socket.socket) or not holds_nothing_back(transport):
        return False
    try:
        (waiting,) = _COUNT.unpack(ioctl(handle.fileno(), _OUTQ, bytes(_COUNT.size)))
    except (OSError, ValueError, struct.error):
        return False
    return bool(waiting == 0)
