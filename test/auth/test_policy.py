"""Tests for L{openclaw.auth.policy}."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from openclaw.auth import policy
from openclaw.auth.head import RequestHead
from openclaw.auth.policy import AccessPolicy
from openclaw.auth.ratelimit import MAX_DELAYED
from openclaw.auth.scopes import ALL_SCOPES, READ
from openclaw.config.auth_mode import EffectiveAuth
from openclaw.config.gateway import (
    AuthConfig,
    ControlUiConfig,
    CorsConfig,
    GatewayConfig,
    HttpConfig,
    RateLimitConfig,
)
from openclaw.config.schema import Config
from openclaw.config.secret import Secret
from openclaw.errors import (
    ConfigError,
    Forbidden,
    InvalidRequest,
    LockedOut,
    OpenClawError,
    StartError,
    Unauthorized,
    UnsupportedMedia,
)
from openclaw.interfaces import Caller
from test.auth.heads import make_head

TOKEN = AuthConfig(mode="token", token=Secret("s3cret"))
NONE = AuthConfig(mode="none")
GOOD = ("Authorization", "Bearer s3cret")
WRONG = ("Authorization", "Bearer wrong")
REMOTE = "203.0.113.7"


def gateway(auth: AuthConfig = TOKEN, **settings: Any) -> Config:
    """A configuration of the gateway."""
    return Config(gateway=GatewayConfig(auth=auth, **settings))


class PolicyTestCase(SynchronousTestCase):
    """A policy over a configuration that tests replace."""

    def setUp(self) -> None:
        """Make a policy in mode token."""
        self.clock = Clock()
        self.clock.advance(1_000_000.0)
        self.config = gateway()
        self.environ: dict[str, str] = {}
        self.policy = self.make()

    def make(self, *, on_loopback_bind: bool = True) -> AccessPolicy:
        """A policy over the same configuration."""
        return AccessPolicy(lambda: self.config, self.environ, self.clock, on_loopback_bind=on_loopback_bind)

    def admit(self, *headers: tuple[str, str | bytes], **where: Any) -> Caller:
        """Authenticate a request that must pass."""
        return self.policy.authenticate(make_head(*headers, **where))

    def refuse(self, *headers: tuple[str, str | bytes], **where: Any) -> OpenClawError:
        """Authenticate a request that must be refused on purpose."""
        return self.assertRaises(OpenClawError, self.policy.authenticate, make_head(*headers, **where))

    def wrong(self, times: int, **where: Any) -> list[float]:
        """Present a wrong credential; gives the delays of the answers."""
        delays = []
        for _ in range(times):
            error = self.assertRaises(Unauthorized, self.policy.authenticate, make_head(WRONG, **where))
            delays.append(error.delay_s)
        return delays


class SecretTests(PolicyTestCase):
    """Modes token and password (checklist 1, 8, 10, 13)."""

    def test_token(self) -> None:
        """The right token gives every scope and the client's address."""
        self.assertEqual(self.admit(GOOD, peer="::ffff:127.0.0.1"), Caller("operator", ALL_SCOPES, "127.0.0.1"))
        self.assertEqual(self.admit(GOOD, peer=None, host=None, local_tcp=False).address, "")
        self.admit(("Authorization", "bEARER  s3cret "))

    def test_scopes_not_narrowed(self) -> None:
        """With the shared secret the scopes header says nothing."""
        self.assertEqual(self.admit(GOOD, ("x-openclaw-scopes", "operator.read")).scopes, ALL_SCOPES)

    def test_absent(self) -> None:
        """Without a credential: 401, at once, saying what to send; it never counts as a guess."""
        for headers in (
            (),
            (("Authorization", "Basic czNjcmV0"),),
            (("Authorization", "s3cret"),),
            (("Authorization", "Bearer "),),
            (("X-Api-Key", "s3cret"),),
            (("Cookie", "token=s3cret"),),
        ):
            for _ in range(12):
                error = self.refuse(*headers, peer=REMOTE, path=b"/v1/models?token=s3cret")
                assert isinstance(error, Unauthorized), error
                self.assertEqual(
                    (error.http_status, error.wire_type, error.code), (401, "unauthorized", "invalid_api_key")
                )
                self.assertIn("Authorization: Bearer <token>", error.message)
                self.assertEqual(error.delay_s, 0.0)
        self.admit(GOOD, peer=REMOTE)
        self.refuse()
        self.assertEqual(self.wrong(1), [0.25])

    def test_wrong(self) -> None:
        """A wrong one: the same status and code, whatever bytes it has, and no echo of it."""
        for number, value in enumerate(
            (
                "Bearer s3cre",
                "Bearer s3cret, Bearer x",
                "Bearer s3cret x",
                b"Bearer \xff\xfe\x00",
                "Bearer s3cr\u00e9t",
                "Bearer ' OR 1=1 --",
                "Bearer " + "a" * 1_000_000,
            )
        ):
            error = self.refuse(("Authorization", value), peer=f"203.0.113.{number}")
            self.assertIsInstance(error, Unauthorized)
            self.assertEqual((error.http_status, error.wire_type, error.code), (401, "unauthorized", "invalid_api_key"))
            self.assertEqual(error.message.count("s3cr") + error.message.count("aaa"), 0)

    def test_repeated(self) -> None:
        """Two Authorization headers: 400, even if both are right."""
        self.assertEqual(self.refuse(GOOD, GOOD).http_status, 400)

    def test_password(self) -> None:
        """Mode password asks for the password."""
        self.config = gateway(AuthConfig(mode="password", password=Secret("correct horse")))
        self.admit(("Authorization", "Bearer correct horse"))
        self.assertIn("Bearer <password>", self.refuse().message)
        self.assertIn("Bearer <password>", self.refuse(GOOD).message)

    def test_environment(self) -> None:
        """The secret may come from the environment, and a final line break there is not part of it."""
        self.config = gateway(AuthConfig(mode="token"))
        self.environ["OPENCLAW_GATEWAY_TOKEN"] = "from-env\n"
        self.admit(("Authorization", "Bearer from-env"))
        self.refuse(("Authorization", "Bearer from-en"))

    def test_rotated(self) -> None:
        """A new secret counts from the next request on, and the old one no more (checklist 9)."""
        self.admit(GOOD)
        self.config = gateway(AuthConfig(mode="token", token=Secret("n3w")))
        self.assertEqual(self.refuse(GOOD).http_status, 401)
        self.admit(("Authorization", "Bearer n3w"))

    def test_no_secret(self) -> None:
        """Where a credential is asked for and none is known, none is right."""
        self.patch(policy, "effective_auth", lambda *_: EffectiveAuth("token", None))
        for headers in ((), (GOOD,), (("Authorization", "Bearer None"),)):
            self.assertEqual(self.refuse(*headers).http_status, 401)

    def test_lost_credential(self) -> None:
        """
        A configuration that lost its credential, or has one that no header can carry, lets nobody in: not with
        nothing, not with a blank one.
        """
        for auth in (
            AuthConfig(),
            AuthConfig(mode="token"),
            AuthConfig(mode="token", token=Secret("  ")),
            AuthConfig(mode="token", token=Secret("s3\ud800")),
            AuthConfig(token=Secret("a"), password=Secret("b")),
        ):
            self.config = gateway(auth)
            for headers in ((), (GOOD,), (("Authorization", "Bearer"),), (("Authorization", "Bearer  "),)):
                error = self.refuse(*headers)
                self.assertIsInstance(error, StartError | ConfigError)


