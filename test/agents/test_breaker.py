"""Tests of L{openclaw.agents.breaker}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from openclaw.agents.breaker import Breaker, is_outage
from openclaw.errors import (
    ContextTooLong,
    LastingProviderFailure,
    ProviderAuthFailed,
    ProviderFailed,
    ProviderOverloaded,
    ProviderQuota,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    TransientProviderTimeout,
)
from openclaw.providers.failures import error_of_answer, error_of_event


class OutageTests(SynchronousTestCase):
    def test_kinds(self) -> None:
        for error in (
            ProviderFailed("reset"),
            ProviderOverloaded("busy"),
            ProviderTimeout("silent"),
            TransientProviderTimeout("no connection"),
            LastingProviderFailure("garbage"),
        ):
            self.assertTrue(is_outage(error), error)
        for other in (
            ProviderAuthFailed("key"),
            ProviderQuota("money"),
            ProviderRateLimited("slow down"),
            ProviderRejected("no", status=400),
            ContextTooLong("long"),
        ):
            self.assertFalse(is_outage(other), other)

    def test_statuses(self) -> None:
        """A 4xx never counts, whatever error is made of it."""
        for status in (400, 401, 402, 403, 404, 405, 408, 409, 413, 418, 422, 429, 451):
            self.assertFalse(is_outage(error_of_answer(status, Headers(), b"", name="p")), status)
        for status in (302, 500, 502, 503, 504, 529):
            self.assertTrue(is_outage(error_of_answer(status, Headers(), b"", name="p")), status)
        self.assertFalse(is_outage(error_of_event({"code": 408, "message": "late"}, name="p")))
        self.assertTrue(is_outage(error_of_event("broken", name="p")))


class BreakerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.breaker = Breaker()

    def fail_at(self, *times_s: float) -> list[bool]:
        return [self.breaker.failed(time_s, "why", is_probe=False) for time_s in times_s]

    def test_five_in_a_row(self) -> None:
        self.assertEqual([False] * 4 + [True], self.fail_at(0, 15, 30, 45, 60))
        self.assertFalse(self.breaker.lets_pass(69.9))
        self.assertTrue(self.breaker.lets_pass(70))
        self.breaker.is_probing = True
        self.assertFalse(self.breaker.lets_pass(71))

    def test_too_slow(self) -> None:
        self.assertEqual([False] * 6, self.fail_at(0, 16, 32, 48, 64, 80))
        self.assertTrue(self.breaker.lets_pass(80))

    def test_probe(self) -> None:
        self.fail_at(0, 0, 0, 0, 0)
        self.breaker.is_probing = True
        self.assertEqual([False], self.fail_at(11))
        self.assertTrue(self.breaker.is_probing)
        self.assertTrue(self.breaker.failed(12, "again", is_probe=True))
        self.assertEqual(
            (22, False, "again"), (self.breaker.open_until_s, self.breaker.is_probing, self.breaker.reason)
        )
