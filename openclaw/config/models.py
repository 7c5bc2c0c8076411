"""The section C{models}: model servers, and the embedded model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import attrs

from openclaw.config.checks import HEADER_NAME, HTTP_URL, Between, Text
from openclaw.config.compat import CompatConfig, checked_levels, checked_params
from openclaw.config.gateway import Problem
from openclaw.config.request import RequestConfig
from openclaw.config.secret import Secret

DEFAULT_CONTEXT_TOKENS = 200_000
"""Context window of a model about which the configuration says nothing."""

LOCAL_PROVIDER = "local"
"""Name of the embedded model's provider."""

DEFAULT_MAX_WAIT_S = 300.0
"""Longest wait for a turn at a model server about which the configuration says nothing, in seconds."""

SERVED_APIS = ("openai-completions",)
"""Wire protocols of model servers that work."""

Api = Literal[
    "openai-completions",
    "openai-responses",
    "openai-chatgpt-responses",
    "anthropic-messages",
    "google-generative-ai",
    "google-vertex",
    "github-copilot",
    "bedrock-converse-stream",
    "ollama",
    "pi-messages",
    "azure-openai-responses",
]
"""Wire protocols that the original's schema names."""

Tokens = Annotated[int, Between(1, 1_000_000_000)]
"""A number of tokens."""


def _check_api(api: str | None, path: tuple[str, ...], problem: Problem) -> None:
    if api is not None and api not in SERVED_APIS:
        problem((*path, "api"), f'"{api}" is not available yet; available: {", ".join(SERVED_APIS)}')


@attrs.frozen
class ModelConfig:
    """
    C{models.providers.<id>.models[]}: one model of a server.

    @ivar id: name of the model at the server.
    @ivar name: what people see in place of the id.
    @ivar api: wire protocol in place of the provider's.
    @ivar base_url: URL in place of the provider's; not available yet.
    @ivar context_window: tokens that it can read, prompt and answer together.
    @ivar context_tokens: accepted and not used; C{contextWindow} counts.
    @ivar max_tokens: most tokens of one answer; without it the provider's.
    @ivar reasoning: whether it thinks before it answers; it gets the reasoning of its earlier answers back.
    @ivar input: kinds of content that it takes.
    @ivar headers: a header of calls of this model; it beats the provider's of that name.
    @ivar params: a further field of the call's body, with any content; what a client asks for beats it.  The fields of
        an extra body in it beat those, too.
    @ivar thinking_level_map: the server's word for a level of thinking; null for one that is not to be sent.
    @ivar send_session_id: in place of the provider's.
    @ivar compat: how its server differs from OpenAI's own.
    """

    id: Text
    name: Text | None = None
    api: Api | None = None
    base_url: Text | None = None
    context_window: Tokens = DEFAULT_CONTEXT_TOKENS
    context_tokens: Tokens | None = None
    max_tokens: Tokens | None = None
    reasoning: bool = False
    input: tuple[Literal["text", "image", "audio", "video"], ...] = ("text",)
    headers: Mapping[Annotated[str, HEADER_NAME], Secret] = attrs.field(factory=dict)
    params: Mapping[str, Any] = attrs.field(factory=dict)
    thinking_level_map: Mapping[str, Any] = attrs.field(factory=dict)
    send_session_id: bool | None = None
    compat: CompatConfig = attrs.field(factory=CompatConfig)

    def settled(self, problem: Problem) -> Self:
        """Refuse a protocol that we don't speak yet, and fields of a body that are not to be set."""
        _check_api(self.api, (), problem)
        if self.base_url is not None:
            problem(("baseUrl",), "a URL for one model is not available yet; make it a provider of its own")
        params = checked_params(self.params, ("params",), problem)
        levels = checked_levels(self.thinking_level_map, ("thinkingLevelMap",), problem)
        return attrs.evolve(self, params=params, thinking_level_map=levels)