class LimitTests(PolicyTestCase):
    """Guessing (checklist 4, 5, 7)."""

    def setUp(self) -> None:
        """Bind beyond loopback, where the Host rule does not apply."""
        super().setUp()
        self.lan = {"loopback_bind": False, "host": "gw.example"}

    def test_lockout(self) -> None:
        """After ten wrong ones the right one is refused too, for that client alone and for its time."""
        self.assertEqual(self.wrong(10, peer=REMOTE, **self.lan), [0.0] * 10)
        for headers in ((GOOD,), (WRONG,), ()):
            for peer in (REMOTE, "::ffff:" + REMOTE, "::ffff:cb00:7107"):
                error = self.refuse(*headers, peer=peer, **self.lan)
                assert isinstance(error, LockedOut), error
                self.assertEqual((error.http_status, error.wire_type), (429, "rate_limited"))
                self.assertEqual((error.code, error.retry_after_s), ("too_many_auth_failures", 300))
        self.admit(GOOD, peer="203.0.113.8", **self.lan)
        self.admit(GOOD, peer="127.0.0.1", **self.lan)
        self.clock.advance(300)
        self.admit(GOOD, peer=REMOTE, **self.lan)

    def test_success_does_not_reset(self) -> None:
        """A right one in between, by somebody else behind the same address, gives no new guesses."""
        self.wrong(9, peer=REMOTE)
        self.admit(GOOD, peer=REMOTE)
        self.wrong(1, peer=REMOTE)
        self.assertIsInstance(self.refuse(GOOD, peer=REMOTE), LockedOut)

    def test_network(self) -> None:
        """One IPv6 network of 64 bits is one client."""
        for number in range(10):
            self.wrong(1, peer=f"2001:db8::{number:x}")
        self.assertIsInstance(self.refuse(GOOD, peer="2001:db8::ffff"), LockedOut)
        self.admit(GOOD, peer="2001:db8:0:1::1")

    def test_loopback(self) -> None:
        """On loopback a wrong one is answered late, and the right one passes at once however many there were."""
        self.assertEqual(self.wrong(6), [0.25, 0.5, 1.0, 2.0, 4.0, 5.0])
        self.wrong(MAX_DELAYED - 6)
        for _ in range(1000):
            self.assertIsInstance(self.refuse(WRONG), LockedOut)
        self.admit(GOOD)
        self.assertEqual(self.refuse().http_status, 401)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_own_numbers(self) -> None:
        """C{gateway.auth.rateLimit} overrides the numbers, at once when it changes."""
        limit = RateLimitConfig(max_attempts=3, window_ms=60_000, lockout_ms=20_000, exempt_loopback=False)
        self.config = gateway(attrs.evolve(TOKEN, rate_limit=limit))
        self.assertEqual(self.wrong(3), [0.0] * 3)
        self.assertEqual(self.refuse(GOOD).retry_after_s, 20)
        self.wrong(3, peer=REMOTE)
        self.assertEqual(self.refuse(GOOD, peer=REMOTE).retry_after_s, 20)
        self.config = gateway()
        self.admit(GOOD)

    def test_behind_proxy(self) -> None:
        """Behind a listed proxy each forwarded client has its own count (checklist 21)."""
        limit = RateLimitConfig(max_attempts=3, lockout_ms=20_000, exempt_loopback=False)
        self.config = gateway(attrs.evolve(TOKEN, rate_limit=limit), trusted_proxies=("127.0.0.1",))
        for spoofed in ("1.1.1.1", "2.2.2.2", "3.3.3.3"):
            self.assertIsInstance(self.refuse(WRONG, ("X-Forwarded-For", f"{spoofed}, {REMOTE}")), Unauthorized)
        self.assertIsInstance(self.refuse(GOOD, ("X-Forwarded-For", f"::ffff:{REMOTE}")), LockedOut)
        self.assertEqual(self.admit(GOOD, ("X-Forwarded-For", f"{REMOTE}, 203.0.113.8")).address, "203.0.113.8")

    def test_mode_none(self) -> None:
        """Without a credential there is nothing to guess."""
        self.config = gateway(NONE)
        for _ in range(20):
            self.admit(WRONG)


