"""Rows, foreign text and spans of time."""

import builtins
import os
import sys
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from openclaw.cli.output import clean
from openclaw.cli.tables import age, cell, counted, has_colour, print_table, span
from test.cli.support import CommandTestCase, FakeStream


class TableTests(CommandTestCase):
    def printed(self, *, terminal: bool) -> str:
        out = FakeStream(terminal=terminal)
        self.patch(sys, "stdout", out)
        print_table(("Name", "N"), [("a[b]c", 5), ("\x1b[31mwide\n日本", 1000), (None, "e\u0301")], right=(1,))
        out.flush()
        return out.memory.getvalue().decode()

    def test_plain(self) -> None:
        self.assertEqual(
            self.printed(terminal=False).splitlines(),
            ["Name              N", "a[b]c             5", "[31mwide 日本  1000", "                  e\u0301"],
        )

    def test_no_empty_column(self) -> None:
        """A column with nothing in it is left out; the others keep their side."""
        rows = [("a", None, "x", 1), ("b", "", "", 20)]
        out = FakeStream(terminal=False)
        self.patch(sys, "stdout", out)
        print_table(("Name", "No", "Some", "N"), rows, right=(3,))
        print_table(("Name", "N"), [])
        out.flush()
        self.assertEqual(
            out.memory.getvalue().decode().splitlines(),
            ["Name  Some   N", "a     x      1", "b           20", "Name  N"],
        )

    def test_terminal(self) -> None:
        os.environ.update(TERM="xterm", COLUMNS="60")
        os.environ.pop("NO_COLOR", None)
        text = self.printed(terminal=True)
        self.assertIn("a[b]c", text)
        self.assertNotIn("\x1b[31m", text)

    def test_no_colour_is_plain(self) -> None:
        for name, value in (("NO_COLOR", "1"), ("TERM", "dumb")):
            os.environ.update({"TERM": "xterm", name: value})
            with mock.patch("rich.console.Console", side_effect=AssertionError("drawn by rich")):
                self.assertNotIn("\x1b", self.printed(terminal=True))
            os.environ.pop("NO_COLOR", None)

    def test_without_rich(self) -> None:
        os.environ["TERM"] = "xterm"
        os.environ.pop("NO_COLOR", None)
        importing = builtins.__import__

        def absent(name: str, *arguments: Any) -> Any:
            if name.startswith("rich"):
                raise ImportError
            return importing(name, *arguments)

        self.patch(builtins, "__import__", absent)
        self.assertTrue(self.printed(terminal=True).startswith("Name              N\n"))

    def test_colour(self) -> None:
        os.environ["TERM"] = "xterm"
        os.environ.pop("NO_COLOR", None)
        for terminal in (True, False):
            self.patch(sys, "stdout", FakeStream(terminal=terminal))
            self.assertEqual(has_colour(), terminal)


class CountedTests(SynchronousTestCase):
    def test_plural(self) -> None:
        self.assertEqual([counted(number, "run") for number in (0, 1, 2)], ["0 runs", "1 run", "2 runs"])


class TextTests(SynchronousTestCase):
    def test_clean(self) -> None:
        self.assertEqual(clean("a\x1b[2Jb\rc\x9bd\u202ee\x7f\n\tf\ud800"), "a[2Jbcde\n\tf")
        self.assertEqual(cell("a\n\tb"), "a b")

    def test_times(self) -> None:
        for elapsed_ms, text in (
            (None, "never"), (-5, "just now"), (59_000, "just now"), (60_000, "1m ago"), (7_200_000, "2h ago"),
            (86_400_000 * 3, "3d ago"),
        ):  # fmt: skip
            self.assertEqual(age(elapsed_ms), text)
        for elapsed_ms, text in (
            (850, "850 ms"), (12_000, "12 s"), (61_000, "1 m 1 s"), (11_100_000, "3 h 5 m"), (187_200_000, "2 d 4 h"),
        ):  # fmt: skip
            self.assertEqual(span(elapsed_ms), text)
