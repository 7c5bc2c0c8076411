"""Tests of L{openclaw.agents.asking}; what a run makes of it is in C{test_work.py}."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from openclaw.agents.answer import Answer, RunAnswer
from openclaw.agents.asking import Asking
from openclaw.agents.models import Candidate, Prompt, find_candidates
from openclaw.agents.paces import Paces
from openclaw.agents.retry import Retries
from openclaw.agents.run_context import Journal, RunContext, Stoppable
from openclaw.config.models import ModelsConfig
from openclaw.errors import ProviderAuthFailed, ProviderFailed, RunCancelled
from openclaw.events import EventBus, ProviderFinished, ProviderUsage, RunEvent, RunInfo, RunTold, TextDelta, Timings
from openclaw.messages import Message, Usage
from openclaw.providers.scripted import ScriptedProvider
from openclaw.records import RunRecord
from openclaw.sessions.lanes import LaneLimits, Lanes
from openclaw.sessions.turns import PlacedTurn, Turns
from openclaw.store.store import GatewayStore
from test.fakes import FixedCatalog

PROMPT = Prompt((Message("system", "12345678"), Message("user", "1")))


class Context(RunContext):
    """
    A context that notes what it is asked for.

    @ivar waits: how long each pause between two attempts was to be; none takes time.
    @ivar again: whether there is to be another attempt after one.
    @ivar held: what was to be stopped first, from then on.
    """

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.waits: list[float] = []
        self.again = True
        self.held: list[Stoppable | None] = []

    def hold(self, stoppable: Stoppable | None) -> None:
        self.held.append(stoppable)
        super().hold(stoppable)

    async def pause(self, delay_s: float) -> bool:
        self.waits.append(delay_s)
        return self.again


class AskingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.provider = ScriptedProvider()
        self.told: list[Sequence[RunEvent]] = []
        self.clock = Clock()
        bus = EventBus()
        bus.subscribe(lambda event: self.told.append(event.batch) if isinstance(event, RunTold) else None)
        lanes = Lanes(lambda: LaneLimits(1, 1))
        self.context = Context(
            RunInfo("r1", "r1", "main", "agent:main:k", "p/m", "webchat"),
            self.successResultOf(lanes.enter(None)),
            Timings(0.0),
            Retries(self.clock, lambda: 0.0),
            Journal(
                Turns(GatewayStore.in_memory(), self.clock, lanes),
                PlacedTurn((), ()),
                RunRecord("r1", "main", "agent:main:k", "p/m", "running", 0),
                None,
                self.clock,
            ),
            bus,
            self.clock,
        )
        self.context.events.close()
        self.paces = Paces(ModelsConfig, self.clock)
        self.waits = self.context.waits
        self.held = self.context.held
        self.log: list[LogEvent] = []
        globalLogPublisher.addObserver(self.log.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.log.append)

    @property
    def fell_back(self) -> list[tuple[str, str, str]]:
        """From which model the run went on to which, and why."""
        told = [event for event in self.log if "next_model" in event]
        return [(event["model"], event["reason"], event["next_model"]) for event in told]

    def ask(self, *refs: str, candidates: Sequence[Candidate] | None = None) -> Deferred[Answer]:
        candidates = candidates or find_candidates(FixedCatalog(self.provider), refs or ("p/m",))
        asking = Asking(candidates, PROMPT, self.paces, "s")
        return Deferred.fromCoroutine(asking.answer(self.context, RunAnswer()))

    def test_batches(self) -> None:
        self.provider.enqueue([TextDelta("a"), TextDelta("b")], [ProviderUsage(Usage())], [ProviderFinished("stop")])
        self.successResultOf(self.ask())
        self.assertEqual([[TextDelta("a"), TextDelta("b")]], self.told)
        self.assertEqual((0.0, 1), (self.context.timings.first_output, self.context.timings.attempts))
        self.assertEqual([self.provider.streams[0], None], self.held)
        self.assertTrue(self.provider.streams[0].closed)

    def test_repeats(self) -> None:
        self.provider.enqueue(ProviderFailed("1"))
        self.provider.enqueue_text("a")
        self.successResultOf(self.ask())
        self.assertEqual([0.25], self.waits)
        self.assertEqual([self.provider.streams[0], None, self.provider.streams[1], None], self.held)

    def test_wait_that_allows_no_other_attempt(self) -> None:
        self.context.again = False
        self.provider.enqueue(ProviderFailed("1"))
        self.assertEqual("1", self.failureResultOf(self.ask(), ProviderFailed).value.message)
        self.assertEqual(1, len(self.provider.streams))

    def test_no_reason(self) -> None:
        self.provider.enqueue([TextDelta("a")])
        self.failureResultOf(self.ask(), ProviderFailed)
        self.assertEqual([], self.waits)

    def test_next_model(self) -> None:
        self.provider.enqueue(ProviderAuthFailed("1"))
        self.provider.enqueue_text("a")
        self.successResultOf(self.ask("p/m", "q/n"))
        self.assertEqual(("q/n", [("p/m", "1", "q/n")]), (self.context.model_ref, self.fell_back))
        self.assertEqual(["m", "n"], [request.model for request in self.provider.requests])
        self.assertEqual([], self.waits)

    def test_last_of_them_fails(self) -> None:
        for message in "12":
            self.provider.enqueue(ProviderAuthFailed(message))
        self.assertEqual("1", self.failureResultOf(self.ask("p/m", "q/n"), ProviderAuthFailed).value.message)
        self.assertEqual(["m", "n"], [request.model for request in self.provider.requests])
        self.assertEqual("p/m", self.context.model_ref)

    def test_no_other_model_when_it_is_stopped(self) -> None:
        """The failed attempt is the one that the stop has closed."""
        asking = self.ask("p/m", "q/n")
        self.context.stopped_by = RunCancelled("stop")
        self.provider.streams[0].close()
        self.failureResultOf(asking, ProviderFailed)
        self.assertEqual((1, [], []), (len(self.provider.streams), self.waits, self.fell_back))

    def test_stopped_between_two_models(self) -> None:
        """A model that cannot be used takes no attempt, so the stop shows only afterwards."""
        self.context.stopped_by = RunCancelled("stop")
        candidates = [Candidate("p/m", ProviderAuthFailed("1")), *find_candidates(FixedCatalog(self.provider), ["q/n"])]
        self.failureResultOf(self.ask(candidates=candidates), ProviderAuthFailed)
        self.assertEqual([], self.provider.streams)

    def test_no_other_model_when_the_wait_allows_none(self) -> None:
        self.context.again = False
        self.provider.enqueue(ProviderFailed("1"))
        self.failureResultOf(self.ask("p/m", "q/n"), ProviderFailed)
        self.assertEqual(1, len(self.provider.streams))

    def test_no_other_model_after_15_seconds(self) -> None:
        asking = self.ask("p/m", "q/n")
        self.clock.advance(15.1)
        self.provider.streams[0].fail(ProviderFailed("1"))
        self.failureResultOf(asking, ProviderFailed)
        self.assertEqual(1, len(self.provider.streams))

    def test_no_other_model_after_output(self) -> None:
        self.provider.enqueue([TextDelta("a")], ProviderAuthFailed("1"))
        self.failureResultOf(self.ask("p/m", "q/n"), ProviderAuthFailed)
        self.assertEqual((1, "p/m"), (len(self.provider.streams), self.context.model_ref))
