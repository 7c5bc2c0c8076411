"""
Lanes: who runs when.

Runs of one session go one after the other, in the order of their admission; over all sessions at most so many
run at once.  A run first waits for its session, then until it may run, both first come, first served.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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


class Slot:
    """
    A run's slot: the lane of its session, if it needs one, and, unless paused, one of the places to run.

    Whoever holds it calls L{leave} exactly when the run is over; leaving twice is harmless.
    """

    def __init__(self, lanes: Lanes, session: str | None) -> None:
        self._lanes = lanes
        self._session = session
        self._is_running = False
        self._turn: Deferred[None] | None = None
        self._left = False

    def pause(self) -> None:
        """Let somebody else run while this run only waits; the session lane is kept."""
        if self._is_running:
            self._is_running = False
            self._lanes.running -= 1
            self._lanes._hand_over()

    @property
    def is_running(self) -> bool:
        """Whether it has its place to run, and is not paused."""
        return self._is_running

    @property
    def has_room_aside(self) -> bool:
        """Whether one more run may wait."""
        return self._lanes.waiting < self._lanes._limits().max_waiting

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Pause it for a wait that counts among those of the lanes; it is L{resume} that ends the pause."""
        self._lanes.waiting += 1
        try:
            self.pause()
            yield
        finally:
            self._lanes.waiting -= 1

    def resume(self) -> Deferred[None]:
        """
        Run again, behind those who wait for that.

        @return: fires when it may run, at once if it was not paused; cancelling it gives the turn up
            and leaves the slot paused.
        @raise RuntimeError: if the slot was left.
        """
        if self._left:
            raise RuntimeError("this slot was left")
        return self._lanes._take_run(self)

    @property
    def has_session(self) -> bool:
        """Whether it holds a session lane."""
        return self._session is not None

    def take_own(self, lane: str) -> None:
        """Take a lane that nobody else can have asked for, in the place of the session's; it goes with L{leave}."""
        self._lanes._sessions[lane] = deque()
        self._hold(lane)

    async def wait_for(self, lane: str) -> None:
        """Wait, beside the lane that is held, until another one is free, and then run again; meanwhile it is paused."""
        with self.aside():
            await self._lanes._take_session(lane)
            self._lanes._freed_sessions.append(lane)
            self._lanes._hand_over()
            await self.resume()

    def leave_session(self) -> None:
        """Give the session lane to the next run for good; this one runs on.  Harmless without a session lane."""
        self._hold(None)

    def _hold(self, lane: str | None) -> None:
        """Hold this lane in the place of the one that is held, which goes to the next run."""
        before, self._session = self._session, lane
        if before is not None:
            # Last, as whoever gets it may look at once whether the other one is taken.
            self._lanes._freed_sessions.append(before)
            self._lanes._hand_over()

    async def enter_session(self, session: str) -> None:
        """
        Take a session lane, behind those who wait for it, and then run again; meanwhile it is paused.

        Cancelling it gives up the turn; whatever is held by then goes with L{leave}.

        @param session: the session's key; for a slot that holds no session lane.
        """
        with self.aside():
            await self._lanes._take_session(session)
            self._session = session
            await self.resume()

    def leave(self) -> None:
        """Give up all of it; a L{resume} under way is cancelled."""
        if self._left:
            return
        self._left = True
        if self._turn is not None:
            self._turn.cancel()
        self.pause()
        self.leave_session()


class Lanes:
    """
    The session lanes of one gateway, and who of all runs may run.

    @ivar running: how many run.
    @ivar waiting: how many runs wait to be let in.
    """

    def __init__(self, limits: Callable[[], LaneLimits]) -> None:
        self._limits = limits
        # A session is in here while a run holds its lane; the deque has those that wait for it.
        self._sessions: dict[str, deque[Deferred[None]]] = {}
        self._run_queue: deque[Slot] = deque()
        # Sessions whose lane was given up and not passed on yet.
        self._freed_sessions: deque[str] = deque()
        self._is_handing_over = False
        self.running = 0
        self.waiting = 0

    @property
    def is_empty(self) -> bool:
        """Whether nobody runs, waits or holds a session lane."""
        return not (self.running or self.waiting or self._sessions or self._run_queue or self._freed_sessions)

    def limits_changed(self) -> None:
        """Let in who may run by other limits."""
        self._hand_over()

    def is_busy(self, session: str) -> bool:
        """Whether a run that enters this session would have to wait for another one."""
        return session in self._sessions

    def must_wait(self, session: str | None) -> bool:
        """Whether a run that enters now would not run at once; C{None} as for L{enter}."""
        return session in self._sessions or self.running >= self._limits().max_running

    def enter(self, session: str | None) -> Deferred[Slot]:
        """
        Wait for a slot.

        @param session: the session's key; C{None} for a run that shares its session with nobody.
        @return: fires with the slot; fails with L{Overloaded} if there is no room to wait.  Cancelling it takes
            the run out of the queue, and what it already held goes to the next.
        """
        if self.must_wait(session) and self.waiting >= self._limits().max_waiting:
            return fail(
                Overloaded("too many runs are waiting; try again later", retry_after_s=OVERLOADED_RETRY_AFTER_S)
            )
        return Deferred.fromCoroutine(self._enter(session))

    async def _enter(self, session: str | None) -> Slot:
        slot = Slot(self, session)
        self.waiting += 1
        try:
            if session is not None:
                await self._take_session(session)
            try:
                await self._take_run(slot)
            except CancelledError:
                slot.leave()
                raise
        finally:
            self.waiting -= 1
        return slot

    def _take_session(self, session: str) -> Deferred[None]:
        queue = self._sessions.get(session)
        if queue is None:
            self._sessions[session] = deque()
            return succeed(None)
        turn: Deferred[None] = Deferred(queue.remove)
        queue.append(turn)
        return turn

    def _take_run(self, slot: Slot) -> Deferred[None]:
        if slot._is_running:
            return succeed(None)
        turn: Deferred[None] = Deferred(lambda _: self._give_up(slot))
        slot._turn = turn
        self._run_queue.append(slot)
        self._hand_over()
        return turn

    def _give_up(self, slot: Slot) -> None:
        slot._turn = None
        self._run_queue.remove(slot)

    def _hand_over(self) -> None:
        """
        Pass on what is free until nobody can use it.

        A run that gets its slot may fail and leave it before this call is back; its slot is then passed on by the
        loop below, not from within, so that a thousand such runs need no deeper stack than one.
        """
        if self._is_handing_over:
            return
        self._is_handing_over = True
        try:
            while True:
                if self._freed_sessions:
                    session = self._freed_sessions.popleft()
                    if queue := self._sessions[session]:
                        queue.popleft().callback(None)
                    else:
                        del self._sessions[session]
                elif self._run_queue and self.running < self._limits().max_running:
                    slot = self._run_queue.popleft()
                    turn, slot._turn = slot._turn, None
                    assert turn is not None
                    slot._is_running = True
                    self.running += 1
                    turn.callback(None)
                else:
                    break
        finally:
            self._is_handing_over = False
