"""Tests for L{openclaw.auth.origin}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from openclaw.auth.origin import (
    LONGEST_HOST,
    check_host,
    check_page_origin,
    check_page_type,
    cors_headers,
    host_and_port,
    hosts_of,
    listed_origins,
    preflight,
)
from openclaw.errors import Forbidden, InvalidRequest, UnsupportedMedia
from test.auth.heads import make_head

APP = frozenset({b"https://app.example"})
NOBODY: frozenset[str] = frozenset()


class CheckHostTests(SynchronousTestCase):
    """The Host rule (checklist 15, 16)."""

    def test_loopback_names(self) -> None:
        """Every name of this machine passes, with any port or none."""
        for host in (
            "localhost",
            "LocalHost:1",
            "localhost.:80",
            "127.0.0.1",
            "127.0.0.1:18789",
            "127.200.0.9:65535",
            "[::1]",
            "[::1]:18789",
            "[0:0:0:0:0:0:0:1]:1",
            "localhost:",
        ):
            check_host(make_head(host=host), NOBODY)

    def test_foreign(self) -> None:
        """Any other name is refused by the contract's error, which names the key to change."""
        for host in (
            "evil.example",
            "evil.example:18789",
            "localhost.evil.example",
            "evil-localhost",
            "127.0.0.1.evil.example",
            "127.0.0.1.nip.io:18789",
            "128.0.0.1",
            "0.0.0.0",
            "127.1",
            "2130706433",
            "0x7f.0.0.1",
            "[::2]:18789",
            "192.168.0.5:18789",
            "sub.localhost",
            "..",
        ):
            error = self.assertRaises(Forbidden, check_host, make_head(host=host), NOBODY)
            self.assertEqual((error.http_status, error.wire_type, error.code), (403, "forbidden", "host_not_allowed"))
            self.assertIn("gateway.controlUi.allowedOrigins", error.message)

    def test_listed(self) -> None:
        """The hosts of listed origins pass with any port; their subdomains and parents do not."""
        hosts = hosts_of(["https://GW.example", "http://[2001:DB8::0:1]:8443/", "http://10.0.0.5:80", "*", "null", "x"])
        self.assertEqual(hosts, {"gw.example", "2001:db8::1", "10.0.0.5"})
        for host in ("gw.example", "GW.EXAMPLE.:8443", "[2001:db8::1]", "10.0.0.5:9"):
            check_host(make_head(host=host), hosts)
        for host in ("a.gw.example", "example", "gw.example.evil", "x"):
            self.assertRaises(Forbidden, check_host, make_head(host=host), hosts)

    def test_malformed(self) -> None:
        """What is no host with an optional port is a bad request, on every TCP port."""
        for host in (
            "a/?x=",
            "x/docs?",
            "localhost/",
            "user@localhost",
            "localhost:port",
            "localhost:123456",
            "localhost:-1",
            "localhost:80:80",
            "::1",
            "[::1",
            "localhost, localhost",
            "local host",
            "localhost#",
            "local\\host",
            "local\0host",
            "lócalhost",
            ":80",
            "%6cocalhost",
            "a" * (LONGEST_HOST + 1),
        ):
            for loopback_bind in (True, False):
                head = make_head(host=host, loopback_bind=loopback_bind)
                error = self.assertRaises(InvalidRequest, check_host, head, NOBODY)
                self.assertEqual((error.http_status, error.param), (400, "Host"), host)

    def test_missing(self) -> None:
        """No Host, or an empty one, is a bad request where the rule applies, and only there."""
        for host in (None, "", "  "):
            error = self.assertRaises(InvalidRequest, check_host, make_head(host=host), NOBODY)
            self.assertEqual((error.http_status, error.param), (400, "Host"))
            check_host(make_head(host=host, loopback_bind=False), NOBODY)
            check_host(make_head(host=host, local_tcp=False), NOBODY)

    def test_repeated(self) -> None:
        """Two Host headers are a bad request everywhere."""
        for local_tcp in (True, False):
            head = make_head(("Host", "localhost"), host="localhost", local_tcp=local_tcp)
            self.assertRaises(InvalidRequest, check_host, head, NOBODY)

    def test_elsewhere(self) -> None:
        """Beyond loopback any name passes; on a unix or systemd socket anything does."""
        check_host(make_head(host="gw.example:18789", loopback_bind=False), NOBODY)
        for host in ("gw.example", "%2Frun%2Fopenclaw.sock", "a/?x="):
            check_host(make_head(host=host, local_tcp=False), NOBODY)

    def test_host_and_port(self) -> None:
        """The parts come in one spelling."""
        self.assertEqual(host_and_port(b"EXAMPLE.com.:080"), ("example.com", 80))
        self.assertEqual(host_and_port(b"[::FFFF:1.2.3.4]"), ("1.2.3.4", None))
        self.assertEqual(host_and_port(b"a:"), ("a", None))


