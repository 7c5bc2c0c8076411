"""Tests of L{openclaw.wire}."""

from __future__ import annotations

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from openclaw.wire import CHANNEL_NAME, LONE_SURROGATE, MAX_PAYLOAD_BYTES, steps_of


class WireTests(SynchronousTestCase):
    def test_payload(self) -> None:
        self.assertEqual(MAX_PAYLOAD_BYTES, 26_214_400)

    def test_steps(self) -> None:
        for path, steps in (
            ("$", []),
            ("$.a", ["a"]),
            ("$.a[0].b", ["a", "0", "b"]),
            ("$[...].b", ["...", "b"]),
        ):
            self.assertEqual(steps_of(path), steps)

    def test_as_msgspec_writes_them(self) -> None:
        error = self.assertRaises(msgspec.ValidationError, msgspec.json.decode, b"[[1],[2,true]]", type=list[list[int]])
        self.assertEqual(steps_of(str(error)), ["1", "1"])

    def test_channels(self) -> None:
        for name, is_one in (("web.chat_1-2", True), ("", False), ("a b", False), ("é", False), ("a" * 65, False)):
            self.assertIs(CHANNEL_NAME.fullmatch(name) is not None, is_one, name)

    def test_surrogates(self) -> None:
        for text, has_one in (("é\U0001f600", False), ("a\ud800", True), ("\udfff", True)):
            self.assertIs(LONE_SURROGATE.search(text) is not None, has_one)
