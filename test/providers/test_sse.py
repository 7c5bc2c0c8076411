"""Tests of L{openclaw.providers.sse}."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from openclaw.errors import ProviderFailed
from openclaw.providers.sse import ErrorData, SseParser, UnframedData

MIXED = (
    b"\xef\xbb\xbf: hello\n\ndata: one\n\nevent: x\r\nid: 7\r\ndata:two\r\n\r\nretry: 5\rdata: 3a\rdata:  3b\r\r"
    b'data: {"t":"\xc3\xa4\xf0\x9f\x98\x80"}\n\n\n\ndata\n\ndata:\n\ndatax: no\n\ndata: [DONE]\n\n'
)
MIXED_DATA = [b"one", b"two", b"3a\n 3b", b'{"t":"\xc3\xa4\xf0\x9f\x98\x80"}', b"", b"", b"[DONE]"]


def parse(*pieces: bytes) -> list[bytes]:
    parser = SseParser()
    return [payload for piece in pieces for payload in parser.feed(piece)]


class ErrorTests(SynchronousTestCase):
    """What model servers add to the format."""

    def kinds(self, *pieces: bytes) -> list[tuple[type, bytes]]:
        parser = SseParser()
        payloads = [payload for piece in pieces for payload in parser.feed(piece)] + parser.finish()
        return [(type(payload), bytes(payload)) for payload in payloads]

    def check(self, wanted: list[tuple[type, bytes]], stream: bytes) -> None:
        """However it is cut."""
        self.assertEqual(wanted, self.kinds(stream))
        self.assertEqual(wanted, self.kinds(*(stream[at : at + 1] for at in range(len(stream)))))
        for at in range(len(stream)):
            self.assertEqual(wanted, self.kinds(stream[:at], stream[at:]), at)

    def test_error_field(self) -> None:
        self.check([(bytes, b"a"), (ErrorData, b"{}"), (bytes, b"b")], b"data: a\n\nerror: {}\n\ndata: b\n\n")
        self.check([(ErrorData, b"{}"), (bytes, b"[DONE]")], b"error:{}\r\n\r\ndata: [DONE]\r\n\r\n")
        self.check([(ErrorData, b"{}")], b"error: {}")

    def test_error_event(self) -> None:
        self.check([(ErrorData, b"a"), (bytes, b"b")], b"event: error\ndata: a\n\ndata: b\n\n")
        self.check([(ErrorData, b"a")], b"data: a\nevent: error\n\n")
        self.check([(ErrorData, b""), (bytes, b"a")], b"event: error\n\ndata: a\n\n")
        self.check([(bytes, b"a")], b"event: ping\n\ndata: a\n\n")
        self.check([(bytes, b"a")], b"event: errors\ndata: a\n\n")

    def test_unframed(self) -> None:
        """JSON without a field's name: in one line, in several, one behind another, and before events."""
        one, lines = b'{"error": {}}', b'{\n  "error": {\n  }\n}'
        self.check([(UnframedData, one)], one)
        self.check([(bytes, b"a"), (UnframedData, one), (bytes, b"b")], b"data: a\n\n" + one + b"\n\ndata: b\n\n")
        self.check([(UnframedData, lines)], lines + b"\n")
        self.check([(UnframedData, one), (UnframedData, one)], one + b"\n" + one + b"\n")
        self.check([(UnframedData, lines), (bytes, b"b")], lines + b"\ndata: b\n\n")
        self.check([(UnframedData, b" [1]")], b" [1]\n")

    def test_no_json(self) -> None:
        """Other lines are nothing, nor is what stands within an event."""
        self.check([(bytes, b"a")], b"Lorem ipsum\ndata: a\n{}\n\n")

    def test_bound(self) -> None:
        parser = SseParser(max_event_bytes=100)
        with self.assertRaises(ProviderFailed):
            for _ in range(200):
                parser.feed(b"{\n")


