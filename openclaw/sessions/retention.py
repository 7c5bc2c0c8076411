"""
Keeps the store from growing without end, in the background and in small pieces.

Sessions that nobody uses are put away; deleted, the oldest first, only where the store is larger than it may be.
What is used at that moment is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from openclaw.config.session import MaintenanceConfig
from openclaw.errors import StoreError
from openclaw.interfaces import Clock
from openclaw.sessions.transcripts import DETACHED_KEPT_MS
from openclaw.stores import RetentionStore
from openclaw.waits import looping, pause

SWEEP_INTERVAL_S = 600.0
"""Seconds between two looks at the store; the first comes as long after the start."""

PAUSE_S = 0.05
"""Seconds between two pieces of the work, so that the store is free most of the time."""

SLICE_ROWS = 200
"""Most rows that one piece of the work changes."""

RUNS_KEPT_S = 90 * 86_400.0
"""How long a run is remembered that no session shows any more, in seconds."""

log = Logger()


class Retention(Service):
    """
    Sweeps the store every ten minutes.

    @param settings: gives C{session.maintenance} as it is in force.
    @param busy_sessions: gives the keys of the sessions that are used right now.
    @param forget_session: called before a session is deleted, for whoever remembers what is in it.
    """

    def __init__(
        self,
        store: RetentionStore,
        settings: Callable[[], MaintenanceConfig],
        clock: Clock,
        busy_sessions: Callable[[], Set[str]],
        forget_session: Callable[[str], object],
    ) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._busy_sessions = busy_sessions
        self._forget_session = forget_session
        self._looping = looping(self._sweep, clock)
        self._ended: Deferred[Any] = succeed(None)
        self._sweeping: Deferred[None] | None = None

    def startService(self) -> None:
        """Begin; the first sweep comes after L{SWEEP_INTERVAL_S}."""
        super().startService()  # type: ignore[no-untyped-call]
        self._ended = self._looping.start(SWEEP_INTERVAL_S, now=False)

    def stopService(self) -> Deferred[Any]:
        """End; fires when a sweep under way is over, which is ended after the piece that it is at."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._looping.running:
            self._looping.stop()
        if self._sweeping is not None:
            self._sweeping.cancel()
        return self._ended

    def _sweep(self) -> Deferred[None]:
        self._sweeping = Deferred.fromCoroutine(self.sweep())
        return self._sweeping.addErrback(_tell).addBoth(self._swept)

    def _swept(self, _: object) -> None:
        self._sweeping = None

    async def sweep(self) -> None:
        """Do all that is to be done now; if the store refuses (L{StoreError}) the next sweep tries again."""
        settings = self._settings()
        now_s = self._clock.seconds()
        if settings.mode == "enforce":
            await self._archive(settings, now_s)
        await self._make_room(settings)
        while await self._store.prune_detached(_ms(now_s) - DETACHED_KEPT_MS, SLICE_ROWS):
            await self._pause()
        while await self._store.prune_keys(_ms(now_s)):
            await self._pause()
        after: tuple[int, int] | None = (0, 0)
        while after is not None:
            after = await self._store.delete_runs(after, _ms(now_s - RUNS_KEPT_S), SLICE_ROWS)
            await self._pause()

    async def _archive(self, settings: MaintenanceConfig, now_s: float) -> None:
        kept_s = settings.prune_after.seconds
        before_ms = _ms(now_s - kept_s) if kept_s is not None else 0
        excess = await self._store.count_sessions() - settings.max_entries
        archived = 0
        while True:
            count = await self._store.archive_sessions(before_ms, max(excess, 0), _ms(now_s), SLICE_ROWS)
            archived += count
            excess -= count
            if not count or (count < SLICE_ROWS and excess <= 0):
                break
            await self._pause()
        if archived:
            log.info("{count} sessions were put away: session.maintenance", count=archived)

    async def _make_room(self, settings: MaintenanceConfig) -> None:
        """Delete sessions that were put away until the store is as small as it may be; first what is half deleted."""
        while await self._store.purge_dropped(SLICE_ROWS):
            await self._pause()
        most, down_to = settings.max_disk_bytes.bytes, settings.deletes_down_to_bytes
        used = await self._store.used_bytes()
        if most is None or down_to is None or used <= most:
            return
        if settings.mode == "warn":
            log.warn("the store takes {used} bytes, session.maintenance.maxDiskBytes are {most}", used=used, most=most)
            return
        deleted = 0
        while used > down_to:
            keys = await self._store.list_archived(len(self._busy_sessions()) + SLICE_ROWS)
            # As it is now: somebody may have come meanwhile.
            busy = self._busy_sessions()
            key = next((key for key in keys if key not in busy), None)
            if key is None:
                log.warn("the store takes {used} bytes and there is nothing left that may be deleted", used=used)
                break
            # Forgotten and dropped in one turn of the reactor: whoever uses the session from now on reads it anew.
            self._forget_session(key)
            deleted += await self._store.drop_session(key)
            while await self._store.purge_dropped(SLICE_ROWS):
                await self._pause()
            used = await self._store.used_bytes()
        if deleted:
            log.info("{count} sessions were deleted: session.maintenance.maxDiskBytes", count=deleted)

    async def _pause(self) -> None:
        await pause(PAUSE_S, self._clock)


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


def _tell(failure: Failure) -> None:
    """Tell why a sweep ended early; the next one comes all the same."""
    error = failure.value
    if isinstance(error, CancelledError):
        return
    if isinstance(error, StoreError):
        log.error("the store could not be tidied: {error}", error=error.message)
    else:
        log.failure("the store could not be tidied", failure)
