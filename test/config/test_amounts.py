"""Tests of L{openclaw.config.amounts}, and of the section that uses it."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from openclaw.config.amounts import Duration, Size
from openclaw.config.schema import Config
from openclaw.config.session import MaintenanceConfig
from openclaw.config.structure import structure
from openclaw.errors import ConfigError


class AmountTests(SynchronousTestCase):
    def test_durations(self) -> None:
        for text, seconds in (
            ("30d", 2_592_000),
            ("12h", 43_200),
            ("1.5 m", 90),
            ("250ms", 0.25),
            (2, 172_800),
            ("7", 604_800),
        ):
            self.assertEqual(Duration.parse(text).seconds, seconds, text)
        for none in (False, 0, "0", "0d"):
            self.assertIsNone(Duration.parse(none).seconds, none)

    def test_sizes(self) -> None:
        for text, size in (("10gb", 10 * 1024**3), ("500 MB", 500 * 1024**2), (7, 7), ("1k", 1024)):
            self.assertEqual(Size.parse(text).bytes, size, text)
        self.assertIsNone(Size.parse(False).bytes)

    def test_nonsense(self) -> None:
        for value in ("", "d", "-1d", "1 fortnight", True, None, [], {}, "1e9d", "9" * 40, float("nan"), float("inf")):
            self.assertRaises(ValueError, Duration.parse, value)
            self.assertRaises(ValueError, Size.parse, value)


class MaintenanceTests(SynchronousTestCase):
    def maintenance(self, **document: Any) -> MaintenanceConfig:
        return structure({"session": {"maintenance": document}}, Config).session.maintenance

    def test_read(self) -> None:
        read = self.maintenance(mode="warn", pruneAfter="7d", maxEntries=9, maxDiskBytes=False, highWaterBytes="1mb")
        self.assertEqual(read, MaintenanceConfig("warn", Duration(604_800), 9, Size(None), Size(1024**2)))
        self.assertEqual(self.maintenance(), MaintenanceConfig())

    def test_problems_are_named(self) -> None:
        error = self.assertRaises(ConfigError, self.maintenance, pruneAfter="soon", maxDiskBytes="-3")
        self.assertEqual(
            error.problems,
            (
                'session.maintenance.pruneAfter: expected a duration like "30d", "12h" or "90m", or false,'
                ' got a string ("soon")',
                'session.maintenance.maxDiskBytes: expected a size like "10gb" or "500mb", or false,'
                ' got a string ("-3")',
            ),
        )
