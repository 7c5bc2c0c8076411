"""Tests for L{openclaw.http.gate}."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from openclaw.auth.policy import AccessPolicy
from openclaw.config.gateway import AuthConfig
from openclaw.errors import (
    BodyTooLarge,
    Forbidden,
    MethodNotAllowed,
    MissingScope,
    NotFound,
    OpenClawError,
    Unauthorized,
)
from openclaw.http.gate import Admission, Gate, fold_slashes, request_id
from openclaw.http.table import MAX_BODY_BYTES, MAX_SMALL_BODY_BYTES
from test.auth.heads import make_head
from test.http.support import TOKEN, make_config, routes_of_nothing

CHAT = b"/v1/chat/completions"
GOOD = ("Authorization", f"Bearer {TOKEN}")
UPGRADE = ("Upgrade", "WebSocket")


class GateTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.config = make_config()
        policy = AccessPolicy(lambda: self.config, {}, Clock(), on_loopback_bind=True)
        self.gate = Gate(lambda: self.config, policy, routes_of_nothing())

    def admit(
        self,
        *headers: tuple[str, str],
        path: bytes = CHAT,
        method: bytes = b"POST",
        size: int | None = 10,
        host: str = "localhost",
    ) -> Admission:
        return self.gate.admit(make_head(*headers, method=method, path=path, host=host), size)

    def refuse(self, kind: type[OpenClawError], *headers: tuple[str, str], **where: object) -> OpenClawError:
        error: OpenClawError = self.assertRaises(kind, self.admit, *headers, **where)
        return error

    def test_order(self) -> None:
        # Each request has all faults that are judged after the one it is refused for.
        self.config = make_config()
        worst = {"host": "evil.example", "method": b"PUT", "size": MAX_BODY_BYTES + 1}
        wrong = ("x-openclaw-model", "m")
        self.assertEqual(self.refuse(Forbidden, wrong, **worst).code, "host_not_allowed")
        self.assertEqual(self.refuse(Forbidden, wrong, path=b"/nothing", **worst).code, "host_not_allowed")
        del worst["host"]
        self.refuse(NotFound, wrong, path=b"/nothing", **worst)
        self.refuse(Unauthorized, wrong, **worst)
        self.refuse(MethodNotAllowed, GOOD, wrong, **worst)
        self.config = make_config(auth=AuthConfig(mode="none"))
        nobody = ("x-openclaw-scopes", "")
        self.refuse(MethodNotAllowed, nobody, wrong, **worst)
        worst["method"] = b"POST"
        self.assertEqual(self.refuse(MissingScope, nobody, wrong, **worst).message, "missing scope: operator.write")
        writer = ("x-openclaw-scopes", "operator.write")
        self.assertEqual(self.refuse(MissingScope, writer, wrong, **worst).message, "missing scope: operator.admin")
        self.refuse(BodyTooLarge, **worst)
        self.admit()

    def test_caller(self) -> None:
        admission = self.admit(GOOD)
        self.assertEqual((admission.caller.name, admission.max_body_bytes), ("operator", MAX_BODY_BYTES))
        self.assertIsNone(admission.preflight)

    def test_sizes(self) -> None:
        self.admit(GOOD, size=MAX_BODY_BYTES)
        self.admit(GOOD, size=None)
        self.admit(GOOD, path=b"/v1/models", method=b"GET", size=MAX_SMALL_BODY_BYTES)
        self.refuse(BodyTooLarge, GOOD, path=b"/v1/models", method=b"GET", size=MAX_SMALL_BODY_BYTES + 1)
        self.refuse(BodyTooLarge, path=b"/healthz", method=b"GET", size=MAX_SMALL_BODY_BYTES + 1)
        self.refuse(BodyTooLarge, UPGRADE, path=b"/", method=b"GET", size=1)

    def test_models_need_read(self) -> None:
        self.config = make_config(auth=AuthConfig(mode="none"))
        for path in (b"/v1/models", b"/v1/models/openclaw/main"):
            self.admit(("x-openclaw-scopes", "operator.read"), path=path, method=b"GET")
            error = self.refuse(MissingScope, ("x-openclaw-scopes", "operator.talk"), path=path, method=b"GET")
            self.assertEqual(error.message, "missing scope: operator.read")

    def test_override_header_on_models_is_nothing(self) -> None:
        self.config = make_config(auth=AuthConfig(mode="none"))
        headers = (("x-openclaw-scopes", "operator.read"), ("x-openclaw-model", "m"))
        self.admit(*headers, path=b"/v1/models", method=b"GET")

    def test_routes_that_are_off(self) -> None:
        for chat, responses, found in (
            (False, False, ()),
            (True, False, (CHAT, b"/v1/models", b"/v1/models/x")),
            (False, True, (b"/v1/models", b"/v1/models/x")),
        ):
            self.config = make_config(chat=chat, responses=responses)
            for path in (CHAT, b"/v1/models", b"/v1/models/x"):
                if path in found:
                    self.refuse(Unauthorized, path=path)
                else:
                    self.refuse(NotFound, path=path)

    def test_other_routes_of_openai(self) -> None:
        """They say which one to use: their users read that."""
        for path, hint in (
            (b"/v1/completions", "; use /v1/chat/completions"),
            (b"/v1/responses", "; use /v1/chat/completions"),
            (b"/v1/embeddings", "; of OpenAI's routes /v1/chat/completions and /v1/models are served"),
            (b"/v1/audio/speech", "; of OpenAI's routes /v1/chat/completions and /v1/models are served"),
            (b"/chat/completions", "; the base URL of this gateway ends in /v1"),
            (b"/nothing", ""),
            (b"/v1/models/", ""),
        ):
            self.assertEqual(f"there is nothing at this path{hint}", self.refuse(NotFound, GOOD, path=path).message)

    def test_public_routes(self) -> None:
        self.config = make_config(chat=False)
        for path in (b"/health", b"/healthz", b"/ready", b"/readyz", b"/startup", b"/startupz"):
            for method in (b"GET", b"HEAD"):
                admission = self.admit(path=path, method=method, host="evil.example", size=0)
                self.assertEqual(admission.caller.scopes, frozenset())
            self.assertEqual(self.refuse(MethodNotAllowed, path=path).allow, "GET, HEAD")  # type: ignore[attr-defined]

    def test_upgrade(self) -> None:
        admission = self.admit(UPGRADE, path=b"/any/path", method=b"GET", size=0)
        self.assertEqual((admission.caller.name, admission.max_body_bytes), ("", 0))
        error = self.refuse(Forbidden, UPGRADE, path=b"/", method=b"GET", size=0, host="evil.example")
        self.assertEqual(error.code, "host_not_allowed")

    def test_is_upgrade(self) -> None:
        for method, path, value, expected in (
            (b"GET", b"/", " WebSocket ", True),
            (b"GET", b"/x", "websocket", True),
            (b"POST", b"/", "websocket", False),
            (b"GET", b"/", "h2c", False),
            (b"GET", b"/healthz", "websocket", False),
            (b"GET", b"/v1/models/x", "websocket", False),
        ):
            try:
                admission = self.admit(GOOD, ("Upgrade", value), path=path, method=method, size=0)
            except (NotFound, MethodNotAllowed):
                self.assertFalse(expected)
            else:
                self.assertIs(admission.is_upgrade, expected)

    def test_root(self) -> None:
        """The default check of a load balancer has no credential, and often no host."""
        for method in (b"GET", b"HEAD"):
            self.assertFalse(self.admit(path=b"/", method=method, size=0).is_upgrade)
            self.admit(path=b"/", method=method, size=0, host=None)
            self.refuse(Forbidden, path=b"/", method=method, size=0, host="evil.example")
        self.admit(path=b"/", method=b"OPTIONS", size=0, host="evil.example")
        self.refuse(MethodNotAllowed, path=b"/", method=b"POST", size=0)

    def test_upgrade_on_a_route_is_ignored(self) -> None:
        self.refuse(Unauthorized, UPGRADE, path=b"/v1/models", method=b"GET")
        # A route that is off is a route all the same.
        self.config = make_config(chat=False)
        self.refuse(NotFound, UPGRADE, GOOD, path=b"/v1/models", method=b"GET")

    def test_preflight(self) -> None:
        self.config = make_config(cors=("https://app.example",))
        asked = (("Origin", "https://app.example"), ("Access-Control-Request-Method", "POST"))
        admission = self.admit(*asked, method=b"OPTIONS")
        assert admission.preflight is not None
        self.assertEqual(admission.preflight[b"Access-Control-Max-Age"], b"600")
        self.refuse(Unauthorized, asked[1], ("Origin", "https://evil.example"), method=b"OPTIONS")
        self.refuse(NotFound, *asked, method=b"OPTIONS", path=b"/nothing")

    def test_response_headers(self) -> None:
        self.config = make_config(cors=("https://app.example",))
        headers = self.gate.response_headers(make_head(("Origin", "https://app.example")))
        self.assertEqual(headers[b"Access-Control-Allow-Origin"], b"https://app.example")

    def test_only_health_is_public(self) -> None:
        public = {route.path for route in self.gate.routes if route.scope is None and not route.is_page}
        self.assertEqual(public, {"/health", "/healthz", "/ready", "/readyz", "/startup", "/startupz"})


class PureTests(SynchronousTestCase):
    def test_fold_slashes(self) -> None:
        self.assertEqual(fold_slashes(b"//v1///models"), b"/v1/models")
        self.assertEqual(fold_slashes(b"/v1/./%2F/"), b"/v1/./%2F/")

    def test_request_id(self) -> None:
        for usable in (b"a", b"x" * 128, b"~!/:"):
            self.assertEqual(request_id(Headers({b"X-Request-Id": [usable]})), usable.decode())
        for other in ([b""], [b"x" * 129], [b"a b"], [b"\x7f"], [b"\xe9"], [b"a\x00"], [b"a", b"b"]):
            self.assertRegex(request_id(Headers({b"X-Request-Id": other})), "^[0-9a-f]{32}$")
        self.assertNotEqual(request_id(Headers()), request_id(Headers()))
