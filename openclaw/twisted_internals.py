"""
What is known of the inside of Twisted, and cannot be had from its outside: all in this one place.

C{test/test_twisted_internals.py} fails when a name is gone that is leant on here; C{setup.py} bounds the versions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import ClientFactory
from twisted.internet.tcp import _reservedFD
from twisted.python.failure import Failure
from twisted.web._newclient import HTTP11ClientProtocol
from twisted.web.client import HTTPConnectionPool
from twisted.web.http import HTTPChannel, _ChunkedTransferDecoder, _MalformedChunkedDataError

MAX_CHUNK_LINE_BYTES = 1024
"""Longest line of the chunked coding that is taken; the library has the same bound."""

MAX_CUT_LINE_BYTES = 16
"""Longest size, with the end of its line, of a chunk that is cut without the library's help."""

_CUT_STATES = ("CHUNK_LENGTH", "BODY", "CRLF")
_HEX_DIGITS = b"0123456789abcdefABCDEF"

REQUEST_ADAPTERS = "_adapterCache"
"""The attribute of a request in which Klein's own view of it is kept; the two refer to each other."""


class OpenChannel(HTTPChannel):
    """An HTTP channel that tells its subclass where it stands."""

    @property
    def is_receiving(self) -> bool:
        """Whether a call of C{dataReceived} is under way."""
        return bool(self._busyReceiving)

    @property
    def unread(self) -> bytes:
        """What has come, and was not looked at yet; of a head that is not complete its last line."""
        unread: bytes = self._buffer
        return unread

    @property
    def is_handling(self) -> bool:
        """Whether a request is being handled."""
        return bool(self._handlingRequest)

    @property
    def bytes_behind(self) -> int:
        """What has come after the request that is being handled, in bytes."""
        return sum(map(len, self._dataBuffer))

    @property
    def waits_for_client(self) -> bool:
        """Whether the client has to read before more is written."""
        return bool(self._waitingForTransport)

    @property
    def first_line(self) -> tuple[bytes, bytes, bytes] | None:
        """Method, target and version of the request that comes; C{None} between two requests."""
        return (self._command, self._path, self._version) if hasattr(self, "_version") else None

    @property
    def is_head_large(self) -> bool:
        """Whether the head that comes has more headers, or more bytes of them, than are taken."""
        return self._receivedHeaderSize > self.totalHeadersSize or self._receivedHeaderCount > self.maxHeaders

    def pause_reading(self) -> None:
        """Read nothing from the network."""
        self._networkProducer.pauseProducing()

    def resume_reading(self) -> None:
        """Read on."""
        self._networkProducer.resumeProducing()

    def bad_request(self) -> None:
        """What comes is no HTTP: answer so, and close.  All parsing errors end up here."""
        raise NotImplementedError

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.bad_request()


def reserve_descriptor() -> None:
    """Take a descriptor again for the time when there are none left, if there is one now and it is not taken."""
    _reservedFD.reserve()


def has_nothing_to_send(transport: Any) -> bool:
    """Whether a transport is a socket of Twisted's that is open and holds no bytes back."""
    # What was written last; the rest is known to all.
    waiting = getattr(transport, "_tempDataBuffer", None)
    return (
        waiting == []
        and not transport.dataBuffer
        and transport.connected
        and not transport.disconnecting
        and not getattr(transport, "TLS", False)
    )


def holds_nothing_back(transport: Any) -> bool:
    """Whether a transport is a plain socket of Twisted's that has given all that was written to the kernel."""
    waiting = getattr(transport, "_tempDataBuffer", None)
    return waiting == [] and not transport.dataBuffer and not getattr(transport, "TLS", False)


def before_end(transport: Any, look: Callable[[], object]) -> None:
    """
    Have C{look} called when a connection is over and its socket still open; its protocol is told only after that.

    @param transport: any transport; of one that is no plain socket nothing can be seen then, and C{look} not called.
    """
    end = getattr(transport, "connectionLost", None)
    if end is None or not hasattr(transport, "_closeSocket"):
        return

    def ended(reason: Failure) -> None:
        # The two refer to each other.
        del transport.connectionLost
        look()
        end(reason)

    transport.connectionLost = ended


