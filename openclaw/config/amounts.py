"""Durations and sizes as people write them: C{"30d"}, C{"10gb"}, a plain number, C{false} for none."""

from __future__ import annotations

import re

import attrs

_FORM = re.compile(r"\s*(\d{1,15}(?:\.\d{1,6})?)\s*([a-z]*)\s*", re.IGNORECASE)
_SECONDS = {"": 86_400.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_BYTES = {"": 1, "b": 1, "kb": 1024, "k": 1024, "mb": 1024**2, "m": 1024**2, "gb": 1024**3, "g": 1024**3, "tb": 1024**4}


@attrs.frozen
class Duration:
    """
    How long something may last.

    @ivar seconds: C{None} if there is no such limit.
    """

    seconds: float | None

    @classmethod
    def parse(cls, value: object) -> Duration:
        """
        Read a value of the configuration: C{"30d"}, C{"12h"}, a number of days, or C{false} or 0 for no limit.

        @raise ValueError: with a phrase that says what is expected.
        """
        return cls(_amount(value, _SECONDS, 'a duration like "30d", "12h" or "90m"'))


@attrs.frozen
class Size:
    """
    How much space something may take.

    @ivar bytes: C{None} if there is no such limit.
    """

    bytes: int | None

    @classmethod
    def parse(cls, value: object) -> Size:
        """
        Read a value of the configuration: C{"10gb"}, C{"500mb"}, a number of bytes, or C{false} or 0 for no limit.

        @raise ValueError: with a phrase that says what is expected.
        """
        amount = _amount(value, _BYTES, 'a size like "10gb" or "500mb"')
        return cls(None if amount is None else int(amount) or None)


def _amount(value: object, units: dict[str, float] | dict[str, int], expected: str) -> float | None:
    """What a number with a unit comes to; C{None} for no limit."""
    if value is False:
        return None
    found = None if value is True or not isinstance(value, str | int | float) else _FORM.fullmatch(str(value))
    if found is None or found[2].lower() not in units:
        raise ValueError(f"expected {expected}, or false")
    return float(found[1]) * units[found[2].lower()] or None
