"""
Lines that anybody can cause, without a credential: one of a kind in a minute, with a count.

The first of a kind is told at once.  Those that follow within a minute are counted, and one line at its end tells of
the last of them and of how many there were.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.internet.interfaces import IDelayedCall

from openclaw.interfaces import Clock

TOLD_EVERY_S = 60.0
"""Seconds in which there is one line of a kind."""


@attrs.define
class _Kind:
    """
    What is known of a kind of line.

    @ivar since_s: when there was one last.
    @ivar count: how many were not told since.
    @ivar say: tells of the last of them; there is one where C{count} is not 0.
    @ivar due: the end of the minute, if there is something to tell then.
    """

    since_s: float
    count: int = 0
    say: Callable[..., None] = print
    due: IDelayedCall | None = None


class RareLines:
    """
    Writes lines of the log, few of each kind.

    A kind is a text with its places still open, so there are as many as the program has: that, and the last of each, is
    all that is kept.  Until it is started the end of a minute is told with the next line of the kind.
    """

    def __init__(self, now_s: Callable[[], float]) -> None:
        """@param now_s: gives the time, in seconds on any clock."""
        self._now_s = now_s
        self._kinds: dict[str, _Kind] = {}
        self._clock: Clock | None = None

    def start(self, clock: Clock) -> None:
        """Tell the end of a minute when it has come; its owner calls L{stop}."""
        self._clock = clock

    def tell(self, write: Callable[..., None], text: str, **fields: object) -> None:
        """
        Write a line, or count it.

        @param write: a method of a C{twisted.logger.Logger}.
        @param text: what it is to write, as C{twisted.logger} formats it; never with what a peer has sent.
        """
        now_s = self._now_s()
        kind = self._kinds.get(text)
        if kind is None:
            self._kinds[text] = _Kind(now_s)
            write(text, **fields)
            return

        def say(more: str, **counted: float) -> None:
            write(text + more, **counted, **fields)

        kind.count += 1
        kind.say = say
        if kind.due is not None:
            return
        # A clock that was set back must not silence the log.
        if not 0 <= now_s - kind.since_s < TOLD_EVERY_S:
            self._sum_up(kind)
        elif self._clock is not None:
            kind.due = self._clock.callLater(kind.since_s + TOLD_EVERY_S - now_s, self._sum_up, kind)

    def stop(self) -> None:
        """Tell what was counted so far, and wait for nothing any more."""
        self._clock = None
        for kind in self._kinds.values():
            if kind.due is not None:
                if kind.due.active():
                    kind.due.cancel()
                self._sum_up(kind)

    def _sum_up(self, kind: _Kind) -> None:
        count, since_s = kind.count, kind.since_s
        kind.count, kind.due, kind.since_s = 0, None, self._now_s()
        if count > 1:
            kind.say(" (the last of {like_it} in {in_s:.0f} s)", like_it=count, in_s=max(kind.since_s - since_s, 0))
        else:
            kind.say("")