class PageOriginTests(SynchronousTestCase):
    """C{Origin} and C{Sec-Fetch-Site} where no credential is needed."""

    def test_allowed(self) -> None:
        """No page, our own page, a typed address and a listed origin pass."""
        for headers in (
            (),
            (("Origin", "http://127.0.0.1:18789"),),
            (("Origin", "http://127.0.0.1:18789"), ("Sec-Fetch-Site", "same-origin")),
            (("Sec-Fetch-Site", "same-origin"),),
            (("Sec-Fetch-Site", "none"),),
            (("Sec-Fetch-Mode", "cors"),),
            (("Origin", "https://app.example"),),
            (("Origin", "https://app.example"), ("Sec-Fetch-Site", "cross-site")),
        ):
            check_page_origin(make_head(*headers), APP)

    def test_default_ports(self) -> None:
        """An absent port is the scheme's own, on either side; names are compared in one spelling."""
        for origin, host in (
            ("http://localhost", "localhost"),
            ("http://localhost", "LOCALHOST:80"),
            ("https://localhost:443", "localhost"),
            ("https://localhost", "localhost:443"),
            ("http://[::1]:5", "[0:0::1]:5"),
        ):
            check_page_origin(make_head(("Origin", origin), host=host), frozenset())

    def test_refused(self) -> None:
        """Any other origin is refused by the contract's error, and so is another site without one."""
        for headers in (
            (("Origin", "https://evil.example"),),
            (("Origin", "null"),),
            (("Origin", ""),),
            (("Origin", "http://localhost:18789"),),
            (("Origin", "http://127.0.0.1:3000"),),
            (("Origin", "http://127.0.0.1"),),
            (("Origin", "http://127.0.0.1:18789.evil.example"),),
            (("Origin", "http://127.0.0.1:18789/"),),
            (("Origin", "file://"),),
            (("Origin", "http://app.example"),),
            (("Origin", "https://app.example.evil"),),
            (("Origin", "*"),),
            (("Origin", b"\xff"),),
            (("Origin", "http://127.0.0.1:18789"), ("Sec-Fetch-Site", "cross-site")),
            (("Sec-Fetch-Site", "cross-site"),),
            (("Sec-Fetch-Site", "same-site"),),
            (("Sec-Fetch-Site", "Same-Origin"),),
        ):
            error = self.assertRaises(Forbidden, check_page_origin, make_head(*headers), APP)
            self.assertEqual((error.http_status, error.wire_type, error.code), (403, "forbidden", "origin_not_allowed"))
            self.assertIn("gateway.http.cors.allowedOrigins", error.message)

    def test_no_host(self) -> None:
        """Without a Host, as a unix socket allows, no origin is our own."""
        head = make_head(("Origin", "http://localhost"), host=None, local_tcp=False)
        self.assertRaises(Forbidden, check_page_origin, head, APP)

    def test_repeated(self) -> None:
        """Two of either header are a bad request."""
        for name in ("Origin", "Sec-Fetch-Site"):
            head = make_head((name, "https://app.example"), (name, "https://app.example"))
            self.assertRaises(InvalidRequest, check_page_origin, head, APP)


class PageTypeTests(SynchronousTestCase):
    """Posts that pages make without a preflight (checklist 18)."""

    def test_refused(self) -> None:
        """A page's form, multipart or text post is refused, whatever the parameters and the case."""
        for content_type in (
            "text/plain",
            "Text/Plain;charset=UTF-8",
            " application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "multipart/mixed",
            "application/json, text/plain",
        ):
            head = make_head(("Origin", "https://a.example"), ("Content-Type", content_type), method=b"POST")
            self.assertEqual(self.assertRaises(UnsupportedMedia, check_page_type, head).http_status, 415)
        two = make_head(
            ("Origin", "x"), ("Content-Type", "application/json"), ("Content-Type", "text/plain"), method=b"POST"
        )
        self.assertRaises(UnsupportedMedia, check_page_type, two)

    def test_passed(self) -> None:
        """JSON, no type at all, other methods, and posts that no page makes pass."""
        origin, text = ("Origin", "https://a.example"), ("Content-Type", "text/plain")
        check_page_type(make_head(text, method=b"POST"))
        check_page_type(make_head(origin, text, method=b"GET"))
        check_page_type(make_head(origin, method=b"POST"))
        for content_type in ("application/json", "application/json; charset=utf-8", "text/event-stream"):
            check_page_type(make_head(origin, ("Content-Type", content_type), method=b"POST"))