class SseParserTests(SynchronousTestCase):
    def test_ordinary(self) -> None:
        """Several events of one read come together and in order."""
        self.assertEqual([b"a", b"b b", b"c"], SseParser().feed(b"data: a\n\ndata: b b\n\ndata: c\n\n"))

    def test_mixed(self) -> None:
        """Every line end, comments, other fields, a byte order mark and several data lines are understood."""
        self.assertEqual(MIXED_DATA, parse(MIXED))

    def test_every_split(self) -> None:
        """Where the stream is cut in two makes no difference."""
        for at in range(len(MIXED) + 1):
            self.assertEqual(MIXED_DATA, parse(MIXED[:at], MIXED[at:]), at)

    def test_byte_by_byte(self) -> None:
        """Nor do the smallest pieces."""
        self.assertEqual(MIXED_DATA, parse(*(MIXED[at : at + 1] for at in range(len(MIXED)))))

    def test_random_splits(self) -> None:
        """Nor any pieces, of streams of any one line end."""
        chance = random.Random(1)
        events = b"".join(b"data: %d\n: c\ndata: x\n\ndata: %d\n\n" % (i, i) for i in range(20))
        wanted = parse(events)
        self.assertEqual(40, len(wanted))
        for ending in (b"\n", b"\r\n", b"\r"):
            stream = events.replace(b"\n", ending)
            for _ in range(100):
                cuts = sorted(chance.sample(range(len(stream)), 15))
                pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
                self.assertEqual(wanted, parse(*pieces))

    def test_empty_pieces(self) -> None:
        """Empty pieces change nothing."""
        self.assertEqual([b"a"], parse(b"", b"data: a", b"", b"\n", b"", b"\n", b""))
        self.assertEqual([b"a"], parse(b"data: a\r", b"", b"\n\r", b"", b"\n"))

    def test_partial_byte_order_mark(self) -> None:
        """What only begins like a byte order mark is no mark; one further on is data."""
        self.assertEqual([b"\xef\xbb\xbfa"], parse(b"\xef", b"\xbbx: 1\n", b"data: \xef\xbb\xbfa\n\n"))

    def test_incomplete_event(self) -> None:
        """An event is held until its empty line."""
        parser = SseParser()
        self.assertEqual([], parser.feed(b"data: a\n"))
        self.assertEqual([], parser.feed(b"data: b"))
        self.assertEqual([b"a\nb"], parser.feed(b"\n\n"))

    def test_finish(self) -> None:
        """At the end an event without its empty line, or without any line end, is given."""
        for tail in (b"data: [DONE]", b"data: [DONE]\n", b"data: [DONE]\r", b"data: [DONE]\r\n"):
            parser = SseParser()
            self.assertEqual([b"a"], parser.feed(b"data: a\n\n" + tail))
            self.assertEqual([b"[DONE]"], parser.finish())
        self.assertEqual([], SseParser().finish())

    def test_bounds(self) -> None:
        """What is held of one event is bounded, in one line, in many lines and in empty ones."""
        for piece in (b"data: " + b"x" * 50, b"data: x\n", b"data\n", b"data: x\r", b": " + b"x" * 50):
            parser = SseParser(max_event_bytes=1000)
            with self.assertRaisesRegex(ProviderFailed, "too large"):
                for _ in range(1001):
                    parser.feed(piece)

    def test_bound_is_of_one_event(self) -> None:
        """Complete events are not counted, however many they are."""
        parser = SseParser(max_event_bytes=30)
        for _ in range(20):
            for piece in (b"data: 0123456789\n\n", b"data: 01234\r\n\r\n", b"data: 01", b"234\n\n", b": comment\n\n"):
                parser.feed(piece)

    def test_long_event_in_small_pieces(self) -> None:
        """A long event in small pieces costs no more than its length: bytes are not looked at again and again."""
        parser = SseParser()
        parser.feed(b"data: ")
        for _ in range(20_000):
            self.assertEqual([], parser.feed(b"x" * 100))
        self.assertEqual([b"x" * 2_000_000], parser.feed(b"\n\n"))
