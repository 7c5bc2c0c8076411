"""A run that several requests may share: who reads it, whether it goes on without them, how it ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol, get_args

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from openclaw.agents.plan import RunPlan
from openclaw.agents.run import Run, Take
from openclaw.errors import OpenClawError, ResultNotKept, RunCancelled
from openclaw.events import RunFailed, RunOutcome, Timings
from openclaw.interfaces import Clock
from openclaw.messages import Usage
from openclaw.records import KeptResult, KeptRun, KeySurface
from openclaw.sharing.kept import answer_size, events_of, is_final, outcome_of
from openclaw.sharing.lingering import LINGER_S, Lingering
from openclaw.sharing.log import Batch, EventLog, LogReader
from openclaw.sharing.recent import Kept
from openclaw.waits import Promise, now_ms

ALONE_S = 600.0
"""How long a run that is to go on without its client may do so, in seconds from when the last one left."""

Lasts = Literal["client", "alone", "forever"]
"""How long a run goes on when nobody reads it; each is longer than the one before."""

LASTING: tuple[Lasts, ...] = get_args(Lasts)
"""The shortest first."""

Name = tuple[str, str, str]
"""A key: its surface, its caller, and the key itself."""


class WayToClient(Protocol):
    """The way of an answer to one client."""

    @property
    def is_complete(self) -> bool:
        """Whether the client has all of it; false where that cannot be known."""


@attrs.frozen
class Claim:
    """
    How a request may meet an earlier one, and what is to happen when its client leaves.

    @ivar fingerprint: digest of all that makes up the request; C{None} if it is to meet no other.
    @ivar key: the C{Idempotency-Key}.
    @ivar is_retry: the client's library says that it sends this request once more.
    @ivar lasts: the run ends with its last client, or goes on alone for
        L{ALONE_S}, or until it is over.
    @ivar surface: where the key comes from.  One of C{ws} comes with every call, so it is claimed and ended in the
        transactions that store the turn and the answer, and costs none of its own.
    """

    fingerprint: bytes | None = None
    key: str | None = None
    is_retry: bool = False
    lasts: Lasts = "client"
    surface: KeySurface = "http"

    @property
    def comes_with_turn(self) -> bool:
        """Whether the key is claimed and ended together with the turn and its answer."""
        return self.key is not None and self.surface == "ws"

    @property
    def can_be_met(self) -> bool:
        """Whether another request may have to do with the run of this one."""
        return self.fingerprint is not None or self.key is not None or self.lasts != "client"

    def is_final(self, error: OpenClawError) -> bool:
        """
        Whether an error is told to whoever repeats the request, as the result of it.

        Where no client's leaving ends a run, one that was cancelled was meant to be.
        """
        return is_final(error) or (self.lasts == "forever" and isinstance(error, RunCancelled))


class Shared:
    """
    One run and those who read its answer, all of whom asked for the same.

    @ivar run_id: the run that answers; another than that of the request where an ended one is told again.
    @ivar session_key: the run's session, in full.
    @ivar shown_id: the id by which its client knows the run.
    @ivar created_s: the answer's C{created}, seconds since 1970.
    @ivar attempts: ids of the runs of this very request that came to nothing, oldest first.
    @ivar claimed: fires when it is decided whether there is a run or an old answer; fails if neither.
    @ivar placed: fires with the run's milestones when it has its place; fails if it does not get one.
    @ivar done: fires with the outcome, at once with the end that is told.
    @ivar over: fires when all is stored that is to be stored after the end.
    @ivar is_stopping: it has been cancelled, or is over; then nobody may join it, except to be told the answer.
    @ivar is_replay: there is no run, but an old answer.
    @ivar name: the key that it holds, if it has one.
    @ivar entry: where it is remembered, if it is.
    @ivar ran: what is told of the run beside its answer, where it has ended and that is kept.
    @ivar ended_at_ms: when it was over, milliseconds since 1970; C{None} while it is not.
    @ivar deliveries: the ways of its answer to its clients.
    @param streamed: whether its readers are told event by event; they take the outcome else.
    """

    def __init__(self, clock: Clock, claim: Claim, run_id: str, session_key: str, *, streamed: bool) -> None:
        self.claim = claim
        self.run_id = run_id
        self.session_key = session_key
        self.shown_id = run_id
        self.created_s = int(clock.seconds())
        self.attempts: tuple[str, ...] = ()
        self.claimed: Promise[None] = Promise()
        self.placed: Promise[Timings] = Promise()
        self.done: Promise[RunOutcome] = Promise()
        self.over: Promise[None] = Promise()
        self.is_stopping = False
        self.is_replay = False
        self.name: Name | None = None
        self.entry: Kept[Any] | None = None
        self.ran: KeptRun | None = None
        self.ended_at_ms: int | None = None
        self.log = EventLog(self.tell_cost) if streamed else None
        self._clock = clock
        self.deliveries: list[WayToClient] = []
        self._lasts = claim.lasts
        self._readers: set[Reader] = set()
        self._alone: IDelayedCall | None = None
        # Who counts it while it goes on for a retry, and for which caller.
        self._lingering: tuple[Lingering, str] | None = None
        self._is_lingering = False
        self._stop: Callable[[], object] | None = None
        self._outcome: RunOutcome | None = None

    # ------------------------------------------------------------------------------ for those who read

    @property
    def has_ended(self) -> bool:
        """Whether it is over."""
        return self._outcome is not None

    @property
    def is_before_run(self) -> bool:
        """Whether nothing has been started that a cancelling would end."""
        return self._stop is None and not self.is_stopping

    @property
    def can_be_told(self) -> bool:
        """Whether a new reader would get the whole answer: the run lives, or succeeded and is still known."""
        if not self.is_whole:
            return False
        return self._outcome.error is None if self._outcome is not None else not self.is_stopping

    @property
    def failed_runs(self) -> tuple[str, ...]:
        """The ids of all its runs, oldest first, if it came to nothing or is about to."""
        came_to_nothing = self.is_stopping and (self._outcome is None or self._outcome.error is not None)
        return (*self.attempts, self.run_id) if came_to_nothing else ()

    @property
    def is_whole(self) -> bool:
        """Whether nothing of the answer was dropped."""
        return self.log is None or self.log.is_whole

    @property
    def size(self) -> int:
        """How large the answer is, in characters, and in the costs of the log."""
        answer = 0 if self._outcome is None else answer_size(self._outcome)
        return answer + (0 if self.log is None else self.log.cost)

    @property
    def is_final(self) -> bool:
        """Whether it has ended in a way that whoever repeats the request is told."""
        if self._outcome is None:
            return False
        return self._outcome.error is None or self.claim.is_final(self._outcome.error)

    def attach(self, claim: Claim, *, joined: bool = True) -> Reader:
        """A new reader, which has C{joined} or begun the run.  L{ResultNotKept} if the answer's beginning is gone."""
        if not self.is_whole:
            raise ResultNotKept("the answer to this Idempotency-Key is too large to be told again")
        self._lasts = max(self._lasts, claim.lasts, key=LASTING.index)
        self._stop_alone()
        reader = Reader(self, self.log.read() if self.log is not None else None, joined=joined)
        self._readers.add(reader)
        return reader

    @property
    def is_delivered(self) -> bool:
        """Whether the whole answer has reached any of its clients: then it is not told again for a retry."""
        return any(delivery.is_complete for delivery in self.deliveries)

    def detach(self, reader: Reader, *, by_timeout: bool = False) -> None:
        """
        A reader is gone; the last one takes the run with it, if that is not to go on.

        @param by_timeout: its client has left because a time limit of its own was over, and may come again.
        """
        if reader not in self._readers:
            return
        self._readers.discard(reader)
        if self._readers or self.has_ended:
            return
        if self._lasts == "alone":
            self._alone = self._clock.callLater(ALONE_S, self._cancel_alone)
        elif self._lasts == "client" and not (by_timeout and self._linger()):
            self.cancel()

    def _linger(self) -> bool:
        """Go on for a retry, if a caller may have one more of these."""
        if self._lingering is None or self.is_stopping:
            return False
        lingering, caller = self._lingering
        if not lingering.take(caller):
            return False
        self._is_lingering = True
        self._alone = self._clock.callLater(LINGER_S, self._cancel_alone)
        return True

    def cancel(self) -> None:
        """End the run now, wherever it is."""
        self._stop_alone()
        if not self.is_stopping:
            self.is_stopping = True
            if self._stop is not None:
                self._stop()

    def forget(self) -> None:
        """Nobody comes late any more: drop what no reader of now needs."""
        if self.log is not None:
            self.log.forget()

    # ------------------------------------------------------------------------------ for those who run it

    def may_linger(self, lingering: Lingering, caller: str) -> None:
        """Say who counts it, where it may go on for a retry when its client's time limit is over."""
        self._lingering = lingering, caller

    def stopped_by(self, stop: Callable[[], object] | None) -> None:
        """Say how to end what is under way, if anything is; it is ended at once if it is cancelled already."""
        self._stop = stop
        if self.is_stopping and stop is not None:
            stop()

    def replay(self, kept: KeptResult) -> None:
        """There is no run, but this old answer to be told."""
        self.run_id, self.session_key, self.created_s = kept.run_id, kept.session_key, kept.created_s
        self.ran = kept.run
        self.ended_at_ms = kept.created_s * 1000 if kept.run is None else kept.run.ended_at_ms
        self.is_replay = True
        outcome = outcome_of(kept)
        self.claimed.fire(None)
        self.placed.fire(Timings(self._clock.seconds()))
        self.end(outcome, events_of(outcome))

    def refuse(self, error: OpenClawError) -> None:
        """It came to nothing, at whatever point that is."""
        self.claimed.fail(error)
        self.placed.fail(error)
        self.end(RunOutcome("", None, Usage(), error), (RunFailed(error, produced_output=False),))

    def end(self, outcome: RunOutcome, terminal: Batch) -> None:
        """The run is over: tell it."""
        self.is_stopping = True
        self._stop = None
        self._stop_alone()
        self._outcome = outcome
        if self.ended_at_ms is None:
            self.ended_at_ms = now_ms(self._clock) if self.ran is None else self.ran.ended_at_ms
        if self.log is not None:
            self.log.end(terminal)
        self.tell_cost()
        self.done.fire(outcome)

    def tell_cost(self) -> None:
        """Tell what it holds, where that is bounded."""
        if self.entry is not None:
            self.entry.set_cost(self.size)

    def _stop_alone(self) -> None:
        if self._alone is not None:
            self._alone.cancel()
            self._alone = None
        self._stop_lingering()

    def _stop_lingering(self) -> None:
        if self._is_lingering and self._lingering is not None:
            self._is_lingering = False
            lingering, caller = self._lingering
            lingering.give_back(caller)

    def _cancel_alone(self) -> None:
        self._alone = None
        self.cancel()


