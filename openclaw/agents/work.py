"""What makes a placed run happen: have the agent answer, keep the deadline, store the end, tell the end."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from openclaw.agents.answer import RunAnswer
from openclaw.agents.asking import Asking
from openclaw.agents.context import build_context
from openclaw.agents.loop import carry_out
from openclaw.agents.models import Prompt
from openclaw.agents.paces import Paces
from openclaw.agents.plan import RunPlan
from openclaw.agents.run import Run
from openclaw.agents.run_context import RunContext
from openclaw.errors import Draining, OpenClawError, RunCancelled, RunTimeout, StoreError
from openclaw.events import RunFailed, RunFinished, RunOver
from openclaw.sessions.turns import PlacedTurn
from openclaw.waits import now_ms, without_frames

log = Logger()


class Work:
    """
    One run from its place in the transcript to its terminal event.

    @ivar run: what the surface sees of it.
    @ivar placed: where its turn stands.
    """

    def __init__(self, plan: RunPlan, placed: PlacedTurn, context: RunContext, paces: Paces) -> None:
        self.run = Run(context.info, plan.target, context.timings, context.events, self.stop)
        self.placed = placed
        self._context = context
        self._timeout_s = plan.timeout_s
        asked = plan.request.asked
        messages = build_context(plan.instructions, asked.system, placed.branch, placed.new)
        prompt = Prompt(messages, asked.sampling, plan.session_key)
        self._asking = Asking(plan.candidates, prompt, paces, plan.share)
        self._answer = RunAnswer(keeps_text=plan.is_stored or plan.request.options.whole)
        self._deadline: IDelayedCall | None = None
        self._model_part: Deferred[None] | None = None
        self._model_is_done = False

    def begin(self, over: Callable[[], None]) -> None:
        """Start working; C{over} is called once, when everybody was told the end, as the last thing of all."""
        self._over = over
        if self._timeout_s is not None:
            self._deadline = self._context.clock.callLater(self._timeout_s, self._is_late)
        Deferred.fromCoroutine(self._work()).addErrback(
            lambda failure: log.failure("run {run_id} was not ended properly", failure, run_id=self.run.id)
        )

    @property
    def is_running(self) -> bool:
        """Whether it is at work, and does not wait for others, or for its next attempt."""
        return self._context.slot.is_running

    def _is_late(self) -> None:
        self.stop(RunTimeout("the run took longer than agents.defaults.timeoutSeconds or its caller allows"))

    def stop(self, error: OpenClawError) -> None:
        """
        End the run with C{error}; its provider's connection is closed before this returns.

        Harmless once the model's part is over: what is then being stored is told as it is.  A gateway that stops
        does not wait long for that.
        """
        if self._model_is_done and isinstance(error, Draining):
            self._context.journal.hurry()
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
            await context.journal.end(outcome, context.timings)
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
