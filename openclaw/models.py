"""The seams of the model servers: what a model is asked, and the Protocols that L{openclaw.providers} implements."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Protocol, Self

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


ThinkingFormat = Literal["openai", "openrouter", "deepseek", "together", "qwen", "qwen-chat-template", "zai"]
"""How a server is told to think: by OpenAI's C{reasoning_effort}, or by a switch of its own."""

MaxTokensField = Literal["max_completion_tokens", "max_tokens"]
"""The names that servers have for the limit of an answer."""


@attrs.frozen
class MessageForm:
    """
    How messages are written for a model.

    @ivar developer_role: the system message is one of the role C{developer}.
    @ivar string_content: the content is always a text, never missing.
    @ivar strict_keys: nothing but C{role} and C{content}; calls and their results become texts.
    @ivar reasoning: what is done with the reasoning of earlier answers: C{None} leaves it out, C{content} sends it
        back as C{reasoning_content} where there is some, C{always} with each of them, C{text} as a part of the text.
    @ivar tool_result_name: a result of a call names its function.
    @ivar assistant_after_tool: an assistant message must stand between results and the user's next words.
    """

    developer_role: bool = False
    string_content: bool = False
    strict_keys: bool = False
    reasoning: Literal["content", "always", "text"] | None = None
    tool_result_name: bool = False
    assistant_after_tool: bool = False


@attrs.frozen
class ThinkingForm:
    """
    How a model is told how much to think, where a client says so.

    @ivar format: the spelling of the switch.
    @ivar takes_effort: whether the server knows C{reasoning_effort}.
    @ivar efforts: the words for it that the server knows; empty if that is not known.
    @ivar words: the server's word for one of ours; C{None} for one that is not to be sent.
    """

    format: ThinkingFormat = "openai"
    takes_effort: bool = True
    efforts: tuple[str, ...] = ()
    words: Mapping[str, str | None] = attrs.field(factory=dict)


@attrs.frozen
class BodyForm:
    """
    Which fields the body of a call has beside the messages.

    @ivar max_tokens_field: the name of the token limit.
    @ivar stream_usage: whether usage is asked for with C{stream_options}.
    @ivar temperature: whether the server takes C{temperature}.
    @ivar store: whether the server knows C{store}, and then is told not to; C{None} if that is not known.
    @ivar params: further fields; what a client asks for beats them.
    @ivar overrides: further fields that beat all others but the model, the messages and the stream.
    """

    max_tokens_field: MaxTokensField = "max_completion_tokens"
    stream_usage: bool = True
    temperature: bool = True
    store: bool | None = None
    params: Mapping[str, Any] = attrs.field(factory=dict)
    overrides: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class ModelProfile:
    """
    What a model takes, as the configuration says.

    @ivar headers: further headers of its calls; they beat the provider's.
    @ivar think_tags: whether a C{<think>} block of its text is reasoning.
    @ivar session_ids: makes what its provider is told as the name of a session, of the session's key; C{None} if it is
        told nothing.
    """

    messages: MessageForm = MessageForm()
    thinking: ThinkingForm = attrs.field(factory=ThinkingForm)
    body: BodyForm = attrs.field(factory=BodyForm)
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    think_tags: bool = True
    session_ids: Callable[[str], str] | None = attrs.field(default=None, repr=False)


@attrs.frozen
class ModelRequest:
    """
    One call of a model.

    @ivar model: the model's id at its provider, without the provider's name.
    @ivar messages: the whole prompt, system message first.
    @ivar sampling: as the client asked, the token limit already bounded by the model's.
    @ivar profile: what the model takes.
    @ivar session_id: what the provider is told as the name of the session; C{None} if it is told nothing.
    @ivar offers_tools: whether the model is offered any tool; of one that is not, calls are no part of its answer.
    """

    model: str
    messages: Sequence[Message]
    sampling: Sampling
    profile: ModelProfile = attrs.field(factory=ModelProfile)
    session_id: str | None = None
    offers_tools: bool = False


@attrs.frozen
class Lesson:
    """
    What a server taught us about one of its models.

    @ivar ref: C{provider/model}.
    @ivar field: what it refuses and is not sent any more.
    @ivar setting: the setting of the model that says the same for good, as C{key: value}; C{None} if there is none.
    @ivar reason: the server's own words, fit to be shown.
    @ivar learned_at_s: when, in seconds since 1970.
    """

    ref: str
    field: str
    setting: str | None
    reason: str
    learned_at_s: float


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
    @ivar context_window: tokens that the model can read, prompt and answer together.
    @ivar max_tokens: most tokens that one answer may have; C{None} if the configuration does not say.
    @ivar keys: what is told of keys that were refused; C{None} for a provider with one key or none.
    @ivar profile: what the model takes.
    """

    ref: str
    provider: ModelProvider
    context_window: int
    max_tokens: int | None
    keys: KeyedModels | None = None
    profile: ModelProfile = attrs.field(factory=ModelProfile)

    @property
    def provider_id(self) -> str:
        """The part of the name before the first slash."""
        return self.ref.partition("/")[0]

    @property
    def model_id(self) -> str:
        """The rest of the name, which is the provider's own for the model."""
        return self.ref.partition("/")[2]


class ModelCatalog(Protocol):
    """Finds models by their reference."""

    def resolve(self, ref: str) -> ResolvedModel:
        """
        Find a model.

        @param ref: C{provider/model}.
        @raise openclaw.errors.ModelNotFound: if no such provider is configured.
        """

    def lessons(self) -> Sequence[Lesson]:
        """What servers taught since the start, oldest first."""
