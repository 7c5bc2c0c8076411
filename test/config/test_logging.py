"""Tests of L{openclaw.config.logging}."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from openclaw.config.load import parse_config
from openclaw.config.logging import LoggingConfig
from openclaw.errors import ConfigError


def parsed(**section: Any) -> LoggingConfig:
    """A section that is right."""
    return parse_config({"logging": section}, {})[0].logging


class LoggingConfigTests(SynchronousTestCase):
    def test_defaults(self) -> None:
        section = parsed()
        self.assertEqual((section.level, section.level_on_console, section.console_style), ("info", "info", "pretty"))
        self.assertEqual((section.max_file_bytes, section.patterns), (100 * 1024 * 1024, ()))

    def test_values(self) -> None:
        section = parsed(
            level="info,http=debug",
            consoleLevel="silent",
            consoleStyle="json",
            maxFileBytes=1_000_000,
            redactPatterns=["corp-(\\d+)", "/x+y/i"],
        )
        self.assertEqual((section.level_on_console, section.console_style), ("silent", "json"))
        self.assertEqual([pattern.pattern for pattern in section.patterns], ["corp-(\\d+)", "x+y"])
        self.assertEqual(parsed(level="debug").level_on_console, "debug")

    def test_settings_of_the_original(self) -> None:
        _, warnings = parse_config({"logging": {"file": "/x", "redactSensitive": "tools", "audit": {}}}, {})
        self.assertIn("logging.file", " ".join(warnings))

    def test_wrong_values(self) -> None:
        for section, problem in (
            ({"level": "loud"}, "logging.level: unknown log level 'loud'"),
            ({"consoleLevel": "info,a b=warn"}, "logging.consoleLevel: 'a b' is no part of the gateway"),
            ({"consoleStyle": "fancy"}, "logging.consoleStyle: expected one of"),
            ({"maxFileBytes": 5}, "logging.maxFileBytes: must be between"),
            ({"redactPatterns": ["ok", "("]}, "logging.redactPatterns.1: is no regular expression"),
            ({"redactPatterns": ["(a+)+b"]}, "logging.redactPatterns.0: takes too long"),
            ({"redactPatterns": ["a"] * 51}, "logging.redactPatterns: must have at most 50 patterns"),
            ({"redactPattern": []}, 'logging: unknown key "redactPattern"'),
        ):
            error = self.assertRaises(ConfigError, parsed, **section)
            self.assertIn(problem, error.message)
