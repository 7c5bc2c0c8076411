"""
Limits for those who guess credentials.

Only a wrong credential counts, never an absent one.  A client beyond this machine is locked out after too many of
them.  On loopback anybody could then lock out the owner, a web page included, so there a wrong credential is answered
late and the right one always passes.

The log tells of both, in one line a minute each: nobody can fill it by guessing.
"""

from __future__ import annotations

import heapq
import math
from collections import OrderedDict, deque
from collections.abc import Callable

import attrs
from twisted.logger import Logger

from openclaw.auth.client import Client
from openclaw.config.gateway import RateLimitConfig
from openclaw.errors import LockedOut
from openclaw.interfaces import Clock
from openclaw.log_rare import RareLines

MAX_BUCKETS = 10_000
"""Most clients that are remembered; the one whose last failure is oldest is forgotten first."""

MAX_FAILURES = 200_000
"""Most failures that are remembered over all clients, so that a huge C{maxAttempts} does not cost memory."""

FIRST_DELAY_S = 0.25
"""Seconds by which the first wrong credential on loopback is answered late; doubles with each further one."""

LONGEST_DELAY_S = 5.0
"""Seconds; bound of the doubling."""

MAX_DELAYED = 64
"""Most answers that are being held back at one time; further wrong credentials are told at once to come later."""

log = Logger()


@attrs.define
class _Bucket:
    failures: deque[float] = attrs.field(factory=deque)
    locked_at: float | None = None


class FailureLimiter:
    """
    Counts wrong credentials by client.

    Times come from a clock that may be set: one that lies in the future counts as expired.
    """

    def __init__(self, clock: Clock, limits: Callable[[], RateLimitConfig], rare: RareLines | None = None) -> None:
        """
        @param limits: gives the limits now in force; asked at every call, as the configuration may change.
        @param rare: tells the log.
        """
        self._clock = clock
        self._limits = limits
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._failure_count = 0
        self._due: list[float] = []
        self._rare = rare if rare is not None else RareLines(clock.seconds)

    def __len__(self) -> int:
        """How many clients are remembered."""
        return len(self._buckets)

    def check(self, client: Client) -> None:
        """
        Refuse a client that is locked out, whatever it presents.

        @raise LockedOut: with C{retry_after_s}, whole seconds.
        """
        bucket = self._buckets.get(client.bucket)
        if bucket is None or bucket.locked_at is None:
            return
        limits = self._limits()
        age_s = self._clock.seconds() - bucket.locked_at
        if 0 <= age_s < limits.lockout_ms / 1000 and not (client.is_loopback and limits.exempt_loopback):
            raise _locked_out(limits.lockout_ms / 1000 - age_s)
        self._forget(client.bucket)

    def failed(self, client: Client) -> float:
        """
        Note a wrong credential.

        @return: seconds by which its answer is to be held back; 0.0 beyond loopback.
        @raise LockedOut: on loopback, if L{MAX_DELAYED} answers are already being held back; then this one need not
            be, and costs neither a timer nor a connection.
        """
        limits = self._limits()
        if client.is_loopback and limits.exempt_loopback:
            delay_s = self._delay(client, limits)
            self._tell_guess(client)
            return delay_s
        bucket = self._note(client, limits)
        if len(bucket.failures) >= min(limits.max_attempts, MAX_FAILURES):
            bucket.locked_at = self._clock.seconds()
            self._tell_lockout(client, limits)
        else:
            self._tell_guess(client)
        return 0.0

    def _tell_guess(self, client: Client) -> None:
        self._rare.tell(log.warn, "a wrong credential from {address}", address=client.address or client.bucket)

    def _tell_lockout(self, client: Client, limits: RateLimitConfig) -> None:
        self._rare.tell(
            log.warn,
            "{address} is locked out for {lockout_s:g} s after {attempts} wrong credentials",
            address=client.address or client.bucket,
            lockout_s=limits.lockout_ms / 1000,
            attempts=limits.max_attempts,
        )

    def _delay(self, client: Client, limits: RateLimitConfig) -> float:
        now = self._clock.seconds()
        # The second condition drops times that a clock which was set back has left in the future.
        self._due = [due for due in self._due if now < due <= now + LONGEST_DELAY_S]
        heapq.heapify(self._due)
        if len(self._due) >= MAX_DELAYED:
            raise _locked_out(self._due[0] - now)
        bucket = self._note(client, limits)
        delay_s = min(FIRST_DELAY_S * 2.0 ** min(len(bucket.failures) - 1, 16), LONGEST_DELAY_S)
        heapq.heappush(self._due, now + delay_s)
        return delay_s

    def _note(self, client: Client, limits: RateLimitConfig) -> _Bucket:
        now = self._clock.seconds()
        window_s = limits.window_ms / 1000
        bucket = self._buckets.get(client.bucket)
        if bucket is None:
            bucket = self._buckets[client.bucket] = _Bucket()
        self._buckets.move_to_end(client.bucket)
        failures = bucket.failures
        failures.append(now)
        self._failure_count += 1
        while not 0 <= now - failures[0] < window_s:
            failures.popleft()
            self._failure_count -= 1
        self._trim(bucket)
        return bucket

    def _trim(self, newest: _Bucket) -> None:
        while len(self._buckets) > MAX_BUCKETS or (self._failure_count > MAX_FAILURES and len(self._buckets) > 1):
            self._forget(next(iter(self._buckets)))
        while self._failure_count > MAX_FAILURES:
            newest.failures.popleft()
            self._failure_count -= 1

    def _forget(self, name: str) -> None:
        self._failure_count -= len(self._buckets.pop(name).failures)


def _locked_out(remaining_s: float) -> LockedOut:
    retry_after_s = max(1, math.ceil(remaining_s))
    return LockedOut(
        f"too many failed authentication attempts from this address; try again in {retry_after_s} s",
        retry_after_s=retry_after_s,
    )
