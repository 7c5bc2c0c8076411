"""A queue that is fair: nobody waits for all that somebody else has queued up before."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Generic, TypeVar

T = TypeVar("T")


class ShareQueue(Generic[T]):
    """Who waits: the shares take turns, and within a share it is first come, first served."""

    def __init__(self) -> None:
        # The share that is next comes first.
        self._shares: OrderedDict[str, deque[T]] = OrderedDict()

    def __bool__(self) -> bool:
        """Whether anybody waits."""
        return bool(self._shares)

    def push(self, share: str, item: T) -> None:
        """Queue up behind all of this share; a share that has none waiting has its turn after those that have."""
        self._shares.setdefault(share, deque()).append(item)

    def pop(self) -> T:
        """Take out whose turn it is; only if anybody waits."""
        share, items = self._shares.popitem(last=False)
        item = items.popleft()
        if items:
            self._shares[share] = items
        return item

    def remove(self, share: str, item: T) -> None:
        """Take out one that waits."""
        items = self._shares[share]
        items.remove(item)
        if not items:
            del self._shares[share]
