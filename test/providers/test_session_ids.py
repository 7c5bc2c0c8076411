"""Tests of L{openclaw.providers.session_ids}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from openclaw.providers.session_ids import session_ids


class SessionIdTests(SynchronousTestCase):
    def test_names(self) -> None:
        """The same for one key and secret, another for each other one, and nothing of the key is in it."""
        name_of, other = session_ids(b"1" * 32), session_ids(b"2" * 32)
        name = name_of("agent:main:user:anna")
        self.assertRegex(name, r"\A[0-9a-f]{64}\Z")
        self.assertEqual(name, session_ids(b"1" * 32)("agent:main:user:anna"))
        self.assertEqual(3, len({name, name_of("agent:main:user:bob"), other("agent:main:user:anna")}))

    def test_any_key(self) -> None:
        """A key may hold anything."""
        self.assertNotEqual(session_ids(b"1")("ä\ud800"), session_ids(b"1")("ä\ud801"))
