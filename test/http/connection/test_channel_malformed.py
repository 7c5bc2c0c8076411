"""Tests for L{openclaw.http.connection.channel}: what is no HTTP, and which paths are known, on raw bytes."""

from __future__ import annotations

from test.http.support import AUTH, TOKEN, GatewayTestCase

CHAT_BODY = b'{"messages":[{"role":"user","content":"hi"}]}'


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class MalformedTests(GatewayTestCase):
    """What is no HTTP gets one JSON 400 and a closed connection, and nothing after it is taken for a request."""

    FOLLOWED_BY = f"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n{AUTH}\r\n\r\n".encode()

    def check(self, data: bytes, status: int = 400) -> dict[str, object]:
        client = self.connect()
        client.send(data + self.FOLLOWED_BY)
        self.wait(11)
        answers = client.answers()
        self.assertEqual([answer.status for answer in answers], [status], data[:80])
        answer = answers[0]
        self.assertTrue(answer.whole)
        self.assertEqual(answer.error["type"], "invalid_request_error")
        self.assertEqual(answer.headers["connection"], "close")
        self.assertRegex(answer.headers["x-request-id"], "^[0-9a-f]{32}$")
        self.assertTrue(client.closed)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.problems, [])
        self.assertEqual(self.provider.requests, [])
        error: dict[str, object] = answer.error
        return error

    def head(self, *lines: str) -> bytes:
        return (
            "\r\n".join(("POST /v1/chat/completions HTTP/1.1", "Host: localhost", AUTH, *lines)) + "\r\n\r\n"
        ).encode()

    def test_framing(self) -> None:
        for lines in (
            ("Content-Length: 5", "Transfer-Encoding: chunked"),
            ("Transfer-Encoding: chunked", "Content-Length: 5"),
            ("Content-Length: 5", "Content-Length: 5"),
            ("Content-Length: 5", "Content-Length: 6"),
            ("Content-Length: +5",),
            ("Content-Length: -5",),
            ("Content-Length: 0x5",),
            ("Content-Length: 5, 5",),
            ("Content-Length: ",),
            ("Content-Length: " + "9" * 5000,),
            ("Content-Length: " + "9" * 5000, "X: y"),
            ("Transfer-Encoding: xchunked",),
            ("Transfer-Encoding: chunked, chunked",),
            ("Transfer-Encoding: gzip, chunked",),
            ("Transfer-Encoding: identity",),
            ("Transfer-Encoding: chunked", "Transfer-Encoding: identity"),
            ("Transfer-Encoding: identity", "Content-Length: 5"),
            ("Transfer-Encoding : chunked",),
        ):
            self.check(self.head(*lines))

    def test_headers(self) -> None:
        for lines in (
            ("X: a", " folded"),
            ("X: a", "\tContent-Length: 5"),
            ("Name : x",),
            ("no colon",),
            (": empty",),
            ("X: a\x00b",),
            ("X: a\nContent-Length: 5",),
            ("X: a\rb",),
        ):
            self.check(self.head(*lines))

    def test_large_headers(self) -> None:
        for lines in (
            ("X: " + "a" * 20_000,),
            ("X-1: " + "a" * 10_000, "X-2: " + "a" * 10_000),
            tuple(f"X-{index}: y" for index in range(600)),
            tuple(f"X-{index}: y" for index in range(10_000)),
        ):
            error = self.check(self.head(*lines), 431)
            self.assertEqual(error["code"], "headers_too_large")
            self.assertEqual(error["message"], "a request may have at most 500 headers, and 16384 bytes of them")
        client = self.connect()
        client.send(b"GET / HTTP/1.1\r\nX: " + b"a" * 20_000)
        self.assertEqual(client.answer().status, 431)

    def test_long_target(self) -> None:
        line = b"GET /" + b"a" * 100_000
        error = self.check(line + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414)
        self.assertEqual(error["code"], "uri_too_long")
        self.assertEqual(error["message"], "the request line may have at most 16384 bytes")
        client = self.connect()
        client.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" + line)
        self.assertEqual([answer.status for answer in client.answers()], [200, 414])
        self.assertRegex(client.output, rb"HTTP/1\.1 414 .*URI Too Long\r\n")

    def test_large_headers_of_a_second_request(self) -> None:
        # The figures of the first request do not count for the second.
        client = self.connect()
        client.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 16_000 + b"\r\n\r\n")
        client.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 16_000 + b"\r\nY: b\x00\r\n\r\n")
        self.assertEqual([answer.status for answer in client.answers()], [200, 400])

    def test_request_lines(self) -> None:
        for line in (
            b"GET /",
            b"GET / HTTP/2.0",
            b"GET / HTTP/1.2",
            b"GET  / HTTP/1.1",
            b"GE T / HTTP/1.1",
            b"G\x01T / HTTP/1.1",
            b" GET / HTTP/1.1",
            b"GET /\x7f\xff HTTP/1.1",
            b"PRI * HTTP/2.0",
            b"\x16\x03\x01\x02\x00",
        ):
            self.check(line + b"\r\nHost: localhost\r\n\r\n")

    def test_bare_line_feeds(self) -> None:
        client = self.connect()
        client.send(b"GET /healthz HTTP/1.1\nHost: localhost\n\n")
        self.assertEqual(client.answer().status, 400)
        self.wait(1)
        self.assertTrue(client.closed)

    def test_no_host(self) -> None:
        self.check(b"GET /healthz HTTP/1.1\r\n\r\n")

    def test_two_hosts(self) -> None:
        self.check(f"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n{AUTH}\r\n\r\n".encode())

    def test_chunks(self) -> None:
        for body in (
            b"zz\r\n",
            b"-1\r\nx",
            b"+1\r\nx",
            b"0x1\r\nx",
            b"1\r\nxy\r\n",
            b"1;a\x00=\r\n",
            b"1" * 2000,
            b" 1\r\nx",
        ):
            self.check(self.head("Transfer-Encoding: chunked") + body + b"\r\n")

    def test_huge_chunk_is_not_waited_for(self) -> None:
        client = self.connect()
        client.send(self.head("Transfer-Encoding: chunked") + b"FFFFFFFFFFFFFFFF\r\n" + b"x" * 1000)
        self.wait(31)
        self.assertEqual(client.answer().status, 408)

    def test_answer_keeps_the_callers_id_if_it_is_known(self) -> None:
        client = self.connect()
        client.send(b"GET / HTTP/1.1\r\nX-Request-Id: mine\r\nbroken\r\n\r\n")
        self.assertEqual(client.answer().headers["x-request-id"], "mine")

    def test_second_request_of_a_connection(self) -> None:
        # Nothing of the first answer may be in the second.
        client = self.connect()
        self.provider.enqueue_text("hello")
        client.chat("X-Request-Id: first", stream=True)
        self.tick()
        client.send(b"nonsense\r\n\r\n")
        self.wait(1)
        first, second = client.answers()
        self.assertEqual((first.status, second.status), (200, 400))
        self.assertNotEqual(second.headers["x-request-id"], "first")
        self.assertNotIn("x-openclaw-run-id", second.headers)
        self.assertNotIn("transfer-encoding", second.headers)

    def test_lower_case_method_is_another_method(self) -> None:
        client = self.connect()
        client.request("get", "/healthz")
        self.assertEqual(client.answer().status, 405)


