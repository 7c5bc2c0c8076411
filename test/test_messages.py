"""Tests of L{openclaw.messages}."""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from openclaw.messages import Message, Usage, estimate_tokens


class MessageTests(SynchronousTestCase):
    def test_is_a_value(self) -> None:
        self.assertEqual(Message("user", "x"), Message("user", "x"))
        self.assertRaises(attrs.exceptions.FrozenInstanceError, setattr, Message("user", "x"), "text", "y")


class UsageTests(SynchronousTestCase):
    def test_total(self) -> None:
        self.assertEqual(7, Usage(3, 4, 2, 1).total_tokens)

    def test_sum(self) -> None:
        self.assertEqual(Usage(4, 6, 8, 10), Usage(1, 2, 3, 4) + Usage(3, 4, 5, 6))
        self.assertEqual(Usage(2, 2, 3, None), Usage(1, 1, 3) + Usage(1, 1))
        self.assertEqual(Usage(2, 2, None, 3), Usage(1, 1) + Usage(1, 1, None, 3))
        self.assertEqual(Usage(), Usage() + Usage())

    def test_estimated_if_a_part_is(self) -> None:
        self.assertTrue((Usage(estimated=True) + Usage()).estimated)
        self.assertTrue((Usage() + Usage(estimated=True)).estimated)
        self.assertFalse((Usage() + Usage()).estimated)

    def test_estimate(self) -> None:
        self.assertEqual([0, 1, 1, 2], [estimate_tokens(characters) for characters in (0, 1, 4, 5)])
