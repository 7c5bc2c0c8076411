"""Where the reads of a stream are cut makes no difference, whatever is in it."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from openclaw.providers.openai_chunks import ChunkReader
from openclaw.providers.sse import SseParser
from test.providers.http_fakes import DONE, chunk, event, text, usage

CALL = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "{"}}
HALVES = [event(text("x")).replace(b'"x"', half) for half in (b'"\\ud83d"', b'"\\ude00"')]

PIECES: list[bytes] = [
    event(text("a")),
    event(text("b")),
    event(text("<think>")),
    event(text("<th")),
    event(text("</think>\n\n")),
    event(text("  ")),
    event(chunk({"content": "c"}, "stop")),
    event(chunk({"reasoning_content": "r"})),
    event(chunk({"tool_calls": [CALL]})),
    event(chunk({}, "length")),
    event(chunk({}, "null")),
    event(usage()),
    event(chunk({"content": "\u00e4\U0001f600"})),
    json.dumps(chunk({"content": "\u00e4\U0001f600"}), ensure_ascii=False).encode() + b"\n\n",
    event(text("crlf")).replace(b"\n", b"\r\n"),
    event(text("cr")).replace(b"\n", b"\r"),
    event(text("tight")).replace(b"data: ", b"data:"),
    *HALVES,
    b": comment\n\n",
    b"event: ping\ndata: {}\n\n",
    b"id: 7\nretry: 5\n\n",
    event(b"null"),
    event(b"[1]"),
    b"Lorem ipsum\n",
    b"[info] begin\n\n",
    event({"choices": "none"}),
    event({**text("d"), "error": ""}),
]
ENDS: list[bytes] = [
    b"",
    DONE,
    b"data: [DONE]",
    b'error: {"code": 500, "message": "gone"}\n\n',
    b'event: error\ndata: {"message": "gone"}\n\n' + DONE,
    b'{"error": {"message": "gone"}}',
    b'{\n  "error": {\n    "message": "gone"\n  }\n}\ndata: [DONE]\n\n',
    event({"error": {"message": "gone"}}),
    b'data: {"choi',
    event(b"{not json"),
]


def told(reads: list[bytes]) -> Any:
    """All that a stream tells, and how it ends."""
    parser, reader = SseParser(), ChunkReader("mock")
    events: list[Any] = []
    for read in reads:
        events.extend(reader.read(parser.feed(read)))
        if reader.error is not None or reader.over:
            break
    else:
        events.extend(reader.read(parser.finish()))
    if reader.error is None:
        events.extend(reader.end())
    return events, str(reader.error), reader.over, reader.is_finished, reader.seen


class SplitTests(SynchronousTestCase):
    @settings(max_examples=300, deadline=None)
    @given(
        st.lists(st.sampled_from(PIECES), max_size=8),
        st.sampled_from(ENDS),
        st.lists(st.integers(0, 1500), max_size=12),
    )
    def test_any(self, pieces: list[bytes], end: bytes, cuts: list[int]) -> None:
        stream = b"".join(pieces) + end
        whole = told([stream])
        ends = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
        self.assertEqual(whole, told([stream[begin:stop] for begin, stop in pairwise(ends)]))
        self.assertEqual(whole, told([stream[at : at + 1] for at in range(len(stream))]))
