"""
The pace of a model server: how many of all runs ask it at once, and when nobody may.

One L{Pace} for each provider of the configuration, for as long as the gateway lives.  It counts the calls under way
against C{maxConcurrent}, holds all runs back when the server asks for that, and leaves a model alone for a while that
has failed again and again.  Who has to wait stands in a queue that is fair by session.

A hold ends with one call; only when the server has taken that one do two follow, then four, and so on, until nobody
waits any more.  Else all that were held back would be refused together once more.  A server refuses at once, so one
that has said nothing for a second has taken the call: many begin to answer only with the first word.

Runs in a row that fail count for each model of a server: one model that cannot be loaded must not keep others from
being asked.  A hold is one for all models, as most servers do not say whom they mean; but a run that goes on to a
fallback at the same server is not held there by what another model has met, else it could as well have waited.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import attrs
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from openclaw.agents.breaker import BREAKER_OPEN_S, BREAKER_RUNS, Breaker, is_outage
from openclaw.agents.share_queue import ShareQueue
from openclaw.config.models import ModelsConfig
from openclaw.errors import OpenClawError, ProviderError, ProviderOverloaded, ProviderRateLimited
from openclaw.interfaces import Clock

MAX_HOLD_S = 60.0
"""Longest hold, in seconds; of a server that asks for more each run is told so by the server itself."""

UNTIMED_HOLDS_S = (0.25, 1.0)
"""Seconds of the first and of each further hold in a row where the server does not say how long."""

TAKEN_AFTER_S = 1.0
"""After so many seconds without an answer a call counts as taken by its server, where others wait for that."""

FALLBACK_WAIT_S = 5.0
"""Longest wait of a run that can ask another model instead, in seconds."""

OVERLOADED_RETRY_AFTER_S = 2.0
"""What a client is told to wait where nothing better is known, in seconds."""

SLICE_RUNS = 8
"""So many runs are let in or refused in one go, then all else has its turn; each may take a millisecond."""

SLICE_PAUSE_S = 0.01
"""How long all else has its turn, in seconds: the runs of other servers must not notice."""

MAX_BREAKERS = 64
"""Models of one provider whose failures are remembered; clients may ask for models that nobody has."""

NO_GENERATION = -1
"""The C{generation} of a permit that no hold counts."""

HOLD_LOG_PERIOD_S = 60.0
"""Shortest time between two lines about the holds of one provider, in seconds."""

OVERLOADED = "overloaded"
"""The C{code} of the error of a run that has waited too long for its permit."""

log = Logger()


@attrs.frozen
class Wanted:
    """
    What a run wants of a model server.

    @ivar ref: the model, C{provider/model}.
    @ivar share: what it shares its permits with: its session, or its caller's other runs that have none.
    @ivar has_other: whether the run has another model to go on to.
    @ivar is_fallback: whether it comes from another model.
    """

    ref: str
    share: str
    has_other: bool = False
    is_fallback: bool = False


class Permit:
    """
    Leave to make one call of a model server, from before it is made until its answer is over.

    @ivar ref: the model that is asked.
    @ivar generation: how many holds there were before it.
    @ivar is_probe: whether it is to tell if a model that was left alone is well again, and has not told yet.
    """

    __slots__ = ("_is_accepted", "_is_heard", "_is_over", "_pace", "_patience", "generation", "is_probe", "ref")

    def __init__(self, pace: Pace, ref: str, generation: int, is_probe: bool) -> None:
        self._pace = pace
        self._is_accepted = self._is_heard = self._is_over = False
        self._patience: IDelayedCall | None = None
        self.ref = ref
        self.generation = generation
        self.is_probe = is_probe

    def accepted(self) -> None:
        """The server has taken the call, and may take more.  Harmless when told again."""
        if not self._is_accepted:
            self._is_accepted = True
            self._lose_patience()
            self._pace._accepted(self)

    def wait_for_it(self, clock: Clock) -> None:
        """Have it count as L{accepted} after a while."""
        self._patience = clock.callLater(TAKEN_AFTER_S, self.accepted)

    def _lose_patience(self) -> None:
        patience, self._patience = self._patience, None
        if patience is not None and patience.active():
            patience.cancel()

    def heard(self) -> None:
        """The server has answered, so its model is well.  Harmless when told again."""
        self.accepted()
        if not self._is_heard:
            self._is_heard = True
            self._pace._is_well(self)

    def failed(self, error: OpenClawError, *, other_key: bool, is_last: bool) -> None:
        """
        The call has failed without output; for a permit that is not left yet.

        @param other_key: whether the run goes on with another key of the provider, which the server did not limit.
        @param is_last: whether the run does not ask this model again.
        """
        if is_outage(error):
            if is_last:
                self._pace._failed(self, error)
            if error.retry_after_s is not None:
                self._pace._hold(self, error.retry_after_s)
        elif isinstance(error, ProviderRateLimited):
            self._pace._is_well(self)
            if not other_key:
                self._pace._hold(self, error.retry_after_s)
        else:
            # What is wrong with a key or a request says that the server is well.
            self.heard()

    def leave(self) -> None:
        """The call is over, and the next one may begin; harmless when it was left."""
        if not self._is_over:
            self._is_over = True
            self._lose_patience()
            self._pace._left(self, is_accepted=self._is_accepted)


@attrs.define(eq=False)
class _Waiter:
    """
    A run that waits for its permit.

    @ivar queue: where it stands; C{None} once it does not wait any more.
    """

    wanted: Wanted
    deferred: Deferred[Permit] = attrs.field(init=False)
    queue: ShareQueue[_Waiter] | None = None


class Pace:
    """
    The calls of one provider, over all runs.

    @ivar in_use: how many are under way.
    """

    def __init__(self, provider_id: str, models: Callable[[], ModelsConfig], clock: Clock) -> None:
        """
        @param provider_id: its name in the configuration.
        @param models: gives the configuration in force; its limits are read whenever somebody is let in.
        """
        self._provider_id = provider_id
        self._models = models
        self._clock = clock
        self.in_use = 0
        self._queue: ShareQueue[_Waiter] = ShareQueue()
        # By model: what has failed in a row, and who waits for how a probe ends.
        self._breakers: dict[str, Breaker] = {}
        self._parked: dict[str, ShareQueue[_Waiter]] = {}
        self._held_until_s: float | None = None
        # The models that were told to wait, of the present hold and until the server takes all again.
        self._limited: set[str] = set()
        # Counts the holds, to tell calls that were begun before one from those after it.
        self._generation = 0
        # After a hold: how many calls may be unanswered at once, and how many are; None when all may call.
        self._window: int | None = None
        self._unanswered = 0
        # How many holds there were since the server answered; when one of them was logged.
        self._holds = 0
        self._logged_s = -HOLD_LOG_PERIOD_S
        # Who waited for a probe that has failed; whether more could be let in now.
        self._refusing: deque[_Waiter] = deque()
        self._has_more = False
        self._slice_at_s: float | None = None
        self._timer: IDelayedCall | None = None
        self._wakes_at_s: float | None = None
        self._is_handing_over = False

    # ------------------------------------------------------------------------------------ to get a permit

    @property
    def is_idle(self) -> bool:
        """Whether no call is under way and nobody waits."""
        return not (self.in_use or self._queue or self._parked or self._refusing)

    def take(self, wanted: Wanted) -> Permit | None:
        """Take a permit at a model if that needs no waiting."""
        passes_hold = self._passes_hold(wanted)
        if (self._queue and not passes_hold) or not self._has_room(passes_hold=passes_hold):
            return None
        breaker = self._breakers.get(wanted.ref) if self._breakers else None
        if breaker is not None and not breaker.lets_pass(self._clock.seconds()):
            return None
        return self._begin(wanted.ref, breaker, passes_hold=passes_hold)

    def wait(self, wanted: Wanted) -> Deferred[Permit]:
        """
        Wait for a permit.

        @return: fires with the permit; fails with L{refusal} at once if the run has another model and this one is left
            alone, or later if it was tried once more and has failed.  Cancelling it gives up the wait.
        """
        breaker = self._breakers.get(wanted.ref)
        if wanted.has_other and breaker is not None and not breaker.lets_pass(self._clock.seconds()):
            return fail(self.refusal(wanted.ref))
        waiter = _Waiter(wanted)
        waiter.deferred = Deferred(lambda _: self._give_up(waiter))
        self._queue_up(waiter, self._queue)
        self._hand_over()
        return waiter.deferred

    def longest_wait_s(self, wanted: Wanted) -> float:
        """How long a run may wait for its permit, in seconds."""
        longest_s = self._models().max_wait_s(self._provider_id)
        return min(longest_s, FALLBACK_WAIT_S) if wanted.has_other else longest_s

    def held_s(self, wanted: Wanted) -> float:
        """Seconds for which a run may not call, as the server wants it; 0 if it may."""
        return 0.0 if self._passes_hold(wanted) else self._hold_left_s()

    def _passes_hold(self, wanted: Wanted) -> bool:
        return wanted.is_fallback and self._window is not None and wanted.ref not in self._limited

    def _hold_left_s(self) -> float:
        return 0.0 if self._held_until_s is None else max(self._held_until_s - self._clock.seconds(), 0.0)

    def refusal(self, ref: str) -> ProviderError:
        """What a run is told that does not get its permit in time."""
        breaker, name = self._breakers.get(ref), self._provider_id
        if breaker is not None and breaker.open_until_s is not None:
            left_s = max(breaker.open_until_s - self._clock.seconds(), 0.0)
            # The reason names the provider.
            text = f"not asked for now, after failures in a row: {breaker.reason}"
        elif left_s := self._hold_left_s():
            text = f"the provider {name} is not asked for now: it wants to be asked less often"
        else:
            text = f"the provider {name} is busy: all calls that it may have at once are under way"
        return ProviderOverloaded(text, code=OVERLOADED, retry_after_s=left_s or OVERLOADED_RETRY_AFTER_S)

    def limits_changed(self) -> None:
        """Let in who may come in by a new configuration."""
        self._hand_over()

    def _has_room(self, *, passes_hold: bool = False) -> bool:
        if not passes_hold and self._window is not None:
            if self._held_until_s is not None and self._clock.seconds() < self._held_until_s:
                return False
            self._held_until_s = None
            if self._unanswered >= self._window:
                return False
        most = self._models().max_concurrent(self._provider_id)
        return most is None or self.in_use < most

    def _begin(self, ref: str, breaker: Breaker | None, *, passes_hold: bool = False) -> Permit:
        is_probe = breaker is not None and breaker.is_open
        if breaker is not None and is_probe:
            breaker.is_probing = True
        self.in_use += 1
        if passes_hold:
            return Permit(self, ref, NO_GENERATION, is_probe)
        permit = Permit(self, ref, self._generation, is_probe)
        if self._window is not None:
            self._unanswered += 1
            permit.wait_for_it(self._clock)
        return permit

    # ------------------------------------------------------------------------------------ what becomes of it

    def _accepted(self, permit: Permit) -> None:
        if self._counts_in_window(permit):
            self._holds = 0
            self._unanswered -= 1
            if self._queue and self._window is not None:
                self._window += 1
                self._hand_over()
            else:
                self._window = None
                self._limited.clear()

    def _is_well(self, permit: Permit) -> None:
        permit.is_probe = False
        breaker = self._breakers.pop(permit.ref, None) if self._breakers else None
        if breaker is not None and breaker.is_open:
            log.info("{model} answers again", model=permit.ref)
            self._unpark(permit.ref)
            self._hand_over()

    def _failed(self, permit: Permit, error: OpenClawError) -> None:
        """A run has failed for good at this model."""
        now_s = self._clock.seconds()
        breaker = self._breakers.get(permit.ref)
        if breaker is None:
            breaker = self._remember(permit.ref)
        was_open, was_probe = breaker.is_open, permit.is_probe
        permit.is_probe = False
        if not breaker.failed(now_s, error.message, is_probe=was_probe):
            return
        if was_open:
            parked = self._parked.pop(permit.ref, None)
            while parked:
                waiter = parked.pop()
                waiter.queue = None
                self._refusing.append(waiter)
            self._set_timer()
        else:
            log.warn(
                "{model} has failed {count} runs in a row and is left alone for {open_s:g} s, then one call tries it:"
                " {reason}",
                model=permit.ref,
                count=BREAKER_RUNS,
                open_s=BREAKER_OPEN_S,
                reason=error.message,
            )

    def _remember(self, ref: str) -> Breaker:
        if len(self._breakers) >= MAX_BREAKERS:
            # The oldest that nobody needs; at most as many are needed as there are runs.
            spare = (name for name, one in self._breakers.items() if not one.is_probing and name not in self._parked)
            if (oldest := next(spare, None)) is not None:
                del self._breakers[oldest]
        breaker = self._breakers[ref] = Breaker()
        return breaker

    def _unpark(self, ref: str) -> None:
        parked = self._parked.pop(ref, None)
        while parked:
            self._queue_up(parked.pop(), self._queue)

    def _hold(self, permit: Permit, asked_s: float | None) -> None:
        """Hold all back for so long, or a little if the server does not say how long."""
        if asked_s is not None and asked_s > MAX_HOLD_S:
            return
        now_s, left_s = self._clock.seconds(), self._hold_left_s()
        self._limited.add(permit.ref)
        hold_s = asked_s if asked_s is not None else UNTIMED_HOLDS_S[min(self._holds, len(UNTIMED_HOLDS_S) - 1)]
        if left_s <= 0:
            self._generation += 1
            self._holds += 1
            self._window, self._unanswered = 1, 0
            if self._holds == 1 and now_s - self._logged_s >= HOLD_LOG_PERIOD_S:
                self._logged_s = now_s
                log.warn(
                    "the provider {provider} asks to be asked less often; all its runs are held back for {hold_s:g} s",
                    provider=self._provider_id,
                    hold_s=hold_s,
                )
        elif asked_s is None:
            # One of those that were under way when the hold began says the same once more.
            return
        self._held_until_s = now_s + max(hold_s, left_s)

    def _left(self, permit: Permit, *, is_accepted: bool) -> None:
        self.in_use -= 1
        if not is_accepted and self._counts_in_window(permit):
            self._unanswered -= 1
        if permit.is_probe:
            # It has told nothing, because its run was stopped: the next one is the probe.
            if (breaker := self._breakers.get(permit.ref)) is not None:
                breaker.is_probing = False
            self._unpark(permit.ref)
        if self._queue:
            self._hand_over()

    def _counts_in_window(self, permit: Permit) -> bool:
        return self._window is not None and permit.generation == self._generation

    # ------------------------------------------------------------------------------------ the queue

    @staticmethod
    def _queue_up(waiter: _Waiter, queue: ShareQueue[_Waiter]) -> None:
        waiter.queue = queue
        queue.push(waiter.wanted.share, waiter)

    def _give_up(self, waiter: _Waiter) -> None:
        queue, waiter.queue = waiter.queue, None
        if queue is not None:
            queue.remove(waiter.wanted.share, waiter)
            if not queue and queue is not self._queue:
                del self._parked[waiter.wanted.ref]
            self._set_timer()

    def _refuse(self, waiter: _Waiter) -> None:
        waiter.queue = None
        # Unless it has given up meanwhile.
        if not waiter.deferred.called:
            waiter.deferred.errback(self.refusal(waiter.wanted.ref))

    def _hand_over(self) -> None:
        """
        Let in who may come in.

        A run that gets its permit may leave it before this call is back; the loop goes on with the next one then, not
        from within, so that a thousand such runs need no deeper stack than one.
        """
        if self._is_handing_over:
            return
        self._is_handing_over = True
        left = SLICE_RUNS
        try:
            while self._queue and left and self._has_room():
                left -= 1
                waiter = self._queue.pop()
                waiter.queue = None
                breaker = self._breakers.get(waiter.wanted.ref)
                if breaker is None or breaker.lets_pass(self._clock.seconds()):
                    waiter.deferred.callback(self._begin(waiter.wanted.ref, breaker))
                elif waiter.wanted.has_other:
                    self._refuse(waiter)
                else:
                    self._queue_up(waiter, self._parked.setdefault(waiter.wanted.ref, ShareQueue()))
        finally:
            self._is_handing_over = False
        self._has_more = not left and bool(self._queue) and self._has_room()
        self._set_timer()

    def _set_timer(self) -> None:
        """Be woken when the next thing happens by itself that somebody waits for."""
        left_alone = (self._breakers[ref] for ref in self._parked)
        due = [one.open_until_s for one in left_alone if one.open_until_s is not None and not one.is_probing]
        if self._queue and self._held_until_s is not None:
            due.append(self._held_until_s)
        if self._refusing or self._has_more:
            if self._slice_at_s is None:
                self._slice_at_s = self._clock.seconds() + SLICE_PAUSE_S
            due.append(self._slice_at_s)
        due_s = min(due, default=None)
        if due_s == self._wakes_at_s:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wakes_at_s = due_s
        if due_s is not None:
            self._timer = self._clock.callLater(max(due_s - self._clock.seconds(), 0.0), self._wake)

    def _wake(self) -> None:
        self._timer = self._wakes_at_s = self._slice_at_s = None
        for _ in range(min(len(self._refusing), SLICE_RUNS)):
            self._refuse(self._refusing.popleft())
        now_s = self._clock.seconds()
        for ref in [ref for ref in self._parked if self._breakers[ref].lets_pass(now_s)]:
            # One of them becomes the probe; the others stay for what it tells.
            self._queue_up(self._parked[ref].pop(), self._queue)
            if not self._parked[ref]:
                del self._parked[ref]
        self._hand_over()
