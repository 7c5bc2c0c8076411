"""The models that the configuration names, found by their reference."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import attrs
from hyperlink import EncodedURL
from treq.client import HTTPClient

from openclaw.config.models import LOCAL_PROVIDER, ModelConfig, ProviderConfig
from openclaw.config.schema import Config
from openclaw.config.secret import Secret
from openclaw.errors import ModelNotFound, ProviderAuthFailed
from openclaw.interfaces import Clock
from openclaw.models import Lesson, ModelProfile, ModelProvider, ResolvedModel
from openclaw.providers.http import DIRECT, Way
from openclaw.providers.keys import KeyedProvider, KeyRing
from openclaw.providers.learning import Learned
from openclaw.providers.openai_completions import OpenAICompletionsProvider
from openclaw.providers.openai_request import Endpoint
from openclaw.providers.profile import profile_of
from openclaw.providers.ways import way_of

REMOTE_TIMEOUT_S = 120.0
"""Seconds to the first byte and between two of them, where the configuration does not say."""

SELF_HOSTED_TIMEOUT_S = 300.0
"""The same for a model server on this machine or in this network, which may have to load its model first."""

_PRIVATE_SUFFIXES = (".localhost", ".local", ".internal", ".lan", ".home.arpa")


class Catalog:
    """
    A L{openclaw.models.ModelCatalog} over the live configuration.

    The provider of an unchanged configuration is the same object each time; a changed one gets a new one, and calls
    under way keep theirs.  All providers that are reached in the same way share their connections, so a key that
    changes costs none.
    """

    def __init__(
        self,
        current_config: Callable[[], Config],
        http_client: HTTPClient,
        clock: Clock,
        local: ModelProvider | None,
        environ: Callable[[], Mapping[str, str]] = dict,
        session_ids: Callable[[str], str] | None = None,
        client_of: Callable[[Way], HTTPClient] | None = None,
    ) -> None:
        """
        @param http_client: for servers that are reached directly.
        @param current_config: gives the configuration that counts now.
        @param local: the embedded model, or C{None} if it does not run.
        @param environ: gives the environment that counts now, for what the configuration leaves to it: keys,
            proxies, authorities.
        @param session_ids: makes what providers are told as the name of a session, of the session's key.
        @param client_of: gives the client for any other way; without it all servers are reached directly.
        """
        self._current_config = current_config
        self._http_client = http_client
        self._clock = clock
        self._local = local
        self._environ = environ
        self._session_ids = session_ids
        self._client_of = client_of
        self._learned = Learned(clock.seconds)
        self._made: dict[str, _Made] = {}

    def resolve(self, ref: str) -> ResolvedModel:
        """
        Find a model.

        A model that its provider's configuration does not list is left to the provider to know.

        @param ref: C{provider/model}, split at the first slash.
        @raise ModelNotFound: if it is not of that form, if there is no such provider, or if the embedded model is
            another one or does not run.
        @raise ProviderAuthFailed: if the provider's key needs an environment variable that is not set.
        @raise LastingProviderFailure: if the way to the provider cannot be gone.
        """
        # A provider with several keys is another object for each run, which knows what that run has tried.
        provider_id, _, model_id = ref.partition("/")
        if not provider_id or not model_id:
            raise ModelNotFound(f'the model "{ref}" is not of the form provider/model')
        if provider_id == LOCAL_PROVIDER:
            return self._resolve_local(ref)
        config = self._current_config().models.providers.get(provider_id)
        if config is None:
            raise ModelNotFound(f'the provider "{provider_id}" of the model "{ref}" is not configured')
        made = self._up_to_date(provider_id, config)
        model, profile = made.model(model_id, self._session_ids)
        _check_set(provider_id, model.headers)
        provider = self._provider(provider_id, made)
        return ResolvedModel(
            ref=ref,
            provider=provider,
            context_window=min(model.context_window, model.context_tokens or model.context_window),
            max_tokens=model.max_tokens or config.max_tokens,
            keys=provider if isinstance(provider, KeyedProvider) else None,
            profile=profile,
        )

    def lessons(self) -> Sequence[Lesson]:
        """See L{openclaw.models.ModelCatalog.lessons}."""
        return self._learned.lessons()

    def _resolve_local(self, ref: str) -> ResolvedModel:
        models = self._current_config().models
        if ref != models.local_ref:
            raise ModelNotFound(f'there is no model "{ref}"; the embedded model is "{models.local_ref}"')
        if self._local is None:
            raise ModelNotFound("the embedded model does not run here: no agent of the configuration uses it")
        return ResolvedModel(
            ref=ref,
            provider=self._local,
            context_window=models.local.context_tokens,
            max_tokens=models.local.max_tokens,
            profile=ModelProfile(session_ids=self._session_ids),
        )

    def _up_to_date(self, provider_id: str, config: ProviderConfig) -> _Made:
        """What is made for a provider, anew as far as its configuration or the environment is another one."""
        environ = self._environ()
        made = self._made.get(provider_id)
        if made is not None and made.config is config and made.environ == environ:
            return made
        keys = keys_of(provider_id, config, environ)
        way = DIRECT if self._client_of is None else way_of(provider_id, config, environ)
        keyless = attrs.evolve(config, api_key=None, api_keys=())
        if made is None or made.keyless != keyless or made.way != way:
            ring = KeyRing(self._clock) if made is None else made.ring
            self._learned.forget(provider_id)
            configured = self._current_config().models.providers
            self._made = {name: kept for name, kept in self._made.items() if name in configured}
            self._made[provider_id] = made = _Made(keyless, way, ring)
        made.read(config, environ, keys)
        return made

    def _provider(self, provider_id: str, made: _Made) -> ModelProvider:
        keys = made.keys
        if len(keys) > 1:
            return KeyedProvider(provider_id, made.ring, keys, partial(self._with_key, made, provider_id))
        return self._with_key(made, provider_id, keys[0] if keys else None)

    def _with_key(self, made: _Made, provider_id: str, key: str | None) -> OpenAICompletionsProvider:
        provider = made.by_key.get(key)
        if provider is None:
            endpoint = endpoint_of(provider_id, made.keyless, key)
            client_of = None if made.way == DIRECT else self._client_of
            http_client = self._http_client if client_of is None else client_of(made.way)
            provider = OpenAICompletionsProvider(endpoint, http_client, self._clock, self._learned)
            made.by_key[key] = provider
        return provider


@attrs.define(eq=False)
class _Made:
    """
    What was made for one provider of the configuration.

    @ivar keyless: its configuration without the keys.
    @ivar way: the way to its server.
    @ivar ring: what is known of its keys; outlives a change of the rest.
    @ivar by_key: the provider for each key that was used.
    @ivar config: its configuration, as it was read last.
    @ivar environ: the environment of then.
    @ivar keys: its keys, as of both.
    """

    keyless: ProviderConfig
    way: Way
    ring: KeyRing
    by_key: dict[str | None, OpenAICompletionsProvider] = attrs.field(factory=dict, repr=False)
    config: ProviderConfig | None = None
    environ: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    keys: tuple[str, ...] = attrs.field(default=(), repr=False)
    _models: dict[str, tuple[ModelConfig, ModelProfile]] = attrs.field(factory=dict, init=False)

    def read(self, config: ProviderConfig, environ: Mapping[str, str], keys: tuple[str, ...]) -> None:
        """Take over what was read anew, and forget the providers of keys that are not used any more."""
        self.config, self.environ, self.keys = config, dict(environ), keys
        self._models.clear()
        for key in [key for key in self.by_key if key not in (keys or (None,))]:
            del self.by_key[key]

    def model(self, model_id: str, session_ids: Callable[[str], str] | None) -> tuple[ModelConfig, ModelProfile]:
        """A model's entry, or one with nothing but its id, and its profile."""
        known = self._models.get(model_id)
        if known is not None:
            return known
        assert self.config is not None
        model = next((model for model in self.config.models if model.id == model_id), None)
        entry = ModelConfig(model_id) if model is None else model
        made = entry, profile_of(self.config, entry, session_ids)
        if model is not None:
            # Of the others there may be any number.
            self._models[model_id] = made
        return made


