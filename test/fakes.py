"""
Fakes that several layers' tests share.

Of what is shipped for tests there are L{openclaw.providers.scripted} and C{GatewayStore.in_memory()}; here is what
puts them together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import attrs
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock

from openclaw.agents.plan import Repetition, RunPlan
from openclaw.agents.request import Asked, RunOptions, RunRequest
from openclaw.agents.resolve import Selection
from openclaw.agents.run import Run, RunEvents
from openclaw.agents.runs import Runs
from openclaw.config.agents import AgentDefaults, AgentEntry, AgentsConfig
from openclaw.config.models import LocalModelConfig, ModelsConfig
from openclaw.config.schema import Config
from openclaw.errors import ModelNotFound, OpenClawError
from openclaw.events import RunEvent, RunFailed, RunFinished, RunOutcome, TextDelta
from openclaw.interfaces import Caller
from openclaw.messages import Message
from openclaw.models import Lesson, ModelProfile, ModelProvider, ResolvedModel
from openclaw.providers.keys import KeyedProvider
from openclaw.providers.scripted import ScriptedProvider
from openclaw.records import (
    Entry,
    KeptResult,
    KeyClaim,
    KeyEnd,
    KeyRecord,
    RunRecord,
    SessionPage,
    SessionQuery,
    Transcript,
)
from openclaw.sessions.tree import SessionTree
from openclaw.store.store import GatewayStore
from openclaw.stores import SessionStore

ROOMY = Config(models=ModelsConfig(local=LocalModelConfig(parallel=64)))
"""A configuration whose model takes as many calls at once as a test likes."""

OPERATOR = Caller("operator", frozenset({"operator.write"}), "127.0.0.1")
"""Who makes the requests of tests."""


def config_with(
    entries: Mapping[str, AgentEntry] | None = None, *, config: Config | None = None, **defaults: Any
) -> Config:
    """A configuration with these agents and C{agents.defaults}."""
    agents = AgentsConfig(entries=dict(entries or {}), defaults=AgentDefaults(**defaults))
    return attrs.evolve(config or ROOMY, agents=agents)


def user(text: str) -> Message:
    """What a user said."""
    return Message("user", text)


def assistant(text: str) -> Message:
    """What an agent said."""
    return Message("assistant", text)


class FixedCatalog:
    """
    A L{openclaw.models.ModelCatalog} that gives one provider for every model.

    @ivar unknown: providers that it says are not configured.
    @ivar profile: what all models take.
    @ivar taught: what it says was learned.
    """

    def __init__(self, provider: ModelProvider, max_tokens: int | None = None) -> None:
        self.provider = provider
        self.max_tokens = max_tokens
        self.unknown: set[str] = set()
        self.profile = ModelProfile()
        self.taught: list[Lesson] = []

    def resolve(self, ref: str) -> ResolvedModel:
        """See L{openclaw.models.ModelCatalog.resolve}."""
        provider_id = ref.partition("/")[0]
        if provider_id in self.unknown:
            raise ModelNotFound(f"the provider {provider_id} is not configured")
        keys = self.provider if isinstance(self.provider, KeyedProvider) else None
        return ResolvedModel(ref, self.provider, 4096, self.max_tokens, keys, self.profile)

    def lessons(self) -> Sequence[Lesson]:
        """See L{openclaw.models.ModelCatalog.lessons}."""
        return self.taught


@attrs.define(eq=False)
class HeldCall:
    """
    A call of a L{HeldStore} that waits to be done.

    @ivar name: the method.
    """

    name: str
    act: Callable[[], Deferred[Any]]
    deferred: Deferred[Any]


class HeldStore:
    """
    A L{openclaw.stores.SessionStore} in memory whose calls take effect when a test says so, in their order.

    @ivar held: the calls that wait.
    @ivar holds: names of the methods that are held; all others take effect at once.
    @ivar failures: errors that the next call of a method fails with, by its name.
    @ivar calls: names of all calls.
    """

    def __init__(self, *holds: str) -> None:
        self.inner = GatewayStore.in_memory()
        self.holds = set(holds)
        self.held: list[HeldCall] = []
        self.failures: dict[str, list[Exception]] = {}
        self.calls: list[str] = []

    def release(self) -> HeldCall:
        """Let the oldest call take effect."""
        call = self.held.pop(0)
        call.act().chainDeferred(call.deferred)
        return call

    def _call(self, name: str, act: Callable[[], Deferred[Any]]) -> Deferred[Any]:
        self.calls.append(name)
        if self.failures.get(name):
            error = self.failures[name].pop(0)
            act = lambda: fail(error)  # noqa: E731
        if name not in self.holds and not self.held:
            return act()
        # Without a canceller, as in the real store: cancelling only stops waiting.
        call = HeldCall(name, act, Deferred())
        self.held.append(call)
        return call.deferred

    def branch(self, session_key: str, limit: int | None = None) -> Deferred[tuple[Entry, ...]]:
        """See L{openclaw.stores.SessionStore.branch}."""
        return self._call("branch", lambda: self.inner.branch(session_key, limit))

    def transcript(self, session_key: str) -> Deferred[Transcript]:
        """See L{openclaw.stores.SessionStore.transcript}."""
        return self._call("transcript", lambda: self.inner.transcript(session_key))

    def begin_run(
        self, run: RunRecord, entries: Sequence[Entry], *, detached: bool = False, claim: KeyClaim | None = None
    ) -> Deferred[int | None]:
        """See L{openclaw.stores.SessionStore.begin_run}."""
        return self._call("begin_run", lambda: self.inner.begin_run(run, entries, detached=detached, claim=claim))

    def end_run(
        self, run: RunRecord, entries: Sequence[Entry], *, detached: bool = False, key: KeyEnd | None = None
    ) -> Deferred[None]:
        """See L{openclaw.stores.SessionStore.end_run}."""
        return self._call("end_run", lambda: self.inner.end_run(run, entries, detached=detached, key=key))

    def sessions(self, query: SessionQuery) -> Deferred[SessionPage]:
        """See L{openclaw.stores.SessionStore.sessions}."""
        return self._call("sessions", lambda: self.inner.sessions(query))

    def runs(self, limit: int) -> Deferred[tuple[RunRecord, ...]]:
        """See L{openclaw.stores.SessionStore.runs}."""
        return self._call("runs", lambda: self.inner.runs(limit))

    def claim_key(self, claim: KeyClaim) -> Deferred[KeyRecord | None]:
        """See L{openclaw.stores.IdempotencyStore.claim_key}."""
        return self._call("claim_key", lambda: self.inner.claim_key(claim))

    def find_key(self, name: KeyClaim) -> Deferred[KeyRecord | None]:
        """See L{openclaw.stores.IdempotencyStore.find_key}."""
        return self._call("find_key", lambda: self.inner.find_key(name))

    def finish_key(self, claim: KeyClaim, result: KeptResult | None) -> Deferred[None]:
        """See L{openclaw.stores.IdempotencyStore.finish_key}."""
        return self._call("finish_key", lambda: self.inner.finish_key(claim, result))

    def free_key(self, claim: KeyClaim) -> Deferred[None]:
        """See L{openclaw.stores.IdempotencyStore.free_key}."""
        return self._call("free_key", lambda: self.inner.free_key(claim))

    def find_turn(self, session_key: str, run_ids: Sequence[str]) -> Deferred[str | None]:
        """See L{openclaw.stores.IdempotencyStore.find_turn}."""
        return self._call("find_turn", lambda: self.inner.find_turn(session_key, run_ids))


def tree_of(transcript: Transcript) -> SessionTree:
    """The tree of a whole transcript."""
    tree = SessionTree()
    tree.grow(transcript.entries)
    tree.settle(transcript)
    return tree


class EventReader:
    """
    Reads the events of a run, as a surface does.

    @ivar batches: what was read.
    @ivar over: whether the reading has ended.
    @ivar each: called with each batch while it is taken.
    """

    def __init__(self, events: RunEvents, each: Callable[[Sequence[RunEvent]], object] | None = None) -> None:
        self.batches: list[Sequence[RunEvent]] = []
        self.over = False
        self._each = each
        self.reading = Deferred.fromCoroutine(self._read(events))

    async def _read(self, events: RunEvents) -> None:
        await events.each(self._take)
        self.over = True

    def _take(self, batch: Sequence[RunEvent]) -> None:
        self.batches.append(batch)
        if self._each is not None:
            self._each(batch)

    @property
    def events(self) -> list[RunEvent]:
        """All events."""
        return [event for batch in self.batches for event in batch]

    @property
    def text(self) -> str:
        """The text that was told."""
        return "".join(event.text for event in self.events if isinstance(event, TextDelta))

    @property
    def terminal(self) -> list[RunFinished | RunFailed]:
        """The terminal events: one when a run is over."""
        return [event for event in self.events if isinstance(event, RunFinished | RunFailed)]


class _Enough(Exception):
    """One batch was taken."""


async def next_batch(events: RunEvents) -> Sequence[RunEvent]:
    """
    The next batch of a run, as a reader takes it that is slow; nothing is read after it.

    @raise StopAsyncIteration: if there is none any more.
    """
    taken: list[Sequence[RunEvent]] = []

    def take(batch: Sequence[RunEvent]) -> None:
        taken.append(batch)
        raise _Enough

    with suppress(_Enough):
        await events.each(take)
    if not taken:
        raise StopAsyncIteration
    return taken[0]


class Started:
    """
    A run that a test has started.

    @ivar run: the run, once it is placed.
    @ivar error: why it was not.
    @ivar reader: reads its events, if asked to.
    @ivar outcome: how it ended, once it has.
    """

    def __init__(self, starting: Deferred[Run], *, read: bool) -> None:
        self.starting = starting
        self.run: Run | None = None
        self.error: BaseException | None = None
        self.reader: EventReader | None = None
        self.outcome: RunOutcome | None = None
        self._read = read
        starting.addCallbacks(self._placed, self._refused)

    def _placed(self, run: Run) -> None:
        self.run = run
        run.done.addCallback(lambda outcome: setattr(self, "outcome", outcome))
        if self._read:
            self.reader = EventReader(run.events)

    def _refused(self, failure: Any) -> None:
        self.error = failure.value

    def end(self) -> RunFinished | RunFailed:
        """The one terminal event."""
        assert self.reader is not None and self.reader.over
        (terminal,) = self.reader.terminal
        return terminal

    def failed(self) -> OpenClawError:
        """The error that the terminal event tells, which is that of the outcome, too."""
        terminal = self.end()
        assert isinstance(terminal, RunFailed) and self.outcome is not None
        assert terminal.error is self.outcome.error and self.outcome.reason is None
        return terminal.error


RUN_OPTIONS = ("keep", "whole", "alias", "timeout_s", "manner", "one_attempt")
"""Those that a test may give to L{Bench.request}."""


class Bench:
    """
    The door to the agents with a clock, a provider and a store in the hands of a test.

    @ivar config: the configuration in force.
    """

    def __init__(self, store: SessionStore | None = None, config: Config | None = None) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.config = config or ROOMY
        self.provider = ScriptedProvider()
        self.catalog = FixedCatalog(self.provider)
        self.store: SessionStore = store or GatewayStore.in_memory()
        self.runs = Runs(lambda: self.config, self.catalog, self.store, self.clock, random=lambda: 0.0)
        self.count = 0

    def request(self, *messages: Message | str, key: str | None = None, **settings: Any) -> RunRequest:
        """A request with these messages, texts being a user's, in the session of this client-chosen key."""
        self.count += 1
        selection = settings.pop("selection", None) or Selection(session_key=key)
        asked = {name: settings.pop(name) for name in ("system", "sampling") if name in settings}
        options = {name: settings.pop(name) for name in RUN_OPTIONS if name in settings}
        said = tuple(user(message) if isinstance(message, str) else message for message in messages)
        return RunRequest(
            run_id=f"chatcmpl_{self.count}",
            selection=selection,
            asked=Asked(said, **asked),
            received_s=self.clock.seconds(),
            options=RunOptions(**options),
            **settings,
        )

    def plan(self, request: RunRequest, caller: Caller = OPERATOR, retry_of: str | None = None) -> RunPlan:
        """What would be done about a request."""
        return attrs.evolve(self.runs.plan(caller, request), repetition=Repetition(retry_of))

    def begin(self, request: RunRequest, caller: Caller = OPERATOR, retry_of: str | None = None) -> Deferred[Run]:
        """Start the run of a request."""
        return Deferred.fromCoroutine(self._begin(request, caller, retry_of))

    async def _begin(self, request: RunRequest, caller: Caller, retry_of: str | None) -> Run:
        return await self.runs.start(self.plan(request, caller, retry_of))

    def start(self, *messages: Message | str, key: str | None = None, read: bool = True, **settings: Any) -> Started:
        """Start a run."""
        retry_of = settings.pop("retry_of", None)
        return Started(self.begin(self.request(*messages, key=key, **settings), retry_of=retry_of), read=read)
