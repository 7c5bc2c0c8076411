"""What an edit takes."""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from openclaw.config.load import parse_config
from openclaw.config.reload_rules import (
    changed_keys,
    effect_of,
    local_refs,
    needs_local_model,
    restart_keys,
    with_hot_changes,
)
from openclaw.config.schema import Config

from .documents import one_provider


def parsed(document: object) -> Config:
    return parse_config(document, {})[0]


class ChangedKeysTests(SynchronousTestCase):
    """L{changed_keys}."""

    def test_names(self) -> None:
        """Records and maps are walked, what was added or removed is named as a whole."""
        old = parsed({**one_provider(apiKey="a"), "agents": {"entries": {"x": {}}}})
        new = parsed({**one_provider(apiKey="b", maxTokens=5), "agents": {"entries": {"y": {}}}, "env": {"A": "1"}})
        self.assertEqual(
            [
                "models.providers.p.apiKey",
                "models.providers.p.maxTokens",
                "agents.entries.x",
                "agents.entries.y",
                "env.A",
            ],
            list(changed_keys(old, new)),
        )
        self.assertEqual([], list(changed_keys(old, old)))


class RulesTests(SynchronousTestCase):
    """L{effect_of} and L{restart_keys}."""

    def test_longest_name(self) -> None:
        """The longest name that a key has or lies under decides; what is not named needs a restart."""
        for key, effect in {
            "$schema": "none",
            "meta.lastTouchedAt": "none",
            "gateway.reload.mode": "none",
            "gateway.remote.token": "none",
            "agents": "hot",
            "agents.entries.x.model": "hot",
            "models.providers.p.apiKey": "hot",
            'models.providers["a.b"].apiKey': "hot",
            'models["providers"]': "hot",
            "models.local.path": "restart",
            "models.locally": "hot",
            "agentsOther": "restart",
            "gateway": "restart",
            "gateway.mode": "restart",
            "gateway.port": "restart",
            "gateway.bind": "restart",
            "gateway.customBindHost": "restart",
            "gateway.tls.enabled": "restart",
            "gateway.auth": "restart",
            "gateway.auth.mode": "restart",
            "gateway.auth.trustedProxy.userHeader": "restart",
            "gateway.auth.token": "hot",
            "gateway.auth.password": "hot",
            "gateway.auth.rateLimit.maxAttempts": "hot",
            "gateway.http.endpoints.chatCompletions.enabled": "hot",
            "gateway.http.securityHeaders.strictTransportSecurity": "none",
            "gateway.shutdownDrainMs": "hot",
            "env.vars.A": "hot",
            "cron.enabled": "none",
            "cronx.enabled": "restart",
            "agents.entries.x.heartbeat": "hot",
            "": "restart",
        }.items():
            self.assertEqual(effect, effect_of(key), key)

    def test_restart_keys(self) -> None:
        """Those that need a restart, in their order."""
        keys = ["gateway.port", "agents.defaults.model", "gateway.reload.mode", "gateway.bind"]
        self.assertEqual(("gateway.port", "gateway.bind"), restart_keys(keys))


class HotChangesTests(SynchronousTestCase):
    """L{with_hot_changes}."""

    def test_both_sides(self) -> None:
        """Each key comes from the side that its rule says."""
        running = parsed(
            {
                "gateway": {"port": 1, "bind": "custom", "customBindHost": "127.0.0.2", "auth": {"token": "a"}},
                "models": {"local": {"threads": 1}},
            }
        )
        edited = parsed(
            {
                **one_provider(),
                "gateway": {
                    "port": 2,
                    "bind": "lan",
                    "auth": {"mode": "password", "password": "p", "rateLimit": {}},
                    "shutdownDrainMs": 3,
                    "reload": {"mode": "off"},
                },
                "agents": {"entries": {"x": {}}},
                "$schema": "s",
            }
        )
        merged = with_hot_changes(running, edited)
        gateway = merged.gateway
        self.assertEqual((1, "custom", "127.0.0.2"), (gateway.port, gateway.bind, gateway.custom_bind_host))
        self.assertEqual((3, "off"), (gateway.shutdown_drain_ms, gateway.reload.mode))
        self.assertIsNone(gateway.auth.mode)
        self.assertEqual(edited.gateway.auth.rate_limit, gateway.auth.rate_limit)
        self.assertEqual((1, ["p"]), (merged.models.local.threads, list(merged.models.providers)))
        self.assertEqual((edited.agents, "s"), (merged.agents, merged.schema))
        self.assertEqual(
            ["gateway.port", "gateway.bind", "gateway.customBindHost", "gateway.auth.mode", "models.local.threads"],
            list(changed_keys(merged, edited)),
        )
        self.assertEqual(edited, with_hot_changes(edited, edited))

    def test_every_key_has_one_side(self) -> None:
        """What differs between the outcome and the edit takes a restart, and nothing else does."""
        running, edited = Config(), parsed({**one_provider(), "gateway": {"port": 2, "tls": {"enabled": False}}})
        merged = with_hot_changes(running, edited)
        self.assertEqual(restart_keys(changed_keys(running, edited)), tuple(changed_keys(merged, edited)))


class LocalModelTests(SynchronousTestCase):
    """L{local_refs} and L{needs_local_model}."""

    def test_needed(self) -> None:
        """An agent without a model needs the embedded one, and one that falls back on it."""
        for agents, needed in (
            ({}, True),
            ({"defaults": {"model": "p/m"}}, False),
            ({"defaults": {"model": {"primary": "p/m", "fallbacks": ["local/smollm2-135m"]}}}, True),
            ({"defaults": {"model": "p/m"}, "entries": {"a": {"model": "local/smollm2-135m"}}}, True),
            ({"defaults": {"model": "local/other"}}, False),
        ):
            config = parsed({**one_provider(), "agents": agents})
            self.assertEqual(needed, needs_local_model(config), agents)
        self.assertEqual(frozenset({"local/other"}), local_refs(config))
        other = attrs.evolve(
            config, models=attrs.evolve(config.models, local=attrs.evolve(config.models.local, model="other"))
        )
        self.assertTrue(needs_local_model(other))
