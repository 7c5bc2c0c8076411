"""
An incremental parser of server-sent events, for what model servers send.

Only the data of an event matters here, and whether it is an error: C{id:}, C{retry:} and comments are skipped.  The
format is that of the HTML standard, section 9.2: lines end by LF, CR or CRLF, an empty line ends an event, one blank
after the colon does not belong to the value, and a byte order mark may stand at the very start.

Model servers add to it: a field C{error:} in place of C{data:} (llama.cpp to the end of 2025), C{event: error}, and
JSON without any field name, as of a proxy that fails in the middle.
"""

from __future__ import annotations

from openclaw.errors import LastingProviderFailure

MAX_EVENT_BYTES = 8 * 1024 * 1024
"""Largest event that is taken by default, in bytes."""

BOM = b"\xef\xbb\xbf"
"""The byte order mark of UTF-8."""


class ErrorData(bytes):
    """The data of an event that is an error by its name, or by that of its field."""


class UnframedData(bytes):
    """What stood in a stream without the name of a field, and looks like JSON."""


class SseParser:
    """
    Cuts a byte stream into the data of its events.

    The stream may be split anywhere, also inside a line end or a character.  Each byte is looked at a bounded
    number of times, however small the pieces are.

    @ivar _partial: pieces of the last line, whose end has not come yet.
    @ivar _lines: data lines of the last event, whose end has not come yet.
    @ivar _held_bytes: length of both together.
    @ivar _after_cr: whether the last byte was a CR, so that an LF that follows belongs to it.
    @ivar _started: whether the place of a byte order mark is passed.
    @ivar _kind: what the event is that has begun; C{bytes} for an ordinary one.
    """

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        """@param max_event_bytes: bound of what is kept of an event that is not complete."""
        self._max_event_bytes = max_event_bytes
        self._partial: list[bytes] = []
        self._lines: list[bytes] = []
        self._held_bytes = 0
        self._after_cr = False
        self._started = False
        self._kind: type[bytes] = bytes

    def feed(self, data: bytes) -> list[bytes]:
        """
        Take the next bytes.

        @return: the data of each event that is complete now, in order; several C{data:} lines of one event are
            joined by LF.  Events without data are left out.
        @raise LastingProviderFailure: if an event is larger than the bound.
        """
        if not self._started:
            data = self._skip_bom(data)
        if b"\r" in data or self._after_cr or self._lines or self._kind is not bytes:
            return self._feed_lines(data)
        if self._partial:
            if b"\n" not in data:
                self._hold(data)
                return []
            self._partial.append(data)
            data = b"".join(self._partial)
            self._partial = []
            self._held_bytes = 0
        # The ordinary form, one "data: …" line and an empty line, costs one split for all events of a read.
        blocks = data.split(b"\n\n")
        rest = blocks.pop()
        payloads: list[bytes] = []
        for block in blocks:
            if block.startswith(b"data: ") and b"\n" not in block:
                payloads.append(block[6:])
            else:
                payloads.extend(self._feed_lines(block + b"\n\n"))
        if rest:
            if b"\n" in rest:
                payloads.extend(self._feed_lines(rest))
            else:
                self._hold(rest)
        return payloads

    def finish(self) -> list[bytes]:
        """
        Take note of the end of the stream.

        The standard drops an event whose empty line is missing; some servers leave it out after their last one.

        @return: the data of that last event, if it has any.
        """
        return self._feed_lines(b"\n\n")

    def _skip_bom(self, data: bytes) -> bytes:
        data = b"".join(self._partial) + data
        self._partial = []
        self._held_bytes = 0
        if len(data) < len(BOM) and BOM.startswith(data):
            if data:
                self._hold(data)
            return b""
        self._started = True
        return data.removeprefix(BOM)

    def _hold(self, piece: bytes) -> None:
        self._held_bytes += len(piece)
        if self._held_bytes > self._max_event_bytes:
            raise LastingProviderFailure("the provider sent an event that is too large")
        self._partial.append(piece)

    def _feed_lines(self, data: bytes) -> list[bytes]:
        """The general form, line by line."""
        if self._after_cr and data:
            self._after_cr = False
            data = data.removeprefix(b"\n")
        if not data:
            return []
        lines = data.splitlines()
        last = b"" if data[-1] in b"\r\n" else lines.pop()
        self._after_cr = data[-1] == 0x0D
        payloads: list[bytes] = []
        if lines and self._partial:
            self._held_bytes -= sum(map(len, self._partial))
            lines[0] = b"".join(self._partial) + lines[0]
            self._partial = []
        for line in lines:
            if not line:
                self._end_event(payloads)
            elif line.startswith(b"data:"):
                if self._kind is UnframedData:
                    self._end_event(payloads)
                self._add_line(line[6:] if line.startswith(b"data: ") else line[5:])
            elif line == b"data":
                self._add_line(b"")
            else:
                self._read_other(line, payloads)
        if last:
            self._hold(last)
        return payloads

    def _end_event(self, payloads: list[bytes]) -> None:
        kind, self._kind = self._kind, bytes
        if self._lines:
            data = b"\n".join(self._lines)
            payloads.append(data if kind is bytes else kind(data))
            self._lines = []
            self._held_bytes = 0
        elif kind is ErrorData:
            # The standard drops it; but what failed has failed, and half an answer is none.
            payloads.append(ErrorData())

    def _read_other(self, line: bytes, payloads: list[bytes]) -> None:
        """A line that is no data by its name."""
        if line.startswith(b"error:"):
            self._kind = ErrorData
            self._add_line(line[6:].lstrip(b" "))
        elif line.startswith(b"event:"):
            if line[6:].strip().lower() == b"error":
                self._kind = ErrorData
        elif self._kind is UnframedData:
            if line.startswith(b"{") and self._lines[-1].endswith(b"}"):
                # Another one: a document on each line.
                self._end_event(payloads)
                self._kind = UnframedData
            self._add_line(line)
        elif line.lstrip()[:1] in (b"{", b"[") and not self._lines:
            self._kind = UnframedData
            self._add_line(line)

    def _add_line(self, line: bytes) -> None:
        # An empty line has its price too, or a flood of them would not be bounded.
        self._held_bytes += len(line) + 1
        if self._held_bytes > self._max_event_bytes:
            raise LastingProviderFailure("the provider sent an event that is too large")
        self._lines.append(line)