def keys_of(provider_id: str, config: ProviderConfig, environ: Mapping[str, str]) -> tuple[str, ...]:
    """
    The keys of a configured provider in the order in which they are to be used; none if it takes none.

    C{apiKey}, then C{apiKeys}.  Where neither is there, and nothing else that says who we are, those of the
    environment: C{<ID>_API_KEYS}, separated by commas, then C{<ID>_API_KEY}.

    @raise ProviderAuthFailed: if no key is usable and one needs an environment variable that is not set.
    """
    given = [config.api_key] if config.api_key is not None else []
    given += config.api_keys
    if config.auth_header is False or (config.request is not None and config.request.says_who_we_are):
        return ()
    if not given:
        # The provider's own configuration beats the environment.
        named_elsewhere = config.says_who_we_are and not config.auth_header
        return () if named_elsewhere else keys_of_environ(provider_id, environ)
    keys = dict.fromkeys(secret.reveal().strip() for secret in given if secret.usable)
    missing = [name for secret in given for name in secret.missing]
    if missing and not keys:
        raise _missing(provider_id, missing[0])
    return tuple(keys)


def keys_of_environ(provider_id: str, environ: Mapping[str, str]) -> tuple[str, ...]:
    """
    The keys of a provider in the environment, none twice.

    @param provider_id: each of its characters but letters and digits is C{_} in the variables' names.
    """
    prefix = re.sub("[^A-Za-z0-9]", "_", provider_id).upper()
    listed = environ.get(f"{prefix}_API_KEYS", "").split(",")
    keys = (key.strip() for key in (*listed, environ.get(f"{prefix}_API_KEY", "")))
    return tuple(dict.fromkeys(key for key in keys if key))


def _missing(provider_id: str, variable: str) -> ProviderAuthFailed:
    return ProviderAuthFailed(f"the provider {provider_id} needs the environment variable {variable}, not set")


def _check_set(provider_id: str, headers: Mapping[str, Secret]) -> None:
    missing = [name for secret in headers.values() for name in secret.missing]
    if missing:
        raise _missing(provider_id, missing[0])


def endpoint_of(provider_id: str, config: ProviderConfig, api_key: str | None) -> Endpoint:
    """
    Make the endpoint of a configured provider.

    @param api_key: one of its L{keys_of}, or C{None}.
    @raise ProviderAuthFailed: if a header needs an environment variable that is not set.
    """
    headers = config.all_headers
    _check_set(provider_id, headers)
    timeout_s = config.timeout_seconds
    if timeout_s is None:
        timeout_s = SELF_HOSTED_TIMEOUT_S if is_self_hosted(config.base_url) else REMOTE_TIMEOUT_S
    return Endpoint(
        base_url=config.base_url,
        api_key=api_key,
        headers={name: value.reveal() for name, value in headers.items()},
        first_byte_timeout_s=timeout_s,
        idle_timeout_s=timeout_s,
        name=provider_id,
        key_wins=config.auth_header is True,
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
