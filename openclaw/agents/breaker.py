"""When a model that fails again and again is left alone, and when one call may try it."""

from __future__ import annotations

from collections import deque

from openclaw.errors import OpenClawError, ProviderFailed, ProviderOverloaded, ProviderTimeout

BREAKER_RUNS = 5
"""So many runs in a row have to fail before a model is left alone."""

BREAKER_WITHIN_S = 60.0
"""The time within which they failed, in seconds."""

BREAKER_OPEN_S = 10.0
"""For how long a model is left alone before one call may try it, in seconds."""


def is_outage(error: OpenClawError) -> bool:
    """Whether a failed call says that its server is not well; a status of 4xx never does."""
    if not isinstance(error, ProviderTimeout | ProviderFailed | ProviderOverloaded):
        return False
    return error.said_status is None or not 400 <= error.said_status < 500


class Breaker:
    """
    The runs in a row that have failed at one model; thrown away when its server answers.

    @ivar open_until_s: when a call may try it, on the clock; C{None} while it is not left alone.
    @ivar is_probing: whether such a call is under way.
    @ivar reason: what the last run that failed was told.
    """

    __slots__ = ("_times_s", "is_probing", "open_until_s", "reason")

    def __init__(self) -> None:
        self._times_s: deque[float] = deque(maxlen=BREAKER_RUNS)
        self.open_until_s: float | None = None
        self.is_probing = False
        self.reason = ""

    @property
    def is_open(self) -> bool:
        """Whether the model is left alone, but for the call that tries it."""
        return self.open_until_s is not None

    def lets_pass(self, now_s: float) -> bool:
        """Whether a call may begin; where L{is_open}, that one is the probe."""
        return self.open_until_s is None or (now_s >= self.open_until_s and not self.is_probing)

    def failed(self, now_s: float, reason: str, *, is_probe: bool) -> bool:
        """
        Count a run that has failed for good.

        @param is_probe: whether its call was the one that tried the model.
        @return: whether the model is left alone from now on, or once more.
        """
        self.reason = reason
        if self.is_open:
            if not is_probe:
                # It was under way when the others failed.
                return False
        else:
            self._times_s.append(now_s)
            if len(self._times_s) < BREAKER_RUNS or now_s - self._times_s[0] > BREAKER_WITHIN_S:
                return False
        self.is_probing = False
        self.open_until_s = now_s + BREAKER_OPEN_S
        return True
