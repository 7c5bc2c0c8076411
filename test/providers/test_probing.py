"""Tests of L{openclaw.providers.probing}."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from openclaw.messages import Usage
from openclaw.models import ResolvedModel
from openclaw.providers.probing import Limits, Spoken, ask, fetch_limits, limits_in
from test.providers.http_fakes import DONE, Upstream, chunk, text, usage


class AskTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.upstream = Upstream()

    def ask(self, *, max_tokens: int | None = None, with_tool: bool = False) -> tuple[Deferred[Spoken], Any]:
        model = ResolvedModel("mock/m", self.upstream.provider, 4096, max_tokens)
        asking = Deferred.fromCoroutine(ask(model, self.upstream.reactor, 30.0, with_tool=with_tool))
        return asking, self.upstream.accept()

    def sent(self, peer: Any) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(peer.request()[2])
        return document

    def test_told(self) -> None:
        """Times, pieces, usage and the beginning of the text."""
        asking, peer = self.ask(max_tokens=20)
        sent = self.sent(peer)
        self.assertEqual((20, False), (sent["max_completion_tokens"], "tools" in sent))
        self.upstream.reactor.advance(1)
        peer.head()
        self.upstream.reactor.advance(1)
        peer.events(text("one "))
        self.upstream.reactor.advance(1)
        peer.events(text("two"), chunk({}, "stop"), usage(10, 2))
        peer.chunks(DONE, end=True)
        spoken = self.successResultOf(asking)
        self.assertEqual((1000, 2000, 3000), (spoken.head_ms, spoken.first_ms, spoken.total_ms))
        self.assertEqual(("one two", 2, "stop"), (spoken.text, spoken.pieces, spoken.finish_reason))
        self.assertEqual((Usage(10, 2), None), (spoken.usage, spoken.error))

    def test_tool(self) -> None:
        """A tool is offered, and may be called."""
        asking, peer = self.ask(with_tool=True)
        sent = self.sent(peer)
        self.assertEqual(("get_time", "auto"), (sent["tools"][0]["function"]["name"], sent["tool_choice"]))
        peer.head()
        call = {"index": 0, "id": "c", "type": "function", "function": {"name": "get_time", "arguments": "{}"}}
        peer.events(chunk({"tool_calls": [call]}), chunk({}, "tool_calls"))
        peer.chunks(DONE, end=True)
        self.assertTrue(self.successResultOf(asking).called)

    def test_tool_is_never_left_out(self) -> None:
        """A server that refuses tools is not asked without any: that would be another question."""
        asking, peer = self.ask(with_tool=True)
        peer.request()
        peer.answer(400, b'{"error": {"message": "Unknown parameter: tools", "param": "tools"}}')
        self.assertEqual(
            "the provider mock refused the request: Unknown parameter: tools", self.successResultOf(asking).error
        )

    def test_late(self) -> None:
        """A server that does not come to an end is left."""
        asking, peer = self.ask()
        peer.request()
        self.upstream.reactor.advance(30)
        self.upstream.reactor.advance(0)
        self.assertEqual("there was no whole answer within 30 s", self.successResultOf(asking).error)
        self.assertTrue(peer.wire.aborted)


class LimitsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.upstream = Upstream()

    def fetch(self) -> Deferred[Limits]:
        upstream = self.upstream
        fetching = fetch_limits(upstream.endpoint, "m", upstream.http_client, upstream.reactor, 10.0)
        return Deferred.fromCoroutine(fetching)

    def test_fetched(self) -> None:
        """The list of models is asked for with the key."""
        fetching = self.fetch()
        peer = self.upstream.accept()
        first, headers, _ = peer.request()
        self.assertEqual((b"GET /v1/models HTTP/1.1", "Bearer sk-very-secret"), (first, headers["authorization"]))
        peer.answer(200, b'{"data": [{"id": "m", "max_model_len": 8192}]}')
        self.assertEqual(Limits(True, 8192), self.successResultOf(fetching))

    def test_not_fetched(self) -> None:
        """A server without a list, or that cannot be reached, is told of."""
        for status, body, said in (
            (404, b"nothing here", "refused the request: nothing here"),
            (200, b"<html>", "no list of models"),
        ):
            fetching = self.fetch()
            peer = self.upstream.accept()
            peer.request()
            peer.answer(status, body, connection="close")
            error = self.successResultOf(fetching).error
            assert error is not None
            self.assertIn(said, error)
            peer.close()
        fetching = self.fetch()
        self.upstream.reactor.tcpClients[-1][2].clientConnectionFailed(None, Failure(ConnectionRefusedError()))
        self.assertIn("refused", str(self.successResultOf(fetching).error))

    def test_late(self) -> None:
        """A server that says nothing is left."""
        fetching = self.fetch()
        self.upstream.accept().request()
        self.upstream.reactor.advance(10)
        self.assertIn("within 10 s", str(self.successResultOf(fetching).error))

    def test_shapes(self) -> None:
        """The numbers of many servers, wherever they stand."""
        for row, window, answer in (
            ({"max_model_len": 4096}, 4096, None),
            ({"meta": {"n_ctx_train": 131072, "n_ctx": 8192}}, 8192, None),
            ({"context_length": 9000, "top_provider": {"context_length": 8000, "max_completion_tokens": 7}}, 8000, 7),
            ({"max_context_length": 32768, "loaded_context_length": 4096}, 4096, None),
            ({"context_window": 5, "max_completion_tokens": 6}, 5, 6),
            ({"context_length": "many", "max_model_len": True}, None, None),
            ({"max_model_len": -1}, None, None),
        ):
            self.assertEqual(Limits(True, window, answer), limits_in({"data": [7, {"id": "m", **row}]}, "m"))
        self.assertEqual(Limits(True, 9), limits_in({"models": [{"name": "models/m", "inputTokenLimit": 9}]}, "m"))
        self.assertEqual(Limits(True, 9), limits_in([{"id": "m", "context_length": 9}], "m"))
        self.assertEqual(Limits(False), limits_in({"data": [{"id": "other"}]}, "m"))
        for odd in (None, 5, {}, {"data": None}, "x"):
            self.assertIsNotNone(limits_in(odd, "m").error)
