"""A model server in memory: the real HTTP client over transports that a test reads and feeds by hand."""

from __future__ import annotations

import json
from typing import Any

from hyperlink import EncodedURL
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from openclaw.messages import Message
from openclaw.models import ModelRequest, Sampling
from openclaw.providers.http import make_agent, make_http_client, post, ready_url
from openclaw.providers.openai_completions import OpenAICompletionsProvider
from openclaw.providers.openai_request import Endpoint

REQUEST = ModelRequest("m", (Message("user", "hi"),), Sampling())


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """One chunk of a streamed completion."""
    choice = {"index": 0, "delta": delta or {}, "logprobs": None, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice], **more}


def text(content: str) -> dict[str, Any]:
    """A chunk with text."""
    return chunk({"content": content})


def usage(prompt: int = 10, completion: int = 3, **more: Any) -> dict[str, Any]:
    """The chunk that tells the usage."""
    counts = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion, **more}
    return {"id": "c", "object": "chat.completion.chunk", "choices": [], "usage": counts}


def event(document: Any) -> bytes:
    """A server-sent event."""
    return b"data: " + (document if isinstance(document, bytes) else json.dumps(document).encode()) + b"\n\n"


DONE = event(b"[DONE]")


class Wire(StringTransport):
    """A TCP transport in memory, which ends its connection a turn of the reactor after it was told to."""

    protocol: Any

    def __init__(self, reactor: MemoryReactorClock) -> None:
        super().__init__(lenient=True)
        self.reactor = reactor
        self.aborted = False
        self.lost = False

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing to delay."""

    def abortConnection(self) -> None:
        self.aborted = True
        self.reactor.callLater(0, self.lose, ConnectionAborted())

    def loseConnection(self) -> None:
        self.disconnecting = True
        self.reactor.callLater(0, self.lose, ConnectionDone())

    def lose(self, reason: Exception) -> None:
        if not self.lost:
            self.lost = True
            self.protocol.connectionLost(Failure(reason))


class Peer:
    """The server's end of one connection."""

    def __init__(self, reactor: MemoryReactorClock, factory: Any) -> None:
        self.wire = Wire(reactor)
        self.protocol = factory.buildProtocol(None)
        self.wire.protocol = self.protocol
        self.protocol.makeConnection(self.wire)

    def request(self) -> tuple[bytes, dict[str, str], bytes]:
        """Take the request that has come: its first line, headers in lower case, and body."""
        head, _, body = self.wire.value().partition(b"\r\n\r\n")
        self.wire.clear()
        first, *lines = head.split(b"\r\n")
        pairs = (line.decode().split(": ", 1) for line in lines)
        return first, {name.lower(): value for name, value in pairs}, body

    def send(self, data: bytes) -> None:
        """Let one read of the network happen."""
        self.protocol.dataReceived(data)

    def head(self, status: int = 200, content_type: str | None = "text/event-stream", **fields: str) -> None:
        """Send the head of an answer in chunked coding; an underscore stands for a dash."""
        lines = [f"HTTP/1.1 {status} X", *(f"{name.replace('_', '-')}: {value}" for name, value in fields.items())]
        if content_type is not None:
            lines.append(f"Content-Type: {content_type}")
        if "content_length" not in fields:
            lines.append("Transfer-Encoding: chunked")
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n")

    def chunks(self, *pieces: bytes, end: bool = False) -> None:
        """Send pieces of the body, each as a chunk of its own, all in one read of the network."""
        coded = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
        self.send(coded + (b"0\r\n\r\n" if end else b""))

    def events(self, *documents: Any, end: bool = False) -> None:
        """Send events, each as a chunk of its own, all in one read."""
        self.chunks(*(event(document) for document in documents), end=end)

    def answer(self, status: int, body: bytes, content_type: str = "application/json", **fields: str) -> None:
        """Send a whole answer."""
        self.head(status, content_type, content_length=str(len(body)), **fields)
        self.send(body)

    def close(self, reason: Exception | None = None) -> None:
        """Close the connection from this side."""
        self.wire.lose(reason or ConnectionDone())


class Client:
    """An HTTP client over a reactor in memory."""

    def __init__(self, **options: Any) -> None:
        self.reactor = MemoryReactorClock()
        self.agent = make_agent(self.reactor, **options)
        self.http_client = make_http_client(self.agent)
        self.accepted = 0

    def post(self, url: str = "http://127.0.0.1:8000/v1/x", first_byte_timeout_s: float = 30.0) -> Deferred[IResponse]:
        return post(
            self.http_client,
            self.reactor,
            ready_url(EncodedURL.from_text(url)),
            Headers({b"X-A": [b"1"]}),
            b"the body",
            first_byte_timeout_s=first_byte_timeout_s,
            name="mock",
        )

    def accept(self) -> Peer:
        factory = self.reactor.tcpClients[self.accepted][2]
        self.accepted += 1
        return Peer(self.reactor, factory)


class Upstream:
    """A provider whose server is the test."""

    def __init__(self, *, persistent: bool = True, **endpoint: Any) -> None:
        self.reactor = MemoryReactorClock()
        self.agent = make_agent(self.reactor, persistent=persistent)
        self.http_client = make_http_client(self.agent)
        fields: dict[str, Any] = {
            "base_url": "http://127.0.0.1:8000/v1",
            "api_key": "sk-very-secret",
            "headers": {},
            "first_byte_timeout_s": 120.0,
            "idle_timeout_s": 60.0,
            "name": "mock",
        }
        self.endpoint = Endpoint(**{**fields, **endpoint})
        self.provider = OpenAICompletionsProvider(self.endpoint, self.http_client, self.reactor)
        self._accepted = 0

    def accept(self) -> Peer:
        """Accept the connection that is being made."""
        factory = self.reactor.tcpClients[self._accepted][2]
        self._accepted += 1
        return Peer(self.reactor, factory)

    def call(self, request: ModelRequest = REQUEST) -> Call:
        """Start a call that takes every batch at once."""
        return Call(self, request)

    def answering(self, request: ModelRequest = REQUEST) -> tuple[Call, Peer]:
        """Start a call and answer it with the head of a stream."""
        call = self.call(request)
        peer = self.accept()
        peer.request()
        peer.head()
        return call, peer


class Call:
    """A caller of a provider."""

    def __init__(self, upstream: Upstream, request: ModelRequest) -> None:
        self.batches: list[list[Any]] = []
        self.entered = False
        self.stream = upstream.provider.stream(request)
        self.done: Deferred[None] = Deferred.fromCoroutine(self._run())

    async def _run(self) -> None:
        async with self.stream as stream:
            self.entered = True
            async for batch in stream:
                self.batches.append(list(batch))

    @property
    def events(self) -> list[Any]:
        """All events of all batches."""
        return [event for batch in self.batches for event in batch]
