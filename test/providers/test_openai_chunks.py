"""Tests of L{openclaw.providers.openai_chunks}."""

from __future__ import annotations

import json
import time
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from openclaw.errors import LastingProviderFailure, ProviderFailed, ProviderOverloaded, ProviderRateLimited
from openclaw.events import ProviderFinished, ProviderUsage, ReasoningDelta, TextDelta, ToolCallDelta
from openclaw.messages import Usage
from openclaw.providers.openai_chunks import ChunkReader
from openclaw.providers.sse import ErrorData, UnframedData
from openclaw.providers.tool_call_pieces import MAX_CALLS
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
    def test_texts_as_content(self) -> None:
        """A content that is a list of nothing but texts is these, also with a field of a wrong type beside it."""
        for more in ({}, {"refusal": False}):
            events = read(chunk({"content": ["a", "b"], **more}), chunk({}, "stop"))
            self.assertEqual([TextDelta("ab"), ProviderFinished("stop")], events)

    def test_control_characters(self) -> None:
        """A text that has control characters as they are is read."""
        events = read(b'{"choices": [{"index": 0, "delta": {"content": "a\tb"}}]}', chunk({}, "stop"))
        self.assertEqual([TextDelta("a\tb"), ProviderFinished("stop")], events)

    def test_no_empty_lines(self) -> None:
        """Chunks without the empty lines between them are one event; garbage among them stays garbage."""
        lines = b"\n".join(payloads(text("a"), text("b"), chunk({}, "stop"), b"[DONE]", text("late")))
        self.assertEqual([TextDelta("a"), TextDelta("b"), ProviderFinished("stop")], read(lines))
        for garbage in (b"{no}", b"no"):
            with self.assertRaises(LastingProviderFailure):
                read(b"\n".join((*payloads(text("a")), garbage)))

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
        """Only the choice counts that was seen first, whatever its index; one without an index is that one, too."""

        def choice(index: Any, content: str) -> dict[str, Any]:
            return {"index": index, "delta": {"content": content}}

        for first, other in ((0, 1), (1, 0), ("0", 1), ("2", "1"), (-1, 0)):
            documents = [
                {"choices": [choice(first, "a")]},
                {"choices": [choice(other, "no")]},
                {"choices": [choice(other, "no"), choice(first, "b")]},
                {"choices": [choice(None, "c")]},
            ]
            self.assertEqual([TextDelta("a"), TextDelta("b"), TextDelta("c")], read(*documents), first)
        self.assertEqual(
            [TextDelta("a"), TextDelta("b")],
            read({"choices": [choice(None, "a")]}, {"choices": [choice(3, "b"), choice(0, "no")]}),
        )

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
        reader.read([*payloads(text("a")), b" [DONE] "])
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
            ("content_filter", "content_filter"),
            ("eos", "stop"),
            ("MAX_TOKENS", "length"),
        ):
            self.assertEqual([reason], [event.reason for event in read(chunk({}, said))])
        for said in ("tool_calls", "function_call"):
            self.assertEqual(ProviderFinished("tool_calls"), read(calls(call(0, "c", "f")), chunk({}, said))[-1])
            # Of calls that there are none of.
            self.assertEqual([ProviderFinished("stop")], read(chunk({}, said)))

    def test_last_reason_counts(self) -> None:
        """A reason that is repeated is told once, as it was last."""
        self.assertEqual([ProviderFinished("stop")], read(chunk({}, "length"), chunk({}, "stop")))
        self.assertEqual([ProviderFinished("length")], read(chunk({}, "stop"), chunk({}, "length"), b"[DONE]"))

    def test_no_reason(self) -> None:
        """Blanks and the word null are no reasons, nor is what is no text."""
        for said in ("null", "NULL", "None", "", " ", "\n", False, [], {"type": "stop"}, 0):
            reader = ChunkReader("mock")
            reader.read(payloads(chunk({"content": "a"}, said)))  # type: ignore[arg-type]
            self.assertFalse(reader.is_finished, said)

    def test_reason_taken_back(self) -> None:
        """More text, reasoning or calls take a reason back; what tells nothing does not."""
        piece = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}
        for more in (text("b"), chunk({"reasoning": "b"}), calls(piece), chunk({"refusal": "b"})):
            reader = ChunkReader("mock")
            reader.read(payloads(text("a"), chunk({}, "stop")))
            self.assertTrue(reader.is_finished)
            self.assertFalse(reader.may_go_on)
            reader.read(payloads(more))
            self.assertFalse(reader.is_finished)
            self.assertTrue(reader.may_go_on)
            self.assertEqual([], reader.end())
        reader = ChunkReader("mock")
        reader.read(
            payloads(text("a"), chunk({"content": ""}, "length"), chunk({"content": "", "reasoning": None}), {})
        )
        self.assertTrue(reader.is_finished)
        self.assertEqual([ProviderFinished("length")], reader.end())

    def test_reason_with_each_piece(self) -> None:
        """Relays of Gemini: nothing is lost, and the last reason counts."""
        pieces = [
            chunk({"content": word}, "stop", usage={"prompt_tokens": 5, "completion_tokens": 1}) for word in "abc"
        ]
        self.assertEqual(
            [TextDelta("a"), TextDelta("b"), TextDelta("c"), ProviderFinished("stop"), ProviderUsage(Usage(5, 1))],
            read(*pieces, b"[DONE]"),
        )

    def test_reason_behind_reasoning_alone(self) -> None:
        """That the reasoning is over need not be the end."""
        reader = ChunkReader("mock")
        reader.read(payloads(chunk({"reasoning_content": "hm"}, "stop")))
        self.assertTrue(reader.is_finished and reader.may_go_on)

    def test_failures(self) -> None:
        """A reason that names a failure is one, after what was said; an error object beside it says why."""
        for said, kind in (("error", ProviderFailed), ("insufficient_system_resource", ProviderOverloaded)):
            reader = ChunkReader("mock")
            self.assertEqual([TextDelta("a")], reader.read(payloads(chunk({"content": "a"}, said), b"[DONE]")))
            self.assertEqual([], reader.end())
            self.assertIsInstance(reader.error, kind)
            self.assertIn(said, str(reader.error))
        reader = ChunkReader("mock")
        reader.read(payloads(chunk({}, "error", error={"message": "went away", "code": 502})))
        self.assertEqual("the provider mock failed: went away", str(reader.error))

    def test_done_without_choice(self) -> None:
        """C{[DONE]} alone is no answer, nor is usage, nor a note; what was noted is told."""
        for documents, message in (
            ([], "the provider mock ended its answer before it began"),
            ([usage()], "the provider mock ended its answer before it began"),
            ([{"choices": [], "prompt_filter_results": []}], "the provider mock ended its answer before it began"),
            ([{"message": "no route"}], "the provider mock failed: no route"),
        ):
            reader = ChunkReader("mock")
            self.assertEqual([], reader.read(payloads(*documents, b"[DONE]")))
            self.assertFalse(reader.over)
            self.assertIsInstance(reader.error, ProviderFailed)
            self.assertEqual(message, str(reader.error))

    def test_usage_midway(self) -> None:
        """Usage without choices ends nothing before a reason was given."""
        events = read(text("a"), usage(1, 1), text("b"), chunk({}, "stop"), usage(), text("late"))
        self.assertEqual([TextDelta("a"), TextDelta("b"), ProviderFinished("stop")], events[:-1])

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


