"""Tests of L{openclaw.agents.work}: runs that wait for their permit at a model server."""

from __future__ import annotations

import gc
from typing import Any

from twisted.internet.defer import Deferred

from openclaw.config.agents import ModelChoice
from openclaw.config.models import ModelsConfig, ProviderConfig
from openclaw.config.schema import Config
from openclaw.errors import (
    Draining,
    ProviderFailed,
    ProviderOverloaded,
    ProviderQuota,
    ProviderRateLimited,
    RunCancelled,
    RunTimeout,
)
from openclaw.events import ProviderFinished, RunFinished, TextDelta
from openclaw.models import ResolvedModel
from openclaw.providers.keys import KeyedProvider, KeyRing
from openclaw.providers.scripted import ScriptedStream
from test.agents.test_runs import BenchTestCase
from test.fakes import Bench, Started, config_with


class _PaceTestCase(BenchTestCase):
    def configure(self, *fallbacks: str, provider: dict[str, Any] | None = None, **defaults: Any) -> None:
        """All runs use C{p/a}, then these fallbacks; C{provider} is the configuration of C{p}."""
        providers = {"p": ProviderConfig("http://127.0.0.1/v1", **(provider or {}))}
        models = Config(models=ModelsConfig(providers=providers))
        self.bench.config = config_with(config=models, model=ModelChoice("p/a", fallbacks), **defaults)

    @property
    def open(self) -> list[ScriptedStream]:
        """The calls under way."""
        return [stream for stream in self.provider.streams if stream.waiting]

    def finish(self, stream: ScriptedStream) -> None:
        stream.push(TextDelta("answer"), ProviderFinished("stop"))
        stream.end()

    def asked(self) -> list[str]:
        """What the user of each call said last."""
        return [request.messages[-1].text for request in self.provider.requests]

    def models_asked(self) -> list[str]:
        return [request.model for request in self.provider.requests]

    def break_down(self) -> None:
        """Five runs in a row that fail."""
        for _ in range(5):
            for _ in range(3):
                self.provider.enqueue(ProviderFailed("refused"))
            run = self.bench.start("u")
            self.bench.clock.pump([0.25, 1.0])
            self.assertIsNotNone(run.outcome)
        self.provider.streams.clear()
        self.provider.requests.clear()


