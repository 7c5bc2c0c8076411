"""
The embedded model as a provider.

A call waits until the child of L{openclaw.providers.local_process} serves and then is an ordinary
C{openai-completions} call to it.  The child closes idle connections after 5 s and a POST is not sent twice, so its
HTTP client must not keep any: C{make_agent(reactor, persistent=False)}.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred, TimeoutError  # noqa: A004
from twisted.internet.threads import deferToThreadPool

from openclaw.errors import ProviderFailed, ProviderTimeout
from openclaw.events import ProviderEvent
from openclaw.interfaces import Clock
from openclaw.models import ModelRequest, ProviderStream
from openclaw.providers.local_process import LocalModel
from openclaw.providers.local_spawn import LocalSettings
from openclaw.providers.openai_completions import OpenAICompletionsProvider
from openclaw.providers.openai_request import Endpoint
from openclaw.providers.weights import locate
from openclaw.waits import within

READY_TIMEOUT_S = 300.0
"""Longest wait of one call for the model to be ready; the caller's own deadline may be shorter."""


def make_local_model(
    reactor: Any, settings: LocalSettings, models_dir: Path, name: str, custom_path: Path | None = None
) -> LocalModel:
    """
    The embedded model that a configuration asks for, not started yet.

    @param reactor: the reactor, its thread pool included: files are read off its thread.
    @param models_dir: the folder of the pulled weights.
    @param name: C{models.local.model}.
    @param custom_path: C{models.local.path}.
    """

    def look() -> Deferred[Path]:
        return deferToThreadPool(reactor, reactor.getThreadPool(), locate, models_dir, name, custom_path)

    return LocalModel(reactor, settings, look)


class LocalProvider:
    """
    The L{openclaw.models.ModelProvider} of the embedded model.

    @param local_model: the child's supervisor.
    @param http_client: a client that keeps no connections.
    @param clock: measures L{READY_TIMEOUT_S} and the call's own deadlines.
    """

    def __init__(self, local_model: LocalModel, http_client: HTTPClient, clock: Clock) -> None:
        self._local_model = local_model
        self._http_client = http_client
        self._clock = clock
        self._served: OpenAICompletionsProvider | None = None

    def stream(self, request: ModelRequest) -> ProviderStream:
        """Prepare a call; nothing is sent, nor waited for, before the stream is entered."""

        def call(endpoint: Endpoint) -> ProviderStream:
            return self._provider(endpoint).stream(request)

        return _LocalStream(self._local_model, call, self._clock)

    def _provider(self, endpoint: Endpoint) -> OpenAICompletionsProvider:
        """The same one for as long as the child is the same, because it takes its address apart when it is made."""
        served = self._served
        if served is None or served.endpoint != endpoint:
            served = self._served = OpenAICompletionsProvider(endpoint, self._http_client, self._clock)
        return served


class _LocalStream:
    """A call that first waits for the model."""

    def __init__(self, local_model: LocalModel, call: Callable[[Endpoint], ProviderStream], clock: Clock) -> None:
        self._local_model = local_model
        self._call = call
        self._clock = clock
        self._waiting: Deferred[Endpoint] | None = None
        self._stream: ProviderStream | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        if self._closed:
            raise ProviderFailed("the call of the local model was closed before it began")
        self._waiting = self._local_model.ready()
        try:
            endpoint = await within(self._waiting, READY_TIMEOUT_S, self._clock)
        except TimeoutError:
            raise ProviderTimeout(f"the local model was not ready within {READY_TIMEOUT_S:g} s") from None
        except CancelledError:
            if self._closed:
                raise ProviderFailed("the call of the local model was closed while it waited") from None
            raise
        finally:
            self._waiting = None
        self._stream = self._call(endpoint)
        await self._stream.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._stream is not None:
            await self._stream.__aexit__(kind, error, tb)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Sequence[ProviderEvent]:
        if self._stream is None:
            raise StopAsyncIteration
        return await self._stream.__anext__()

    def close(self) -> None:
        """Abort the call, or the wait for the model, now; harmless when it is over."""
        self._closed = True
        if self._waiting is not None:
            self._waiting.cancel()
        if self._stream is not None:
            self._stream.close()
