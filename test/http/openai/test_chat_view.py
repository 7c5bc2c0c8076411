"""Tests of L{openclaw.http.openai.chat_view}; what a client sees of it is tested with the route."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from openclaw.http.openai.chat_view import encode_line, usage_object
from openclaw.messages import Usage


class EncodingTests(SynchronousTestCase):
    def test_lines(self) -> None:
        self.assertEqual(encode_line("a\u2028b\u2029c\x85dé"), rb'"a\u2028b\u2029c\u0085d' + 'é"'.encode())
        self.assertEqual(encode_line({"a": 1}), b'{"a":1}')
        # A backslash before one of them stays what it was.
        self.assertEqual(encode_line("\\\u2028"), rb'"\\\u2028"')

    def test_usage(self) -> None:
        self.assertEqual(usage_object(Usage(1, 2)), {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3})
        self.assertEqual(usage_object(Usage(1, 2, 0))["prompt_tokens_details"], {"cached_tokens": 0})
