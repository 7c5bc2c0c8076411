"""The WebSocket side before anybody has connected, from raw bytes to raw bytes."""

from __future__ import annotations

import json
import struct

import attrs
from twisted.python.failure import Failure

from openclaw.http.connection.stall import STALL_S
from openclaw.ws.broadcast import SLICE_LISTENERS
from openclaw.ws.connection import MAX_EARLY_FRAMES, GatewayWebSocket
from openclaw.ws.crowd import MAX_PREAUTH_CONNECTIONS, PREAUTH_GRACE_S, SLICE_CLOSED, Crowd
from openclaw.ws.factory import MAX_PREAUTH_FRAME_BYTES
from test.http.support import AUTH, parse_answers
from test.ws.support import KEY, Peer, WebSocketTestCase, connect_params, frame

UPGRADE = ("Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {KEY}")
CONNECT = {"type": "req", "id": "1", "method": "connect", "params": {}}


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

    def test_nonces_cannot_be_guessed(self) -> None:
        new_id = Crowd(self.clock, self.crowd.surface).new_id
        ids = {new_id() for _ in range(100)}
        self.assertEqual(len(ids), 100)
        self.assertRegex(ids.pop(), "^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$")

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

    def test_what_went_before_it_is_watched_no_longer(self) -> None:
        """The answer before the upgrade may still have been on its way."""
        peer = Peer(self.tcp())
        peer.client.transport.stop_reading()
        peer.upgrade()
        peer.client.transport.start_reading()
        self.assertTrue(peer.connect()["ok"])
        for _ in range(4):
            self.wait(STALL_S / 3)
            self.assertFalse(peer.client.transport.aborted)
            peer.answer("read")
        self.over(peer)

    def test_the_connection_is_its_own_producer(self) -> None:
        peer = self.open()
        protocol = peer.client.transport.protocol
        self.assertIsInstance(protocol, GatewayWebSocket)
        self.assertIs(peer.client.transport.producer, protocol)

    def test_api_route_is_served_all_the_same(self) -> None:
        client = self.tcp()
        client.request("GET", "/v1/models", AUTH, "Upgrade: websocket", "Connection: Upgrade")
        self.assertEqual(client.answer().status, 200)

    def test_foreign_host(self) -> None:
        client = self.tcp()
        client.request("GET", "/", "Upgrade: websocket", "Connection: Upgrade", host="evil.example")
        self.assertEqual((client.answer().status, client.answer().error["code"]), (403, "host_not_allowed"))

    def test_over_http_1_0(self) -> None:
        for path, status in (("/", 200), ("/x", 404), ("/healthz", 200)):
            client = self.tcp()
            request = "\r\n".join(
                (f"GET {path} HTTP/1.0", "Host: localhost", *UPGRADE, "Sec-WebSocket-Version: 13", "", "")
            )
            client.send(request)
            self.tick()
            self.assertEqual(client.answer().status, status)
            self.assertTrue(client.closed)

    def test_with_a_body(self) -> None:
        client = self.tcp()
        client.request("GET", "/", "Upgrade: websocket", "Connection: Upgrade", body=b"x")
        self.assertEqual(client.answer().status, 413)
        client = self.tcp()
        client.request("GET", "/", "Upgrade: websocket", "Connection: Upgrade", "Transfer-Encoding: chunked")
        client.send(b"1\r\nx\r\n")
        self.assertEqual(client.answer().status, 413)

    def test_headers_of_every_answer(self) -> None:
        ours = ("X-Request-Id: abc,1", "Cookie: \xff")
        for lines, status in ((("Upgrade: websocket",), 400), ((*UPGRADE, "Sec-WebSocket-Version: 13"), 101)):
            for sent in (ours, (), ("X-Request-Id: two words",), (*ours, "X-Request-Id: again")):
                client = self.tcp()
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
            client = self.tcp()
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
            client = self.tcp()
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
    def test_only_the_first_of_two_requests_is_answered(self) -> None:
        peer = self.open()
        text = json.dumps(CONNECT).encode()
        peer.client.send(frame(text) + frame(text))
        self.assertEqual(len(peer.told), 2)
        self.assertEqual(peer.close_code, 1008)

    def test_what_is_no_request(self) -> None:
        for payload in (
            b"[]",
            b"5",
            b"null",
            b"{}",
            b'{"type":"req"}',
            b'{"type":"req","id":5,"method":"connect"}',
            b'{"type":"req","id":null,"method":"connect"}',
            b'{"type":"req","id":"","method":"connect"}',
            b'{"type":"event","id":"1","method":"connect"}',
            b'{"id":"1","method":"connect"}',
            b'{"type":"req","id":"1","method":"connect","extra":1}',
        ):
            peer = self.open()
            peer.client.send(frame(payload))
            self.assertEqual(peer.close, (1008, "invalid request frame"), payload[:40])
            self.assertEqual(len(peer.told), 1)
            self.over(peer)

    def test_what_is_no_json(self) -> None:
        for payload in (b"nope", b"", b"[" * 60_000, b"{", b'{"type":"req"'):
            peer = self.open()
            peer.client.send(frame(payload))
            self.assertEqual(peer.close, (1000, ""), payload[:40])
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

    def test_flood_before_connect(self) -> None:
        pings = frame(b"", 9) * 20_000
        pieces = frame(b"", fin=False) + frame(b"", 0, fin=False) * 20_000
        for flood in (pings, frame(b"", 10) * 20_000, pieces):
            peer = self.open()
            peer.client.send(flood)
            self.assertEqual(peer.close, (1008, "too many frames before connect"))
            self.assertLess(len([opcode for opcode, _ in peer.frames if opcode == 10]), MAX_EARLY_FRAMES)
            self.tick()
            self.assertTrue(peer.client.closed)
            self.over(peer)

    def test_flood_after_the_close(self) -> None:
        peer = self.open()
        peer.send(CONNECT)
        self.assertEqual(peer.close_code, 1008)
        peer.client.send(frame(b"", 9) * MAX_EARLY_FRAMES)
        self.tick()
        self.assertTrue(peer.client.closed)
        self.over(peer)

    def test_bug(self) -> None:
        peer = self.open()
        self.patch(self.policy, "judge_connect", None)
        peer.send({"type": "req", "id": "1", "method": "connect", "params": connect_params()})
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        self.assertIn(struct.pack("!H", 1011) + b"internal error", peer.client.output)
        self.assertFalse(peer.client.closed)
        self.wait(3)
        self.assertTrue(peer.client.closed)

    def test_masks(self) -> None:
        text = json.dumps({"type": "req", "id": "1", "method": "nöthing"}, ensure_ascii=False).encode()
        for cut in (0, 1, 2, 3, 5, len(text)):
            peer = self.open()
            data = frame(text, mask=b"\x01\x82\xf3\x7f")
            for part in (data[: 6 + cut], data[6 + cut :]):
                peer.client.send(part)
            self.assertEqual(peer.close, (1008, "invalid handshake: first request must be connect"))
        peer = self.open()
        peer.client.send(frame(b"hello", 9, mask=b"abcd"))
        peer.client.send(frame(b"", 9, mask=b"abcd"))
        peer.read()
        self.assertEqual(peer.frames[-2:], [(10, b"hello"), (10, b"")])


