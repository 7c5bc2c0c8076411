"""
Lanes: who runs when.

Runs of one session go one after the other, in the order of their admission; over all sessions at most so many
run at once.  A run first waits for its session, then for one of the global slots, both first come, first served.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import attrs
from twisted.internet.defer import CancelledError, Deferred, fail, succeed

from openclaw.errors import Overloaded

OVERLOADED_RETRY_AFTER_S = 2.0
"""What a client is told to wait when the queue is full, in seconds."""


@attrs.frozen
class LaneLimits:
    """
    Bounds of the lanes.

    @ivar max_running: most runs at once (C{agents.defaults.maxConcurrent}).
    @ivar max_waiting: most runs that wait (C{agents.defaults.maxQueued}).
    """

    max_running: int
    max_waiting: int


class Place:
    """
    A run's place: its session lane, if it needs one, and, unless paused, one global slot.

    Whoever holds it calls L{leave} exactly when the run is over; leaving twice is harmless.
    """

    def __init__(self, lanes: Lanes, session: str | None) -> None:
        self._lanes = lanes
        self._session = session
        self._has_slot = False
        self._turn: Deferred[None] | None = None
        self._left = False

    def pause(self) -> None:
        """Give the global slot to somebody else while this run only waits; the session lane is kept."""
        if self._has_slot:
            self._has_slot = False
            self._lanes._free_slot()

    def resume(self) -> Deferred[None]:
        """
        Take a global slot again, behind those who wait for one.

        @return: fires when the slot is there, at once if it was not given away; cancelling it gives the turn up
            and leaves the place paused.
        @raise RuntimeError: if the place was left.
        """
        if self._left:
            raise RuntimeError("this place was left")
        return self._lanes._take_slot(self)

    @property
    def has_session(self) -> bool:
        """Whether it holds a session lane."""
        return self._session is not None

    def leave_session(self) -> None:
        """Give the session lane to the next run for good; the slot is kept.  Harmless without a session lane."""
        session, self._session = self._session, None
        self._lanes._free_session(session)

    async def enter_session(self, session: str) -> None:
        """
        Take a session lane, behind those who wait for it, and then a slot again, which meanwhile is given up.

        Cancelling it gives up the turn; whatever is held by then goes with L{leave}.

        @param session: the session's key; for a place that holds no session lane.
        """
        self.pause()
        self._lanes.waiting += 1
        try:
            await self._lanes._take_session(session)
            self._session = session
            await self.resume()
        finally:
            self._lanes.waiting -= 1

    def leave(self) -> None:
        """Give up the slot and the session lane; a L{resume} under way is cancelled."""
        if self._left:
            return
        self._left = True
        if self._turn is not None:
            self._turn.cancel()
        self.pause()
        self.leave_session()


class Lanes:
    """
    The session lanes and the global slots of one gateway.

    @ivar running: how many runs hold a slot.
    @ivar waiting: how many runs wait to be let in.
    """

    def __init__(self, limits: Callable[[], LaneLimits]) -> None:
        self._limits = limits
        # A session is in here while a run holds its lane; the deque has those that wait for it.
        self._sessions: dict[str, deque[Deferred[None]]] = {}
        self._slot_queue: deque[Place] = deque()
        # Sessions whose lane was given up and not passed on yet.
        self._freed_sessions: deque[str] = deque()
        self._is_handing_over = False
        self.running = 0
        self.waiting = 0

    def is_busy(self, session: str) -> bool:
        """Whether a run that enters this session would have to wait for another one."""
        return session in self._sessions

    def enter(self, session: str | None) -> Deferred[Place]:
        """
        Wait for a place.

        @param session: the session's key; C{None} for a run that shares its session with nobody.
        @return: fires with the place; fails with L{Overloaded} if there is no room to wait.  Cancelling it takes
            the run out of the queue, and what it already held goes to the next.
        """
        must_wait = session in self._sessions or self.running >= self._limits().max_running
        if must_wait and self.waiting >= self._limits().max_waiting:
            return fail(
                Overloaded("too many runs are waiting; try again later", retry_after_s=OVERLOADED_RETRY_AFTER_S)
            )
        return Deferred.fromCoroutine(self._enter(session))

    async def _enter(self, session: str | None) -> Place:
        place = Place(self, session)
        self.waiting += 1
        try:
            if session is not None:
                await self._take_session(session)
            try:
                await self._take_slot(place)
            except CancelledError:
                place.leave()
                raise
        finally:
            self.waiting -= 1
        return place

    def _take_session(self, session: str) -> Deferred[None]:
        queue = self._sessions.get(session)
        if queue is None:
            self._sessions[session] = deque()
            return succeed(None)
        turn: Deferred[None] = Deferred(queue.remove)
        queue.append(turn)
        return turn

    def _free_session(self, session: str | None) -> None:
        if session is not None:
            self._freed_sessions.append(session)
            self._hand_over()

    def _take_slot(self, place: Place) -> Deferred[None]:
        if place._has_slot:
            return succeed(None)
        turn: Deferred[None] = Deferred(lambda _: self._give_up(place))
        place._turn = turn
        self._slot_queue.append(place)
        self._hand_over()
        return turn

    def _give_up(self, place: Place) -> None:
        place._turn = None
        self._slot_queue.remove(place)

    def _free_slot(self) -> None:
        self.running -= 1
        self._hand_over()

    def _hand_over(self) -> None:
        """
        Pass on what is free until nobody can use it.

        A run that gets its place may fail and leave it before this call is back; its place is then passed on by the
        loop below, not from within, so that a thousand such runs need no deeper stack than one.
        """
        if self._is_handing_over:
            return
        self._is_handing_over = True
        try:
            while self._freed_sessions or self._can_give_slot():
                if self._freed_sessions:
                    self._pass_session(self._freed_sessions.popleft())
                else:
                    self._give_slot(self._slot_queue.popleft())
        finally:
            self._is_handing_over = False

    def _can_give_slot(self) -> bool:
        return bool(self._slot_queue) and self.running < self._limits().max_running

    def _pass_session(self, session: str) -> None:
        queue = self._sessions[session]
        if queue:
            queue.popleft().callback(None)
        else:
            del self._sessions[session]

    def _give_slot(self, place: Place) -> None:
        turn, place._turn = place._turn, None
        assert turn is not None
        place._has_slot = True
        self.running += 1
        turn.callback(None)
