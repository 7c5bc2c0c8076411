"""Connecting to a gateway and calling it, over Autobahn's own server."""

import json
from typing import Any

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.error import (
    ConnectError,
    ConnectionRefusedError,
    DNSLookupError,
    NoRouteError,
    TCPTimedOutError,
)
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.trial.unittest import TestCase

from openclaw.cli.client import connection as connection_module
from openclaw.cli.client.connection import GatewayConnection, decode_frame
from openclaw.cli.client.errors import CallFailed, ConnectionEnded, GatewayUnreachable, NoAnswer, RemoteError
from openclaw.cli.client.failures import not_reached
from openclaw.cli.client.remote import GatewaySecret, GatewayUrl, Introduction
from test.cli.client.connection_support import ConnectionTestCase, make_remote
from test.cli.gateway_fake import FakeReactor, GatewayError, garbage


class HandshakeTests(ConnectionTestCase):
    def test_introduces_itself(self) -> None:
        connection = self.connected(introduction=Introduction(("operator.write",)))
        self.assertEqual(self.reactor.places, [("127.0.0.1", 18789)])
        [params] = self.gateway.params_of("connect")
        self.assertEqual((params["minProtocol"], params["maxProtocol"], params["role"]), (4, 4, "operator"))
        self.assertEqual((params["scopes"], params["auth"]), (["operator.write"], {"token": "s3cret"}))
        self.assertEqual((params["client"]["id"], params["client"]["mode"]), ("cli", "cli"))
        self.assertEqual(connection.hello, self.gateway.hello)
        self.assertTrue(connection.is_open)

    def test_upgrade_request(self) -> None:
        self.connected()
        headers = self.gateway.sockets[0].http_headers
        self.assertNotIn("origin", headers)
        self.assertNotIn("sec-websocket-extensions", headers)
        self.assertIn("openclaw/", headers["user-agent"])
        self.assertEqual(self.gateway.sockets[0].http_request_uri, "/")

    def test_probe_and_password(self) -> None:
        self.remote = make_remote(secret=GatewaySecret("password", "--password", "s3cret"))
        self.connected(introduction=Introduction(mode="probe"))
        [params] = self.gateway.params_of("connect")
        self.assertEqual((params["minProtocol"], params["client"]["mode"]), (3, "probe"))
        self.assertEqual(params["auth"], {"password": "s3cret"})

    def test_without_a_secret(self) -> None:
        self.remote = make_remote(secret=GatewaySecret("token", "--token"))
        self.connected()
        self.assertNotIn("auth", self.gateway.params_of("connect")[0])

    def test_nobody_there(self) -> None:
        for error, reason in (
            (ConnectionRefusedError(), "connection refused"),
            (TCPTimedOutError(), "no connection within 10 s"),
            (ConnectTimeout(), "no connection within 10 s"),
            (NoRouteError(osError=113, string="No route to host"), "113"),
            (ConnectError(string="odd\n\x1b[31m"), "odd"),
        ):
            message = self.failure(error)
            self.assertIn(reason, message)
            self.assertTrue(message.isprintable())
            self.assertIn("; start it with: openclaw gateway run", message)

    def test_nobody_there_at_an_explicit_place(self) -> None:
        self.remote = make_remote(source="--url", kind="explicit")
        self.assertIn("check --url, or start it with", self.failure(ConnectionRefusedError()))
        self.assertIn("no host of that name; check --url", not_reached(self.remote, DNSLookupError(), 1).message)

    def test_not_a_gateway(self) -> None:
        page = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
        for serve, text in (
            (garbage(page), "is no OpenClaw gateway (HTTP 404); check the configuration"),
            (garbage(b"HTTP/1.1 200 OK\r\n\r\n<html>"), "(HTTP 200)"),
            (garbage(b"220 mail\r\n\r\n", at_once=True), "is no OpenClaw gateway"),
            (garbage(b"SSH-2.0-x\r\n", at_once=True), "closed it without a word"),
            (garbage(b""), "closed it without a word; is this an OpenClaw gateway? If it serves TLS, use wss://"),
            (garbage(b"", closes=False), "says nothing for 10 s; is this an OpenClaw gateway?"),
        ):
            self.assertIn(text, self.failure(serve))

    def test_other_websockets(self) -> None:
        self.gateway.challenges = False
        self.assertIn("says nothing for 10 s", self.failure(self.gateway))
        for greeting in (b"hello", b"[" * 100_000, b"5", b'{"type":"event"}', b'{"type":"res","id":"1","ok":"yes"}'):
            self.gateway.greeting = greeting
            self.assertIn("it sends what no client understands", self.failure(self.gateway))

    def test_no_hello(self) -> None:
        self.gateway.methods["connect"] = lambda socket, frame: ...
        self.assertIn("does not answer the handshake within 10 s", self.failure(self.gateway, NoAnswer))
        self.gateway.methods["connect"] = {"type": "welcome"}
        self.assertIn("is no OpenClaw gateway", self.failure(self.gateway))
        self.gateway.methods["connect"] = None
        self.assertIn("refused the connection: unknown method", self.failure(self.gateway, CallFailed))

    def test_closed_before_hello(self) -> None:
        for code, reason, text in (
            (1013, "draining", "is stopping; try again in a moment"),
            (1012, "service restart", "is stopping"),
            (1008, "go away\x1b", "closed the connection before it was ready (1008 go away)"),
            (1000, "", "closed the connection before it was ready (1000)"),
        ):
            self.gateway.methods["connect"] = lambda socket, frame, code=code, reason=reason: (
                socket.close_with(code, reason) or ...
            )
            self.assertIn(text, self.failure(self.gateway))

    def refused(self, code: str, details: Any = None) -> CallFailed:
        def refuse(socket: Any, frame: Any) -> Any:
            socket.respond(frame["id"], GatewayError(code, "their words", details))
            socket.close_with(1008, "their words")
            return ...

        self.gateway.methods["connect"] = refuse
        self.reactor = FakeReactor(self.gateway)
        with self.assertRaises(CallFailed) as raised:
            self.connected()
        return raised.exception

    def test_refusals(self) -> None:
        for code, detail, text in (
            (
                "INVALID_REQUEST",
                {"code": "AUTH_TOKEN_MISMATCH"},
                "does not accept the token of --token; on the gateway's",
            ),
            ("INVALID_REQUEST", {"code": "AUTH_PASSWORD_MISMATCH"}, "does not accept the token"),
            ("INVALID_REQUEST", {"code": "AUTH_TOKEN_MISSING"}, "wants a credential (--token)"),
            ("NOT_PAIRED", {"code": "DEVICE_IDENTITY_REQUIRED"}, "give --token or --password"),
            ("INVALID_REQUEST", {"code": "AUTH_RATE_LIMITED", "retryAfterMs": 5000}, "try again in 5 s"),
            ("INVALID_REQUEST", {"code": "AUTH_RATE_LIMITED"}, "try again in a few minutes"),
            (
                "INVALID_REQUEST",
                {"code": "PROTOCOL_MISMATCH", "expectedProtocol": 5},
                "speaks version 5 of the protocol",
            ),
            ("NOT_PAIRED", {"code": "PAIRING_REQUIRED"}, "wants this device to be approved first: their words"),
            ("UNAVAILABLE", None, "is starting or stopping; try again"),
            ("INVALID_REQUEST", "odd", "refused the connection: their words"),
        ):
            error = self.refused(code, detail)
            self.assertIn(text, error.message)
            self.assertIn("ws://127.0.0.1:18789", error.message)
            self.assertEqual((error.told_code, error.told_details), (code, detail))
            self.assertNotIn("s3cret", error.message)

    def test_wrong_without_a_secret(self) -> None:
        self.remote = make_remote(secret=GatewaySecret("token", "there is none"))
        message = self.refused("INVALID_REQUEST", {"code": "AUTH_TOKEN_MISMATCH"}).message
        self.assertIn("wants a credential, and there is none: there is none; on the gateway's machine", message)

    def test_cancelled(self) -> None:
        self.gateway.methods["connect"] = lambda socket, frame: ...
        waiting = self.start()
        for _ in range(10):
            self.reactor.advance(0)
        self.assertEqual(len(self.gateway.params_of("connect")), 1)
        waiting.cancel()
        self.failureResultOf(waiting, defer.CancelledError)
        self.reactor.advance(1)
        self.assertTrue(self.gateway.sockets[0].transport.is_over)

    def test_a_name_and_tls(self) -> None:
        """A host's name is looked up; wss:// is TLS from the first byte."""
        asked: list[Any] = []

        class Unreachable:
            def __init__(self, reactor: Any, host: str, port: int, timeout: float) -> None:
                asked.append((host, port, timeout))

            def connect(self, factory: Any) -> Any:
                asked.append(factory.url)
                return defer.fail(DNSLookupError())

        self.patch(connection_module, "HostnameEndpoint", Unreachable)
        self.patch(connection_module, "wrapClientTLS", lambda options, endpoint: asked.append("TLS") or endpoint)
        self.remote = make_remote(address=GatewayUrl("wss://gw.example.org:443", "gw.example.org", 443, is_tls=True))
        self.failureResultOf(self.start(), GatewayUnreachable)
        self.assertEqual(asked, [("gw.example.org", 443, 10), "TLS", "wss://gw.example.org:443/"])