class OddChunkTests(SynchronousTestCase):
    """What is odd and costs nothing."""

    def test_no_object(self) -> None:
        """What is no object is passed over, and says nothing of whether there was an answer."""
        for payload in (b"null", b'"ping"', b"[1]", b"[]", b'["usage"]', b"7", b"true", b'["\\ud83d"]', b"NaN"):
            self.assertEqual([TextDelta("a"), TextDelta("b")], read(text("a"), payload, text("b")), payload)
            reader = ChunkReader("mock")
            reader.read([payload])
            self.assertFalse(reader.seen)

    def test_wrong_types(self) -> None:
        """A field of a wrong type counts as absent, whichever it is, and the rest of its chunk is read."""
        wrong: tuple[Any, ...] = (7, 7.5, True, False, "", "x", [], [1], {}, {"x": 1}, [None], float("nan"))
        fields = ("reasoning", "reasoning_content", "reasoning_text", "refusal", "tool_calls", "function_call")
        for value in wrong:
            for name in fields:
                if isinstance(value, str) and name != "tool_calls" and name != "function_call":
                    continue
                if (isinstance(value, dict) and name in ("function_call", "tool_calls") and value) or value == {}:
                    continue
                found = read(chunk({"content": "a", name: value}), text("b"))
                self.assertEqual([TextDelta("a"), TextDelta("b")], found, (name, value))
            for odd in (
                {"choices": value},
                {"choices": [value]},
                {"choices": [{"index": 0, "delta": value}]},
                {"choices": [{"index": 0, "message": value}]},
                {"choices": [], "usage": value},
                chunk({}, usage=value),
            ):
                self.assertEqual([TextDelta("a"), TextDelta("b")], read(text("a"), odd, text("b")), odd)
            if not isinstance(value, str | list | dict):
                self.assertEqual([TextDelta("a")], read(text("a"), chunk({"content": value})), value)
            if not isinstance(value, str):
                self.assertEqual([TextDelta("a")], read(chunk({"content": "a"}, value)), value)

    def test_wrong_types_of_calls(self) -> None:
        """So it is within a call."""
        for piece in (
            {"index": 0, "id": 7, "function": {"name": "f", "arguments": None}, "type": 5},
            {"index": [], "id": "c", "function": {"name": "f", "arguments": True}},
            {"index": True, "id": ["c"], "function": {"name": "f"}},
        ):
            [event] = read(calls(piece))
            self.assertEqual((0, "f", ""), (event.index, event.name, event.arguments))
        self.assertEqual([ToolCallDelta(0, "c", None, "")], read(calls(call(0, "c"), {**call(0), "function": "f"})))

    def test_no_error(self) -> None:
        """What servers write for "no error" is none."""
        none: tuple[Any, ...] = (None, "", " ", {}, [], False, 0, 200, "null", "success", {"code": 0, "message": ""})
        for value in (*none, {"code": 0, "message": "success"}, {"message": None, "param": "x"}):
            for more in ({"error": value}, {"errors": value}, {"error_message": value}, {"detail": value}):
                self.assertEqual([TextDelta("a")], read({**text("a"), **more}), more)
                self.assertEqual([TextDelta("a")], read(text("a"), more), more)
        for more in (
            {"base_resp": {"status_code": 0, "status_msg": ""}},
            {"code": 0, "msg": "ok"},
            {"code": "200", "message": "ok"},
            {"type": "ping"},
            {"object": "meta", "conversation": 7},
            {"message": "working on it"},
        ):
            self.assertEqual([TextDelta("a")], read({**text("a"), **more}), more)
            self.assertEqual([TextDelta("a")], read(text("a"), {"choices": None, **more}), more)

    def test_shapes_of_content(self) -> None:
        """Content is a text, parts or one part; thinking parts are reasoning, and stand first."""
        thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
        for content, told in (
            ({"type": "text", "text": "a"}, [TextDelta("a")]),
            ({"text": "a"}, [TextDelta("a")]),
            ([{"type": "text", "text": {"value": "a", "annotations": []}}], [TextDelta("a")]),
            ([{"type": "output_text", "text": "a"}], [TextDelta("a")]),
            ([thinking], [ReasoningDelta("hm")]),
            ([{"type": "text", "text": "a"}, thinking], [ReasoningDelta("hm"), TextDelta("a")]),
            ([{"type": "thinking", "thinking": "hm"}], [ReasoningDelta("hm")]),
            ([{"type": "reasoning", "text": "hm"}], [ReasoningDelta("hm")]),
            ([{"type": "image_url", "image_url": {"url": "x"}}], []),
        ):
            self.assertEqual(told, read(chunk({"content": content})), content)

    def test_shapes_of_reasoning(self) -> None:
        """So is reasoning."""
        for value in (
            {"text": "hm"},
            [{"type": "text", "text": "hm"}],
            [{"text": "h"}, {"text": "m"}],
            {"content": "hm"},
        ):
            for name in ("reasoning", "reasoning_content", "reasoning_text"):
                self.assertEqual([ReasoningDelta("hm"), TextDelta("a")], read(chunk({"content": "a", name: value})))
        self.assertEqual([ReasoningDelta("hm")], read(chunk({"reasoning_text": "hm"})))

    def test_plain_completion(self) -> None:
        """A server of plain completions has the text beside the choice's index."""
        events = read({"choices": [{"index": 0, "text": "a"}]}, {"choices": [{"text": "", "finish_reason": "stop"}]})
        self.assertEqual([TextDelta("a"), ProviderFinished("stop")], events)

    def test_framed_twice(self) -> None:
        """Relays that frame what is framed already."""
        events = read(b"data: " + json.dumps(text("a")).encode(), b"data: [DONE]")
        self.assertEqual([TextDelta("a"), ProviderFinished("stop")], events)

    def test_other_usage(self) -> None:
        """Other names of the figures, and other places."""
        for said, understood in (
            ({"input_tokens": 7, "output_tokens": 2}, Usage(7, 2)),
            ({"prompt_tokens": 7, "completion_tokens": 2, "prompt_cache_hit_tokens": 4}, Usage(7, 2, 4)),
            ({"prompt_tokens": 7, "completion_tokens": 2, "cached_tokens": 4}, Usage(7, 2, 4)),
            ({"prompt_tokens": 7, "completion_tokens": 2, "prompt_tokens_details": []}, Usage(7, 2)),
        ):
            self.assertEqual(ProviderUsage(understood), read(chunk({}, "stop"), {"choices": [], "usage": said})[-1])
            within = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": said}]}
            self.assertEqual(ProviderUsage(understood), read(within)[-1])

    def test_usage_of_nothing(self) -> None:
        """A count that has not begun is none, and does not undo one."""
        zero = {"prompt_tokens": 0, "completion_tokens": 0}
        self.assertEqual([ProviderFinished("stop")], read(chunk({}, "stop", usage=zero)))
        self.assertEqual(
            ProviderUsage(Usage(10, 3)), read(chunk({}, usage=usage()["usage"]), chunk({}, "stop", usage=zero))[-1]
        )

    def test_usage_does_not_end_with_choices(self) -> None:
        """Usage beside a choice ends nothing."""
        reader = ChunkReader("mock")
        reader.read(payloads(chunk({}, "stop"), chunk({}, usage={"prompt_tokens": 1, "completion_tokens": 1})))
        self.assertFalse(reader.over)


