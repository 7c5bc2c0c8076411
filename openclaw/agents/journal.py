"""How what a run has to say comes to the store, and how long the run waits for that."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall

from openclaw.agents.plan import Keeping
from openclaw.errors import Draining, OpenClawError, RunCancelled, StoreError
from openclaw.events import RunOutcome, Timings
from openclaw.interfaces import Clock
from openclaw.records import Entry, KeptRun, RunRecord, RunStatus
from openclaw.sessions.turns import PlacedTurn, Turns
from openclaw.waits import SHORT_STORE_TIMEOUT_S, STORE_TIMEOUT, now_ms


class Journal:
    """
    The part of the store that one run writes.

    @param placed: what the answer is to follow.
    @param record: the run as it was stored when it began.
    @param keeping: the key that its answer is kept under, if it is.
    """

    def __init__(
        self, turns: Turns, placed: PlacedTurn, record: RunRecord, keeping: Keeping | None, clock: Clock
    ) -> None:
        self._turns = turns
        self._placed = placed
        self._record = record
        self._keeping = keeping
        self._clock = clock
        self._storing: Deferred[None] | None = None
        self._patience: IDelayedCall | None = None

    @property
    def is_stored(self) -> bool:
        """Whether the session is stored; else only the run itself is."""
        return self._placed.tip_id is not None

    async def end(self, answer: Sequence[Entry], timings: Timings, outcome: RunOutcome) -> None:
        """
        Store the end of the run.

        @param answer: its entries; see L{Turns.end}.
        @raise StoreError: if that fails or takes too long; then it is not certain whether it is stored.
        """
        error = outcome.error
        ended_at_ms = now_ms(self._clock)
        ended = attrs.evolve(
            self._record,
            model_ref=timings.model_ref or self._record.model_ref,
            status=_status(error),
            ended_at_ms=ended_at_ms,
            usage=outcome.usage,
            error_code=error.code if error is not None else None,
        )
        key = None
        if self._keeping is not None:
            kept = KeptRun(
                ended.model_ref,
                int(timings.received * 1000),
                ended.started_at_ms,
                ended_at_ms,
                self._placed.session_created_at_ms,
            )
            key = self._keeping.end(outcome, kept)
        self._storing = Deferred.fromCoroutine(self._turns.end(self._placed, ended, answer, key))
        if isinstance(error, Draining) or not self.is_stored:
            self.hurry()
        try:
            await self._storing
        except CancelledError:
            raise StoreError("the store did not answer in time", code=STORE_TIMEOUT) from None
        finally:
            self._storing = None
            if self._patience is not None and self._patience.active():
                self._patience.cancel()

    def hurry(self) -> None:
        """Wait for the store only a little longer; harmless if nothing is being stored."""
        if self._storing is not None and self._patience is None:
            self._patience = self._clock.callLater(SHORT_STORE_TIMEOUT_S, self._storing.cancel)


def _status(error: OpenClawError | None) -> RunStatus:
    return "done" if error is None else "cancelled" if isinstance(error, RunCancelled) else "failed"
