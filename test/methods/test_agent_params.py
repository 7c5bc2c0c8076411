"""Tests of L{openclaw.methods.agent_params}: what C{agent} refuses, and in which words."""

from __future__ import annotations

import tracemalloc
from typing import Any

import msgspec
from twisted.internet.defer import Deferred

from openclaw.config.agents import AgentEntry
from openclaw.errors import InvalidRequest, MissingScope
from openclaw.methods.table import Call
from test.fakes import config_with
from test.methods.support import ADMINISTRATOR, WRITER, MethodTestCase

REFUSED: tuple[tuple[dict[str, Any], str, str], ...] = (
    ({"message": ""}, "message", "must not be empty"),
    ({"message": " \n "}, "message", "must not be empty"),
    ({"deliver": True}, "deliver", "channels"),
    ({"attachments": [{"type": "image"}]}, "attachments", "not available"),
    ({"provider": "x"}, "provider", "provider/model"),
    ({"replyTo": "x"}, "replyTo", "channels"),
    ({"replyChannel": "x"}, "replyChannel", "channels"),
    ({"replyAccountId": "x"}, "replyAccountId", "channels"),
    ({"accountId": "x"}, "accountId", "channels"),
    ({"threadId": 7}, "threadId", "channels"),
    ({"groupId": "x"}, "groupId", "channels"),
    ({"groupChannel": "x"}, "groupChannel", "channels"),
    ({"groupSpace": "x"}, "groupSpace", "channels"),
    ({"spawnedBy": "x"}, "spawnedBy", "not start others"),
    ({"label": "x"}, "label", "labels"),
    ({"idempotencyKey": ""}, "idempotencyKey", "1 to 255"),
    ({"idempotencyKey": "a b"}, "idempotencyKey", "1 to 255"),
    ({"idempotencyKey": "é"}, "idempotencyKey", "ASCII"),
    ({"idempotencyKey": "x" * 256}, "idempotencyKey", "1 to 255"),
    ({"lane": "cron"}, "lane", '"main"'),
    ({"thinking": "hard"}, "thinking", "off, minimal, low"),
    ({"channel": "a b"}, "channel", "1 to 64"),
    ({"agentId": "nope"}, "agentId", 'unknown agent id "nope"; the agents are: main'),
    ({"agentId": "no pe"}, "agentId", "unknown agent id"),
    ({"sessionKey": "a\nb"}, "sessionKey", "control characters"),
    ({"sessionKey": "ä" * 300}, "sessionKey", "512 bytes"),
    ({"sessionKey": "cron:x"}, "sessionKey", "reserved"),
    ({"sessionKey": "agent:main:subagent:x"}, "sessionKey", "reserved"),
    ({"sessionKey": "agent:main:"}, "sessionKey", "agent:<agent id>:<name>"),
    ({"sessionKey": "agent:?:x"}, "sessionKey", "agent:<agent id>:<name>"),
    ({"sessionKey": "agent:other:x"}, "agentId", 'unknown agent id "other"'),
    ({"sessionKey": "agent:other:x", "agentId": "main"}, "sessionKey", "another agent"),
)
"""Parameters, the field at fault, and words of the reason."""

MALFORMED: tuple[tuple[dict[str, Any], str], ...] = (
    ({"message": 1}, "$.message"),
    ({"message": "x", "bogus": 1}, "unknown field `bogus`"),
    ({"message": "x", "agent_id": "main"}, "unknown field `agent_id`"),
    ({"message": "x", "timeout": -1}, "$.timeout"),
    ({"message": "x", "timeout": 10**9}, "$.timeout"),
    ({"message": "x", "timeout": "5"}, "$.timeout"),
    ({"message": "x", "deliver": "yes"}, "$.deliver"),
    ({"message": "x", "sessionKey": "k" * 513}, "$.sessionKey"),
    ({"message": "x", "attachments": {}}, "$.attachments"),
    ({"message": "x", "channel": "c" * 65}, "$.channel"),
    ({}, "message"),
)
"""Parameters that have not the right shape, and where."""


class RefusedTests(MethodTestCase):
    """Each refusal names its field and starts nothing."""

    def test_refused(self) -> None:
        """The table."""
        for given, field, words in REFUSED:
            called = self.gateway.call("agent", {"message": "hi", **given})
            error = self.refused(called, InvalidRequest)
            self.assertTrue(error.message.startswith(f"invalid agent params: at /{field}: "), (given, error.message))
            self.assertIn(words, error.message, given)
            self.assertEqual(field, error.param, given)
            self.assertEqual([], called.first)
        self.assertEqual([], self.gateway.provider.requests)
        self.assertEqual([], self.texts())

    def test_malformed(self) -> None:
        """What the shape alone tells."""
        for given, where in MALFORMED:
            error = self.assertRaises(msgspec.ValidationError, self.gateway.call, "agent", given)
            self.assertIn(where, str(error), given)

    def test_attachments_are_not_decoded(self) -> None:
        """However many, and however deep: that would hold everybody up for seconds."""
        row = self.gateway.table.find("agent")
        assert row is not None
        decoder = msgspec.json.Decoder(row.params)
        for many in (b"[[]]" + b",[[]]" * 200_000, b'{"a":{}}' + b',{"a":{}}' * 100_000):
            data = b'{"message":"x","attachments":[' + many + b"]}"
            tracemalloc.start()
            try:
                params = decoder.decode(data)
                self.assertLess(tracemalloc.get_traced_memory()[1], 100_000)
            finally:
                tracemalloc.stop()
            running = Deferred.fromCoroutine(row.run(Call(WRITER, "c", "cli", lambda payload: None), params))
            self.assertIn("not available", self.failureResultOf(running, InvalidRequest).value.message)

    def test_surrogates(self) -> None:
        """Half of a surrogate pair is no text; the store could not keep it."""
        row = self.gateway.table.find("agent")
        assert row is not None
        for field in ("message", "extra_system_prompt"):
            params = row.params(**{"message": "hi", field: "a\ud800b"})  # type: ignore[call-arg]
            running = Deferred.fromCoroutine(row.run(Call(WRITER, "c", "cli", lambda payload: None), params))
            self.assertIn("surrogate", self.failureResultOf(running, InvalidRequest).value.message)

    def test_no_default_agent(self) -> None:
        """Several agents and none the default: the call has to name one."""
        self.gateway.use(config_with({"a": AgentEntry(), "b": AgentEntry()}))
        for params in ({}, {"sessionKey": "bare"}):
            error = self.refused(self.ask("hi", **params), InvalidRequest)
            self.assertIn("at /agentId: several agents are configured and none is the default", error.message)
            self.assertIn("a, b", error.message)


class ScopeTests(MethodTestCase):
    """What needs C{operator.admin}."""

    def test_commands(self) -> None:
        """C{/new} and C{/reset} need it, and are not there yet; other text with a slash is text."""
        for text in ("/new", "/reset please", " /NEW\nhello"):
            self.assertEqual("operator.admin", self.refused(self.ask(text), MissingScope).scope)
            error = self.refused(self.gateway.call("agent", {"message": text}, ADMINISTRATOR), InvalidRequest)
            self.assertIn("not available yet", error.message)
        for text in ("/newest", "/status", "say /new"):
            self.gateway.answer("ok")
            self.assertEqual("ok", self.ok(self.ask(text))["status"])
            self.assertEqual(text, self.branch()[-2].message.text)

    def test_model(self) -> None:
        """Choosing the model needs it."""
        self.refused(self.ask("hi", model="a/b"), MissingScope)
        self.assertEqual([], self.gateway.provider.requests)