class OddCallTests(SynchronousTestCase):
    def test_index_as_text(self) -> None:
        events = read(
            calls({**call(0, "c", "f", "{"), "index": "0"}), calls({**call(0, None, None, "}"), "index": "0"})
        )
        self.assertEqual([ToolCallDelta(0, "c", "f", "{"), ToolCallDelta(0, None, None, "}")], events)

    def test_index_from_one(self) -> None:
        """What is told counts from 0."""
        events = read(
            calls(call(1, "c", "f", "{")),
            calls(call(1, None, None, "}")),
            calls(call(2, "d", "g")),
            calls(call(1, None, None, "!")),
        )
        self.assertEqual([0, 0, 1, 0], [event.index for event in events])

    def test_one_index_for_all(self) -> None:
        """Gemini's: whole calls, each of which has the index 0."""
        events = read(
            calls(call(0, "c", "f", "{}")),
            calls(call(0, "d", "f", "{")),
            calls(call(0, None, None, "}")),
            calls(call(0, "d", "f")),
        )
        self.assertEqual([0, 1, 1], [event.index for event in events])
        self.assertEqual(["c", "d", None], [event.id for event in events])

    def test_another_id_with_each_piece(self) -> None:
        """An id alone begins no other call: some servers make one for each piece."""
        events = read(calls(call(0, "c", "f", "{")), calls(call(0, "d", None, "}")))
        self.assertEqual([0, 0], [event.index for event in events])

    def test_whole_calls_without_anything(self) -> None:
        """Neither index nor id: a name begins the next one."""
        events = read(
            calls(call(None, None, "f", "{}")), calls(call(None, None, "g", "{}")), calls(call(None, None, None, "x"))
        )
        self.assertEqual([0, 1, 0], [event.index for event in events])

    def test_arguments(self) -> None:
        for said, told in (({"q": 1}, '{"q":1}'), ([1, 2], "[1,2]"), (7, "7"), ('{"q":1}', '{"q":1}')):
            self.assertEqual(told, read(calls(call(0, "c", "f", said)))[0].arguments)

    def test_single_object(self) -> None:
        """One call that is not in a list."""
        self.assertEqual([ToolCallDelta(0, "c", "f", "{}")], read(chunk({"tool_calls": call(0, "c", "f", "{}")})))

    def test_function_call(self) -> None:
        """What calls were before there were several."""
        events = read(
            chunk({"function_call": {"name": "f", "arguments": ""}}),
            chunk({"function_call": {"arguments": "{}"}}),
            chunk({}, "function_call"),
        )
        self.assertEqual(("f", "{}"), (events[0].name, events[1].arguments))
        self.assertEqual(ProviderFinished("tool_calls"), events[-1])

    def test_unasked(self) -> None:
        """Of a model that was offered no tool, the text is kept and its call left out."""
        reader = ChunkReader("mock", takes_calls=False)
        events: list[Any] = reader.read(
            payloads(text("Let me look."), calls(call(0, "c", "f", "{}")), chunk({}, "tool_calls"), b"[DONE]")
        )
        self.assertEqual([TextDelta("Let me look."), ProviderFinished("stop")], events + reader.end())


