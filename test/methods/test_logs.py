"""Tests of L{openclaw.methods.logs}."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import msgspec

from openclaw.methods.logs import Tail, current_log, read_tail
from test.methods.support import READER, MethodTestCase

DAY = "openclaw-2026-11-23.log"


class TailTests(MethodTestCase):
    """C{logs.tail}."""

    def setUp(self) -> None:
        super().setUp()
        self.logs = self.gateway.paths.log_dir

    def write(self, text: str, name: str = DAY) -> Path:
        """Append to a log file."""
        self.logs.mkdir(exist_ok=True)
        path = self.logs / name
        with path.open("a") as file:
            file.write(text)
        return path

    def tail(self, **params: Any) -> Any:
        """Its answer."""
        return self.ok(self.gateway.call("logs.tail", params, READER))

    def test_nothing(self) -> None:
        """Without a file there are no lines; a client that follows one that is gone begins anew."""
        expected = {"file": str(self.logs), "cursor": 0, "size": 0, "lines": [], "truncated": False, "reset": False}
        self.assertEqual(expected, self.tail())
        self.logs.mkdir()
        self.assertEqual(expected, self.tail())
        self.assertEqual({**expected, "reset": True}, self.tail(cursor=5))

    def test_last_lines(self) -> None:
        """The last lines of the last day's file."""
        self.write("old\n", "openclaw-2026-11-22.log")
        path = self.write("one\ntwo\nthree\n")
        self.write("not a log\n", "openclaw-2026-11-24.log.1")
        self.write("nor this\n", "zzz.log")
        expected = {"file": str(path), "cursor": 14, "size": 14, "truncated": True, "reset": False}
        self.assertEqual({**expected, "lines": ["two", "three"]}, self.tail(limit=2))
        self.assertEqual((["one", "two", "three"], False), (self.tail()["lines"], self.tail()["truncated"]))

    def test_follow(self) -> None:
        """With a cursor there is only what came since; a line that is half written waits for its end."""
        self.write("one\ntw")
        first = self.tail()
        self.assertEqual((["one"], 4, 6), (first["lines"], first["cursor"], first["size"]))
        self.assertEqual(([], 4), (self.tail(cursor=4)["lines"], self.tail(cursor=4)["cursor"]))
        self.write("o\nthree\n")
        second = self.tail(cursor=first["cursor"])
        self.assertEqual((["two", "three"], 14, False), (second["lines"], second["cursor"], second["reset"]))
        self.assertFalse(second["truncated"])
        self.assertEqual([], self.tail(cursor=14)["lines"])
        self.assertEqual(["three"], self.tail(cursor=5)["lines"], "in the middle of a line")

    def test_shorter_file(self) -> None:
        """A file that is shorter than the cursor is another one."""
        self.write("one\n")
        answer = self.tail(cursor=100)
        self.assertEqual((["one"], 4, True, False), tuple(answer[k] for k in ("lines", "cursor", "reset", "truncated")))

    def test_too_much(self) -> None:
        """More than may be read at once: the end of it, from a whole line on."""
        path = self.write("".join(f"line {number}\n" for number in range(100)))
        for cursor in (None, 0):
            piece = read_tail(path, cursor, 200, 20)
            self.assertEqual((("line 98", "line 99"), True), (piece.lines, piece.truncated))
            self.assertEqual(cursor is not None, piece.reset)
        self.assertEqual(("line 99",), read_tail(path, None, 200, 8).lines, "exactly a line")
        self.assertEqual(Tail((), 790, 790, truncated=True), read_tail(path, None, 200, 7))

    def test_endless_line(self) -> None:
        """A line longer than what may be read is passed over, and what follows it is found."""
        path = self.write("x" * 100)
        piece = read_tail(path, None, 200, 50)
        self.assertEqual(((), 100), (piece.lines, piece.cursor))
        self.write("end\nnext\n")
        self.assertEqual(("next",), read_tail(path, piece.cursor, 200, 50).lines)
        self.assertEqual(Tail(("x" * 100 + "end", "next"), 109, 109), read_tail(path, None, 200, 200))

    def test_bounds(self) -> None:
        """No call reads more than 250,000 bytes, whatever it asks for."""
        self.write(("y" * 99 + "\n") * 3000)
        answer = self.tail(limit=5000, maxBytes=1_000_000)
        self.assertEqual((2500, True), (len(answer["lines"]), answer["truncated"]))
        for bad in (
            {"limit": 0},
            {"limit": 5001},
            {"maxBytes": 0},
            {"maxBytes": 1_000_001},
            {"cursor": -1},
            {"file": "x"},
        ):
            self.assertRaises(msgspec.ValidationError, self.gateway.call, "logs.tail", bad)

    def test_not_utf8(self) -> None:
        """Bytes that are no text are shown as such."""
        path = self.write("")
        path.write_bytes(b"a\xff\n")
        self.assertEqual(["a\ufffd"], self.tail()["lines"])

    def test_no_regular_file(self) -> None:
        """Links, pipes and folders are not read: nothing outside of the folder is."""
        secret = (self.gateway.folder / "secret").absolute()
        secret.write_text("s3cret\n")
        self.logs.mkdir()
        path = self.logs / DAY
        for make in (lambda: path.symlink_to(secret), lambda: os.mkfifo(path), path.mkdir):
            make()
            self.assertEqual(([], 0), (self.tail()["lines"], self.tail()["size"]))
            self.assertTrue(self.tail(cursor=1)["reset"])
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink()

    def test_written_last(self) -> None:
        """What counts is when a file was written, unless that is in the future; else the newest name."""
        now_s = time.time()
        before, now, future = (
            self.write("x\n", f"openclaw-{day}.log") for day in ("2026-11-22", DAY[9:19], "2037-01-01")
        )

        def current(before_s: float, at_s: float, future_s: float) -> Path | None:
            for path, written_s in ((before, before_s), (now, at_s), (future, future_s)):
                os.utime(path, (written_s, written_s))
            return current_log(self.logs)

        self.assertEqual(future, current(now_s, now_s, now_s))
        # The clock was ahead for a while, with or without what keeps the times of files right.
        self.assertEqual(now, current(now_s - 90_000, now_s, now_s - 5))
        self.assertEqual(now, current(now_s - 90_000, now_s, now_s + 10 * 365 * 86400))
        self.assertEqual(before, current(now_s, now_s - 5, now_s - 5), "it is behind")
        self.assertEqual(now, current(now_s - 90_000, now_s + 30, now_s - 5), "a file server's clock")
        self.assertEqual(future, current(now_s + 80_000, now_s + 80_000, now_s + 90_000), "nothing else is there")

    def test_current(self) -> None:
        """There may be no such folder."""
        self.assertIsNone(current_log(self.logs))
