"""
An incremental reader of one HTTP/1.1 response at a time, made to count events and to cost little.

It holds what it needs to judge a reply: the status, how many C{data: } lines came, whether C{[DONE]} ended them, and
the body where it is not a stream.
"""

from __future__ import annotations

MAX_HEAD_BYTES = 65_536
MAX_CHUNK_BYTES = 16 * 1024 * 1024
MAX_BODY_BYTES = 32 * 1024 * 1024

_EVENT = b"data: "
_DONE = b"data: [DONE]"
_ERROR = b'data: {"error"'
_TAIL_BYTES = 32
"""More than the longest of the markers, so that none is missed where two reads meet."""


class ResponseError(Exception):
    """The bytes are not an HTTP/1.1 response, or one beyond the bounds."""


class ResponseReader:
    """
    Reads one response; a new one is made for the next.

    @ivar status: the HTTP status; 0 until the head is there.
    @ivar events: how many C{data: } lines the body held so far.
    @ivar body_bytes: the body's size so far, without the framing.
    @ivar body: the body; empty in a stream.
    @ivar keep_alive: whether the connection can serve another request.
    @ivar failed: whether a streamed error object was seen.
    """

    def __init__(self, *, stream: bool) -> None:
        """
        @param stream: count events instead of keeping the body.
        """
        self._stream = stream
        self._rest = b""
        self._tail = b""
        self._pieces: list[bytes] = []
        self._length: int | None = None
        self._chunked = False
        self.status = 0
        self.events = 0
        self.body_bytes = 0
        self.keep_alive = True
        self.failed = False

    @property
    def body(self) -> bytes:
        """The body so far; always empty in a stream."""
        return b"".join(self._pieces)

    @property
    def done(self) -> bool:
        """Whether the last event so far is C{[DONE]}."""
        return self._tail.rstrip().endswith(_DONE)

    def feed(self, data: bytes) -> bool:
        """
        Take the next bytes.

        @return: true when the response is whole.
        @raise ResponseError: when the bytes are no response, or more than one.
        """
        if not self.status:
            data = self._rest + data
            end = data.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES)
            if end < 0:
                if len(data) > MAX_HEAD_BYTES:
                    raise ResponseError("the response head is too large")
                self._rest = data
                return False
            self._rest = b""
            self._read_head(data[:end])
            data = data[end + 4 :]
        if self._chunked:
            return self._feed_chunks(data)
        return self._feed_body(data)

    def eof(self) -> bool:
        """
        The peer closed the connection.

        @return: whether that makes the response whole, as one without a length is.
        """
        return bool(self.status) and not self._chunked and self._length is None

    def _read_head(self, head: bytes) -> None:
        status_line, *lines = head.split(b"\r\n")
        version, _, rest = status_line.partition(b" ")
        if not version.startswith(b"HTTP/1.") or not rest[:3].isdigit():
            raise ResponseError(f"not an HTTP/1 response: {status_line[:60]!r}")
        self.status = int(rest[:3])
        self.keep_alive = version != b"HTTP/1.0"
        for line in lines:
            name, _, value = line.partition(b":")
            name, value = name.strip().lower(), value.strip().lower()
            if name == b"content-length":
                if not value.isdigit():
                    raise ResponseError(f"content-length: expected a number, got {value[:20]!r}")
                self._length = int(value)
            elif name == b"transfer-encoding":
                self._chunked = value == b"chunked"
            elif name == b"connection":
                self.keep_alive = value != b"close"
        if not self._chunked and self._length is None:
            self.keep_alive = False

    def _feed_body(self, data: bytes) -> bool:
        self._take(data)
        if self._length is None:
            return False
        if self.body_bytes > self._length:
            raise ResponseError("bytes after the response")
        return self.body_bytes == self._length

    def _feed_chunks(self, data: bytes) -> bool:
        """Unpack whole chunks; one that is cut waits for its end."""
        if self._rest:
            data = self._rest + data
        pieces: list[bytes] = []
        position, end, ended = 0, len(data), False
        while (line_end := data.find(b"\r\n", position)) >= 0:
            size = _chunk_size(data[position:line_end])
            stop = line_end + 2 + size
            if stop + 2 > end:
                break
            if not data.startswith(b"\r\n", stop):
                raise ResponseError("a chunk is longer than it says, or the body has trailers")
            position = stop + 2
            if not size:
                ended = True
                break
            pieces.append(data[line_end + 2 : stop])
        self._rest = data[position:]
        if pieces:
            self._take(b"".join(pieces))
        if ended and self._rest:
            raise ResponseError("bytes after the response")
        return ended

    def _take(self, payload: bytes) -> None:
        self.body_bytes += len(payload)
        if not self._stream:
            if self.body_bytes > MAX_BODY_BYTES:
                raise ResponseError(f"the body is larger than {MAX_BODY_BYTES} bytes")
            self._pieces.append(payload)
            return
        text = self._tail + payload
        self.events += text.count(_EVENT) - self._tail.count(_EVENT)
        if _ERROR in text:
            self.failed = True
        self._tail = text[-_TAIL_BYTES:]


def _chunk_size(line: bytes) -> int:
    try:
        size = int(line, 16)
    except ValueError:
        try:
            size = int(line.partition(b";")[0], 16)
        except ValueError:
            raise ResponseError(f"not a chunk size: {line[:20]!r}") from None
    if not 0 <= size <= MAX_CHUNK_BYTES:
        raise ResponseError(f"a chunk of {size} bytes is out of bounds")
    return size
