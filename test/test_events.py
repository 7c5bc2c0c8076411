"""Tests of L{openclaw.events}."""

from __future__ import annotations

from typing import get_args

import attrs
from twisted.trial.unittest import SynchronousTestCase

from openclaw import events
from openclaw.events import (
    BusEvent,
    EventBus,
    ProviderEvent,
    RunBegan,
    RunEvent,
    RunFailed,
    RunFinished,
    RunInfo,
    RunTold,
)


class EventTests(SynchronousTestCase):
    def test_kinds(self) -> None:
        provider, run = set(get_args(ProviderEvent)), set(get_args(RunEvent))
        self.assertEqual({RunFinished, RunFailed}, run - provider)
        told = {kind for kind in vars(events).values() if isinstance(kind, type) and kind.__name__.endswith("Delta")}
        self.assertEqual(told, run & provider)

    def test_are_frozen(self) -> None:
        self.assertRaises(attrs.exceptions.FrozenInstanceError, setattr, events.TextDelta("x"), "text", "y")


INFO = RunInfo("run_1", "shown", "main", "agent:main:k", "p/m", "webchat")
BEGAN = RunBegan(INFO, (), 1)


class BusTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.bus = EventBus()
        self.heard: list[BusEvent] = []

    def test_all_hear_in_order(self) -> None:
        self.assertFalse(self.bus.has_listeners)
        also: list[BusEvent] = []
        self.bus.subscribe(self.heard.append)
        self.bus.subscribe(also.append)
        told = RunTold(INFO, (events.TextDelta("x"),))
        self.bus.publish(BEGAN)
        self.bus.publish(told)
        self.assertEqual(([BEGAN, told], [BEGAN, told]), (self.heard, also))

    def test_unsubscribed(self) -> None:
        """Each subscription ends by itself, and once."""
        first, second = self.bus.subscribe(self.heard.append), self.bus.subscribe(self.heard.append)
        first()
        first()
        self.bus.publish(BEGAN)
        self.assertEqual([BEGAN], self.heard)
        second()
        self.bus.publish(BEGAN)
        self.assertEqual(([BEGAN], False), (self.heard, self.bus.has_listeners))

    def test_failing_listener(self) -> None:
        """It is logged and concerns nobody else."""
        self.bus.subscribe(lambda event: 1 / 0)
        self.bus.subscribe(self.heard.append)
        self.bus.publish(BEGAN)
        self.assertEqual([BEGAN], self.heard)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_who_leaves_while_it_hears(self) -> None:
        leave = self.bus.subscribe(lambda event: leave())
        self.bus.subscribe(self.heard.append)
        self.bus.publish(BEGAN)
        self.bus.publish(BEGAN)
        self.assertEqual([BEGAN, BEGAN], self.heard)
