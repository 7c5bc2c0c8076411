"""Tests for L{openclaw.ws.connection}, on raw bytes through the gateway's port."""

from __future__ import annotations

import json
import struct
from typing import Any

from twisted.python.failure import Failure

from openclaw.ws import connection
from openclaw.ws.connection import MAX_PREAUTH_FRAME_BYTES, GatewayWebSocket
from test.http.support import AUTH, Client, GatewayTestCase, parse_answers

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = ("Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {KEY}")
CONNECT = {"type": "req", "id": "1", "method": "connect", "params": {}}


def frame(payload: bytes, opcode: int = 1, *, fin: bool = True, masked: bool = True) -> bytes:
    """A client's frame; its mask is all zeros."""
    first = bytes([(0x80 if fin else 0) | opcode])
    mask_bit = 0x80 if masked else 0
    length = len(payload)
    if length < 126:
        size = bytes([mask_bit | length])
    elif length < 65536:
        size = bytes([mask_bit | 126]) + struct.pack("!H", length)
    else:
        size = bytes([mask_bit | 127]) + struct.pack("!Q", length)
    return first + size + (b"\0\0\0\0" if masked else b"") + payload


class Peer:
    """A WebSocket client."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.frames: list[tuple[int, bytes]] = []

    def upgrade(self, *headers: str, path: str = "/", version: str = "13", key: str = KEY) -> None:
        self.client.request(
            "GET",
            path,
            "Upgrade: websocket",
            "Connection: keep-alive, Upgrade",
            f"Sec-WebSocket-Version: {version}",
            f"Sec-WebSocket-Key: {key}",
            *headers,
        )

    def read(self) -> None:
        """Take all frames that were sent."""
        head, separator, data = self.client.output.partition(b"\r\n\r\n")
        assert separator and head.startswith(b"HTTP/1.1 101 "), head
        self.frames.clear()
        while data:
            opcode, length, at = data[0] & 15, data[1], 2
            if length == 126:
                length, at = struct.unpack("!H", data[2:4])[0], 4
            self.frames.append((opcode, data[at : at + length]))
            data = data[at + length :]

    @property
    def told(self) -> list[Any]:
        """The JSON that was sent."""
        self.read()
        return [json.loads(payload) for opcode, payload in self.frames if opcode == 1]

    @property
    def close_code(self) -> int | None:
        """The code of the close frame."""
        return self.close[0] if self.close else None

    @property
    def close(self) -> tuple[int, str] | None:
        """The one close frame's code and reason."""
        self.read()
        closes = [payload for opcode, payload in self.frames if opcode == 8]
        assert len(closes) <= 1
        return (struct.unpack("!H", closes[0][:2])[0], closes[0][2:].decode()) if closes else None

    def send(self, value: Any) -> None:
        """Send text: JSON unless it is bytes."""
        self.client.send(frame(value if isinstance(value, bytes) else json.dumps(value).encode()))


class WebSocketTestCase(GatewayTestCase):
    def open(self, *headers: str, path: str = "/") -> Peer:
        """A connection whose upgrade is done."""
        peer = Peer(self.connect())
        peer.upgrade(*headers, path=path)
        self.tick()
        return peer

    def over(self, peer: Peer) -> None:
        """The client has gone; nothing of the connection may be left."""
        peer.client.leave()
        self.wait(connection.CLOSE_REPLY_DEADLINE_S + 0.5)
        self.assertEqual(self.websockets.open_connections, set())
        self.assertEqual(self.site.open_connections, set())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.problems, [])


