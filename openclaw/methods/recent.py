"""Answers that are kept for a while, so that a repeated call finds its first one's."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

from openclaw.interfaces import Clock

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """
    A bounded memory of values by key; what is oldest goes first.

    Nothing runs in the background: what has expired goes with the next call.

    @param keep_s: how long a value is kept, seconds.
    @param max_entries: most values.
    @param max_size: most of what the sizes of all values sum up to.
    """

    def __init__(self, clock: Clock, keep_s: float, max_entries: int, max_size: int) -> None:
        self._clock = clock
        self._keep_s = keep_s
        self._max_entries = max_entries
        self._max_size = max_size
        self._size = 0
        self._kept: OrderedDict[K, tuple[float, int, V]] = OrderedDict()

    def __len__(self) -> int:
        self._expire()
        return len(self._kept)

    def get(self, key: K) -> V | None:
        """The value, if it is still kept."""
        self._expire()
        found = self._kept.get(key)
        return None if found is None else found[2]

    def put(self, key: K, value: V, size: int) -> None:
        """
        Keep a value in the place of an older one of its key.

        @param size: what it counts for; one that is larger than all of the memory is not kept.
        """
        self._forget(key)
        self._expire()
        if size > self._max_size:
            return
        self._kept[key] = (self._clock.seconds() + self._keep_s, size, value)
        self._size += size
        while len(self._kept) > self._max_entries or self._size > self._max_size:
            self._forget(next(iter(self._kept)))

    def _expire(self) -> None:
        now = self._clock.seconds()
        while self._kept:
            key, (until, _, _) = next(iter(self._kept.items()))
            # A clock that was set back must not make a value stay for longer than it was to.
            if now < until <= now + self._keep_s:
                return
            self._forget(key)

    def _forget(self, key: K) -> None:
        found = self._kept.pop(key, None)
        if found is not None:
            self._size -= found[1]
