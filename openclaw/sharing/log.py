"""
The log of a live run that is told to several readers at the same time; every reader has a place of its own in it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import Self

from twisted.internet.defer import Deferred

from openclaw.events import ReasoningDelta, RunEvent, TextDelta, ToolCallDelta

MAX_LOG_COST = 1024 * 1024
"""Most that the log of one answer holds, in characters and L{EVENT_COST}; larger answers cannot be told again."""

EVENT_COST = 128
"""What an event costs beside its characters, about as many bytes as its objects take."""

MERGED_COST = 16 * 1024
"""Size up to which batches that nobody is in the midst of are merged."""

Batch = Sequence[RunEvent]


class EventLog:
    """
    The batches of one run, for any number of readers.

    It is fed at the pace of the reader that is ahead, and freely while there is none.  A reader that comes late gets
    everything from the start, in fewer and larger batches.  When it is full its beginning is dropped, and nobody can
    come late any more; then it is fed at the pace of the reader that is behind.

    @ivar cost: what it holds now, in characters and L{EVENT_COST}.
    @ivar is_whole: whether it still has the beginning.
    @ivar ended: whether nothing follows any more.
    @param changed: called when C{cost} has changed.
    """

    def __init__(self, changed: Callable[[], object], max_cost: int = MAX_LOG_COST) -> None:
        self._changed = changed
        self._max_cost = max_cost
        # Three columns: the number of the first batch that was merged into one, the batch, its cost.
        self._starts: list[int] = []
        self._batches: list[Batch] = []
        self._costs: list[int] = []
        self._next = 0
        self._readers: set[LogReader] = set()
        # How many of them have taken everything and want more.
        self._waiting = 0
        self._writer: Deferred[None] | None = None
        self._is_paced = True
        self.ended = False
        self.cost = 0
        self.is_whole = True

    def read(self) -> LogReader:
        """A new reader, at the start; only while the log L{is_whole}."""
        reader = LogReader(self)
        self._readers.add(reader)
        return reader

    def append(self, batch: Batch) -> None:
        """Add a batch."""
        self._merge()
        cost = event_cost(batch[0]) if len(batch) == 1 else sum(map(event_cost, batch))
        self._starts.append(self._next)
        self._batches.append(batch)
        self._costs.append(cost)
        self._next += 1
        self.cost += cost
        self._trim()
        self._changed()
        if self._waiting:
            for reader in tuple(self._readers):
                reader.wake()

    def end(self, batch: Batch) -> None:
        """Add the batch with the terminal event; nothing may follow."""
        self.ended = True
        self.append(batch)

    def room(self) -> Deferred[None] | None:
        """What fires when somebody wants the next batch, C{None} if so already; cancelling the wait is harmless."""
        if self._has_room():
            return None
        self._writer = Deferred(self._stop_waiting)
        return self._writer

    def _stop_waiting(self, _: Deferred[None]) -> None:
        self._writer = None

    def hurry(self) -> None:
        """What is left to come is little: wait for nobody any more."""
        self._is_paced = False
        self._wake_writer()

    def forget(self) -> None:
        """Drop the beginning, and with it what no reader of now needs."""
        self.is_whole = False
        self._trim()
        self._changed()

    def events(self) -> Iterable[RunEvent]:
        """All that it holds."""
        return (event for batch in self._batches for event in batch)

    def after(self, position: int) -> tuple[Batch, int] | None:
        """The batch at a reader's place and the place behind it; C{None} if that is yet to come."""
        if position == self._next:
            return None
        index = bisect_left(self._starts, position)
        behind = self._starts[index + 1] if index + 1 < len(self._starts) else self._next
        return self._batches[index], behind

    def waits(self, by: int) -> None:
        """One reader more, or less, waits for a batch."""
        self._waiting += by
        if by > 0:
            self._wake_writer()

    def taken(self) -> None:
        """A reader has taken a batch."""
        if not self.is_whole or self.cost > self._max_cost:
            self._trim()
            self._changed()
            self._wake_writer()

    def leave(self, reader: LogReader) -> None:
        """A reader is gone."""
        self._readers.discard(reader)
        self.taken()
        self._wake_writer()

    def _has_room(self) -> bool:
        if not (self._readers and self._is_paced):
            return True
        return self._waiting > 0 and self.cost <= self._max_cost

    def _wake_writer(self) -> None:
        if self._writer is not None and self._has_room():
            writer, self._writer = self._writer, None
            writer.callback(None)

    def _merge(self) -> None:
        """
        Merge the last batches, as long as nobody stands between them.

        Only with one that is no larger: so a letter is copied some ten times and not once for each later batch.
        """
        costs = self._costs
        while len(costs) > 1 and costs[-2] <= costs[-1] * 2 and costs[-2] + costs[-1] <= MERGED_COST:
            start = self._starts[-1]
            if start in [reader.position for reader in self._readers]:
                return
            last = self._batches.pop()
            self._starts.pop()
            before = costs.pop() + costs[-1]
            self._batches[-1] = merged(self._batches[-1], last)
            costs[-1] = sum(map(event_cost, self._batches[-1]))
            self.cost += costs[-1] - before

    def _trim(self) -> None:
        """Drop what nobody needs, if the log is too large or nobody can come late."""
        if self.is_whole and self.cost <= self._max_cost:
            return
        needed = min((reader.position for reader in self._readers), default=self._next)
        count = bisect_left(self._starts, needed)
        if count:
            self.is_whole = False
            self.cost -= sum(self._costs[:count])
            del self._starts[:count], self._batches[:count], self._costs[:count]