class SlotTests(_PaceTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.configure(provider={"max_concurrent": 1})

    def test_a_hundred_runs_and_one_slot(self) -> None:
        """Never two calls at once, none lost, and whoever has many runs keeps nobody else waiting for all of them."""
        batch = [self.bench.start(f"batch {number}") for number in range(60)]
        chats = [self.bench.start(f"chat {number}", key=f"k{number % 20}") for number in range(40)]
        while self.open:
            (stream,) = self.open
            self.finish(stream)
        for run in (*batch, *chats):
            self.assertIsInstance(run.end(), RunFinished)
        asked = self.asked()
        self.assertEqual(100, len(asked))
        self.assertEqual([f"batch {number}" for number in range(60)], [text for text in asked if "batch" in text])
        first = [asked.index(f"chat {number}") for number in range(20)]
        self.assertLess(max(first), 30)
        second = [asked.index(f"chat {number}") for number in range(20, 40)]
        self.assertLess(max(second), 60)

    def test_waiting_is_told(self) -> None:
        runs = [self.bench.start("u", key=f"k{number}") for number in range(3)]
        self.assertEqual((1, 2, 3), (len(self.open), self.bench.runs.waiting, self.bench.runs.count))
        while self.open:
            self.bench.clock.advance(2)
            self.finish(self.open[0])
        self.assertEqual([0, 2, 4], [run.run.timings.paced_s for run in runs if run.run is not None])

    def test_global_slot_is_given_up(self) -> None:
        self.configure(provider={"max_concurrent": 1}, max_concurrent=2)
        for key in "abcd":
            self.bench.start("u", key=key)
        self.assertEqual(1, self.bench.runs._lanes.running)
        self.configure(provider={"max_concurrent": 1}, max_concurrent=2)
        self.bench.config = config_with(config=self.bench.config, model=ModelChoice("q/b"), max_concurrent=2)
        self.bench.start("other", key="e")
        self.assertEqual(["u", "other"], self.asked())
        while self.open:
            self.finish(self.open[0])

    def test_lane_first(self) -> None:
        """Who waits for its session takes no turn from others."""
        for key in ("k", "k", "other"):
            self.bench.start(key, key=key)
        self.configure(provider={"max_concurrent": 2})
        self.bench.runs.limits_changed()
        self.assertEqual(["k", "other"], self.asked())
        while self.open:
            self.finish(self.open[0])

    def test_wait_for_a_retry_takes_no_slot(self) -> None:
        first, second = self.bench.start("1"), self.bench.start("2")
        self.open[0].fail(ProviderFailed("reset"))
        self.assertEqual(["1", "2"], self.asked())
        self.bench.clock.advance(0.25)
        self.assertEqual(["1", "2"], self.asked())
        self.finish(self.open[0])
        self.assertEqual(["1", "2", "1"], self.asked())
        self.finish(self.open[0])
        for run in (first, second):
            self.assertIsInstance(run.end(), RunFinished)

    def test_retries_after_a_long_wait(self) -> None:
        """The 15 s of the attempts begin with the first of them."""
        self.bench.start("1")
        waiting = self.bench.start("2")
        self.bench.clock.advance(100)
        self.finish(self.open[0])
        self.open[0].fail(ProviderFailed("reset"))
        self.bench.clock.advance(0.25)
        self.finish(self.open[0])
        self.assertIsInstance(waiting.end(), RunFinished)

    def test_no_slot_for_the_next_attempt(self) -> None:
        """What the server said is told, and not that it was busy afterwards."""
        first, second = self.bench.start("1"), self.bench.start("2")
        self.open[0].fail(ProviderFailed("reset"))
        self.bench.clock.pump([0.25, 14.7, 0.1])
        self.assertEqual("reset", first.failed().message)
        self.finish(self.open[0])
        self.assertIsInstance(second.end(), RunFinished)

    def test_cancel(self) -> None:
        self.bench.start("1")
        waiting, third = self.bench.start("2", key="k"), self.bench.start("3")
        assert waiting.run is not None
        waiting.run.cancel()
        self.tick()
        self.assertIsInstance(waiting.failed(), RunCancelled)
        self.finish(self.open[0])
        self.finish(self.open[0])
        self.assertEqual(["1", "3"], self.asked())
        self.assertIsInstance(third.end(), RunFinished)

    def test_cancel_of_the_one_that_asks(self) -> None:
        first, second = self.bench.start("1"), self.bench.start("2")
        assert first.run is not None
        first.run.cancel()
        self.tick()
        self.assertEqual(["1", "2"], self.asked())
        self.finish(self.open[0])
        self.assertIsInstance(second.end(), RunFinished)

    def test_cancel_between_turn_and_global_slot(self) -> None:
        self.configure(provider={"max_concurrent": 1}, max_concurrent=1)
        first, second = self.bench.start("1"), self.bench.start("2")
        # It takes the place to run that the second one has given up.
        self.bench.config = config_with(config=self.bench.config, model=ModelChoice("q/b"), max_concurrent=1)
        third = self.bench.start("3")
        self.assertEqual(["1"], self.asked())
        self.finish(self.open[0])
        self.assertEqual(1, len(self.open))
        assert second.run is not None
        second.run.cancel()
        self.tick()
        while self.open:
            self.finish(self.open[0])
        for run in (first, third):
            self.assertIsInstance(run.end(), RunFinished)

    def test_the_runs_own_deadline(self) -> None:
        self.configure(provider={"max_concurrent": 1}, timeout_seconds=5)
        self.bench.start("1")
        self.bench.clock.advance(2)
        self.finish(self.open[0])
        self.bench.start("2")
        self.bench.clock.advance(2)
        waiting = self.bench.start("3")
        self.finish(self.open[0])
        self.bench.clock.pump([5, 0])
        self.assertIsInstance(waiting.failed(), RunTimeout)

    def test_deadline_while_waiting(self) -> None:
        self.bench.start("1")
        waiting = self.bench.start("2", timeout_s=3)
        self.bench.clock.pump([3, 0])
        self.assertIsInstance(waiting.failed(), RunTimeout)
        self.finish(self.open[0])

    def test_longest_wait(self) -> None:
        self.bench.start("1")
        waiting = self.bench.start("2", key="k")
        self.bench.clock.advance(299)
        self.assertIsNone(waiting.outcome)
        self.bench.clock.advance(1)
        error = waiting.failed()
        self.assertEqual((503, "overloaded", 2), (error.http_status, error.code, error.retry_after_s))
        self.finish(self.open[0])
        self.assertEqual(["1"], self.asked())

    def test_five_seconds_where_there_is_another(self) -> None:
        self.configure("q/b", provider={"max_concurrent": 1})
        self.bench.start("1")
        waiting = self.bench.start("2")
        self.bench.clock.advance(4.9)
        self.assertEqual(["a"], self.models_asked())
        self.bench.clock.advance(0.1)
        self.assertEqual(["a", "b"], self.models_asked())
        self.finish(self.open[1])
        self.assertIsInstance(waiting.end(), RunFinished)
        self.finish(self.open[0])

    def test_attempts_of_the_other_after_all_waits(self) -> None:
        """Time without an attempt is no time of the attempts."""
        self.configure("p/b", "p/c", "p/d", "q/e", provider={"max_concurrent": 1})
        self.bench.start("1")
        waiting = self.bench.start("2")
        self.bench.clock.pump([5, 5, 5, 5])
        self.assertEqual(["a", "e"], self.models_asked())
        self.open[1].fail(ProviderFailed("reset"))
        self.bench.clock.advance(0.25)
        self.finish(self.open[1])
        self.assertIsInstance(waiting.end(), RunFinished)
        self.finish(self.open[0])

    def test_no_room_to_wait(self) -> None:
        self.configure(provider={"max_concurrent": 1}, max_queued=2)
        runs = [self.bench.start(f"{number}") for number in range(3)]
        refused = self.bench.start("refused")
        self.assertEqual((503, "overloaded"), (refused.failed().http_status, refused.failed().code))
        self.assertEqual(2, self.bench.runs.waiting)
        while self.open:
            self.finish(self.open[0])
        for run in runs:
            self.assertIsInstance(run.end(), RunFinished)

    def test_drain_while_waiting(self) -> None:
        runs = [self.bench.start(f"{number}") for number in range(3)]
        stopping = self.begin_stop()
        self.finish(self.open[0])
        self.finish(self.open[0])
        self.bench.clock.pump([5, 0])
        self.assertIsInstance(runs[1].end(), RunFinished)
        self.assertIsInstance(runs[2].failed(), Draining)
        self.successResultOf(stopping)

    def test_stop_while_waiting(self) -> None:
        runs = [self.bench.start(f"{number}") for number in range(3)]
        stopping = self.begin_stop()
        self.bench.clock.pump([5, 0])
        for run in runs:
            self.assertIsInstance(run.failed(), Draining)
        self.successResultOf(stopping)
        self.assertEqual(["0"], self.asked())

    def test_stop_lets_nobody_in(self) -> None:
        """Not those either that have waited longer than whoever asks now, as sessions take turns."""
        runs = [self.bench.start(f"batch {number}") for number in range(3)]
        runs.append(self.bench.start("chat", key="k"))
        self.finish(self.open[0])
        self.finish(self.open[0])
        asked = ["batch 0", "batch 1", "chat"]
        self.assertEqual(asked, self.asked())
        stopping = self.begin_stop()
        self.bench.clock.pump([5, 0])
        self.successResultOf(stopping)
        self.assertEqual(asked, self.asked())
        for run in runs[2:]:
            self.assertIsInstance(run.failed(), Draining)

    def begin_stop(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.bench.runs.stop(5))

    def test_thrown_away(self) -> None:
        bench = Bench(config=self.bench.config)
        for number in range(8):
            bench.start(f"{number}", key=f"k{number % 3}")
        stream = bench.provider.streams[0]
        del bench
        gc.collect()
        del stream
        gc.collect()
        self.assertEqual([], self.flushLoggedErrors())

    def test_reload_of_the_global_bound(self) -> None:
        self.configure(max_concurrent=1)
        runs = [self.bench.start(f"{number}") for number in range(2)]
        self.configure(max_concurrent=2)
        self.bench.runs.limits_changed()
        self.assertEqual(["0", "1"], self.asked())
        while self.open:
            self.finish(self.open[0])
        for run in runs:
            self.assertIsInstance(run.end(), RunFinished)

    def test_reload(self) -> None:
        runs = [self.bench.start(f"{number}") for number in range(3)]
        self.configure(provider={"max_concurrent": 2})
        self.bench.runs.limits_changed()
        self.assertEqual(["0", "1"], self.asked())
        self.configure()
        self.bench.runs.limits_changed()
        self.assertEqual(["0", "1", "2"], self.asked())
        while self.open:
            self.finish(self.open[0])
        for run in runs:
            self.assertIsInstance(run.end(), RunFinished)


class HoldTests(_PaceTestCase):
    def limit(self, retry_after_s: float | None, text: str = "limited") -> Started:
        """A run whose first call is told to slow down."""
        self.provider.enqueue(ProviderRateLimited("slow down", retry_after_s=retry_after_s))
        return self.bench.start(text)

    def test_others_are_held(self) -> None:
        self.configure()
        runs = [self.limit(3), *(self.bench.start(f"{number}") for number in range(9))]
        self.assertEqual(["limited"], self.asked())
        self.bench.clock.advance(2.9)
        self.assertEqual(["limited"], self.asked())
        self.bench.clock.advance(0.1)
        while self.open:
            self.finish(self.open[0])
        self.assertEqual(11, len(self.asked()))
        for run in runs:
            self.assertIsInstance(run.end(), RunFinished)

    def test_who_is_answered_at_once_holds_the_others(self) -> None:
        """The run that met it does not wait longer than 5 s; the others wait until they may ask."""
        self.configure()
        self.assertIsInstance(self.limit(30).failed(), ProviderRateLimited)
        waiting = self.bench.start("u")
        self.bench.clock.advance(29.9)
        self.assertEqual(1, len(self.asked()))
        self.bench.clock.advance(0.1)
        self.finish(self.open[0])
        self.assertIsInstance(waiting.end(), RunFinished)

    def test_an_hour_is_told_to_each(self) -> None:
        self.configure()
        for _ in range(2):
            error = self.limit(3600).failed()
            self.assertEqual((429, 3600), (error.http_status, error.retry_after_s))
        self.assertEqual(2, len(self.asked()))

    def test_longer_than_anybody_waits(self) -> None:
        self.configure(provider={"max_wait_seconds": 10})
        self.limit(30)
        error = self.bench.start("u").failed()
        self.assertEqual((503, "overloaded", 30), (error.http_status, error.code, error.retry_after_s))

    def test_another_server(self) -> None:
        self.configure("q/b")
        self.provider.enqueue(ProviderRateLimited("slow down", retry_after_s=30))
        for _ in range(2):
            self.provider.enqueue_text("answer")
            self.assertIsInstance(self.bench.start("u").end(), RunFinished)
        self.assertEqual(["a", "b", "b"], self.models_asked())

    def test_another_model_of_the_same_server(self) -> None:
        self.configure("p/b")
        self.provider.enqueue(ProviderRateLimited("slow down", retry_after_s=30))
        for _ in range(2):
            self.provider.enqueue_text("answer")
            self.assertIsInstance(self.bench.start("u").end(), RunFinished)
        self.assertEqual(["a", "b", "b"], self.models_asked())

    def test_other_keys(self) -> None:
        """A limit of one key holds nobody while there is another."""
        self.configure()
        ring = KeyRing(self.bench.clock)

        def resolve(ref: str) -> ResolvedModel:
            keyed = KeyedProvider("p", ring, ("k1", "k2"), lambda key: self.provider)
            return ResolvedModel(ref, keyed, 4096, None, keyed)

        self.bench.catalog.resolve = resolve  # type: ignore[method-assign]
        self.provider.enqueue(ProviderRateLimited("slow down", retry_after_s=3))
        self.provider.enqueue_text("answer")
        self.assertIsInstance(self.bench.start("u").end(), RunFinished)
        for _ in range(2):
            self.provider.enqueue(ProviderRateLimited("slow down", retry_after_s=3))
        limited, held = self.bench.start("limited"), self.bench.start("held")
        self.assertEqual(["u", "u", "limited", "limited"], self.asked())
        self.bench.clock.advance(3)
        while self.open:
            self.finish(self.open[0])
        for run in (limited, held):
            self.assertIsInstance(run.end(), RunFinished)


class LeftAloneTests(_PaceTestCase):
    def test_waits_for_the_probe(self) -> None:
        self.configure()
        self.break_down()
        runs = [self.bench.start(f"{number}") for number in range(3)]
        self.bench.clock.advance(1)
        self.assertEqual([], self.asked())
        self.bench.clock.advance(9)
        self.assertEqual(["0"], self.asked())
        while self.open:
            self.finish(self.open[0])
        for run in runs:
            self.assertIsInstance(run.end(), RunFinished)

    def test_the_probe_is_one_call(self) -> None:
        self.configure()
        self.break_down()
        runs = [self.bench.start(f"{number}") for number in range(3)]
        self.provider.enqueue(ProviderFailed("refused"))
        self.bench.clock.advance(10)
        self.assertEqual(["0"], self.asked())
        self.assertEqual(("refused", "provider_error"), (runs[0].failed().message, runs[0].failed().code))
        self.bench.clock.advance(0.01)
        for run in runs[1:]:
            error = run.failed()
            self.assertEqual((503, "overloaded"), (error.http_status, error.code))
            self.assertAlmostEqual(10, error.retry_after_s or 0, places=1)

    def test_another_model_at_once(self) -> None:
        self.configure()
        self.break_down()
        self.configure("q/b")
        self.provider.enqueue_text("answer")
        self.assertIsInstance(self.bench.start("u").end(), RunFinished)
        self.assertEqual(["b"], self.models_asked())

    def test_what_is_no_failure(self) -> None:
        """Neither cancelled runs, nor answers that break off, nor what is wrong with the account."""
        self.configure()
        for number in range(30):
            if number % 3 == 0:
                run = self.bench.start("u").run
                assert run is not None
                run.cancel()
                self.tick()
                continue
            if number % 3 == 1:
                self.provider.enqueue([TextDelta("x")], ProviderOverloaded("cut"))
            else:
                self.provider.enqueue(ProviderQuota("402"))
            self.assertIsNotNone(self.bench.start("u").outcome)
        self.provider.enqueue_text("answer")
        self.assertIsInstance(self.bench.start("u").end(), RunFinished)

    def test_quota_moves_on_at_once(self) -> None:
        self.configure("q/b")
        for _ in range(10):
            self.provider.enqueue(ProviderQuota("402"))
            self.provider.enqueue_text("answer")
            self.assertIsInstance(self.bench.start("u").end(), RunFinished)
        self.assertEqual(["a", "b"] * 10, self.models_asked())
