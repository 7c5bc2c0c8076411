"""Tests of L{openclaw.agents.share_queue}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from openclaw.agents.share_queue import ShareQueue


class ShareQueueTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.queue: ShareQueue[str] = ShareQueue()

    def push(self, *items: str) -> None:
        """Each belongs to the share that its first letter names."""
        for item in items:
            self.queue.push(item[0], item)

    def all(self) -> list[str]:
        popped = []
        while self.queue:
            popped.append(self.queue.pop())
        return popped

    def test_shares_take_turns(self) -> None:
        self.push("a1", "a2", "a3", "b1", "b2", "c1")
        self.assertEqual(["a1", "b1", "c1", "a2", "b2", "a3"], self.all())

    def test_who_comes_later(self) -> None:
        self.push("a1", "a2", "a3", "b1")
        self.assertEqual("a1", self.queue.pop())
        self.push("c1", "b2")
        self.assertEqual(["b1", "a2", "c1", "b2", "a3"], self.all())

    def test_remove(self) -> None:
        self.push("a1", "a2", "b1")
        self.queue.remove("b", "b1")
        self.queue.remove("a", "a1")
        self.assertEqual(["a2"], self.all())
        self.assertFalse(self.queue)
