"""Tests of L{openclaw.providers.registry}."""

from __future__ import annotations

import weakref
from typing import Any

import attrs
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from openclaw.config.models import LocalModelConfig, ModelConfig, ModelsConfig, ProviderConfig
from openclaw.config.schema import Config
from openclaw.config.secret import Secret
from openclaw.errors import ModelNotFound, ProviderAuthFailed
from openclaw.models import ModelProvider, ModelRequest
from openclaw.providers import registry
from openclaw.providers.keys import KeyedProvider
from openclaw.providers.openai_completions import OpenAICompletionsProvider
from openclaw.providers.openai_request import Endpoint
from openclaw.providers.registry import Catalog, endpoint_of, is_self_hosted, keys_of, keys_of_environ
from openclaw.providers.scripted import ScriptedProvider
from test.providers.http_fakes import REQUEST

OPENAI = ProviderConfig(
    base_url="https://api.example.com/v1",
    api_key=Secret("sk-1"),
    headers={"X-A": Secret("1")},
    max_tokens=4096,
    models=(ModelConfig(id="big", context_window=128_000, max_tokens=16_000), ModelConfig(id="small")),
)
OLLAMA = ProviderConfig(
    base_url="http://127.0.0.1:11434/v1",
    models=(ModelConfig(id="small"), ModelConfig(id="llama", context_window=8192, context_tokens=4096)),
)


def config(local: LocalModelConfig | None = None, **providers: ProviderConfig) -> Config:
    models = ModelsConfig(providers=providers or {"openai": OPENAI, "ollama": OLLAMA})
    return Config(models=models if local is None else attrs.evolve(models, local=local))


class CatalogTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.config = config()
        self.clock = Clock()
        self.environ: dict[str, str] = {}

    def catalog(self, local: ModelProvider | None = None) -> Catalog:
        return Catalog(lambda: self.config, None, self.clock, local, lambda: self.environ)  # type: ignore[arg-type]


class CatalogTests(CatalogTestCase):
    def refused(self, ref: str, local: ModelProvider | None = None) -> str:
        return self.assertRaises(ModelNotFound, self.catalog(local).resolve, ref).message

    def test_listed(self) -> None:
        """A listed model has its own figures."""
        model = self.catalog().resolve("openai/big")
        self.assertEqual(("openai/big", "openai", "big"), (model.ref, model.provider_id, model.model_id))
        self.assertEqual((128_000, 16_000), (model.context_window, model.max_tokens))
        assert isinstance(model.provider, OpenAICompletionsProvider)
        self.assertEqual("https://api.example.com/v1", model.provider.endpoint.base_url)

    def test_defaults(self) -> None:
        """Figures that a model does not have are the provider's, else the defaults."""
        model = self.catalog().resolve("openai/small")
        self.assertEqual((200_000, 4096), (model.context_window, model.max_tokens))
        self.assertIsNone(self.catalog().resolve("ollama/small").max_tokens)

    def test_context_tokens(self) -> None:
        """A model may be given less context than it could have."""
        self.assertEqual(4096, self.catalog().resolve("ollama/llama").context_window)

    def test_not_listed(self) -> None:
        """A model that is not listed is left to its provider, slashes and all."""
        model = self.catalog().resolve("openai/meta/llama-3")
        self.assertEqual(("openai", "meta/llama-3"), (model.provider_id, model.model_id))
        self.assertEqual((200_000, 4096), (model.context_window, model.max_tokens))

    def test_unknown_provider(self) -> None:
        """An unknown provider is named."""
        message = self.refused("nobody/m")
        self.assertEqual('the provider "nobody" of the model "nobody/m" is not configured', message)

    def test_malformed(self) -> None:
        """Bare names, also of models that are listed, and names with an empty part are no references."""
        for ref in ("openai/", "/big", "/", "", "big", "smollm2-135m", "local"):
            self.assertIn("not of the form provider/model", self.refused(ref, ScriptedProvider()))

    def test_local(self) -> None:
        """The embedded model is its own provider."""
        self.config = config(LocalModelConfig(context_tokens=2048, max_tokens=100))
        local = ScriptedProvider()
        model = self.catalog(local).resolve("local/smollm2-135m")
        self.assertIs(local, model.provider)
        self.assertEqual(
            ("local/smollm2-135m", "local", "smollm2-135m"), (model.ref, model.provider_id, model.model_id)
        )
        self.assertEqual((2048, 100), (model.context_window, model.max_tokens))

    def test_other_local_model(self) -> None:
        """No other name under C{local/} is the embedded model's; the message says which is."""
        self.config = config(LocalModelConfig(model="tiny"))
        for ref in ("local/gpt-5", "local/tiny/x", "local/Tiny"):
            message = self.refused(ref, ScriptedProvider())
            self.assertEqual(f'there is no model "{ref}"; the embedded model is "local/tiny"', message)

    def test_local_is_missing(self) -> None:
        """Without the embedded model the message says how to get it."""
        self.assertIn("no agent of the configuration uses it", self.refused("local/smollm2-135m"))

    def test_providers_are_kept(self) -> None:
        """The same configuration gives the same provider, an equal one too, a changed one a new one."""
        catalog = self.catalog()
        first = catalog.resolve("openai/big").provider
        self.assertIs(first, catalog.resolve("openai/small").provider)
        self.config = config(openai=attrs.evolve(OPENAI))
        self.assertIs(first, catalog.resolve("openai/big").provider)
        self.config = config(openai=attrs.evolve(OPENAI, api_key=Secret("sk-2")))
        second = catalog.resolve("openai/big").provider
        self.assertIsNot(first, second)
        assert isinstance(second, OpenAICompletionsProvider)
        self.assertEqual("sk-2", second.endpoint.api_key)

    def test_removed_providers_are_forgotten(self) -> None:
        """A provider that was taken out of the configuration is made anew when it comes back."""
        catalog = self.catalog()
        first = catalog.resolve("openai/big").provider
        self.config = config(ollama=OLLAMA)
        catalog.resolve("ollama/llama")
        self.config = config()
        self.assertIsNot(first, catalog.resolve("openai/big").provider)

    def test_missing_variable(self) -> None:
        """A key or header that needs a variable which is not set is told by its variable."""
        absent = Secret("${MY_KEY}", missing=("MY_KEY",))
        for change in ({"api_key": absent}, {"headers": {"X-A": absent}}):
            self.config = config(openai=attrs.evolve(OPENAI, **change))
            error = self.assertRaises(ProviderAuthFailed, self.catalog().resolve, "openai/big")
            self.assertIn("MY_KEY", error.message)