class LogReader:
    """
    One reader of an L{EventLog}.

    Iterating it gives the batches, from the first one on, and ends after the one with the terminal event.

    @ivar position: number of the batch that it takes next.
    """

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._waiter: Deferred[None] | None = None
        self._has_left = False
        self.position = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Batch:
        while self._has_left or (found := self._log.after(self.position)) is None:
            if self._has_left or self._log.ended:
                raise StopAsyncIteration
            # Whoever writes may do so, and wake this reader, before this one waits.
            waiter = self._waiter = Deferred(self._give_up)
            self._log.waits(1)
            await waiter
        batch, self.position = found
        self._log.taken()
        return batch

    def wake(self) -> None:
        """There is something new."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            self._log.waits(-1)
            waiter.callback(None)

    def _give_up(self, waiter: Deferred[None]) -> None:
        self._waiter = None
        self._log.waits(-1)

    def leave(self) -> None:
        """Give the place up, so that nobody waits for this reader; it gets no more.  Harmless when done before."""
        self._has_left = True
        self.wake()
        self._log.leave(self)


def event_cost(event: RunEvent) -> int:
    """What an event costs in a log, about in bytes."""
    if isinstance(event, TextDelta | ReasoningDelta):
        return EVENT_COST + len(event.text)
    return EVENT_COST + (len(event.arguments) if isinstance(event, ToolCallDelta) else 0)


def merged(first: Batch, second: Batch) -> Batch:
    """Two batches as one that tells the same."""
    events = list(first)
    for event in second:
        last = events[-1]
        if isinstance(event, TextDelta) and isinstance(last, TextDelta):
            events[-1] = TextDelta(last.text + event.text)
        elif isinstance(event, ReasoningDelta) and isinstance(last, ReasoningDelta):
            events[-1] = ReasoningDelta(last.text + event.text)
        elif isinstance(event, ToolCallDelta) and isinstance(last, ToolCallDelta) and _goes_on(last, event):
            events[-1] = ToolCallDelta(last.index, last.id, last.name, last.arguments + event.arguments)
        else:
            events.append(event)
    return events


def _goes_on(last: ToolCallDelta, event: ToolCallDelta) -> bool:
    return event.index == last.index and event.id is None and event.name is None
