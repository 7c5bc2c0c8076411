"""Tests of L{openclaw.methods.recent}."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from openclaw.methods.recent import Recent


class RecentTests(SynchronousTestCase):
    """What is kept, and for how long."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.recent: Recent[str, str] = Recent(self.clock, keep_s=10, max_entries=3, max_size=100)

    def put(self, keys: str, size: int = 1) -> None:
        """Keep a value for each letter."""
        for key in keys:
            self.recent.put(key, key.upper(), size)

    def kept(self) -> str:
        """The letters that are kept."""
        return "".join(key for key in "abcdef" if self.recent.get(key) is not None)

    def test_expiry(self) -> None:
        """A value goes when its time is over."""
        self.put("a")
        self.clock.advance(9)
        self.put("b")
        self.assertEqual("A", self.recent.get("a"))
        self.clock.advance(1)
        self.assertEqual("b", self.kept())
        self.assertEqual(1, len(self.recent))

    def test_oldest_first(self) -> None:
        """More than there may be: the oldest goes."""
        self.put("abcd")
        self.assertEqual("bcd", self.kept())

    def test_size(self) -> None:
        """More than fits: the oldest go; what fits in no case is not kept."""
        self.put("ab", 40)
        self.put("c", 50)
        self.assertEqual("bc", self.kept())
        self.put("d", 101)
        self.assertEqual("bc", self.kept())
        self.put("e", 100)
        self.assertEqual("e", self.kept())

    def test_again(self) -> None:
        """A key that is put again is new, and its size counts once."""
        self.put("a", 60)
        self.put("b", 1)
        self.put("a", 60)
        self.assertEqual("ab", self.kept())
        self.put("cd")
        self.assertEqual("acd", self.kept())

    def test_clock_set_back(self) -> None:
        """A clock that is set back does not keep a value for years."""
        self.clock.advance(1000)
        self.put("a")
        self.clock.rightNow = 0.0
        self.assertEqual("", self.kept())
