"""
All connections of a gateway: what they have in common, what they share, and what is told to all of them.

They share limits: how many of one client may not have connected yet, and what may wait for those that do not read.
They are told what happens and who is there, and are closed when their credential is not good any more.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable
from typing import Protocol

import attrs
from twisted.internet.interfaces import IDelayedCall

from openclaw.auth.head import RequestHead
from openclaw.auth.policy import AccessPolicy, Credential
from openclaw.events import EventBus
from openclaw.interfaces import Clock
from openclaw.methods.table import MethodTable
from openclaw.ws.broadcast import Broadcaster, Listener
from openclaw.ws.dispatch import CountCall, count_nothing
from openclaw.ws.handshake import CLOSE_TRY_AGAIN, Phase
from openclaw.ws.hello import Snapshot
from openclaw.ws.presence import Presence
from openclaw.ws.run_broadcast import RunBroadcast

MAX_PREAUTH_CONNECTIONS = 32
"""Most connections of one client address that have not connected yet (original: the same)."""

PREAUTH_GRACE_S = 2.0
"""After what time such a connection gives way to a new one if there are too many, in seconds."""

SLICE_CLOSED = 32
"""How many connections are closed before others have their turn: about 3 ms."""

MAX_UNREAD_BYTES = 128 * 1024 * 1024
"""What may wait for all clients together that do not read, in bytes: each alone may have much of it."""

PRESENCE_INTERVAL_S = 0.25
"""
Shortest pause between two tellings of who is there, in seconds.

Each goes to everybody and names everybody: told at once, a thousand who come back together would be told a million
times.
"""

CLOSE_RESTART = 1012

CLOSE_AUTH_CHANGED = 4001
"""The credential that let a client in is not good any more (original: the same)."""


@attrs.frozen
class Surface:
    """
    What the connections of a gateway have in common, given by L{openclaw.service}.

    @ivar presence: who is there; the method C{system-presence} tells it, too.
    @ivar phase: the gateway's phase of life; a client is let in only while it is C{started}.
    @ivar count: told the name of each method that was called, and whether it did what was asked.
    """

    policy: AccessPolicy
    methods: MethodTable
    bus: EventBus
    snapshot: Snapshot
    presence: Presence
    phase: Callable[[], Phase]
    count: CountCall = count_nothing


class Peer(Listener, Protocol):
    """What the others see of a connection."""

    @property
    def id(self) -> str:
        """Names it."""

    @property
    def credential(self) -> Credential | None:
        """What the policy's credential was when it was let in; C{None} before that."""

    @property
    def unread_bytes(self) -> int:
        """What waits for its client since that stopped reading."""

    def close(self, code: int, reason: str = "") -> None:
        """Close it; harmless when it is closing already."""

    def close_slow(self) -> None:
        """Close it because too much waits for its client."""


