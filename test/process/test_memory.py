"""Tests of L{openclaw.process.memory}."""

import gc
import resource
from typing import Any
from unittest import mock

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from openclaw.process.memory import (
    IDLE_COLLECTION_S,
    LOOK_INTERVAL_S,
    MIN_PASSES,
    Collector,
    raise_descriptor_limit,
)


class CollectorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.collected: list[float] = []
        self.rests = self.live = self.passes = 0
        self.clock = Clock()
        self.patch(gc, "collect", lambda: self.collected.append(self.clock.seconds()))
        self.patch(gc, "get_count", lambda: (0, 0, self.passes))
        self.collector = Collector(self.clock, lambda: self.live, self.rest)
        self.collector.stop()
        self.collector.start()
        self.addCleanup(lambda: self.assertEqual([], self.clock.getDelayedCalls()))
        self.addCleanup(self.collector.stop)

    def rest(self) -> None:
        self.rests += 1

    def look(self, times: int = 1) -> None:
        self.clock.pump([LOOK_INTERVAL_S] * times)

    def test_while_idle(self) -> None:
        self.look(int(3 * IDLE_COLLECTION_S / LOOK_INTERVAL_S))
        self.assertEqual([IDLE_COLLECTION_S * times for times in (1, 2, 3)], self.collected)
        self.assertEqual(3 * IDLE_COLLECTION_S / LOOK_INTERVAL_S, self.rests)

    def test_a_busy_gateway_collects_when_it_is_worth_it(self) -> None:
        self.live, self.passes = 16, MIN_PASSES + 15
        self.look(100)
        self.assertEqual(([], 0), (self.collected, self.rests))
        self.passes += 1
        self.look()
        self.assertEqual([self.clock.seconds()], self.collected)

    def test_a_clock_that_was_set_back(self) -> None:
        self.look(int(IDLE_COLLECTION_S / LOOK_INTERVAL_S))
        self.clock.rightNow -= 86_400
        (call,) = self.clock.getDelayedCalls()
        call.reset(LOOK_INTERVAL_S)
        self.look()
        self.assertEqual(2, len(self.collected))


class DescriptorLimitTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.set: list[Any] = []
        self.patch(resource, "getrlimit", lambda which: (10, 20))

    def test_goes_up(self) -> None:
        self.patch(resource, "setrlimit", lambda which, limits: self.set.append((which, limits)))
        raise_descriptor_limit()
        self.assertEqual(self.set, [(resource.RLIMIT_NOFILE, (20, 20))])

    def test_is_up(self) -> None:
        self.patch(resource, "getrlimit", lambda which: (20, 20))
        self.patch(resource, "setrlimit", lambda which, limits: self.set.append(limits))
        raise_descriptor_limit()
        self.assertEqual(self.set, [])

    def test_may_not(self) -> None:
        self.patch(resource, "setrlimit", mock.Mock(side_effect=ValueError("exceeds maximum limit")))
        raise_descriptor_limit()
