"""
Requests that are sent more than once: the same answer for each, and one run.

A request with an C{Idempotency-Key} is told the result of the run that the key stands for, or joins that run while
it lives.  One without, whose client's library says that it is a retry, joins a run of the same fingerprint that lives
or succeeded a short while ago.  A run that failed in a way that may pass is not told again: the retry runs anew, and
finds the user's turn where the failed run has stored it.

Keys and their results are in the store: a key is claimed on disk before its run begins, and its result is on disk
before the end is told.  The rest is in memory.  One that comes with every call, as over the WebSocket, is claimed in
the transaction that stores the turn, and its result is in the one that stores the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from openclaw.agents.plan import Repetition, RunPlan
from openclaw.agents.run import Run
from openclaw.agents.runs import Runs
from openclaw.errors import IdempotencyConflict, OpenClawError, ResultNotKept, RunCancelled, StoreError
from openclaw.events import RunFailed, RunFinished, RunOutcome
from openclaw.interfaces import Caller, Clock
from openclaw.messages import Usage
from openclaw.records import KeptRun, KeyClaim, KeyEnd, KeySurface
from openclaw.sessions.placement import UNKNOWN_RUN
from openclaw.sharing.kept import answer_size, events_of, kept_result, with_answer
from openclaw.sharing.lingering import Lingering
from openclaw.sharing.log import Batch, EventLog
from openclaw.sharing.recent import Recent
from openclaw.sharing.shared import Claim, Name, OwnRun, Reader, Shared
from openclaw.stores import KEY_KNOWN, IdempotencyStore
from openclaw.waits import STORE_TIMEOUT, in_time, now_ms, without_frames

MAX_KEPT_CHARACTERS = 1024 * 1024
"""Largest answer that is kept to be told again."""

MAX_ENDED_CALLS = 1000
"""How many calls over the WebSocket are remembered whose end the store does not have; the oldest go."""

MAX_ATTEMPTS = 16
"""How many failed runs of one request are remembered to look for its turn; the first ones go."""

log = Logger()


@attrs.frozen
class Attempts:
    """
    What is remembered of a request whose runs came to nothing.

    @ivar failed_runs: their ids, oldest first.
    """

    failed_runs: tuple[str, ...]

    def forget(self) -> None:
        """There is nothing to let go."""


@attrs.define
class _Keeping:
    """
    Keeps the answer of a run together with its end.

    @ivar claim: what is to be claimed together with the turn; C{None} if that was done before.
    @ivar has_ended: whether it was decided what becomes of the key.
    @ivar is_stored: whether that is on disk.
    """

    _shared: Shared
    _held: KeyClaim
    claim: KeyClaim | None
    has_ended: bool = False
    is_stored: bool = False

    def end(self, outcome: RunOutcome, run: KeptRun) -> KeyEnd:
        shared = self._shared
        shared.ran = run
        self.has_ended = True
        if outcome.error is not None and not shared.claim.is_final(outcome.error):
            return KeyEnd(self._held, is_free=True)
        if answer_size(outcome) > MAX_KEPT_CHARACTERS:
            return KeyEnd(self._held)
        return KeyEnd(self._held, kept_result(outcome, shared.run_id, shared.session_key, shared.created_s, run))


Part = Reader | OwnRun
"""One request's part in a run: its share, or a run of its own."""