@attrs.frozen
class ProviderConfig:
    """
    C{models.providers.<id>}: a model server.

    @ivar base_url: URL that C{/chat/completions} is appended to.
    @ivar api_key: sent as bearer token.
    @ivar api_keys: further ones, used in this order where one is refused.
    @ivar auth: how the key came about; C{api-key} and C{token} are served, and sent alike.
    @ivar api: wire protocol of the server; C{openai-completions} is served.
    @ivar headers: a header that is sent with every request.
    @ivar timeout_seconds: longest silence of the server, seconds; without it 120, in a network of one's own 300.
    @ivar max_tokens: most tokens of one answer, for models that don't say it themselves.
    @ivar max_concurrent: calls at a time, of all runs together; without it any number.
    @ivar max_wait_seconds: longest wait of a run for its turn at the server, seconds.
    @ivar request: how the server is reached: proxy, certificates, further headers.
    @ivar models: what is known of single models; others of the server can be used, too.
    @ivar params: a further field of each call's body; those of a model beat it.
    @ivar auth_header: true sends the key in C{Authorization} whatever C{headers} say; false does not send it there, and
        C{headers} must say who we are.
    @ivar inject_num_ctx: true asks Ollama for a window of the model's C{contextWindow}.
    @ivar local_service: a server that is started when it is needed; not available yet.
    @ivar send_session_id: whether calls have C{X-Session-ID}, a name of the session that does not change.
    """

    base_url: Annotated[str, HTTP_URL]
    api_key: Secret | None = None
    api_keys: tuple[Secret, ...] = ()
    auth: Literal["api-key", "token", "oauth", "aws-sdk"] = "api-key"
    api: Api = "openai-completions"
    headers: Mapping[Annotated[str, HEADER_NAME], Secret] = attrs.field(factory=dict)
    timeout_seconds: Annotated[float, Between(1, 86_400)] | None = None
    max_tokens: Tokens | None = None
    max_concurrent: Annotated[int, Between(1, 1_000_000)] | None = None
    max_wait_seconds: Annotated[float, Between(0, 86_400)] = DEFAULT_MAX_WAIT_S
    request: RequestConfig | None = None
    models: tuple[ModelConfig, ...] = ()
    params: Mapping[str, Any] = attrs.field(factory=dict)
    auth_header: bool | None = None
    inject_num_ctx: bool = attrs.field(default=False, metadata={"disk": "injectNumCtxForOpenAICompat"})
    local_service: Mapping[str, Any] | None = None
    send_session_id: bool = True

    @property
    def all_headers(self) -> Mapping[str, Secret]:
        """The headers of every call; those of C{request} beat the others, whatever the case of a name."""
        if self.request is None:
            return self.headers
        beating = self.request.all_headers
        names = {name.lower() for name in beating}
        return {name: value for name, value in self.headers.items() if name.lower() not in names} | dict(beating)

    @property
    def says_who_we_are(self) -> bool:
        """Whether a header, or a user in the URL, does without a key."""
        if any(name.lower() in ("authorization", "x-api-key", "api-key") for name in self.all_headers):
            return True
        return "@" in self.base_url.partition("://")[2].partition("/")[0]

    def settled(self, problem: Problem) -> Self:
        """Refuse a protocol that we don't speak yet, two models of one name, and what a model would need to answer."""
        _check_api(self.api, (), problem)
        if self.auth not in ("api-key", "token"):
            problem(("auth",), f'"{self.auth}" is not available yet; use "api-key"')
        seen: set[str] = set()
        for index, model in enumerate(self.models):
            if model.id in seen:
                problem(("models", str(index), "id"), f'a second model "{model.id}"')
            seen.add(model.id)
        if self.local_service is not None:
            problem(
                ("localService",), "a server cannot be started by the gateway yet; start it as a service of its own"
            )
        if self.auth_header is False and not self.all_headers and (self.api_key is not None or self.api_keys):
            problem(("authHeader",), "false leaves no place for the API key; name the header that takes it in headers")
        params = checked_params(self.params, ("params",), problem)
        return attrs.evolve(self, base_url=self.base_url.rstrip("/"), params=params)


@attrs.frozen
class LocalModelConfig:
    """
    C{models.local}: the embedded model.

    @ivar path: a GGUF file to use in place of the known weights.
    @ivar model: name of known weights.
    @ivar context_tokens: tokens of one conversation, prompt and answer together.
    @ivar max_tokens: most tokens of one answer.  A small model does not always come to an end, and an answer that
        fills the conversation leaves no room for a next one.
    @ivar parallel: conversations at a time.
    @ivar threads: threads of the model's process; without it as many as fit the cores.
    """

    path: Text | None = None
    model: Text = "smollm2-135m"
    context_tokens: Annotated[int, Between(256, 1_048_576)] = 4096
    max_tokens: Annotated[int, Between(1, 1_048_576)] = 512
    parallel: Annotated[int, Between(1, 64)] = 2
    threads: Annotated[int, Between(1, 1024)] | None = None


@attrs.frozen
class ModelsConfig:
    """
    C{models}.

    @ivar mode: accepted and not used; there are no built-in providers that could be added or replaced.
    @ivar providers: the model servers by name.
    """

    mode: Literal["merge", "replace"] = "merge"
    providers: Mapping[str, ProviderConfig] = attrs.field(factory=dict)
    local: LocalModelConfig = attrs.field(factory=LocalModelConfig)

    @property
    def local_ref(self) -> str:
        """The embedded model as C{provider/model}."""
        return f"{LOCAL_PROVIDER}/{self.local.model}"

    def max_concurrent(self, provider_id: str) -> int | None:
        """How many calls of a provider there may be at a time; C{None} for any number."""
        if provider_id == LOCAL_PROVIDER:
            return self.local.parallel
        provider = self.providers.get(provider_id)
        return None if provider is None else provider.max_concurrent

    def max_wait_s(self, provider_id: str) -> float:
        """How long a run may wait for its turn at a provider, in seconds."""
        provider = self.providers.get(provider_id)
        return DEFAULT_MAX_WAIT_S if provider is None else provider.max_wait_seconds

    def why_not_served(self, ref: str) -> str | None:
        """
        What keeps a model from answering, as far as the configuration tells.

        @param ref: C{provider/model}.
        @return: what is missing, in half a sentence; C{None} if nothing is.
        """
        provider_id = ref.partition("/")[0]
        if provider_id == LOCAL_PROVIDER:
            return None if ref == self.local_ref else f"the embedded model is {self.local_ref}, not {ref}"
        return None if provider_id in self.providers else f"no provider is configured for {ref}"

    def settled(self, problem: Problem) -> Self:
        """Check the names of providers, which become the part of a model's name before its first slash."""
        for name in self.providers:
            if not name.strip() or name != name.strip():
                problem(("providers",), "a provider's name must not be empty or have blanks around it")
            elif "/" in name:
                problem(("providers", name), 'a provider\'s name must not hold "/"')
            elif name == LOCAL_PROVIDER:
                problem(("providers", name), "this name is reserved for the embedded model; see models.local")
        return self