class BoundTests(WebSocketTestCase):
    """What a client sends costs the gateway little, however it is cut up."""

    def protocol(self, peer: Peer) -> GatewayWebSocket:
        protocol = peer.client.transport.protocol
        assert isinstance(protocol, GatewayWebSocket)
        return protocol

    def test_control_frame_without_end(self) -> None:
        for opcode in (8, 9, 10):
            for size in (b"\xfe\xff\xff", b"\xff" + struct.pack("!Q", 2**40)):
                peer = self.open()
                peer.client.send(bytes([0x80 | opcode]) + size + b"\0\0\0\0")
                self.assertEqual(peer.close_code, 1002)
                for _ in range(10):
                    peer.client.send(b"x" * 6000)
                protocol = self.protocol(peer)
                self.assertEqual(sum(map(len, protocol.control_frame_data)), 0)
                self.assertEqual(len(protocol.data), 0)
                self.over(peer)

    def test_message_in_tiny_pieces(self) -> None:
        text = json.dumps({"type": "req", "id": "1", "method": "echo", "params": {"text": "x" * 5000}}).encode()
        mask = b"\x01\x82\xf3\x7f"
        peer = self.connected()
        peer.client.send(frame(text[:1], fin=False, mask=mask))
        for at in range(1, len(text) - 1):
            peer.client.send(frame(text[at : at + 1], 0, fin=False, mask=mask) + frame(b"", 0, fin=False, mask=mask))
        self.assertEqual([len(piece) for piece in self.protocol(peer).message_data], [len(text) - 1])
        last = frame(text[-1:], 0, mask=mask)
        for byte in last:
            peer.client.send(bytes([byte]))
        self.assertEqual(peer.last["payload"], {"text": "x" * 5000})
        # The next message does not begin with the last one's pieces.
        self.assertTrue(peer.answer("read")["ok"])
        self.assertIsNone(peer.close)

    def test_others_have_their_turn(self) -> None:
        for flood in (frame(b"", 9) * 1000, frame(b"", fin=False) + frame(b"", 0, fin=False) * 999):
            peer = self.connected()
            peer.client.send(flood)
            transport = peer.client.transport
            self.assertEqual(transport.producerState, "paused")
            left = len(self.protocol(peer).data)
            self.assertGreater(left, len(flood) // 2)
            # TLS hands over what it has read all the same.
            peer.client.send(flood[6:12])
            self.assertEqual(len(self.protocol(peer).data), left + 6)
            self.tick(20)
            self.assertEqual((transport.producerState, len(self.protocol(peer).data)), ("producing", 0))
            peer.client.send(frame(b"", 0) if flood[0] == 1 else b"")
            self.over(peer)

    def test_requests_in_one_go_are_answered_in_order(self) -> None:
        peer = self.connected()
        requests = [{"type": "req", "id": f"r{number}", "method": "read"} for number in range(500)]
        peer.client.send(b"".join(frame(json.dumps(request).encode()) for request in requests))
        self.assertLess(len(peer.told), 300)
        self.tick(10)
        answered = [told["id"] for told in peer.told if told["type"] == "res" and told["id"].startswith("r")]
        self.assertEqual(answered, [request["id"] for request in requests])

    def test_leaves_amid_its_flood(self) -> None:
        peer = self.connected()
        peer.client.send(frame(b"", 9) * 1000)
        self.over(peer)

    def test_closed_amid_its_flood(self) -> None:
        peer = self.connected()
        peer.client.send(frame(b"", 9) * 1000 + frame(struct.pack("!H", 1000), 8))
        self.protocol(peer).close(1008, "enough")
        self.tick(20)
        self.assertTrue(peer.client.closed)
        self.assertEqual(peer.close, (1008, "enough"))
        self.over(peer)


class DeafTests(WebSocketTestCase):
    """A client that does not read is not waited for in the end, and keeps nothing alive."""

    def deaf(self) -> Peer:
        peer = self.connected()
        peer.client.transport.stop_reading()
        peer.ask("echo", {"text": "x" * 100_000})
        peer.ask("hold")
        return peer

    def gone(self, peer: Peer) -> None:
        self.assertEqual(self.methods.cancelled, self.methods.held)
        self.assertFalse(peer.client.closed)
        self.wait(2.5)
        self.assertTrue(peer.client.transport.aborted)
        self.over(peer)

    def test_closes(self) -> None:
        peer = self.deaf()
        peer.client.send(frame(struct.pack("!H", 1000), 8))
        self.gone(peer)

    def test_breaks_the_protocol_twice(self) -> None:
        peer = self.deaf()
        peer.client.send(frame(b"{}", 3))
        peer.client.send(frame(b"{}", 3))
        self.gone(peer)

    def test_floods_after_the_close(self) -> None:
        peer = self.deaf()
        peer.client.transport.protocol.close(1008)
        peer.client.send(frame(b"", 9) * MAX_EARLY_FRAMES)
        self.gone(peer)


class ForgedHeaderTests(WebSocketTestCase):
    def test_a_header_stays_one(self) -> None:
        """Autobahn ends a line where Unicode does; a client behind a proxy could so add to what the proxy says."""
        for cut in ("\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85"):
            peer = self.open(f"X-Note: a{cut}Origin: https://evil.example{cut}X-Forwarded-For: 127.0.0.1")
            self.assertTrue(peer.connect()["ok"], repr(cut))
            self.over(peer)


class PreauthTests(WebSocketTestCase):
    def test_too_many_of_one_client(self) -> None:
        peers = [self.open(address="192.0.2.1") for _ in range(MAX_PREAUTH_CONNECTIONS)]
        refused = self.tcp("192.0.2.1")
        Peer(refused).upgrade()
        self.tick()
        self.assertEqual(refused.answer().status, 503)
        self.assertEqual(refused.answer().error["code"], "overloaded")
        self.assertEqual(refused.answer().headers["retry-after"], "1")
        self.assertTrue(refused.closed)
        self.open(address="192.0.2.2")
        peers[0].client.leave()
        self.assertEqual(len(self.open(address="192.0.2.1").told), 1)

    def test_silent_ones_give_way(self) -> None:
        peers = [self.open(address="192.0.2.1") for _ in range(MAX_PREAUTH_CONNECTIONS)]
        self.wait(PREAUTH_GRACE_S)
        newcomers = [self.open(address="192.0.2.1") for _ in range(2)]
        self.assertEqual([len(newcomer.told) for newcomer in newcomers], [1, 1])
        reason = "too many connections that have not connected yet"
        self.assertEqual([peer.close for peer in peers[:3]], [(1013, reason), (1013, reason), None])
        for _ in range(MAX_PREAUTH_CONNECTIONS - 2):
            self.open(address="192.0.2.1")
        refused = self.tcp("192.0.2.1")
        Peer(refused).upgrade()
        self.tick()
        self.assertEqual(refused.answer().status, 503)
        self.wait(20)
        for peer in peers:
            self.assertTrue(peer.client.closed)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.crowd.waiting, 0)

    def test_connected_ones_do_not_count(self) -> None:
        for _ in range(MAX_PREAUTH_CONNECTIONS + 1):
            self.connected()
        self.assertEqual(len(self.crowd.open_connections), MAX_PREAUTH_CONNECTIONS + 1)

    def test_nothing_is_left_of_a_refused_one(self) -> None:
        for _ in range(MAX_PREAUTH_CONNECTIONS + 1):
            peer = self.open()
            peer.send(CONNECT)
            self.over(peer)

    def test_forwarded_clients_are_told_apart(self) -> None:
        gateway = attrs.evolve(self.config.gateway, trusted_proxies=("192.0.2.1",))
        self.config = attrs.evolve(self.config, gateway=gateway)
        for number in range(MAX_PREAUTH_CONNECTIONS + 1):
            self.open(f"X-Forwarded-For: 198.51.100.{number}", address="192.0.2.1")
        # Whoever claims to be forwarded and is not counts for itself.
        for number in range(MAX_PREAUTH_CONNECTIONS):
            self.open(f"X-Forwarded-For: 198.51.100.{number}", address="192.0.2.7")
        refused = self.tcp("192.0.2.7")
        Peer(refused).upgrade("X-Forwarded-For: 198.51.100.200")
        self.tick()
        self.assertEqual(refused.answer().status, 503)


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
        self.assertEqual(deadlines, [15.0, 25.0])
        self.over(peer)

    def test_gateway_stops(self) -> None:
        peers = [self.open(), self.open()]
        self.crowd.close_all()
        for peer in peers:
            self.assertEqual(peer.close, (1012, "service restart"))
        self.crowd.close_all()
        # Connections that were handed over are not the site's to close.
        self.site.close_all()
        self.site.abort_all()
        self.wait(3)
        for peer in peers:
            self.assertTrue(peer.client.closed)
            self.over(peer)

    def test_gateway_stops_with_many(self) -> None:
        """Closing five hundred at once would hold up everything else for 50 ms and more."""
        peers = [self.connected(scopes=[]) for _ in range(SLICE_CLOSED + 1)]
        self.crowd.close_all()
        self.assertEqual(len([peer for peer in peers if peer.close]), SLICE_CLOSED)
        self.tick()
        self.assertEqual({peer.close for peer in peers}, {(1012, "service restart")})
        for peer in peers:
            self.assertEqual(len(peer.events("shutdown")), 1)

    def test_gateway_stops_with_more_than_are_told_at_once(self) -> None:
        """Nobody is closed who was not told, and not all are told in one turn."""
        peers = [self.connected(scopes=[]) for _ in range(2 * SLICE_LISTENERS + 1)]
        self.crowd.close_all()
        self.assertEqual([len(peer.events("shutdown")) for peer in peers].count(1), SLICE_LISTENERS)
        self.assertEqual({peer.close for peer in peers}, {None})
        self.tick()
        self.assertEqual({peer.close for peer in peers}, {(1012, "service restart")})
        self.assertEqual({len(peer.events("shutdown")) for peer in peers}, {1})

    def test_failure_is_no_secret_of_the_close(self) -> None:
        peer = self.open()
        peer.client.transport.protocol.connectionLost(Failure(RuntimeError("x")))
        self.assertEqual(self.crowd.open_connections, set())
