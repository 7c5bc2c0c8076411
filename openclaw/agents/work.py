"""What makes a placed run happen: have the agent answer, keep the deadline, store the end, tell the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from openclaw.agents.answer import RunAnswer
from openclaw.agents.asking import Asking
from openclaw.agents.context import build_context
from openclaw.agents.loop import carry_out
from openclaw.agents.models import Prompt
from openclaw.agents.plan import RunPlan
from openclaw.agents.run import Run
from openclaw.agents.run_context import RunContext
from openclaw.errors import Draining, OpenClawError, RunCancelled, RunTimeout, StoreError
from openclaw.events import RunFailed, RunFinished, RunOutcome, RunOver
from openclaw.ids import new_entry_id
from openclaw.messages import Message
from openclaw.records import Entry, KeptRun, RunRecord
from openclaw.sessions.turns import PlacedTurn, Turns
from openclaw.waits import SHORT_STORE_TIMEOUT_S, STORE_TIMEOUT, now_ms, without_frames

log = Logger()


class Work:
    """
    One run from its place in the transcript to its terminal event.

    @ivar run: what the surface sees of it.
    @ivar placed: where its turn stands, and what the answer is to follow.
    @param turns: take its end.
    @param record: the run as it was stored when it began.
    """

    def __init__(self, plan: RunPlan, turns: Turns, placed: PlacedTurn, record: RunRecord, context: RunContext) -> None:
        self.run = Run(context.info, plan.target, context.timings, context.events, self.stop)
        self.placed = placed
        self._turns = turns
        self._record = record
        self._context = context
        self._keeping = plan.repetition.keeping
        self._timeout_s = plan.timeout_s
        asked = plan.request.asked
        messages = build_context(plan.instructions, asked.system, placed.branch, placed.new)
        self._asking = Asking(plan.candidates, Prompt(messages, asked.sampling))
        self._answer = RunAnswer(keeps_text=plan.is_stored or plan.request.options.whole)
        self._deadline: IDelayedCall | None = None
        self._model_part: Deferred[None] | None = None
        self._model_is_done = False
        self._storing: Deferred[None] | None = None
        self._patience: IDelayedCall | None = None

    def begin(self, over: Callable[[], None]) -> None:
        """Start working; C{over} is called once, when everybody was told the end, as the last thing of all."""
        self._over = over
        if self._timeout_s is not None:
            late = RunTimeout("the run took longer than agents.defaults.timeoutSeconds or its caller allows")
            self._deadline = self._context.clock.callLater(self._timeout_s, self.stop, late)
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
        if not self._context.goes_on or self._model_is_done:
            return
        self._context.stop(error)
        # In a turn of its own: whoever stops the run may be reading its events at this very moment.
        self._context.clock.callLater(0, self._unwind)

    def _unwind(self) -> None:
        if self._model_part is not None:
            self._model_part.cancel()

    async def _work(self) -> None:
        error: OpenClawError | None = None
        raised: Exception | None = None
        self._model_part = Deferred.fromCoroutine(carry_out(self._context, self._asking, self._answer))
        try:
            await self._model_part
        except OpenClawError as failed:
            error = raised = failed
        except Exception as failed:  # noqa: BLE001 -- a bug must end the run and not leave it hanging
            # A cancellation that we did not ask for is one, too: of a provider that gave up its own Deferred.
            if self._context.goes_on or not isinstance(failed, CancelledError):
                log.failure("run {run_id} failed by a bug", run_id=self.run.id)
            error, raised = OpenClawError("internal error"), failed
        finally:
            self._model_is_done = True
            self._model_part = None
            if self._deadline is not None and self._deadline.active():
                self._deadline.cancel()
        if error is not None and self._context.stopped_by is not None:
            error = self._context.stopped_by
        for one in (error, raised):
            if one is not None:
                without_frames(one)
        raised = None
        await self._finish(error)

    async def _finish(self, error: OpenClawError | None) -> None:
        """Store the end, then tell it, then let the next run of the session in."""
        context, answer = self._context, self._answer
        usage = answer.usage(self._asking.prompt.messages)
        reason = answer.last.reason
        if error is None and reason is None:
            error = OpenClawError("internal error")
        outcome = answer.outcome(usage, error)
        try:
            await self._store_end(outcome)
        except StoreError as failed:
            # The store tells its troubles itself, once a minute; this would be a line for each run.
            log.debug("the end of run {run_id} is not stored: {error}", run_id=self.run.id, error=failed.message)
            # Who asked for nothing to be stored has the answer all the same.
            if self.placed.tip_id is not None:
                error = error or failed
        except Exception:  # noqa: BLE001 -- as above; nobody cancels this wait
            log.failure("the end of run {run_id} is not stored by a bug", run_id=self.run.id)
            error = error or OpenClawError("internal error")
        if error is None:
            assert reason is not None
            self.run.events.end((RunFinished(reason, usage),))
        else:
            if not isinstance(error, RunCancelled):
                log.info(
                    "run {run_id} on {model} failed: {code}: {reason}",
                    run_id=self.run.id,
                    model=context.model_ref,
                    code=error.code,
                    reason=error.message,
                )
            self.run.events.end((RunFailed(error, answer.produced_output),))
            outcome = answer.outcome(usage, error)
        context.slot.leave()
        if context.bus.has_listeners:
            ended_at_ms = now_ms(context.clock)
            context.bus.publish(RunOver(context.info, outcome, context.timings, context.model_ref, ended_at_ms))
        answer.forget()
        self.run.conclude(outcome)
        # The last thing of all: a gateway that stops goes on, and closes, within this call.
        self._over()

    async def _store_end(self, outcome: RunOutcome) -> None:
        """Store the end of the run and its answer; fails as L{Turns.end} does."""
        error, placed, timings = outcome.error, self.placed, self._context.timings
        was_cancelled = isinstance(error, RunCancelled)
        ended_at_ms = now_ms(self._context.clock)
        ended = attrs.evolve(
            self._record,
            model_ref=timings.model_ref or self._record.model_ref,
            status="done" if error is None else "cancelled" if was_cancelled else "failed",
            ended_at_ms=ended_at_ms,
            usage=outcome.usage,
            error_code=error.code if error is not None else None,
        )
        entries: Sequence[Entry] = ()
        if placed.tip_id is not None:
            reason = outcome.reason if error is None else "aborted" if was_cancelled else "error"
            message = Message("assistant", outcome.text, tool_calls=outcome.tool_calls)
            entries = (Entry(new_entry_id(), placed.tip_id, self.run.id, message, ended_at_ms, reason),)
        key = None
        if self._keeping is not None:
            received_at_ms = int(timings.received * 1000)
            begun_at_ms, session_at_ms = ended.started_at_ms, placed.session_created_at_ms
            kept = KeptRun(ended.model_ref, received_at_ms, begun_at_ms, ended_at_ms, session_at_ms)
            key = self._keeping.end(outcome, kept)
        self._storing = Deferred.fromCoroutine(self._turns.end(placed, ended, entries, key))
        if isinstance(error, Draining) or placed.tip_id is None:
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
        """Wait for the store only a little longer; harmless if nothing is being stored."""
        if self._storing is not None and self._patience is None:
            self._patience = self._context.clock.callLater(SHORT_STORE_TIMEOUT_S, self._storing.cancel)
