"""
How a run comes to its place in a session and leaves its answer there: lane, transcript and store together.

Runs of one session go one after the other.  One that has nothing to do with what was said there, as a title that a
user interface asks for, neither waits for them nor makes them wait: what begins a chat, or something beside it, has a
lane of its own, in which only requests wait that extend it.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any

import attrs
from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.python.failure import Failure

from openclaw.errors import StoreError
from openclaw.ids import new_entry_id
from openclaw.interfaces import Clock
from openclaw.messages import Message
from openclaw.records import Entry, KeyClaim, KeyEnd, RunRecord, RunStatus
from openclaw.sessions.keys import PLAIN, KeySource, Manner
from openclaw.sessions.lanes import Lanes, Slot
from openclaw.sessions.placement import Placement, place
from openclaw.sessions.transcripts import TranscriptCache
from openclaw.sessions.tree import SessionTree, is_silent
from openclaw.stores import SessionStore
from openclaw.waits import STORE_TIMEOUT, Promise, in_time, now_ms

log = Logger()


@attrs.frozen
class SentTurn:
    """
    What a request has for its session.

    @ivar session_key: the session; C{None} if nothing of it is stored.
    @ivar messages: as sent, without system messages.
    @ivar retry_of: a run whose turn is to be answered again; see L{openclaw.sessions.placement.place}.
    @ivar claim: a key that is taken together with the turn.
    @ivar manner: how the request asks.
    """

    session_key: str | None
    messages: tuple[Message, ...]
    source: KeySource
    retry_of: str | None = None
    claim: KeyClaim | None = None
    manner: Manner = PLAIN

    def place_in(self, tree: SessionTree) -> Placement:
        """Where it joins the session."""
        return place(tree, self.messages, self.source, self.retry_of, self.manner)


@attrs.frozen
class PlacedTurn:
    """
    Where a run's turn stands.

    @ivar branch: the stored part of the conversation, root first.
    @ivar new: what the request adds to it.
    @ivar tip_id: the entry that the answer is to follow; C{None} if the session is not stored.
    @ivar detached: whether it leaves the history alone.
    @ivar at_tip: whether it goes on with the current branch; if not it becomes another one, and that is the current
        one when there is an answer.
    @ivar session_created_at_ms: when the session was begun, milliseconds since 1970; C{None} if it is not stored.
    @ivar waited_s: seconds for which it waited for other runs of its session, once it had been let in.
    """

    branch: tuple[Entry, ...]
    new: tuple[Message, ...]
    tip_id: str | None = None
    detached: bool = False
    at_tip: bool = True
    session_created_at_ms: int | None = None
    waited_s: float = 0.0


class Turns:
    """
    The turns of all sessions.

    @ivar transcripts: what is known of the sessions in use.
    """

    def __init__(self, store: SessionStore, clock: Clock, lanes: Lanes) -> None:
        self.transcripts = TranscriptCache(store, clock)
        self._store = store
        self._clock = clock
        self._lanes = lanes
        # Sessions in which a root is being stored that becomes the history: where others go depends on it.
        self._founding: dict[str, Promise[None]] = {}
        # Runs under way that began a chat, or something beside it: whether another root has taken its place.
        self._roots: dict[str, bool] = {}

    async def enter(self, sent: SentTurn) -> Slot:
        """Wait for a place in the lanes; fails with L{openclaw.errors.Overloaded} if there is no room to wait."""
        key = sent.session_key
        if key is None or not self._lanes.is_busy(key):
            return await self._lanes.enter(key)
        tree = self.transcripts.peek(key)
        if tree is not None:
            return await self._lanes.enter(None if sent.place_in(tree).is_alone else key)
        return await self._enter_looking(sent, key)

    async def _enter_looking(self, sent: SentTurn, key: str) -> Slot:
        """Wait in the lane, as that keeps the order, and read the transcript meanwhile: this may be the wrong lane."""
        waiting = self._lanes.enter(key)
        steps_out = False

        def look(tree: SessionTree) -> None:
            nonlocal steps_out
            if not waiting.called and sent.place_in(tree).is_alone:
                steps_out = True
                waiting.cancel()

        looking = self.transcripts.tree(key)
        looking.addCallback(look).addErrback(_cannot_look)
        try:
            return await waiting
        except CancelledError:
            if not steps_out:
                raise
        finally:
            looking.cancel()
        return await self._lanes.enter(None)

    async def begin(self, slot: Slot, sent: SentTurn, run: RunRecord) -> PlacedTurn:
        """
        Find the turn's place and store it.

        @param slot: from L{enter}; it keeps its session lane only if the turn becomes a part of the history.
        @raise StoreError: if the session cannot be read or the turn not stored.  If the wait for that is cancelled,
            or takes too long, the turn may be stored yet; the run's end is then stored after it, so that no run stays
            there as running.  Of the code L{openclaw.stores.KEY_KNOWN} if the turn's key is no new one.
        """
        key = sent.session_key
        if key is None:
            return PlacedTurn((), sent.messages)
        may_repeat, waited_s = True, 0.0
        while True:
            tree = await self.transcripts.tree(key)
            if key in self._founding:
                await self._founding[key].wait()
                continue
            placement = sent.place_in(tree)
            branch = tree.branch(placement.parent_id)
            waiting: Coroutine[Any, Any, None] | None = None
            if placement.is_alone:
                if slot.has_session:
                    slot.leave_session()
                    # Whoever got the lane may have begun something within that call.
                    continue
            elif not slot.has_session:
                # It did not need the lane when it entered.  Meanwhile the session has changed.
                waiting = slot.enter_session(key)
            elif branch and self._lanes.is_busy(root := _root_lane(key, branch[0].run_id)):
                waiting = slot.wait_for(root)
            if waiting is not None:
                since_s = self._clock.seconds()
                await waiting
                waited_s += self._clock.seconds() - since_s
                continue
            founding = None
            if placement.is_root and not placement.detached:
                founding = self._founding[key] = Promise[None]()
            try:
                placed = await self._store_turn(tree, branch, sent, placement, run)
                if placement.is_root:
                    self._roots[run.run_id] = False
                    slot.take_own(_root_lane(key, run.run_id))
                return attrs.evolve(placed, waited_s=waited_s) if waited_s else placed
            except StoreError as error:
                if error.code != "store_conflict" or not may_repeat:
                    raise
                # What the turn was to follow was deleted by somebody: then the session is another one by now.
                may_repeat = False
            except GeneratorExit:
                # All of this is thrown away, and nobody is to be woken any more.
                founding = None
                raise
            finally:
                if founding is not None:
                    del self._founding[key]
                    founding.fire(None)

    async def _store_turn(
        self, tree: SessionTree, branch: tuple[Entry, ...], sent: SentTurn, placement: Placement, run: RunRecord
    ) -> PlacedTurn:
        entries = _chain(placement.parent_id, placement.new, run, streamed=sent.manner.streamed)
        at_tip = placement.takes_over or tree.node(placement.parent_id) is tree.node(tree.tip_id)
        beside = placement.detached or not at_tip
        passed = tree.root_run(tree.tip_id) if placement.takes_over else None
        if passed in self._roots:
            # Before this is stored, as that run may end meanwhile.
            self._roots[passed] = True
        try:
            created_at_ms = await self._store_begin(run, entries, detached=beside, claim=sent.claim)
        except StoreError as error:
            if passed in self._roots and error.code != STORE_TIMEOUT:
                self._roots[passed] = False
            raise
        tip_id = entries[-1].id if entries else placement.parent_id
        return PlacedTurn(branch, placement.new, tip_id, placement.detached, at_tip, created_at_ms)

    async def _store_begin(
        self, run: RunRecord, entries: Sequence[Entry], *, detached: bool, claim: KeyClaim | None
    ) -> int | None:
        is_stored = False
        try:
            storing = self._store.begin_run(run, entries, detached=detached, claim=claim)
            created_at_ms = await in_time(storing, self._clock)
            is_stored = True
        except CancelledError:
            self._give_up(run, "cancelled", "cancelled")
            raise
        except StoreError as error:
            if error.code == STORE_TIMEOUT:
                self._give_up(run, "failed", STORE_TIMEOUT)
            raise
        finally:
            if not is_stored:
                self.transcripts.forget(run.session_key)
        self.transcripts.append(run.session_key, entries, detached=detached)
        return created_at_ms

    def _give_up(self, run: RunRecord, status: RunStatus, code: str) -> None:
        """Store the end of a run whose beginning is not known to be stored; nobody waits for it."""
        ended = attrs.evolve(run, status=status, ended_at_ms=now_ms(self._clock), error_code=code)
        self._store.end_run(ended, ()).addErrback(_cannot_end, run.run_id)

    async def end(self, placed: PlacedTurn, run: RunRecord, answer: Sequence[Entry], key: KeyEnd | None = None) -> None:
        """
        Store a run's end, its answer, and what becomes of its key.

        @raise StoreError: if that fails or takes too long; then it is not certain whether it is stored.
        """
        # A branch of which nothing came must not take the place of the one that is there.
        is_nothing = run.status != "done" and all(is_silent(entry.message) for entry in answer)
        beside = placed.detached or self._roots.get(run.run_id, False) or (is_nothing and not placed.at_tip)
        try:
            await in_time(self._store.end_run(run, answer, detached=beside, key=key), self._clock)
        except Exception:
            self.transcripts.forget(run.session_key)
            raise
        finally:
            # Not before: another root may take the place of this one while its end is stored, too.
            self._roots.pop(run.run_id, None)
        self.transcripts.append(run.session_key, answer, detached=beside)


def _root_lane(session_key: str, run_id: str | None) -> str:
    """The lane of a root and its answer, which the run began; no session's key has a line in it."""
    return f"{session_key}\n{run_id}"


def _chain(
    tip_id: str | None, messages: Sequence[Message], run: RunRecord, *, streamed: bool = False
) -> tuple[Entry, ...]:
    """The messages as entries, each the child of the one before."""
    entries: list[Entry] = []
    for message in messages:
        is_streamed_root = streamed and tip_id is None
        entries.append(Entry(new_entry_id(), tip_id, run.run_id, message, run.started_at_ms, streamed=is_streamed_root))
        tip_id = entries[-1].id
    return tuple(entries)


def _cannot_end(failure: Failure, run_id: str) -> None:
    """Tell a bug; of a store in trouble the store itself tells, and not for each run."""
    if failure.check(StoreError):
        log.debug("cannot store the end of run {run_id}: {error}", run_id=run_id, error=failure.getErrorMessage())
    else:
        log.failure("cannot store the end of run {run_id}", failure, run_id=run_id)


def _cannot_look(failure: Failure) -> None:
    """The lane is waited for all the same; whoever is let in reads the transcript again and tells what is wrong."""
    if not failure.check(CancelledError, StoreError):
        log.failure("a session cannot be looked at", failure)