class Reader:
    """
    One request's share in a run.

    L{each} is for those who stream, L{outcome} for the others; L{leave} is to be called in the end, however it ended.

    @ivar joined: whether another request has begun it.
    """

    def __init__(self, shared: Shared, events: LogReader | None, *, joined: bool) -> None:
        self.joined = joined
        self._shared = shared
        self._events = events
        self._came_late = shared.has_ended

    @property
    def run_id(self) -> str:
        """The run that answers."""
        return self._shared.run_id

    @property
    def session_key(self) -> str:
        """The run's session, in full."""
        return self._shared.session_key

    @property
    def created_s(self) -> int:
        """The answer's C{created}, seconds since 1970."""
        return self._shared.created_s

    @property
    def ran(self) -> KeptRun | None:
        """What is told of the ended run beside its answer; C{None} if it was not placed, or nothing is kept of it."""
        return self._shared.ran

    @property
    def ended_at_ms(self) -> int | None:
        """When the run was over, milliseconds since 1970; C{None} while it is not."""
        return self._shared.ended_at_ms

    @property
    def replayed(self) -> bool:
        """Whether the answer was complete before this request came."""
        return self._came_late or self._shared.is_replay

    async def claimed(self) -> None:
        """Wait until it is settled what is read, a run or an old answer; raises why it is neither."""
        await self._shared.claimed.wait()

    async def placed(self) -> Timings | None:
        """
        Wait until the run has its place.

        @return: its milestones; C{None} where an old answer is told.
        @raise OpenClawError: if it does not get one.
        """
        timings = await self._shared.placed.wait()
        return None if self.replayed else timings

    async def outcome(self) -> RunOutcome:
        """Wait until the run is over."""
        return await self._shared.done.wait()

    async def each(self, take: Take) -> None:
        """Have every batch of the whole answer taken; see L{openclaw.agents.run.RunEvents.each}."""
        assert self._events is not None, "this answer is not streamed"
        async for batch in self._events:
            behind = take(batch)
            if behind is not None:
                await behind

    def goes_by(self, delivery: WayToClient) -> None:
        """Say how the answer goes to this request's client."""
        if self._shared.claim.key is None:
            self._shared.deliveries.append(delivery)

    def leave(self, *, by_timeout: bool = False) -> None:
        """
        Give the share up; the run ends if it was the last one and nothing else holds the run.

        @param by_timeout: the client has left because a time limit of its own was over.
        """
        if self._events is not None:
            self._events.leave()
        self._shared.detach(self, by_timeout=by_timeout)


