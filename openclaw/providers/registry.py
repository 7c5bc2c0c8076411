"""The models that the configuration names, found by their reference."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from hyperlink import EncodedURL
from treq.client import HTTPClient

from openclaw.config.models import LOCAL_PROVIDER, ModelConfig, ProviderConfig
from openclaw.config.schema import Config
from openclaw.errors import ModelNotFound, ProviderAuthFailed
from openclaw.interfaces import Clock, ModelProvider, ResolvedModel
from openclaw.providers.openai_completions import Endpoint, OpenAICompletionsProvider

REMOTE_TIMEOUT_S = 120.0
"""Seconds to the first byte and between two of them, where the configuration does not say."""

SELF_HOSTED_TIMEOUT_S = 300.0
"""The same for a model server on this machine or in this network, which may have to load its model first."""

DEFAULT_CONTEXT_WINDOW = 200_000
"""Tokens that a model can read, where the configuration does not say."""

_PRIVATE_SUFFIXES = (".localhost", ".local", ".internal", ".lan", ".home.arpa")


class Catalog:
    """
    A L{openclaw.interfaces.ModelCatalog} over the live configuration.

    The provider of an unchanged configuration is the same object each time; a changed one gets a new one, and calls
    under way keep theirs.
    """

    def __init__(
        self,
        current_config: Callable[[], Config],
        http_client: HTTPClient,
        clock: Clock,
        local: ModelProvider | None,
    ) -> None:
        """
        @param current_config: gives the configuration that counts now.
        @param local: the embedded model, or C{None} if it does not run.
        """
        self._current_config = current_config
        self._http_client = http_client
        self._clock = clock
        self._local = local
        self._made: dict[str, tuple[ProviderConfig, OpenAICompletionsProvider]] = {}

    def resolve(self, ref: str) -> ResolvedModel:
        """
        Find a model.

        A model that its provider's configuration does not list is left to the provider to know.

        @param ref: C{provider/model}, split at the first slash.
        @raise ModelNotFound: if it is not of that form, if there is no such provider, or if the embedded model is
            another one or does not run.
        @raise ProviderAuthFailed: if the provider's key needs an environment variable that is not set.
        """
        provider_id, _, model_id = ref.partition("/")
        if not provider_id or not model_id:
            raise ModelNotFound(f'the model "{ref}" is not of the form provider/model')
        if provider_id == LOCAL_PROVIDER:
            return self._resolve_local(ref, model_id)
        config = self._current_config().models.providers.get(provider_id)
        if config is None:
            raise ModelNotFound(f'the provider "{provider_id}" of the model "{ref}" is not configured')
        model = next((model for model in config.models if model.id == model_id), None)
        return ResolvedModel(
            ref=f"{provider_id}/{model_id}",
            provider_id=provider_id,
            model_id=model_id,
            provider=self._provider(provider_id, config),
            context_window=_context_window(model),
            max_tokens=_max_tokens(model, config),
        )

    def _resolve_local(self, ref: str, model_id: str) -> ResolvedModel:
        models = self._current_config().models
        if ref != models.local_ref:
            raise ModelNotFound(f'there is no model "{ref}"; the embedded model is "{models.local_ref}"')
        if self._local is None:
            raise ModelNotFound("the embedded model does not run here: no agent of the configuration uses it")
        return ResolvedModel(
            ref=ref,
            provider_id=LOCAL_PROVIDER,
            model_id=model_id,
            provider=self._local,
            context_window=models.local.context_tokens,
            max_tokens=None,
        )

    def _provider(self, provider_id: str, config: ProviderConfig) -> OpenAICompletionsProvider:
        made = self._made.get(provider_id)
        if made is not None and made[0] == config:
            return made[1]
        provider = OpenAICompletionsProvider(endpoint_of(provider_id, config), self._http_client, self._clock)
        configured = self._current_config().models.providers
        self._made = {name: kept for name, kept in self._made.items() if name in configured}
        self._made[provider_id] = (config, provider)
        return provider


def endpoint_of(provider_id: str, config: ProviderConfig) -> Endpoint:
    """
    Make the endpoint of a configured provider.

    @raise ProviderAuthFailed: if its key or a header needs an environment variable that is not set.
    """
    missing = [name for secret in (config.api_key, *config.headers.values()) if secret for name in secret.missing]
    if missing:
        raise ProviderAuthFailed(f"the provider {provider_id} needs the environment variable {missing[0]}, not set")
    timeout_s = config.timeout_seconds
    if timeout_s is None:
        timeout_s = SELF_HOSTED_TIMEOUT_S if is_self_hosted(config.base_url) else REMOTE_TIMEOUT_S
    return Endpoint(
        base_url=config.base_url,
        api_key=config.api_key.reveal() if config.api_key is not None and config.api_key.usable else None,
        headers={name: value.reveal() for name, value in config.headers.items()},
        first_byte_timeout_s=timeout_s,
        idle_timeout_s=timeout_s,
        name=provider_id,
    )


def is_self_hosted(base_url: str) -> bool:
    """
    Whether a URL's host is this machine or in a private network: by its address, or as a name without a dot or of a
    domain that is never public.  Nothing is looked up.
    """
    try:
        host = EncodedURL.from_text(base_url).host.lower().rstrip(".")
    except ValueError:
        return False
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return bool(host) and ("." not in host or host.endswith(_PRIVATE_SUFFIXES))


def _context_window(model: ModelConfig | None) -> int:
    if model is None:
        return DEFAULT_CONTEXT_WINDOW
    return model.context_window if model.context_tokens is None else min(model.context_window, model.context_tokens)


def _max_tokens(model: ModelConfig | None, config: ProviderConfig) -> int | None:
    if model is not None and model.max_tokens is not None:
        return model.max_tokens
    return config.max_tokens
