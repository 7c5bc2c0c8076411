"""
Model servers that speak OpenAI's chat completions.

Calls always stream, also for a client that does not: then a call that hangs is noticed, and one that is cancelled
costs nothing more.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred
from twisted.web.iweb import IResponse

from openclaw.errors import LastingProviderFailure, OpenClawError, ProviderError, ProviderFailed, ProviderRejected
from openclaw.events import ProviderEvent
from openclaw.interfaces import Clock
from openclaw.models import ModelRequest
from openclaw.providers.body import BodyReceiver, receive
from openclaw.providers.failures import error_of_answer, log_unreadable, said_in
from openclaw.providers.http import post, request_headers
from openclaw.providers.learning import MAX_RESENDS, Learned, names, refused_fields
from openclaw.providers.openai_chunks import ChunkReader
from openclaw.providers.openai_request import Endpoint, PostAddress, address_of, encode_call, headers_of
from openclaw.providers.sse import BOM, MAX_EVENT_BYTES, SseParser

MAX_ERROR_BYTES = 64 * 1024
"""Most of the body of an error answer that is read."""

ERROR_BODY_TIMEOUT_S = 5.0
"""Seconds for reading the body of an error answer."""

MAX_SILENT_BYTES = 2 * MAX_EVENT_BYTES
"""
Most of an answer that may come without telling anything, in bytes.

Comments and empty texts are signs of life, by which a server that thinks is known; so many are of one that is broken.
"""

TRAILER_TIMEOUT_S = 5.0
"""Seconds that usage and C{[DONE]} may take after the model's last word; the answer is whole without them."""

DRAIN_TIMEOUT_S = 2.0
"""Seconds that the end of a body may take after C{[DONE]} before its connection is given up."""


class OpenAICompletionsProvider:
    """
    A L{openclaw.models.ModelProvider} over one L{Endpoint}.

    @ivar endpoint: that endpoint.
    """

    def __init__(
        self, endpoint: Endpoint, http_client: HTTPClient, clock: Clock, learned: Learned | None = None
    ) -> None:
        """
        @param http_client: as L{openclaw.providers.http.make_http_client} makes it.
        @param clock: for the deadlines.
        @param learned: what is known of servers, and added to; without it nothing is remembered.
        """
        self.endpoint = endpoint
        self._http_client = http_client
        self._clock = clock
        self._address = address_of(endpoint)
        self._learned = Learned(clock.seconds) if learned is None else learned

    def stream(self, request: ModelRequest) -> CompletionStream:
        """See L{openclaw.models.ModelProvider.stream}."""
        return CompletionStream(self.endpoint, self._address, self._http_client, self._clock, request, self._learned)