class CorsTests(SynchronousTestCase):
    """Pages of listed origins (checklist 17)."""

    def ask(self, origin: str, *headers: tuple[str, str], method: bytes = b"OPTIONS") -> dict[bytes, bytes] | None:
        """A preflight."""
        sent = (("Origin", origin), ("Access-Control-Request-Method", "POST"), *headers)
        return preflight(make_head(*sent, method=method), APP)

    def test_listed_origins(self) -> None:
        """Origins are read as browsers write them; wildcards and C{null} list nobody."""
        entries = ["https://APP.example/", " http://a:80 ", "*", "null", "", "chrome-extension://abc"]
        self.assertEqual(listed_origins(entries), {b"https://app.example", b"http://a:80", b"chrome-extension://abc"})

    def test_preflight(self) -> None:
        """A listed origin is told what it may send, for ten minutes, and nothing about cookies."""
        asked = "authorization, X-OpenClaw-Agent-Id,x-openclaw-scopes, x-openclaw-agent-id, x-evil, x-openclaw-\xe4"
        answer = self.ask("https://app.example", ("Access-Control-Request-Headers", asked))
        self.assertEqual(
            answer,
            {
                b"Access-Control-Allow-Origin": b"https://app.example",
                b"Access-Control-Allow-Methods": b"GET, POST",
                b"Access-Control-Allow-Headers": b"Authorization, Content-Type, Idempotency-Key, X-Request-Id, "
                b"x-openclaw-agent-id, x-openclaw-scopes",
                b"Access-Control-Max-Age": b"600",
                b"Vary": b"Origin, Access-Control-Request-Headers",
            },
        )

    def test_preflight_of_libraries(self) -> None:
        """What OpenAI's libraries and user interfaces add is allowed as it was asked for."""
        asked = "x-stainless-retry-count,x-openwebui-chat-id,x-conversation-id,last-event-id,x-stainless,x-open"
        answer = self.ask("https://app.example", ("Access-Control-Request-Headers", asked))
        assert answer is not None
        allowed = answer[b"Access-Control-Allow-Headers"].split(b", ")[4:]
        self.assertEqual(sorted(asked.encode().split(b",")[:4]), allowed)

    def test_preflight_bounded(self) -> None:
        """What was asked for is not echoed without bound, nor anything that is no header name."""
        many = ",".join(f"x-openclaw-{n}" for n in range(1000))
        answer = self.ask("https://app.example", ("Access-Control-Request-Headers", many + ",x-openclaw-a b:c"))
        assert answer is not None
        allowed = answer[b"Access-Control-Allow-Headers"].split(b", ")
        self.assertEqual(len(allowed), 4 + 32)
        long = self.ask("https://app.example", ("Access-Control-Request-Headers", "x-openclaw-" + "a" * 65))
        assert long is not None
        self.assertEqual(long[b"Access-Control-Allow-Headers"].count(b","), 3)

    def test_no_preflight(self) -> None:
        """An unlisted origin, another method, or a plain OPTIONS request gets no answer of this kind."""
        for origin in ("https://evil.example", "https://app.example.evil", "http://app.example", "null", "*", ""):
            self.assertIsNone(self.ask(origin))
        self.assertIsNone(self.ask("https://app.example", method=b"POST"))
        self.assertIsNone(preflight(make_head(("Origin", "https://app.example"), method=b"OPTIONS"), APP))
        bare = make_head(("Access-Control-Request-Method", "POST"), method=b"OPTIONS")
        self.assertIsNone(preflight(bare, APP))
        self.assertRaises(InvalidRequest, self.ask, "https://app.example", ("Origin", "https://app.example"))

    def test_headers(self) -> None:
        """Answers name the very origin that asked, if it is listed, and always vary by it."""
        self.assertEqual(
            cors_headers(make_head(("Origin", "https://app.example")), APP),
            {
                b"Vary": b"Origin",
                b"Access-Control-Allow-Origin": b"https://app.example",
                b"Access-Control-Expose-Headers": b"X-Request-Id, X-OpenClaw-Session-Key, X-OpenClaw-Run-Id,"
                b" X-OpenClaw-Dropped-Tools, Server-Timing, Retry-After, X-Should-Retry, Idempotency-Replayed,"
                b" X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset",
            },
        )
        for headers in (
            (),
            (("Origin", "https://evil.example"),),
            (("Origin", "https://app.example"), ("Origin", "https://app.example")),
        ):
            self.assertEqual(cors_headers(make_head(*headers), APP), {b"Vary": b"Origin"})

    def test_off(self) -> None:
        """Without a list there are no CORS headers at all."""
        head = make_head(("Origin", "https://app.example"), ("Access-Control-Request-Method", "GET"), method=b"OPTIONS")
        self.assertEqual(cors_headers(head, frozenset()), {})
        self.assertIsNone(preflight(head, frozenset()))
