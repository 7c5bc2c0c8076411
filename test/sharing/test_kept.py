"""Tests of L{openclaw.sharing.kept}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from openclaw.errors import (
    ContextTooLong,
    OpenClawError,
    Overloaded,
    ProviderAuthFailed,
    ProviderFailed,
    ProviderQuota,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    RunCancelled,
)
from openclaw.events import ReasoningDelta, RunFailed, RunFinished, RunOutcome, TextDelta, ToolCallDelta
from openclaw.messages import ToolCall, Usage
from openclaw.sharing.kept import answer_size, events_of, is_final, kept_result, outcome_of, with_answer
from openclaw.sharing.log import EventLog


class KeptTests(SynchronousTestCase):
    outcome = RunOutcome("text", "tool_calls", Usage(1, 2), None, "hm", (ToolCall("c", "f", "{}"),), True)

    def test_success(self) -> None:
        kept = kept_result(self.outcome, "r1", "agent:main:k", 17)
        self.assertEqual((kept.run_id, kept.session_key, kept.created_s), ("r1", "agent:main:k", 17))
        self.assertEqual(outcome_of(kept), self.outcome)

    def test_error(self) -> None:
        errors = (ProviderRejected("422 no", status=422, code="bad", param="x"), ContextTooLong("too long"))
        for error, status in zip(errors, (422, 400), strict=True):
            again = outcome_of(kept_result(RunOutcome("", None, Usage(3, 0), error), "r1", "k", 1))
            assert again.error is not None
            self.assertEqual(
                (again.error.http_status, again.error.wire_type, again.error.code, again.error.message),
                (status, "invalid_request_error", error.code, error.message),
            )
            self.assertEqual((again.error.param, again.error.retry_useless), (error.param, True))
            self.assertEqual((again.reason, again.usage), (None, Usage(3, 0)))

    def test_what_is_final(self) -> None:
        finals = (ProviderRejected("m", status=400), ContextTooLong("m"))
        passing: tuple[OpenClawError, ...] = (
            ProviderRateLimited("m"),
            ProviderQuota("m"),
            ProviderFailed("m"),
            ProviderTimeout("m"),
            ProviderAuthFailed("m"),
            RunCancelled("m"),
            Overloaded("m"),
            OpenClawError("m"),
        )
        self.assertEqual([is_final(error) for error in finals + passing], [True] * 2 + [False] * 8)

    def test_size(self) -> None:
        self.assertEqual(answer_size(self.outcome), 4 + 2 + 4)

    def test_events(self) -> None:
        end = RunFinished("tool_calls", Usage(1, 2))
        call = ToolCallDelta(0, "c", "f", "{}")
        self.assertEqual(events_of(self.outcome), [ReasoningDelta("hm"), TextDelta("text"), call, end])
        self.assertEqual(events_of(RunOutcome("", "stop", Usage())), [RunFinished("stop", Usage())])

    def test_events_of_a_failure(self) -> None:
        error = ProviderFailed("m")
        failed = RunOutcome("te", None, Usage(), error, produced_output=True)
        self.assertEqual(events_of(failed), [RunFailed(error, produced_output=True)])

    def test_with_answer(self) -> None:
        log = EventLog(lambda: None)
        log.append([ReasoningDelta("hm"), TextDelta("te")])
        log.append([TextDelta("xt"), ToolCallDelta(0, "c", "f", "{}")])
        bare = RunOutcome("", "tool_calls", Usage(1, 2), produced_output=True)
        self.assertEqual(with_answer(bare, log), self.outcome)
