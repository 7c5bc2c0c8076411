"""
Bytes that go to the kernel at once, without a turn of the reactor.

Twisted keeps what is written until its next turn finds the socket writable.  For a stream of small pieces that turn,
and telling the kernel twice what is waited for, is a good part of the work, and most often there was room all the time.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from openclaw.twisted_internals import has_nothing_to_send

SEND_BUFFER_BYTES = 64 * 1024
"""
What the kernel is asked to hold for a client that does not read, in bytes; Linux takes twice as much.

Left alone it grows to megabytes, all of which a provider would have to be read for.
"""


def bound_send_buffer(transport: Any) -> None:
    """Ask the kernel to hold no more than L{SEND_BUFFER_BYTES}, where the transport is a plain socket: TLS has none."""
    handle = transport.getHandle() if hasattr(transport, "getHandle") else None
    if isinstance(handle, socket.socket):
        # macOS refuses it when the client has left already.
        with suppress(OSError):
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)


def write_now(transport: Any, pieces: Iterable[bytes]) -> None:
    """
    Write to a connection; what the kernel does not take at once is left to the transport, as ever.

    Nothing else happens within this call: a connection that turns out to be lost is told of by the reactor.

    @param transport: any transport; one that is no plain socket, as that of TLS, gets all of it.
    """
    data = b"".join(pieces)
    sent = transport.writeSomeData(data) if has_nothing_to_send(transport) else 0
    if not isinstance(sent, int) or sent < 0:
        sent = 0
    if sent < len(data):
        transport.write(data[sent:] if sent else data)
