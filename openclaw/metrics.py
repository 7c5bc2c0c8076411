"""
Counters of what the gateway does, as Prometheus text.

The names are the original's, where it has one.  Labels have few values by design: agents and models that are not
configured, and whatever else a client could make up, count as C{other}; no session and no text ever is a label.
"""

from __future__ import annotations

import os
import platform
import resource
import sys
from collections.abc import Callable, Collection
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics import disable_created_metrics

from openclaw._version import __version__
from openclaw.errors import OpenClawError, RunCancelled, RunTimeout
from openclaw.events import BusEvent, EventBus, RunOver

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4.encode()
"""The C{Content-Type} of L{Metrics.text}."""

OTHER = "other"
"""The label of what has none of its own."""

MAX_LABELS = 100
"""Most agents and most models that have a label of their own."""

_RUN_BUCKETS_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_CALL_BUCKETS_S = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_WAIT_BUCKETS_S = (0.001, 0.01, 0.1, 1, 5, 10, 30, 60, 300)

# Series with the time of each counter's birth would double the answer.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Queue(Protocol):
    """Sizes that are asked for when somebody reads the metrics."""

    @property
    def waiting(self) -> int:
        """How many runs wait for their session or for a slot."""

    @property
    def live(self) -> Collection[object]:
        """The runs that are placed and not over."""


