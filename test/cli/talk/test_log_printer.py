"""Tests of L{openclaw.cli.talk.log_printer}."""

import os
import time
from unittest import mock

from openclaw.cli.talk.log_printer import parse_line, shown_time
from test.cli.gateway_fake import RemoteTestCase


class LineTests(RemoteTestCase):
    def test_none(self) -> None:
        for raw in ("", "x", "[]", "{}", "[" * 100_000):
            self.assertIsNone(parse_line(raw))

    def test_little_known(self) -> None:
        self.assertEqual(parse_line('{"message":5,"0":"x"}'), {"level": "info", "message": "5"})
        self.assertEqual(parse_line('{"message":"m","0":"[]"}'), {"level": "info", "message": "m"})

    def test_times(self) -> None:
        with mock.patch.dict(os.environ, {"TZ": "UTC-3"}):
            time.tzset()
            self.assertEqual(shown_time("2026-11-22T20:00:27Z", utc=False), "2026-11-22 23:00:27")
            self.assertEqual(shown_time("2026-11-22T20:00:27+03:00", utc=True), "2026-11-22 17:00:27Z")
        time.tzset()
        self.assertEqual(shown_time("odd\x1b", utc=True), "odd")
        self.assertEqual(shown_time("0001-01-01T00:00:00+23:00", utc=True), "0001-01-01T00:00:00+23:00")
        self.assertEqual(shown_time(None, utc=True), "")
