"""How long a run waits for the store: a disk that stalls must not keep slots and lanes for good."""

from __future__ import annotations

from typing import Any, NoReturn, TypeVar

from twisted.internet.defer import Deferred

from openclaw.errors import StoreError
from openclaw.interfaces import Clock

STORE_TIMEOUT_S = 30.0
"""Longest wait for one answer of the store, in seconds; a sound disk answers in milliseconds."""

SHORT_STORE_TIMEOUT_S = 5.0
"""The same where the answer does not matter to the client, or the gateway stops, in seconds."""

STORE_TIMEOUT = "store_timeout"
"""The C{code} of the error that ends such a wait."""

T = TypeVar("T")


def in_time(answer: Deferred[T], clock: Clock) -> Deferred[T]:
    """
    Bound the wait for an answer of the store.

    The call itself cannot be taken back: it may still take effect later, in its place among the others.

    @param answer: what a method of L{openclaw.stores.SessionStore} returned.
    @return: C{answer}; fails with L{StoreError} of the code L{STORE_TIMEOUT} after L{STORE_TIMEOUT_S}.  Cancelling
        it only stops waiting.
    """
    return answer.addTimeout(STORE_TIMEOUT_S, clock, _too_late)  # type: ignore[arg-type]


def _too_late(result: Any, timeout_s: float) -> NoReturn:
    raise StoreError("the store did not answer in time", code=STORE_TIMEOUT)
