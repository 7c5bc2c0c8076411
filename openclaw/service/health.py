"""What a gateway knows of itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from openclaw.interfaces import Clock
from openclaw.process.clock import SteadyClock


class GatewayHealth:
    """
    The L{openclaw.interfaces.HealthSource} of one gateway.

    @param steady_clock: the one that C{clock} goes by, if it was given one.
    @ivar current: the phase of life, as L{phase} tells it.
    """

    def __init__(self, clock: Clock, steady_clock: SteadyClock | None = None) -> None:
        self._clock = clock
        self._steady_clock = steady_clock
        self._started_s = clock.seconds()
        self.current: Literal["starting", "started", "draining"] = "starting"
        self._watched: dict[str, Callable[[], bool]] = {}

    def phase(self) -> Literal["starting", "started", "draining"]:
        """The gateway's phase of life."""
        return self.current

    @property
    def is_wanted(self) -> bool:
        """Whether nobody has told it to stop."""
        return self.current != "draining"

    def uptime_ms(self) -> int:
        """Milliseconds since this object was made."""
        moved_s = self._steady_clock.moved_s if self._steady_clock is not None else 0.0
        return int((self._clock.seconds() - self._started_s - moved_s) * 1000)

    def watch(self, name: str, is_well: Callable[[], bool]) -> None:
        """Without this part no request can be served."""
        self._watched[name] = is_well

    def failing(self) -> Sequence[str]:
        """The parts without which no request can be served."""
        return [name for name, is_well in self._watched.items() if not is_well()]
