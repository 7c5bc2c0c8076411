"""Tests for L{openclaw.ws.dispatch}: requests of connected clients."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from openclaw.errors import (
    CapacityError,
    ConfigError,
    Draining,
    Forbidden,
    InvalidRequest,
    MissingScope,
    ModelNotFound,
    NotFound,
    OpenClawError,
    Overloaded,
    ProviderAuthFailed,
    ProviderFailed,
    ProviderRateLimited,
    RunCancelled,
    RunTimeout,
    StoreError,
)
from openclaw.ws.dispatch import MAX_CALLS, wire_error
from openclaw.ws.frames import WireError
from test.ws.support import Peer, WebSocketTestCase, frame


class WireErrorTests(SynchronousTestCase):
    def test_table(self) -> None:
        cases: tuple[tuple[OpenClawError, WireError], ...] = (
            (InvalidRequest("a"), WireError("INVALID_REQUEST", "a")),
            (InvalidRequest("a", param="b"), WireError("INVALID_REQUEST", "a", {"param": "b"})),
            (InvalidRequest("a", code="c"), WireError("INVALID_REQUEST", "a", {"code": "c"})),
            (ModelNotFound("a"), WireError("INVALID_REQUEST", "a", {"code": "model_not_found"})),
            (NotFound("a"), WireError("INVALID_REQUEST", "a", {"code": "not_found"})),
            (
                MissingScope("operator.read"),
                WireError(
                    "FORBIDDEN",
                    "missing scope: operator.read",
                    {
                        "code": "MISSING_SCOPE",
                        "missingScope": "operator.read",
                        "requiredScopes": ["operator.read"],
                    },
                ),
            ),
            (Forbidden("a", code="b"), WireError("FORBIDDEN", "a", {"code": "b"})),
            (StoreError("a"), WireError("UNAVAILABLE", "a", {"code": "store_unavailable"}, True)),
            (Overloaded("a", retry_after_s=1.5), WireError("UNAVAILABLE", "a", {"code": "overloaded"}, True, 1500)),
            (Draining("a"), WireError("UNAVAILABLE", "a", {"code": "draining"}, True)),
            (CapacityError("a", code="x"), WireError("UNAVAILABLE", "a", {"code": "x"}, True)),
            (ProviderFailed("a"), WireError("UNAVAILABLE", "a", {"code": "provider_error"}, True)),
            (
                ProviderRateLimited("a", retry_after_s=2),
                WireError("UNAVAILABLE", "a", {"code": "rate_limit_exceeded"}, True, 2000),
            ),
            (ProviderAuthFailed("a"), WireError("UNAVAILABLE", "a", {"code": "provider_auth_failed"}, False)),
            (RunTimeout("a"), WireError("UNAVAILABLE", "a", {"code": "timeout"}, True)),
            (RunCancelled("a"), WireError("UNAVAILABLE", "a", {"code": "cancelled"}, False)),
            (ConfigError(["a"]), WireError("UNAVAILABLE", "a", {"code": "config_invalid"}, True)),
        )
        for error, expected in cases:
            self.assertEqual(wire_error(error), expected)

    def test_json(self) -> None:
        self.assertEqual(msgspec.to_builtins(WireError("A", "b")), {"code": "A", "message": "b"})
        self.assertEqual(
            msgspec.to_builtins(WireError("A", "b", {"c": 1}, False, 0)),
            {"code": "A", "message": "b", "details": {"c": 1}, "retryable": False, "retryAfterMs": 0},
        )


class DispatchTests(WebSocketTestCase):
    def error(self, method: str, params: Any = None, peer: Peer | None = None) -> Any:
        """The error of a call."""
        peer = peer or self.connected()
        answer = peer.answer(method, params)
        self.assertEqual((answer["ok"], "payload" in answer), (False, False))
        self.assertIsNone(peer.close)
        return answer["error"]

    def test_call(self) -> None:
        peer = self.connected("cli", "cli", scopes=["operator.write", "operator.read"])
        answer = peer.answer("echo", {"text": "hé", "times": 2})
        self.assertEqual(answer, {"type": "res", "id": answer["id"], "ok": True, "payload": {"text": "héhé"}})
        (call,) = self.methods.calls
        self.assertEqual(call.client_id, "cli")
        self.assertEqual(call.connection_id, peer.told[1]["payload"]["server"]["connId"])
        self.assertEqual(
            (call.caller.name, call.caller.scopes, call.caller.address),
            ("operator", {"operator.write", "operator.read"}, "127.0.0.1"),
        )

    def test_optional_members_of_a_frame(self) -> None:
        peer = self.connected()
        request_id = peer.ask("read", {}, traceparent="00-1", expectedProfileId="x")
        self.assertTrue(peer.answers(request_id)[0]["ok"])
        peer.send({"type": "req", "id": "n", "method": "read", "params": None})
        self.assertTrue(peer.answers("n")[0]["ok"])

    def test_unknown_method(self) -> None:
        self.assertEqual(
            self.error("nope.nope", {}), {"code": "INVALID_REQUEST", "message": "unknown method: nope.nope"}
        )
        self.assertEqual(len(self.error("x" * 10_000)["message"]), 116)

    def test_second_connect(self) -> None:
        peer = self.connected()
        answer = peer.connect()
        message = "connect is only valid as the first request"
        self.assertEqual(answer["error"], {"code": "INVALID_REQUEST", "message": message})
        self.assertIsNone(peer.close)

    def test_bad_params(self) -> None:
        peer = self.connected()
        for params, text in (
            (None, "must have required property 'text'"),
            ({}, "must have required property 'text'"),
            ({"text": 1}, "at /text: must be string"),
            ({"text": "a", "times": "b"}, "at /times: must be integer"),
            ({"text": "a", "more": 1}, "at root: unexpected property 'more'"),
            ([], "at root: must be object"),
        ):
            error = self.error("echo", params, peer)
            self.assertEqual(error, {"code": "INVALID_REQUEST", "message": f"invalid echo params: {text}"})

    def test_scopes(self) -> None:
        holders = {
            "read": ("operator.read", "operator.write", "operator.admin"),
            "write": ("operator.write", "operator.admin"),
            "admin": ("operator.admin",),
        }
        for scope in ("operator.read", "operator.write", "operator.admin", "operator.pairing"):
            peer = self.connected(scopes=[scope])
            for method, enough in holders.items():
                answer = peer.answer(method)
                self.assertEqual(answer["ok"], scope in enough)
                if not answer["ok"]:
                    self.assertEqual(answer["error"]["code"], "FORBIDDEN")
                    self.assertEqual(answer["error"]["message"], f"missing scope: operator.{method}")
                    self.assertEqual(answer["error"]["details"]["missingScope"], f"operator.{method}")
        peer = self.connected(scopes=[])
        self.assertTrue(peer.answer("echo", {"text": ""})["ok"])

    def test_scope_comes_before_params(self) -> None:
        peer = self.connected(scopes=[])
        self.assertEqual(peer.answer("read", {"bogus": 1})["error"]["code"], "FORBIDDEN")

    def test_malformed_frames(self) -> None:
        peer = self.connected()
        for data, request_id, text in (
            (b"nope", "invalid", "at root: must be JSON"),
            (b"", "invalid", "at root: must be JSON"),
            (b"[" * 50_000, "invalid", "at root: must be object"),
            (b"[1]", "invalid", "at root: must be object"),
            (b'{"type":"req"}', "invalid", "must have required property 'id'"),
            (b'{"type":"req","id":"","method":"x"}', "invalid", "at /id: must not have fewer than 1 characters"),
            (b'{"type":"req","id":7,"method":"x"}', "invalid", "at /id: must be string"),
            (b'{"type":"req","id":"a"}', "a", "must have required property 'method'"),
            (b'{"type":"req","id":"b","method":"x","extra":1}', "b", "at root: unexpected property 'extra'"),
            (b'{"type":"res","id":"c","method":"x"}', "c", "at /type: must be equal to one of the allowed values"),
        ):
            peer.send(data)
            self.assertEqual(
                peer.last,
                {
                    "type": "res",
                    "id": request_id,
                    "ok": False,
                    "error": {"code": "INVALID_REQUEST", "message": f"invalid request frame: {text}"},
                },
            )
        self.assertIsNone(peer.close)

    def test_any_order(self) -> None:
        peer = self.connected()
        first, second = peer.ask("hold"), peer.ask("hold")
        self.methods.held[1].callback({"n": 2})
        self.methods.held[0].callback({"n": 1})
        self.assertEqual([value["id"] for value in peer.told[2:]], [second, first])
        self.assertEqual([value["payload"]["n"] for value in peer.told[2:]], [2, 1])

    def test_two_responses(self) -> None:
        peer = self.connected()
        request_id = peer.ask("hold")
        self.methods.calls[0].respond({"status": "accepted"})
        self.assertEqual([value["payload"] for value in peer.answers(request_id)], [{"status": "accepted"}])
        self.methods.held[0].callback({"status": "ok"})
        self.assertEqual([value["payload"]["status"] for value in peer.answers(request_id)], ["accepted", "ok"])

    def test_expected_failure(self) -> None:
        self.assertEqual(
            self.error("refuse"),
            {"code": "INVALID_REQUEST", "message": "not like this", "details": {"param": "how"}},
        )

    def test_failure_keeps_nothing_of_the_call(self) -> None:
        """Failures of runs are kept for those who ask again."""
        peer = self.connected()
        peer.ask("hold")
        error = ProviderFailed("no")
        self.methods.held[0].errback(error)
        self.assertEqual(peer.last["error"]["message"], "no")
        self.assertEqual((error.__traceback__, error.__context__, error.__cause__), (None, None, None))

    def test_bugs(self) -> None:
        for method, kind in (("break", RuntimeError), ("unspeakable", TypeError)):
            self.assertEqual(
                self.error(method),
                {"code": "UNAVAILABLE", "message": "internal error", "details": {"code": "internal_error"}},
            )
            self.assertEqual(len(self.flushLoggedErrors(kind)), 1)
        self.assertIn("connection 00000000-0000-4000-8000-", self.problems[0]["log_format"].format(**self.problems[0]))

    def test_cancelled_by_itself(self) -> None:
        peer = self.connected()
        request_id = peer.ask("hold")
        self.methods.held[0].errback(CancelledError())
        self.assertEqual(peer.answers(request_id)[0]["error"]["message"], "internal error")
        self.assertEqual(len(self.flushLoggedErrors(CancelledError)), 1)

    def test_result_too_large(self) -> None:
        error = self.error("huge")
        self.assertEqual((error["code"], error["details"]), ("INVALID_REQUEST", {"code": "result_too_large"}))

    def test_large_request(self) -> None:
        peer = self.connected()
        text = "é" * 1_000_000
        self.assertEqual(peer.answer("echo", {"text": text})["payload"]["text"], text)

    def test_too_large_a_request(self) -> None:
        peer = self.connected()
        peer.client.send(b"\x81\xff" + (25 * 1024 * 1024 + 1).to_bytes(8, "big") + b"\0\0\0\0")
        self.assertEqual(peer.close_code, 1009)

    def test_too_many_calls(self) -> None:
        peer = self.connected()
        for _ in range(MAX_CALLS):
            peer.ask("hold")
        error = peer.answer("hold")["error"]
        self.assertEqual((error["code"], error["details"]), ("UNAVAILABLE", {"code": "too_many_calls"}))
        self.assertEqual((error["retryable"], error["retryAfterMs"]), (True, 1000))
        self.methods.held[0].callback({})
        peer.ask("hold")
        self.assertEqual(len(self.methods.held), MAX_CALLS + 1)
        self.assertTrue(self.connected().answer("echo", {"text": ""})["ok"])

    def test_client_leaves(self) -> None:
        peer = self.connected()
        peer.ask("hold")
        peer.ask("hold")
        self.over(peer)
        self.assertCountEqual(self.methods.cancelled, self.methods.held)
        # Whoever goes on by itself has nobody to tell.
        self.methods.calls[0].respond({"status": "late"})

    def test_gateway_closes(self) -> None:
        peer = self.connected()
        request_id = peer.ask("hold")
        self.crowd.close_all()
        self.assertEqual(peer.answers(request_id), [])
        self.assertEqual(self.methods.cancelled, self.methods.held)

    def test_call_that_survives_its_connection(self) -> None:
        peer = self.connected()
        self.methods.cancel = lambda held: held.callback({"late": True})
        peer.ask("hold")
        count = len(peer.told)
        self.over(peer)
        self.assertEqual(len(peer.told), count)

    def test_result_after_a_broken_frame(self) -> None:
        """Autobahn closes the connection of a client that breaks the protocol, and waits for its answer."""
        peer = self.connected()
        request_id = peer.ask("hold")
        peer.client.send(frame(b"{}", masked=False))
        self.assertEqual(peer.close_code, 1002)
        self.methods.held[0].callback({})
        self.crowd.broadcaster.publish("tick", {})
        self.assertEqual(peer.answers(request_id), [])
        self.assertEqual(peer.events(), [])
        self.wait(3)
        self.assertTrue(peer.client.closed)
        self.over(peer)

    def test_after_close(self) -> None:
        peer = self.connected()
        self.crowd.close_all()
        count = len(peer.told)
        peer.client.send(json.dumps({}).encode())
        peer.ask("echo", {"text": ""})
        self.assertEqual(len(peer.told), count)
