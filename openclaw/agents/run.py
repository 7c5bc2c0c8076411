"""
A run: one piece of an agent's work in one session, and what it tells while it works.

It is the only object that a surface and the runtime share.  A run yields batches of events until exactly one
terminal event; the surface that reads them sets the pace, because a run waits while its batches are not taken.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from openclaw.agents.resolve import Target
from openclaw.errors import OpenClawError, RunCancelled
from openclaw.events import RunEvent, RunInfo, RunOutcome, Timings
from openclaw.waits import Promise

Take = Callable[[Sequence[RunEvent]], Deferred[None] | None]
"""Takes a batch; gives C{None} if it can take the next one at once, else what fires when it can."""


class RunEvents:
    """
    The batches of one run, for one reader.

    L{each} gives them in order and ends after the one with the terminal event.  When the reader is gone L{close} is
    called; the reading is then over and the run goes on without waiting for anybody.
    """

    def __init__(self) -> None:
        self._batches: deque[Sequence[RunEvent]] = deque()
        self._reader: Deferred[None] | None = None
        # What is called for a batch while L{each} waits for one, and what it has to wait for then.
        self._take: Take | None = None
        self._taking: Deferred[None] | None = None
        self._writer: Deferred[None] | None = None
        self._ended = False
        self._closed = False

    async def each(self, take: Take) -> None:
        """
        Have every batch taken, in order, until the one with the terminal event is.

        As long as the reader keeps up it is called by whoever L{put}s a batch, before that returns: a chunk of an
        answer is on its way without a coroutine being woken for it.

        Cancelling it ends the reading; L{close} is called besides.

        @raise Exception: what C{take} raises; the run is not concerned.
        """
        while True:
            while self._batches:
                batch = self._batches.popleft()
                self._wake_writer()
                waiting = take(batch)
                if waiting is not None:
                    await waiting
            if self._ended or self._closed:
                return
            self._take = take
            self._reader = Deferred()
            try:
                await self._reader
            finally:
                self._take = self._reader = None
            waiting, self._taking = self._taking, None
            if waiting is not None:
                await waiting

    def close(self) -> None:
        """The reader is gone: drop what waits and whatever comes."""
        self._closed = True
        self._batches.clear()
        self._wake_writer()
        self._wake_reader()

    def put(self, batch: Sequence[RunEvent]) -> Deferred[None] | None:
        """
        Hand a batch over.

        @return: what fires when the reader has taken it, for whoever is not to make another one before that; C{None}
            if it has.  Cancelling that wait is harmless: the batch stays handed over.
        """
        self._hand_over(batch)
        if not self._batches:
            return None
        self._writer = Deferred(self._stop_waiting)
        return self._writer

    def end(self, batch: Sequence[RunEvent]) -> None:
        """Hand over the batch with the terminal event; nothing may follow."""
        self._ended = True
        self._hand_over(batch)
        self._wake_reader()

    def _hand_over(self, batch: Sequence[RunEvent]) -> None:
        if self._closed:
            return
        if self._take is not None:
            self._call(self._take, batch)
        else:
            self._batches.append(batch)
            self._wake_reader()

    def _call(self, take: Take, batch: Sequence[RunEvent]) -> None:
        try:
            waiting = take(batch)
        except Exception:  # noqa: BLE001 -- it is the reader's, and raised there
            self._take = None
            reader, self._reader = self._reader, None
            if reader is not None:
                reader.errback(Failure())
        else:
            if waiting is not None:
                self._take, self._taking = None, waiting
                self._wake_reader()

    def _stop_waiting(self, _: Deferred[None]) -> None:
        self._writer = None

    def _wake_reader(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.callback(None)

    def _wake_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.callback(None)


class Run:
    """
    One run, placed in its session and under way.

    @ivar shown_id: the id by which its client knows it.
    @ivar target: who serves it.
    @ivar events: its batches of events; to be read to their end or closed, else the run waits for its deadline.
    """

    def __init__(
        self, info: RunInfo, target: Target, timings: Timings, events: RunEvents, stop: Callable[[OpenClawError], None]
    ) -> None:
        self.id = info.run_id
        self.shown_id = info.shown_id
        self.target = target
        self.timings = timings
        self.events = events
        self._stop: Callable[[OpenClawError], None] | None = stop
        self._outcome: Promise[RunOutcome] = Promise()

    @property
    def done(self) -> Deferred[RunOutcome]:
        """
        Fires with the L{RunOutcome} when the run is over and on disk, or could not be stored; it never fails.

        Each access gives a Deferred of its own, so that whoever cancels the wait stops only waiting himself.
        """
        return self._outcome.wait()

    def conclude(self, outcome: RunOutcome) -> None:
        """Tell those who wait for L{done}; for whoever does the run's work, once."""
        self._stop = None
        self._outcome.fire(outcome)

    def cancel(self) -> None:
        """
        End the run now: the provider's connection is closed before this returns.

        What was produced is kept as an answer that was cut off.  Harmless when the run is over.
        """
        if self._stop is not None:
            self._stop(RunCancelled("the run was cancelled"))
