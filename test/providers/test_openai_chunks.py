"""Tests of L{openclaw.providers.openai_chunks}."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from openclaw.errors import LastingProviderFailure, ProviderFailed, ProviderRateLimited
from openclaw.events import ProviderFinished, ProviderUsage, ReasoningDelta, TextDelta, ToolCallDelta
from openclaw.messages import Usage
from openclaw.providers.openai_chunks import MAX_CALLS, ChunkReader
from test.providers.http_fakes import chunk, text, usage


def payloads(*documents: Any) -> list[bytes]:
    return [item if isinstance(item, bytes) else json.dumps(item).encode() for item in documents]


def read(*documents: Any) -> list[Any]:
    """All events of one answer, which has no error."""
    reader = ChunkReader("mock")
    events: list[Any] = reader.read(payloads(*documents))
    if reader.error is not None:
        raise reader.error
    return events + reader.end()


def call(index: int | None, id_: str | None = None, name: str | None = None, arguments: Any = None) -> dict[str, Any]:
    piece: dict[str, Any] = {"function": {"name": name, "arguments": arguments}}
    if index is not None:
        piece["index"] = index
    if id_ is not None:
        piece["id"] = id_
    return piece


def calls(*pieces: dict[str, Any]) -> dict[str, Any]:
    return chunk({"tool_calls": list(pieces)})


class DeltaTests(SynchronousTestCase):
    def test_text(self) -> None:
        """Texts come one by one; the role, empty texts and nulls give nothing."""
        events = read(
            chunk({"role": "assistant", "content": ""}),
            text("a"),
            text("b"),
            chunk({"content": None}),
            chunk({}, "stop"),
        )
        self.assertEqual([TextDelta("a"), TextDelta("b"), ProviderFinished("stop")], events)

    def test_tolerance(self) -> None:
        """Unknown fields, nulls and missing fields are as good as absent."""
        documents = [
            {"choices": None},
            {"choices": []},
            {"choices": [{}], "x": {"y": [1, 2]}},
            {"choices": [{"index": None, "delta": None, "finish_reason": None}]},
            {"choices": [{"delta": {"content": "a", "tool_calls": None, "audio": {"id": 1}}, "finish_reason": ""}]},
            {"choices": [{"delta": {"tool_calls": []}}], "usage": None, "error": None},
            {"choices": [], "usage": {}},
            {"choices": [{"finish_reason": "stop"}], "usage": {"prompt_tokens": None}},
            {},
            b"",
            b"  ",
        ]
        self.assertEqual([TextDelta("a"), ProviderFinished("stop")], read(*documents))

    def test_other_choices(self) -> None:
        """Only the first choice counts."""
        self.assertEqual([], read({"choices": [{"index": 1, "delta": {"content": "no"}, "finish_reason": "length"}]}))

    def test_reasoning(self) -> None:
        """Reasoning has two names, and stands before the text of the same chunk."""
        events = read(
            chunk({"reasoning_content": "a"}), chunk({"reasoning": "b"}), chunk({"content": "d", "reasoning": "c"})
        )
        self.assertEqual([ReasoningDelta("a"), ReasoningDelta("b"), ReasoningDelta("c"), TextDelta("d")], events)

    def test_refusal(self) -> None:
        """A refusal is what the model says."""
        self.assertEqual([TextDelta("I can't")], read(chunk({"content": None, "refusal": "I can't"})))

    def test_content_parts(self) -> None:
        """Content may be a list of parts."""
        parts = [{"type": "text", "text": "a"}, {"type": "thinking", "thinking": []}, "?", {"text": "b"}, {"text": 1}]
        self.assertEqual([TextDelta("ab")], read(chunk({"content": parts})))
        self.assertEqual(
            [ReasoningDelta("r"), TextDelta("ab")], read(chunk({"content": parts, "reasoning_content": "r"}))
        )

    def test_after_the_end(self) -> None:
        """Nothing after C{[DONE]} is read."""
        reader = ChunkReader("mock")
        self.assertEqual([TextDelta("a")], reader.read(payloads(text("a"), b"[DONE]", text("b"))))
        self.assertTrue(reader.over)

    def test_padded_done(self) -> None:
        """Blanks around C{[DONE]} do no harm."""
        reader = ChunkReader("mock")
        reader.read([b" [DONE] "])
        self.assertTrue(reader.over)
        self.assertIsNone(reader.error)


class ToolCallTests(SynchronousTestCase):
    def test_pieces(self) -> None:
        """The id and the name are on the first piece, whatever the server repeats."""
        events = read(
            calls(call(0, "c1", "f", "")),
            calls(call(0, None, None, '{"a"')),
            calls(call(0, "c1", "", ":1}")),
            calls(call(1, "c2", "g", "{}")),
            chunk({}, "tool_calls"),
        )
        self.assertEqual(
            [
                ToolCallDelta(0, "c1", "f", ""),
                ToolCallDelta(0, None, None, '{"a"'),
                ToolCallDelta(0, None, None, ":1}"),
                ToolCallDelta(1, "c2", "g", "{}"),
                ProviderFinished("tool_calls"),
            ],
            events,
        )

    def test_without_index(self) -> None:
        """Without an index the id tells the calls apart, and without either the position."""
        events = read(
            calls(call(None, "a", "f", "1"), call(None, "b", "g", "2")),
            calls(call(None, "c", "h", "3")),
            calls(call(None, "b", None, "4")),
            calls(call(None, None, None, "5")),
        )
        self.assertEqual([0, 1, 2, 1, 0], [event.index for event in events])

    def test_without_id(self) -> None:
        """A call without an id gets one, and keeps it."""
        first, second = read(calls(call(0, None, "f", "{")), calls(call(0, None, None, "}")))
        self.assertRegex(first.id, r"^call_[0-9a-f]{32}$")
        self.assertEqual(ToolCallDelta(0, None, None, "}"), second)

    def test_pieces_that_tell_nothing(self) -> None:
        """What repeats the id and the name, and nothing at all, is no event: a stream of them tells nothing."""
        events = read(
            calls(call(0, "c")),
            calls(call(0, "c", "f")),
            calls(call(0, "c", "f", "")),
            calls({"index": 0}),
            calls(call(0, "c", "f", "{}")),
        )
        self.assertEqual(
            [ToolCallDelta(0, "c", None, ""), ToolCallDelta(0, None, "f", ""), ToolCallDelta(0, None, None, "{}")],
            events,
        )

    def test_too_many(self) -> None:
        reader = ChunkReader("mock")
        *good, bad = payloads(*(calls(call(index, f"c{index}", "f")) for index in range(MAX_CALLS + 1)))
        self.assertEqual(MAX_CALLS, len(reader.read(good)))
        self.assertIsNone(reader.error)
        self.assertEqual([], reader.read([bad]))
        self.assertIsInstance(reader.error, LastingProviderFailure)

    def test_arguments_as_object(self) -> None:
        """Arguments that are an object become JSON text."""
        self.assertEqual('{"a":[1]}', read(calls(call(0, "c", "f", {"a": [1]})))[0].arguments)

    def test_stop_after_calls(self) -> None:
        """C{stop} after tool calls means these."""
        self.assertEqual(ProviderFinished("tool_calls"), read(calls(call(0, "c", "f")), chunk({}, "stop"))[-1])
        self.assertEqual(ProviderFinished("length"), read(calls(call(0, "c", "f")), chunk({}, "length"))[-1])
        self.assertEqual(ProviderFinished("tool_calls"), read(calls(call(0, "c", "f")), b"[DONE]")[-1])

    def test_text_beside_calls(self) -> None:
        """Text in the same chunk is kept, before the call."""
        events = read(chunk({"content": "hey", "tool_calls": [call(0, "c", "f")]}))
        self.assertEqual([TextDelta("hey"), ToolCallDelta(0, "c", "f", "")], events)


class EndTests(SynchronousTestCase):
    def test_finish_reasons(self) -> None:
        """Known reasons keep their name; unknown ones mean C{stop}."""
        for said, reason in (
            ("stop", "stop"),
            ("length", "length"),
            ("max_tokens", "length"),
            ("tool_calls", "tool_calls"),
            ("function_call", "tool_calls"),
            ("content_filter", "content_filter"),
            ("eos", "stop"),
        ):
            self.assertEqual([reason], [event.reason for event in read(chunk({}, said))])

    def test_first_reason_counts(self) -> None:
        """A reason that is repeated is told once."""
        self.assertEqual([ProviderFinished("length")], read(chunk({}, "length"), chunk({}, "stop")))

    def test_usage(self) -> None:
        """The usage event after the finish ends the answer."""
        reader = ChunkReader("mock")
        reader.read(payloads(text("a"), chunk({}, "stop")))
        self.assertFalse(reader.over)
        details = {
            "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 2},
        }
        reader.read(payloads(usage(**details), text("late")))
        self.assertTrue(reader.over)
        self.assertEqual([ProviderFinished("stop"), ProviderUsage(Usage(10, 3, 4, 2))], reader.end())

    def test_usage_forms(self) -> None:
        """Details may be missing, null or empty, and counts odd."""
        for said, understood in (
            ({"prompt_tokens": 7}, Usage(7, 0)),
            ({"completion_tokens": 7}, Usage(0, 7)),
            ({"prompt_tokens": 7.0, "completion_tokens": 2**53}, Usage(7, 2**53)),
            ({"prompt_tokens": 1, "completion_tokens": 2, "prompt_tokens_details": None}, Usage(1, 2)),
            ({"prompt_tokens": 1, "completion_tokens": 2, "prompt_tokens_details": {}}, Usage(1, 2)),
        ):
            events = read(chunk({}, "stop"), {"choices": [], "usage": said})
            self.assertEqual(ProviderUsage(understood), events[-1])

    def test_usage_that_cannot_be(self) -> None:
        """Figures that cannot be make the usage absent, or that detail; the answer is none the worse for it."""
        figures = ("-1", "9007199254740993", "9223372036854775808", "1" * 5000, "1e300", "1e999", "-1e999", "NaN")
        for figure in (*figures, "Infinity", '"7"', "true", "[]", "{}", "[NaN]"):
            for name, other in (("prompt_tokens", "completion_tokens"), ("completion_tokens", "prompt_tokens")):
                said = f'"usage": {{"{other}": 1, "{name}": {figure}}}'
                whole = f'{{"choices": [{{"delta": {{"content": "a"}}, "finish_reason": "stop"}}], {said}}}'
                self.assertEqual([TextDelta("a"), ProviderFinished("stop")], read(whole.encode()), said)
                alone = f'{{"choices": [], {said}}}'.encode()
                self.assertEqual([ProviderFinished("stop")], read(chunk({}, "stop"), usage(), alone)[:1], said)
        for figure in figures:
            details = f'"prompt_tokens_details": {{"cached_tokens": {figure}}}'
            said = f'{{"choices": [], "usage": {{"prompt_tokens": 1, "completion_tokens": 2, {details}}}}}'
            self.assertEqual(ProviderUsage(Usage(1, 2)), read(chunk({}, "stop"), said.encode())[-1], said)

    def test_last_usage_cannot_be(self) -> None:
        """An earlier figure, of a part of the answer, does not stand in for a last one that cannot be."""
        said = {"prompt_tokens": 5, "completion_tokens": 1}
        for last in ({"prompt_tokens": 5, "completion_tokens": -1}, "none"):
            events = read(chunk({"content": "a"}, usage=said), chunk({}, "stop", usage=last))
            self.assertEqual([TextDelta("a"), ProviderFinished("stop")], events)

    def test_usage_with_every_chunk(self) -> None:
        """Usage that is repeated is told once, as it was last, and does not end the answer before the finish."""
        documents = [
            chunk({"content": "a"}, usage={"prompt_tokens": 5, "completion_tokens": 1}),
            chunk({"content": "b"}, usage={"prompt_tokens": 5, "completion_tokens": 2}),
            chunk({}, "stop", usage={"prompt_tokens": 5, "completion_tokens": 3}),
        ]
        reader = ChunkReader("mock")
        self.assertEqual([TextDelta("a"), TextDelta("b")], reader.read(payloads(*documents)))
        self.assertFalse(reader.over)
        reader.read(payloads(b"[DONE]"))
        self.assertEqual([ProviderFinished("stop"), ProviderUsage(Usage(5, 3))], reader.end())

    def test_done_alone(self) -> None:
        """C{[DONE]} without a reason counts as C{stop}; nothing at all as nothing."""
        self.assertEqual([TextDelta("a"), ProviderFinished("stop")], read(text("a"), b"[DONE]"))
        self.assertEqual([TextDelta("a")], read(text("a")))

    def test_document(self) -> None:
        """A completion that is one document is read as its chunks would be."""
        message = {"role": "assistant", "content": "a", "tool_calls": [call(None, "c", "f", "{}")]}
        document = {
            "object": "chat.completion",
            "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 2},
        }
        reader = ChunkReader("mock")
        events: list[Any] = reader.read_document(json.dumps(document).encode())
        self.assertTrue(reader.over)
        self.assertEqual(
            [
                TextDelta("a"),
                ToolCallDelta(0, "c", "f", "{}"),
                ProviderFinished("tool_calls"),
                ProviderUsage(Usage(1, 2)),
            ],
            events + reader.end(),
        )

    def test_document_with_error(self) -> None:
        """An error that came as a document with status 200 is one."""
        reader = ChunkReader("mock")
        self.assertEqual([], reader.read_document(b'{"error": {"message": "m"}}'))
        self.assertIsInstance(reader.error, ProviderFailed)
        self.assertFalse(reader.over)

    def test_document_of_something_else(self) -> None:
        """A document without an answer in it is no empty answer."""
        for body in (
            b"{}",
            b'{"status": "ok"}',
            b'{"choices": null}',
            b'{"choices": [], "usage": {"prompt_tokens": 1}}',
        ):
            reader = ChunkReader("mock")
            self.assertEqual([], reader.read_document(body))
            self.assertIsInstance(reader.error, LastingProviderFailure)
            self.assertFalse(reader.over)

    def test_empty_document(self) -> None:
        """One whose answer is empty is."""
        reader = ChunkReader("mock")
        reader.read_document(b'{"choices": [{"message": {"role": "assistant", "content": ""}}]}')
        self.assertEqual([ProviderFinished("stop")], reader.end())


class ErrorTests(SynchronousTestCase):
    def error(self, *documents: Any) -> ChunkReader:
        reader = ChunkReader("mock", ["sk-12345678"])
        self.assertEqual([TextDelta("a")], reader.read(payloads(text("a"), *documents, text("late"))))
        self.assertIsNotNone(reader.error)
        return reader

    def test_garbage(self) -> None:
        """Garbage is noted after what came before it; nothing after it is read."""
        for payload in (
            b"{not json",
            b"[1]",
            b'"text"',
            b"[DONE",
            b'{"choices": [{"delta": {"content": "\xff"}}]}',
            b'{"choices": "none"}',
            b'{"choices": [{"delta": {"content": 7}}]}',
            b'{"choices": [{"delta": {"content": "\\u12',
            b'{"choices": "\\u0041"}',
            b'{"choices": 7, "usage": {"prompt_tokens": 1}}',
            b'{"choices": 7, "usage": null}',
            b'["usage"]',
            b'{"usage": {"prompt_tokens": N',
            b'{"choices": [{"index": %s}], "usage": null}' % (b"9" * 5000),
            b"[" * 100_000 + b"\\u",
            b'{"x": ' * 100_000,
        ):
            error = self.error(payload).error
            self.assertIsInstance(error, LastingProviderFailure, payload[:40])
            assert error is not None
            self.assertEqual("the provider mock sent an answer that is no chat completion", error.message)

    def test_error_object(self) -> None:
        """An error object is what it says, with and without C{choices}, and in the forms that have no C{error}."""
        said = {"message": "m sk-12345678", "code": "rate_limit_exceeded"}
        for document in (
            {"error": said},
            {"error": said, "choices": [{"delta": {"content": ""}, "finish_reason": "error"}]},
            {"error": said, "choices": []},
            {"object": "error", **said},
            {"type": "error", **said},
        ):
            error = self.error(document).error
            self.assertIsInstance(error, ProviderRateLimited, document)
            assert error is not None
            self.assertEqual("429 m ***", error.message)

    def test_error_text(self) -> None:
        """An error may be a bare text."""
        self.assertIsInstance(self.error({"error": "broken"}).error, ProviderFailed)


class SurrogateTests(SynchronousTestCase):
    """Half of a surrogate pair, which JSON can write and UTF-8 cannot."""

    def raw(self, field: str, escaped: str) -> bytes:
        return b'{"choices": [{"delta": {"%s": "%s"}}]}' % (field.encode(), escaped.encode())

    def test_pair_over_two_chunks(self) -> None:
        """Halves in two chunks are joined, in text and in reasoning."""
        for field, kind in (
            ("content", TextDelta),
            ("reasoning_content", ReasoningDelta),
            ("reasoning", ReasoningDelta),
        ):
            events = read(self.raw(field, "a\\ud83d"), self.raw(field, "\\ude00b"))
            self.assertEqual([kind("a"), kind("\U0001f600b")], events)

    def test_pair_in_arguments(self) -> None:
        """So are halves in the arguments of a tool call."""
        piece = b'{"choices": [{"delta": {"tool_calls": [{"index": 2, "id": "c", "function": %s}]}}]}'
        events = read(
            piece % b'{"name": "f\\udc00", "arguments": "\\ud83d"}',
            piece % b'{"arguments": "\\ude00"}',
            piece % b'{"arguments": "x"}',
        )
        self.assertEqual(
            [
                ToolCallDelta(2, "c", "f\ufffd", ""),
                ToolCallDelta(2, None, None, "\U0001f600"),
                ToolCallDelta(2, None, None, "x"),
            ],
            events,
        )

    def test_half_without_other(self) -> None:
        """A half whose other half does not follow is replaced, before the next text or at the end."""
        events = read(self.raw("content", "a\\ud83d"), text("b"), self.raw("reasoning", "\\ud83d"))
        self.assertEqual([TextDelta("a"), TextDelta("\ufffd"), TextDelta("b"), ReasoningDelta("\ufffd")], events)
        self.assertEqual([TextDelta("\ufffdb")], read(self.raw("content", "\\ude00b")))

    def test_half_in_arguments_without_other(self) -> None:
        """So is one in arguments."""
        piece = b'{"choices": [{"delta": {"tool_calls": [{"id": "c", "function": {"arguments": "\\ud83d"}}]}}]}'
        self.assertEqual([ToolCallDelta(0, "c", None, ""), ToolCallDelta(0, None, None, "\ufffd")], read(piece))

    def test_half_elsewhere(self) -> None:
        """A half in any other place that is read is replaced, and does no harm where nothing is read."""
        piece = b'{"choices": [{"delta": {"tool_calls": [{"id": "c\\ud83d", "function": %s}]}}]}'
        self.assertEqual(
            [ToolCallDelta(0, "c\ufffd", None, '{"a": "\\ud83d"}')], read(piece % b'{"arguments": {"a": "\\ud83d"}}')
        )
        for function in (b"null", b"{}"):
            self.assertEqual([ToolCallDelta(0, "c\ufffd", None, "")], read(piece % function))
        self.assertEqual([TextDelta("\ufffd")], read(self.raw("refusal", "\\ud83d")))
        parts = b'{"choices": [{"delta": {"content": [{"text": "a\\udc00"}]}}]}'
        self.assertEqual([TextDelta("a\ufffd")], read(parts))
        self.assertEqual([], read(b'{"choices": [{"finish_reason": "\\ud83d", "index": 1}]}'))
        self.assertEqual(
            [], read(b'{"choices": [{"index": 1, "finish_reason": "\\ud83d", "delta": {"content": "a"}}]}')
        )
        for unread in (b'{"x": "\\ud83d"}', b'{"x": "\xff"}', b'{"x": ' + b"[" * 500 + b"]" * 500 + b"}"):
            self.assertEqual([], read(unread))

    def test_half_in_error(self) -> None:
        """An error with a half in it is told without."""
        for error in (b'{"message": "a\\ud83d"}', b'{"message": ["\\ud83d"]}', b'"a\\ud83d"'):
            reader = ChunkReader("mock")
            reader.read([b'{"error": %s}' % error])
            self.assertIsInstance(reader.error, ProviderFailed)
            assert reader.error is not None
            reader.error.message.encode()
