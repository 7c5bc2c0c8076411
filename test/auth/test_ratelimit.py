"""Tests for L{openclaw.auth.ratelimit}."""

from __future__ import annotations

import tracemalloc
from ipaddress import IPv4Address
from typing import Any

import attrs
from twisted.internet.task import Clock
from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from openclaw.auth import ratelimit
from openclaw.auth.client import LOCAL_CLIENT, Client, client_of_peer
from openclaw.auth.ratelimit import MAX_BUCKETS, MAX_DELAYED, FailureLimiter
from openclaw.errors import LockedOut
from openclaw.log_rare import TOLD_EVERY_S, RareLines


@attrs.frozen
class FixedLimits:
    """Limits with the defaults of the contract."""

    max_attempts: int = 10
    window_ms: int = 60_000
    lockout_ms: int = 300_000
    exempt_loopback: bool = True


REMOTE = client_of_peer("203.0.113.7")
LOOPBACK = client_of_peer("127.0.0.1")


class LimiterTestCase(SynchronousTestCase):
    """A limiter on a clock that stands still."""

    def setUp(self) -> None:
        """Make a limiter with the default limits."""
        self.clock = Clock()
        self.clock.advance(1_000_000.0)
        self.limits = FixedLimits()
        self.limiter = FailureLimiter(self.clock, lambda: self.limits)

    def guess(self, client: Client, times: int = 1) -> list[float]:
        """Present wrong credentials."""
        delays = []
        for _ in range(times):
            self.limiter.check(client)
            delays.append(self.limiter.failed(client))
        return delays

    def locked_for(self, client: Client) -> float | None:
        """Seconds that a client is told to wait; L{None} if it is not locked out."""
        try:
            self.limiter.check(client)
        except LockedOut as error:
            self.assertEqual((error.http_status, error.wire_type), (429, "rate_limited"))
            self.assertEqual(error.code, "too_many_auth_failures")
            self.assertFalse(error.retry_useless)
            self.assertIn(f"{error.retry_after_s} s", error.message)
            return error.retry_after_s
        return None


class LockoutTests(LimiterTestCase):
    """Beyond loopback (checklist 4, 5)."""

    def test_tenth_failure_locks(self) -> None:
        """The tenth failure within the window locks out, and not the ninth; no answer is held back."""
        self.assertEqual(self.guess(REMOTE, 9), [0.0] * 9)
        self.assertIsNone(self.locked_for(REMOTE))
        self.assertEqual(self.guess(REMOTE), [0.0])
        self.assertEqual(self.locked_for(REMOTE), 300)

    def test_only_that_client(self) -> None:
        """Other clients, loopback too, are not touched."""
        self.guess(REMOTE, 10)
        for peer in ("203.0.113.8", "::1", "2001:db8::1", None):
            self.assertIsNone(self.locked_for(client_of_peer(peer)))

    def test_one_bucket(self) -> None:
        """All spellings of an address, and all addresses of a /64, fill one bucket."""
        for peers in (
            ("1.2.3.4", "::ffff:1.2.3.4", "::ffff:102:304"),
            ("2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::"),
        ):
            for number in range(10):
                self.guess(client_of_peer(peers[number % 3]))
            self.assertEqual([self.locked_for(client_of_peer(peer)) for peer in peers], [300] * 3)

    def test_end(self) -> None:
        """A lockout ends after its time and not before; then the count begins anew."""
        self.guess(REMOTE, 10)
        self.clock.advance(299.5)
        self.assertEqual(self.locked_for(REMOTE), 1)
        self.clock.advance(0.5)
        self.assertIsNone(self.locked_for(REMOTE))
        self.assertEqual(len(self.limiter), 0)
        self.guess(REMOTE, 9)
        self.assertIsNone(self.locked_for(REMOTE))

    def test_whole_seconds(self) -> None:
        """What is left is told in whole seconds, rounded up."""
        self.guess(REMOTE, 10)
        self.clock.advance(0.25)
        waiting = self.locked_for(REMOTE)
        self.assertEqual((waiting, type(waiting)), (300, int))
        self.clock.advance(100)
        self.assertEqual(self.locked_for(REMOTE), 200)

    def test_window_slides(self) -> None:
        """Failures count for the window each: no pause at a window's border doubles the number of guesses."""
        self.guess(REMOTE, 1)
        self.clock.advance(59)
        self.guess(REMOTE, 8)
        self.clock.advance(1)
        self.guess(REMOTE, 1)
        self.assertIsNone(self.locked_for(REMOTE))
        self.guess(REMOTE, 1)
        self.assertEqual(self.locked_for(REMOTE), 300)

    def test_slow_failures(self) -> None:
        """Somebody who is wrong every seven seconds is never locked out."""
        for _ in range(50):
            self.guess(REMOTE)
            self.clock.advance(7)
        self.assertIsNone(self.locked_for(REMOTE))

    def test_own_numbers(self) -> None:
        """The numbers of the configuration count, and a change of them at once."""
        self.limits = FixedLimits(max_attempts=3, window_ms=500, lockout_ms=20_000)
        self.guess(REMOTE, 2)
        self.clock.advance(0.5)
        self.guess(REMOTE, 2)
        self.assertIsNone(self.locked_for(REMOTE))
        self.guess(REMOTE)
        self.assertEqual(self.locked_for(REMOTE), 20)
        self.clock.advance(5)
        self.limits = FixedLimits(lockout_ms=5_000)
        self.assertIsNone(self.locked_for(REMOTE))

    def test_clock_set_back(self) -> None:
        """A clock that is set back neither lengthens a lockout nor keeps failures for ever."""
        self.guess(REMOTE, 10)
        self.clock.rightNow -= 86_400
        self.assertIsNone(self.locked_for(REMOTE))
        self.guess(REMOTE, 5)
        self.clock.rightNow -= 86_400
        self.guess(REMOTE, 9)
        self.assertIsNone(self.locked_for(REMOTE))

    def test_loopback_not_exempt(self) -> None:
        """With C{exemptLoopback: false} this machine is locked out too, and not slowed down."""
        self.limits = FixedLimits(max_attempts=3, exempt_loopback=False)
        self.assertEqual(self.guess(LOOPBACK, 3), [0.0] * 3)
        for peer in ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", None):
            self.assertEqual(self.locked_for(client_of_peer(peer)), 300)
        self.assertIsNone(self.locked_for(REMOTE))
        self.limits = FixedLimits()
        self.assertIsNone(self.locked_for(LOOPBACK))


