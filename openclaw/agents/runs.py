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

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as WaitedTooLong
from twisted.logger import Logger
from twisted.python.failure import Failure

from openclaw.agents.context import build_context
from openclaw.agents.loop import ModelTurn
from openclaw.agents.models import Candidate, Prompt, candidate_refs, find_candidates
from openclaw.agents.prompt import system_prompt
from openclaw.agents.request import RunRequest
from openclaw.agents.resolve import Target, resolve
from openclaw.agents.retry import Retries
from openclaw.agents.run import Run
from openclaw.agents.work import Work
from openclaw.config.schema import Config
from openclaw.errors import Draining, ModelNotFound, RunCancelled
from openclaw.events import EventBus, RunBegan, RunInfo, Timings
from openclaw.interfaces import Caller, Clock
from openclaw.log_lines import add_log_context
from openclaw.models import ModelCatalog
from openclaw.records import RunRecord
from openclaw.sessions.lanes import LaneLimits, Lanes, Slot
from openclaw.sessions.turns import SentTurn, Turns
from openclaw.stores import SessionStore

DRAINING_RETRY_AFTER_S = 5.0
"""What a client is told to wait while the gateway stops, in seconds: about one restart."""


log = Logger()


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
        self._turns = Turns(store, clock, self._lanes)
        self._starting: dict[Deferred[Run], RunRequest] = {}
        # The sessions of those, by the ids of the runs.
        self._entering: dict[str, str] = {}
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
        found = self._find_starting(run_id)
        if found is None:
            return False
        starting, request = found
        self._cancelled.add(request.run_id)
        starting.cancel()
        return True

    def session_of(self, run_id: str) -> str | None:
        """The session key of the run that L{cancel} would end; C{None} if there is none."""
        run = self.find(run_id)
        if run is not None:
            return str(run.target.session_key)
        found = self._find_starting(run_id)
        return None if found is None else self._entering.get(found[1].run_id)

    def _find_starting(self, run_id: str) -> tuple[Deferred[Run], RunRequest] | None:
        """A run that is not placed yet, by either of its ids."""
        return next((one for one in self._starting.items() if run_id in (one[1].run_id, one[1].alias)), None)

    def cancel_session(self, session_key: str) -> list[str]:
        """
        End all runs of a session, those first that wait.

        @return: the ids by which their clients know them.
        """
        waiting = [one for one in self._starting.values() if self._entering.get(one.run_id) == session_key]
        placed = [work.run for work in self._live.values() if str(work.run.target.session_key) == session_key]
        known = {one.run_id: one.shown_id for one in waiting} | {run.id: run.shown_id for run in placed}
        return [shown_id for run_id, shown_id in known.items() if self.cancel(run_id)]

    async def _start(self, caller: Caller, request: RunRequest, target: Target | None) -> Run:
        add_log_context(run_id=request.run_id)
        if self._draining:
            raise Draining("the gateway is shutting down", retry_after_s=DRAINING_RETRY_AFTER_S)
        config = self._current_config()
        if target is None:
            target = resolve(config, request.selection, request.run_id)
        candidates = self._find_models(config, request, target)
        add_log_context(session_key=str(target.session_key))
        key = str(target.session_key) if target.is_stable or request.keep else None
        sent = SentTurn(key, request.messages, target.key_source, request.retry_of)
        timings = Timings(request.received_s, admitted=self._clock.seconds())
        self._entering[request.run_id] = str(target.session_key)
        try:
            lane = await self._turns.enter(sent)
            timings.let_in = self._clock.seconds()
            try:
                work = await self._place(config, request, target, candidates, lane, timings, sent)
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
            del self._entering[request.run_id]
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

    def _find_models(self, config: Config, request: RunRequest, target: Target) -> Sequence[Candidate]:
        overridden = bool((request.selection.model_override or "").strip())
        try:
            return find_candidates(self._catalog, candidate_refs(config, target, overridden=overridden))
        except ModelNotFound as error:
            if overridden:
                error.param = "x-openclaw-model"
            raise

    async def _place(
        self,
        config: Config,
        request: RunRequest,
        target: Target,
        candidates: Sequence[Candidate],
        lane: Slot,
        timings: Timings,
        sent: SentTurn,
    ) -> Work:
        record = RunRecord(
            request.run_id, target.agent_id, str(target.session_key), target.model_ref, "running", self._now_ms()
        )
        placed = await self._turns.begin(lane, sent, record)
        timings.placed = self._clock.seconds()
        entry = config.agents.entries.get(target.agent_id)
        prompt = system_prompt(target.agent_id, entry.name if entry is not None else None, request.channel)
        info = RunInfo(
            request.run_id,
            request.shown_id,
            target.agent_id,
            str(target.session_key),
            target.model_ref,
            request.channel,
        )
        if self.bus.has_listeners:
            self.bus.publish(RunBegan(info, placed.new, record.started_at_ms))
        return Work(
            self._turns,
            self._clock,
            self.bus,
            info,
            Retries(self._clock, self._random),
            lane,
            candidates,
            Prompt(build_context(prompt, request.system, placed.branch, placed.new), request.sampling),
            record,
            placed,
            target,
            timings,
            ModelTurn(keeps_text=sent.session_key is not None or request.whole),
        )

    def _now_ms(self) -> int:
        return int(self._clock.seconds() * 1000)

    def busy_sessions(self) -> frozenset[str]:
        """The keys of the sessions that a run works in or waits for."""
        return frozenset(
            (*self._entering.values(), *(str(work.run.target.session_key) for work in self._live.values()))
        )

    def forget_session(self, session_key: str) -> None:
        """Have a session's transcript read anew; for whoever deletes the session, before it does."""
        self._turns.transcripts.forget(session_key)

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


def _shorter(configured: float | None, asked: float | None) -> float | None:
    """The shorter of two timeouts, of which either may be missing."""
    given = [timeout_s for timeout_s in (configured, asked) if timeout_s is not None]
    return min(given) if given else None
