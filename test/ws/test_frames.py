"""Tests for L{openclaw.ws.frames}."""

from __future__ import annotations

import json
import tracemalloc
from typing import Annotated

import msgspec
from msgspec import Meta
from twisted.trial.unittest import SynchronousTestCase

from openclaw.methods.table import Params
from openclaw.ws.frames import (
    MalformedFrame,
    WireError,
    close_reason,
    decode,
    error_frame,
    event_frame,
    id_of_malformed,
    is_json,
    params_of,
    read_request,
    result_frame,
)


class Inner(Params, frozen=True):
    name: str


class Many(Params, frozen=True):
    """Every kind of rule."""

    limit: Annotated[int, Meta(ge=1, le=10)] | None = None
    share: Annotated[float, Meta(gt=0, lt=1)] | None = None
    text: Annotated[str, Meta(min_length=1, max_length=3)] | None = None
    rows: Annotated[list[Inner], Meta(min_length=1, max_length=2)] | None = None
    either: int | str = 0
    flag: bool = False
    table: dict[str, int] = {}
    word: Annotated[str, Meta(pattern="^a")] | None = None


class DecodeTests(SynchronousTestCase):
    def test_words(self) -> None:
        decoder = msgspec.json.Decoder(Many)
        for params, words in (
            ({"limit": 0}, "at /limit: must be >= 1"),
            ({"limit": 11}, "at /limit: must be <= 10"),
            ({"limit": 1.5}, "at /limit: must be integer"),
            ({"share": 0}, "at /share: must be > 0.0"),
            ({"share": 1}, "at /share: must be < 1.0"),
            ({"share": "x"}, "at /share: must be number"),
            ({"text": ""}, "at /text: must not have fewer than 1 characters"),
            ({"text": "abcd"}, "at /text: must not have more than 3 characters"),
            ({"rows": []}, "at /rows: must not have fewer than 1 items"),
            ({"rows": [{"name": "a"}] * 3}, "at /rows: must not have more than 2 items"),
            ({"rows": {}}, "at /rows: must be array"),
            ({"rows": [{"name": "a"}, {}]}, "at /rows/1: must have required property 'name'"),
            ({"rows": [{"name": "a", "b": 1}]}, "at /rows/0: unexpected property 'b'"),
            ({"rows": [{"name": None}]}, "at /rows/0/name: must be string"),
            ({"either": []}, "at /either: must be integer or string"),
            ({"flag": "true"}, "at /flag: must be boolean"),
            ({"table": {"k": "v"}}, "at /table/...: must be integer"),
            ({"word": "b"}, "at /word: Expected str matching regex '^a'"),
            ({"b\n`c`": 1}, "at root: unexpected property 'b\n`c`'"),
            ("x", "at root: must be object"),
        ):
            with self.assertRaises(MalformedFrame) as caught:
                decode(decoder, json.dumps(params).encode())
            self.assertEqual(str(caught.exception), words)
        self.assertEqual(decode(decoder, b'{"limit":null}'), Many())

    def test_what_is_no_json(self) -> None:
        for data in (b"", b"nope", b"{", b'{"a":\xff}', b'"\\ud800"', b"[" * 100_000, b'{"id":"\xff"}'):
            self.assertFalse(is_json(data), data[:10])
            self.assertEqual(id_of_malformed(data), "invalid")
            with self.assertRaises(MalformedFrame):
                read_request(data)
        self.assertTrue(is_json(b" [1] "))

    def test_ids_of_malformed_frames(self) -> None:
        for data, expected in (
            (b'{"id":"a"}', "a"),
            (b'{"id":""}', "invalid"),
            (b'{"id":5}', "invalid"),
            (b'["a"]', "invalid"),
        ):
            self.assertEqual(id_of_malformed(data), expected)

    def test_a_malformed_frame_is_not_decoded_for_its_id(self) -> None:
        """Decoding 25 MiB of empty lists takes seconds and 800 MB."""
        data = b'{"type":"req","x":[' + b"[]," * 100_000 + b'[]],"id":"a"}'
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        self.assertEqual(id_of_malformed(data), "a")
        self.assertLess(tracemalloc.get_traced_memory()[1], 100_000)

    def test_request(self) -> None:
        frame = read_request(b'{"type":"req","id":"1","method":"m","params":{"a": 1},"expectedProfileId":"p"}')
        self.assertEqual((frame.id, frame.method, frame.expected_profile_id), ("1", "m", "p"))
        self.assertEqual(params_of(frame), b'{"a": 1}')
        for text in ("", ',"params":null'):
            frame = read_request(b'{"type":"req","id":"1","method":"m"%b}' % text.encode())
            self.assertEqual(params_of(frame), b"{}")


class EncodeTests(SynchronousTestCase):
    def test_responses(self) -> None:
        self.assertEqual(
            result_frame("ä", {"b": None}), '{"type":"res","id":"ä","ok":true,"payload":{"b":null}}'.encode()
        )
        self.assertEqual(
            error_frame("1", WireError("A", "b")),
            b'{"type":"res","id":"1","ok":false,"error":{"code":"A","message":"b"}}',
        )
        self.assertRaises(TypeError, result_frame, "1", object())

    def test_events(self) -> None:
        frame = event_frame("tick", {"ts": 1}, droppable=True)
        self.assertTrue(frame.droppable)
        self.assertEqual(frame.numbered(7), b'{"type":"event","event":"tick","payload":{"ts":1},"seq":7}')
        self.assertEqual(frame.bare(), b'{"type":"event","event":"tick","payload":{"ts":1}}')
        frame = event_frame("health", {}, state_version={"health": 2})
        self.assertEqual(json.loads(frame.numbered(1))["stateVersion"], {"health": 2})

    def test_close_reason(self) -> None:
        self.assertEqual(close_reason("short"), b"short")
        self.assertEqual(close_reason("ä" * 100), ("ä" * 61).encode())
