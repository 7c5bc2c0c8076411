"""Headers that every answer on the port carries, whichever protocol gives it."""

from __future__ import annotations

from collections.abc import Mapping

ANSWER_HEADERS: Mapping[bytes, bytes] = {
    # A browser must not take an answer for a page or a script that it does not say it is.
    b"X-Content-Type-Options": b"nosniff",
    # Nor tell others the addresses of ours.
    b"Referrer-Policy": b"no-referrer",
}
"""Name and value of each."""
