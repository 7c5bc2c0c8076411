"""The section C{session}: how long conversations are kept."""

from __future__ import annotations

from typing import Annotated, Literal

import attrs

from openclaw.config.amounts import Duration, Size
from openclaw.config.checks import Between

KEPT = Duration(30 * 86_400.0)
"""For how long a session stays in sight that nobody writes to."""

ROOM = Size(10 * 1024**3)
"""How large the store may be."""

HIGH_WATER_PART = 0.8
"""To what part of C{maxDiskBytes} the store is brought down where C{highWaterBytes} does not say."""


@attrs.frozen
class MaintenanceConfig:
    """
    C{session.maintenance}; the defaults are the original's.

    A session is archived, which hides it from lists and loses nothing, when it is older than C{pruneAfter} or one of
    more than C{maxEntries}.  Only where the store is larger than C{maxDiskBytes} are archived ones deleted, the
    oldest first.

    @ivar mode: whether old sessions are put away (C{enforce}), or it is only logged which would be (C{warn}).
    @ivar prune_after: time after which a session that was not written to is put away; C{false} for never.
    @ivar max_entries: number of sessions beyond which the oldest are put away.
    @ivar max_disk_bytes: size of the store beyond which sessions that were put away are deleted, the oldest first.
    @ivar high_water_bytes: size of the store at which deleting ends; without it 80 % of C{maxDiskBytes}.
    """

    mode: Literal["enforce", "warn"] = "enforce"
    prune_after: Duration = KEPT
    max_entries: Annotated[int, Between(1, 100_000_000)] = 5000
    max_disk_bytes: Size = ROOM
    high_water_bytes: Size | None = None

    @property
    def deletes_down_to_bytes(self) -> int | None:
        """The size at which deleting ends; C{None} if nothing is deleted."""
        most = self.max_disk_bytes.bytes
        if most is None:
            return None
        if self.high_water_bytes is None or self.high_water_bytes.bytes is None:
            return int(most * HIGH_WATER_PART)
        return min(self.high_water_bytes.bytes, most)


@attrs.frozen
class SessionConfig:
    """C{session}."""

    maintenance: MaintenanceConfig = attrs.field(factory=MaintenanceConfig)
