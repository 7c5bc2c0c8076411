"""Tests for L{openclaw.http.openai.types}: what is wrong with a body is told with the field's name."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from openclaw.errors import InvalidRequest, ModelNotFound
from openclaw.http.openai.types import (
    MAX_ITEMS,
    MAX_MESSAGES,
    MAX_RESPONSE_FORMAT_BYTES,
    ChatRequest,
    decode_chat_request,
    read_conversation,
)
from openclaw.messages import Message, ToolCall
from openclaw.models import Sampling

USER = {"role": "user", "content": "hi"}


def body(**fields: Any) -> bytes:
    """A body with one message and some other fields."""
    return json.dumps({"messages": [USER]} | fields).encode()


def message(**fields: Any) -> bytes:
    """A body whose second message has some fields."""
    return json.dumps({"messages": [USER, {"role": "user"} | fields]}).encode()


def raw(field: bytes) -> bytes:
    """A body with a field as it stands."""
    return b'{"messages":[{"role":"user","content":"hi"}],%b}' % field


def read(data: bytes) -> ChatRequest:
    """Read all of a body, as the route does."""
    request = decode_chat_request(data)
    read_conversation(request)
    request.sampling()
    return request


WRONG: list[tuple[bytes, str | None]] = [
    (b"", None),
    (b" \r\n", None),
    (b"{", None),
    (b"nope", None),
    (b"null", None),
    (b"[]", None),
    (b'"text"', None),
    (b"5", None),
    (body() + b"x", None),
    (body() + body(), None),
    (b"\xef\xbb\xbf" + body(), None),
    (body().decode().encode("utf-16"), None),
    (body().decode().encode("utf-32"), None),
    (b"a=1&b=2", None),
    (b"{'messages': []}", None),
    (raw(b'"zz":NaN'), None),
    (raw(b'"temperature":NaN'), None),
    (raw(b'"temperature":Infinity'), None),
    (raw(b'"zz":-Infinity'), None),
    (raw(b'"zz":01'), None),
    (raw(b'"zz":"\xff"'), None),
    (raw(b'"user":"\xed\xa0\x80"'), None),
    (raw(b'"user":"a\x00b"'), None),
    (raw(b'"user":"a\nb"'), None),
    (raw(b'"zz":' + b"[" * 100_000 + b"]" * 100_000), None),
    (raw(b'"zz":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000), None),
    (b"[" * 100_000, None),
    (b"{}", "messages"),
    (b'{"messages":null}', "messages"),
    (b'{"messages":{}}', "messages"),
    (b'{"messages":"hi"}', "messages"),
    (b'{"messages":[]}', "messages"),
    (json.dumps({"messages": [USER] * (MAX_MESSAGES + 1)}).encode(), "messages"),
    (b'{"messages":[{"role":"user"}]}', "messages"),
    (b'{"messages":[{"role":"user","content":" \\n"}]}', "messages"),
    (b'{"messages":[{"role":"system","content":"x"}]}', "messages"),
    (b'{"messages":[{"role":"user","content":[]}]}', "messages"),
    (b'{"messages":[null]}', "messages.0"),
    (b'{"messages":["hi"]}', "messages.0"),
    (b'{"messages":[{"content":"x"}]}', "messages.0.role"),
    (message(role=None), "messages.1.role"),
    (message(role="User"), "messages.1.role"),
    (message(role="assistant\n"), "messages.1.role"),
    (message(role=5), "messages.1.role"),
    (message(content=5), "messages.1.content"),
    (message(content={"type": "text"}), "messages.1.content"),
    (message(content=[{"type": "text", "text": "x"}] * (MAX_ITEMS - 1)), "messages"),
    (message(role="assistant", tool_calls=[{"id": "a", "function": {"name": "f"}}] * (MAX_ITEMS - 1)), "messages"),
    (message(content=["x"]), "messages.1.content.0"),
    (message(content=[{"text": "x"}]), "messages.1.content.0.type"),
    (message(content=[{"type": 5}]), "messages.1.content.0.type"),
    (message(content=[{"type": "text", "text": "x"}, {"type": "input_audio"}]), "messages.1.content.1.type"),
    (message(content=[{"type": "text"}]), "messages.1.content.0.text"),
    (message(content=[{"type": "text", "text": 5}]), "messages.1.content.0.text"),
    (message(content=[{"type": "refusal"}]), "messages.1.content.0.refusal"),
    (message(name=5), "messages.1.name"),
    (message(role="tool", content="x"), "messages.1.tool_call_id"),
    (message(role="tool", content="x", tool_call_id=""), "messages.1.tool_call_id"),
    (message(role="tool", content="x", tool_call_id=5), "messages.1.tool_call_id"),
    (message(role="function", content="x"), "messages.1.name"),
    (message(role="assistant", tool_calls={}), "messages.1.tool_calls"),
    (message(role="assistant", tool_calls=[{}]), "messages.1.tool_calls.0.id"),
    (message(role="assistant", tool_calls=[{"id": "a"}]), "messages.1.tool_calls.0.function"),
    (message(role="assistant", tool_calls=[{"id": "a", "function": {}}]), "messages.1.tool_calls.0.function.name"),
    (
        message(role="assistant", tool_calls=[{"id": "a", "function": {"name": "f", "arguments": {}}}]),
        "messages.1.tool_calls.0.function.arguments",
    ),
    (body(model=5), "model"),
    (body(model=["openclaw"]), "model"),
    (body(stream="true"), "stream"),
    (body(stream=1), "stream"),
    (body(stream_options=[]), "stream_options"),
    (body(stream_options={"include_usage": "yes"}), "stream_options.include_usage"),
    (body(user=5), "user"),
    (body(metadata="x"), "metadata"),
    (body(metadata={"session_id": 5}), "metadata.session_id"),
    (body(store="x"), "store"),
    (body(n=2), "n"),
    (body(n=0), "n"),
    (body(n="1"), "n"),
    (body(temperature=2.1), "temperature"),
    (body(temperature=-0.1), "temperature"),
    (body(temperature="1"), "temperature"),
    (raw(b'"temperature":1e400'), "temperature"),
    (body(top_p=1.1), "top_p"),
    (body(top_p=-1), "top_p"),
    (body(frequency_penalty=2.5), "frequency_penalty"),
    (body(presence_penalty=-2.5), "presence_penalty"),
    (body(presence_penalty=True), "presence_penalty"),
    (body(seed=1.5), "seed"),
    (body(seed="1"), "seed"),
    (body(seed=2**63), "seed"),
    (raw(b'"seed":' + b"9" * 6000), "seed"),
    (body(stop=5), "stop"),
    (body(stop=""), "stop"),
    (body(stop=["a", ""]), "stop.1"),
    (body(stop=["a", None]), "stop.1"),
    (body(stop=list("abcde")), "stop"),
    (body(max_tokens=0), "max_tokens"),
    (body(max_tokens=-1), "max_tokens"),
    (body(max_tokens="5"), "max_tokens"),
    (body(max_tokens=10**20), "max_tokens"),
    (body(max_completion_tokens=1.5), "max_completion_tokens"),
    (body(response_format="json"), "response_format"),
    (body(response_format=[]), "response_format"),
    (body(response_format={}), "response_format.type"),
    (body(response_format={"type": "xml"}), "response_format.type"),
    (body(response_format={"type": 5}), "response_format.type"),
    (body(response_format={"type": "json_schema"}), "response_format.json_schema"),
    (body(response_format={"type": "json_schema", "json_schema": {}}), "response_format.json_schema.name"),
    (body(response_format={"type": "json_schema", "json_schema": {"name": 5}}), "response_format.json_schema.name"),
    (body(reasoning_effort=""), "reasoning_effort"),
    (body(reasoning_effort=5), "reasoning_effort"),
    (body(reasoning_effort="x" * 33), "reasoning_effort"),
    # Half of a surrogate pair, wherever it stands.
    (body(user="\ud800"), "user"),
    (body(user="a\udc00b and more text"), "user"),
    (body(metadata={"session_id": "\ud800x"}), "metadata.session_id"),
    (body(metadata={"other": [1, "\ud800 some text"]}), "metadata.other.1"),
    (body(zz="\ud800" + "x" * 300_000), None),
    (body(zz="\udfff\ud800"), "zz"),
    (message(content="\ud83d"), "messages.1.content"),
    (message(content=[{"type": "text", "text": "\ud83d"}]), "messages.1.content.0.text"),
    (raw(b'"zz":"\\ud800'), None),
    (raw(b'"zz":"\\ud800 and more", "y":' + b"[" * 100_000), None),
]


class WrongBodyTests(SynchronousTestCase):
    def test_all_are_told_with_their_field(self) -> None:
        self.assertGreater(len(WRONG), 40)
        for data, param in WRONG:
            error = self.assertRaises(InvalidRequest, read, data)
            self.assertEqual(error.param, param, (data[:120], error.message))
            self.assertEqual(error.http_status, 400)
            self.assertTrue(error.message)
            self.assertNotIn("`", error.message)
            self.assertLess(len(error.message), 300)
            if param is not None:
                self.assertTrue(error.message.startswith(param), error.message)

    def test_missing_field(self) -> None:
        self.assertEqual(self.assertRaises(InvalidRequest, read, b"{}").message, "messages is required")

    def test_half_a_pair_in_the_model(self) -> None:
        error = self.assertRaises(ModelNotFound, read, body(model="openclaw\ud800"))
        self.assertEqual((error.param, error.code), ("model", "model_not_found"))

    def test_empty_body(self) -> None:
        self.assertIn("empty", self.assertRaises(InvalidRequest, read, b"").message)


class GoodBodyTests(SynchronousTestCase):
    def test_nulls_are_absent(self) -> None:
        names = (
            "model stream stream_options user metadata store n temperature top_p frequency_penalty presence_penalty"
            " seed stop max_tokens max_completion_tokens response_format reasoning_effort"
        )
        request = read(body(**dict.fromkeys(names.split())))
        self.assertEqual(request, read(body()))
        self.assertEqual(request.sampling(), Sampling())
        self.assertIsNone(read(body(stream_options={"include_usage": None})).stream_options.include_usage)  # type: ignore[union-attr]

    def test_nulls_in_messages(self) -> None:
        data = message(role="assistant", content=None, name=None, tool_calls=None, tool_call_id=None)
        self.assertEqual(read_conversation(read(data)).messages[1], Message("assistant", ""))

    def test_unknown_fields_are_ignored(self) -> None:
        read(body(zz=1, tools=None, logit_bias={"a": 1}, metadata={"a": {"b": 1}}))
        read(message(content=[{"type": "text", "text": "x", "cache_control": {}}], refusal=None, audio=1))

    def test_last_of_two_keys_wins(self) -> None:
        data = b'{"messages":[],"user":"a","messages":[{"role":"user","content":"x"}],"user":"b"}'
        self.assertEqual(read(data).user, "b")

    def test_numbers(self) -> None:
        request = read(body(temperature=2, top_p=1, frequency_penalty=-2, presence_penalty=2, seed=-(2**63), n=1))
        sampling = request.sampling()
        self.assertEqual((sampling.temperature, sampling.seed), (2.0, -(2**63)))

    def test_stop(self) -> None:
        self.assertEqual(read(body(stop="a")).sampling().stop, ("a",))
        self.assertEqual(read(body(stop=list("abcd"))).sampling().stop, tuple("abcd"))
        self.assertEqual(read(body(stop=[])).sampling().stop, ())

    def test_token_limits(self) -> None:
        self.assertEqual(read(body(max_tokens=5)).sampling().max_tokens, 5)
        self.assertEqual(read(body(max_tokens=5, max_completion_tokens=9)).sampling().max_tokens, 9)

    def test_response_format_is_bounded(self) -> None:
        text = b'{"type":"json_object","x":"%s"}' % (b"x" * (MAX_RESPONSE_FORMAT_BYTES - 29))
        self.assertEqual(len(text), MAX_RESPONSE_FORMAT_BYTES)
        whole = b'{"messages":[{"role":"user","content":"x"}],"response_format":%s}'
        self.assertEqual(decode_chat_request(whole % text).sampling().response_format, text)
        larger = decode_chat_request(whole % text.replace(b"xx", b"xxx", 1))
        error = self.assertRaises(InvalidRequest, larger.sampling)
        self.assertEqual(error.param, "response_format")
        self.assertEqual(error.message, "response_format: at most 1048576 bytes of JSON")

    def test_response_format_is_passed_as_it_is(self) -> None:
        for text in (
            b'{"type":"text"}',
            b'{"type":"json_object"}',
            b'{ "type" : "json_schema", "json_schema": {"name":"n","strict":true,"schema":{"z":1.50,"a":[null]}} }',
            b'{"json_schema":{"name":"n"},"type":"json_schema"}',
        ):
            self.assertEqual(read(raw(b'"response_format":' + text)).sampling().response_format, text)

    def test_messages(self) -> None:
        request = read(
            json.dumps(
                {
                    "messages": [
                        {"role": "system", "content": "s"},
                        {
                            "role": "user",
                            "content": [{"type": "text", "text": "a"}, {"type": "input_text", "text": "b"}],
                        },
                        {
                            "role": "assistant",
                            "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f"}}],
                        },
                        {"role": "tool", "tool_call_id": "1", "content": ""},
                        {"role": "function", "name": "g", "content": "r"},
                        {"role": "function", "name": "g", "tool_call_id": "2"},
                        {"role": "developer", "content": [{"type": "text", "text": "d"}]},
                    ]
                }
            ).encode()
        )
        conversation = read_conversation(request)
        self.assertEqual(conversation.system, ("s", "d"))
        self.assertEqual(
            conversation.messages,
            (
                Message("user", "a\nb"),
                Message("assistant", "", tool_calls=(ToolCall("1", "f", ""),)),
                Message("tool", "", tool_call_id="1"),
                Message("tool", "r", tool_call_id="g"),
                Message("tool", "", tool_call_id="2"),
            ),
        )

    def conversation(self, *messages: dict[str, Any]) -> tuple[Message, ...]:
        return read_conversation(read(json.dumps({"messages": messages}).encode())).messages

    def test_what_is_unsupported_is_refused_by_name_in_the_newest_message(self) -> None:
        for kind, words in (
            ("image_url", "images are not supported by this gateway yet"),
            ("input_audio", "input_audio parts are not supported by this gateway yet"),
            ("file", "file parts are not supported by this gateway yet"),
            ("hologram", "content of this type is not supported"),
        ):
            newest = {"role": "user", "content": [{"type": "text", "text": "look"}, {"type": kind}]}
            with self.assertRaises(InvalidRequest) as caught:
                self.conversation(USER, {"role": "assistant", "content": "hi"}, newest, {"role": "system"})
            self.assertEqual(f"messages.2.content.1.type: {words}", caught.exception.message)
            self.assertEqual("images_unsupported" if kind == "image_url" else None, caught.exception.code)

    def test_what_is_unsupported_ends_no_conversation(self) -> None:
        """A picture that was sent once is sent again with each later turn."""
        parts = [{"type": kind} for kind in ("image_url", "input_audio", "file", "hologram")]
        kept = self.conversation({"role": "user", "content": [{"type": "text", "text": "look"}, *parts]}, USER)
        notes = ("an image", "a recording", "a file", "something else")
        text = "\n".join(["look", *(f"[Not shown here: {note}.]" for note in notes)])
        self.assertEqual((Message("user", text), Message("user", "hi")), kept)

    def test_what_an_assistant_refused_or_thought(self) -> None:
        refused = {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}
        self.assertEqual(Message("assistant", "no"), self.conversation(refused, USER)[0])
        thought = {"role": "assistant", "content": "a", "reasoning_content": "hm"}
        self.assertEqual(Message("assistant", "a", reasoning="hm"), self.conversation(thought, USER)[0])
        odd = thought | {"reasoning_content": [{"type": "text"}]}
        self.assertEqual(Message("assistant", "a"), self.conversation(odd, USER)[0])

    def test_escaped_text(self) -> None:
        data = b'{"messages":[{"role":"user","content":"\\ud83d\\ude00\\u0000 \\/"}]}'
        self.assertEqual(read_conversation(read(data)).messages[0].text, "\U0001f600\0 /")

    def test_many_parts(self) -> None:
        read(message(content=[{"type": "text", "text": "x"}] * (MAX_ITEMS - 2)))

    def test_text_of_tool_calls_alone_is_something_to_answer(self) -> None:
        read(b'{"messages":[{"role":"tool","tool_call_id":"1","content":""}]}')


class BigBodyTests(SynchronousTestCase):
    """Twenty megabytes cost tens of milliseconds; the bounds here only tell them from seconds."""

    def seconds(self, data: bytes) -> float:
        began = time.process_time()
        with contextlib.suppress(InvalidRequest):
            read(data)
        return time.process_time() - began

    def test_time(self) -> None:
        size = 20_000_000
        for data in (
            message(content="x" * size),
            message(content="\u00e9" * (size // 6)),
            raw(b'"zz":"' + b"x" * size + b'"'),
            raw(b'"zz":' + b"1" * size),
            raw(b'"seed":' + b"1" * size),
            raw(b'"zz":[' + b"1," * (size // 2) + b"1]"),
            raw(b'"zz":{' + b",".join(b'"%d":1' % index for index in range(1_000_000)) + b"}"),
            raw(b'"zz":' + b"[" * size),
            b'{"messages":[' + b'{"role":"user","content":"a"},' * 600_000 + b"{}]}",
            message(content=[{"type": "text", "text": "a"}] * 600_000),
            message(role="assistant", tool_calls=[{"id": "a", "function": {"name": "f"}}] * 400_000),
            raw(b'"zz":[' + b'"\\ud800",' * (size // 9) + b"1]"),
        ):
            self.assertLess(self.seconds(data), 1.0, data[:60])
