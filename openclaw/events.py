"""
What a provider and a run tell while they work.

Events travel in batches: all that one network read of the provider gave, so that each layer is entered once
a read and not once an event.  A run ends with exactly one terminal event, L{RunFinished} or L{RunFailed}.

Who wants to know of all runs, as the metrics and the WebSocket clients do, subscribes to the L{EventBus}.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import attrs
from twisted.logger import Logger

from openclaw.errors import OpenClawError
from openclaw.messages import FinishReason, Message, ToolCall, Usage


@attrs.frozen
class TextDelta:
    """More of the answer's text."""

    text: str


@attrs.frozen
class ReasoningDelta:
    """More of the model's reasoning, where the provider shows it."""

    text: str


@attrs.frozen
class ToolCallDelta:
    """
    More of a tool call.

    @ivar index: which of the message's calls, from 0.
    @ivar id: the call's id, on its first piece.
    @ivar name: the function's name, on its first piece.
    @ivar arguments: the next piece of the JSON text.
    """

    index: int
    id: str | None
    name: str | None
    arguments: str


@attrs.frozen
class ProviderFinished:
    """The model stopped, and why."""

    reason: FinishReason


@attrs.frozen
class ProviderUsage:
    """What the call cost, as the provider counted it."""

    usage: Usage


ProviderEvent = TextDelta | ReasoningDelta | ToolCallDelta | ProviderFinished | ProviderUsage
"""What a L{openclaw.models.ProviderStream} yields, in batches."""


@attrs.frozen
class RunFinished:
    """
    Terminal: the run succeeded and is on disk.

    @ivar reason: why the last model call stopped.
    @ivar usage: summed over all model calls of the run.
    """

    reason: FinishReason
    usage: Usage


@attrs.frozen
class RunFailed:
    """
    Terminal: the run did not succeed.

    @ivar error: why.
    @ivar produced_output: whether text or a tool call had been told before.
    """

    error: OpenClawError
    produced_output: bool


RunEvent = TextDelta | ReasoningDelta | ToolCallDelta | RunFinished | RunFailed
"""What a run tells, in batches."""


@attrs.frozen
class RunOutcome:
    """
    How a run ended.

    @ivar text: the answer, or as much of it as there was.
    @ivar reason: why the model stopped; C{None} if the run did not succeed.
    @ivar usage: summed over all model calls of the run.
    @ivar error: why the run did not succeed; C{None} if it did.
    @ivar reasoning: the model's reasoning, where the provider shows it, or as much of it as there was.
    @ivar tool_calls: the calls of the answer; none if the run did not succeed.
    @ivar produced_output: whether text, reasoning or a tool call had been told before the end.
    """

    text: str
    reason: FinishReason | None
    usage: Usage
    error: OpenClawError | None = None
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    produced_output: bool = False


@attrs.define
class Timings:
    """
    Milestones of a run in seconds on the gateway's clock; C{None} until they are reached.

    @ivar received: the request was complete.
    @ivar admitted: it was let into the queue.
    @ivar let_in: it had its session lane and a slot.
    @ivar placed: its turn is in the transcript.
    @ivar first_output: the provider's first event was there.
    @ivar attempts: how many calls of a model were begun; not a time.
    @ivar model_ref: C{provider/model} that was called last, or whose error is told; not a time.
    @ivar paced_s: seconds for which it has waited for its permits at model servers; a sum.
    """

    received: float
    admitted: float | None = None
    let_in: float | None = None
    placed: float | None = None
    first_output: float | None = None
    attempts: int = 0
    model_ref: str | None = None
    paced_s: float = attrs.field(default=0.0, init=False)


# ------------------------------------------------------------------------------------------ the bus


@attrs.frozen
class RunInfo:
    """
    Which run an event is about.

    @ivar run_id: the run's own id.
    @ivar shown_id: the id under which its client knows it; the run's own unless the client chose one.
    @ivar session_key: its session, the key of an unstored one included.
    @ivar model_ref: C{provider/model}, as it was resolved at the start.
    @ivar channel: where the conversation takes place.
    """

    run_id: str
    shown_id: str
    agent_id: str
    session_key: str
    model_ref: str
    channel: str


@attrs.frozen
class RunBegan:
    """
    A run has its place and its turn is on disk.

    @ivar new: the messages that the run adds to its session; empty where it answers a stored turn once more.
    @ivar started_at_ms: milliseconds since 1970.
    """

    info: RunInfo
    new: Sequence[Message]
    started_at_ms: int


@attrs.frozen
class RunTold:
    """
    A batch of what the model says.

    @ivar batch: as the run's reader has it.
    """

    info: RunInfo
    batch: Sequence[RunEvent]


@attrs.frozen
class RunOver:
    """
    A run has ended, and its end is on disk or could not be stored.

    @ivar outcome: how it ended.
    @ivar model_ref: the model that gave the outcome, which after a fallback is not that of C{info}.
    @ivar ended_at_ms: milliseconds since 1970.
    """

    info: RunInfo
    outcome: RunOutcome
    timings: Timings
    model_ref: str
    ended_at_ms: int


BusEvent = RunBegan | RunTold | RunOver
"""What the L{EventBus} carries.  For each run one L{RunBegan}, any number of L{RunTold}, one L{RunOver}."""


class EventBus:
    """Tells everybody who subscribed what happens to all runs, at once and in order."""

    _log = Logger()

    def __init__(self) -> None:
        self._listeners: tuple[Callable[[BusEvent], object], ...] = ()

    @property
    def has_listeners(self) -> bool:
        """Whether anybody would hear of an event; spares making one that nobody wants."""
        return bool(self._listeners)

    def subscribe(self, listener: Callable[[BusEvent], object]) -> Callable[[], None]:
        """
        Have a function called with every event from now on.

        It is called on the reactor's thread while the run waits, so it must be quick.  What it raises is logged and
        concerns nobody else.

        @return: ends the subscription; harmless when called twice.
        """
        # An object of its own, so that a function which subscribed twice ends one of the two.
        entry = partial(listener)
        self._listeners = (*self._listeners, entry)

        def unsubscribe() -> None:
            self._listeners = tuple(other for other in self._listeners if other is not entry)

        return unsubscribe

    def publish(self, event: BusEvent) -> None:
        """Tell an event to all who listen."""
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:  # noqa: BLE001 -- a listener's bug must not end the run that it listens to
                self._log.failure("a listener failed at {kind}", kind=type(event).__name__)
