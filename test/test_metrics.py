"""Tests of L{openclaw.metrics}."""

from __future__ import annotations

import timeit
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from openclaw import metrics as module
from openclaw.errors import OpenClawError, ProviderFailed, RunCancelled, RunTimeout
from openclaw.events import EventBus, RunBegan, RunInfo, RunOutcome, RunOver, RunTold, Timings
from openclaw.messages import Usage
from openclaw.metrics import Metrics, outcome_of, resident_bytes

INFO = RunInfo("r1", "r1", "main", "agent:main:x", "p/m", "webchat")


class FakeQueue:
    """Sizes as a test sets them."""

    waiting = 0
    live: tuple[object, ...] = ()


def over(error: OpenClawError | None = None, **changes: Any) -> RunOver:
    """The end of a run that took 3 s."""
    timings = Timings(100.0, admitted=100.0, let_in=100.5, placed=101.0, first_output=101.2)
    usage = Usage(10, 4, cached_tokens=3)
    outcome = RunOutcome("text", "stop", usage, error)
    return RunOver(
        changes.get("info", INFO),
        outcome,
        changes.get("timings", timings),
        changes.get("model_ref", "p/m"),
        103_000,
    )


class MetricsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.bus = EventBus()
        self.queue = FakeQueue()
        self.metrics = Metrics(lambda: ["main"], lambda: ["p/m", "p/n"], ["health"])
        self.unsubscribe = self.metrics.watch(self.bus, self.queue)

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)

    def test_a_run(self) -> None:
        self.bus.publish(RunBegan(INFO, (), 0))
        self.bus.publish(RunTold(INFO, ()))
        self.bus.publish(over())
        for name, labels, value in (
            ("openclaw_run_completed_total", {"outcome": "completed", "agent": "main"}, 1.0),
            ("openclaw_run_duration_seconds_sum", {"outcome": "completed"}, 3.0),
            ("openclaw_queue_lane_wait_seconds_sum", {"lane": "main"}, 0.5),
            ("openclaw_model_call_total", {"model": "p/m", "outcome": "completed"}, 1.0),
            ("openclaw_model_call_duration_seconds_sum", {"model": "p/m"}, 2.0),
            ("openclaw_model_tokens_total", {"model": "p/m", "kind": "input"}, 10.0),
            ("openclaw_model_tokens_total", {"model": "p/m", "kind": "output"}, 4.0),
            ("openclaw_model_tokens_total", {"model": "p/m", "kind": "cache_read"}, 3.0),
            ("openclaw_model_tokens_total", {"model": "p/m", "kind": "reasoning"}, None),
            ("openclaw_model_failover_total", {"from_model": "p/m", "to_model": "p/m"}, None),
        ):
            self.assertEqual(self.value(name, **labels), value, name)
        first_byte = self.value("openclaw_provider_first_byte_seconds_sum", model="p/m")
        assert first_byte is not None
        self.assertApproximates(first_byte, 0.2, 1e-6)

    def test_a_run_that_was_never_let_in(self) -> None:
        self.bus.publish(over(RunCancelled("x"), timings=Timings(100.0)))
        self.bus.publish(over(RunCancelled("x"), timings=Timings(100.0, placed=101.0)))
        self.assertEqual(self.value("openclaw_run_completed_total", outcome="aborted", agent="main"), 2.0)
        self.assertEqual(self.value("openclaw_queue_lane_wait_seconds_count", lane="main"), None)
        self.assertEqual(self.value("openclaw_model_call_duration_seconds_count", model="p/m"), 1.0)
        self.assertEqual(self.value("openclaw_provider_first_byte_seconds_count", model="p/m"), None)

    def test_a_clock_that_was_set_back(self) -> None:
        timings = Timings(200.0, admitted=200.0, let_in=100.0, placed=200.0, first_output=100.0)
        self.bus.publish(over(timings=timings))
        self.assertEqual(self.value("openclaw_run_duration_seconds_sum", outcome="completed"), 0.0)

    def test_outcomes(self) -> None:
        for error, label in (
            (None, "completed"),
            (RunCancelled("x"), "aborted"),
            (RunTimeout("x"), "timeout"),
            (ProviderFailed("x"), "error"),
        ):
            self.assertEqual(outcome_of(error), label)

    def test_failover(self) -> None:
        self.bus.publish(over(model_ref="p/n"))
        self.assertEqual(self.value("openclaw_model_failover_total", from_model="p/m", to_model="p/n"), 1.0)
        self.assertEqual(self.value("openclaw_model_call_total", model="p/n", outcome="completed"), 1.0)

    def test_names_that_are_not_configured(self) -> None:
        for number in range(3):
            info = RunInfo("r", "r", f"agent{number}", "s", "p/m", "c")
            self.bus.publish(over(info=info, model_ref=f"p/{number}"))
        self.assertEqual(self.value("openclaw_run_completed_total", outcome="completed", agent="other"), 3.0)
        self.assertEqual(self.value("openclaw_model_call_total", model="other", outcome="completed"), 3.0)
        self.assertNotIn(b"agent0", self.metrics.text())

    def test_labels_are_bounded(self) -> None:
        self.patch(module, "MAX_LABELS", 2)
        metrics = Metrics(models=lambda: [f"p/{number}" for number in range(9)])
        metrics.watch(self.bus, self.queue)
        for number in range(9):
            self.bus.publish(over(model_ref=f"p/{number}"))
        text = metrics.text().decode()
        self.assertIn('openclaw_model_call_total{model="p/1",outcome="completed"} 1.0', text)
        self.assertIn('openclaw_model_call_total{model="other",outcome="completed"} 7.0', text)

    def test_queue(self) -> None:
        self.queue.waiting, self.queue.live = 3, (1, 2)
        self.assertEqual(self.value("openclaw_session_queue_depth"), 3.0)
        self.assertEqual(self.value("openclaw_queue_lane_size", lane="main"), 2.0)

    def test_end_of_watching(self) -> None:
        self.unsubscribe()
        self.assertFalse(self.bus.has_listeners)

    def test_methods(self) -> None:
        self.metrics.rpc("health", ok=True)
        self.metrics.rpc("health", ok=False)
        self.metrics.rpc("made.up", ok=False)
        name = "openclaw_gateway_rpc_requests_total"
        self.assertEqual(self.value(name, method="health", outcome="ok"), 1.0)
        self.assertEqual(self.value(name, method="health", outcome="error"), 1.0)
        self.assertEqual(self.value(name, method="other", outcome="error"), 1.0)

    def test_http(self) -> None:
        self.metrics.http("/v1/models", 204)
        self.metrics.http("/v1/models", 503)
        self.assertEqual(self.value("openclaw_http_requests_total", route="/v1/models", status="2xx"), 1.0)
        self.assertEqual(self.value("openclaw_http_requests_total", route="/v1/models", status="5xx"), 1.0)

    def test_text(self) -> None:
        text = self.metrics.text().decode()
        self.assertIn("# TYPE openclaw_run_completed_total counter\n", text)
        self.assertRegex(text, r'openclaw_build_info\{python="3[\d.a-z]+",version="[^"]+"\} 1\.0\n')
        self.assertRegex(text, r"openclaw_memory_rss_bytes [\d.e+]+\n")
        self.assertNotIn("_created", text)
        self.assertTrue(module.CONTENT_TYPE.startswith(b"text/plain; version="))

    def test_costs(self) -> None:
        """The bounds are loose, as the machine may be busy."""
        event = over()
        run_s = min(timeit.repeat(lambda: self.bus.publish(event), number=100, repeat=5)) / 100
        self.assertLess(run_s, 250e-6)
        for number in range(10):
            for status in (200, 300, 400, 500):
                self.metrics.http(f"/{number}", status)
        self.assertLess(min(timeit.repeat(self.metrics.text, number=1, repeat=5)), 0.025)


class MemoryTests(SynchronousTestCase):
    def test_resident(self) -> None:
        self.assertGreater(resident_bytes(), 1e7)

    def test_where_the_system_does_not_say(self) -> None:
        self.patch(module, "_STATM", Path(self.mktemp()))
        self.assertGreater(resident_bytes(), 1e7)
