"""Asking a model: call it, pass on what it says, try again, or another key or model, where that is safe."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from twisted.logger import Logger

from openclaw.agents.answer import Answer, RunAnswer
from openclaw.agents.breaker import is_outage
from openclaw.agents.models import Candidate, Prompt, falls_back, most_telling
from openclaw.agents.pace import Permit, Wanted
from openclaw.agents.paces import Paces
from openclaw.agents.run_context import RunContext
from openclaw.errors import (
    OpenClawError,
    ProviderAuthFailed,
    ProviderError,
    ProviderFailed,
    ProviderQuota,
    ProviderRateLimited,
)
from openclaw.models import ModelRequest, ResolvedModel
from openclaw.waits import without_frames

log = Logger()


@attrs.frozen
class _Failure:
    """
    How a model failed.

    @ivar is_final: no other attempt is to be made, at any model.
    @ivar again_in_s: seconds after which the same model is to be asked again; C{None} if it is not.
    """

    error: OpenClawError
    is_final: bool = False
    again_in_s: float | None = None


@attrs.frozen
class Asking:
    """
    The models of a run, and what whichever of them answers is asked.

    @ivar candidates: the first choice first; at least one.
    @ivar paces: when their servers may be asked.
    @ivar share: what the run shares its permits at a server with, as of L{Wanted}.
    """

    candidates: Sequence[Candidate]
    prompt: Prompt
    paces: Paces
    share: str

    async def answer(self, run: RunContext, answer: RunAnswer) -> Answer:
        """
        Have a model answer.

        A failed attempt is repeated as L{openclaw.agents.retry.Retries} allows, then the next model is asked, and
        never once anything was told.

        @param answer: takes what is said; its last call is the one that is returned.
        @return: complete.
        @raise OpenClawError: if all of them failed, as L{most_telling} has it.
        """
        errors: list[OpenClawError] = []
        for position, candidate in enumerate(self.candidates):
            following = self.candidates[position + 1 :]
            run.timings.model_ref = candidate.ref
            run.retries.next_model(len(following))
            failure = await self._ask(position, run, answer)
            if failure is None:
                return answer.last
            if answer.last.produced_output:
                raise failure.error
            errors.append(without_frames(failure.error))
            if failure.is_final or not following or not falls_back(failure.error):
                break
            if not (run.goes_on and (run.timings.attempts == 0 or run.retries.may_start())):
                break
            log.warn(
                "run {run_id} goes on with {next_model}, because {model} failed: {code}: {reason}",
                run_id=run.info.run_id,
                next_model=following[0].ref,
                model=candidate.ref,
                code=failure.error.code,
                reason=failure.error.message,
            )
            answer.next_call()
        told = most_telling(errors)
        run.timings.model_ref = self.candidates[told].ref
        raise errors[told]

    async def _ask(self, position: int, run: RunContext, answer: RunAnswer) -> _Failure | None:
        """Ask one model as often as is allowed; gives C{None} when it has answered."""
        model = self.candidates[position].model
        if isinstance(model, OpenClawError):
            return _Failure(model)
        request = self.prompt.request(model)
        pace = self.paces.of(model.provider_id)
        has_other = position + 1 < len(self.candidates)
        wanted = Wanted(model.ref, self.share, has_other, is_fallback=position > 0)
        failure: _Failure | None = None
        while True:
            permit = pace.take(wanted) if run.slot.is_running else None
            if permit is None:
                try:
                    permit = await run.take_permit(pace, wanted)
                except ProviderError as refused:
                    # What the server itself has said tells more.
                    return _Failure(failure.error if failure is not None else refused)
            try:
                failure = await _attempt(model, request, run, answer.last, permit)
            except Exception:
                # Not for GeneratorExit: then all of this is thrown away, and nobody is to be let in any more.
                permit.leave()
                raise
            permit.leave()
            if failure is None or failure.again_in_s is None:
                return failure
            if failure.again_in_s > 0 and not await run.pause(failure.again_in_s):
                return _Failure(failure.error, is_final=True)
            answer.next_call()


async def _attempt(
    model: ResolvedModel, request: ModelRequest, run: RunContext, answer: Answer, permit: Permit
) -> _Failure | None:
    """Ask a model once, and tell the pace of its server how that went; C{permit} is left to whoever took it."""
    run.retries.begin_attempt()
    try:
        await _listen(model, request, run, answer, permit)
    except OpenClawError as error:
        failed = error
    else:
        return None
    if answer.produced_output or not run.goes_on:
        return _Failure(failed, is_final=True)
    other_key = _has_other_key(model, failed)
    delay_s = run.retries.next_delay_s(failed, other_key=other_key)
    if permit.is_probe and is_outage(failed):
        # One call tells.
        delay_s = None
    permit.failed(failed, other_key=other_key, is_last=delay_s is None)
    return _Failure(failed, again_in_s=delay_s)


def _has_other_key(model: ResolvedModel, error: OpenClawError) -> bool:
    """Whether the model can be asked with another key, after its server refused the one that was used."""
    if not isinstance(error, ProviderAuthFailed | ProviderQuota | ProviderRateLimited):
        return False
    return model.keys is not None and model.keys.refused(error)


async def _listen(model: ResolvedModel, request: ModelRequest, run: RunContext, answer: Answer, permit: Permit) -> None:
    stream = model.provider.stream(request)
    run.timings.attempts += 1
    run.hold(stream)
    try:
        async with stream:
            permit.accepted()
            heard = False
            async for batch in stream:
                if not heard:
                    heard = True
                    permit.heard()
                    run.timings.first_output = run.clock.seconds()
                deltas = answer.take(batch)
                if deltas:
                    behind = run.emit(deltas)
                    if behind is not None:
                        await behind
    finally:
        run.hold(None)
    if answer.reason is None:
        raise ProviderFailed("the provider ended its answer without saying why")
