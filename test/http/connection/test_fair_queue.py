"""Tests for L{openclaw.http.connection.fair_queue}."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from openclaw.http.connection.fair_queue import FairQueue


class Worker:
    """Goes on as often as it is told to."""

    def __init__(self, queue: FairQueue, name: str, parts: int, done: list[str]) -> None:
        self.queue, self.name, self.parts, self.done = queue, name, parts, done

    def go_on(self) -> None:
        """Do one part."""
        self.done.append(self.name)
        self.parts -= 1
        if self.parts:
            self.queue.ask(self)


class FairQueueTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.queue = FairQueue(self.clock)
        self.done: list[str] = []

    def worker(self, name: str, parts: int) -> Worker:
        worker = Worker(self.queue, name, parts, self.done)
        self.queue.ask(worker)
        return worker

    def test_one_after_another(self) -> None:
        for name, parts in (("a", 3), ("b", 1), ("c", 2)):
            self.worker(name, parts)
        self.assertEqual((self.done, len(self.clock.getDelayedCalls())), ([], 1))
        self.clock.advance(0)
        self.assertEqual("".join(self.done), "abcaca")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_asking_twice_keeps_the_place(self) -> None:
        first = self.worker("a", 1)
        self.worker("b", 1)
        self.queue.ask(first)
        self.clock.advance(0)
        self.assertEqual(self.done, ["a", "b"])

    def test_leaving(self) -> None:
        first, second = self.worker("a", 1), self.worker("b", 1)
        self.assertIn(first, self.queue)
        self.queue.leave(first)
        self.queue.leave(first)
        self.assertNotIn(first, self.queue)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.queue.leave(second)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.worker("c", 1)
        self.clock.advance(0)
        self.assertEqual(self.done, ["c"])

    def test_a_bug_in_one_does_not_stop_the_others(self) -> None:
        broken = self.worker("a", 1)
        self.worker("b", 1)
        broken.turns = broken.done = None  # type: ignore[assignment]
        self.assertRaises(AttributeError, self.clock.advance, 0)
        self.clock.advance(0)
        self.assertEqual(self.done, ["b"])
