"""Tests of L{openclaw.http.access}, and of when the site tells of a request."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from openclaw.events import ProviderFinished, TextDelta
from openclaw.http.access import AccessLog, Served, trace_id
from openclaw.log_rare import RareLines
from test.http.support import AUTH, GatewayTestCase, routes_of_nothing


class AccessLogTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.events: list[LogEvent] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)
        self.counted: list[tuple[str, int]] = []

    def tell(self, **changes: Any) -> LogEvent:
        fields: dict[str, Any] = {"method": b"GET", "path": b"/v1/models", "status": 200, "seconds": 0.0123}
        AccessLog(routes_of_nothing(), lambda *pair: self.counted.append(pair))(
            Served(**{**fields, "request_id": "q1", **changes})
        )
        return self.events[-1]

    def test_line(self) -> None:
        event = self.tell(run_id="r1")
        self.assertEqual(event["log_format"].format(**event), "GET /v1/models 200 12 ms")
        self.assertEqual((event["request_id"], event["run_id"]), ("q1", "r1"))
        self.assertEqual(self.counted, [("/v1/models", 200)])

    def test_levels(self) -> None:
        for status, level in ((200, LogLevel.debug), (499, LogLevel.debug), (500, LogLevel.info), (503, LogLevel.info)):
            self.assertIs(self.tell(status=status)["log_level"], level)

    def test_not_ready(self) -> None:
        """Whoever asks, and however often; a failure of somebody who was let in is always a line."""
        access = AccessLog(routes_of_nothing(), None, RareLines(Clock().seconds))
        for path, lines in ((b"/readyz", 1), (b"/startupz", 0), (b"/v1/models", 3)):
            self.events.clear()
            for _ in range(3):
                access(Served(b"GET", path, 503, 0.0, "q"))
            self.assertEqual(len(self.events), lines, path)

    def test_odd_requests(self) -> None:
        event = self.tell(path=b"/\xff" + b"x" * 5000, method=b"\xfe")
        self.assertLess(len(event["path"]), 1010)
        self.assertIn("\\xff", event["path"])

    def test_without_a_count(self) -> None:
        AccessLog(routes_of_nothing())(Served(b"GET", b"/", 200, 0.0, "q"))
        self.assertEqual(self.counted, [])

    def test_trace_id(self) -> None:
        trace = "0af7651916cd43dd8448eb211c80319c"
        for value, expected in (
            (f"00-{trace}-b7ad6b7169203331-01", trace),
            (f"01-{trace}-b7ad6b7169203331-01-more", trace),
            (f"00-{trace}-b7ad6b7169203331", ""),
            ("x", ""),
        ):
            self.assertEqual(trace_id(Headers({"traceparent": [value]})), expected)
        self.assertEqual(trace_id(Headers()), "")


class ServedTests(GatewayTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.served: list[Served] = []
        self.site.served = self.served.append

    def test_an_answer(self) -> None:
        self.ask("GET", "//v1//models?token=abc", "X-Request-Id: q1")
        self.assertEqual(self.served, [Served(b"GET", b"/v1/models", 200, 0.0, "q1")])

    def test_a_run(self) -> None:
        client = self.connect()
        client.chat(stream=True)
        self.tick()
        self.wait(1.0)
        self.assertEqual(self.served, [])
        self.stream.push(TextDelta("hi"), ProviderFinished("stop"))
        self.stream.end()
        self.tick()
        (served,) = self.served
        self.assertEqual((served.path, served.status), (b"/v1/chat/completions", 200))
        self.assertTrue(served.run_id)
        self.assertGreaterEqual(served.seconds, 1.0)

    def test_a_refusal(self) -> None:
        client = self.connect()
        client.request("GET", "/v1/models?x=1", "X-Request-Id: q1")
        self.tick()
        client.leave()
        self.tick()
        self.assertEqual(self.served, [Served(b"GET", b"/v1/models", 401, 0.0, "q1")])

    def test_what_is_no_request(self) -> None:
        client = self.connect()
        client.send(b"\x00\r\n\r\n")
        self.tick()
        (served,) = self.served
        self.assertEqual((served.method, served.path, served.status), (b"-", b"-", 400))

    def test_a_client_who_leaves(self) -> None:
        client = self.connect()
        client.chat("X-Request-Id: q1")
        self.tick()
        client.leave()
        self.tick()
        (served,) = self.served
        self.assertEqual((served.status, served.request_id), (499, "q1"))

    def test_a_client_who_leaves_amid_its_request(self) -> None:
        client = self.connect()
        client.send(f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n{AUTH}\r\n".encode())
        client.leave()
        self.tick()
        self.assertEqual(self.served, [])