class ThinkTests(SynchronousTestCase):
    def test_tags(self) -> None:
        """Thinking at the start of the text is reasoning, wherever it is cut; surrogates and the rest as ever."""
        for pieces in (
            ["<think>plan</think>\n\nHello"],
            ["<th", "ink>plan</thi", "nk>\n\nHello"],
            "<think>plan</think>Hello",
        ):
            events = read(*map(text, pieces), chunk({}, "stop"))
            self.assertEqual("plan", "".join(event.text for event in events if isinstance(event, ReasoningDelta)))
            self.assertEqual("Hello", "".join(event.text for event in events if isinstance(event, TextDelta)))
        self.assertEqual(
            [ReasoningDelta("plan"), ProviderFinished("length")], read(text("<think>plan"), chunk({}, "length"))
        )

    def test_off(self) -> None:
        reader = ChunkReader("mock", think_tags=False)
        self.assertEqual([TextDelta("<think>a</think>b")], reader.read(payloads(text("<think>a</think>b"))))

    def test_held_back(self) -> None:
        """What was held back is told at the end."""
        self.assertEqual([TextDelta(" <thi"), ProviderFinished("stop")], read(text(" <"), text("thi"), b"[DONE]"))

    def test_end_of_thinking_is_no_end(self) -> None:
        """A reason behind thinking in tags is as one behind reasoning."""
        reader = ChunkReader("mock")
        reader.read(payloads(chunk({"content": "<think>hm</think>"}, "stop")))
        self.assertTrue(reader.may_go_on)


class ErrorTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """An error in any of its forms is the server's own reason and its status, before the answer and within it."""
        said = {"message": "too quick", "code": 429}
        forms: list[Any] = [
            {"error": said},
            {"error": json.dumps({"error": said})},
            {"error": {"error": said}},
            {"error": said, "choices": None},
            {"error": said, "usage": {"prompt_tokens": 1, "completion_tokens": 0}},
            {"error": said, **chunk({"content": ""}, "error")},
            {"error": True, **said},
            {"object": "error", **said},
            {"type": "error", "error": said},
            {"choices": None, "error_type": "RateLimitError", "error_message": "too quick"},
            {**chunk({}, "stop"), "error_type": "RateLimitError", "error_message": "too quick"},
            {"choices": None, "base_resp": {"status_code": 1002, "status_msg": "too quick"}},
            {**chunk({}, "stop"), "base_resp": {"status_code": 1002, "status_msg": "too quick"}},
            {"code": 429, "msg": "too quick"},
            {"code": "Throttling.RateQuota", "message": "too quick", "request_id": "r"},
            {"code": 429, "message": "too quick", "data": None, "choices": []},
            {"errors": [said]},
            {"errors": ["too quick"], "code": 429},
            {"detail": "too quick", "code": 429},
            {"detail": [{"msg": "too quick", "type": "rate_limit_error"}]},
            {"success": False, "message": "too quick", "status": 429},
            {"message": "too quick", "type": "rate_limit_error", "param": None},
            [{"error": said}],
            ErrorData(json.dumps(said).encode()),
            ErrorData(json.dumps({"error": said}).encode()),
            ErrorData(b"429: too quick, that is too many requests"),
            UnframedData(json.dumps({"error": said}).encode()),
        ]
        for form in forms:
            for before in ([], [text("a")]):
                reader = ChunkReader("mock")
                reader.read(payloads(*before, form, b"[DONE]"))
                self.assertIsInstance(reader.error, ProviderRateLimited, form)
                self.assertIn("too quick", str(reader.error))
                self.assertFalse(reader.over or reader.garbage)

    def test_depth(self) -> None:
        """However deep it is nested, nothing breaks but that answer."""
        for depth in (5, 50, 500, 900, 990, 5000):
            for opening, closing in ((b'{"a":', b"}"), (b"[", b"]"), (b'{"error":', b"}"), (b'{"message":', b"}")):
                deep = opening * depth + b"7" + closing * depth
                part = b'{"type":"thinking","thinking":[' * depth + b"]}" * depth
                for document in (
                    b'{"error": %s}' % deep,
                    b'{"detail": [{"loc": [%s], "msg": %s}]}' % (deep, deep),
                    b'{"choices": [{"delta": {"content": [%s, %s]}}]}' % (deep, part),
                    b'{"choices": [{"delta": {"content": [%s, "\\ud83d"]}}]}' % part,
                    b'{"choices": [{"delta": {"reasoning": %s, "content": "a"}}]}' % deep,
                    b'{"choices": [{"delta": {"tool_calls": [{"function": {"name": "f", "arguments": %s}}]}}]}' % deep,
                    deep,
                ):
                    for payload in (document, ErrorData(document), UnframedData(document)):
                        reader = ChunkReader("mock")
                        reader.read([payload])
                        reader.end()
                        ChunkReader("mock").read_document(document)

    def test_unframed_garbage(self) -> None:
        """What only looks like JSON is none of the answer's."""
        reader = ChunkReader("mock")
        self.assertEqual([TextDelta("a")], reader.read([UnframedData(b"[info] begin"), *payloads(text("a"))]))
        self.assertIsNone(reader.error)

    def test_garbage_is_known(self) -> None:
        """Garbage, which may only be cut off, is told from an error."""
        reader = ChunkReader("mock")
        reader.read([b'{"choi'])
        self.assertEqual(b'{"choi', reader.garbage)

    def error(self, *documents: Any) -> ChunkReader:
        reader = ChunkReader("mock", ["sk-12345678"])
        self.assertEqual([TextDelta("a")], reader.read(payloads(text("a"), *documents, text("late"))))
        self.assertIsNotNone(reader.error)
        return reader

    def test_error_without_words(self) -> None:
        """An event that is an error and says nothing is one all the same."""
        for payload in (ErrorData(b""), ErrorData(b" ")):
            error = self.error(payload).error
            assert error is not None
            self.assertEqual("the provider mock failed and gives no reason", error.message)

    def test_code_of_success(self) -> None:
        """A note whose code nobody knows is no error if its words say that all is well."""
        for words in ("OK", "success", ""):
            events = read(text("a"), {"code": "20000", "message": words}, chunk({}, "stop"))
            self.assertEqual([TextDelta("a"), ProviderFinished("stop")], events)

    def test_long_code(self) -> None:
        """A code without end costs no time."""
        reader = ChunkReader("mock")
        long = "_" * 4_000_000
        began_s = time.process_time()
        reader.read(payloads({"error": {"code": long, "message": "no"}}))
        self.assertLess(time.process_time() - began_s, 0.1)

    def test_error_of_choice(self) -> None:
        """An error within a choice has the server's reason, whatever its finish reason."""
        said = {"message": "the provider behind is gone", "code": 502}
        for finish in (None, "error", "stop"):
            for index in (0, "0"):
                choice = {"index": index, "delta": {"content": ""}, "finish_reason": finish, "error": said}
                error = self.error({"choices": [choice]}).error
                assert error is not None
                self.assertEqual("the provider mock failed: the provider behind is gone", error.message)
        for blank in (None, "", {}, False, {"code": 0}):
            events = read({"choices": [{"index": 0, "delta": {"content": "a"}, "error": blank}]}, chunk({}, "stop"))
            self.assertEqual([TextDelta("a"), ProviderFinished("stop")], events)

    def test_garbage(self) -> None:
        """Garbage is noted after what came before it; nothing after it is read."""
        for payload in (
            b"{not json",
            b"[DONE",
            b'{"choices": [{"delta": {"content": "\xff"}}]}',
            b'{"choices": [{"delta": {"content": "\\u12',
            b'{"usage": {"prompt_tokens": N',
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
            self.assertEqual("the provider mock asks to slow down: m ***", error.message)

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
                ToolCallDelta(0, "c", "f\ufffd", ""),
                ToolCallDelta(0, None, None, "\U0001f600"),
                ToolCallDelta(0, None, None, "x"),
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
        stop = ProviderFinished("stop")
        self.assertEqual([stop], read(b'{"choices": [{"finish_reason": "\\ud83d", "index": 1}]}'))
        self.assertEqual(
            [TextDelta("a"), stop],
            read(b'{"choices": [{"index": 1, "finish_reason": "\\ud83d", "delta": {"content": "a"}}]}'),
        )
        other = b'{"choices": [{"index": 1, "finish_reason": "\\ud83d", "delta": {"content": "a"}}]}'
        self.assertEqual([], read(chunk(), other))
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
