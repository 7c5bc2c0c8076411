"""What makes a placed run happen: drive the model, keep the deadline, store the end, tell the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as WaitedTooLong
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater
from twisted.logger import Logger

from openclaw.agents.loop import Delta, LoopHooks, ModelTurn, converse
from openclaw.agents.models import Candidate, Prompt
from openclaw.agents.resolve import Target
from openclaw.agents.retry import Retries
from openclaw.agents.run import Run
from openclaw.errors import Draining, OpenClawError, RunCancelled, RunTimeout, StoreError
from openclaw.events import EventBus, RunFailed, RunFinished, RunInfo, RunOutcome, RunOver, RunTold, Timings
from openclaw.ids import new_entry_id
from openclaw.interfaces import Clock
from openclaw.messages import FinishReason, Message, Usage
from openclaw.models import ProviderStream
from openclaw.records import Entry, RunRecord, RunStatus
from openclaw.sessions.lanes import Slot
from openclaw.sessions.store_wait import SHORT_STORE_TIMEOUT_S, STORE_TIMEOUT
from openclaw.sessions.turns import PlacedTurn, Turns

log = Logger()


class Work:
    """
    One run from its place in the transcript to its terminal event.

    @ivar run: what the surface sees of it.

    @param info: what all is told about.
    @param bus: hears of the run from its beginning to its end.
    @param turns: takes the run's end and its answer.
    @param placed: what the answer is to follow.
    @param lane: left when the run is over.
    @param retries: made for this run; its first attempt starts with L{begin}.
    @param candidates: the models that may answer, the first choice first.
    @param prompt: what whichever of them is asked.
    @param turn: takes what the model says.
    """

    def __init__(
        self,
        turns: Turns,
        clock: Clock,
        bus: EventBus,
        info: RunInfo,
        retries: Retries,
        lane: Slot,
        candidates: Sequence[Candidate],
        prompt: Prompt,
        record: RunRecord,
        placed: PlacedTurn,
        target: Target,
        timings: Timings,
        turn: ModelTurn,
    ) -> None:
        self.run = Run(record.run_id, target, timings, self.stop, info.shown_id)
        self._turns = turns
        self._clock = clock
        self._bus = bus
        self._info = info
        self._retries = retries
        self._lane = lane
        self._candidates = candidates
        self._prompt = prompt
        self._record = record
        self._model_ref = record.model_ref
        self._placed = placed
        self._turn = turn
        self._stream: ProviderStream | None = None
        self._deadline: IDelayedCall | None = None
        self._storing: Deferred[None] | None = None
        self._patience: IDelayedCall | None = None
        self._stopped_by: OpenClawError | None = None
        self._model_part: Deferred[None] | None = None
        self._model_is_done = False

    def begin(self, timeout_s: float | None, over: Callable[[], None]) -> None:
        """
        Start working.

        @param timeout_s: seconds that the run may take from now on; C{None} for no bound.
        @param over: called once, when the run has left its lane and before anybody is told its outcome.
        """
        self._over = over
        if timeout_s is not None:
            late = RunTimeout("the run took longer than agents.defaults.timeoutSeconds or its caller allows")
            self._deadline = self._clock.callLater(timeout_s, self.stop, late)
        Deferred.fromCoroutine(self._work()).addErrback(
            lambda failure: log.failure("run {run_id} was not ended properly", failure, run_id=self.run.id)
        )

    def stop(self, error: OpenClawError) -> None:
        """
        End the run with C{error}; its provider's connection is closed before this returns.

        Harmless once the model's part is over: what is then being stored is told as it is.  A gateway that stops
        does not wait long for that.
        """
        if self._model_is_done and isinstance(error, Draining):
            self._hurry()
        if self._stopped_by is not None or self._model_is_done:
            return
        self._stopped_by = error
        if self._stream is not None:
            self._stream.close()
        # In a turn of its own: whoever stops the run may be reading its events at this very moment.
        self._clock.callLater(0, self._unwind)

    def _unwind(self) -> None:
        if self._model_part is not None:
            self._model_part.cancel()

    async def _work(self) -> None:
        error: OpenClawError | None = None
        raised: Exception | None = None
        self._model_part = Deferred.fromCoroutine(self._converse())
        try:
            await self._model_part
        except OpenClawError as failed:
            error = raised = failed
        except Exception as failed:  # noqa: BLE001 -- a bug must end the run and not leave it hanging
            # A cancellation that we did not ask for is one, too: of a provider that gave up its own Deferred.
            if self._stopped_by is None or not isinstance(failed, CancelledError):
                log.failure("run {run_id} failed by a bug", run_id=self.run.id)
            error, raised = OpenClawError("internal error"), failed
        finally:
            self._model_is_done = True
            self._model_part = None
            if self._deadline is not None and self._deadline.active():
                self._deadline.cancel()
        if error is not None and self._stopped_by is not None:
            error = self._stopped_by
        for one in (error, raised):
            if one is not None:
                # Its traceback holds the frames that hold it, and with them the whole answer until the next collection.
                one.__traceback__ = one.__context__ = one.__cause__ = None
        raised = None
        await self._finish(error)

    async def _converse(self) -> None:
        hooks = LoopHooks(
            self._tell, self._opened, self._first_output, self._wait, self._goes_on, self._chosen, self._fell_back
        )
        await converse(self._candidates, self._prompt, self._turn, self._retries, hooks)

    def _tell(self, deltas: Sequence[Delta]) -> Deferred[None] | None:
        if self._bus.has_listeners:
            self._bus.publish(RunTold(self._info, deltas))
        return self.run.events.put(deltas)

    def _opened(self, stream: ProviderStream | None) -> None:
        self._stream = stream
        if stream is not None:
            self.run.timings.attempts += 1

    def _goes_on(self) -> bool:
        return self._stopped_by is None

    def _chosen(self, ref: str) -> None:
        self._model_ref = self.run.timings.model_ref = ref

    def _fell_back(self, ref: str, error: OpenClawError, next_ref: str) -> None:
        log.warn(
            "run {run_id} goes on with {next_model}, because {model} failed: {code}: {reason}",
            run_id=self.run.id,
            next_model=next_ref,
            model=ref,
            code=error.code,
            reason=error.message,
        )

    def _first_output(self) -> None:
        self.run.timings.first_output = self._clock.seconds()

    async def _wait(self, delay_s: float) -> bool:
        self._lane.pause()
        await deferLater(self._clock, delay_s)  # type: ignore[arg-type]
        try:
            await self._lane.resume().addTimeout(self._retries.left_s(), self._clock)  # type: ignore[arg-type]
        except WaitedTooLong:
            return False
        return self._goes_on()

    async def _finish(self, error: OpenClawError | None) -> None:
        """Store the end, then tell it, then let the next run of the session in."""
        usage = self._turn.usage_or_estimate(self._prompt.messages)
        try:
            ended = attrs.evolve(
                self._record,
                model_ref=self._model_ref,
                status=_status(error),
                ended_at_ms=int(self._clock.seconds() * 1000),
                usage=usage,
                error_code=error.code if error is not None else None,
            )
            await self._store_end(ended, self._answer(error), error)
        except StoreError as failed:
            # The store tells its troubles itself, once a minute; this would be a line for each run.
            log.debug("the end of run {run_id} is not stored: {error}", run_id=self.run.id, error=failed.message)
            # Who asked for nothing to be stored has the answer all the same.
            if self._placed.tip_id is not None:
                error = error or failed
        except Exception:  # noqa: BLE001 -- as above; nobody cancels this wait
            log.failure("the end of run {run_id} is not stored by a bug", run_id=self.run.id)
            error = error or OpenClawError("internal error")
        reason = self._turn.reason
        if error is None and reason is not None:
            self.run.events.end((RunFinished(reason, usage),))
        else:
            error = error or OpenClawError("internal error")
            reason = None
            if not isinstance(error, RunCancelled):
                log.info(
                    "run {run_id} on {model} failed: {code}: {reason}",
                    run_id=self.run.id,
                    model=self._model_ref,
                    code=error.code,
                    reason=error.message,
                )
            self.run.events.end((RunFailed(error, self._turn.produced_output),))
        self._lane.leave()
        outcome = self._outcome(reason, usage, error)
        if self._bus.has_listeners:
            ended_at_ms = int(self._clock.seconds() * 1000)
            self._bus.publish(RunOver(self._info, outcome, self.run.timings, self._model_ref, ended_at_ms))
        self._turn.forget()
        self.run.conclude(outcome)
        # The last thing of all: a gateway that stops goes on, and closes, within this call.
        self._over()

    async def _store_end(self, ended: RunRecord, answer: Sequence[Entry], error: OpenClawError | None) -> None:
        """
        Store the end.

        @raise StoreError: if that fails or takes too long; then it is not certain whether it is stored.
        """
        self._storing = Deferred.fromCoroutine(self._turns.end(self._placed, ended, answer))
        if isinstance(error, Draining) or self._placed.tip_id is None:
            self._hurry()
        try:
            await self._storing
        except CancelledError:
            raise StoreError("the store did not answer in time", code=STORE_TIMEOUT) from None
        finally:
            self._storing = None
            if self._patience is not None and self._patience.active():
                self._patience.cancel()

    def _hurry(self) -> None:
        """Wait for the store only a little longer."""
        if self._storing is not None and self._patience is None:
            self._patience = self._clock.callLater(SHORT_STORE_TIMEOUT_S, self._storing.cancel)

    def _outcome(self, reason: FinishReason | None, usage: Usage, error: OpenClawError | None) -> RunOutcome:
        turn = self._turn
        calls = turn.tool_calls if error is None else ()
        return RunOutcome(turn.text, reason, usage, error, turn.reasoning, calls, turn.produced_output)

    def _answer(self, error: OpenClawError | None) -> Sequence[Entry]:
        """The answer as entries of the transcript, empty if nothing was said; none if the session is not stored."""
        turn = self._turn
        if self._placed.tip_id is None:
            return ()
        reason = turn.reason if error is None else "aborted" if isinstance(error, RunCancelled) else "error"
        # Calls of an answer that was cut off have no results and never will.
        calls = turn.tool_calls if error is None else ()
        message = Message("assistant", turn.text, tool_calls=calls)
        ended_at_ms = int(self._clock.seconds() * 1000)
        return (Entry(new_entry_id(), self._placed.tip_id, self.run.id, message, ended_at_ms, reason),)


def _status(error: OpenClawError | None) -> RunStatus:
    return "done" if error is None else "cancelled" if isinstance(error, RunCancelled) else "failed"
