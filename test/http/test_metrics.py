"""Tests of L{openclaw.http.metrics} and of the route."""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from openclaw.config.agents import AgentDefaults, AgentEntry, AgentsConfig, ModelChoice
from openclaw.config.gateway import MetricsConfig
from openclaw.config.models import ModelConfig, ModelsConfig, ProviderConfig
from openclaw.config.schema import Config
from openclaw.events import EventBus
from openclaw.http.metrics import configured_models, make_metrics
from test.http.support import GatewayTestCase
from test.test_metrics import INFO, FakeQueue, over


class RouteTests(GatewayTestCase):
    def public(self) -> None:
        gateway = attrs.evolve(self.config.gateway, metrics=MetricsConfig(public=True))
        self.config = attrs.evolve(self.config, gateway=gateway)

    def test_text(self) -> None:
        answer = self.ask("GET", "/metrics")
        self.assertEqual(answer.status, 200)
        self.assertTrue(answer.headers["content-type"].startswith("text/plain; version="), answer.headers)
        self.assertIn(b"# TYPE openclaw_run_completed_total counter\n", answer.body)

    def ask_without(self, *headers: str, method: str = "GET", host: str = "127.0.0.1") -> int:
        client = self.connect()
        client.request(method, "/metrics", *headers, host=host)
        self.tick()
        return client.answer().status

    def test_credential(self) -> None:
        self.assertEqual(self.ask_without(), 401)
        self.public()
        self.assertEqual(self.ask_without(), 200)
        self.assertEqual(self.ask_without("Authorization: Bearer wrong"), 200)

    def test_public_is_not_for_pages_of_other_names(self) -> None:
        self.public()
        self.assertEqual(self.ask_without(host="evil.example"), 403)

    def test_method(self) -> None:
        self.assertEqual(self.ask("POST", "/metrics").status, 405)
        self.public()
        self.assertEqual(self.ask_without(method="POST"), 405)


def config(*models: str) -> Config:
    """A configuration with these models at the provider p."""
    return Config(
        models=ModelsConfig(
            providers={"p": ProviderConfig("http://h/v1", models=tuple(ModelConfig(name) for name in models))}
        ),
        agents=AgentsConfig(
            defaults=AgentDefaults(model=ModelChoice("q/a", ("q/b",))),
            entries={"x": AgentEntry(model=ModelChoice("q/c")), "y": AgentEntry()},
        ),
    )


class LabelTests(SynchronousTestCase):
    def test_models(self) -> None:
        found = config("m", "n")
        self.assertEqual(configured_models(found), {"p/m", "p/n", "q/a", "q/b", "q/c", found.models.local_ref})
        self.assertEqual(configured_models(Config()), {Config().models.local_ref})

    def test_of_the_configuration_in_force(self) -> None:
        current = [config("m")]
        metrics, bus = make_metrics(lambda: current[0], ["health"]), EventBus()
        metrics.watch(bus, FakeQueue())

        def calls(model: str) -> float | None:
            """How many calls are counted under a model, after one more of C{p/n} by the agent C{x}."""
            bus.publish(over(info=attrs.evolve(INFO, agent_id="x", model_ref="p/n"), model_ref="p/n"))
            labels = {"model": model, "outcome": "completed"}
            return metrics.registry.get_sample_value("openclaw_model_call_total", labels)

        self.assertEqual((calls("p/n"), calls("other")), (None, 2.0))
        current[0] = config("n")
        self.assertEqual((calls("p/n"), calls("other")), (1.0, 2.0))
        labels = {"agent": "x", "outcome": "completed"}
        self.assertEqual(metrics.registry.get_sample_value("openclaw_run_completed_total", labels), 4.0)
