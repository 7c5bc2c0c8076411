"""
The transcripts of the sessions in use, kept in memory so that a turn need not read the store.

What is kept is never ahead of the disk: it grows when a commit has succeeded.  Whatever leaves it uncertain what is
stored, be it an error, a timeout or a cancelled wait, has the session forgotten, and it is read anew.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import cast

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from openclaw.interfaces import Clock
from openclaw.records import Entry, Transcript
from openclaw.sessions.tree import SessionTree
from openclaw.stores import SessionStore
from openclaw.waits import Promise, in_time, now_ms, pause

MAX_CACHED_BYTES = 16 * 1024 * 1024
"""Most memory that kept transcripts take, as their trees estimate it."""

SLICE_ENTRIES = 500
"""Entries that are taken into a tree in one turn of the reactor: some milliseconds."""

DETACHED_KEPT_MS = 24 * 60 * 60 * 1000
"""
How long a detached root waits for a request that extends it, in milliseconds; after that it may be deleted.

One that was asked for as a stream is kept: it is what a user said.
"""


class _Load:
    """
    A transcript that is being read.

    @ivar tree: what it becomes.
    @ivar late: what was committed since its reading began.
    @ivar is_stale: whether it has to be read once more.
    """

    def __init__(self, abandoned: Callable[[_Load], None]) -> None:
        self.tree: Promise[SessionTree] = Promise(partial(abandoned, self))
        self.late: list[tuple[Sequence[Entry], bool]] = []
        self.is_stale = False
        self.work: Deferred[None] | None = None


class TranscriptCache:
    """
    The trees of the sessions that were used last.

    @param max_bytes: most memory of all trees.
    @ivar size_bytes: how much they take.
    """

    def __init__(self, store: SessionStore, clock: Clock, max_bytes: int = MAX_CACHED_BYTES) -> None:
        self._store = store
        self._clock = clock
        self._max_bytes = max_bytes
        self._trees: OrderedDict[str, SessionTree] = OrderedDict()
        self._loads: dict[str, _Load] = {}
        self.size_bytes = 0

    @property
    def is_idle(self) -> bool:
        """Whether no transcript is being read."""
        return not self._loads

    def peek(self, session_key: str) -> SessionTree | None:
        """The tree of a session, if it is at hand."""
        tree = self._trees.get(session_key)
        if tree is None:
            return None
        if tree.detached:
            since_ms = tree.detached_since_ms()
            if since_ms is not None and since_ms <= self._expired_ms():
                self.forget(session_key)
                return None
        self._trees.move_to_end(session_key)
        return tree

    def tree(self, session_key: str) -> Deferred[SessionTree]:
        """
        The tree of a session; an empty one if the session is not stored.

        It is up to date in the very moment in which the Deferred fires, and must not be changed.

        @return: fails with L{openclaw.errors.StoreError} if the session cannot be read in time.  Those who wait for
            the same session are called in the order in which they asked.  Cancelling it only stops waiting.
        """
        tree = self.peek(session_key)
        if tree is not None:
            return succeed(tree)
        load = self._loads.get(session_key)
        is_new = load is None
        if load is None:
            load = self._loads[session_key] = _Load(partial(self._stop_reading, session_key))
        waiting = load.tree.wait()
        if is_new:
            load.work = Deferred.fromCoroutine(self._read(session_key, load))
            load.work.addErrback(partial(self._fail, session_key, load))
        return waiting

    def append(self, session_key: str, entries: Sequence[Entry], *, detached: bool) -> None:
        """Note what was committed; see L{openclaw.stores.SessionStore.begin_run}."""
        if not entries:
            return
        load = self._loads.get(session_key)
        if load is not None:
            load.late.append((entries, detached))
        tree = self._trees.get(session_key)
        if tree is not None and not tree.knows(entries[0].parent_id):
            # Below a detached root that was left out: it may be a part of the history now.
            self.forget(session_key)
        elif tree is not None:
            self.size_bytes -= tree.size_bytes
            tree.append(entries, detached=detached)
            self.size_bytes += tree.size_bytes
            self._trees.move_to_end(session_key)
            self._evict()

    def forget(self, session_key: str) -> None:
        """Have a session read anew: it was deleted, or it is not certain what is stored of it."""
        tree = self._trees.pop(session_key, None)
        if tree is not None:
            self.size_bytes -= tree.size_bytes
        load = self._loads.get(session_key)
        if load is not None:
            load.is_stale = True

    async def _read(self, session_key: str, load: _Load) -> None:
        while True:
            load.is_stale = False
            # The reading that begins now sees it, or that it was deleted.
            load.late.clear()
            transcript = await in_time(self._store.transcript(session_key), self._clock)
            tree = await self._plant(transcript)
            if not load.is_stale and _grow_late(tree, load.late):
                break
        del self._loads[session_key]
        self._trees[session_key] = tree
        self.size_bytes += tree.size_bytes
        load.tree.fire(tree)
        self._evict()

    async def _plant(self, transcript: Transcript) -> SessionTree:
        """Grow the tree, without the detached roots that are too old: else it would have to be read anew each time."""
        tree = SessionTree()
        entries = transcript.entries
        expired_ms = self._expired_ms()
        left_out: set[str | None] = set()
        for first in range(0, len(entries), SLICE_ENTRIES):
            if first:
                await pause(0, self._clock)
            some = entries[first : first + SLICE_ENTRIES]
            if transcript.detached:
                left_out.update(
                    entry.id
                    for entry in some
                    if entry.id in transcript.detached and entry.created_at_ms <= expired_ms and not entry.streamed
                )
            tree.grow(_without(some, left_out) if left_out else some)
        tree.settle(attrs.evolve(transcript, detached=transcript.detached - left_out))
        return tree

    def _fail(self, session_key: str, load: _Load, failure: Failure) -> None:
        # It is there no more if nobody is left, and another may be in its place.
        if self._loads.get(session_key) is load:
            del self._loads[session_key]
        load.tree.fail(cast(Exception, failure.value))

    def _stop_reading(self, session_key: str, load: _Load) -> None:
        del self._loads[session_key]
        if load.work is not None:
            load.work.cancel()

    def _expired_ms(self) -> int:
        """When the detached roots were stored that have just become too old, milliseconds since 1970."""
        return now_ms(self._clock) - DETACHED_KEPT_MS

    def _evict(self) -> None:
        while self.size_bytes > self._max_bytes:
            _, tree = self._trees.popitem(last=False)
            self.size_bytes -= tree.size_bytes


def _without(entries: Iterable[Entry], left_out: set[str | None]) -> Iterator[Entry]:
    """The entries that are not left out, nor below one that is; these are left out, too."""
    for entry in entries:
        if entry.parent_id in left_out:
            left_out.add(entry.id)
        elif entry.id not in left_out:
            yield entry


def _grow_late(tree: SessionTree, late: Iterable[tuple[Sequence[Entry], bool]]) -> bool:
    """
    Take in what was committed while the transcript was read; entries that the reading has seen are passed over.

    @return: false if some of it is below a detached root that was left out, and may have become history by it.
    """
    for entries, detached in late:
        if not tree.knows(entries[0].parent_id):
            return False
        tree.append(entries, detached=detached)
    return True
