"""Tests of L{openclaw.providers.keys}."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from openclaw.errors import OpenClawError, ProviderAuthFailed, ProviderRateLimited
from openclaw.providers.keys import KeyedProvider, KeyRing
from openclaw.providers.scripted import ScriptedProvider
from test.providers.http_fakes import REQUEST

WRONG = ProviderAuthFailed("401")


class KeyRingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.ring = KeyRing(self.clock)

    def test_order(self) -> None:
        """The first key is used as long as nothing is known against it."""
        self.assertEqual("a", self.ring.choose(("a", "b")))
        self.assertEqual("b", self.ring.choose(("a", "b"), {"a"}))
        self.assertIsNone(self.ring.choose(("a", "b"), {"a", "b"}))

    def test_set_aside(self) -> None:
        """A refused key comes after the others for a minute, and is never out of use."""
        self.ring.set_aside("a")
        self.assertEqual(("b", "a"), (self.ring.choose(("a", "b")), self.ring.choose(("a",))))
        self.clock.advance(59)
        self.assertEqual("b", self.ring.choose(("a", "b")))
        self.clock.advance(1)
        self.assertEqual("a", self.ring.choose(("a", "b")))

    def test_all_set_aside(self) -> None:
        """Then it is the one whose time is up soonest."""
        self.ring.set_aside("a")
        self.clock.advance(1)
        self.ring.set_aside("b", 30)
        self.assertEqual("b", self.ring.choose(("a", "b")))
        self.ring.set_aside("b", 3600)
        self.assertEqual("a", self.ring.choose(("a", "b")))

    def test_forgets(self) -> None:
        """Keys whose time is up are forgotten."""
        for number in range(100):
            self.ring.set_aside(str(number))
            self.clock.advance(10)
        self.assertLessEqual(len(self.ring), 7)


class KeyedProviderTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.ring = KeyRing(self.clock)
        self.used: list[str] = []

    def provider(self, *keys: str) -> KeyedProvider:
        def with_key(key: str) -> ScriptedProvider:
            self.used.append(key)
            return ScriptedProvider()

        return KeyedProvider("mock", self.ring, keys, with_key)

    def ask(self, provider: KeyedProvider, *errors: OpenClawError) -> list[bool]:
        left = []
        for error in errors:
            provider.stream(REQUEST)
            left.append(provider.refused(error))
        return left

    def test_rotates(self) -> None:
        """Each refused key gives way to the next, until all were tried."""
        provider = self.provider("a", "b", "c")
        self.assertEqual([True, True, False], self.ask(provider, WRONG, WRONG, WRONG))
        self.assertEqual(["a", "b", "c"], self.used)

    def test_keeps_its_key(self) -> None:
        """A run that calls more than once uses what worked."""
        provider = self.provider("a", "b")
        self.ask(provider, WRONG)
        provider.stream(REQUEST)
        provider.stream(REQUEST)
        self.assertEqual(["a", "b", "b"], self.used)

    def test_log(self) -> None:
        """Which key it was is told by its place, never by itself."""
        told: list[LogEvent] = []
        globalLogPublisher.addObserver(told.append)
        self.addCleanup(globalLogPublisher.removeObserver, told.append)
        self.ask(self.provider("sk-first", "sk-second"), WRONG)
        self.assertEqual(
            ["key 1 of 2 of the provider mock was refused; the others are used first: 401"],
            [formatEvent(event) for event in told],
        )
        self.assertNotIn("sk-first", repr(told))

    def test_next_run(self) -> None:
        """The next run begins with the key that works, and one later with the first again."""
        self.ask(self.provider("a", "b"), WRONG)
        self.provider("a", "b").stream(REQUEST)
        self.clock.advance(60)
        self.provider("a", "b").stream(REQUEST)
        self.assertEqual(["a", "b", "a"], self.used)

    def test_shorter_wait(self) -> None:
        """A key that is only used too fast is set aside as long as its server says."""
        self.ask(self.provider("a", "b"), ProviderRateLimited("429", retry_after_s=7.0))
        self.clock.advance(7)
        self.provider("a", "b").stream(REQUEST)
        self.assertEqual(["a", "a"], self.used)

    def test_after_all_were_refused(self) -> None:
        """A retry uses the one whose time is up soonest; one that was refused twice is noted once."""
        provider = self.provider("a", "b")
        limited = [ProviderRateLimited("429", retry_after_s=seconds) for seconds in (7.0, 3.0)]
        self.assertEqual([True, False, False], self.ask(provider, *limited, WRONG))
        self.assertEqual(["a", "b", "b"], self.used)
        self.assertFalse(provider.refused(WRONG), "no key was used since")