class UpgradeTests(WebSocketTestCase):
    def test_challenge_comes_at_once(self) -> None:
        peer = self.open()
        self.assertIn(b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", peer.client.output)
        self.assertNotIn(b"Sec-WebSocket-Extensions", peer.client.output)
        (challenge,) = peer.told
        self.assertEqual((challenge["type"], challenge["event"]), ("event", "connect.challenge"))
        self.assertRegex(challenge["payload"]["nonce"], "^[0-9a-f-]{36}$")
        self.assertEqual(challenge["payload"]["ts"], int(self.clock.seconds() * 1000))
        self.over(peer)

    def test_any_path_that_is_no_route(self) -> None:
        for path in ("/", "/some/path", "/?token=x"):
            peer = self.open(path=path)
            self.assertEqual(len(peer.told), 1)

    def test_compression_is_never_agreed_on(self) -> None:
        peer = self.open("Sec-WebSocket-Extensions: permessage-deflate")
        self.assertNotIn(b"permessage-deflate", peer.client.output)

    def test_any_origin_may_upgrade(self) -> None:
        for origin in ("null", "https://evil.example"):
            self.assertEqual(len(self.open(f"Origin: {origin}").told), 1)

    def test_a_producer_can_be_registered(self) -> None:
        peer = self.open()
        protocol = peer.client.transport.protocol
        self.assertIsInstance(protocol, GatewayWebSocket)
        self.assertIsNone(peer.client.transport.producer)
        protocol.transport.registerProducer(protocol, True)

    def test_api_route_is_served_all_the_same(self) -> None:
        client = self.connect()
        client.request("GET", "/v1/models", AUTH, "Upgrade: websocket", "Connection: Upgrade")
        self.assertEqual(client.answer().status, 200)

    def test_foreign_host(self) -> None:
        client = self.connect()
        client.request("GET", "/", "Upgrade: websocket", "Connection: Upgrade", host="evil.example")
        self.assertEqual((client.answer().status, client.answer().error["code"]), (403, "host_not_allowed"))

    def test_over_http_1_0(self) -> None:
        for path, status in (("/", 404), ("/healthz", 200)):
            client = self.connect()
            request = "\r\n".join(
                (f"GET {path} HTTP/1.0", "Host: localhost", *UPGRADE, "Sec-WebSocket-Version: 13", "", "")
            )
            client.send(request)
            self.tick()
            self.assertEqual(client.answer().status, status)
            self.assertTrue(client.closed)

    def test_with_a_body(self) -> None:
        client = self.connect()
        client.request("GET", "/", "Upgrade: websocket", "Connection: Upgrade", body=b"x")
        self.assertEqual(client.answer().status, 413)
        client = self.connect()
        client.request("GET", "/", "Upgrade: websocket", "Connection: Upgrade", "Transfer-Encoding: chunked")
        client.send(b"1\r\nx\r\n")
        self.assertEqual(client.answer().status, 413)

    def test_headers_of_every_answer(self) -> None:
        ours = ("X-Request-Id: abc,1", "Cookie: \xff")
        for lines, status in ((("Upgrade: websocket",), 400), ((*UPGRADE, "Sec-WebSocket-Version: 13"), 101)):
            for sent in (ours, (), ("X-Request-Id: two words",), (*ours, "X-Request-Id: again")):
                client = self.connect()
                client.request("GET", "/%ff", *lines, *sent)
                head = client.output.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
                answer = parse_answers(head)[0]
                self.assertEqual(answer.status, status)
                self.assertEqual(answer.headers["x-content-type-options"], "nosniff")
                self.assertEqual(answer.headers["referrer-policy"], "no-referrer")
                if sent == ours:
                    self.assertEqual(answer.headers["x-request-id"], "abc,1")
                else:
                    self.assertRegex(answer.headers["x-request-id"], "^[0-9a-f]{32}$")

    def test_what_is_sent_before_the_upgrade_is_done(self) -> None:
        for last in ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 13\r\nTransfer-Encoding: chunked"):
            client = self.connect()
            request = "\r\n".join(("GET / HTTP/1.1", "Host: localhost", *UPGRADE, last, "", ""))
            client.send(request + ("0\r\n\r\n" if "chunked" in last else "") + "x" * 40_000)
            self.wait(20)
            self.assertTrue(client.closed)
        self.assertEqual(self.problems, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_half_forms(self) -> None:
        websocket, upgrade = "Upgrade: websocket", "Connection: Upgrade"
        version, key = "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {KEY}"
        for status, *lines in (
            (400, websocket),
            (400, websocket, version, key),
            (400, websocket, "Connection: keep-alive", version, key),
            (400, websocket, upgrade, key),
            (400, websocket, upgrade, version),
            (400, websocket, upgrade, version, "Sec-WebSocket-Key: short"),
            (400, websocket, upgrade, version, "Sec-WebSocket-Key: " + "!" * 22 + "=="),
            (400, websocket, upgrade, "Sec-WebSocket-Version: x", key),
            (426, websocket, upgrade, "Sec-WebSocket-Version: 12", key),
            (426, websocket, upgrade, "Sec-WebSocket-Version: 99", key),
        ):
            client = self.connect()
            client.request("GET", "/", *lines)
            self.tick()
            answer = client.answer()
            self.assertEqual(answer.status, status, lines)
            self.assertEqual(answer.error["type"], "invalid_request_error")
            self.assertTrue(answer.whole)
            self.assertEqual(answer.headers["connection"], "close")
            self.assertIn("x-request-id", answer.headers)
            self.assertEqual("sec-websocket-version" in answer.headers, status == 426)
            self.assertEqual(answer.headers.get("upgrade"), "websocket" if status == 426 else None)
            self.assertTrue(client.closed)
            self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.site.open_connections, set())


class FrameTests(WebSocketTestCase):
    def test_connect_is_not_available_yet(self) -> None:
        peer = self.open()
        peer.send(CONNECT)
        self.assertEqual(
            peer.told[1],
            {
                "type": "res",
                "id": "1",
                "ok": False,
                "error": {"code": "UNAVAILABLE", "message": "this gateway does not serve WebSocket methods yet"},
            },
        )
        self.assertEqual(peer.close, (1008, "not available yet"))
        peer.client.send(frame(struct.pack("!H", 1008), 8))
        self.tick()
        self.assertTrue(peer.client.closed)
        self.over(peer)

    def test_only_the_first_of_two_requests_is_answered(self) -> None:
        peer = self.open()
        text = json.dumps(CONNECT).encode()
        peer.client.send(frame(text) + frame(text))
        self.assertEqual(len(peer.told), 2)
        self.assertEqual(peer.close_code, 1008)

    def test_what_is_no_request(self) -> None:
        for payload in (
            b"nope",
            b"",
            b"[]",
            b"5",
            b"null",
            b"{}",
            b'{"type":"req"}',
            b'{"type":"req","id":5}',
            b'{"type":"req","id":null}',
            b'{"type":"event","id":"1"}',
            b'{"id":"1"}',
            b"[" * 60_000,
            b"1" * 5000,
        ):
            peer = self.open()
            peer.client.send(frame(payload))
            self.assertEqual(peer.close, (1008, "invalid request frame"), payload[:40])
            self.assertEqual(len(peer.told), 1)
            self.over(peer)

    def test_binary(self) -> None:
        peer = self.open()
        peer.client.send(frame(b"{}", 2))
        self.assertEqual(peer.close, (1003, "text frames only"))

    def test_sizes(self) -> None:
        fitting = json.dumps(CONNECT).encode().ljust(MAX_PREAUTH_FRAME_BYTES)
        peer = self.open()
        peer.client.send(frame(fitting))
        self.assertEqual(peer.close_code, 1008)
        peer = self.open()
        peer.client.send(frame(fitting + b" ")[:20])
        self.assertEqual(peer.close_code, 1009)
        self.wait(3)
        self.assertTrue(peer.client.closed)

    def test_fragments_over_the_limit(self) -> None:
        peer = self.open()
        peer.client.send(frame(b"x" * 60_000, fin=False))
        peer.client.send(frame(b"x" * 60_000, 0, fin=False))
        self.assertEqual(peer.close_code, 1009)

    def test_protocol_errors(self) -> None:
        for data, code in (
            (frame(b"\xff\xfe"), 1007),
            (frame(b"{}", masked=False), 1002),
            (frame(b"{}", 3), 1002),
            (frame(b"x" * 126, 9), 1002),
            (bytes([0xC1, 0x82]) + b"\0\0\0\0{}", 1002),
        ):
            peer = self.open()
            peer.client.send(data)
            self.assertEqual(peer.close_code, code)
            self.wait(3)
            self.assertTrue(peer.client.closed)

    def test_ping(self) -> None:
        peer = self.open()
        peer.client.send(frame(b"hello", 9))
        peer.read()
        self.assertEqual(peer.frames[-1], (10, b"hello"))

    def test_bug(self) -> None:
        peer = self.open()
        self.patch(connection, "json", None)
        peer.client.send(frame(b"{}"))
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)
        self.assertIn(struct.pack("!H", 1011) + b"internal error", peer.client.output)
        self.assertFalse(peer.client.closed)
        self.wait(3)
        self.assertTrue(peer.client.closed)


