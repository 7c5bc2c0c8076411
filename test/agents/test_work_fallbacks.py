"""Tests of L{openclaw.agents.work}: other models where one fails."""

from __future__ import annotations

from openclaw.agents.resolve import Selection
from openclaw.config.agents import AgentEntry, ModelChoice
from openclaw.errors import (
    ContextTooLong,
    LastingProviderFailure,
    ModelNotFound,
    OpenClawError,
    ProviderAuthFailed,
    ProviderFailed,
    ProviderOverloaded,
    ProviderQuota,
    ProviderRateLimited,
    ProviderRejected,
    RunCancelled,
)
from openclaw.events import BusEvent, ProviderFinished, ProviderUsage, RunFinished, RunOver, TextDelta
from openclaw.messages import Usage
from openclaw.models import ResolvedModel
from openclaw.providers.keys import KeyedProvider, KeyRing
from openclaw.providers.scripted import ScriptedProvider
from test.agents.test_runs import BenchTestCase
from test.fakes import Started, config_with


class FallbackTests(BenchTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.bench.config = config_with(model=ModelChoice("p/a", ("q/b", "r/c")))
        self.over: list[RunOver] = []
        self.bench.runs.bus.subscribe(self.heard)

    def heard(self, event: BusEvent) -> None:
        if isinstance(event, RunOver):
            self.over.append(event)

    def failing(self, *errors: OpenClawError) -> None:
        for error in errors:
            self.provider.enqueue(error)

    @property
    def asked(self) -> list[str]:
        """The models that were called."""
        return [request.model for request in self.provider.requests]

    def check_model(self, run: Started, ref: str, attempts: int) -> None:
        """All that is told of the run tells the model and the attempts."""
        assert run.run is not None
        timings = run.run.timings
        self.assertEqual((ref, attempts), (timings.model_ref, timings.attempts))
        self.assertEqual((ref, "p/a"), (self.over[-1].model_ref, self.over[-1].info.model_ref))
        self.assertEqual(ref, self.records()[-1].model_ref)

    def test_at_once(self) -> None:
        """What no retry can mend goes on with the next model at once."""
        lasting: list[OpenClawError] = [
            ProviderAuthFailed("401"),
            ProviderQuota("402"),
            ProviderRejected("404 no such model", status=404),
            LastingProviderFailure("html"),
            ProviderRateLimited("429", retry_after_s=6.0),
        ]
        for error in lasting:
            self.provider.requests.clear()
            self.failing(error)
            self.provider.enqueue_text("answer")
            run = self.bench.start("u", key="k")
            self.assertIsInstance(run.end(), RunFinished, error)
            self.assertEqual(["a", "b"], self.asked)
            self.check_model(run, "q/b", 2)

    def test_after_the_retries(self) -> None:
        self.failing(ProviderFailed("1"), ProviderOverloaded("2"), ProviderFailed("3"))
        self.failing(*[ProviderRateLimited(text) for text in "456"])
        self.provider.enqueue_text("answer")
        run = self.bench.start("u", key="k")
        self.bench.clock.pump([0.25, 1.0])
        self.assertEqual(["a", "a", "a", "b"], self.asked)
        self.bench.clock.pump([0.25, 1.0])
        self.assertEqual(["a", "a", "a", "b", "b", "b", "c"], self.asked)
        self.check_model(run, "r/c", 7)
        self.assertEqual(["u", "answer"], self.texts())

    def test_next_run_begins_with_the_first_choice(self) -> None:
        for _ in range(2):
            self.failing(ProviderAuthFailed("401"))
            self.provider.enqueue_text("answer")
            self.bench.start("u", key="k")
        self.assertEqual(["a", "b", "a", "b"], self.asked)

    def test_what_is_wrong_with_the_request(self) -> None:
        for error in (ProviderRejected("400", status=400), ProviderRejected("422", status=422), ContextTooLong("413")):
            self.failing(error)
            run = self.bench.start("u", key="k")
            self.assertIs(error, run.failed())
            self.check_model(run, "p/a", 1)
        self.assertEqual(["a", "a", "a"], self.asked)

    def test_not_after_output(self) -> None:
        self.provider.enqueue([TextDelta("par")], ProviderAuthFailed("401"))
        self.assertIsInstance(self.bench.start("u", key="k").failed(), ProviderAuthFailed)
        self.assertEqual(["a"], self.asked)

    def test_all_fail(self) -> None:
        """The busy one is told: a later request may have its answer."""
        self.failing(ProviderAuthFailed("1"), ProviderRateLimited("2", retry_after_s=60.0), ProviderAuthFailed("3"))
        run = self.bench.start("u", key="k")
        error = run.failed()
        self.assertEqual(("2", 60.0), (error.message, error.retry_after_s))
        self.check_model(run, "q/b", 3)
        self.assertEqual("failed", self.record().status)

    def test_not_configured(self) -> None:
        """A model that nobody serves is passed over, the first choice too."""
        self.bench.catalog.unknown |= {"p", "r"}
        self.provider.enqueue_text("answer")
        run = self.bench.start("u", key="k")
        self.assertIsInstance(run.end(), RunFinished)
        self.check_model(run, "q/b", 1)
        self.bench.catalog.unknown.add("q")
        refused = self.bench.start("u", key="k")
        self.assertIsInstance(refused.error, ModelNotFound)
        self.assertIn("provider p", str(refused.error))

    def test_override_is_strict(self) -> None:
        self.failing(ProviderAuthFailed("401"))
        run = self.bench.start("u", selection=Selection(model_override=" q/x "))
        self.assertIsInstance(run.failed(), ProviderAuthFailed)
        self.assertEqual(["x"], self.asked)

    def test_agent_is_strict(self) -> None:
        entries = {"main": AgentEntry(model=ModelChoice("q/x"))}
        self.bench.config = config_with(entries, model=ModelChoice("p/a", ("q/b",)))
        self.failing(ProviderAuthFailed("401"))
        self.assertIsInstance(self.bench.start("u").failed(), ProviderAuthFailed)
        self.assertEqual(["x"], self.asked)

    def test_limits_are_each_models_own(self) -> None:
        real = self.bench.catalog.resolve

        def resolve(ref: str) -> ResolvedModel:
            self.bench.catalog.max_tokens = {"p/a": 10, "q/b": 20}.get(ref)
            return real(ref)

        self.bench.catalog.resolve = resolve  # type: ignore[method-assign]
        self.failing(ProviderAuthFailed("1"), ProviderAuthFailed("2"))
        self.provider.enqueue_text("answer")
        self.bench.start("u")
        self.assertEqual([10, 20, None], [request.sampling.max_tokens for request in self.provider.requests])

    def test_configuration_of_its_beginning(self) -> None:
        """An edit during the run concerns the next one."""
        run = self.bench.start("u", key="k")
        self.bench.config = config_with(model=ModelChoice("r/x"))
        self.bench.catalog.unknown.add("q")
        self.provider.streams[0].fail(ProviderAuthFailed("401"))
        self.assertEqual(["a", "b"], self.asked)
        self.answer(run)
        self.assertIsInstance(run.end(), RunFinished)

    def test_usage_of_all(self) -> None:
        self.provider.enqueue([ProviderUsage(Usage(3, 0))], ProviderAuthFailed("1"))
        self.provider.enqueue([ProviderUsage(Usage(4, 0))], ProviderAuthFailed("2"))
        self.provider.enqueue([TextDelta("x"), ProviderFinished("stop"), ProviderUsage(Usage(5, 1))])
        self.bench.start("u", key="k")
        self.assertEqual(Usage(12, 1), self.record().usage)

    def test_cancel(self) -> None:
        """A run that is cancelled asks nobody else."""
        run = self.bench.start("u", key="k")
        assert run.run is not None
        run.run.cancel()
        self.tick()
        self.assertIsInstance(run.failed(), RunCancelled)
        self.assertEqual(["a"], self.asked)

    def test_session_is_kept_and_slot_is_not(self) -> None:
        """Over all models: others work while it waits, and the next of its session does not."""
        self.bench.config = config_with(model=ModelChoice("p/a", ("q/b",)), max_concurrent=1)
        self.failing(ProviderAuthFailed("1"), ProviderOverloaded("2"))
        run, same = self.bench.start("u", key="k"), self.bench.start("v", key="k")
        other = self.bench.start("u", key="other")
        self.assertEqual(["a", "b", "a"], self.asked)
        self.answer(other)
        self.assertIsNotNone(other.outcome)
        self.assertIsNone(same.run)
        self.bench.clock.advance(0.25)
        self.assertEqual(["a", "b", "a", "b"], self.asked)
        self.answer(run)
        self.answer(same)
        self.assertEqual(["u", "answer", "v", "answer"], self.texts())

    def test_no_model_without_a_slot(self) -> None:
        """A run that has waited for its slot until no attempt may start any more is over, other models or not."""
        self.bench.config = config_with(model=ModelChoice("p/a", ("q/b",)), max_concurrent=1)
        self.failing(ProviderOverloaded("1"))
        run, other = self.bench.start("u", key="k"), self.bench.start("u", key="other")
        self.bench.clock.pump([0.25, 14.75])
        self.assertIsInstance(run.failed(), ProviderOverloaded)
        self.assertEqual(["a", "a"], self.asked)
        self.answer(other)

    def test_slow_failures_leave_time(self) -> None:
        """Three models whose connections time out after 5 s all have their turn."""
        run = self.bench.start("u", key="k")
        for _ in range(3):
            self.bench.clock.advance(5)
            self.provider.streams[-1].fail(ProviderFailed("no connection"))
        self.assertEqual(["a", "b", "c"], self.asked)
        self.assertIsInstance(run.failed(), ProviderFailed)


class KeyTests(BenchTestCase):
    """A run whose provider has several keys."""

    def setUp(self) -> None:
        super().setUp()
        self.used: list[str] = []
        ring = KeyRing(self.bench.clock)

        def with_key(key: str) -> ScriptedProvider:
            self.used.append(key)
            return self.provider

        def resolve(ref: str) -> ResolvedModel:
            keyed = KeyedProvider("p", ring, ("k1", "k2", "k3", "k4", "k5"), with_key)
            return ResolvedModel(ref, keyed, 4096, None, keyed)

        self.bench.catalog.resolve = resolve  # type: ignore[method-assign]

    def test_wrong_keys(self) -> None:
        """Wrong keys give way at once, however many, and the next run does not use them first."""
        for _ in range(4):
            self.provider.enqueue(ProviderAuthFailed("401"))
        self.provider.enqueue_text("answer")
        run = self.bench.start("u", key="k")
        self.assertIsInstance(run.end(), RunFinished)
        assert run.run is not None
        self.assertEqual(5, run.run.timings.attempts)
        self.provider.enqueue_text("answer")
        self.bench.start("u", key="k")
        self.assertEqual(["k1", "k2", "k3", "k4", "k5", "k5"], self.used)

    def test_busy_keys(self) -> None:
        """Three attempts in all where each key is asked to slow down."""
        for _ in range(3):
            self.provider.enqueue(ProviderRateLimited("429", retry_after_s=30.0))
        self.assertIsInstance(self.bench.start("u").failed(), ProviderRateLimited)
        self.assertEqual(["k1", "k2", "k3"], self.used)

    def test_all_wrong(self) -> None:
        """When all are wrong that is told, and the next run tries all the same."""
        for _ in range(5):
            self.provider.enqueue(ProviderAuthFailed("401"))
        self.assertIsInstance(self.bench.start("u").failed(), ProviderAuthFailed)
        self.provider.enqueue_text("answer")
        self.assertIsInstance(self.bench.start("u").end(), RunFinished)
        self.assertEqual(6, len(self.used))

    def test_other_failures_keep_the_key(self) -> None:
        self.provider.enqueue(ProviderFailed("reset"))
        self.provider.enqueue_text("answer")
        self.bench.start("u")
        self.bench.clock.advance(0.25)
        self.assertEqual(["k1", "k1"], self.used)
