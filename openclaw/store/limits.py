"""How long a list may be."""

from __future__ import annotations

from openclaw.errors import InvalidRequest

MAX_LISTED = 10_000
"""Most rows of one list."""


def check_limit(limit: int) -> int:
    """
    Check the length that is asked of a list.

    @raise InvalidRequest: if it is negative, which SQLite would take for no limit, or above L{MAX_LISTED}.
    """
    if not 0 <= limit <= MAX_LISTED:
        raise InvalidRequest(f"limit must be 0 to {MAX_LISTED}", param="limit")
    return limit


def check_offset(offset: int) -> int:
    """
    Check where a list is asked to begin.

    @raise InvalidRequest: if it is negative.
    """
    if offset < 0:
        raise InvalidRequest("offset must not be negative", param="offset")
    return offset
