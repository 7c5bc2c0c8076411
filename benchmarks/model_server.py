"""
A model server to measure against: the OpenAI chat-completions shape, streamed and whole, on loopback only.

Its cost must be far below that of what is measured, so it is one L{asyncio.Protocol} that writes bytes made
beforehand.  Every event still travels as an HTTP chunk of its own, as real model servers send it.

The last user message may steer one reply: C{chunks=200 delay=5 size=4} (C{delay} in ms after each event, C{size} in
words per event).  C{GET /stats} tells what was asked for and what was given up by the client.

Run it alone with C{python -m benchmarks.model_server --port 9901}.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Protocol

import msgspec

MAX_HEAD_BYTES = 65_536
MAX_BODY_BYTES = 32 * 1024 * 1024
MAX_DELAY_MS = 60_000
MAX_SIZE_WORDS = 256
MAX_REPLY_WORDS = 1_000_000
BATCH_BYTES = 262_144
"""How much of a stream without delay is written at once; its writing stops while the client is behind."""

_EVENT_OVERHEAD_BYTES = 200
_WORD_BYTES = 8
_STEER = re.compile(r"\b(chunks|delay|size)=(\d{1,9})")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,12})[ \t]*(?=\r\n)")
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n"
)
_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    411: "Length Required",
    413: "Content Too Large",
    431: "Request Header Fields Too Large",
}
_IDENTITY = '"id":"chatcmpl-bench","created":1700000000,"model":"m"'


class Steer(msgspec.Struct, frozen=True):
    """
    What one reply shall look like.

    @ivar chunks: the number of content events.
    @ivar delay_ms: the pause after each content event.
    @ivar size_words: words in each content event.
    """

    chunks: int = 20
    delay_ms: int = 0
    size_words: int = 1


class _Part(msgspec.Struct):
    text: str | None = None


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None

    def text(self) -> str:
        """The words of the message, its parts joined by a blank."""
        if isinstance(self.content, list):
            return " ".join(part.text or "" for part in self.content)
        return self.content or ""


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _ChatRequest(msgspec.Struct):
    messages: list[_Message]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None


_DECODER = msgspec.json.Decoder(_ChatRequest)


class Cancellable(Protocol):
    """What a timer is to this server: something that can be called off."""

    def cancel(self) -> object:
        """Call it off."""


def parse_steer(text: str) -> Steer:
    """
    What the last user message asks for; a number above its bound counts as the bound, and the last of two wins.

    @param text: the message.
    @return: the reply's shape, with the defaults where the text says nothing.
    """
    found = {name: int(value) for name, value in _STEER.findall(text)}
    size_words = min(found.get("size", 1), MAX_SIZE_WORDS)
    return Steer(
        chunks=min(found.get("chunks", 20), MAX_REPLY_WORDS // max(1, size_words)),
        delay_ms=min(found.get("delay", 0), MAX_DELAY_MS),
        size_words=size_words,
    )


def words(index: int, size_words: int) -> str:
    """The text of content event number C{index}: C{w3.0 w3.1 } for index 3 and two words."""
    return "".join(f"w{index}.{position} " for position in range(size_words))


def _chunk(payload: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(payload), payload)


def _event(delta: str, finish_reason: str = "null") -> bytes:
    return _chunk(
        (
            f'data: {{{_IDENTITY},"object":"chat.completion.chunk",'
            f'"choices":[{{"index":0,"delta":{delta},"finish_reason":{finish_reason}}}]}}\n\n'
        ).encode()
    )


def content_event(index: int, size_words: int) -> bytes:
    """Content event number C{index} as an HTTP chunk."""
    return _event(f'{{"content":"{words(index, size_words)}"}}')


STREAM_START = _STREAM_HEAD + _event('{"role":"assistant","content":""}')
"""The head of a streamed reply and its role event."""


@lru_cache(maxsize=256)
def stream_end(chunks: int, include_usage: bool) -> bytes:
    """The finish event, the usage event if it was asked for, C{[DONE]}, and the end of the HTTP body."""
    usage = b""
    if include_usage:
        usage = _chunk(
            f'data: {{{_IDENTITY},"object":"chat.completion.chunk","choices":[],"usage":{_usage(chunks)}}}\n\n'.encode()
        )
    return _event("{}", '"stop"') + usage + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


def _usage(chunks: int) -> str:
    return f'{{"prompt_tokens":10,"completion_tokens":{chunks},"total_tokens":{10 + chunks}}}'


@lru_cache(maxsize=64)
def _content_batch(start: int, stop: int, size_words: int) -> bytes:
    return b"".join(content_event(index, size_words) for index in range(start, stop))


def stream_batches(chunks: int, size_words: int) -> Iterator[bytes]:
    """The content events of a stream without delay, joined into pieces of about L{BATCH_BYTES}."""
    per_batch = max(1, BATCH_BYTES // (_EVENT_OVERHEAD_BYTES + size_words * _WORD_BYTES))
    for start in range(0, chunks, per_batch):
        yield _content_batch(start, min(start + per_batch, chunks), size_words)


@lru_cache(maxsize=64)
def _short_stream(chunks: int, size_words: int, include_usage: bool) -> bytes:
    return STREAM_START + _content_batch(0, chunks, size_words) + stream_end(chunks, include_usage)


@lru_cache(maxsize=8)
def whole_reply(chunks: int, size_words: int) -> bytes:
    """A reply that is not streamed, head and body."""
    content = "".join(words(index, size_words) for index in range(chunks))
    return _json_reply(
        200,
        (
            f'{{{_IDENTITY},"object":"chat.completion","usage":{_usage(chunks)},"choices":[{{"index":0,'
            f'"message":{{"role":"assistant","content":"{content}"}},"finish_reason":"stop"}}]}}\n'
        ).encode(),
    )


def _json_reply(status: int, body: bytes, *, close: bool = False) -> bytes:
    head = f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return (head + ("Connection: close\r\n" if close else "") + "\r\n").encode() + body


class ModelServer:
    """
    What the connections share: the counters behind C{GET /stats}, and the timer.

    @ivar requests: chat completions asked for since the start.
    @ivar active: those being answered now.
    @ivar peak: the most that were answered at once.
    @ivar aborted: those whose client left before the end.
    @ivar transports: the open connections.
    """

    def __init__(self, call_later: Callable[..., Cancellable]) -> None:
        """
        @param call_later: C{call_later(delay_s, function)}, the event loop's own in the real process.
        """
        self.call_later = call_later
        self.requests = 0
        self.active = 0
        self.peak = 0
        self.aborted = 0
        self.transports: set[asyncio.BaseTransport] = set()

    def started(self) -> None:
        """Count a reply that begins."""
        self.requests += 1
        self.active += 1
        self.peak = max(self.peak, self.active)

    def ended(self, *, aborted: bool = False) -> None:
        """Count a reply that is over."""
        self.active -= 1
        self.aborted += aborted

    def stats(self) -> bytes:
        """The counters as JSON."""
        return msgspec.json.encode(
            {"requests": self.requests, "active": self.active, "peak": self.peak, "aborted": self.aborted}
        )


class ModelConnection(asyncio.Protocol):
    """One keep-alive connection; requests on it are answered one after the other."""

    transport: Any
    """The asyncio transport (a test's stand-in has no need of the whole interface)."""

    def __init__(self, server: ModelServer) -> None:
        """
        @param server: the counters and the timer.
        """
        self._server = server
        self._received = bytearray()
        self._head_end = -1
        self._length = 0
        self._replying = False
        self._paused = False
        self._rest: Iterator[bytes] | None = None
        self._timer: Cancellable | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to listen to the client."""
        self.transport = transport
        self._server.transports.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone: a reply that was under way counts as aborted."""
        self._server.transports.discard(self.transport)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._replying:
            self._replying = False
            self._rest = None
            self._server.ended(aborted=True)

    def pause_writing(self) -> None:
        """The client reads slower than we write."""
        self._paused = True

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._paused = False
        self._write_rest()
        self._read_requests()

    def data_received(self, data: bytes) -> None:
        """Take what arrived; what follows a request that is being answered waits."""
        self._received += data
        if len(self._received) > MAX_HEAD_BYTES + MAX_BODY_BYTES:
            self._refuse(413, "the request is too large")
            return
        self._read_requests()

    def _read_requests(self) -> None:
        while not self._replying and not self.transport.is_closing():
            if self._head_end < 0 and not self._read_head():
                return
            body_end = self._head_end + 4 + self._length
            if len(self._received) < body_end:
                return
            request_line = bytes(self._received[: self._received.index(b"\r\n")])
            body = bytes(self._received[self._head_end + 4 : body_end])
            del self._received[:body_end]
            self._head_end = -1
            self._answer(request_line, body)

    def _read_head(self) -> bool:
        """Find the end of the head and the length of the body; false when there is more to wait for."""
        end = self._received.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES)
        if end < 0:
            if len(self._received) > MAX_HEAD_BYTES:
                self._refuse(431, "the request head is too large")
            return False
        head = bytes(self._received[: end + 2]).lower()
        match = _LENGTH.search(head)
        if match is None and b"\r\ntransfer-encoding:" in head:
            self._refuse(411, "the body needs a Content-Length")
            return False
        length = int(match[1]) if match else 0
        if length > MAX_BODY_BYTES:
            self._refuse(413, f"Content-Length: at most {MAX_BODY_BYTES} bytes")
            return False
        if b"\r\nexpect: 100-continue" in head:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._head_end, self._length = end, length
        return True

    def _answer(self, request_line: bytes, body: bytes) -> None:
        method, _, rest = request_line.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if method == b"POST" and path.endswith(b"/chat/completions"):
            self._complete(body)
        elif method == b"GET" and path.endswith(b"/models"):
            self.transport.write(_json_reply(200, b'{"object":"list","data":[{"id":"m","object":"model"}]}\n'))
        elif method == b"GET" and path == b"/stats":
            self.transport.write(_json_reply(200, self._server.stats()))
        elif method == b"GET" and path == b"/readyz":
            self.transport.write(_json_reply(200, b'{"ok":true}\n'))
        else:
            self.transport.write(_json_reply(404, _error(f"no route {method.decode('latin-1')} here")))

    def _complete(self, body: bytes) -> None:
        try:
            request = _DECODER.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:  # a ValidationError is a DecodeError
            self.transport.write(_json_reply(400, _error(str(error))))
            return
        turns = [message for message in request.messages if message.role == "user"]
        steer = parse_steer(turns[-1].text() if turns else "")
        self._server.started()
        if not request.stream:
            self.transport.write(whole_reply(steer.chunks, steer.size_words))
            self._server.ended()
            return
        usage = bool(request.stream_options and request.stream_options.include_usage)
        event_bytes = _EVENT_OVERHEAD_BYTES + steer.size_words * _WORD_BYTES
        if steer.delay_ms == 0 and steer.chunks * event_bytes <= BATCH_BYTES:
            self.transport.write(_short_stream(steer.chunks, steer.size_words, usage))
            self._server.ended()
            return
        self._replying = True
        self.transport.write(STREAM_START)
        if steer.delay_ms:
            self._write_slowly(steer, 0, usage)
        else:
            self._rest = self._batches(steer, usage)
            self._write_rest()

    @staticmethod
    def _batches(steer: Steer, usage: bool) -> Iterator[bytes]:
        yield from stream_batches(steer.chunks, steer.size_words)
        yield stream_end(steer.chunks, usage)

    def _write_rest(self) -> None:
        """Write on until the client is behind or the reply is whole."""
        rest = self._rest
        while rest is not None and not self._paused:
            batch = next(rest, None)
            if batch is None:
                self._rest = None
                self._end_reply()
                return
            self.transport.write(batch)

    def _write_slowly(self, steer: Steer, index: int, usage: bool) -> None:
        """Write one event, then pause; while the client is behind, pause only."""
        self._timer = None
        if not self._paused:
            if index >= steer.chunks:
                self.transport.write(stream_end(steer.chunks, usage))
                self._end_reply()
                self._read_requests()
                return
            self.transport.write(content_event(index, steer.size_words))
            index += 1
        self._timer = self._server.call_later(steer.delay_ms / 1000, lambda: self._write_slowly(steer, index, usage))

    def _end_reply(self) -> None:
        self._replying = False
        self._server.ended()

    def _refuse(self, status: int, message: str) -> None:
        self._received.clear()
        self.transport.write(_json_reply(status, _error(message), close=True))
        self.transport.close()


