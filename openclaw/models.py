"""The seams of the model servers: what a model is asked, and the Protocols that L{openclaw.providers} implements."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

import attrs

from openclaw.errors import OpenClawError
from openclaw.events import ProviderEvent
from openclaw.messages import Message


@attrs.frozen
class Sampling:
    """
    How the model is to pick its words; C{None} leaves a setting to the provider.

    @ivar stop: at most four texts that end the answer.
    @ivar response_format: the client's C{response_format} object as raw JSON.
    """

    temperature: float | None = None
    top_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    max_tokens: int | None = None
    response_format: bytes | None = None
    reasoning_effort: str | None = None


@attrs.frozen
class ModelRequest:
    """
    One call of a model.

    @ivar model: the model's id at its provider, without the provider's name.
    @ivar messages: the whole prompt, system message first.
    @ivar sampling: as the client asked, the token limit already bounded by the model's.
    @ivar offers_tools: whether the model is offered any tool; of one that is not, calls are no part of its answer.
    """

    model: str
    messages: Sequence[Message]
    sampling: Sampling
    offers_tools: bool = False


class ProviderStream(Protocol):
    """
    One model call under way, used by C{async with}.

    Entering sends the request and returns at the response's head.  Iterating gives batches of events and ends
    after the model's last one.  Leaving, or L{close}, aborts the connection if the answer is not complete.

    Entering and iterating raise L{openclaw.errors.ProviderError} or one of its kind.  Cancelling the Deferred
    that either awaits aborts the connection.
    """

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None: ...

    def __aiter__(self) -> Self: ...

    async def __anext__(self) -> Sequence[ProviderEvent]: ...

    def close(self) -> None:
        """Abort the call now; harmless when it is over."""


class ModelProvider(Protocol):
    """A model server."""

    def stream(self, request: ModelRequest) -> ProviderStream:
        """Prepare a call; nothing is sent before the stream is entered."""


class KeyedModels(Protocol):
    """The keys of a provider that has several, as one run sees them."""

    def refused(self, error: OpenClawError) -> bool:
        """
        Note that the key of the last call was refused.

        @return: whether there is one that was not refused in this run; the next call uses it.
        """


@attrs.frozen
class ResolvedModel:
    """
    A model that a run can use.

    @ivar ref: C{provider/model}, the name in the configuration.
    @ivar provider_id: the part before the first slash.
    @ivar model_id: the rest, which is the provider's own name for it.
    @ivar context_window: tokens that the model can read, prompt and answer together.
    @ivar max_tokens: most tokens that one answer may have; C{None} if the configuration does not say.
    @ivar keys: what is told of keys that were refused; C{None} for a provider with one key or none.
    """

    ref: str
    provider_id: str
    model_id: str
    provider: ModelProvider
    context_window: int
    max_tokens: int | None
    keys: KeyedModels | None = None


class ModelCatalog(Protocol):
    """Finds models by their reference."""

    def resolve(self, ref: str) -> ResolvedModel:
        """
        Find a model.

        @param ref: C{provider/model}.
        @raise openclaw.errors.ModelNotFound: if no such provider is configured.
        """
