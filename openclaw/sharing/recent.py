"""
What is remembered of the runs of the last minutes, so that a client's automatic retry finds its run.

In memory only, and bounded three ways: by number, by size and by age.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

import attrs
from twisted.internet.interfaces import IDelayedCall

from openclaw.interfaces import Clock

KEPT_S = 600.0
"""How long an ended run is remembered, in seconds."""

MAX_ENTRIES = 10_000
"""Most runs, live ones included."""

MAX_TOTAL_COST = 16 * 1024 * 1024
"""Most that all of them may hold together, about in bytes."""


class Forgettable(Protocol):
    """What is remembered."""

    def forget(self) -> None:
        """Let the answer go: nobody will ask for it any more."""


T = TypeVar("T", bound=Forgettable)


@attrs.define(eq=False)
class Kept(Generic[T]):
    """
    One run that is remembered, until it is replaced or dropped.

    @ivar value: the run.
    @ivar is_kept: whether it is still remembered.
    """

    _recent: Recent[T]
    name: Hashable
    value: T
    cost: int = 0
    is_kept: bool = True

    def set_cost(self, cost: int) -> None:
        """Say what it holds now, about in bytes; older ones may have to go."""
        if self.is_kept and cost != self.cost:
            self._recent._change_cost(self, cost)

    def drop(self) -> None:
        """Forget the run."""
        if self.is_kept:
            self._recent._drop(self)

    def ended(self) -> None:
        """The run is over: its time runs from now."""
        if self.is_kept:
            self._recent._count_down(self)


class Recent(Generic[T]):
    """The runs that are remembered, by name."""

    def __init__(self, clock: Clock, max_entries: int | None = None) -> None:
        self._clock = clock
        self._max_entries = max_entries
        self._entries: OrderedDict[Hashable, Kept[T]] = OrderedDict()
        # The ended ones in the order of their ends, and when they are to go.
        self._ended: dict[Kept[T], float] = {}
        self._timer: IDelayedCall | None = None
        self.total_cost = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, name: Hashable) -> T | None:
        """The run of a name that was added last."""
        entry = self._entries.get(name)
        return None if entry is None else entry.value

    def add(self, name: Hashable, value: T) -> Kept[T]:
        """Remember a run, in the place of an earlier one of this name."""
        self.forget(name)
        entry = self._entries[name] = Kept(self, name, value)
        if len(self._entries) > (self._max_entries or MAX_ENTRIES):
            self._drop(next(iter(self._entries.values())))
        return entry

    def forget(self, name: Hashable) -> None:
        """Forget the run of a name, if there is one."""
        entry = self._entries.get(name)
        if entry is not None:
            self._drop(entry)

    def _change_cost(self, entry: Kept[T], cost: int) -> None:
        self.total_cost += cost - entry.cost
        entry.cost = cost
        while self.total_cost > MAX_TOTAL_COST:
            self._drop(next(iter(self._entries.values())))

    def _count_down(self, entry: Kept[T]) -> None:
        self._ended[entry] = self._clock.seconds() + KEPT_S
        if self._timer is None:
            self._timer = self._clock.callLater(KEPT_S, self._sweep)

    def clear(self) -> None:
        """Forget everything."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for entry in list(self._entries.values()):
            self._drop(entry)

    def _drop(self, entry: Kept[T]) -> None:
        entry.is_kept = False
        del self._entries[entry.name]
        self._ended.pop(entry, None)
        self.total_cost -= entry.cost
        entry.cost = 0
        entry.value.forget()

    def _sweep(self) -> None:
        self._timer = None
        now_s = self._clock.seconds()
        while self._ended:
            entry, goes_s = next(iter(self._ended.items()))
            if goes_s > now_s:
                self._timer = self._clock.callLater(goes_s - now_s, self._sweep)
                return
            self._drop(entry)
