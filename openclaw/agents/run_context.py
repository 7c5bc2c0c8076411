"""What moves while a run is at work: where it stands, whom it tells, what can be stopped of it right now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as WaitedTooLong

from openclaw.agents.answer import Delta
from openclaw.agents.retry import Retries
from openclaw.agents.run import RunEvents
from openclaw.errors import OpenClawError
from openclaw.events import EventBus, RunInfo, RunTold, Timings
from openclaw.interfaces import Clock
from openclaw.sessions.lanes import Slot
from openclaw.waits import pause, within


class Stoppable(Protocol):
    """What a run is waiting for, and can be ended at once: the stream of a model call."""

    def close(self) -> None:
        """End it now; harmless when it is over."""


@attrs.define(eq=False)
class RunContext:
    """
    A run on its way from its place in the transcript to its end.

    @ivar info: what all is told about.
    @ivar slot: left when the run is over.
    @ivar retries: its further attempts; made when the first one starts.
    @ivar bus: hears of the run from its beginning to its end.
    @ivar events: what the run's reader gets.
    @ivar stopped_by: why the run is to end, once it is.
    """

    info: RunInfo
    slot: Slot
    timings: Timings
    retries: Retries
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

    async def pause(self, delay_s: float) -> bool:
        """Wait between two attempts, while somebody else runs; gives whether there is to be another one."""
        self.slot.pause()
        await pause(delay_s, self.clock)
        try:
            await within(self.slot.resume(), self.retries.left_s(), self.clock)
        except WaitedTooLong:
            return False
        return self.goes_on