class OwnRun:
    """
    The run of one request, which ends with it: read like L{Reader}, but without a log, and never C{replayed}.

    @param start: starts the run; called once.
    """

    replayed = False

    def __init__(self, plan: RunPlan, start: Callable[[RunPlan], Deferred[Run]], created_s: int) -> None:
        self.run_id = plan.request.run_id
        self.session_key = plan.session_key
        self.created_s = created_s
        self._start = start
        # Not kept for the whole run: it holds all that was sent.
        self._plan: RunPlan | None = plan
        self._run: Run | None = None

    async def placed(self) -> Timings:
        """Start the run and wait for its place; raises why it is refused.  Cancelling takes it out of the queue."""
        plan, self._plan = self._plan, None
        assert plan is not None
        starting = self._start(plan)
        del plan
        self._run = await starting
        return self._run.timings

    async def outcome(self) -> RunOutcome:
        """Wait for the run's end."""
        assert self._run is not None
        # Nobody reads the events: the outcome has it all.
        self._run.events.close()
        return await self._run.done

    async def each(self, take: Take) -> None:
        """Have every batch of the run taken; see L{openclaw.agents.run.RunEvents.each}."""
        assert self._run is not None
        await self._run.events.each(take)

    def leave(self, *, by_timeout: bool = False) -> None:
        """End the run, unless it is over: no retry could meet it."""
        if self._run is not None:
            self._run.events.close()
            self._run.cancel()