class DelayTests(LimiterTestCase):
    """On loopback (checklist 4)."""

    def test_doubling(self) -> None:
        """A wrong credential is answered after 250 ms, then twice that, at most 5 s; nobody is ever locked out."""
        self.assertEqual(self.guess(LOOPBACK, 7), [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0])
        self.clock.advance(20)
        self.guess(LOOPBACK, 30)
        self.assertIsNone(self.locked_for(LOOPBACK))

    def test_one_machine(self) -> None:
        """All loopback addresses and unix sockets are slowed down together."""
        clients = [client_of_peer("127.0.0.1"), client_of_peer("127.1.2.3"), client_of_peer("::1"), LOCAL_CLIENT]
        self.assertEqual([self.guess(client)[0] for client in clients], [0.25, 0.5, 1.0, 2.0])

    def test_decay(self) -> None:
        """The doubling is forgotten with the window."""
        self.guess(LOOPBACK, 3)
        self.clock.advance(30)
        self.assertEqual(self.guess(LOOPBACK), [2.0])
        self.clock.advance(30)
        self.assertEqual(self.guess(LOOPBACK), [0.5])
        self.clock.advance(60)
        self.assertEqual(self.guess(LOOPBACK), [0.25])

    def test_bounded(self) -> None:
        """Beyond a number of answers that are held back the next ones are refused at once, until one is due."""
        self.guess(LOOPBACK, MAX_DELAYED)
        error = self.assertRaises(LockedOut, self.limiter.failed, LOOPBACK)
        self.assertEqual((error.http_status, error.retry_after_s), (429, 1))
        self.assertIsNone(self.locked_for(LOOPBACK))
        self.clock.advance(0.25)
        self.assertEqual(self.guess(LOOPBACK), [5.0])
        self.assertRaises(LockedOut, self.limiter.failed, LOOPBACK)
        self.clock.advance(5)
        self.assertEqual(len(self.guess(LOOPBACK, MAX_DELAYED)), MAX_DELAYED)
        self.assertEqual(self.assertRaises(LockedOut, self.limiter.failed, LOOPBACK).retry_after_s, 5)

    def test_refused_not_counted(self) -> None:
        """What is refused at once is not remembered, so a flood costs nothing."""
        self.guess(LOOPBACK, MAX_DELAYED)
        for _ in range(10_000):
            self.assertRaises(LockedOut, self.limiter.failed, LOOPBACK)
        self.clock.advance(59.99)
        self.guess(LOOPBACK)
        self.clock.advance(0.02)
        self.assertEqual(self.guess(LOOPBACK), [0.5])

    def test_clock_set_back(self) -> None:
        """Answers due in a far future, after the clock was set back, hold no place."""
        self.guess(LOOPBACK, MAX_DELAYED)
        self.clock.rightNow -= 3600
        self.assertEqual(len(self.guess(LOOPBACK)), 1)


