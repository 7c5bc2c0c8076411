"""
Turns that were asked for over a WebSocket: they outlive the socket, and whoever asks again finds them.

A turn ends by its run's end, by an abort, by a deadline or by the gateway's stop; never because its client went
away.  Its end is kept for a while under the name of its caller and its run id.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from openclaw.agents.request import RunRequest
from openclaw.agents.run import Run
from openclaw.agents.runs import DRAINING_RETRY_AFTER_S, Runs
from openclaw.errors import Draining, OpenClawError, RunCancelled
from openclaw.interfaces import Caller, Clock
from openclaw.methods.recent import Recent

KEEP_S = 300.0
"""How long the end of a turn is kept, seconds, as in the original."""

MAX_KEPT = 1000
"""How many ends are kept, as in the original."""

MAX_KEPT_CHARS = 16 * 1024 * 1024
"""Most characters of text in all ends that are kept."""

ABORTED_BY = "rpc"
"""The C{stopReason} of a run that its caller ended, as in the original."""

log = Logger()


@attrs.frozen
class TurnEnd:
    """
    How a turn ended.

    @ivar payload: the final payload of the call; C{None} if the run did not succeed.
    @ivar error: why it did not.
    @ivar stop_reason: why the model stopped, in the protocol's words; C{None} if it failed.
    @ivar started_at_ms: when its run was placed, milliseconds since 1970; C{None} if it never was.
    """

    ended_at_ms: int
    started_at_ms: int | None = None
    payload: Mapping[str, Any] | None = None
    error: OpenClawError | None = None
    stop_reason: str | None = None
    text: str = ""

    def result(self, run_id: str) -> Mapping[str, Any]:
        """
        The final payload; that of a turn which its caller ended is a success of another kind, as in the original.

        @param run_id: the id by which the client knows the turn.
        @raise OpenClawError: if the turn failed.
        """
        if isinstance(self.error, RunCancelled):
            return {"runId": run_id, "status": "timeout", "summary": "aborted", "stopReason": ABORTED_BY}
        if self.payload is None:
            assert self.error is not None
            # It may be raised many times: each would add to its traceback.
            raise self.error.with_traceback(None)
        return self.payload


Report = Callable[[Run], "Deferred[TurnEnd]"]
"""Waits for the end of a run and tells it as its surface wants it."""


class Turn:
    """
    One turn under way.

    @ivar run_id: the id by which its client knows it.
    @ivar request: what the agent was asked.
    @ivar run: its run, once that is placed.
    @ivar end: how it ended, once it has.
    """

    def __init__(self, run_id: str, session_key: str, agent_id: str, request: RunRequest) -> None:
        self.run_id = run_id
        self.session_key = session_key
        self.agent_id = agent_id
        self.request = request
        self.run: Run | None = None
        self.end: TurnEnd | None = None
        self._placed: list[Deferred[None]] = []
        self._ended: list[Deferred[None]] = []

    async def placed(self) -> None:
        """Wait until its run is placed or it has ended; cancelling the wait does no more than that."""
        if self.run is None and self.end is None:
            await _wait_in(self._placed)

    async def ended(self) -> TurnEnd:
        """Wait for its end; cancelling the wait does no more than that."""
        if self.end is None:
            await _wait_in(self._ended)
        assert self.end is not None
        return self.end

    def place(self, run: Run) -> None:
        """Tell those who wait for it that its run is placed."""
        self.run = run
        _fire(self._placed)

    def conclude(self, end: TurnEnd) -> None:
        """Tell all who wait for it that it has ended."""
        self.end = end
        _fire(self._placed)
        _fire(self._ended)


class AgentTurns:
    """
    The turns of all callers.

    @param runs: the door to the agents.
    """

    def __init__(self, runs: Runs, clock: Clock) -> None:
        self._runs = runs
        self._clock = clock
        self._turns: dict[tuple[str, str], Turn] = {}
        self._tasks: dict[tuple[str, str], Deferred[None]] = {}
        self._ends: Recent[tuple[str, str], TurnEnd] = Recent(clock, KEEP_S, MAX_KEPT, MAX_KEPT_CHARS)

    def find(self, caller: Caller, run_id: str) -> Turn | None:
        """A turn of this caller that is under way."""
        return self._turns.get((caller.name, run_id))

    def find_end(self, caller: Caller, run_id: str) -> TurnEnd | None:
        """How a turn of this caller ended, if that is still kept."""
        return self._ends.get((caller.name, run_id))

    def session_of(self, run_id: str) -> str | None:
        """The session key of a turn under way, whoever asked for it."""
        return next((turn.session_key for turn in self._turns.values() if turn.run_id == run_id), None)

    def begin(self, caller: Caller, turn: Turn, report: Report) -> None:
        """
        Start a turn, which then belongs to nobody's connection.

        @param report: tells the end of its run.
        """
        name = (caller.name, turn.run_id)
        self._turns[name] = turn
        # Stored before it runs: it may be over at once.
        task = Deferred.fromCoroutine(self._work(caller, turn, report))
        if name in self._turns:
            self._tasks[name] = task

    async def _work(self, caller: Caller, turn: Turn, report: Report) -> None:
        try:
            run = await self._runs.start(self._runs.plan(caller, turn.request))
            # Nobody reads its events here: they go by the bus.
            run.events.close()
            turn.place(run)
            end = await report(run)
        except CancelledError:
            end = self._failed(Draining("the gateway is shutting down", retry_after_s=DRAINING_RETRY_AFTER_S))
        except OpenClawError as error:
            end = self._failed(error)
        except Exception:  # noqa: BLE001 -- a bug must end the turn and not leave its callers waiting
            log.failure("the turn of run {run_id} failed by a bug", run_id=turn.request.run_id)
            end = self._failed(OpenClawError("internal error"))
        name = (caller.name, turn.run_id)
        del self._turns[name]
        self._tasks.pop(name, None)
        # A refusal says nothing of what the same call meets when it is made again; a cancelled one was meant.
        if turn.run is not None or isinstance(end.error, RunCancelled):
            self._ends.put(name, end, len(end.text) + 1)
        turn.conclude(end)

    def _failed(self, error: OpenClawError) -> TurnEnd:
        # Its traceback holds the frames that hold it.
        error.__traceback__ = error.__context__ = error.__cause__ = None
        return TurnEnd(int(self._clock.seconds() * 1000), error=error)

    def stop(self) -> None:
        """End all turns that are still under way; those who wait for one have L{Draining}."""
        for task in list(self._tasks.values()):
            task.cancel()


def _wait_in(waiters: list[Deferred[None]]) -> Deferred[None]:
    waiter: Deferred[None] = Deferred(waiters.remove)
    waiters.append(waiter)
    return waiter


def _fire(waiters: list[Deferred[None]]) -> None:
    while waiters:
        waiters.pop(0).callback(None)