class Joins:
    """
    The runs that may be shared.

    @param runs: the door to the agents.
    @param store: keeps keys and their results.
    """

    def __init__(self, runs: Runs, store: IdempotencyStore, clock: Clock) -> None:
        self._runs = runs
        self._store = store
        self._clock = clock
        self._keyed: dict[Name, Shared] = {}
        self._recent: Recent[Shared | Attempts] = Recent(clock)
        # How calls over the WebSocket have ended, where the store does not say so; they must not push HTTP's out.
        self._calls: Recent[Shared] = Recent(clock, MAX_ENDED_CALLS)
        self._live: set[Shared] = set()
        self._lingering = Lingering()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is under way, and nothing remembered."""
        return not (self._live or self._keyed or len(self._recent) or len(self._calls))

    @property
    def remembered(self) -> tuple[int, int]:
        """How many runs are remembered, and about how many bytes they take."""
        return len(self._recent), self._recent.total_cost

    @property
    def live_keys(self) -> list[Name]:
        """The keys whose runs are under way."""
        return [shared.name for shared in self._live if shared.name is not None]

    def forget(self) -> None:
        """Forget what is in memory: a repetition then finds what the store has."""
        self._recent.clear()
        self._calls.clear()

    async def start(self, plan: RunPlan, claim: Claim) -> Part:
        """
        Start a run, join one, or tell an old answer.

        @return: the request's part as soon as it is known which run answers; that one may still wait for its place,
            and one that no other request can meet is started by L{OwnRun.placed}.
        @raise openclaw.errors.OpenClawError: as L{share}, also for what cancelling means.
        """
        if not claim.can_be_met:
            return OwnRun(plan, self._runs.start, int(self._clock.seconds()))
        return await self._start(plan, claim)

    def share(self, plan: RunPlan, claim: Claim) -> Deferred[Reader]:
        """
        Start a run that others may join, join one, or tell an old answer.

        @return: fires with the request's share as soon as it is known which run answers; that one may still wait for
            its place.  Fails with L{IdempotencyConflict}, L{ResultNotKept}, or L{StoreError} if the key could not be
            claimed.  Cancelling it gives the share up, which has the same meaning as L{Reader.leave}.
        """
        return Deferred.fromCoroutine(self._start(plan, claim))

    def is_live(self, caller: Caller, claim: Claim) -> bool:
        """Whether a run of this key is under way."""
        return _name(caller, claim) in self._keyed

    def session_of(self, run_id: str) -> str | None:
        """The session key of the run that L{cancel} would end; C{None} if there is none."""
        return next((shared.session_key for shared in self._before_run() if shared.shown_id == run_id), None)

    def cancel(self, run_id: str) -> bool:
        """End a run that L{Runs} does not know yet, as its key is being looked at; gives whether there is one."""
        return bool(self._cancel(lambda shared: shared.shown_id == run_id))

    def cancel_session(self, session_key: str) -> list[str]:
        """End those of a session that L{Runs} does not know yet; gives the ids by which their clients know them."""
        return self._cancel(lambda shared: shared.session_key == session_key)

    def _cancel(self, is_meant: Callable[[Shared], bool]) -> list[str]:
        found = [shared for shared in self._before_run() if is_meant(shared)]
        for shared in found:
            shared.cancel()
        return [shared.shown_id for shared in found]

    def _before_run(self) -> list[Shared]:
        return [shared for shared in self._live if shared.is_before_run]

    async def find(self, caller: Caller, claim: Claim) -> Reader | None:
        """A share in what is known of a key, C{None} if nothing; fails as L{share} does."""
        name = _name(caller, claim)
        shared = self._in_memory(name)
        if shared is None:
            known = await in_time(self._store.find_key(self._key_claim(caller, claim, "")), self._clock)
            if known is not None and known.state == "too_large":
                raise _too_large(claim.surface)
            if known is None or known.result is None:
                return None
            shared = Shared(self._clock, claim, known.result.run_id, known.result.session_key, streamed=False)
            shared.replay(known.result)
        return shared.attach(claim)

    async def _start(self, plan: RunPlan, claim: Claim) -> Reader:
        reader = await self._find(plan.caller, claim)
        if reader is None:
            reader = self._begin(plan, claim)
        try:
            await reader.claimed()
        except Exception:
            reader.leave()
            raise
        return reader

    async def stop(self) -> None:
        """After L{Runs.stop}: wait until what was ended is stored, then forget all.  Cancelling it stops the wait."""
        for shared in list(self._live):
            await shared.over.wait()
        self.forget()

    # ------------------------------------------------------------------------------ meeting an earlier request

    async def _find(self, caller: Caller, claim: Claim) -> Reader | None:
        """A share in what answers this request already, if anything does."""
        if claim.key is not None:
            return await self._find_keyed(_name(caller, claim), claim)
        if claim.is_retry:
            earlier = self._recent.get(claim.fingerprint)
            if isinstance(earlier, Shared) and earlier.can_be_told and not earlier.is_delivered:
                return earlier.attach(claim)
        return None

    def _in_memory(self, name: Name) -> Shared | None:
        """The run of a key that is under way, or has ended in a way that the store does not have."""
        shared = self._keyed.get(name) or self._ended(name).get(name)
        assert shared is None or isinstance(shared, Shared)
        return shared

    async def _find_keyed(self, name: Name, claim: Claim) -> Reader | None:
        while (shared := self._in_memory(name)) is not None:
            if shared.claim.fingerprint != claim.fingerprint:
                if shared.claimed.has_fired:
                    raise _conflict()
                # That one may be the intruder, and this one what the key stands for.
                with suppress(OpenClawError):
                    await shared.claimed.wait()
            elif shared.is_stopping and not shared.has_ended:
                # It was cancelled: its key is free as soon as it is over.
                await shared.over.wait()
            elif shared.has_ended and not shared.is_final:
                # It may pass; what is remembered is for whoever asks how that run has ended.
                return None
            else:
                return shared.attach(claim)
        return None

    # ------------------------------------------------------------------------------ beginning anew

    def _begin(self, plan: RunPlan, claim: Claim) -> Reader:
        request = plan.request
        streamed = not request.options.whole
        shared = Shared(self._clock, claim, request.run_id, plan.session_key, streamed=streamed)
        shared.shown_id = request.shown_id
        reader = shared.attach(claim, joined=False)
        if claim.key is not None:
            shared.name = name = _name(plan.caller, claim)
            self._keyed[name] = shared
            self._ended(name).forget(name)
        elif claim.fingerprint is not None:
            earlier = self._recent.get(claim.fingerprint)
            if claim.is_retry and earlier is not None:
                shared.attempts = earlier.failed_runs
            shared.entry = self._recent.add(claim.fingerprint, shared)
            shared.may_linger(self._lingering, plan.caller.name)
        self._live.add(shared)
        Deferred.fromCoroutine(self._drive(plan, shared))
        return reader

    async def _drive(self, plan: RunPlan, shared: Shared) -> None:
        """From a claim to the end that is told."""
        try:
            held = None
            if shared.claim.key is not None:
                held = self._key_claim(plan.caller, shared.claim, shared.run_id)
            # A run that has to wait, or is refused, is none for an old key: that is to be told its answer at once.
            is_claimed = not (shared.claim.comes_with_turn and plan.is_stored and self._runs.can_begin(plan))
            if held is not None and is_claimed:
                await self._claim(shared, held)
            is_new = await self._carry_out(plan, shared, held, is_claimed=is_claimed)
            if held is not None and not is_new:
                # Nothing of the turn is stored: it is an old key, as those are that are sent again after a restart.
                shared.stopped_by(None)
                await self._claim(shared, held)
                await self._carry_out(plan, shared, held, is_claimed=True)
        except OpenClawError as error:
            self._let_go(shared)
            shared.refuse(error)
        except Exception:  # noqa: BLE001 -- a bug must end the requests and not leave them hanging
            log.failure("the shared run {run_id} was not ended properly", run_id=shared.run_id)
            self._let_go(shared)
            if not shared.has_ended:
                shared.refuse(OpenClawError("internal error"))
        finally:
            self._live.discard(shared)
            shared.over.fire(None)

    async def _carry_out(self, plan: RunPlan, shared: Shared, held: KeyClaim | None, *, is_claimed: bool) -> bool:
        """Have the run done, unless an old answer was found; false if its key turns out to be an old one."""
        if shared.has_ended:
            return True
        shared.claimed.fire(None)
        keeping = None
        if held is not None and shared.claim.comes_with_turn and plan.is_stored:
            keeping = _Keeping(shared, held, None if is_claimed else held)
        ended = await self._run_to_end(plan, shared, keeping)
        if ended is None:
            return False
        await self._conclude(shared, held, keeping, *ended)
        return True

    def _key_claim(self, caller: Caller, claim: Claim, run_id: str) -> KeyClaim:
        assert claim.key is not None and claim.fingerprint is not None
        return KeyClaim(caller.name, claim.key, claim.fingerprint, run_id, now_ms(self._clock), claim.surface)

    async def _claim(self, shared: Shared, wanted: KeyClaim) -> None:
        """Claim a key, or find the old answer to be told; raises why the request is not to be answered."""
        try:
            known = await in_time(self._store.claim_key(wanted), self._clock)
        except StoreError as error:
            if error.code == STORE_TIMEOUT:
                # It may be claimed yet.
                self._free(wanted)
            raise
        if known is not None:
            if known.fingerprint != wanted.fingerprint:
                raise _conflict()
            if known.state == "too_large":
                raise _too_large(wanted.surface)
            if known.result is not None:
                self._let_go(shared)
                shared.replay(known.result)
            shared.attempts = known.attempts

    async def _run_to_end(
        self, plan: RunPlan, shared: Shared, keeping: _Keeping | None
    ) -> tuple[RunOutcome, Batch] | None:
        """Have the run done; gives its outcome and the untold last batch, C{None} if its key is an old one."""
        error: OpenClawError
        try:
            return await self._run(plan, shared, keeping)
        except OpenClawError as refused:
            error = without_frames(refused)
        except CancelledError:
            error = RunCancelled("the run was cancelled")
        except Exception:  # noqa: BLE001 -- a bug must end the requests and not leave them hanging
            log.failure("the shared run {run_id} failed by a bug", run_id=shared.run_id)
            shared.cancel()
            error = OpenClawError("internal error")
        if keeping is not None and keeping.claim is not None and not keeping.has_ended:
            # Whatever ended it before its turn was stored, an answer that is there is what is to be told.
            is_old = error.code == KEY_KNOWN
            if is_old or (not isinstance(error, StoreError) and await self._is_answered(keeping.claim)):
                return None
        shared.placed.fail(error)
        outcome = RunOutcome("", None, Usage(), error)
        return outcome, events_of(outcome)

    async def _is_answered(self, claim: KeyClaim) -> bool:
        try:
            known = await in_time(self._store.find_key(claim), self._clock)
        except StoreError:
            return False
        return known is not None and known.result is not None

    async def _run(self, plan: RunPlan, shared: Shared, keeping: _Keeping | None) -> tuple[RunOutcome, Batch]:
        retry_of = None
        if shared.attempts and plan.is_stored:
            turn = await in_time(self._store.find_turn(shared.session_key, shared.attempts), self._clock)
            retry_of = turn or shared.attempts[-1]
        elif shared.claim.is_retry and shared.claim.key is None and plan.target.is_stable:
            retry_of = UNKNOWN_RUN
        if shared.is_stopping:
            raise RunCancelled("the run was cancelled")
        if retry_of is not None or keeping is not None:
            plan = attrs.evolve(plan, repetition=Repetition(retry_of, keeping))
        starting = self._runs.start(plan)
        shared.stopped_by(starting.cancel)
        run = await starting
        shared.stopped_by(run.cancel)
        shared.placed.fire(run.timings)
        terminal = await _pump(run, shared.log)
        outcome = await run.done
        return outcome, terminal or events_of(outcome)

    # ------------------------------------------------------------------------------ ending

    async def _conclude(
        self, shared: Shared, held: KeyClaim | None, keeping: _Keeping | None, outcome: RunOutcome, terminal: Batch
    ) -> None:
        """Keep the result, then tell the end."""
        error = outcome.error
        # What was refused before anything was stored says nothing of the next time, which may find other settings.
        was_refused = keeping is not None and not keeping.has_ended and not isinstance(error, RunCancelled)
        is_final = error is None or (shared.claim.is_final(error) and not was_refused)
        is_kept = held is None
        if held is not None:
            if keeping is not None and keeping.is_stored:
                is_kept = is_final
            elif is_final:
                # What came with the turn may not have been claimed.
                is_kept = await self._save(shared, held, outcome) and keeping is None
            else:
                self._free(held)
                # Over HTTP nobody asks later how a run has ended.
                is_kept = keeping is None or not keeping.has_ended
            self._let_go(shared)
        if error is not None or shared.log is not None:
            # Nobody asks the outcome for it: it was told already, or is not to be.
            outcome = attrs.evolve(outcome, text="", reasoning="", tool_calls=())
        if shared.name is not None and not is_kept:
            shared.entry = self._ended(shared.name).add(shared.name, shared)
        shared.end(outcome, terminal)
        self._remember(shared)

    async def _save(self, shared: Shared, held: KeyClaim, outcome: RunOutcome) -> bool:
        """Store the result of a key; gives whether that is done."""
        kept = None
        if shared.is_whole:
            if shared.log is not None and outcome.error is None:
                outcome = with_answer(outcome, shared.log)
            if answer_size(outcome) <= MAX_KEPT_CHARACTERS:
                kept = kept_result(outcome, shared.run_id, shared.session_key, shared.created_s, shared.ran)
        try:
            await in_time(self._store.finish_key(held, kept), self._clock)
        except StoreError as failed:
            # The store tells its troubles itself, and not for each run.
            log.debug("the result of run {run_id} is not kept: {error}", run_id=shared.run_id, error=failed.message)
            return False
        return True

    def _free(self, held: KeyClaim) -> None:
        """Let a key be used again; who asks for it later comes later in the store's queue, so nobody waits."""
        self._store.free_key(held).addErrback(
            lambda failure: log.debug(
                "the key of run {run_id} is not freed: {error}", run_id=held.run_id, error=failure.getErrorMessage()
            )
        )

    def _ended(self, name: Name) -> Recent[Any]:
        return self._calls if name[0] == "ws" else self._recent

    def _let_go(self, shared: Shared) -> None:
        """Who comes from now on finds what the store has."""
        if shared.name is not None:
            self._keyed.pop(shared.name, None)

    def _remember(self, shared: Shared) -> None:
        """Keep an answer for a retry, or that there is none."""
        entry = shared.entry
        if entry is None or not entry.is_kept:
            return
        failed_runs = shared.failed_runs
        if failed_runs and shared.claim.key is None:
            entry = self._recent.add(entry.name, Attempts(failed_runs[-MAX_ATTEMPTS:]))
        elif not shared.is_whole or shared.size > MAX_KEPT_CHARACTERS:
            entry.drop()
            return
        else:
            shared.tell_cost()
        entry.ended()


async def _pump(run: Run, events: EventLog | None) -> Batch:
    """Bring a run's batches into a log, at the pace of its readers; returns the last one, which is held back."""
    if events is None:
        # Nobody reads them: the outcome has it all.
        run.events.close()
        return ()
    terminal: Batch = ()
    # A run that is over is not to wait for a reader, nor is its end, which is to be stored.
    run.done.addCallback(lambda _: events.hurry())

    def take(batch: Batch) -> Deferred[None] | None:
        nonlocal terminal
        if isinstance(batch[-1], RunFinished | RunFailed):
            terminal = batch
            return None
        events.append(batch)
        return events.room()

    await run.events.each(take)
    return terminal


def _name(caller: Caller, claim: Claim) -> Name:
    assert claim.key is not None
    return claim.surface, caller.name, claim.key


def _too_large(surface: KeySurface) -> ResultNotKept:
    name = "Idempotency-Key" if surface == "http" else "idempotencyKey"
    return ResultNotKept(f"the answer to this {name} was too large to be kept")


def _conflict() -> IdempotencyConflict:
    return IdempotencyConflict("this Idempotency-Key was used for another request", param="Idempotency-Key")
