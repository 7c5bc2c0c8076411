"""
The one door to the agents: every surface starts a run here, and only here.

A run is admitted (or refused), waits in its session's lane, is placed in the transcript, and works until it tells
its one terminal event.  Its turn is on disk before the model is asked, its answer before the end is told.
"""

from __future__ import annotations

import random as random_module
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as WaitedTooLong
from twisted.logger import Logger
from twisted.python.failure import Failure

from openclaw.agents.context import build_context
from openclaw.agents.lanes import LaneLimits, Lanes, Place
from openclaw.agents.loop import ModelTurn
from openclaw.agents.placement import Append, place
from openclaw.agents.prompt import system_prompt
from openclaw.agents.resolve import Selection, Target, resolve
from openclaw.agents.run import Run
from openclaw.agents.store_wait import STORE_TIMEOUT, in_time
from openclaw.agents.work import Work
from openclaw.config.schema import Config
from openclaw.errors import Draining, ModelNotFound, RunCancelled, StoreError
from openclaw.events import EventBus, RunBegan, RunInfo, Timings
from openclaw.ids import new_entry_id
from openclaw.interfaces import (
    Caller,
    Clock,
    Entry,
    ModelCatalog,
    ModelRequest,
    ResolvedModel,
    RunRecord,
    RunStatus,
    Sampling,
    SessionStore,
)
from openclaw.messages import Message
from openclaw.providers.retry import Retries

DRAINING_RETRY_AFTER_S = 5.0
"""What a client is told to wait while the gateway stops, in seconds: about one restart."""

DEFAULT_CHANNEL = "webchat"
"""The channel of a request that names none, as the original has it."""

log = Logger()


@attrs.frozen
class RunRequest:
    """
    What a surface asks of an agent.

    @ivar run_id: chosen by the surface (L{openclaw.ids.new_run_id}), which can so name the run before it is placed.
    @ivar messages: the conversation as sent, without system messages; at least one.
    @ivar system: system and developer texts in their order.
    @ivar channel: where the conversation takes place.
    @ivar keep: store a session that the client did not name, too.
    @ivar whole: the surface takes the answer from the outcome; false where it has told it event by event.
    @ivar received_s: when the request was complete, on the gateway's clock.
    @ivar alias: another id by which its client knows the run, chosen by that client.
    @ivar timeout_s: seconds that the run may take, where the client wants it shorter than the configuration.
    """

    run_id: str
    selection: Selection
    messages: tuple[Message, ...]
    received_s: float
    system: tuple[str, ...] = ()
    sampling: Sampling = attrs.field(factory=Sampling)
    channel: str = DEFAULT_CHANNEL
    keep: bool = False
    whole: bool = True
    alias: str | None = None
    timeout_s: float | None = None

    @property
    def shown_id(self) -> str:
        """The id by which the client knows the run."""
        return self.alias if self.alias is not None else self.run_id


