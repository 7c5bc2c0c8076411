"""Tests of L{openclaw.store.health}."""

from __future__ import annotations

import sqlite3
from typing import Any

from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from openclaw.store.group import Incident
from openclaw.store.health import LASTING_S, TOLD_EVERY_S, StoreHealth

from .connections import sqlite_error

FULL = Incident("commit", sqlite_error(sqlite3.SQLITE_FULL, "disk is full"))


class StoreHealthTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.now_s = 100.0
        self.health = StoreHealth(lambda: self.now_s)
        self.events: list[Any] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

    def texts(self) -> list[str]:
        return [event["log_format"].format(**event) for event in self.events]

    def test_logged_with_details(self) -> None:
        self.health.note([FULL], False)
        (event,) = self.events
        self.assertEqual((event["step"], event["name"], event["reason"]), ("commit", "SQLITE_TEST", "disk is full"))
        self.assertEqual(event["log_level"].name, "error")

    def test_told_once_a_minute(self) -> None:
        for _ in range(1000):
            self.health.note([FULL], False)
        self.assertEqual(len(self.events), 1)
        self.now_s += TOLD_EVERY_S - 0.1
        self.health.note([FULL], False)
        self.assertEqual(len(self.events), 1)
        self.now_s += 0.1
        self.health.note([FULL], False)
        self.assertEqual(
            self.texts()[1],
            "store: commit failed: OperationalError SQLITE_TEST: disk is full (1000 more since the last such line)",
        )
        self.now_s += TOLD_EVERY_S
        self.health.note([FULL], False)
        self.assertEqual(self.texts()[2], self.texts()[0])

    def test_other_failures_are_told(self) -> None:
        self.health.note([FULL, Incident("write", FULL.error), Incident("read", UnicodeError("x"))])
        self.assertEqual(len(self.events), 3)

    def test_lasting(self) -> None:
        self.assertFalse(self.health.is_lasting)
        self.health.note([FULL], False)
        self.now_s += LASTING_S - 0.1
        self.assertFalse(self.health.is_lasting)
        self.health.note([FULL], False)
        self.now_s += 0.1
        self.assertTrue(self.health.is_lasting)
        self.health.note([], None)
        self.assertTrue(self.health.is_lasting)
        self.health.note([], True)
        self.assertFalse(self.health.is_lasting)
        self.assertEqual(self.texts()[1:], ["store: it can be written again, after 5 s"])
        self.health.note([FULL], False)
        self.assertEqual(len(self.events), 3)

    def test_now_and_then(self) -> None:
        """Where each second write fails neither the readiness nor the log goes back and forth."""
        for _ in range(20):
            self.health.note([FULL], False)
            self.now_s += 1
            self.assertFalse(self.health.is_lasting)
            self.health.note([], True)
        self.assertEqual(len(self.events), 1)

    def test_wellness_is_not_told(self) -> None:
        self.health.note([], True)
        self.assertEqual(self.events, [])
