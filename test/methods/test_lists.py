"""Tests of L{openclaw.methods.models}, L{openclaw.methods.agents} and L{openclaw.methods.presence}."""

from __future__ import annotations

from typing import Any

import msgspec

from openclaw.config.agents import AgentDefaults, AgentEntry, AgentsConfig, ModelChoice
from openclaw.config.models import ModelConfig, ModelsConfig, ProviderConfig
from openclaw.config.schema import Config
from openclaw.config.secret import Secret
from openclaw.errors import InvalidRequest
from openclaw.models import Lesson
from test.fakes import config_with
from test.methods.support import READER, MethodTestCase

MODELS = ModelsConfig(
    providers={
        "p": ProviderConfig(
            "http://127.0.0.1:9/v1",
            models=(ModelConfig("one", name="Model One", context_window=8000, reasoning=True), ModelConfig("a/two")),
        ),
        "keyless": ProviderConfig(
            "http://127.0.0.1:9/v1", api_key=Secret("${KEY}", missing=("KEY",)), models=(ModelConfig("m"),)
        ),
    }
)
CONFIG = Config(
    models=MODELS,
    agents=AgentsConfig(
        entries={
            "main": AgentEntry(name="Main", description="does it", default=True),
            "other": AgentEntry(model=ModelChoice("p/a/two", ("p/unlisted", "nobody/m")), workspace="/w/other"),
        },
        defaults=AgentDefaults(model=ModelChoice("p/one"), workspace="/w"),
    ),
)


class LearnedTests(MethodTestCase):
    """C{models.learned}."""

    def test_told(self) -> None:
        """What servers refused, with the setting that says it for good."""
        self.assertEqual({"learned": []}, self.ok(self.gateway.call("models.learned", {}, READER)))
        setting = "compat.supportsUsageInStreaming: false"
        self.gateway.bench.catalog.taught.append(Lesson("p/m", "stream_options", setting, "no such field", 1.5))
        row = {
            "model": "p/m",
            "field": "stream_options",
            "setting": setting,
            "reason": "no such field",
            "learnedAt": 1500,
        }
        self.assertEqual({"learned": [row]}, self.ok(self.gateway.call("models.learned", {}, READER)))


class ModelsTests(MethodTestCase):
    """C{models.list}."""

    def list(self, **params: Any) -> dict[str, dict[str, Any]]:
        """The rows by C{provider/id}."""
        answer = self.ok(self.gateway.call("models.list", params, READER))
        return {f"{row['provider']}/{row['id']}": row for row in answer["models"]}

    def test_embedded(self) -> None:
        """Without a configuration there is the embedded model."""
        row = {
            "id": "smollm2-135m",
            "name": "smollm2-135m",
            "provider": "local",
            "contextWindow": 4096,
            "reasoning": False,
            "input": ["text"],
            "tags": ["default"],
            "thinkingLevels": [{"id": "off", "label": "off"}],
            "thinkingDefault": "off",
            "available": True,
            "local": True,
        }
        self.assertEqual({"local/smollm2-135m": row}, self.list())

    def test_configured(self) -> None:
        """The models of the providers and those that agents use; the default one first."""
        self.gateway.use(CONFIG)
        rows = self.list(view="configured", sessionKey="agent:main:main")
        self.assertEqual(["p/one", "p/a/two", "keyless/m", "p/unlisted", "nobody/m"], list(rows))
        self.assertEqual(("Model One", 8000, True, 6), _facts(rows["p/one"]))
        self.assertEqual(("a/two", 200_000, False, 1), _facts(rows["p/a/two"]))
        self.assertEqual(["default"], rows["p/one"]["tags"])
        self.assertEqual([], rows["p/unlisted"]["tags"])
        available = {ref: row["available"] for ref, row in rows.items()}
        self.assertEqual(
            {"p/one": True, "p/a/two": True, "p/unlisted": True, "keyless/m": False, "nobody/m": False}, available
        )
        self.assertNotIn("contextWindow", rows["nobody/m"])

    def test_of_an_agent(self) -> None:
        """The marks are those of the agent that is named."""
        self.gateway.use(CONFIG)
        tags = {ref: row["tags"] for ref, row in self.list(agentId="other").items() if row["tags"]}
        self.assertEqual({"p/a/two": ["default"], "p/unlisted": ["fallback"], "nobody/m": ["fallback"]}, tags)

    def test_no_default(self) -> None:
        """Where no agent is the default no model is."""
        self.gateway.use(config_with({"a": AgentEntry(), "b": AgentEntry()}))
        self.assertEqual([[]], [row["tags"] for row in self.list().values()])

    def test_refused(self) -> None:
        """A view or an agent that is not there."""
        for params, field in (({"view": "provider-config"}, "view"), ({"agentId": "nope"}, "agentId")):
            called = self.gateway.call("models.list", params, READER)
            self.assertEqual(field, self.refused(called, InvalidRequest).param)
        self.assertRaises(msgspec.ValidationError, self.gateway.call, "models.list", {"all": True})


def _facts(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["name"], row["contextWindow"], row["reasoning"], len(row["thinkingLevels"])


class AgentsTests(MethodTestCase):
    """C{agents.list}."""

    def list(self) -> Any:
        """Its answer."""
        return self.ok(self.gateway.call("agents.list", {}, READER))

    def test_implicit(self) -> None:
        """Without a configuration there is one agent."""
        self.assertEqual(
            {
                "defaultId": "main",
                "mainKey": "main",
                "scope": "per-sender",
                "ownership": "sole",
                "selectionRequired": False,
                "agents": [{"id": "main", "kind": "agent", "model": {"primary": "local/smollm2-135m"}}],
            },
            self.list(),
        )

    def test_configured(self) -> None:
        """What the configuration says of each."""
        self.gateway.use(CONFIG)
        answer = self.list()
        self.assertEqual(("explicit", False), (answer["ownership"], answer["selectionRequired"]))
        main, other = answer["agents"]
        self.assertEqual(
            {
                "id": "main",
                "kind": "agent",
                "name": "Main",
                "description": "does it",
                "model": {"primary": "p/one"},
                "workspace": "/w",
            },
            main,
        )
        self.assertEqual({"primary": "p/a/two", "fallbacks": ["p/unlisted", "nobody/m"]}, other["model"])
        self.assertEqual("/w/other", other["workspace"])

    def test_no_default(self) -> None:
        """Where none is the default the client has to choose; it begins with the first one."""
        self.gateway.use(config_with({"a": AgentEntry(), "b": AgentEntry()}))
        answer = self.list()
        self.assertEqual(("a", True), (answer["defaultId"], answer["selectionRequired"]))
        self.assertRaises(msgspec.ValidationError, self.gateway.call, "agents.list", {"x": 1})


class PresenceTests(MethodTestCase):
    """C{system-presence}."""

    def test_list(self) -> None:
        """What the connections' layer tells, as a bare list."""
        self.assertEqual([], self.ok(self.gateway.call("system-presence", {}, READER)))
        self.gateway.present.append({"mode": "gateway"})
        self.assertEqual([{"mode": "gateway"}], self.ok(self.gateway.call("system-presence", {}, READER)))
