"""Tests of L{openclaw.log_stream}."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import select
import termios
import threading
from collections.abc import Callable
from typing import TextIO

from twisted.trial.unittest import SynchronousTestCase

from openclaw.log_stream import LineStream

DEADLINE_S = 5.0
"""Bound of one wait for what was written, in seconds."""


def lost(count: int) -> str:
    return f"{count} lost\n"


def collecting(act: Callable[[], None], on_garbage: Callable[[], None]) -> bool:
    """Whether something comes to its end a thousand times while the garbage collector runs in it again and again."""
    kept: list[list[None]] = []

    def work() -> None:
        for _ in range(1000):
            kept.append([])
            act()

    def collected(phase: str, info: object) -> None:
        on_garbage()

    thread = threading.Thread(target=work, daemon=True)
    thresholds = gc.get_threshold()
    gc.callbacks.append(collected)
    gc.set_threshold(1, 1_000_000, 1_000_000)
    try:
        thread.start()
        thread.join(DEADLINE_S)
    finally:
        gc.set_threshold(*thresholds)
        gc.callbacks.remove(collected)
    return not thread.is_alive()


class LineStreamTests(SynchronousTestCase):
    """The other end of the stream belongs to the test, which reads when it likes."""

    def ends(self) -> tuple[int, int]:
        return os.pipe()

    def setUp(self) -> None:
        self.reader, writer = self.ends()
        os.set_blocking(self.reader, False)
        self.stream: TextIO = os.fdopen(writer, "w", encoding="utf-8")
        # Not before the reader: a terminal that is closed otherwise waits for what was written to it.
        self.addCleanup(self.stream.close)
        self.addCleanup(self.leave)
        self.lines = LineStream(self.stream, lost)

    def leave(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self.reader)

    def read(self, end: str) -> str:
        """What was written, up to a text that must come; a terminal hands it over a moment later."""
        found = b""
        while not found.replace(b"\r\n", b"\n").endswith(end.encode()):
            self.assertTrue(select.select([self.reader], [], [], DEADLINE_S)[0], found)
            found += os.read(self.reader, 65536)
        return found.decode().replace("\r\n", "\n")

    def read_some(self) -> None:
        """Take something from the stream."""
        self.assertTrue(select.select([self.reader], [], [], DEADLINE_S)[0], self.taken)
        self.taken += os.read(self.reader, 65536).decode().replace("\r\n", "\n")

    def test_lines(self) -> None:
        self.lines.write("one\n")
        self.lines.write("é\udcff\n")
        self.assertEqual(self.read("udcff\n"), "one\né\\udcff\n")

    def test_a_reader_that_stops(self) -> None:
        """Nothing waits for it; what it misses is counted, and no line is cut."""
        for length in (200, 700, 9000):
            self.taken = ""
            sent = [f"{number:04}{'x' * length}" for number in range(1000)]
            for line in sent:
                self.lines.write(f"{line}\n")
            while not self.taken.endswith(f"{sent[-1]}\n"):
                sent.append(f"{len(sent):04}")
                self.lines.write(f"{sent[-1]}\n")
                self.read_some()
                self.assertLess(len(sent), 5000)
            told = self.taken.splitlines()
            whole = [line for line in told if not line.endswith(" lost")]
            missing = sum(int(line.split()[0]) for line in told if line.endswith(" lost"))
            self.assertLessEqual(set(whole), set(sent), "a line was cut")
            self.assertEqual(len(whole) + missing, len(sent))
            self.assertEqual(whole, sorted(whole))
            self.assertGreater(missing, 0)

    def test_a_reader_that_has_left(self) -> None:
        self.leave()
        self.lines.write("one\n")
        self.lines.write("two\n")

    def test_a_stream_that_is_shared(self) -> None:
        """What others write to it still waits."""
        self.assertTrue(os.get_blocking(self.stream.fileno()))

    def test_the_garbage_collector(self) -> None:
        """What it has logged in the middle of a line does not wait for that line."""
        with open(os.devnull, "w") as stream:
            lines = LineStream(stream, lost)
            self.assertTrue(collecting(lambda: lines.write("one\n"), lambda: lines.write("leaked\n")))


class TerminalTests(LineStreamTests):
    """The same with a terminal."""

    def ends(self) -> tuple[int, int]:
        controller, terminal = os.openpty()
        return controller, terminal

    def test_stopped(self) -> None:
        """After Ctrl-S nothing waits; after Ctrl-Q the lines go on."""
        termios.tcflow(self.stream.fileno(), termios.TCOOFF)
        self.lines.write("one\n")
        self.lines.write("two\n")
        termios.tcflow(self.stream.fileno(), termios.TCOON)
        self.lines.write("three\n")
        self.assertEqual(self.read("three\n"), "one\n1 lost\nthree\n")

    def test_a_daemon(self) -> None:
        """One that has let go of its terminal does not write to it any more."""
        null = os.open(os.devnull, os.O_WRONLY)
        self.addCleanup(os.close, null)
        os.dup2(null, self.stream.fileno())
        self.lines.write("one\n")
        self.assertEqual(select.select([self.reader], [], [], 0)[0], [])


class OtherStreamsTests(SynchronousTestCase):
    def test_no_descriptor(self) -> None:
        stream = io.StringIO()
        LineStream(stream, lost).write("one\n")
        self.assertEqual(stream.getvalue(), "one\n")

    def test_closed(self) -> None:
        stream = io.StringIO()
        lines = LineStream(stream, lost)
        stream.close()
        lines.write("one\n")

    def test_a_file(self) -> None:
        """It goes on behind what is there already."""
        path = self.mktemp()
        with open(path, "w") as stream:
            stream.write("before\n")
            LineStream(stream, lost).write("one\n")
        with open(path) as file:
            self.assertEqual(file.read(), "before\none\n")