def _error(message: str) -> bytes:
    return msgspec.json.encode({"error": {"message": message, "type": "invalid_request_error"}})


async def serve(port: int, ready: Callable[[int], None]) -> None:
    """
    Serve on 127.0.0.1 until cancelled; then the port and the connections are closed.

    @param port: the TCP port; 0 lets the system choose.
    @param ready: called once with the port that is listened on.
    @raise OSError: when the port is taken.
    """
    loop = asyncio.get_running_loop()
    server = ModelServer(loop.call_later)
    listener = await loop.create_server(lambda: ModelConnection(server), "127.0.0.1", port, backlog=1024)
    try:
        ready(listener.sockets[0].getsockname()[1])
        await asyncio.Event().wait()
    finally:
        listener.close()
        for transport in list(server.transports):
            transport.close()


def main(argv: Sequence[str] | None = None) -> None:
    """
    Serve until SIGTERM or SIGINT.

    @param argv: the arguments; L{None} takes the process's.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.model_server", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="TCP port on 127.0.0.1 (default: any free one, printed)")
    options = parser.parse_args(argv)

    async def until_signal() -> None:
        loop = asyncio.get_running_loop()
        task = loop.create_task(serve(options.port, lambda port: print(f"listening on 127.0.0.1:{port}", flush=True)))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(until_signal())


if __name__ == "__main__":
    main()
