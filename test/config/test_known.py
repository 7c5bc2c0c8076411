"""The original's settings that we accept."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from openclaw.config.agents import AgentDefaults, AgentEntry, AgentsConfig, ListedAgent
from openclaw.config.compat import CompatConfig
from openclaw.config.gateway import AuthConfig, ControlUiConfig, GatewayConfig, HttpConfig
from openclaw.config.known import UNUSED, names_at, pattern_of, without_unused
from openclaw.config.load import parse_config
from openclaw.config.models import ModelConfig, ModelsConfig, ProviderConfig
from openclaw.config.schema import Config
from openclaw.config.structure import disk_name

from .documents import provider


def _document(path: str, names: frozenset[str]) -> dict[str, Any]:
    """A document that holds the names at a place, with what must stand beside them."""
    leaf: dict[str, Any] = {name: {"any": [None]} for name in names}
    if path.endswith("models.*"):
        leaf["id"] = "m"
    elif path.endswith("compat"):
        leaf = {"id": "m", "compat": leaf}
        path = path.removesuffix(".compat")
    elif path == "agents.list.*":
        leaf["id"] = "a"
    elif path == "models.providers.*":
        leaf = provider(**leaf)
    elif path == "gateway.auth.trustedProxy":
        leaf["userHeader"] = "x-user"
    document: Any = leaf
    parts = path.split(".") if path else []
    for depth in range(len(parts) - 1, -1, -1):
        part, parent = parts[depth], ".".join(parts[:depth])
        if part == "*":
            document = [document] if parent in ("agents.list", "models.providers.*.models") else {"one": document}
        else:
            document = {part: document}
            if pattern_of(parts[:depth]) == "models.providers.*":
                document = provider(**document)
    assert isinstance(document, dict)
    return document


class KnownTests(SynchronousTestCase):
    """L{UNUSED} and what is done with it."""

    def test_all_are_accepted(self) -> None:
        """Every listed setting is accepted at its place with any content, and named, once."""
        for path, names in UNUSED.items():
            _, warnings = parse_config(_document(path, names), {})
            expected = {f"{path}.{name}" if path else name for name in names} - {"meta", "wizard"}
            self.assertEqual(1, len(warnings), path)
            found = warnings[0].removeprefix("these settings are accepted and not used: ").split(", ")
            self.assertEqual(sorted(expected), sorted(found), path)

    def test_none_is_used(self) -> None:
        """A setting that a class has as its field must not be listed: it would never arrive."""
        for path, cls in {
            "": Config,
            "gateway": GatewayConfig,
            "gateway.auth": AuthConfig,
            "gateway.controlUi": ControlUiConfig,
            "gateway.http": HttpConfig,
            "models": ModelsConfig,
            "models.providers.*": ProviderConfig,
            "models.providers.*.models.*": ModelConfig,
            "models.providers.*.models.*.compat": CompatConfig,
            "agents": AgentsConfig,
            "agents.defaults": AgentDefaults,
            "agents.entries.*": AgentEntry,
            "agents.list.*": ListedAgent,
        }.items():
            fields: Any = attrs.fields(cls)
            self.assertFalse({disk_name(field) for field in fields} & UNUSED.get(path, frozenset()), path)

    def test_named_once(self) -> None:
        """A setting that stands in many providers is named once."""
        document = {"models": {"providers": {name: {"region": "x"} for name in "abc"}}}
        kept, names = without_unused(document)
        self.assertEqual(["models.providers.*.region"], names)
        self.assertEqual({"models": {"providers": {"a": {}, "b": {}, "c": {}}}}, kept)

    def test_wrong_shapes_stay(self) -> None:
        """What is no object or list is left for the complaint that follows."""
        document = {"gateway": 1, "models": {"providers": [3]}, "agents": {"list": {"x": 1}, "entries": None}}
        self.assertEqual((document, []), without_unused(document))

    def test_names_at(self) -> None:
        """The names at the path of a concrete provider."""
        self.assertIn("region", names_at(("models", "providers", "acme")))
        self.assertEqual(frozenset(), names_at(("nowhere",)))