class Crowd:
    """
    All connections.

    @ivar open_connections: the connections whose upgrade is done.
    @ivar broadcaster: tells events to all clients that may see them.
    @ivar new_id: makes the ids of connections, and nonces: nobody may be able to guess the next one.
    """

    def __init__(
        self, clock: Clock, surface: Surface, *, new_id: Callable[[], str] = lambda: str(uuid.uuid4())
    ) -> None:
        self.clock = clock
        self.surface = surface
        self.open_connections: set[Peer] = set()
        self.new_id = new_id
        self.broadcaster = Broadcaster(clock, surface.snapshot.health, self._listen_to_runs)
        self._run_broadcast = RunBroadcast(surface.bus, clock, self.broadcaster.publish)
        # When they came, those of each client in that order.
        self._waiting: dict[str, dict[Peer, float]] = {}
        self._buckets: dict[Peer, str] = {}
        self._unread_bytes = 0
        self._presence_pause: IDelayedCall | None = None
        self._presence_changed = False
        self._is_stopping = False

    @property
    def waiting(self) -> int:
        """How many connections have not connected yet."""
        return len(self._buckets)

    def count_in(self, head: RequestHead, connection: Peer) -> bool:
        """
        Count a connection whose client has not connected yet.

        If its client has too many of them the oldest one is closed, unless that came just now: whoever only holds
        connections, as a web page can, must not keep the programs of the same address out.

        @return: false if there was no room; then it was not counted.
        """
        bucket = self.surface.policy.client_of(head).bucket
        waiting = self._waiting.get(bucket, {})
        now_s = self.clock.seconds()
        if len(waiting) >= MAX_PREAUTH_CONNECTIONS:
            oldest, since_s = next(iter(waiting.items()))
            if 0 <= now_s - since_s < PREAUTH_GRACE_S:
                return False
            oldest.close(CLOSE_TRY_AGAIN, "too many connections that have not connected yet")
        self._waiting.setdefault(bucket, {})[connection] = now_s
        self._buckets[connection] = bucket
        return True

    def count_out(self, connection: Peer) -> None:
        """That connection is connected, or gone; harmless if it is not counted."""
        bucket = self._buckets.pop(connection, None)
        if bucket is not None:
            del self._waiting[bucket][connection]
            if not self._waiting[bucket]:
                del self._waiting[bucket]

    def count_unread(self, size_bytes: int) -> None:
        """
        Count what waits for clients that do not read; over L{MAX_UNREAD_BYTES} the one with the most is closed.

        @param size_bytes: what waits now beyond what waited; negative for what waits no longer.
        """
        self._unread_bytes += size_bytes
        if self._unread_bytes > MAX_UNREAD_BYTES:
            # One is enough: it has at least what was added just now.
            max(self.open_connections, key=lambda connection: connection.unread_bytes).close_slow()

    def depart(self, connection: Peer) -> None:
        """A client that was let in has gone."""
        self.broadcaster.leave(connection)
        if self.surface.presence.leave(connection.id):
            self.tell_presence()

    def tell_presence(self) -> None:
        """Tell everybody who is there now; a little later if they were told just now, and not while all leave."""
        if self._is_stopping:
            return
        if self._presence_pause is not None:
            self._presence_changed = True
            return
        self._presence_pause = self.clock.callLater(PRESENCE_INTERVAL_S, self._presence_may_be_told)
        presence = self.surface.presence
        version = {"presence": presence.version, "health": self.broadcaster.health_version}
        payload = {"presence": presence.entries()}
        self.broadcaster.publish("presence", payload, droppable=True, state_version=version)

    def _presence_may_be_told(self) -> None:
        self._presence_pause = None
        if self._presence_changed:
            self._presence_changed = False
            self.tell_presence()

    def _listen_to_runs(self, wanted: bool) -> None:
        self._run_broadcast.listen(wanted)

    def check_credentials(self) -> None:
        """Another configuration applies: close the connections of clients that its credential would not let in."""
        good = self.surface.policy.credential
        stale = [connection for connection in self.open_connections if connection.credential not in (None, good)]
        self._close(deque(stale), CLOSE_AUTH_CHANGED, "gateway auth changed")

    def close_all(self) -> None:
        """Tell every client that the gateway stops; one that does not answer is dropped after a moment."""
        self._is_stopping = True
        pause, self._presence_pause = self._presence_pause, None
        if pause is not None:
            pause.cancel()
        self.broadcaster.publish("shutdown", {"reason": "gateway stopping"})
        self._close_told()

    def _close_told(self) -> None:
        """Close all connections once their clients were told everything, a few at a time as ever."""
        if self.broadcaster.is_behind:
            self.clock.callLater(0, self._close_told)
        else:
            self._close(deque(self.open_connections), CLOSE_RESTART, "service restart")

    def _close(self, connections: deque[Peer], code: int, reason: str) -> None:
        """Close connections; others have their turn while there are many."""
        for _ in range(min(len(connections), SLICE_CLOSED)):
            connections.popleft().close(code, reason)
        if connections:
            self.clock.callLater(0, self._close, connections, code, reason)
