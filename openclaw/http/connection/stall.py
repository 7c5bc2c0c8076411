"""
Clients that do not read: told apart from those that read slowly, and cut off.

Twisted says when its buffer for a client has run full and when it is empty again.  Between the two a client on a bad
line may take minutes, and be told of nothing else.  What its system has acknowledged meanwhile, the kernel knows.
"""

from __future__ import annotations

import socket
import struct
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from openclaw.interfaces import Clock
from openclaw.log_rare import RareLines

STALL_S = 60.0
"""Seconds after which a client that reads nothing of what waits for it is cut off."""

LOOK_S = 5.0
"""Seconds between two looks at what it has read."""

_TCP_INFO: int | None = getattr(socket, "TCP_INFO", None)
_ACKNOWLEDGED = struct.Struct("=120xQ")
"""C{tcpi_bytes_acked} of Linux's C{struct tcp_info}."""

log = Logger()


class StallWatch:
    """Watches a client for which something waits; one that reads nothing of it for L{STALL_S} is cut off."""

    def __init__(self, transport: Any, clock: Clock, rare: RareLines) -> None:
        self._transport = transport
        self._clock = clock
        self._rare = rare
        self._acknowledged = acknowledged_bytes(transport)
        self._since_s = clock.seconds()
        self._next: IDelayedCall | None = clock.callLater(LOOK_S, self._look)

    def stop(self) -> None:
        """Watch no longer; harmless when it is over."""
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _look(self) -> None:
        self._next = None
        acknowledged = acknowledged_bytes(self._transport)
        now_s = self._clock.seconds()
        if acknowledged != self._acknowledged:
            self._acknowledged = acknowledged
            self._since_s = now_s
        if now_s - self._since_s >= STALL_S:
            self._rare.tell(
                log.info, "dropping {peer}: it has not read for {s:g} s", peer=self._transport.getPeer(), s=STALL_S
            )
            self._transport.abortConnection()
        else:
            self._next = self._clock.callLater(LOOK_S, self._look)


def acknowledged_bytes(transport: Any) -> int:
    """
    How much of what was ever sent over a connection its peer's system has taken.

    @param transport: any transport.
    @return: bytes; always 0 where nobody can tell, as with anything but a TCP socket of Linux.
    """
    handle = transport.getHandle() if hasattr(transport, "getHandle") else None
    if _TCP_INFO is None or not isinstance(handle, socket.socket):
        return 0
    try:
        (acknowledged,) = _ACKNOWLEDGED.unpack(handle.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _ACKNOWLEDGED.size))
    except (OSError, struct.error):
        # A unix socket, one that is closed, or a system that keeps less.
        return 0
    return int(acknowledged)
