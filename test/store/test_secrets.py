"""Tests of L{openclaw.store.secrets}."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from openclaw.store.secrets import SECRET_BYTES, own_secret
from openclaw.store.sqlite import open_database
from openclaw.store.store import GatewayStore


class SecretTests(SynchronousTestCase):
    def test_made_once(self) -> None:
        """A name has one secret, also after the file was closed; another name and another store have others."""
        path = Path(self.mktemp()) / "s.sqlite"
        with closing(open_database(path)) as connection:
            first = own_secret(connection, "a")
            self.assertEqual(SECRET_BYTES, len(first))
            self.assertNotEqual(first, own_secret(connection, "b"))
        with closing(open_database(path)) as connection:
            self.assertEqual(first, own_secret(connection, "a"))
        other = self.successResultOf(GatewayStore.in_memory().secret("a"))
        self.assertNotEqual(first, other)
