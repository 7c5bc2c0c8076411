"""Tests of L{openclaw.providers.registry}."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from openclaw.config.models import LocalModelConfig, ModelConfig, ModelsConfig, ProviderConfig
from openclaw.config.schema import Config
from openclaw.config.secret import Secret
from openclaw.errors import ModelNotFound, ProviderAuthFailed
from openclaw.interfaces import ModelProvider
from openclaw.providers.openai_completions import OpenAICompletionsProvider
from openclaw.providers.registry import Catalog, endpoint_of, is_self_hosted
from openclaw.providers.scripted import ScriptedProvider

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


class CatalogTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.config = config()

    def catalog(self, local: ModelProvider | None = None) -> Catalog:
        return Catalog(lambda: self.config, None, Clock(), local)  # type: ignore[arg-type]

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
        self.config = config(LocalModelConfig(context_tokens=2048))
        local = ScriptedProvider()
        model = self.catalog(local).resolve("local/smollm2-135m")
        self.assertIs(local, model.provider)
        self.assertEqual(
            ("local/smollm2-135m", "local", "smollm2-135m"), (model.ref, model.provider_id, model.model_id)
        )
        self.assertEqual((2048, None), (model.context_window, model.max_tokens))

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


class EndpointOfTests(SynchronousTestCase):
    def test_fields(self) -> None:
        """Secrets are revealed here and nowhere before."""
        endpoint = endpoint_of("openai", OPENAI)
        self.assertEqual(("sk-1", {"X-A": "1"}, "openai"), (endpoint.api_key, endpoint.headers, endpoint.name))
        self.assertIsNone(endpoint_of("ollama", OLLAMA).api_key)
        self.assertIsNone(endpoint_of("openai", attrs.evolve(OPENAI, api_key=Secret(" "))).api_key)

    def test_timeouts(self) -> None:
        """120 s, 300 s where the server is our own, or as configured."""
        rows: list[tuple[Any, float]] = [
            (OPENAI, 120.0),
            (OLLAMA, 300.0),
            (attrs.evolve(OPENAI, timeout_seconds=7.0), 7.0),
            (attrs.evolve(OLLAMA, timeout_seconds=7.0), 7.0),
        ]
        for provider, seconds in rows:
            endpoint = endpoint_of("p", provider)
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
