"""Tests of L{openclaw.store.inline}."""

from __future__ import annotations

import sqlite3

from twisted.trial.unittest import SynchronousTestCase

from openclaw.errors import StoreError
from openclaw.store.inline import InlineStoreThread

from .connections import insert, open_faulty, values


class InlineStoreThreadTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.connection = open_faulty()
        self.store = InlineStoreThread(lambda: self.connection)

    def test_runs_at_once(self) -> None:
        self.successResultOf(self.store.start())
        self.assertTrue(self.store.alive)
        self.assertEqual(self.successResultOf(self.store.run_write(insert(1))), 1)
        self.assertEqual(self.successResultOf(self.store.run_read(values)), [1])
        self.assertIn("COMMIT", self.connection.statements)
        self.failureResultOf(self.store.run_write(insert(1)), StoreError)

    def test_closed(self) -> None:
        self.failureResultOf(self.store.run_read(values), StoreError)
        self.successResultOf(self.store.start())
        self.successResultOf(self.store.close())
        self.assertFalse(self.store.alive)
        self.assertRaises(sqlite3.ProgrammingError, self.connection.execute, "SELECT 1")
        self.failureResultOf(self.store.run_write(insert(1)), StoreError)
        self.successResultOf(self.store.close())

    def test_open_fails(self) -> None:
        def refuse() -> sqlite3.Connection:
            raise LookupError

        self.failureResultOf(InlineStoreThread(refuse).start(), LookupError)