class CallTests(ConnectionTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.connection = self.connected()

    def test_larger_than_the_gateway_takes(self) -> None:
        for policy, limit in (({"maxPayload": 1000}, "1,000"), ({}, "26,214,400")):
            self.connection.hello = {"policy": policy}
            text = "x" * (int(limit.replace(",", "")) + 1)
            error = self.failureResultOf(self.call(self.connection, "agent", params={"message": text}), RemoteError)
            self.assertIn(f"takes {limit} at most; send less", error.value.message)
        self.assertEqual(self.gateway.params_of("agent"), [])

    def test_answers_in_any_order(self) -> None:
        frames: list[Any] = []
        self.gateway.methods["slow"] = lambda socket, frame: frames.append(frame) or ...
        self.gateway.methods["fast"] = 2
        slow, fast = self.call(self.connection, "slow", params={"a": 1}), self.call(self.connection, "fast")
        self.assertEqual(self.reactor.result_of(fast), 2)
        self.gateway.sockets[0].respond(frames[0]["id"], 1)
        self.assertEqual(self.reactor.result_of(slow), 1)
        self.assertEqual(self.gateway.params_of("slow"), [{"a": 1}])
        self.gateway.sockets[0].respond(frames[0]["id"], 1)  # once more: nobody waits for it
        self.gateway.sockets[0].respond("nobody", 1)
        self.reactor.advance(0)
        self.assertTrue(self.connection.is_open)

    def test_error(self) -> None:
        self.gateway.methods["m"] = GatewayError("FORBIDDEN", "missing\x1b scope", {"code": "MISSING_SCOPE"})
        with self.assertRaises(CallFailed) as raised:
            self.reactor.result_of(self.call(self.connection, "m"))
        error = raised.exception
        self.assertEqual(
            (error.message, error.told_code, error.detail_code), ("missing  scope", "FORBIDDEN", "MISSING_SCOPE")
        )

    def test_error_that_says_nothing(self) -> None:
        def odd(socket: Any, frame: Any) -> Any:
            socket.frame({"type": "res", "id": frame["id"], "ok": False})
            return ...

        self.gateway.methods["m"] = odd
        with self.assertRaises(CallFailed) as raised:
            self.reactor.result_of(self.call(self.connection, "m"))
        self.assertEqual(raised.exception.message, "the gateway gives no reason")

    def test_late(self) -> None:
        self.gateway.methods["m"] = lambda socket, frame: ...
        with self.assertRaises(NoAnswer) as raised:
            self.reactor.result_of(self.call(self.connection, "m", timeout_s=3))
        self.assertIn("does not answer m within 3 s; see openclaw logs", raised.exception.message)
        self.assertTrue(self.connection.is_open)

    def test_two_answers(self) -> None:
        def run(socket: Any, frame: Any) -> Any:
            for status in ("accepted", "ok"):
                socket.respond(frame["id"], {"status": status})
            return ...

        self.gateway.methods["agent"] = run
        accepted: list[Any] = []
        final = self.call(self.connection, "agent", expect_final=True, on_accepted=accepted.append)
        self.assertEqual(self.reactor.result_of(final), {"status": "ok"})
        self.assertEqual(accepted, [{"status": "accepted"}])
        self.assertEqual(
            self.reactor.result_of(self.call(self.connection, "agent", expect_final=True)), {"status": "ok"}
        )
        self.assertEqual(self.reactor.result_of(self.call(self.connection, "agent")), {"status": "accepted"})

    def test_cancelled_call(self) -> None:
        frames: list[Any] = []
        self.gateway.methods["m"] = lambda socket, frame: frames.append(frame) or ...
        waiting = self.call(self.connection, "m")
        self.reactor.advance(0)
        waiting.cancel()
        self.failureResultOf(waiting, defer.CancelledError)
        self.gateway.sockets[0].respond(frames[0]["id"], 1)
        self.reactor.advance(6)
        self.assertTrue(self.connection.is_open)

    def test_events(self) -> None:
        heard: list[Any] = []

        def listener(event: str, payload: Any) -> None:
            heard.append((event, payload))

        self.connection.listen(listener)
        socket = self.gateway.sockets[0]
        socket.event("agent", {"a": 1})
        socket.event("connect.challenge", {})
        socket.event("tick", "odd")
        self.reactor.advance(0)
        self.connection.unlisten(listener)
        socket.event("agent", {"a": 2})
        self.reactor.advance(0)
        self.assertEqual(heard, [("agent", {"a": 1}), ("tick", {})])

    def test_lone_surrogates_can_be_printed(self) -> None:
        self.gateway.methods["m"] = {"a\ud800": ["x\udfff", 1, "\U0001f600"]}
        answer = self.reactor.result_of(self.call(self.connection, "m"))
        self.assertEqual(answer, {"a\ufffd": ["x\ufffd", 1, "\U0001f600"]})
        self.assertEqual(decode_frame(b'"\xc3\xa9"'), "é")

    def test_pause(self) -> None:
        waiting = Deferred.fromCoroutine(self.connection.pause(5))
        self.reactor.advance(4.9)
        self.assertNoResult(waiting)
        self.reactor.advance(0.2)
        self.successResultOf(waiting)


class EndTests(ConnectionTestCase):
    def lost(self, *close: Any) -> RemoteError:
        self.reactor = FakeReactor(self.gateway)
        connection = self.connected()
        self.gateway.methods["m"] = lambda socket, frame: ...
        waiting = self.call(connection, "m", timeout_s=500)
        self.reactor.advance(0)
        if close:
            self.gateway.sockets[-1].close_with(*close)
        else:
            self.gateway.sockets[-1].transport.abortConnection()
        with self.assertRaises(ConnectionEnded) as raised:
            self.reactor.result_of(waiting)
        self.assertFalse(connection.is_open)
        with self.assertRaises(ConnectionEnded):
            self.reactor.result_of(self.call(connection, "m"))
        return raised.exception

    def test_calls_end_with_it(self) -> None:
        self.assertIn("the connection to ws://127.0.0.1:18789 was lost", self.lost().message)
        error = self.lost(1012, "service restart")
        self.assertIn("has stopped or restarts", error.message)
        self.assertEqual(error.told_code, 1012)
        self.assertIn("closed the connection (1008 slow consumer)", self.lost(1008, "slow consumer").message)

    def test_not_connected(self) -> None:
        self.failureResultOf(self.call(GatewayConnection(self.reactor, self.remote), "m"), ConnectionEnded)

    def test_silence(self) -> None:
        connection = self.connected()
        self.reactor.advance(59)
        self.gateway.sockets[0].event("tick", {})
        self.reactor.advance(0)
        self.reactor.advance(59)
        self.assertTrue(connection.is_open)
        self.reactor.advance(2)
        self.reactor.advance(1)
        with self.assertRaises(ConnectionEnded) as raised:
            self.reactor.result_of(self.call(connection, "m"))
        self.assertIn("has not given a sign of life for 60 s", raised.exception.message)
        self.assertTrue(self.gateway.sockets[0].transport.is_over)

    def test_gateway_that_names_no_tick(self) -> None:
        for policy in ({}, {"tickIntervalMs": "x"}, None):
            self.gateway.hello["policy"] = policy
            self.reactor = FakeReactor(self.gateway)
            connection = self.connected()
            self.reactor.advance(59)
            self.assertTrue(connection.is_open)

    def test_close(self) -> None:
        connection = self.connected()
        closed = Deferred.fromCoroutine(connection.close())
        self.reactor.result_of(closed)
        self.assertEqual(self.gateway.sockets[0].remoteCloseCode, 1001)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.successResultOf(Deferred.fromCoroutine(connection.close()))
        connection.abort()

    def test_close_that_takes_long(self) -> None:
        connection = self.connected()
        wire = self.gateway.sockets[0].transport.other
        wire.loseConnection = wire.other.loseConnection = lambda: None
        closed = Deferred.fromCoroutine(connection.close())
        self.reactor.advance(0.4)
        self.assertNoResult(closed)
        self.reactor.advance(0.2)
        self.successResultOf(closed)
        self.reactor.advance(0)
        self.assertTrue(wire.is_over)

    def test_server_pings_are_answered(self) -> None:
        self.connected()
        pongs: list[Any] = []
        self.gateway.sockets[0].onPong = pongs.append
        self.gateway.sockets[0].sendPing(b"x")
        self.reactor.advance(0)
        self.reactor.advance(0)
        self.assertEqual(pongs, [b"x"])


class FrameTests(TestCase):
    def test_no_json(self) -> None:
        for text in (b"", b"x", b"[" * 200_000, b"\xff"):
            self.assertRaises(ValueError, decode_frame, text)
        self.assertEqual(decode_frame(json.dumps({"a": [1]}).encode()), {"a": [1]})
