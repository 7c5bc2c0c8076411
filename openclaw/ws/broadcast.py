"""
Events for all connected clients.

Each event is encoded once and goes to those whose scopes let them see it, numbered for each connection from 1.
Where many listen it goes to some of them at a time, so that nothing else has to wait for all of them; each is told
everything in order.  While somebody listens it ticks, so that clients know that the gateway lives.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import attrs
from twisted.internet.interfaces import IDelayedCall

from openclaw.auth.scopes import READ, implies
from openclaw.interfaces import Clock
from openclaw.waits import now_ms
from openclaw.ws.frames import EventFrame, event_frame

TICK_INTERVAL_S = 30.0
"""How often C{tick} is told, in seconds (original: the same)."""

HEALTH_EVERY_TICKS = 2
"""C{health} is told with every second tick, so once a minute as the original does."""

SLICE_LISTENERS = 64
"""How many clients are told before others have their turn: about 1 ms."""

SLICE_BYTES = 2 * 1024 * 1024
"""After how many bytes the same, however few clients they went to."""

MAX_BACKLOG_EVENTS = 1000
"""Most events that wait to be told; beyond it the oldest are told without a pause."""

MAX_BACKLOG_BYTES = 16 * 1024 * 1024
"""The same in bytes, each event counted once."""

EVENT_SCOPES: Mapping[str, str | None] = {
    "agent": READ,
    "chat": READ,
    "presence": READ,
    "tick": None,
    "health": None,
    "shutdown": None,
}
"""Every event that is broadcast, with the scope that a client must have to see it."""


class Listener(Protocol):
    """A connection that events go to."""

    @property
    def scopes(self) -> tuple[str, ...]:
        """The operator scopes of its client."""

    def tell(self, frame: EventFrame) -> None:
        """Send an event under the connection's next number, or drop it; it must not raise."""


@attrs.frozen(eq=False)
class _Delivery:
    """An event on its way, and those who are yet to be told."""

    frame: EventFrame
    waiting: deque[Listener]


class Broadcaster:
    """
    Tells events to all who listen.

    @param health: what C{health} tells; asked once a minute.
    @param on_readers: called with whether there is anybody at all who may see runs, whenever that changes.
    @ivar health_version: grows with every health that is told.
    """

    def __init__(
        self, clock: Clock, health: Callable[[], Mapping[str, Any]], on_readers: Callable[[bool], None]
    ) -> None:
        self._clock = clock
        self._health = health
        self._on_readers = on_readers
        # In the order in which they came; a set of all, and of each scope's readers.
        self._listeners: dict[Listener, None] = {}
        self._readers: dict[Listener, None] = {}
        # The oldest first.
        self._backlog: deque[_Delivery] = deque()
        self._backlog_bytes = 0
        self._is_telling = False
        self._next_slice: IDelayedCall | None = None
        self._tick: IDelayedCall | None = None
        self._ticks = 0
        self.health_version = 1

    def join(self, listener: Listener) -> None:
        """A client has connected: it is told what happens from now on."""
        self._listeners[listener] = None
        if implies(listener.scopes, READ):
            self._readers[listener] = None
            if len(self._readers) == 1:
                self._on_readers(True)
        if self._tick is None:
            self._tick = self._clock.callLater(TICK_INTERVAL_S, self._tell_tick)

    def leave(self, listener: Listener) -> None:
        """A client has gone; harmless if it never was there."""
        self._listeners.pop(listener, None)
        if self._readers.pop(listener, self) is None and not self._readers:
            self._on_readers(False)
        if not self._listeners:
            self._backlog.clear()
            self._backlog_bytes = 0
            self._stop_timers()

    def _stop_timers(self) -> None:
        for timer in (self._tick, self._next_slice):
            if timer is not None:
                timer.cancel()
        self._tick = self._next_slice = None

    @property
    def is_behind(self) -> bool:
        """Whether something waits to be told."""
        return bool(self._backlog)

    def publish(
        self,
        name: str,
        payload: Mapping[str, Any],
        *,
        droppable: bool = False,
        state_version: Mapping[str, int] | None = None,
    ) -> None:
        """Tell an event of L{EVENT_SCOPES} to all who may see it; who does not read may miss a droppable one."""
        scope = EVENT_SCOPES[name]
        listeners = self._readers if scope == READ else self._listeners
        if not listeners:
            return
        frame = event_frame(name, payload, droppable=droppable, state_version=state_version)
        self._backlog.append(_Delivery(frame, deque(listeners)))
        self._backlog_bytes += len(frame.head)
        # One that is told may leave, and others be told of that: in its turn.
        if not self._is_telling and self._next_slice is None:
            self._tell_slice()
        while len(self._backlog) > MAX_BACKLOG_EVENTS or self._backlog_bytes > MAX_BACKLOG_BYTES:
            if not self._tell_oldest(None):
                break

    def _tell_slice(self) -> None:
        self._next_slice = None
        budget = _Budget(SLICE_LISTENERS, SLICE_BYTES)
        while self._backlog and self._tell_oldest(budget):
            pass
        if self._backlog:
            self._next_slice = self._clock.callLater(0, self._tell_slice)

    def _tell_oldest(self, budget: _Budget | None) -> bool:
        """Tell the oldest event, as far as the budget, if there is one, allows; gives whether it was told to all."""
        if self._is_telling:
            return False
        delivery = self._backlog[0]
        self._is_telling = True
        try:
            while delivery.waiting:
                if budget is not None and not budget.take(len(delivery.frame.head)):
                    return False
                listener = delivery.waiting.popleft()
                if listener in self._listeners:
                    listener.tell(delivery.frame)
        finally:
            self._is_telling = False
        if self._backlog and self._backlog[0] is delivery:
            self._backlog.popleft()
            self._backlog_bytes -= len(delivery.frame.head)
        return True

    def _tell_tick(self) -> None:
        self._tick = self._clock.callLater(TICK_INTERVAL_S, self._tell_tick)
        self._ticks += 1
        self.publish("tick", {"ts": now_ms(self._clock)}, droppable=True)
        if self._ticks % HEALTH_EVERY_TICKS == 0 and self._listeners:
            self.health_version += 1
            self.publish("health", self._health(), droppable=True, state_version={"health": self.health_version})


@attrs.define
class _Budget:
    """How many listeners one slice may still tell, and how many bytes; the last one may exceed that."""

    listeners: int
    bytes: int

    def take(self, size_bytes: int) -> bool:
        """Spend some of it; gives whether there was any left."""
        if self.listeners <= 0 or self.bytes <= 0:
            return False
        self.listeners -= 1
        self.bytes -= size_bytes
        return True
