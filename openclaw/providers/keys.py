"""
The keys of a provider that has several: which one is used, and what becomes of one that was refused.

A refused key is set aside for a while: the others are used before it.  It is never out of use: it may be wrong today
and right tomorrow, and what it cannot do says nothing of any other key or provider.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from twisted.logger import Logger

from openclaw.errors import OpenClawError
from openclaw.interfaces import Clock
from openclaw.models import ModelProvider, ModelRequest, ProviderStream

SET_ASIDE_S = 60.0
"""Seconds for which a refused key is used after the others; less if the provider asked for a shorter wait."""


log = Logger()


class KeyRing:
    """What is known of the keys of one provider, over all runs."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # Until when, on the clock.
        self._aside: dict[str, float] = {}

    def __len__(self) -> int:
        """How many keys are remembered as set aside."""
        return len(self._aside)

    def choose(self, keys: Sequence[str], tried: Collection[str] = ()) -> str | None:
        """
        Choose a key.

        @param keys: all, in the order of the configuration.
        @param tried: those that are not wanted.
        @return: the first that is not set aside; else the one whose time is up soonest; C{None} if all were tried.
        """
        left = [key for key in keys if key not in tried]
        now_s = self._clock.seconds()
        return min(left, key=lambda key: max(self._aside.get(key, 0.0), now_s), default=None)

    def set_aside(self, key: str, seconds: float = SET_ASIDE_S) -> None:
        """Use the others before this one for a while."""
        now_s = self._clock.seconds()
        self._aside = {other: until_s for other, until_s in self._aside.items() if until_s > now_s}
        self._aside[key] = now_s + min(seconds, SET_ASIDE_S)


class KeyedProvider:
    """
    A L{openclaw.models.ModelProvider} with several keys, for one run.

    @ivar _tried: the keys that were refused in this run.
    """

    def __init__(self, name: str, ring: KeyRing, keys: Sequence[str], with_key: Callable[[str], ModelProvider]) -> None:
        """
        @param name: the provider's name in the configuration, for the log.
        @param keys: at least one.
        @param with_key: gives the provider that uses a key.
        """
        self._name = name
        self._ring = ring
        self._keys = keys
        self._with_key = with_key
        self._tried: set[str] = set()
        self._key: str | None = None

    def stream(self, request: ModelRequest) -> ProviderStream:
        """See L{openclaw.models.ModelProvider.stream}; a run keeps its key until that is refused."""
        if self._key is None:
            # Of keys that were all refused, the one that it was longest ago.
            self._key = self._ring.choose(self._keys, self._tried) or self._ring.choose(self._keys)
        assert self._key is not None
        return self._with_key(self._key).stream(request)

    def refused(self, error: OpenClawError) -> bool:
        """See L{openclaw.models.KeyedModels.refused}; C{retry_after_s} may shorten the time that a key is set aside."""
        if self._key is not None:
            self._ring.set_aside(self._key, SET_ASIDE_S if error.retry_after_s is None else error.retry_after_s)
            self._tried.add(self._key)
            log.warn(
                "key {number} of {count} of the provider {provider} was refused; the others are used first: {reason}",
                number=self._keys.index(self._key) + 1,
                count=len(self._keys),
                provider=self._name,
                reason=error.message,
            )
            self._key = None
        return len(self._tried) < len(self._keys)
