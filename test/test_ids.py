"""Tests of L{openclaw.ids}."""

from __future__ import annotations

import re
import uuid

from twisted.trial.unittest import SynchronousTestCase

from openclaw.errors import InvalidRequest
from openclaw.ids import (
    MAX_SESSION_KEY_BYTES,
    check_client_key_text,
    client_session_key,
    new_entry_id,
    new_run_id,
    normalise_agent_id,
)


class AgentIdTests(SynchronousTestCase):
    def test_good(self) -> None:
        for text, expected in ((" Main\n", "main"), ("a", "a"), ("0-_x", "0-_x"), ("A" * 64, "a" * 64)):
            self.assertEqual(expected, normalise_agent_id(text))

    def test_bad(self) -> None:
        for text in ("", " ", "-a", "_a", "a b", "a.b", "a:b", "ä", "a" * 65, "a\nb", "\u0660"):
            self.assertIsNone(normalise_agent_id(text), text)


class SessionKeyTests(SynchronousTestCase):
    def test_bare_and_full(self) -> None:
        for text in ("Work:x", "agent:main:Work:x", "Agent:MAIN:Work:x"):
            key = client_session_key(text, "main", "h")
            self.assertEqual(("main", "Work:x", "agent:main:Work:x"), (key.agent_id, key.rest, str(key)))

    def test_refused(self) -> None:
        cases = {
            "": "must not be empty",
            "a\nb": "control characters",
            "a\x9fb": "control characters",
            "k" * 513: "at most 512 bytes",
            "subagent:x": "reserved",
            "agent:main:ACP:x": "reserved",
            "agent:other:x": "another agent",
            "agent:main": "a full key reads",
            "agent:main:": "a full key reads",
            "agent:!:x": "a full key reads",
        }
        for text, message in cases.items():
            error = self.assertRaises(InvalidRequest, client_session_key, text, "main", "the-header")
            self.assertIn(message, error.message)
            self.assertTrue(error.message.startswith("the-header"))
            self.assertEqual("the-header", error.param)

    def test_bytes_count(self) -> None:
        check_client_key_text("é" * (MAX_SESSION_KEY_BYTES // 2), "f")
        self.assertRaises(InvalidRequest, check_client_key_text, "é" * (MAX_SESSION_KEY_BYTES // 2) + "a", "f")


class NewIdTests(SynchronousTestCase):
    def test_run_id(self) -> None:
        prefix, _, rest = new_run_id().partition("_")
        self.assertEqual("chatcmpl", prefix)
        self.assertEqual(rest, str(uuid.UUID(rest)))
        self.assertTrue(new_run_id("resp").startswith("resp_"))
        self.assertNotEqual(new_run_id(), new_run_id())

    def test_entry_id(self) -> None:
        self.assertTrue(re.fullmatch("[0-9a-f]{32}", new_entry_id()))
        self.assertNotEqual(new_entry_id(), new_entry_id())