class LogTests(LimiterTestCase):
    """What the log is told."""

    def setUp(self) -> None:
        """Watch the log."""
        super().setUp()
        self.rare = RareLines(self.clock.seconds)
        self.rare.start(self.clock)
        self.limiter = FailureLimiter(self.clock, lambda: self.limits, self.rare)
        self.events: list[Any] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

    def told(self) -> list[str]:
        """The lines since the last call, all of them warnings."""
        events = [event for event in self.events if event["log_namespace"] == "openclaw.auth.ratelimit"]
        self.events.clear()
        self.assertLessEqual({event["log_level"] for event in events}, {LogLevel.warn})
        return [formatEvent(event) for event in events]

    def test_lockout(self) -> None:
        """The first wrong credential and the lock-out are told, with the address; the refusals then are not."""
        self.guess(REMOTE, 10)
        for _ in range(100):
            self.assertIsNotNone(self.locked_for(REMOTE))
        self.assertEqual(
            self.told(),
            [
                "a wrong credential from 203.0.113.7",
                "203.0.113.7 is locked out for 300 s after 10 wrong credentials",
            ],
        )
        self.clock.advance(60)
        self.assertEqual(self.told(), ["a wrong credential from 203.0.113.7 (the last of 8 in 60 s)"])
        self.clock.advance(240)
        self.guess(REMOTE, 10)
        self.assertEqual(len(self.told()), 2)

    def test_once_a_minute(self) -> None:
        """On loopback, where nobody is locked out, and for a client that guesses slowly."""
        for client, address in ((LOOPBACK, "127.0.0.1"), (LOCAL_CLIENT, "loopback"), (REMOTE, REMOTE.address)):
            self.guess(client, 2)
            self.assertEqual(self.told(), [f"a wrong credential from {address}"])
            self.clock.advance(TOLD_EVERY_S - 1)
            self.guess(client)
            self.assertEqual(self.told(), [])
            self.clock.advance(1)
            self.assertEqual(self.told(), [f"a wrong credential from {address} (the last of 2 in 60 s)"])
            self.clock.advance(3600)

    def test_many_clients(self) -> None:
        """However many guess, there is a line a minute; guesses do not keep lock-outs out of the log."""
        self.limits = attrs.evolve(self.limits, max_attempts=2)
        clients = [client_of_peer(f"198.51.100.{number}") for number in range(40)]
        for _ in range(2):
            for client in clients:
                self.guess(client)
            self.assertEqual(len(self.told()), 1)
        self.clock.advance(TOLD_EVERY_S)
        self.assertEqual(
            self.told(),
            [
                "a wrong credential from 198.51.100.39 (the last of 39 in 60 s)",
                "198.51.100.39 is locked out for 300 s after 2 wrong credentials (the last of 39 in 60 s)",
            ],
        )

    def test_clock_set_back(self) -> None:
        """It does not silence the log."""
        self.guess(REMOTE)
        self.clock.rightNow -= 3600
        self.guess(REMOTE)
        self.assertEqual(len(self.told()), 2)


class MemoryTests(LimiterTestCase):
    """What a flood can make the limiter keep (checklist 7)."""

    def test_many_clients(self) -> None:
        """Tens of thousands of addresses leave no more than the bound, the last ones, in a few MB."""
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        before, _ = tracemalloc.get_traced_memory()
        for number in range(30_000):
            text = str(IPv4Address(0x0B000000 + number))
            self.limiter.failed(Client(text, text, False))
        after, _ = tracemalloc.get_traced_memory()
        self.assertEqual(len(self.limiter), MAX_BUCKETS)
        self.assertLess(after - before, 12_000_000)

    def test_oldest_goes_first(self) -> None:
        """The client whose last failure is oldest is forgotten; one that fails again stays."""
        self.patch(ratelimit, "MAX_BUCKETS", 2)
        self.limits = FixedLimits(max_attempts=2)
        a, b, c = (client_of_peer(f"10.0.0.{n}") for n in range(3))
        for client in (a, b, a, c):
            self.guess(client)
        self.assertEqual(len(self.limiter), 2)
        self.assertEqual(self.locked_for(a), 300)
        self.guess(b)
        self.assertIsNone(self.locked_for(b))

    def test_many_failures(self) -> None:
        """A huge C{maxAttempts} cannot make failures pile up: other clients' go first, then one's own oldest."""
        self.patch(ratelimit, "MAX_FAILURES", 20)
        self.limits = FixedLimits(max_attempts=1_000_000)
        self.guess(client_of_peer("10.0.0.1"), 15)
        self.guess(REMOTE, 6)
        self.assertEqual(len(self.limiter), 1)
        self.guess(REMOTE, 13)
        self.assertIsNone(self.locked_for(REMOTE))
        self.guess(REMOTE, 1)
        self.assertEqual(self.locked_for(REMOTE), 300)

    def test_own_failures_bounded(self) -> None:
        """One client alone cannot exceed the bound on loopback either."""
        self.patch(ratelimit, "MAX_FAILURES", 3)
        for _ in range(10):
            self.guess(LOOPBACK)
            self.clock.advance(6)
        self.assertEqual(self.guess(LOOPBACK), [1.0])