class Metrics:
    """
    All counters of one gateway.

    @param agents: gives the names of the configured agents.
    @param models: gives the references of the configured models.
    @param methods: the names of the methods that clients can call.
    """

    def __init__(
        self,
        agents: Callable[[], Collection[str]] = tuple,
        models: Callable[[], Collection[str]] = tuple,
        methods: Collection[str] = (),
    ) -> None:
        self._agents = _Labels(agents)
        self._models = _Labels(models)
        self._methods = frozenset(methods)
        self.registry = CollectorRegistry(auto_describe=False)
        # Finding a series by its labels takes longer than counting it.
        self._of = lru_cache(maxsize=4096)(_series)
        self._make_run_metrics()
        self._make_model_metrics()
        self._make_port_metrics()
        self._make_process_metrics()

    def _make_run_metrics(self) -> None:
        self._runs = self._counter("openclaw_run_completed", "Runs that are over.", "outcome", "agent")
        self._run_seconds = self._histogram(
            "openclaw_run_duration_seconds", "From the request to the end of its run.", _RUN_BUCKETS_S, "outcome"
        )
        self._lane_wait = self._histogram(
            "openclaw_queue_lane_wait_seconds", "From admission to the run's turn.", _WAIT_BUCKETS_S, "lane"
        )
        self._lane_size = self._gauge("openclaw_queue_lane_size", "Runs that are at work.", "lane")
        self._session_depth = self._gauge("openclaw_session_queue_depth", "Runs that wait for their turn.")

    def _make_model_metrics(self) -> None:
        self._calls = self._counter("openclaw_model_call", "Runs by the model that ended them.", "model", "outcome")
        self._call_seconds = self._histogram(
            "openclaw_model_call_duration_seconds",
            "From the model's being asked to its end, retries included.",
            _CALL_BUCKETS_S,
            "model",
        )
        self._first_byte = self._histogram(
            "openclaw_provider_first_byte_seconds",
            "From the model's being asked to its first event.",
            _CALL_BUCKETS_S,
            "model",
        )
        self._failovers = self._counter(
            "openclaw_model_failover", "Runs that another model ended than was asked first.", "from_model", "to_model"
        )
        self._tokens = self._counter("openclaw_model_tokens", "Tokens that models read and wrote.", "model", "kind")

    def _make_port_metrics(self) -> None:
        self._rpc = self._counter(
            "openclaw_gateway_rpc_requests", "Calls of methods over WebSocket.", "method", "outcome"
        )
        self._http = self._counter("openclaw_http_requests", "HTTP requests that are answered.", "route", "status")

    def _make_process_metrics(self) -> None:
        self._gauge("openclaw_memory_rss_bytes", "Resident memory of the process.").set_function(resident_bytes)
        build = self._gauge("openclaw_build_info", "The running version; always 1.", "version", "python")
        build.labels(__version__, platform.python_version()).set(1)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets_s: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, text, labels, registry=self.registry, buckets=buckets_s)

    # ------------------------------------------------------------------------------------ what is counted

    def watch(self, bus: EventBus, queue: Queue) -> Callable[[], None]:
        """
        Count the runs from now on.

        @param queue: asked for its sizes whenever the metrics are read.
        @return: ends it.
        """
        self._lane_size.labels("main").set_function(lambda: len(queue.live))
        self._session_depth.set_function(lambda: queue.waiting)
        return bus.subscribe(self._hear)

    def _hear(self, event: BusEvent) -> None:
        if type(event) is not RunOver:
            return
        outcome = outcome_of(event.outcome.error)
        ended_s = event.ended_at_ms / 1000
        timings = event.timings
        model = self._models.label(event.model_ref)
        self._of(self._runs, outcome, self._agents.label(event.info.agent_id)).inc()
        self._of(self._run_seconds, outcome).observe(max(0.0, ended_s - timings.received))
        if timings.admitted is not None and timings.let_in is not None:
            self._of(self._lane_wait, "main").observe(max(0.0, timings.let_in - timings.admitted + timings.paced_s))
        self._of(self._calls, model, outcome).inc()
        if timings.placed is not None:
            self._of(self._call_seconds, model).observe(max(0.0, ended_s - timings.placed - timings.paced_s))
            if timings.first_output is not None:
                first_byte_s = timings.first_output - timings.placed - timings.paced_s
                self._of(self._first_byte, model).observe(max(0.0, first_byte_s))
        if event.model_ref != event.info.model_ref:
            self._of(self._failovers, self._models.label(event.info.model_ref), model).inc()
        usage = event.outcome.usage
        for kind, tokens in (
            ("input", usage.prompt_tokens),
            ("output", usage.completion_tokens),
            ("cache_read", usage.cached_tokens),
            ("reasoning", usage.reasoning_tokens),
        ):
            if tokens:
                self._of(self._tokens, model, kind).inc(tokens)

    def rpc(self, method: str, *, ok: bool) -> None:
        """Count the call of a method."""
        self._of(self._rpc, method if method in self._methods else OTHER, "ok" if ok else "error").inc()

    def http(self, route: str, status: int) -> None:
        """
        Count an answered request.

        @param route: the path as the table of routes has it; never what a client made up.
        @param status: the HTTP status; its class is the label.
        """
        self._of(self._http, route, f"{status // 100}xx").inc()

    def text(self) -> bytes:
        """All of it in the text format of Prometheus; takes 2 ms for 200 series."""
        return generate_latest(self.registry)


def _series(metric: Any, *labels: str) -> Any:
    return metric.labels(*labels)


class _Labels:
    """Names that have a label of their own: the first L{MAX_LABELS} of those that are configured."""

    def __init__(self, known: Callable[[], Collection[str]]) -> None:
        self._known = known
        self._seen: set[str] = set()

    def label(self, name: str) -> str:
        if name in self._seen:
            return name
        if len(self._seen) >= MAX_LABELS or name not in self._known():
            return OTHER
        self._seen.add(name)
        return name


def outcome_of(error: OpenClawError | None) -> str:
    """The label of how a run ended."""
    match error:
        case None:
            return "completed"
        case RunCancelled():
            return "aborted"
        case RunTimeout():
            return "timeout"
    return "error"


_STATM = Path("/proc/self/statm")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> float:
    """Resident memory of this process in bytes; where the system does not say, the most it ever had."""
    try:
        return float(int(_STATM.read_text().split()[1]) * _PAGE_BYTES)
    except (OSError, IndexError, ValueError):
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return float(most if sys.platform == "darwin" else most * 1024)