class Runs:
    """
    All runs of one gateway.

    @param current_config: gives the configuration in force; a run keeps the one that it began with.
    @param random: spreads out retries.
    @ivar bus: hears of every run that was placed.
    """

    def __init__(
        self,
        current_config: Callable[[], Config],
        catalog: ModelCatalog,
        store: SessionStore,
        clock: Clock,
        random: Callable[[], float] = random_module.random,
        bus: EventBus | None = None,
    ) -> None:
        self.bus = bus or EventBus()
        self._current_config = current_config
        self._catalog = catalog
        self._store = store
        self._clock = clock
        self._random = random
        self._lanes = Lanes(self._limits)
        self._starting: dict[Deferred[Run], RunRequest] = {}
        self._live: dict[str, Work] = {}
        self._idle_waiters: list[Deferred[None]] = []
        # Runs that were cancelled by their id before they were placed.
        self._cancelled: set[str] = set()
        self._draining = False
        self._stopped = False

    def _limits(self) -> LaneLimits:
        defaults = self._current_config().agents.defaults
        return LaneLimits(defaults.max_concurrent, defaults.max_queued)

    @property
    def live(self) -> Sequence[Run]:
        """The runs that are placed and not over, oldest first."""
        return [work.run for work in self._live.values()]

    @property
    def waiting(self) -> int:
        """How many runs wait for their session or for a slot."""
        return self._lanes.waiting

    def resolve(self, request: RunRequest) -> Target:
        """
        Who would serve a request; L{start} decides the same, or takes it from here.

        @raise OpenClawError: as L{openclaw.agents.resolve.resolve}.
        """
        return resolve(self._current_config(), request.selection, request.run_id)

    def start(self, caller: Caller, request: RunRequest, target: Target | None = None) -> Deferred[Run]:
        """
        Admit a run and place it.

        @param target: what L{resolve} just gave for this very request, if the surface asked; C{None} if it is to be
            decided here.
        @return: fires with the L{Run} once it has its turn and its turn is on disk; fails with an L{OpenClawError}
            if the run is refused.  Cancelling it takes the run out of the queue; a turn that was being stored at
            that moment stays in the transcript without an answer.
        """
        starting = Deferred.fromCoroutine(self._start(caller, request, target))
        self._starting[starting] = request
        return starting.addBoth(partial(self._started, starting))

    def _started(self, starting: Deferred[Run], result: Run | Failure) -> Run | Failure:
        del self._starting[starting]
        self._settle()
        return result

    def find(self, run_id: str) -> Run | None:
        """A run that is placed and not over, by its id or by the one that its client chose."""
        work = self._live.get(run_id)
        if work is not None:
            return work.run
        return next((work.run for work in self._live.values() if work.run.shown_id == run_id), None)

    def cancel(self, run_id: str) -> bool:
        """
        End a run, or take it out of the queue; then whoever waits for L{start} has L{RunCancelled}.

        @param run_id: its id, or the one that its client chose.
        @return: whether there was such a run.
        """
        run = self.find(run_id)
        if run is not None:
            run.cancel()
            return True
        for starting, request in self._starting.items():
            if run_id in (request.run_id, request.alias):
                self._cancelled.add(request.run_id)
                starting.cancel()
                return True
        return False

    async def _start(self, caller: Caller, request: RunRequest, target: Target | None) -> Run:
        if self._draining:
            raise Draining("the gateway is shutting down", retry_after_s=DRAINING_RETRY_AFTER_S)
        config = self._current_config()
        if target is None:
            target = resolve(config, request.selection, request.run_id)
        model = self._find_model(request, target)
        stored = target.is_stable or request.keep
        timings = Timings(request.received_s, admitted=self._clock.seconds())
        try:
            lane = await self._lanes.enter(str(target.session_key) if stored else None)
            timings.let_in = self._clock.seconds()
            try:
                work = await self._place(config, request, target, model, lane, timings, stored)
            except Exception:
                # Not for GeneratorExit: then all of this is thrown away, and nobody is to be let in any more.
                lane.leave()
                raise
        except CancelledError:
            if self._stopped:
                raise Draining("the gateway is shutting down", retry_after_s=DRAINING_RETRY_AFTER_S) from None
            if request.run_id in self._cancelled:
                raise RunCancelled("the run was cancelled") from None
            raise
        finally:
            self._cancelled.discard(request.run_id)
        log.debug(
            "run {run_id} of {caller} in {session} begins",
            run_id=request.run_id,
            caller=caller.name,
            session=str(target.session_key),
        )
        self._live[request.run_id] = work
        timeout_s = _shorter(config.agents.timeout_for(target.agent_id), request.timeout_s)
        work.begin(timeout_s, partial(self._over, request.run_id))
        return work.run

    def _over(self, run_id: str) -> None:
        del self._live[run_id]
        self._settle()

    def _find_model(self, request: RunRequest, target: Target) -> ResolvedModel:
        try:
            return self._catalog.resolve(target.model_ref)
        except ModelNotFound as error:
            if request.selection.model_override:
                error.param = "x-openclaw-model"
            raise

    async def _place(
        self,
        config: Config,
        request: RunRequest,
        target: Target,
        model: ResolvedModel,
        lane: Place,
        timings: Timings,
        stored: bool,
    ) -> Work:
        branch: tuple[Entry, ...] = ()
        new: Sequence[Message] = request.messages
        if stored:
            branch = await in_time(self._store.branch(str(target.session_key)), self._clock)
            placement = place(branch, request.messages, target.key_source)
            if isinstance(placement, Append):
                new = placement.new
            else:
                stored, branch = False, ()
        record = RunRecord(
            request.run_id, target.agent_id, str(target.session_key), model.ref, "running", self._now_ms()
        )
        entries = _chain(branch[-1].id if branch else None, new, record)
        if stored:
            await self._begin_stored(record, entries)
        timings.placed = self._clock.seconds()
        entry = config.agents.entries.get(target.agent_id)
        prompt = system_prompt(target.agent_id, entry.name if entry is not None else None, request.channel)
        tip = entries[-1].id if entries else branch[-1].id if branch else None
        info = RunInfo(
            request.run_id, request.shown_id, target.agent_id, str(target.session_key), model.ref, request.channel
        )
        if self.bus.has_listeners:
            self.bus.publish(RunBegan(info, new, record.started_at_ms))
        return Work(
            self._store,
            self._clock,
            self.bus,
            info,
            Retries(self._clock, self._random),
            lane,
            model,
            ModelRequest(
                model.model_id,
                build_context(prompt, request.system, branch, new),
                _bounded(request.sampling, model.max_tokens),
            ),
            record,
            tip if stored else None,
            target,
            timings,
            ModelTurn(keeps_text=stored or request.whole),
        )

    async def _begin_stored(self, record: RunRecord, entries: Sequence[Entry]) -> None:
        """
        Store the turn.

        If the wait for it is cancelled or takes too long the turn may be stored yet; the run's end is then stored
        after it, so that no run stays there as running.
        """
        try:
            await in_time(self._store.begin_run(record, entries), self._clock)
        except CancelledError:
            self._give_up(record, "cancelled", "cancelled")
            raise
        except StoreError as error:
            if error.code == STORE_TIMEOUT:
                self._give_up(record, "failed", STORE_TIMEOUT)
            raise

    def _give_up(self, record: RunRecord, status: RunStatus, code: str) -> None:
        """Store the end of a run whose beginning is not known to be stored; nobody waits for it."""
        ended = attrs.evolve(record, status=status, ended_at_ms=self._now_ms(), error_code=code)
        self._store.end_run(ended, ()).addErrback(
            lambda failure: log.failure("cannot store the end of run {run_id}", failure, run_id=record.run_id)
        )

    def _now_ms(self) -> int:
        return int(self._clock.seconds() * 1000)

    def drain(self) -> None:
        """Refuse new runs from now on; those that were admitted go on."""
        self._draining = True

    async def stop(self, grace_s: float) -> None:
        """
        Let the admitted runs finish, then end the rest.

        @param grace_s: seconds that the runs have; what is left then is ended with L{Draining}.
        """
        self.drain()
        await self._all_over(grace_s)
        self._end_all()
        await self._all_over(None)

    def _end_all(self) -> None:
        self._stopped = True
        for starting in list(self._starting):
            starting.cancel()
        for work in list(self._live.values()):
            work.stop(Draining("the gateway is shutting down", retry_after_s=DRAINING_RETRY_AFTER_S))

    async def _all_over(self, grace_s: float | None) -> None:
        """Wait until no run is left, at most C{grace_s} seconds where that is given."""
        if self._starting or self._live:
            idle: Deferred[None] = Deferred(self._idle_waiters.remove)
            self._idle_waiters.append(idle)
            if grace_s is not None:
                idle.addTimeout(grace_s, self._clock)  # type: ignore[arg-type]
            with suppress(WaitedTooLong):
                await idle

    def _settle(self) -> None:
        while self._idle_waiters and not (self._starting or self._live):
            self._idle_waiters.pop(0).callback(None)


def _chain(tip: str | None, messages: Sequence[Message], run: RunRecord) -> tuple[Entry, ...]:
    """The messages as entries, each the child of the one before."""
    entries: list[Entry] = []
    for message in messages:
        entries.append(Entry(new_entry_id(), tip, run.run_id, message, run.started_at_ms))
        tip = entries[-1].id
    return tuple(entries)


def _shorter(configured: float | None, asked: float | None) -> float | None:
    """The shorter of two timeouts, of which either may be missing."""
    given = [timeout_s for timeout_s in (configured, asked) if timeout_s is not None]
    return min(given) if given else None


def _bounded(sampling: Sampling, max_tokens: int | None) -> Sampling:
    """The client's wishes with the token limit bounded by the model's own."""
    if max_tokens is None or (sampling.max_tokens is not None and sampling.max_tokens <= max_tokens):
        return sampling
    return attrs.evolve(sampling, max_tokens=max_tokens)