class CompletionStream:
    """
    One call under way: a L{openclaw.models.ProviderStream}.

    The finish and the usage are in its last batch, in this order.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        address: PostAddress | None,
        http_client: HTTPClient,
        clock: Clock,
        request: ModelRequest,
        learned: Learned,
    ) -> None:
        """@param address: made of the endpoint; C{None} if its base URL is none."""
        self._endpoint = endpoint
        self._address = address
        secrets = () if address is None else address.secrets
        self._secrets = (*secrets, *request.profile.headers.values())
        self._http_client = http_client
        self._clock = clock
        self._request = request
        self._learned = learned
        self._opening: Deferred[IResponse] | None = None
        self._body: BodyReceiver | None = None
        self._parser = SseParser()
        self._reader = self._new_reader()
        self._begun: bytes | None = None
        self._document: list[bytes] | None = None
        self._document_bytes = 0
        self._form_known = False
        self._silent_bytes = 0
        self._status = 0
        self._trailing = False
        self._over = False
        self._failure: OpenClawError | None = None

    async def __aenter__(self) -> Self:
        """
        Send the request and wait for the head of its answer.  Cancelling aborts the connection.

        @raise openclaw.errors.ProviderError: or L{openclaw.errors.ContextTooLong}, if the call was not accepted.
        """
        response, body = await self._send_until_taken()
        content_type = response.headers.getRawHeaders("content-type", [""])[-1].lower()
        if "html" in content_type:
            # Mostly a page, which is to fail while another model can be asked; but some proxies call all so.
            self._begun = await _beginning(body)
            if _begins(self._begun)[:1] in (b"<", b""):
                body.abort()
                raise self._no_completion(self._begun)
        self._form_known = content_type.startswith("text/event-stream")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Close the call."""
        self.close()

    def __aiter__(self) -> Self:
        """The batches of this call."""
        return self

    async def __anext__(self) -> Sequence[ProviderEvent]:
        """
        The next batch: what one read of the network gave.  Cancelling aborts the connection.

        @raise openclaw.errors.ProviderError: if the provider reports an error, sends garbage, stops sending or cuts
            its answer off.  What came before it has been given.
        """
        while True:
            if self._failure is not None:
                failure, self._failure = self._failure, None
                raise failure
            if self._over or self._body is None:
                raise StopAsyncIteration
            events = await self._next_events(self._body)
            if events:
                return events

    def close(self) -> None:
        """Abort the call now; harmless when it is over.  Whoever waits for it gets L{ProviderFailed}."""
        if not self._over:
            self._over = True
            if self._body is not None:
                self._body.abort()
            elif self._opening is not None:
                self._opening.cancel()

    async def _next_events(self, body: BodyReceiver) -> list[ProviderEvent]:
        """The events of one read; empty if it held none, or if all that is left is L{_failure}."""
        data: bytes | None = None
        events: list[ProviderEvent] = []
        reader = self._reader
        try:
            data, self._begun = self._begun, None
            if data is None:
                data = await body.read()
            events = self._parse(data)
        except ProviderError as error:
            # What comes after the model's last word may be missing.
            if not reader.is_finished or self._over:
                return self._fail(error, events)
        # A document that is none may have been read by another one.
        reader = self._reader
        if reader.error is not None:
            if reader.garbage is not None:
                if data is None and (self._document is None or body.was_reset):
                    return self._fail(self._cut_off(), events)
                self._log_unreadable(reader.garbage)
            return self._fail(reader.error, events)
        if reader.over or (data is None and reader.is_finished):
            events.extend(reader.end())
            if reader.error is not None:
                return self._fail(reader.error, events)
            self._over = True
            body.drain(DRAIN_TIMEOUT_S)
        elif data is None:
            nothing = self._cut_off() if reader.seen or body.was_reset else self._no_completion()
            return self._fail(reader.said_instead() or nothing, events)
        else:
            self._limit_trailer(body)
        self._silent_bytes = 0 if events or data is None else self._silent_bytes + len(data)
        if self._silent_bytes > MAX_SILENT_BYTES and not self._over:
            silent = LastingProviderFailure(f"the provider {self._endpoint.name} sends on and says nothing")
            return self._fail(silent, events)
        return events

    def _limit_trailer(self, body: BodyReceiver) -> None:
        """Bound the time of what follows the model's last word, until it turns out that it was not the last one."""
        ends = self._reader.is_finished and not self._reader.may_go_on
        if ends == self._trailing:
            return
        self._trailing = ends
        if ends:
            body.limit(TRAILER_TIMEOUT_S)
        else:
            body.lift_limit()

    def _fail(self, error: OpenClawError, events: list[ProviderEvent]) -> list[ProviderEvent]:
        """Note how the call ends, for after C{events}, and drop the connection."""
        self._failure = error
        self.close()
        return events

    def _parse(self, data: bytes | None) -> list[ProviderEvent]:
        if not self._form_known and data:
            # Not declared as a stream of events: a JSON document begins like none, and a page neither.
            first = _begins(data)[:1]
            self._form_known = first != b""
            if first == b"<":
                raise self._no_completion(data)
            if first in (b"{", b"["):
                self._document = []
        if self._document is None:
            return self._reader.read(self._parser.finish() if data is None else self._parser.feed(data))
        if data is None:
            return self._read_document(b"".join(self._document))
        self._document.append(data)
        self._document_bytes += len(data)
        if self._document_bytes > MAX_EVENT_BYTES:
            raise LastingProviderFailure(f"the provider {self._endpoint.name} sent an answer that is too large")
        return []

    def _read_document(self, body: bytes) -> list[ProviderEvent]:
        """Read what began like a JSON document: one, or several in a row, or one before events."""
        events = self._reader.read_document(_begins(body))
        if self._reader.garbage is not None:
            reader, parser = self._new_reader(), SseParser()
            others = reader.read([*parser.feed(body), *parser.finish()])
            if reader.garbage is None and (others or reader.is_finished or reader.error is not None):
                self._reader = reader
                return others
        return events

    def _new_reader(self) -> ChunkReader:
        return ChunkReader(
            self._endpoint.name,
            self._secrets,
            takes_calls=self._request.offers_tools,
            think_tags=self._request.profile.think_tags,
        )

    async def _send_until_taken(self) -> tuple[IResponse, BodyReceiver]:
        """
        Send the request; once more without a field that the server refuses by name, for a bounded number of fields.

        @raise openclaw.errors.OpenClawError: as the server refused it.
        """
        ref = f"{self._endpoint.name}/{self._request.model}"
        without = set(self._learned.of(ref))
        refused: dict[str, str] = {}
        first: OpenClawError | None = None
        for resends in range(MAX_RESENDS + 1):
            call = encode_call(self._request, without)
            response, body = await self._send(call.data)
            if response.code // 100 == 2:
                if refused:
                    self._learned.keep(ref, refused)
                return response, body
            raw = await self._refused_body(body)
            error = error_of_answer(
                response.code, response.headers, raw, name=self._endpoint.name, secrets=self._secrets
            )
            fields = refused_fields(response.code, raw, call.optional) if isinstance(error, ProviderRejected) else ()
            if not fields or resends == MAX_RESENDS or self._over:
                break
            without.update(fields)
            refused |= dict.fromkeys(fields, said_in(raw, self._secrets))
            first = first or error
        # What the server says of a call without a field may be the same thing in other words.
        same = isinstance(error, ProviderRejected) and (fields or any(names(error.message, field) for field in refused))
        raise first if first is not None and same else error

    async def _send(self, data: bytes) -> tuple[IResponse, BodyReceiver]:
        """Send a body and wait for the head of the answer to it."""
        endpoint, address = self._endpoint, self._address
        if self._over:
            raise self._closed()
        if address is None:
            raise LastingProviderFailure(f"the baseUrl of the provider {endpoint.name} cannot be used")
        self._body = None
        self._opening = post(
            self._http_client,
            self._clock,
            address.url,
            request_headers(headers_of(address, self._request)),
            data,
            first_byte_timeout_s=endpoint.first_byte_timeout_s,
            name=endpoint.name,
        )
        try:
            response = await self._opening
        except CancelledError:
            if self._over:
                raise self._closed() from None
            raise
        self._status = response.code
        self._body = receive(response, self._clock, endpoint.idle_timeout_s, endpoint.name)
        return response, self._body

    async def _refused_body(self, body: BodyReceiver) -> bytes:
        """Read why the call was not accepted."""
        body.limit(ERROR_BODY_TIMEOUT_S)
        pieces: list[bytes] = []
        size = 0
        try:
            while size < MAX_ERROR_BYTES:
                data = await body.read()
                if data is None:
                    break
                pieces.append(data)
                size += len(data)
        except ProviderError:
            # The status says enough without the rest.
            pass
        body.abort()
        return b"".join(pieces)[:MAX_ERROR_BYTES]

    def _log_unreadable(self, beginning: bytes) -> None:
        log_unreadable(self._endpoint.name, self._status, beginning, self._secrets)

    def _closed(self) -> OpenClawError:
        return ProviderFailed(f"the call of the provider {self._endpoint.name} was closed")

    def _cut_off(self) -> OpenClawError:
        return ProviderFailed(f"the provider {self._endpoint.name} cut its answer off")

    def _no_completion(self, beginning: bytes = b"") -> OpenClawError:
        self._log_unreadable(beginning)
        return LastingProviderFailure(
            f"the provider {self._endpoint.name} sent an answer that is no chat completion; check its baseUrl"
        )


async def _beginning(body: BodyReceiver) -> bytes:
    """Read until something is there that is no blank; empty if there is nothing, or too many blanks."""
    data = b""
    while len(data) < MAX_ERROR_BYTES:
        more = await body.read()
        if more is None:
            break
        data += more
        if _begins(data):
            return data
    return b""


def _begins(data: bytes) -> bytes:
    """What an answer holds, from its first byte that is neither a blank nor a byte order mark."""
    return data.removeprefix(BOM).lstrip()