def connection_of(transport: Any) -> Any:
    """
    The real connection behind the transport of a response's body.

    The library gives the body a proxy that can pause and close, and neither abort nor tell of the end of a read.

    @return: the connection, or C{None} if it is gone or the transport is not that proxy.
    """
    return getattr(transport, "_producer", None)


class ChunkDecoder(_ChunkedTransferDecoder):
    """
    Reads the chunked coding as servers write it: blanks may stand around a size, and in its extensions anything.

    RFC 9112, 7.1.1, allows blanks before and behind a semicolon and quoted values; old servers pad the size itself.

    Servers make a chunk of each event, and the library goes through several calls and copies for each: what is
    ordinary is cut here in one go, and handed over in one piece.  Whatever is not is left to the library.
    """

    def dataReceived(self, data: bytes) -> None:
        if self._buffer or self.state not in _CUT_STATES:
            super().dataReceived(data)
            return
        state, left, place, end = self.state, getattr(self, "length", 0), 0, len(data)
        pieces: list[bytes] = []
        while True:
            if state == "BODY":
                taken = min(left, end - place)
                pieces.append(data[place : place + taken])
                place += taken
                left -= taken
                if left:
                    break
                state = "CRLF"
            if state == "CRLF":
                if data[place : place + 2] != b"\r\n":
                    break
                place += 2
                state = "CHUNK_LENGTH"
            line_end = data.find(b"\r\n", place, place + MAX_CUT_LINE_BYTES)
            if line_end < 0:
                break
            size = data[place:line_end]
            # Not int() for all: it takes signs, blanks and underscores, too.
            left = int(size, 16) if size and not size.translate(None, _HEX_DIGITS) else 0
            if not left:
                break
            place = line_end + 2
            state = "BODY"
        self.state, self.length = state, left
        if pieces:
            self.dataCallback(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if place < end:
            super().dataReceived(data[place:])

    def _dataReceived_CHUNK_LENGTH(self) -> bool:
        try:
            return super()._dataReceived_CHUNK_LENGTH()
        except _MalformedChunkedDataError:
            end = self._buffer.find(b"\r\n")
            line = self._buffer[: max(end, 0)]
            size = line.partition(b";")[0].strip(b" \t")
            if not size or size == line or end >= MAX_CHUNK_LINE_BYTES:
                raise
            # Only the size, which is all that is read of the line; if it is none, this raises again.
            self._buffer[:end] = size
            self._start = 0
            return super()._dataReceived_CHUNK_LENGTH()


class _ClientProtocol(HTTP11ClientProtocol):
    def request(self, request: Any) -> Any:
        """Send a request; its answer is read by a decoder of ours."""
        sent = super().request(request)
        parser = self._parser
        if parser is not None:
            parser._transferDecoders = {b"chunked": ChunkDecoder}
        return sent

    def _disconnectParser(self, reason: Failure) -> None:
        """An answer is over: part its parser from the decoder of its body, as each refers to the other."""
        parser = self._parser
        cast(Any, super())._disconnectParser(reason)
        if parser is not None:
            parser.bodyDecoder = None


class _ClientFactory(ClientFactory):
    """Makes them, in place of Twisted's own."""

    noisy = False

    def __init__(self, quiescent: Callable[[HTTP11ClientProtocol], None], metadata: str) -> None:
        self._quiescent = quiescent
        self._metadata = metadata

    def __repr__(self) -> str:
        return self._metadata

    def buildProtocol(self, addr: IAddress | None) -> HTTP11ClientProtocol:
        return _ClientProtocol(self._quiescent)  # type: ignore[no-untyped-call]


class ClientPool(HTTPConnectionPool):
    """Connections to servers, of whose answers nothing waits for the garbage collector."""

    _factory = _ClientFactory  # type: ignore[assignment]
