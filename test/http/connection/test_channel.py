"""Tests for L{openclaw.http.connection.channel}, on raw bytes."""

from __future__ import annotations

import json
import socket
import tracemalloc
from unittest import mock

from twisted.internet.address import IPv4Address, UNIXAddress

from openclaw.config.gateway import AuthConfig, RateLimitConfig
from openclaw.config.secret import Secret
from openclaw.http.connection import channel as channel_module
from openclaw.http.connection.stall import STALL_S
from openclaw.http.openai import chat
from openclaw.http.table import MAX_BODY_BYTES
from test.http.support import AUTH, CHAT, TOKEN, Client, GatewayTestCase, MemoryTransport, make_config

CHAT_BODY = b'{"messages":[{"role":"user","content":"hi"}]}'


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class RefusalTests(GatewayTestCase):
    """What the gate refuses is answered at the head, whole, and the connection closed."""

    def refused(self, client: Client, status: int) -> dict[str, object]:
        """Check the one answer; gives its error object."""
        answer = client.answer()
        self.assertEqual(answer.status, status)
        self.assertTrue(answer.whole)
        self.assertEqual(answer.headers["connection"], "close")
        self.assertEqual(answer.headers["content-type"], "application/json; charset=utf-8")
        for name in ("x-request-id", "x-content-type-options", "referrer-policy", "date"):
            self.assertIn(name, answer.headers)
        self.assertTrue(answer.body.endswith(b"}\n"))
        self.assertEqual(self.provider.requests, [])
        error: dict[str, object] = answer.error
        return error

    def head_only(self, *lines: str, path: str = CHAT, method: str = "POST") -> Client:
        """Send a head that announces a body and asks whether to send it."""
        client = self.connect()
        client.request(method, path, *lines, "Content-Length: 100000", "Expect: 100-continue")
        return client

    def test_before_the_body(self) -> None:
        cases = [
            ((AUTH,), {"path": "/v1/nothing"}, 404, "not_found"),
            ((), {}, 401, "invalid_api_key"),
            ((AUTH,), {"method": "PUT"}, 405, "method_not_allowed"),
            ((AUTH,), {"path": "/v1/models", "method": "GET"}, 413, "payload_too_large"),
        ]
        for headers, where, status, code in cases:
            client = self.head_only(*headers, **where)
            error = self.refused(client, status)
            self.assertEqual(error["code"], code)
            self.assertNotIn(b"100 Continue", client.output)
            # Nothing of a body was sent: it closes after a moment, not at once, and not later.
            self.assertFalse(client.transport.disconnecting)
            self.wait(channel_module.LINGER_IDLE_S)
            self.assertTrue(client.closed)

    def test_foreign_host(self) -> None:
        client = self.connect()
        client.request("POST", CHAT, AUTH, "Content-Length: 5", "Expect: 100-continue", host="evil.example")
        self.assertEqual(self.refused(client, 403)["code"], "host_not_allowed")

    def test_scope(self) -> None:
        self.config = make_config(auth=AuthConfig(mode="none"))
        client = self.head_only("x-openclaw-scopes: operator.read")
        error = self.refused(client, 403)
        self.assertEqual(error["code"], "missing_scope")
        self.assertIs(client.answer().json["ok"], False)

    def test_declared_size(self) -> None:
        client = self.connect()
        client.request("POST", CHAT, AUTH, f"Content-Length: {MAX_BODY_BYTES + 1}", "Expect: 100-continue")
        self.assertEqual(self.refused(client, 413)["code"], "payload_too_large")

    def test_no_body_closes_at_once(self) -> None:
        client = self.connect()
        client.request("GET", "/nothing", AUTH)
        self.refused(client, 404)
        self.assertTrue(client.transport.disconnecting)

    def test_head_has_no_body(self) -> None:
        client = self.connect()
        client.request("HEAD", "/nothing", AUTH)
        answer = client.answer(head=True)
        self.assertEqual((answer.status, answer.body), (404, b""))

    def test_lingers_while_the_body_comes(self) -> None:
        client = self.head_only()
        for _ in range(6):
            self.wait(0.25)
            client.send(b"x" * 1000)
        self.assertFalse(client.transport.disconnecting)
        self.wait(channel_module.LINGER_IDLE_S)
        self.assertTrue(client.closed)
        self.refused(client, 401)

    def test_lingers_for_a_bounded_time(self) -> None:
        client = self.head_only()
        for _ in range(25):
            self.wait(0.25)
            client.send(b"x" * 1000)
        self.assertTrue(client.closed)
        self.refused(client, 401)

    def test_lingering_ends_at_a_late_byte(self) -> None:
        client = self.head_only()
        self.clock.rightNow += channel_module.LINGER_TOTAL_S + 1  # the timer itself is late
        client.send(b"x")
        self.assertTrue(client.transport.disconnecting)
        self.tick()
        self.assertTrue(client.closed)

    def test_what_follows_is_never_served(self) -> None:
        client = self.connect()
        client.send(
            b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n"
            + f"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n{AUTH}\r\n\r\n".encode()
        )
        self.refused(client, 404)

    def test_client_that_reads_nothing_is_cut(self) -> None:
        client = self.connect()
        client.transport.reading = False
        client.request("GET", "/nothing", AUTH)
        self.wait(STALL_S - 1)
        self.assertFalse(client.closed)
        self.wait(1.5)
        self.assertTrue(client.transport.aborted)
        self.assertTrue(client.closed)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_bug_in_the_gate(self) -> None:
        self.patch(type(self.site.gate), "admit", mock.Mock(side_effect=ZeroDivisionError("secret detail")))
        client = self.head_only(AUTH, "X-Request-Id: abc")
        error = self.refused(client, 500)
        self.assertEqual(error["code"], "internal_error")
        self.assertNotIn(b"secret detail", client.output)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class LateRefusalTests(GatewayTestCase):
    """A wrong credential on loopback is answered late."""

    def setUp(self) -> None:
        super().setUp()
        self.client = self.connect()
        self.client.request("POST", CHAT, "Authorization: Bearer wrong", "Content-Length: 10")

    def test_comes_after_its_delay(self) -> None:
        self.assertEqual(self.client.output, b"")
        self.client.send(b"x" * 10)
        self.clock.advance(0.24)
        self.assertEqual(self.client.output, b"")
        self.clock.advance(0.02)
        self.assertEqual(self.client.answer().status, 401)
        self.assertIn("www-authenticate", self.client.answer().headers)
        self.wait(1)
        self.assertTrue(self.client.closed)

    def test_client_leaves_meanwhile(self) -> None:
        self.client.leave()
        self.wait(10)
        self.assertEqual(self.client.output, b"")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_locked_out(self) -> None:
        limits = RateLimitConfig(max_attempts=1, exempt_loopback=False)
        self.config = make_config(auth=AuthConfig(mode="token", token=Secret(TOKEN), rate_limit=limits))
        other = self.connect(IPv4Address("TCP", "127.0.0.2", 1))
        other.request("GET", "/v1/models", "Authorization: Bearer wrong")
        self.wait(6)
        again = self.connect(IPv4Address("TCP", "127.0.0.2", 2))
        again.request("GET", "/v1/models", "Authorization: Bearer wrong")
        answer = again.answer()
        self.assertEqual(answer.status, 429)
        self.assertEqual(answer.error["code"], "too_many_auth_failures")
        self.assertGreater(int(answer.headers["retry-after"]), 0)
        self.assertNotIn("x-should-retry", answer.headers)