class ModeNoneTests(PolicyTestCase):
    """Mode none (checklist 12, 14)."""

    def setUp(self) -> None:
        """Ask for no credential."""
        super().setUp()
        self.config = gateway(NONE)

    def test_scopes(self) -> None:
        """The scopes header narrows: absent means all, empty means none, unknown names and repetitions add nothing."""
        for headers, scopes in (
            ((), ALL_SCOPES),
            ((("x-openclaw-scopes", ""),), frozenset()),
            ((("x-openclaw-scopes", "operator.read"),), {READ}),
            ((("x-openclaw-scopes", "operator.root, operator.read"),), {READ}),
            ((("x-openclaw-scopes", "operator.read"), ("x-openclaw-scopes", "")), {READ}),
            ((("x-openclaw-scopes", b"\xff\xfe"),), frozenset()),
        ):
            self.assertEqual(self.admit(*headers), Caller("operator", frozenset(scopes), "127.0.0.1"))

    def test_any_credential(self) -> None:
        """Whatever is sent as a credential is not looked at."""
        self.admit(("Authorization", "Bearer whatever"))
        self.admit(("Authorization", "Basic x"))

    def test_not_beyond_loopback(self) -> None:
        """If the port can be reached from elsewhere, nobody gets in, not even from here."""
        self.policy = self.make(on_loopback_bind=False)
        for peer in ("127.0.0.1", REMOTE, None):
            self.assertIsInstance(self.refuse(peer=peer), Unauthorized)

    def test_origin(self) -> None:
        """Other sites' pages are refused unless either list has them."""
        origins = [("Origin", "https://app.example")], [("Origin", "https://gw.example")]
        for headers in (*origins, [("Sec-Fetch-Site", "cross-site")], [("Origin", "null")]):
            error = self.refuse(*headers)
            self.assertEqual((error.http_status, error.code), (403, "origin_not_allowed"))
        self.config = gateway(
            NONE,
            http=HttpConfig(cors=CorsConfig(("https://app.example",))),
            control_ui=ControlUiConfig(("https://gw.example",)),
        )
        for headers in origins:
            self.admit(*headers)
        self.assertEqual(self.refuse(("Origin", "https://evil.example")).code, "origin_not_allowed")

    def test_own_page(self) -> None:
        """The gateway's own page passes."""
        self.admit(("Origin", "http://localhost:18789"), ("Sec-Fetch-Site", "same-origin"), host="localhost:18789")


