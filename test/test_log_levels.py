"""Tests of L{openclaw.log_levels}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from openclaw.log_levels import LEVELS, Debugging, Levels, level_number


class LevelsTests(SynchronousTestCase):
    def written(self, text: str, subsystem: str) -> list[str]:
        levels = Levels.parse(text)
        return [level for level in LEVELS if level != "silent" and levels.admits(subsystem, level)]

    def test_table(self) -> None:
        all_of_them = ["debug", "info", "warn", "error", "critical"]
        for text, subsystem, least in (
            ("info", "http.chat", "info"),
            ("info,http=debug,providers=warn", "http.chat", "debug"),
            ("info,http=debug,providers=warn", "httpx", "info"),
            ("info,http=debug,providers=warn", "providers.retry", "warn"),
            (" warn , http.chat = error , http=info", "http.chat.x", "error"),
            ("http=debug", "store", "info"),
            ("openclaw.http=error", "http", "error"),
            ("gateway/ws=error", "gateway.ws", "error"),
            ("trace", "x", "debug"),
            ("FATAL", "x", "critical"),
            ("warning", "x", "warn"),
            ("info", "twisted.web.http", "error"),
            ("info", "autobahn.twisted.websocket.X", "error"),
            ("info", "log_legacy", "warn"),
            ("debug", "twisted.web.http", "debug"),
            ("info,twisted=debug", "twisted.web.http", "debug"),
            ("error", "twisted", "error"),
            ("info", "autobahn.twisted.websocket", "error"),
        ):
            self.assertEqual(self.written(text, subsystem), all_of_them[all_of_them.index(least) :], (text, subsystem))
        self.assertEqual(self.written("silent", "x"), [])

    def test_wrong(self) -> None:
        for text, reason in (
            ("loud", "unknown log level 'loud'"),
            ("info,http=loud", "unknown log level 'loud'"),
            ("info,", "unknown log level ''"),
            ("=debug", "'' is no part"),
            ("a b=debug", "'a b' is no part"),
        ):
            self.assertIn(reason, str(self.assertRaises(ValueError, Levels.parse, text)))

    def test_numbers(self) -> None:
        self.assertLess(level_number("info"), level_number("error"))


class DebuggingTests(SynchronousTestCase):
    def test_on_unless_nobody_wants_it(self) -> None:
        """As long as it is not known of both, there may be somebody else who listens."""
        debugging = Debugging()
        self.assertTrue(debugging.is_on)
        for where, wanted, is_on in (
            ("console", False, True),
            ("files", False, False),
            ("files", True, True),
            ("files", False, False),
            ("console", True, True),
            ("console", False, False),
            ("files", None, True),
        ):
            debugging.tell(where, wanted)  # type: ignore[arg-type]
            self.assertEqual(is_on, debugging.is_on, (where, wanted))

    def test_of_levels(self) -> None:
        """One part that wants it is enough."""
        for text, wanted in (("info", False), ("info,http=debug", True), ("debug,http=warn", True), ("silent", False)):
            self.assertEqual(wanted, Levels.parse(text).admits_debug, text)
