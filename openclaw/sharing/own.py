"""A run that one request alone has to do with."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred

from openclaw.agents.plan import RunPlan
from openclaw.agents.run import Run, Take
from openclaw.events import RunOutcome, Timings


class OwnRun:
    """
    The run of one request, which ends with it: read like L{openclaw.sharing.shared.Reader}, but without a log.

    @ivar run_id: the run that answers.
    @ivar session_key: its session, in full.
    @ivar created_s: the answer's C{created}, seconds since 1970.
    @ivar replayed: never: nobody else has had a part in it.
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
        """
        Start the run and wait for its place.

        @raise openclaw.errors.OpenClawError: if it is refused.  Cancelling takes it out of the queue.
        """
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

    def leave(self) -> None:
        """End the run, unless it is over."""
        if self._run is not None:
            self._run.events.close()
            self._run.cancel()