class DeadlineTests(WebSocketTestCase):
    def test_handshake(self) -> None:
        peer = self.open()
        self.wait(14.5)
        self.assertIsNone(peer.close)
        self.wait(1)
        self.assertEqual(peer.close, (1000, ""))
        self.wait(3)
        self.assertTrue(peer.client.transport.aborted)
        self.over(peer)

    def test_client_that_does_not_answer_a_close(self) -> None:
        peer = self.open()
        peer.send(CONNECT)
        self.wait(1.5)
        self.assertFalse(peer.client.closed)
        self.wait(1)
        self.assertTrue(peer.client.closed)
        self.over(peer)

    def test_client_closes(self) -> None:
        peer = self.open()
        peer.client.send(frame(struct.pack("!H", 1000), 8))
        self.assertEqual(peer.close_code, 1000)
        self.tick()
        self.assertTrue(peer.client.closed)
        self.over(peer)

    def test_no_deadline_of_http_is_left(self) -> None:
        peer = self.open()
        deadlines = sorted(call.getTime() - self.clock.seconds() for call in self.clock.getDelayedCalls())
        self.assertEqual(deadlines, [15.0])
        self.over(peer)

    def test_gateway_stops(self) -> None:
        peers = [self.open(), self.open()]
        self.websockets.close_all()
        for peer in peers:
            self.assertEqual(peer.close, (1012, "service restart"))
        self.websockets.close_all()
        # Connections that were handed over are not the site's to close.
        self.site.close_all()
        self.site.abort_all()
        self.wait(3)
        for peer in peers:
            self.assertTrue(peer.client.closed)
            self.over(peer)

    def test_failure_is_no_secret_of_the_close(self) -> None:
        peer = self.open()
        peer.client.transport.protocol.connectionLost(Failure(RuntimeError("x")))
        self.assertEqual(self.websockets.open_connections, set())
