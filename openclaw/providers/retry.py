"""
When a call of a provider is tried again: section "Retries" of C{docs/http-api.md}.

A failure before any output may be repeated without anybody noticing; after output never.  The caller sees to the
latter, this module to the rest.
"""

from __future__ import annotations

from collections.abc import Callable

from openclaw.errors import OpenClawError, ProviderError
from openclaw.interfaces import Clock

DELAYS_S = (0.25, 1.0)
"""Seconds before the second and before the third attempt."""

MAX_JITTER = 0.2
"""Largest part of a delay that chance adds to it."""

MAX_RETRY_AFTER_S = 5.0
"""Longest wait that a provider may ask for; above it there is no further attempt."""

LATEST_ATTEMPT_S = 15.0
"""Seconds after the first attempt within which any other starts."""


class Retries:
    """
    The further attempts of one call.  Made when its first attempt starts.

    @ivar _latest_s: until when any other may start, on the clock.
    @ivar _retries: how many further attempts were granted.
    """

    def __init__(self, clock: Clock, random: Callable[[], float]) -> None:
        """
        @param random: gives numbers from 0 to below 1, such as C{random.Random().random}.
        """
        self._clock = clock
        self._random = random
        self._latest_s = clock.seconds() + LATEST_ATTEMPT_S
        self._retries = 0

    def left_s(self) -> float:
        """Seconds within which another attempt may still start; never below 0."""
        return max(self._latest_s - self._clock.seconds(), 0.0)

    def next_delay_s(self, error: OpenClawError) -> float | None:
        """
        Decide after a failed attempt that gave no output.

        @param error: why it failed.  Its C{retry_after_s} is a lower bound of the delay.
        @return: seconds to wait before the next attempt, or C{None} if C{error} is final.
        """
        if not (isinstance(error, ProviderError) and error.transient) or self._retries >= len(DELAYS_S):
            return None
        delay_s = DELAYS_S[self._retries] * (1.0 + MAX_JITTER * self._random())
        if error.retry_after_s is not None:
            if error.retry_after_s > MAX_RETRY_AFTER_S:
                return None
            delay_s = max(delay_s, error.retry_after_s)
        if delay_s > self.left_s():
            return None
        self._retries += 1
        return delay_s
