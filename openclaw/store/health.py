"""What is told of a store that fails: to the log once a minute, not once a request; to health routes if it lasts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import attrs
from twisted.logger import Logger

from openclaw.store.damage import reason_of
from openclaw.store.group import Incident

TOLD_EVERY_S = 60.0
"""How often the log tells of one kind of failure, in seconds."""

LASTING_S = 5.0
"""How long no write may have succeeded before the gateway is not ready, in seconds."""

log = Logger()


@attrs.define
class _Told:
    """
    A kind of failure that the log knows.

    @ivar at_s: when it was told last.
    @ivar untold: how often it has come since.
    """

    at_s: float
    untold: int = 0


class StoreHealth:
    """
    Whether a store can be written; all methods are for the reactor's thread.

    @param seconds: a clock that never goes back.
    """

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._told: dict[tuple[str, str, str], _Told] = {}
        self._failing_since_s: float | None = None

    @property
    def is_lasting(self) -> bool:
        """Whether it has failed for so long that whoever asks should be told."""
        return self._failing_since_s is not None and self._seconds() - self._failing_since_s >= LASTING_S

    def note(self, incidents: Sequence[Incident], is_well: bool | None = None) -> None:
        """
        Take in what has happened, and log what is new of it.

        @param is_well: whether the disk took what was written; C{None} if nothing was.
        """
        for incident in incidents:
            self._tell(incident)
        if is_well is False:
            if self._failing_since_s is None:
                self._failing_since_s = self._seconds()
        elif is_well and self._failing_since_s is not None:
            failed_s = self._seconds() - self._failing_since_s
            self._failing_since_s = None
            if failed_s >= LASTING_S:
                # A failure after this one is another one, and told at once.
                self._told.clear()
                log.warn("store: it can be written again, after {failed_s:.0f} s", failed_s=failed_s)

    def _tell(self, incident: Incident) -> None:
        error = incident.error
        name = getattr(error, "sqlite_errorname", "-")
        kind = (incident.step, type(error).__name__, name)
        now_s = self._seconds()
        told = self._told.get(kind)
        if told is not None and now_s - told.at_s < TOLD_EVERY_S:
            told.untold += 1
            return
        self._told[kind] = _Told(now_s)
        log.error(
            "store: {step} failed: {kind} {name}: {reason}{more}",
            step=incident.step,
            kind=type(error).__name__,
            name=name,
            reason=reason_of(error),
            more=f" ({told.untold} more since the last such line)" if told is not None and told.untold else "",
        )
