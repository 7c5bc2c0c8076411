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

from openclaw.agents.models import check_usable
from openclaw.agents.paces import Paces
from openclaw.agents.plan import RunPlan, make_plan
from openclaw.agents.request import RunRequest
from openclaw.agents.retry import Retries
from openclaw.agents.run import Run
from openclaw.agents.run_context import Journal, RunContext
from openclaw.agents.work import Work
from openclaw.config.schema import Config
from openclaw.errors import Draining, RunCancelled
from openclaw.events import EventBus, RunBegan, Timings
from openclaw.interfaces import Caller, Clock
from openclaw.log_levels import debugging
from openclaw.log_lines import add_log_context
from openclaw.models import Lesson, ModelCatalog
from openclaw.sessions.lanes import LaneLimits, Lanes, Slot
from openclaw.sessions.turns import SentTurn, Turns
from openclaw.stores import SessionStore
from openclaw.waits import Promise, now_ms, within

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
        self._paces = Paces(lambda: current_config().models, clock)
        self._turns = Turns(store, clock, self._lanes)
        self._starting: dict[Deferred[Run], RunPlan] = {}
        self._live: dict[str, Work] = {}
        self._idle: Promise[None] | None = None
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
    def count(self) -> int:
        """How many runs wait or are under way."""
        return len(self._starting) + len(self._live)

    @property
    def is_idle(self) -> bool:
        """Whether no run waits or is under way."""
        return not (self._starting or self._live)

    @property
    def waiting(self) -> int:
        """How many runs wait for their session, for a slot, or, placed already, for a permit at a model server."""
        return self._lanes.waiting

    def lessons(self) -> Sequence[Lesson]:
        """What servers taught of their models since the start, oldest first."""
        return self._catalog.lessons()

    def limits_changed(self) -> None:
        """Let runs go on that may do so by a new configuration."""
        self._lanes.limits_changed()
        self._paces.limits_changed()

    def can_begin(self, plan: RunPlan) -> bool:
        """Whether L{start} would neither refuse the run nor let it wait for others."""
        if self._draining or not plan.is_usable:
            return False
        return not self._lanes.must_wait(plan.session_key if plan.is_stored else None)

    def plan(self, caller: Caller, request: RunRequest) -> RunPlan:
        """Decide who serves a request, and how; nothing has begun yet.  Raises as L{make_plan} does."""
        return make_plan(self._current_config(), self._catalog, caller, request)

    def start(self, plan: RunPlan) -> Deferred[Run]:
        """
        Admit a run and place it.

        @return: fires with the L{Run} once it has its turn and its turn is on disk; fails with an
            L{openclaw.errors.OpenClawError} if the run is refused.  Cancelling it takes the run out of the queue; a
            turn that was being stored at that moment stays in the transcript without an answer.
        """
        starting = Deferred.fromCoroutine(self._start(plan))
        self._starting[starting] = plan
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
        """End a run by either id, or let its L{start} fail with L{RunCancelled}; gives whether there was one."""
        run = self.find(run_id)
        if run is not None:
            run.cancel()
            return True
        found = self._find_starting(run_id)
        if found is None:
            return False
        starting, plan = found
        self._cancelled.add(plan.request.run_id)
        starting.cancel()
        return True

    def session_of(self, run_id: str) -> str | None:
        """The session key of the run that L{cancel} would end; C{None} if there is none."""
        run = self.find(run_id)
        if run is not None:
            return str(run.target.session_key)
        found = self._find_starting(run_id)
        return None if found is None else found[1].session_key

    def _find_starting(self, run_id: str) -> tuple[Deferred[Run], RunPlan] | None:
        """A run that is not placed yet, by either of its ids."""
        return next(
            (one for one in self._starting.items() if run_id in (one[1].request.run_id, one[1].request.options.alias)),
            None,
        )

    def cancel_session(self, session_key: str) -> list[str]:
        """End all runs of a session, those first that wait; gives the ids by which their clients know them."""
        waiting = [plan.request for plan in self._starting.values() if plan.session_key == session_key]
        placed = [run for run in self.live if str(run.target.session_key) == session_key]
        known = {one.run_id: one.shown_id for one in waiting} | {run.id: run.shown_id for run in placed}
        return [shown_id for run_id, shown_id in known.items() if self.cancel(run_id)]

    async def _start(self, plan: RunPlan) -> Run:
        run_id = plan.request.run_id
        add_log_context(run_id=run_id, session_key=plan.session_key)
        if self._draining:
            raise _draining()
        # Not while planning: a request that is answered already needs no model.
        check_usable(plan.candidates)
        timings = Timings(plan.request.received_s, admitted=self._clock.seconds())
        sent = plan.sent
        try:
            slot = await self._turns.enter(sent)
            timings.let_in = self._clock.seconds()
            try:
                work = await self._place(plan, sent, slot, timings)
            except Exception:
                # Not for GeneratorExit: then all of this is thrown away, and nobody is to be let in any more.
                slot.leave()
                raise
        except CancelledError:
            if self._stopped:
                raise _draining() from None
            if run_id in self._cancelled:
                raise RunCancelled("the run was cancelled") from None
            raise
        finally:
            self._cancelled.discard(run_id)
        if debugging.is_on:
            log.debug(
                "run {run_id} of {caller} in {session} begins",
                run_id=run_id,
                caller=plan.caller.name,
                session=plan.session_key,
            )
        self._live[run_id] = work
        work.begin(partial(self._over, run_id))
        return work.run

    async def _place(self, plan: RunPlan, sent: SentTurn, slot: Slot, timings: Timings) -> Work:
        record = plan.record(now_ms(self._clock))
        placed = await self._turns.begin(slot, sent, record)
        timings.placed = self._clock.seconds()
        if timings.let_in is not None:
            timings.let_in += placed.waited_s
        info = plan.info
        if self.bus.has_listeners:
            self.bus.publish(RunBegan(info, placed.new, record.started_at_ms))
        retries = Retries(self._clock, self._random, one_attempt=plan.request.options.one_attempt)
        journal = Journal(self._turns, placed, record, plan.repetition.keeping, self._clock)
        context = RunContext(info, slot, timings, retries, journal, self.bus, self._clock)
        return Work(plan, placed, context, self._paces)

    def _over(self, run_id: str) -> None:
        del self._live[run_id]
        self._settle()

    def busy_sessions(self) -> frozenset[str]:
        """The keys of the sessions that a run works in or waits for."""
        waiting = (plan.session_key for plan in self._starting.values())
        return frozenset((*waiting, *(str(run.target.session_key) for run in self.live)))

    def forget_session(self, session_key: str) -> None:
        """Have a session's transcript read anew; for whoever deletes the session, before it does."""
        self._turns.transcripts.forget(session_key)

    def drain(self) -> None:
        """Refuse new runs from now on; those that were admitted go on."""
        self._draining = True

    async def stop(self, grace_s: float) -> None:
        """Let the admitted runs finish within C{grace_s} seconds, then end the rest with L{Draining}."""
        self.drain()
        await self._all_over(grace_s)
        self._stopped = True
        for starting in list(self._starting):
            starting.cancel()
        # Those first who wait for what the others hold, and are not to get it now.
        for work in sorted(self._live.values(), key=lambda one: one.is_running):
            work.stop(_draining())
        await self._all_over(None)

    async def _all_over(self, grace_s: float | None) -> None:
        """Wait until no run is left, at most C{grace_s} seconds where that is given."""
        if not self.is_idle:
            if self._idle is None:
                self._idle = Promise()
            idle = self._idle.wait()
            with suppress(WaitedTooLong):
                await (idle if grace_s is None else within(idle, grace_s, self._clock))

    def _settle(self) -> None:
        if self._idle is not None and self.is_idle:
            idle, self._idle = self._idle, None
            idle.fire(None)


def _draining() -> Draining:
    return Draining("the gateway is shutting down", retry_after_s=DRAINING_RETRY_AFTER_S)
