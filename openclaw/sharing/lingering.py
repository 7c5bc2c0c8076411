"""
Runs whose clients left because a time limit of their own was over: they go on a little, for the retry to join.
"""

from __future__ import annotations

LINGER_S = 10.0
"""How long such a run goes on, in seconds."""

MAX_LINGERING = 8
"""Most such runs of one caller; each keeps its slot."""


class Lingering:
    """How many such runs each caller has."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    @property
    def is_empty(self) -> bool:
        """Whether there are none."""
        return not self._counts

    def take(self, caller: str) -> bool:
        """Count one more, if there may be one."""
        count = self._counts.get(caller, 0)
        if count >= MAX_LINGERING:
            return False
        self._counts[caller] = count + 1
        return True

    def give_back(self, caller: str) -> None:
        """It is over, or has a client again."""
        count = self._counts[caller] - 1
        if count:
            self._counts[caller] = count
        else:
            del self._counts[caller]
