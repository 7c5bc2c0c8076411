"""
When a call of a provider is tried again: section "Retries" of C{docs/http-api.md}.

A failure before any output may be repeated without anybody noticing; after output never.  The caller sees to the
latter, this module to the rest.
"""

from __future__ import annotations

from collections.abc import Callable

from openclaw.errors import OpenClawError, ProviderAuthFailed, ProviderError, ProviderQuota, ProviderRateLimited
from openclaw.interfaces import Clock

DELAYS_S = (0.25, 1.0)
"""Seconds before the second and before the third attempt at one model."""

MAX_JITTER = 0.2
"""Largest part of a delay that chance adds to it."""

MAX_RETRY_AFTER_S = 5.0
"""Longest wait that a provider may ask for; above it there is no further attempt at that model."""

LATEST_ATTEMPT_S = 15.0
"""Seconds after the first attempt within which any other starts, at whichever model."""

MAX_KEY_CHANGES = 8
"""Most times that one model is asked again with another key."""


class Retries:
    """
    The further attempts of one run, over all models that it may use.  Made when its first attempt starts.

    @param random: gives numbers from 0 to below 1, such as C{random.Random().random}.
    @param one_attempt: no model is asked twice, as the request is a retry itself: else ours multiply with the client's.
    """

    def __init__(self, clock: Clock, random: Callable[[], float], *, one_attempt: bool = False) -> None:
        self._one_attempt = one_attempt
        self._clock = clock
        self._random = random
        self._began_s = clock.seconds()
        self._latest_s = self._began_s + LATEST_ATTEMPT_S
        self._has_begun = False
        # Those granted at the present model.
        self._retries = self._key_changes = 0
        self._models_after = 0

    def left_s(self) -> float:
        """Seconds within which another attempt may still start; never below 0."""
        return max(self._latest_s - self._clock.seconds(), 0.0)

    def may_start(self) -> bool:
        """Whether another attempt may start now."""
        return self._clock.seconds() <= self._latest_s

    def next_model(self, models_after: int) -> None:
        """Go on with another model, which has all its attempts before it and so many models after it."""
        self._retries = self._key_changes = 0
        self._models_after = models_after

    def begin_attempt(self) -> None:
        """Note that an attempt starts."""
        self._began_s = self._clock.seconds()
        if not self._has_begun:
            # The wait for a permit at the first model's server is no part of it.
            self._has_begun = True
            self._latest_s = self._began_s + LATEST_ATTEMPT_S

    def next_delay_s(self, error: OpenClawError, *, other_key: bool = False) -> float | None:
        """
        Decide after a failed attempt that gave no output.

        A model is not asked again where that would leave no time for those after it: they may start when an attempt
        of the same length, and one at each model between, would have failed.

        @param error: why it failed.  Its C{retry_after_s} is a lower bound of the delay.
        @param other_key: the next attempt would use another key, which was not refused yet.
        @return: seconds to wait before the next attempt at the same model, or C{None} if there is to be none.
        """
        if self._one_attempt:
            return None
        if other_key and isinstance(error, ProviderAuthFailed | ProviderQuota | ProviderRateLimited):
            return self._with_other_key(error)
        if not (isinstance(error, ProviderError) and error.transient) or self._retries >= len(DELAYS_S):
            return None
        delay_s = DELAYS_S[self._retries] * (1.0 + MAX_JITTER * self._random())
        if error.retry_after_s is not None:
            if error.retry_after_s > MAX_RETRY_AFTER_S:
                return None
            delay_s = max(delay_s, error.retry_after_s)
        if not self._has_time(delay_s):
            return None
        self._retries += 1
        return delay_s

    def _with_other_key(self, error: OpenClawError) -> float | None:
        """
        At once, or not at all.

        A key that is wrong says nothing of the others, so it costs none of the retries; who is asked to slow down
        slows down after the usual number of attempts.
        """
        spent = self._retries >= len(DELAYS_S) and isinstance(error, ProviderRateLimited)
        if spent or self._key_changes >= MAX_KEY_CHANGES or not self._has_time(0.0):
            return None
        if isinstance(error, ProviderRateLimited):
            self._retries += 1
        self._key_changes += 1
        return 0.0

    def _has_time(self, delay_s: float) -> bool:
        took_s = self._clock.seconds() - self._began_s
        return self._clock.seconds() + delay_s + took_s * self._models_after <= self._latest_s
