"""Tests of L{openclaw.providers.finish_words}."""

from __future__ import annotations

import time

from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from openclaw.errors import ProviderFailed, ProviderOverloaded
from openclaw.providers.finish_words import failure_of, finish_of

WORDS = {
    "stop": "stop eos eos_token end_turn stop_sequence STOP STOP_SEQUENCE COMPLETE normal endTurn end-turn pause_turn",
    "length": "length max_tokens MAX_TOKENS model_length max_output_tokens maxTokens TOKEN_LIMIT ERROR_LIMIT"
    " model_context_window_exceeded",
    "tool_calls": "tool_calls tool_use function_call TOOL_CALL tool-calls toolUse",
    "content_filter": "content_filter SAFETY RECITATION BLOCKLIST PROHIBITED_CONTENT SPII IMAGE_SAFETY sensitive"
    " refusal guardrail_intervened content-filter contentFilter ERROR_TOXIC",
    "failed": "error ERROR abort aborted network_error cancelled MALFORMED_FUNCTION_CALL timeout time_limit",
    "overloaded": "insufficient_system_resource engine_overloaded",
}


class FinishWordTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.told: list[LogEvent] = []
        globalLogPublisher.addObserver(self.told.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.told.append)

    def test_known(self) -> None:
        for finish, words in WORDS.items():
            for word in words.split():
                self.assertEqual(finish, finish_of(word, "mock"), word)
        self.assertEqual([], self.told)

    def test_no_reason(self) -> None:
        for word in ("", " ", "null", "NULL", "None", "\n", "FINISH_REASON_UNSPECIFIED", "undefined"):
            self.assertIsNone(finish_of(word, "mock"), word)

    def test_unknown(self) -> None:
        """One that nobody knows means stop and is told once for each provider; some can be guessed."""
        for word, finish in (
            ("had_enough", "stop"),
            ("完成", "stop"),
            ("upstream_error", "failed"),
            ("generation failed", "failed"),
            ("safety_block", "content_filter"),
            ("reached_max_new_tokens", "length"),
        ):
            for provider in ("one", "two"):
                for _ in range(3):
                    self.assertEqual(finish, finish_of(word, provider))
            self.assertEqual(["one", "two"], [event["name"] for event in self.told], word)
            self.assertIn(f"which is taken for {finish}: {word.replace(' ', '_')}", formatEvent(self.told[0]))
            self.told.clear()

    def test_long(self) -> None:
        """Of a word without end only the beginning is looked at: the expressions take the square of its length."""
        began_s = time.process_time()
        for word in ("max" * 100_000, "aB" * 1_000_000, "max " * 100_000):
            self.assertEqual("stop", finish_of(word, "long"))
        self.assertLess(time.process_time() - began_s, 0.1)

    def test_failures(self) -> None:
        self.assertIsNone(failure_of("stop", "stop", "mock"))
        failed, busy = failure_of("failed", "abort", "mock"), failure_of("overloaded", "busy", "mock")
        self.assertIsInstance(failed, ProviderFailed)
        self.assertIsInstance(busy, ProviderOverloaded)
        self.assertEqual("the provider mock could not end its answer: abort", str(failed))