class BodyTests(GatewayTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.provider.enqueue_text("hello")

    def test_continue_only_for_the_admitted(self) -> None:
        client = self.connect()
        client.request("POST", CHAT, AUTH, f"Content-Length: {len(CHAT_BODY)}", "Expect: 100-Continue")
        self.assertEqual([answer.status for answer in client.answers()], [100])
        client.send(CHAT_BODY)
        self.tick()
        self.assertEqual([answer.status for answer in client.answers()], [100, 200])

    def test_chunked(self) -> None:
        client = self.connect()
        client.request("POST", CHAT, AUTH, "Transfer-Encoding: Chunked")
        for index in range(len(CHAT_BODY)):
            client.send(chunk(CHAT_BODY[index : index + 1]))
        client.send(b"0\r\nTrailer: x\r\n\r\n")
        self.tick()
        self.assertEqual(client.answer().status, 200)

    def test_forms_are_not_parsed(self) -> None:
        for content_type in (
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=b",
            "multipart/form-data",
        ):
            self.provider.enqueue_text("hello")
            answer = self.ask("POST", CHAT, f"Content-Type: {content_type}", body=CHAT_BODY)
            self.assertEqual(answer.status, 200)
            answer = self.ask("POST", CHAT, f"Content-Type: {content_type}", body=b"a=1&b=2")
            self.assertEqual((answer.status, answer.error["type"]), (400, "invalid_request_error"))

    def test_no_temporary_file(self) -> None:
        with mock.patch("tempfile.TemporaryFile", side_effect=AssertionError):
            body = json.dumps({"messages": [{"role": "user", "content": "x" * 300_000}]}).encode()
            self.assertEqual(self.ask("POST", CHAT, body=body).status, 200)

    def test_chunks_over_the_limit(self) -> None:
        client = self.connect()
        client.request("GET", "/v1/models", AUTH, "Transfer-Encoding: chunked")
        client.send(chunk(b"x" * 65536))
        self.assertEqual(client.output, b"")
        client.send(chunk(b"y") + chunk(b"z"))
        answer = client.answer()
        self.assertEqual((answer.status, answer.error["code"]), (413, "payload_too_large"))
        client.send(chunk(b"x" * 100) + b"0\r\n\r\n" + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        self.wait(1)
        self.assertTrue(client.closed)
        self.assertEqual(client.answer().status, 413)

    def test_over_the_limit_in_one_packet(self) -> None:
        client = self.connect()
        chunks = chunk(b"x" * 65536) + chunk(b"y") + chunk(b"z") + b"0\r\n\r\n"
        client.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
        self.assertEqual(client.answer().status, 413)

    def test_over_the_limit_and_then_malformed(self) -> None:
        client = self.connect()
        body = chunk(b"x" * 65537) + b"zz\r\n"
        client.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
        self.assertEqual(client.answer().status, 413)

    def test_deadline(self) -> None:
        client = self.connect()
        client.request("POST", CHAT, AUTH, "Content-Length: 100")
        for _ in range(29):
            client.send(b"x")
            self.wait(1)
        self.assertEqual(client.output, b"")
        self.wait(1.5)
        answer = client.answer()
        self.assertEqual((answer.status, answer.error["code"]), (408, "request_timeout"))
        self.wait(1)
        self.assertTrue(client.closed)

    def test_deadline_ends_with_the_body(self) -> None:
        self.provider.streams.clear()
        client = self.connect()
        client.request("POST", CHAT, AUTH, f"Content-Length: {len(CHAT_BODY)}")
        client.send(CHAT_BODY)
        self.tick()
        self.wait(40)
        self.assertEqual(client.answer().status, 200)
        self.assertFalse(client.closed)

    def test_body_is_whole(self) -> None:
        client = self.connect()
        client.request("POST", CHAT, AUTH, f"Content-Length: {len(CHAT_BODY)}")
        client.send(CHAT_BODY[:10])
        request = client.channel.requests[-1]
        taken: list[bytes] = []
        self.patch(chat, "decode_chat_request", taken.append)
        client.send(CHAT_BODY[10:])
        self.assertEqual(taken, [CHAT_BODY])
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)
        self.assertEqual(client.answer().status, 500)
        self.assertEqual(request.startedWriting, 1)


class ConnectionTests(GatewayTestCase):
    def test_head_deadline(self) -> None:
        client = self.connect()
        for letter in b"GET /hea":
            client.send(bytes([letter]))
            self.wait(1)
        self.assertFalse(client.closed)
        self.wait(2.5)
        self.assertTrue(client.closed)
        self.assertEqual(client.output, b"")

    def test_head_deadline_in_the_headers(self) -> None:
        client = self.connect()
        client.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
        self.wait(10.5)
        self.assertTrue(client.closed)

    def test_head_deadline_of_a_second_request(self) -> None:
        client = self.connect()
        client.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /hea")
        self.assertEqual(client.answer().status, 200)
        self.wait(10.5)
        self.assertTrue(client.closed)

    def test_slow_head_is_served(self) -> None:
        client = self.connect()
        client.send(b"GET /healthz HTTP/1.1\r\n")
        self.wait(9)
        client.send(b"Host: localhost\r\n\r\n")
        self.assertEqual(client.answer().status, 200)
        self.wait(20)
        self.assertFalse(client.closed)

    def test_idle_deadline(self) -> None:
        for first in (b"", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"):
            client = self.connect()
            client.send(first)
            self.wait(59)
            self.assertFalse(client.closed)
            self.wait(1.5)
            self.assertTrue(client.closed)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_idle_deadline_while_a_run_is_on(self) -> None:
        client = self.connect()
        client.chat()
        self.wait(100)
        self.assertFalse(client.closed)
        self.assertEqual(client.output, b"")

    def test_body_is_not_kept_while_the_run_is_on(self) -> None:
        for extra in ({}, {"response_format": {"type": "text"}}):
            tracemalloc.start()
            try:
                client = self.connect()
                client.chat(stream=True, ignored="x" * 5_000_000, **extra)
                self.tick()
                self.assertTrue(self.runs.live)
                kept_bytes, peak_bytes = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            self.assertGreater(peak_bytes, 5_000_000)
            self.assertLess(kept_bytes, 1_000_000)
            client.leave()
            self.tick()

    def test_http_1_0(self) -> None:
        client = self.connect()
        client.send(b"GET /healthz HTTP/1.0\r\n\r\n")
        self.tick()
        answer = client.answer()
        self.assertEqual((answer.status, answer.version), (200, "HTTP/1.0"))
        self.assertTrue(client.closed)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_http_1_0_stream_is_not_chunked(self) -> None:
        self.provider.enqueue_text("hello")
        body = b'{"stream":true,"messages":[{"role":"user","content":"hi"}]}'
        client = self.connect()
        client.send(
            f"POST {CHAT} HTTP/1.0\r\nHost: localhost\r\n{AUTH}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        )
        self.tick()
        answer = client.answer()
        self.assertNotIn("transfer-encoding", answer.headers)
        self.assertEqual(answer.events[-1], "[DONE]")
        self.assertTrue(client.closed)

    def test_connection_close(self) -> None:
        client = self.connect()
        client.request("GET", "/healthz", "Connection: close")
        self.tick()
        self.assertEqual(client.answer().headers["connection"], "close")
        self.assertTrue(client.closed)

    def test_last_answer_is_not_waited_for_forever(self) -> None:
        client = self.connect()
        client.transport.reading = False
        client.request("GET", "/healthz", "Connection: close")
        self.wait(STALL_S + 1)
        self.assertTrue(client.closed)

    def test_headers_of_every_answer(self) -> None:
        client = self.connect()
        client.request("GET", "/v1/models", AUTH, "X-Request-Id: my-id_1")
        answer = client.answer()
        self.assertEqual(answer.headers["x-request-id"], "my-id_1")
        self.assertEqual(answer.headers["x-content-type-options"], "nosniff")
        self.assertEqual(answer.headers["referrer-policy"], "no-referrer")
        self.assertEqual(answer.headers["server"], "openclaw")
        self.assertIn("date", answer.headers)

    def test_foreign_upgrade_is_ignored(self) -> None:
        for path in ("/healthz", "/v1/models"):
            answer = self.ask(
                "GET", path, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"
            )
            self.assertEqual(answer.status, 200)
        self.assertEqual(self.ask("GET", "/nothing", "Upgrade: h2c").status, 404)

    def test_preflight(self) -> None:
        self.config = make_config(cors=("https://app.example",))
        asked = ("Origin: https://app.example", "Access-Control-Request-Method: POST")
        client = self.connect()
        client.request("OPTIONS", CHAT, *asked)
        client.request("GET", "/healthz")
        self.tick()
        answer, healthy = client.answers()
        self.assertEqual((answer.status, healthy.status), (204, 200))
        self.assertEqual(answer.headers["access-control-allow-origin"], "https://app.example")
        self.assertEqual(answer.headers["access-control-max-age"], "600")
        self.assertNotIn("content-length", answer.headers)
        self.assertNotIn("content-type", answer.headers)
        self.assertNotIn("access-control-allow-origin", healthy.headers)
        client = self.connect()
        client.request("OPTIONS", CHAT, "Origin: https://evil.example", "Access-Control-Request-Method: POST")
        self.assertEqual(client.answer().status, 401)
        self.assertNotIn("access-control-allow-origin", client.answer().headers)

    def test_pages_may_read_errors(self) -> None:
        self.config = make_config(cors=("https://app.example",))
        for path, status in (("/nothing", 404), ("/v1/models", 401), ("/healthz", 200)):
            client = self.connect()
            client.request("GET", path, "Origin: https://app.example")
            self.assertEqual(client.answer().status, status)
            self.assertEqual(client.answer().headers["access-control-allow-origin"], "https://app.example")
            self.assertIn("X-Request-Id", client.answer().headers["access-control-expose-headers"])

    def test_send_buffer_is_bounded(self) -> None:
        for failure in (None, OSError):
            handle = mock.create_autospec(socket.socket, instance=True)
            handle.setsockopt.side_effect = failure
            with mock.patch.object(MemoryTransport, "getHandle", lambda transport, handle=handle: handle, create=True):
                client = self.connect()
            handle.setsockopt.assert_called_once_with(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
            client.request("GET", "/healthz")
            self.assertEqual(client.answer().status, 200)

    def test_handle_that_is_no_socket(self) -> None:
        with mock.patch.object(MemoryTransport, "getHandle", lambda transport: object(), create=True):
            client = self.connect()
        client.request("GET", "/healthz")
        self.assertEqual(client.answer().status, 200)

    def test_unix_peer(self) -> None:
        self.site.local_tcp = False
        client = self.connect(UNIXAddress(b"/tmp/x"))
        client.request("GET", "/v1/models", AUTH, host="whatever")
        self.assertEqual(client.answer().status, 200)

    def test_close_all_and_abort_all(self) -> None:
        idle, slow = self.connect(), self.connect()
        slow.transport.reading = False
        self.assertEqual(len(self.site.open_connections), 2)
        self.site.close_all()
        self.site.close_all()
        self.tick()
        self.assertEqual((idle.closed, slow.closed), (True, False))
        self.site.abort_all()
        self.tick()
        self.assertTrue(slow.transport.aborted)
        self.assertEqual(self.site.open_connections, set())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_factory_has_no_timers_of_its_own(self) -> None:
        self.site.doStart()
        self.site.doStop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
