"""Tests for L{openclaw.auth.head}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from openclaw.errors import InvalidRequest
from test.auth.heads import make_head


class RequestHeadTests(SynchronousTestCase):
    """What the accessors of a head give."""

    def test_single(self) -> None:
        """A header that was sent once comes without blanks, in any case of its name; an absent one is L{None}."""
        head = make_head(("ORIGIN", " https://a.example\t"))
        self.assertEqual(head.single(b"origin"), b"https://a.example")
        self.assertIsNone(head.single(b"authorization"))

    def test_repeated(self) -> None:
        """A header that must be single is refused when sent twice, equal or not, and the error names it."""
        for name in ("Authorization", "Host", "Origin", "Content-Length"):
            for second in ("a", "b"):
                head = make_head((name, "a"), (name.lower(), second), host=None)
                error = self.assertRaises(InvalidRequest, head.single, name.encode())
                self.assertEqual((error.http_status, error.param), (400, name))
                self.assertIn(name, error.message)

    def test_values(self) -> None:
        """All values of a header come in order; none of an absent one."""
        head = make_head(("X-A", "1"), ("x-a", "2"))
        self.assertEqual(list(head.values(b"X-A")), [b"1", b"2"])
        self.assertEqual(list(head.values(b"X-B")), [])
