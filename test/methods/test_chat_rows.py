"""Tests of L{openclaw.methods.chat_rows}."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from openclaw.messages import Message, ToolCall
from openclaw.methods.chat_rows import CUT_MARK, history_rows, stop_word
from openclaw.records import Entry


def row(message: Message, **settings: Any) -> dict[str, Any]:
    """The row of one message."""
    (shown,) = history_rows((Entry("e", None, "run", message, 7, **settings),), None, None)
    return shown


class RowTests(SynchronousTestCase):
    """Each kind of message."""

    def test_tool_calls(self) -> None:
        """Calls are parts of the answer, their arguments objects where they are."""
        calls = (
            ToolCall("1", "look", '{"at": "x"}'),
            ToolCall("2", "bad", '{"at'),
            ToolCall("3", "list", "[1]"),
            ToolCall("4", "deep", "[" * 100_000),
        )
        shown = json.loads(msgspec.json.encode(row(Message("assistant", "", calls), stop_reason="tool_calls")))
        self.assertEqual({"type": "toolCall", "id": "1", "name": "look", "arguments": {"at": "x"}}, shown["content"][0])
        self.assertEqual(['{"at', "[1]", "[" * 100_000], [part["arguments"] for part in shown["content"][1:]])
        self.assertEqual("toolUse", shown["stopReason"])

    def test_arguments_that_are_hard_to_tell(self) -> None:
        """Whatever a model writes, its session can be shown: what is JSON as it is, the rest as text."""
        for arguments, is_object in (
            ('{"at": "\\ud800"}', False),
            ('{"at": "\\ud800\\u0041"}', False),
            ('{"at": NaN}', False),
            ('{"at": 1} x', False),
            ("", False),
            (' {"at": "\\ud83d\\ude00"}\n', True),
            ('{"at": ' + "9" * 6000 + "}", True),
        ):
            told = msgspec.json.encode(row(Message("assistant", "", (ToolCall("1", "look", arguments),))))
            if is_object:
                self.assertIn(b'"arguments":' + arguments.encode(), told)
            else:
                self.assertEqual(arguments, json.loads(told)["content"][0]["arguments"])

    def test_tool_result(self) -> None:
        """A result names its call, and its tool where the call is there."""
        call = Entry("a", None, "r", Message("assistant", "t", (ToolCall("1", "look", "{}"),)), 1, "tool_calls")
        result = Entry("b", "a", "r", Message("tool", "found", tool_call_id="1"), 2)
        stray = Entry("c", "b", "r", Message("tool", "what", tool_call_id="9"), 3)
        rows = history_rows((call, result, stray), 1, None)
        self.assertEqual(
            ("toolResult", "1", "look", [{"type": "text", "text": "found"}]),
            tuple(rows[1][key] for key in ("role", "toolCallId", "toolName", "content")),
        )
        self.assertNotIn("toolName", rows[2])
        self.assertEqual([1, 2, 3], [shown["__openclaw"]["seq"] for shown in rows])

    def test_empty_answer(self) -> None:
        """An answer that was cut off before its first word has no parts."""
        self.assertEqual([], row(Message("assistant", ""), stop_reason="aborted")["content"])

    def test_cut(self) -> None:
        """Only what is longer is cut."""
        entries = [Entry("e", None, "r", Message("user", text), 1) for text in ("abc", "abcd")]
        self.assertEqual(["abc", "abc" + CUT_MARK], [shown["content"] for shown in history_rows(entries, None, 3)])

    def test_stop_words(self) -> None:
        """All reasons have a word."""
        reasons = ("stop", "length", "tool_calls", "content_filter", "aborted", "error")
        words = ["stop", "length", "toolUse", "error", "aborted", "error"]
        self.assertEqual(words, [stop_word(reason) for reason in reasons])
