"""The roster, the default agent, models and time limits."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from openclaw.config.agents import AgentsConfig, ModelChoice
from openclaw.config.load import parse_config


def agents(**settings: Any) -> AgentsConfig:
    """The section C{agents}."""
    return parse_config({"agents": settings}, {})[0].agents


class AgentsTests(SynchronousTestCase):
    """L{AgentsConfig}."""

    def test_roster(self) -> None:
        """Both forms are merged, ids are normalised, the order is kept."""
        found = agents(entries={" Main ": {"name": "M"}}, list=[{"id": "R2", "name": "R", "default": True}])
        self.assertEqual(("main", "r2"), found.agent_ids)
        self.assertEqual(("M", "R"), (found.entries["main"].name, found.entries["r2"].name))
        self.assertEqual((), found.listed)
        self.assertEqual("r2", found.default_agent_id)

    def test_default_agent(self) -> None:
        """None: main.  One: that one.  Several: as the configuration says, else nobody."""
        two: dict[str, Any] = {"a": {}, "b": {}}
        self.assertEqual("main", agents().default_agent_id)
        self.assertEqual(("main",), agents().agent_ids)
        self.assertEqual("main", agents(defaults={"systemAgent": {"agentId": "MAIN"}}).default_agent_id)
        self.assertEqual("x", agents(entries={"X": {}}).default_agent_id)
        self.assertIsNone(agents(entries=two).default_agent_id)
        chosen = {"systemAgent": {"agentId": "B"}}
        self.assertEqual("b", agents(ownership="explicit", entries=two, defaults=chosen).default_agent_id)
        marked = {"a": {"default": True}, "b": {}}
        self.assertEqual("a", agents(entries=marked).default_agent_id)
        self.assertEqual("b", agents(entries=marked, defaults=chosen).default_agent_id)

    def test_model(self) -> None:
        """An agent's own model is the whole choice."""
        found = agents(
            defaults={"model": {"primary": "p/a", "fallbacks": ["p/b/c"]}},
            entries={"x": {"model": "p/d"}, "y": {}},
        )
        self.assertEqual(ModelChoice("p/d"), found.model_for("x"))
        self.assertEqual(ModelChoice("p/a", ("p/b/c",)), found.model_for("y"))
        self.assertEqual(("p/a", "p/b/c"), ModelChoice("p/a", ("p/b/c",)).refs)
        self.assertEqual(found.defaults.model, found.model_for("nobody"))
        self.assertIsNone(agents().model_for("main"))

    def test_timeout(self) -> None:
        """An agent's own limit, else the defaults'; 0 is none."""
        found = agents(defaults={"timeoutSeconds": 5}, entries={"x": {"timeoutSeconds": 0}, "y": {}})
        self.assertIsNone(found.timeout_for("x"))
        self.assertEqual(5, found.timeout_for("y"))
        self.assertEqual(172800, agents().timeout_for("main"))
