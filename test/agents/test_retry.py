"""Tests of L{openclaw.agents.retry}."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from openclaw.agents.retry import MAX_KEY_CHANGES, Retries
from openclaw.errors import (
    ContextTooLong,
    LastingProviderFailure,
    OpenClawError,
    ProviderAuthFailed,
    ProviderFailed,
    ProviderOverloaded,
    ProviderQuota,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    TransientProviderTimeout,
)

FAILED = ProviderFailed("reset")


class RetriesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()

    def retries(self, chance: float = 0.0) -> Retries:
        return Retries(self.clock, lambda: chance)

    def test_two_further_attempts(self) -> None:
        """There are two further attempts, after 0.25 s and 1 s, and no third."""
        retries = self.retries()
        self.assertEqual([0.25, 1.0, None, None], [retries.next_delay_s(FAILED) for _ in range(4)])

    def test_a_retry_itself(self) -> None:
        """What the client's library sends again has one attempt, at each model."""
        retries = Retries(self.clock, lambda: 0.0, one_attempt=True)
        self.assertIsNone(retries.next_delay_s(FAILED))
        retries.next_model(0)
        self.assertIsNone(retries.next_delay_s(ProviderRateLimited("429"), other_key=True))
        self.assertTrue(retries.may_start())

    def test_jitter_is_upwards(self) -> None:
        """Chance adds up to a fifth."""
        for chance, first, second in ((0.5, 0.275, 1.1), (1.0, 0.3, 1.2)):
            retries = self.retries(chance)
            self.assertAlmostEqual(first, retries.next_delay_s(FAILED) or 0)
            self.assertAlmostEqual(second, retries.next_delay_s(FAILED) or 0)

    def test_which_errors(self) -> None:
        """Only errors that another attempt may not meet are tried again."""
        transient: list[OpenClawError] = [
            FAILED,
            ProviderOverloaded("529"),
            ProviderRateLimited("429"),
            TransientProviderTimeout("408"),
        ]
        final: list[OpenClawError] = [
            ContextTooLong("long"),
            LastingProviderFailure("html"),
            OpenClawError("bug"),
            ProviderAuthFailed("401"),
            ProviderQuota("402"),
            ProviderRejected("400", status=400),
            ProviderTimeout("first byte"),
        ]
        for error in transient:
            self.assertEqual(0.25, self.retries().next_delay_s(error), error)
        for error in final:
            self.assertIsNone(self.retries().next_delay_s(error), error)

    def test_final_error_later(self) -> None:
        """A final error after a transient one ends it."""
        retries = self.retries()
        retries.next_delay_s(FAILED)
        self.assertIsNone(retries.next_delay_s(ProviderAuthFailed("401")))

    def test_retry_after(self) -> None:
        """What the provider asks for is a lower bound up to 5 s; more than that ends it."""
        for asked, delay in ((0.0, 0.25), (0.1, 0.25), (2.0, 2.0), (5.0, 5.0), (5.1, None), (3600.0, None)):
            error = ProviderRateLimited("429", retry_after_s=asked)
            self.assertEqual(delay, self.retries().next_delay_s(error), asked)

    def test_latest_attempt(self) -> None:
        """No attempt starts later than 15 s after the first."""
        retries = self.retries()
        self.clock.advance(14.75)
        self.assertEqual(0.25, retries.next_delay_s(FAILED))
        self.assertIsNone(retries.next_delay_s(FAILED))
        retries = self.retries()
        self.clock.advance(14.8)
        self.assertIsNone(retries.next_delay_s(FAILED))

    def test_left(self) -> None:
        """What is left of the 15 s, never less than nothing."""
        self.clock.advance(3)
        retries = self.retries()
        for advance_s, left_s in ((0.0, 15.0), (14.5, 0.5), (0.5, 0.0), (9.0, 0.0)):
            self.clock.advance(advance_s)
            self.assertEqual(left_s, retries.left_s())

    def test_may_start(self) -> None:
        """An attempt may start at the last moment, and not after it."""
        retries = self.retries()
        self.clock.advance(15)
        self.assertTrue(retries.may_start())
        self.clock.advance(0.01)
        self.assertFalse(retries.may_start())

    def test_another_model(self) -> None:
        """It has all its attempts before it, but no more time."""
        retries = self.retries()
        for _ in range(2):
            retries.begin_attempt()
            self.assertEqual([0.25, 1.0, None], [retries.next_delay_s(FAILED) for _ in range(3)])
            retries.next_model(0)
        self.clock.advance(14.9)
        retries.begin_attempt()
        self.assertIsNone(retries.next_delay_s(FAILED))

    def test_time_for_the_models_after_it(self) -> None:
        """A model that fails slowly is not tried again where the others would then have no turn."""
        for models_after, granted in ((0, [True, True]), (1, [True, False]), (2, [False, False])):
            self.clock = Clock()
            retries = self.retries()
            retries.next_model(models_after)
            delays = []
            for _ in granted:
                retries.begin_attempt()
                self.clock.advance(5)
                delays.append(retries.next_delay_s(FAILED))
                self.clock.advance(delays[-1] or 0)
            self.assertEqual(granted, [delay is not None for delay in delays], models_after)

    def test_other_key(self) -> None:
        """Another key is tried at once; a wrong one costs no retry, a busy one does."""
        wrong, quota, busy = ProviderAuthFailed("401"), ProviderQuota("402"), ProviderRateLimited("429")
        retries = self.retries()
        for error in (wrong, quota, wrong):
            self.assertEqual(0.0, retries.next_delay_s(error, other_key=True))
        self.assertEqual(0.25, retries.next_delay_s(FAILED, other_key=True))
        self.assertEqual(0.0, retries.next_delay_s(busy, other_key=True))
        self.assertIsNone(retries.next_delay_s(busy, other_key=True))
        self.assertEqual(0.0, retries.next_delay_s(wrong, other_key=True))
        late = ProviderRateLimited("429", retry_after_s=60.0)
        self.assertEqual(0.0, self.retries().next_delay_s(late, other_key=True))

    def test_other_key_is_bounded(self) -> None:
        """By their number, and by the time."""
        wrong = ProviderAuthFailed("401")
        retries = self.retries()
        delays = [retries.next_delay_s(wrong, other_key=True) for _ in range(MAX_KEY_CHANGES + 1)]
        self.assertEqual([0.0] * MAX_KEY_CHANGES + [None], delays)
        retries = self.retries()
        self.clock.advance(15.1)
        self.assertIsNone(retries.next_delay_s(wrong, other_key=True))

    def test_refusal_is_not_counted(self) -> None:
        """Two calls do not share their attempts."""
        first, second = self.retries(), self.retries()
        first.next_delay_s(FAILED)
        self.assertEqual(0.25, second.next_delay_s(FAILED))
