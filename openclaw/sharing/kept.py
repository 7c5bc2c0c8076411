"""
An ended answer in the form in which it is kept, to be told once more.

It is kept as a L{KeptResult}, from which its outcome and its events are made again.
"""

from __future__ import annotations

import attrs

from openclaw.agents.answer import Answer
from openclaw.errors import InvalidRequest, OpenClawError, ProviderRejected, RequestError, RunCancelled
from openclaw.events import ReasoningDelta, RunEvent, RunFailed, RunFinished, RunOutcome, TextDelta, ToolCallDelta
from openclaw.records import KeptError, KeptResult, KeptRun
from openclaw.sharing.log import EventLog


def with_answer(outcome: RunOutcome, log: EventLog) -> RunOutcome:
    """The outcome of a run that succeeded, with the answer as its log has it: who streams keeps no text."""
    answer = Answer()
    answer.take([event for event in log.events() if isinstance(event, TextDelta | ReasoningDelta | ToolCallDelta)])
    return attrs.evolve(outcome, text=answer.text, reasoning=answer.reasoning, tool_calls=answer.tool_calls)


def is_final(error: OpenClawError) -> bool:
    """Whether the same request would meet this error again, so that it is a result like any other."""
    return isinstance(error, ProviderRejected | RequestError) and error.retry_useless


def answer_size(outcome: RunOutcome) -> int:
    """How large an answer is, in characters."""
    calls = sum(len(call.id) + len(call.name) + len(call.arguments) for call in outcome.tool_calls)
    return len(outcome.text) + len(outcome.reasoning) + calls


def kept_result(
    outcome: RunOutcome, run_id: str, session_key: str, created_s: int, run: KeptRun | None = None
) -> KeptResult:
    """What to keep of a run that succeeded, or that failed with an error that is told again."""
    error = outcome.error
    if error is not None:
        kept = KeptError(error.http_status, error.message, error.code, error.param, isinstance(error, RequestError))
        return KeptResult(run_id, session_key, created_s, usage=outcome.usage, error=kept, run=run)
    return KeptResult(
        run_id,
        session_key,
        created_s,
        outcome.text,
        outcome.reasoning,
        outcome.tool_calls,
        outcome.reason,
        outcome.usage,
        run=run,
    )


def outcome_of(kept: KeptResult) -> RunOutcome:
    """The outcome once more."""
    error = kept.error
    if error is None:
        return RunOutcome(kept.text, kept.reason, kept.usage, None, kept.reasoning, kept.tool_calls, True)
    again: OpenClawError
    if error.code == RunCancelled.default_code:
        again = RunCancelled(error.message)
    elif error.is_request:
        again = InvalidRequest(error.message, code=error.code, param=error.param)
        again.http_status = error.status
    else:
        again = ProviderRejected(error.message, status=error.status, code=error.code, param=error.param)
    return RunOutcome("", None, kept.usage, again)


def events_of(outcome: RunOutcome) -> list[RunEvent]:
    """The events of an ended run, in one batch: reasoning, text, calls, the end."""
    if outcome.error is not None or outcome.reason is None:
        return [RunFailed(outcome.error or OpenClawError("internal error"), outcome.produced_output)]
    events: list[RunEvent] = []
    if outcome.reasoning:
        events.append(ReasoningDelta(outcome.reasoning))
    if outcome.text:
        events.append(TextDelta(outcome.text))
    for index, call in enumerate(outcome.tool_calls):
        events.append(ToolCallDelta(index, call.id, call.name, call.arguments))
    return [*events, RunFinished(outcome.reason, outcome.usage)]
