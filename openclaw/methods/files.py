"""How long a method waits for a file: a disk that stalls must not keep calls for good."""

from __future__ import annotations

from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as WaitedTooLong

from openclaw.errors import CapacityError
from openclaw.interfaces import Clock
from openclaw.waits import within

FILE_TIMEOUT_S = 10.0
"""Longest wait for one reading of files, in seconds."""

T = TypeVar("T")


async def read_in_time(reading: Deferred[T], clock: Clock) -> T:
    """
    Wait for what a thread reads, at most L{FILE_TIMEOUT_S}.  The thread itself cannot be stopped.

    @raise CapacityError: C{file_timeout} if it takes longer.
    """
    try:
        return await within(reading, FILE_TIMEOUT_S, clock)
    except WaitedTooLong:
        raise CapacityError("the disk did not answer in time", code="file_timeout") from None