class PageTests(PolicyTestCase):
    """Rules for browsers beside the credential (checklist 15 to 18)."""

    def setUp(self) -> None:
        """List one origin for CORS and one for the page."""
        super().setUp()
        self.config = gateway(
            http=HttpConfig(cors=CorsConfig(("https://app.example",))),
            control_ui=ControlUiConfig(("https://gw.example",)),
        )

    def test_host(self) -> None:
        """A foreign Host is refused even with the right token; that of a listed origin is not; it is no CORS entry."""
        for host, code in (("evil.example", "host_not_allowed"), ("app.example", "host_not_allowed"), ("a/?x=", None)):
            self.assertEqual(self.refuse(GOOD, host=host).code, code)
            error = self.assertRaises(OpenClawError, self.policy.check_host, make_head(host=host))
            self.assertEqual(error.code, code)
        self.admit(GOOD, host="gw.example")
        self.policy.check_host(make_head(host="gw.example"))
        self.assertIsInstance(self.refuse(GOOD, host=None), InvalidRequest)

    def test_simple_post(self) -> None:
        """With a credential any origin may call, but not by a simple post."""
        page = ("Origin", "https://evil.example")
        self.admit(GOOD, page, ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "cors"), method=b"POST")
        plain = ("Content-Type", "text/plain")
        self.assertIsInstance(self.refuse(GOOD, page, plain, method=b"POST"), UnsupportedMedia)
        self.config = gateway(NONE)
        own = ("Origin", "http://127.0.0.1:18789")
        self.assertIsInstance(self.refuse(own, plain, method=b"POST"), UnsupportedMedia)
        self.admit(own, method=b"POST")

    def preflight(self, origin: str, **where: Any) -> dict[bytes, bytes] | None:
        """Ask as a browser does."""
        asked = (("Origin", origin), ("Access-Control-Request-Method", "POST"))
        return self.policy.preflight(make_head(*asked, **{"method": b"OPTIONS", **where}))

    def test_preflight(self) -> None:
        """A listed origin's preflight is answered without a credential; others go on, to the 401."""
        answer = self.preflight("https://app.example")
        assert answer is not None
        self.assertEqual(answer[b"Access-Control-Allow-Origin"], b"https://app.example")
        self.assertIsNone(self.preflight("https://evil.example"))
        self.assertIsNone(self.preflight("https://gw.example"))
        self.assertIsNone(self.preflight("https://app.example", method=b"POST"))
        self.assertRaises(Forbidden, self.preflight, "https://app.example", host="evil.example")

    def test_cors_headers(self) -> None:
        """Answers to a listed origin say so, errors for a bad request too; the list may change."""
        head = make_head(("Origin", "https://app.example"))
        self.assertEqual(self.policy.cors_headers(head)[b"Access-Control-Allow-Origin"], b"https://app.example")
        twice = make_head(("Origin", "https://app.example"), ("Origin", "https://app.example"))
        self.assertEqual(self.policy.cors_headers(twice), {b"Vary": b"Origin"})
        self.config = gateway()
        self.assertEqual(self.policy.cors_headers(head), {})


class OrderTests(PolicyTestCase):
    """Which of several faults is told."""

    def test_order(self) -> None:
        """Host, then the proxy, then the credential, then the page's type; a refused proxy counts as no guess."""
        forwarded = ("X-Forwarded-For", "203.0.113.9")
        page = (("Origin", "https://a.example"), ("Content-Type", "text/plain"))
        post = {"method": b"POST"}
        for _ in range(3):
            self.assertEqual(self.refuse(WRONG, forwarded, *page, host="evil.example", **post).code, "host_not_allowed")
            self.assertEqual(self.refuse(WRONG, forwarded, *page, **post).code, "proxy_attribution_required")
            self.assertEqual(self.refuse(GOOD, forwarded, *page, **post).code, "proxy_attribution_required")
        error = self.refuse(WRONG, *page, **post)
        assert isinstance(error, Unauthorized), error
        self.assertEqual(error.delay_s, 0.25)
        self.assertEqual(self.refuse(GOOD, *page, **post).code, "unsupported_media_type")

    def test_proxy_before_mode_none(self) -> None:
        """Where no credential is needed, a forwarded request is still refused (checklist 20, 22)."""
        self.config = gateway(NONE)
        self.assertEqual(self.refuse(("x_forwarded_user", "alice")).code, "proxy_attribution_required")

    def test_prepared_once(self) -> None:
        """The configuration is taken apart once for all the requests that it serves."""
        self.environ["OPENCLAW_GATEWAY_TOKEN"] = "first"
        self.config = gateway(AuthConfig(mode="token"))
        head: RequestHead = make_head(("Authorization", "Bearer first"))
        self.policy.authenticate(head)
        self.environ["OPENCLAW_GATEWAY_TOKEN"] = "second"
        self.policy.authenticate(head)
