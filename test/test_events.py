"""Tests of L{openclaw.events}."""

from __future__ import annotations

from typing import get_args

import attrs
from twisted.trial.unittest import SynchronousTestCase

from openclaw import events
from openclaw.events import ProviderEvent, RunEvent, RunFailed, RunFinished


class EventTests(SynchronousTestCase):
    def test_kinds(self) -> None:
        defined = {kind for kind in vars(events).values() if isinstance(kind, type) and attrs.has(kind)} - {
            events.Usage,
        }
        provider, run = set(get_args(ProviderEvent)), set(get_args(RunEvent))
        self.assertEqual(defined, provider | run)
        self.assertEqual({RunFinished, RunFailed}, run - provider)

    def test_are_frozen(self) -> None:
        self.assertRaises(attrs.exceptions.FrozenInstanceError, setattr, events.TextDelta("x"), "text", "y")
