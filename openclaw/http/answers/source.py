"""Where a request's answer comes from, whether its run is its own or shared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred

from openclaw.agents.run import Run, Take
from openclaw.events import RunOutcome, Timings


class AnswerSource(Protocol):
    """One request's part in a run: its own run, or its share in one (L{openclaw.sharing.shared.Reader})."""

    async def placed(self) -> Timings | None:
        """Wait for the run's place; gives its milestones, C{None} where an old answer is told."""

    async def outcome(self) -> RunOutcome:
        """Wait for the run's end."""

    async def each(self, take: Take) -> None:
        """Have every batch of the answer taken."""

    def leave(self) -> None:
        """The request is over."""


class OwnRun:
    """
    A run that this request alone has to do with, and that ends with it.

    @param start: starts the run; called once.
    """

    def __init__(self, start: Callable[[], Deferred[Run]]) -> None:
        self._start: Callable[[], Deferred[Run]] | None = start
        self._run: Run | None = None

    async def placed(self) -> Timings:
        """
        Start the run and wait for its place.

        @raise openclaw.errors.OpenClawError: if it is refused.  Cancelling takes it out of the queue.
        """
        start, self._start = self._start, None
        assert start is not None
        self._run = await start()
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

    def leave(self) -> None:
        """End the run, unless it is over."""
        if self._run is not None:
            self._run.events.close()
            self._run.cancel()