class KeyTeller:
    """Stands for the provider of one key, and gives that in place of a stream."""

    def __init__(self, endpoint: Endpoint, *_: object) -> None:
        self.endpoint = endpoint

    def stream(self, request: ModelRequest) -> str | None:
        """The key."""
        return self.endpoint.api_key


class SeveralKeysTests(CatalogTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.made: weakref.WeakSet[KeyTeller] = weakref.WeakSet()

        def make(*arguments: Any) -> KeyTeller:
            teller = KeyTeller(*arguments)
            self.made.add(teller)
            return teller

        self.patch(registry, "OpenAICompletionsProvider", make)

    def key(self, provider: ModelProvider) -> str | None:
        """The key that the next call uses."""
        key: Any = provider.stream(REQUEST)
        assert key is None or isinstance(key, str)
        return key

    def test_rotation(self) -> None:
        """Each run has its own way through the keys, and all know which were refused lately."""
        self.config = config(openai=attrs.evolve(OPENAI, api_keys=(Secret("sk-2"), Secret("sk-3"))))
        catalog = self.catalog()
        first, second = (catalog.resolve("openai/big").provider for _ in range(2))
        assert isinstance(first, KeyedProvider) and isinstance(second, KeyedProvider)
        self.assertEqual("sk-1", self.key(first))
        self.assertTrue(first.refused(ProviderAuthFailed("401")))
        self.assertEqual(("sk-2", "sk-2"), (self.key(first), self.key(second)))
        self.clock.advance(60)
        self.assertEqual("sk-1", self.key(catalog.resolve("openai/big").provider))

    def test_edit_of_the_keys(self) -> None:
        """What is known of a key outlives an edit; providers of keys that are gone are forgotten."""
        catalog = self.catalog()
        plain = catalog.resolve("openai/big").provider
        self.config = config(openai=attrs.evolve(OPENAI, api_keys=(Secret("sk-2"),)))
        keyed = catalog.resolve("openai/big").provider
        assert isinstance(keyed, KeyedProvider)
        self.assertEqual("sk-1", self.key(keyed))
        keyed.refused(ProviderAuthFailed("401"))
        self.config = config(openai=attrs.evolve(OPENAI, timeout_seconds=5.0, api_keys=(Secret("sk-2"),)))
        self.assertEqual("sk-2", self.key(catalog.resolve("openai/big").provider))
        self.config = config()
        again = catalog.resolve("openai/big").provider
        self.assertIsNot(plain, again)
        self.assertIs(again, catalog.resolve("openai/big").provider)
        self.config = config(openai=attrs.evolve(OPENAI, api_key=Secret("sk-9")))
        catalog.resolve("openai/big")
        del plain, keyed, again
        self.assertEqual(["sk-9"], [teller.endpoint.api_key for teller in self.made])

    def test_missing_variable_of_one(self) -> None:
        """A key that lacks its variable keeps none of the others from being used."""
        absent = Secret("${MY_KEY}", missing=("MY_KEY",))
        self.config = config(openai=attrs.evolve(OPENAI, api_key=absent, api_keys=(Secret("sk-2"),)))
        self.assertEqual("sk-2", self.key(self.catalog().resolve("openai/big").provider))

    def test_environment(self) -> None:
        """A provider without a key has the environment's of now."""
        self.config = config(openai=attrs.evolve(OPENAI, api_key=None))
        catalog = self.catalog()
        self.assertIsNone(self.key(catalog.resolve("openai/big").provider))
        self.environ["OPENAI_API_KEY"] = "one"
        self.assertEqual("one", self.key(catalog.resolve("openai/big").provider))
        self.environ["OPENAI_API_KEYS"] = "two, three"
        keyed = catalog.resolve("openai/big").provider
        assert isinstance(keyed, KeyedProvider)
        for key in ("two", "three", "one"):
            self.assertEqual(key, self.key(keyed))
            keyed.refused(ProviderAuthFailed("401"))


class KeysOfTests(SynchronousTestCase):
    def test_configured(self) -> None:
        """The keys of the configuration in its order, none twice, blank ones left out; they beat the environment."""
        environ = {"OPENAI_API_KEY": "env"}
        for changes, keys in (
            ({}, ("sk-1",)),
            ({"api_keys": (Secret("sk-2"), Secret(" sk-1 "))}, ("sk-1", "sk-2")),
            ({"api_key": None, "api_keys": (Secret("b"), Secret("a"))}, ("b", "a")),
            ({"api_key": Secret(" ")}, ()),
        ):
            self.assertEqual(keys, keys_of("openai", attrs.evolve(OPENAI, **changes), environ))

    def test_who_needs_none(self) -> None:
        """A header or a user in the URL that says who we are does without the environment's key."""
        environ = {"P_API_KEY": "env"}
        bare = ProviderConfig(base_url="https://example.com/v1@x")
        self.assertEqual(("env",), keys_of("p", bare, environ))
        for name in ("Authorization", "x-api-key", "API-KEY"):
            self.assertEqual((), keys_of("p", attrs.evolve(bare, headers={name: Secret("1")}), environ))
        self.assertEqual((), keys_of("p", attrs.evolve(bare, base_url="https://a:b@example.com"), environ))

    def test_names(self) -> None:
        """Variables are named after the provider."""
        environ = {"MY_OWN_1_API_KEYS": " a ,,b,a", "MY_OWN_1_API_KEY": "b", "API_KEY": "x"}
        self.assertEqual(("a", "b"), keys_of_environ("my-own.1", environ))
        self.assertEqual((), keys_of_environ("other", environ))


class EndpointOfTests(SynchronousTestCase):
    def test_fields(self) -> None:
        """Secrets are revealed here and nowhere before."""
        endpoint = endpoint_of("openai", OPENAI, "sk-1")
        self.assertEqual(("sk-1", {"X-A": "1"}, "openai"), (endpoint.api_key, endpoint.headers, endpoint.name))
        self.assertIsNone(endpoint_of("ollama", OLLAMA, None).api_key)

    def test_timeouts(self) -> None:
        """120 s, 300 s where the server is our own, or as configured."""
        rows: list[tuple[Any, float]] = [
            (OPENAI, 120.0),
            (OLLAMA, 300.0),
            (attrs.evolve(OPENAI, timeout_seconds=7.0), 7.0),
            (attrs.evolve(OLLAMA, timeout_seconds=7.0), 7.0),
        ]
        for provider, seconds in rows:
            endpoint = endpoint_of("p", provider, None)
            self.assertEqual((seconds, seconds), (endpoint.first_byte_timeout_s, endpoint.idle_timeout_s))

    def test_self_hosted(self) -> None:
        """Addresses of this machine and of private networks, and names that are never public."""
        for host in (
            "127.0.0.1",
            "[::1]",
            "localhost:8000",
            "LOCALHOST",
            "10.1.2.3",
            "192.168.0.9",
            "172.16.0.1",
            "169.254.1.1",
            "[fd00::1]",
            "ollama",
            "box.local",
            "gpu.lan.",
            "host.docker.internal",
        ):
            self.assertTrue(is_self_hosted(f"http://{host}/v1"), host)
        for host in ("8.8.8.8", "[2001:4860::8]", "api.openai.com", "local.example.com", "172.32.0.1:x", ""):
            self.assertFalse(is_self_hosted(f"http://{host}/v1"), host)