class TargetTests(GatewayTestCase):
    def status(self, path: str, method: str = "GET") -> int:
        client = self.connect()
        client.request(method, path, AUTH)
        self.tick()
        return client.answer(head=method == "HEAD").status

    def test_doubled_slashes(self) -> None:
        for path in ("//v1//models", "/v1/models//openclaw", "///healthz", "/v1/models?a=1//2"):
            self.assertEqual(self.status(path), 200, path)

    def test_nothing_else_is_normalised(self) -> None:
        for path in (
            "/V1/models",
            "/v1/models/",
            "/v1/./models",
            "/v1/x/../models",
            "/v1/%6dodels",
            "/v1%2fmodels",
            "/v1/models%00",
            "/v1/models/%00",
            "/v1/models/%ff",
            "/v1/models/%0d%0aX:y",
            "/v1/models/%2e%2e/chat",
            "/v1/models/a%2F%2Fb",
            "/v1/models/%2F",
            "/v1/models/?x",
            "/v1/models/openclaw/",
            "/v1\\models",
            "/v1/models;x",
            "http://127.0.0.1/v1/models",
            "*",
            "v1/models",
            "/v1/completions",
        ):
            self.assertEqual(self.status(path), 404, path)
        self.assertEqual(self.problems, [])

    def test_query_is_no_credential(self) -> None:
        client = self.connect()
        client.request("GET", f"/v1/models?token={TOKEN}")
        self.assertEqual(client.answer().status, 401)
