"""What moves while a run is at work: where it stands, whom it tells, what can be stopped of it right now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as WaitedTooLong
from twisted.internet.interfaces import IDelayedCall

from openclaw.agents.answer import Delta
from openclaw.agents.models import falls_back
from openclaw.agents.pace import Pace, Permit, Wanted
from openclaw.agents.plan import Keeping
from openclaw.agents.retry import Retries
from openclaw.agents.run import RunEvents
from openclaw.errors import ContextTooLong, Draining, OpenClawError, ProviderRejected, RunCancelled, StoreError
from openclaw.events import EventBus, RunInfo, RunOutcome, RunTold, Timings
from openclaw.ids import new_entry_id
from openclaw.interfaces import Clock
from openclaw.messages import Message
from openclaw.records import Entry, KeptRun, RunRecord, StopReason
from openclaw.sessions.lanes import Slot
from openclaw.sessions.turns import PlacedTurn, Turns
from openclaw.waits import SHORT_STORE_TIMEOUT_S, STORE_TIMEOUT, now_ms, pause, within


class Stoppable(Protocol):
    """What a run is waiting for, and can be ended at once: the stream of a model call."""

    def close(self) -> None:
        """End it now; harmless when it is over."""


@attrs.define(eq=False)
class Journal:
    """
    What one run writes into the store.

    @ivar placed: what the answer is to follow.
    @ivar record: the run as it was stored when it began.
    @ivar keeping: the key that its answer is kept under, if it is.
    """

    turns: Turns
    placed: PlacedTurn
    record: RunRecord
    keeping: Keeping | None
    clock: Clock
    _storing: Deferred[None] | None = attrs.field(default=None, init=False)
    _patience: IDelayedCall | None = attrs.field(default=None, init=False)

    async def end(self, outcome: RunOutcome, timings: Timings) -> None:
        """
        Store the end of the run and its answer.

        @raise StoreError: if that fails or takes too long; then it is not certain whether it is stored.
        """
        error, placed = outcome.error, self.placed
        ended_at_ms = now_ms(self.clock)
        begun = self.record
        ended = RunRecord(
            begun.run_id,
            begun.agent_id,
            begun.session_key,
            timings.model_ref or begun.model_ref,
            "done" if error is None else "cancelled" if isinstance(error, RunCancelled) else "failed",
            begun.started_at_ms,
            ended_at_ms,
            outcome.usage,
            error.code if error is not None else None,
        )
        entries: Sequence[Entry] = ()
        if placed.tip_id is not None:
            reason = outcome.reason if error is None else _how_it_ended(error, outcome)
            message = Message("assistant", outcome.text, outcome.tool_calls, reasoning=outcome.reasoning)
            entries = (Entry(new_entry_id(), placed.tip_id, ended.run_id, message, ended_at_ms, reason),)
        key = None
        if self.keeping is not None:
            received_at_ms = int(timings.received * 1000)
            begun_at_ms, session_at_ms = ended.started_at_ms, placed.session_created_at_ms
            kept = KeptRun(ended.model_ref, received_at_ms, begun_at_ms, ended_at_ms, session_at_ms)
            key = self.keeping.end(outcome, kept)
        self._storing = Deferred.fromCoroutine(self.turns.end(placed, ended, entries, key))
        if isinstance(error, Draining) or placed.tip_id is None:
            self.hurry()
        try:
            await self._storing
        except CancelledError:
            raise StoreError("the store did not answer in time", code=STORE_TIMEOUT) from None
        finally:
            self._storing = None
            if self._patience is not None and self._patience.active():
                self._patience.cancel()
        if self.keeping is not None:
            self.keeping.is_stored = True

    def hurry(self) -> None:
        """Wait for the store only a little longer; harmless if nothing is being stored."""
        if self._storing is not None and self._patience is None:
            self._patience = self.clock.callLater(SHORT_STORE_TIMEOUT_S, self._storing.cancel)


def _how_it_ended(error: OpenClawError, outcome: RunOutcome) -> StopReason:
    """
    Why an answer that did not come to its end stands in the transcript as it does.

    What a model server calls wrong with the request, another server would, too, and each time it is in the prompt.
    """
    if isinstance(error, RunCancelled):
        return "aborted"
    is_refusal = isinstance(error, ContextTooLong | ProviderRejected) and not falls_back(error)
    return "refused" if is_refusal and not outcome.produced_output else "error"


@attrs.define(eq=False)
class RunContext:
    """
    A run on its way from its place in the transcript to its end.

    @ivar info: what all is told about.
    @ivar slot: left when the run is over.
    @ivar retries: its further attempts.
    @ivar journal: takes the run's end and its answer.
    @ivar bus: hears of the run from its beginning to its end.
    @ivar events: what the run's reader gets.
    @ivar stopped_by: why the run is to end, once it is.
    """

    info: RunInfo
    slot: Slot
    timings: Timings
    retries: Retries
    journal: Journal
    bus: EventBus
    clock: Clock
    events: RunEvents = attrs.field(factory=RunEvents, init=False)
    stopped_by: OpenClawError | None = attrs.field(default=None, init=False)
    _stoppable: Stoppable | None = attrs.field(default=None, init=False)

    @property
    def goes_on(self) -> bool:
        """Whether the run goes on, and was not stopped."""
        return self.stopped_by is None

    @property
    def model_ref(self) -> str:
        """C{provider/model} that is asked, was asked last, or whose error is told in the end."""
        return self.timings.model_ref if self.timings.model_ref is not None else self.info.model_ref

    def emit(self, deltas: Sequence[Delta]) -> Deferred[None] | None:
        """Tell a batch of what the model says; gives what to wait for where the reader is behind."""
        if self.bus.has_listeners:
            self.bus.publish(RunTold(self.info, deltas))
        return self.events.put(deltas)

    def hold(self, stoppable: Stoppable | None) -> None:
        """Say what L{stop} is to end at once; C{None} when that is over."""
        self._stoppable = stoppable

    def stop(self, error: OpenClawError) -> None:
        """End what is under way; whoever waits for it sees from C{stopped_by} that it was not its own failure."""
        self.stopped_by = error
        if self._stoppable is not None:
            self._stoppable.close()

    async def take_permit(self, pace: Pace, wanted: Wanted) -> Permit:
        """
        Wait for a permit at a model server, while somebody else runs.

        Whoever holds a permit waits for nothing but to run, and who waits for one does not run, so that no two runs
        wait for each other.

        @param pace: the server's; that of C{wanted}.
        @return: to be left when the call is over.
        @raise ProviderError: if it does not come in time, or too many wait.
        """
        longest_s = pace.longest_wait_s(wanted)
        if self.timings.attempts:
            longest_s = min(longest_s, self.retries.left_s())
        if not self.slot.has_room_aside or pace.held_s(wanted) > longest_s:
            raise pace.refusal(wanted.ref)
        began_s = self.clock.seconds()
        with self.slot.aside():
            try:
                return await within(self._take_permit(pace, wanted), longest_s, self.clock)
            except WaitedTooLong:
                raise pace.refusal(wanted.ref) from None
            finally:
                self.timings.paced_s += self.clock.seconds() - began_s

    async def _take_permit(self, pace: Pace, wanted: Wanted) -> Permit:
        permit = pace.take(wanted) or await pace.wait(wanted)
        try:
            await self.slot.resume()
        except CancelledError:
            permit.leave()
            raise
        if not self.goes_on:
            # Others that are stopped at this very moment have just left the permit.
            permit.leave()
            raise pace.refusal(wanted.ref)
        return permit

    async def pause(self, delay_s: float) -> bool:
        """Wait between two attempts, while somebody else runs; gives whether there is to be another one."""
        self.slot.pause()
        await pause(delay_s, self.clock)
        try:
            await within(self.slot.resume(), self.retries.left_s(), self.clock)
        except WaitedTooLong:
            return False
        return self.goes_on
