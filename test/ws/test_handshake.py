"""Tests for L{openclaw.ws.handshake} and L{openclaw.auth.connect}: who is let in, and what the others are told."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.logger import globalLogPublisher

from openclaw._version import __version__
from openclaw.auth.connect import UI_CLIENTS
from openclaw.config.gateway import AuthConfig, ControlUiConfig, RateLimitConfig
from openclaw.config.secret import Secret
from openclaw.ws.handshake import MAX_HELD_FRAMES
from test.http.support import TOKEN, make_config
from test.ws.support import Peer, WebSocketTestCase, connect_params

CLIENT = {"id": "cli", "version": "1", "platform": "linux", "mode": "cli"}
DEVICE = {"id": "d", "publicKey": "k", "signature": "s", "signedAt": 1, "nonce": "n"}
WRONG = {"token": "wrong"}

BAD_PARAMS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"bogus": 1}, "at root: unexpected property 'bogus'"),
    ({"minProtocol": None}, "must have required property 'minProtocol'"),
    ({"client": None}, "must have required property 'client'"),
    ({"minProtocol": 0}, "at /minProtocol: must be >= 1"),
    ({"maxProtocol": "4"}, "at /maxProtocol: must be integer"),
    ({"client": CLIENT | {"id": "someone"}}, "at /client/id: must be equal to one of the allowed values"),
    ({"client": CLIENT | {"mode": "x"}}, "at /client/mode: must be equal to one of the allowed values"),
    ({"client": CLIENT | {"version": ""}}, "at /client/version: must not have fewer than 1 characters"),
    ({"client": {"id": "cli"}}, "at /client: must have required property 'version'"),
    ({"client": CLIENT | {"more": 1}}, "at /client: unexpected property 'more'"),
    ({"client": []}, "at /client: must be object"),
    ({"caps": "x"}, "at /caps: must be array"),
    ({"caps": ["a", 1]}, "at /caps/1: must be string"),
    ({"scopes": [""]}, "at /scopes/0: must not have fewer than 1 characters"),
    ({"auth": {"secret": "x"}}, "at /auth: unexpected property 'secret'"),
    ({"auth": {"token": 5}}, "at /auth/token: must be string"),
    ({"device": {"id": "d"}}, "at /device: must have required property 'publicKey'"),
    ({"device": DEVICE | {"nonce": ""}}, "at /device/nonce: must not have fewer than 1 characters"),
    ({"permissions": {"a": 1}}, "at /permissions/...: must be boolean"),
)

ORIGIN_REFUSED = "INVALID_REQUEST", "CONTROL_UI_ORIGIN_NOT_ALLOWED"
DEVICE_NEEDED = "INVALID_REQUEST", "CONTROL_UI_DEVICE_IDENTITY_REQUIRED"

REFUSED: tuple[tuple[str, dict[str, Any], tuple[str, str | None], str, int], ...] = (
    ("too old", {"maxProtocol": 3}, ("INVALID_REQUEST", "PROTOCOL_MISMATCH"), "protocol mismatch", 1002),
    ("too new", {"minProtocol": 5, "maxProtocol": 6}, ("INVALID_REQUEST", "PROTOCOL_MISMATCH"), "protocol mis", 1002),
    (
        "an old probe",
        {"mode": "probe", "minProtocol": 1, "maxProtocol": 2},
        ("INVALID_REQUEST", "PROTOCOL_MISMATCH"),
        "protocol mismatch",
        1002,
    ),
    ("role", {"role": "king"}, ("INVALID_REQUEST", None), "invalid role", 1008),
    ("node", {"role": "node"}, ("INVALID_REQUEST", None), "invalid role: this gateway does not serve nodes yet", 1008),
    ("foreign page", {"origin": "https://evil.example"}, ORIGIN_REFUSED, "origin not allowed", 1008),
    ("file", {"origin": "null"}, ORIGIN_REFUSED, "origin not allowed", 1008),
    ("extension", {"origin": "chrome-extension://abc"}, ORIGIN_REFUSED, "origin not allowed", 1008),
    ("name that ends well", {"origin": "http://localhost.evil.example"}, ORIGIN_REFUSED, "origin not allowed", 1008),
    ("long origin", {"origin": "http://" + "a" * 400}, ORIGIN_REFUSED, "origin not allowed", 1008),
    ("two origins", {"origin": "http://localhost, http://localhost"}, ORIGIN_REFUSED, "origin not allowed", 1008),
    (
        "loopback page from elsewhere",
        {"origin": "http://127.0.0.1:18789", "address": "192.0.2.1"},
        ORIGIN_REFUSED,
        "origin not allowed",
        1008,
    ),
    ("no secret", {"auth": None}, ("NOT_PAIRED", "DEVICE_IDENTITY_REQUIRED"), "device identity required", 1008),
    ("empty secret", {"auth": {"token": ""}}, ("NOT_PAIRED", "DEVICE_IDENTITY_REQUIRED"), "device identity", 1008),
    (
        "no secret but a device",
        {"auth": None, "device": DEVICE},
        ("INVALID_REQUEST", "AUTH_TOKEN_MISSING"),
        "unauthorized: gateway token missing (provide gateway auth token)",
        1008,
    ),
    (
        "a device's token",
        {"auth": {"deviceToken": "x"}, "device": DEVICE},
        ("INVALID_REQUEST", "AUTH_DEVICE_TOKEN_MISMATCH"),
        "unauthorized: device token mismatch (rotate/reissue device token)",
        1008,
    ),
    (
        "wrong secret from elsewhere",
        {"auth": WRONG, "address": "192.0.2.1"},
        ("INVALID_REQUEST", "AUTH_TOKEN_MISMATCH"),
        "unauthorized: gateway token mismatch (provide gateway auth token)",
        1008,
    ),
    (
        "wrong secret of the command line",
        {"client": "cli", "mode": "cli", "auth": WRONG, "address": "192.0.2.1"},
        ("INVALID_REQUEST", "AUTH_TOKEN_MISMATCH"),
        "unauthorized: gateway token mismatch (use this gateway's gateway.auth.token)",
        1008,
    ),
    (
        "unlisted proxy",
        {"headers": ("X-Forwarded-For: 198.51.100.1",)},
        ("INVALID_REQUEST", "PROXY_ATTRIBUTION_REQUIRED"),
        "the client behind the proxy is not known",
        1008,
    ),
)

ALL = ["operator.admin"]
ADMITTED: tuple[tuple[str, dict[str, Any], list[str]], ...] = (
    ("a program", {}, ALL),
    ("the command line", {"client": "cli", "mode": "cli", "scopes": ["operator.read"]}, ["operator.read"]),
    ("in its order", {"scopes": ["operator.write", "operator.read"]}, ["operator.write", "operator.read"]),
    ("once each", {"scopes": ["operator.write", "operator.write"]}, ["operator.write"]),
    ("unknown scopes", {"scopes": ["operator.god", "operator.read"]}, ["operator.read"]),
    ("asks for nothing", {"scopes": None}, []),
    ("as a password", {"auth": {"password": TOKEN}}, ALL),
    ("in both", {"auth": {"password": TOKEN, "token": TOKEN}}, ALL),
    ("in one of two", {"auth": {"password": TOKEN, "token": "wrong"}}, ALL),
    ("an unproven device", {"device": DEVICE}, ALL),
    ("a probe", {"client": "cli", "mode": "probe", "minProtocol": 3}, []),
    ("a probe of old", {"client": "cli", "mode": "probe", "minProtocol": 3, "maxProtocol": 3}, []),
    ("another program", {"client": "test", "mode": "test"}, []),
    ("the command line as a back end", {"client": "cli", "mode": "backend"}, []),
    ("from elsewhere", {"address": "192.0.2.1"}, []),
    ("a page of this machine", {"origin": "http://localhost:3000"}, []),
    ("a page of another loopback address", {"origin": "http://127.0.0.9"}, []),
    ("a listed page", {"origin": "https://chat.example"}, []),
    ("by a listed name", {"host": "chat.example"}, []),
    ("wide protocol range", {"minProtocol": 1, "maxProtocol": 9}, ALL),
    ("everything optional", {"caps": ["x"], "commands": [], "permissions": {"a": True}, "pathEnv": "", "locale": "de",
                             "userAgent": "x", "modelCatalog": {"sessionKey": "main"}}, ALL),
)  # fmt: skip


class HandshakeTestCase(WebSocketTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.allow("https://chat.example")

    def allow(self, *origins: str, **auth: Any) -> None:
        """Change the configuration."""
        config = make_config(**auth)
        gateway = attrs.evolve(config.gateway, control_ui=ControlUiConfig(tuple(origins)))
        self.config = attrs.evolve(config, gateway=gateway)

    def attempt(self, **case: Any) -> tuple[Peer, Any]:
        """
        Connect.

        @param case: members of the parameters; C{address}, C{host}, C{origin} and C{headers} of the upgrade.
        """
        headers = list(case.pop("headers", ()))
        if "origin" in case:
            headers.append(f"Origin: {case.pop('origin')}")
        peer = self.open(*headers, address=case.pop("address", "127.0.0.1"), host=case.pop("host", "127.0.0.1"))
        return peer, peer.connect(**case)

    def refused(self, **case: Any) -> Any:
        """The error of a C{connect} that is refused."""
        peer, answer = self.attempt(**case)
        self.assertFalse(answer["ok"], case)
        self.assertEqual(peer.close, (peer.close_code, answer["error"]["message"][:123]))
        return answer["error"]


class MatrixTests(HandshakeTestCase):
    def test_bad_params(self) -> None:
        for members, text in BAD_PARAMS:
            peer, answer = self.attempt(**members) if "client" not in members else self.raw(members)
            message = f"invalid connect params: {text}"
            self.assertEqual(answer["error"], {"code": "INVALID_REQUEST", "message": message})
            self.assertEqual(peer.close, (1008, message))
            self.over(peer)

    def raw(self, members: dict[str, Any]) -> tuple[Peer, Any]:
        """Connect with parameters whose C{client} is wrong."""
        peer = self.open()
        params = {name: value for name, value in (connect_params() | members).items() if value is not None}
        return peer, peer.answer("connect", params)

    def test_no_params(self) -> None:
        peer = self.open()
        self.assertEqual(
            peer.answer("connect")["error"]["message"],
            "invalid connect params: must have required property 'minProtocol'",
        )

    def test_refused(self) -> None:
        for name, case, (code, details_code), message, close_code in REFUSED:
            peer, answer = self.attempt(**case)
            self.assertIsNotNone(answer, name)
            error = answer["error"]
            self.assertEqual(answer["ok"], False)
            self.assertEqual((error["code"], error.get("details", {}).get("code")), (code, details_code), name)
            self.assertTrue(error["message"].startswith(message), (name, error))
            self.assertEqual(peer.close, (close_code, error["message"][:123]), name)
            self.over(peer)

    def test_admitted(self) -> None:
        for name, case, scopes in ADMITTED:
            peer, answer = self.attempt(**case)
            self.assertTrue(answer["ok"], (name, answer))
            auth = answer["payload"]["auth"]
            self.assertEqual(auth, {"method": "token", "role": "operator", "scopes": scopes}, name)
            self.assertIsNone(peer.close)
            self.over(peer)

    def test_user_interfaces(self) -> None:
        for client in sorted(UI_CLIENTS):
            for auth in ({"token": TOKEN}, WRONG, {}):
                error = self.refused(client=client, mode="ui", auth=auth)
                self.assertEqual((error["code"], error["details"]["code"]), DEVICE_NEEDED)
                self.assertIn("localhost secure context", error["message"])
        error = self.refused(client="openclaw-tui", mode="ui", device=DEVICE)
        self.assertEqual((error["code"], error["details"]["code"]), DEVICE_NEEDED)
        self.assertIn("cannot verify one yet", error["message"])

    def test_first_request(self) -> None:
        peer = self.open()
        error = peer.answer("health")["error"]
        self.assertEqual(
            error, {"code": "INVALID_REQUEST", "message": "invalid handshake: first request must be connect"}
        )
        self.assertEqual(peer.close, (1008, error["message"]))

    def test_what_comes_after_the_refusal(self) -> None:
        peer, _ = self.attempt(role="king")
        count = len(peer.told)
        peer.ask("health")
        peer.connect()
        self.assertEqual(len(peer.told), count)

    def test_protocol_details(self) -> None:
        self.assertEqual(
            self.refused(minProtocol=2, maxProtocol=3)["details"],
            {
                "code": "PROTOCOL_MISMATCH",
                "clientMinProtocol": 2,
                "clientMaxProtocol": 3,
                "expectedProtocol": 4,
                "minimumProbeProtocol": 3,
            },
        )

    def test_origin_details(self) -> None:
        for origin, reason in (
            ("https://evil.example", "origin not allowed"),
            ("null", "origin missing or invalid"),
        ):
            details = self.refused(origin=origin)["details"]
            self.assertEqual(details, {"code": "CONTROL_UI_ORIGIN_NOT_ALLOWED", "reason": reason})

    def test_order(self) -> None:
        wrong = {"minProtocol": 9, "maxProtocol": 9, "role": "king", "origin": "null", "auth": WRONG}
        for name in ("minProtocol", "role", "origin"):
            message = self.refused(**wrong)["message"]
            self.assertTrue(message.startswith({"minProtocol": "protocol", "role": "invalid role"}.get(name, "origin")))
            del wrong[name]
            wrong.pop("maxProtocol", None)

    def test_phases(self) -> None:
        for phase, message, reason in (
            ("draining", "connect unavailable during gateway restart", "gateway-draining"),
            ("starting", "gateway starting; retry shortly", "startup-sidecars"),
        ):
            self.phase = phase
            peer, answer = self.attempt(minProtocol=9, maxProtocol=9)
            expected = {
                "code": "UNAVAILABLE",
                "message": message,
                "details": {"reason": reason},
                "retryable": True,
                "retryAfterMs": 1000,
            }
            self.assertEqual(answer["error"], expected)
            self.assertEqual(peer.close, (1013, message))

    def test_unusable_configuration(self) -> None:
        peer = self.open()
        self.config = make_config(auth=AuthConfig(mode="token"))
        error = peer.connect()["error"]
        self.assertEqual(peer.close_code, 1008)
        self.assertEqual(error["code"], "UNAVAILABLE")
        self.assertIn("no credential", error["message"])


class OwnPageTests(HandshakeTestCase):
    """A page that the gateway served itself, at a port that is open to the network."""

    def setUp(self) -> None:
        super().setUp()
        self.on_loopback_bind = False
        self.build()

    def test_private_names(self) -> None:
        for host, address in (
            ("192.168.1.5:18789", "192.168.1.9"),
            ("10.0.0.1", "10.0.0.2"),
            ("[fd00::1]:18789", "fd00::2"),
            ("nas.local:18789", "192.168.1.9"),
            ("box.tail1234.ts.net", "100.64.0.3"),
        ):
            _, answer = self.attempt(client="test", mode="test", host=host, address=address, origin=f"http://{host}")
            self.assertTrue(answer["ok"], (host, answer))

    def test_public_names(self) -> None:
        for host, origin in (
            ("8.8.8.8:18789", "http://8.8.8.8:18789"),
            ("gateway.example", "http://gateway.example"),
            ("192.168.1.5:18789", "http://192.168.1.5:3000"),
            ("192.168.1.5:18789", "http://192.168.1.6:18789"),
            ("192.168.1.5:18789", "https://192.168.1.5"),
        ):
            error = self.refused(host=host, address="192.168.1.9", origin=origin)
            self.assertEqual(error["details"]["code"], "CONTROL_UI_ORIGIN_NOT_ALLOWED")

    def test_local_programs_by_a_name_of_the_network(self) -> None:
        _, answer = self.attempt(host="192.168.1.5:18789")
        self.assertEqual(answer["payload"]["auth"]["scopes"], [])
        _, answer = self.attempt(host="localhost:18789")
        self.assertEqual(answer["payload"]["auth"]["scopes"], ALL)

    def test_mode_none(self) -> None:
        self.config = make_config(auth=AuthConfig(mode="none"))
        error = self.refused()
        self.assertEqual(error["details"]["code"], "AUTH_UNAUTHORIZED")
        self.assertIn("mode none serves this machine only", error["message"])


class ModeTests(HandshakeTestCase):
    def test_none(self) -> None:
        self.config = make_config(auth=AuthConfig(mode="none"))
        for auth in (None, WRONG):
            _, answer = self.attempt(auth=auth)
            self.assertEqual(answer["payload"]["auth"], {"method": "none", "role": "operator", "scopes": ALL})
        scopes = ["operator.admin", "operator.read"]
        _, answer = self.attempt(auth=None, scopes=scopes, headers=("x-openclaw-scopes: operator.read",))
        self.assertEqual(answer["payload"]["auth"]["scopes"], ["operator.read"])

    def test_none_still_needs_devices(self) -> None:
        self.config = make_config(auth=AuthConfig(mode="none"))
        self.assertEqual(self.refused(client="openclaw-tui", mode="ui")["details"]["code"], DEVICE_NEEDED[1])

    def test_header_does_not_narrow_a_secret(self) -> None:
        _, answer = self.attempt(headers=("x-openclaw-scopes: operator.read",))
        self.assertEqual(answer["payload"]["auth"]["scopes"], ALL)

    def test_password(self) -> None:
        self.config = make_config(auth=AuthConfig(mode="password", password=Secret("päss")))
        for auth in ({"password": "päss"}, {"token": "päss"}):
            _, answer = self.attempt(auth=auth)
            self.assertEqual(answer["payload"]["auth"]["method"], "password")
        error = self.refused(auth={"password": "no"}, address="192.0.2.1")
        self.assertEqual(error["details"]["code"], "AUTH_PASSWORD_MISMATCH")
        self.assertEqual(error["message"], "unauthorized: gateway password mismatch (provide gateway auth password)")

    def test_behind_a_listed_proxy(self) -> None:
        gateway = attrs.evolve(self.config.gateway, trusted_proxies=("127.0.0.1",))
        self.config = attrs.evolve(self.config, gateway=gateway)
        _, answer = self.attempt(headers=("X-Forwarded-For: 198.51.100.1",))
        self.assertEqual(answer["payload"]["auth"]["scopes"], [])


class WrongSecretTests(HandshakeTestCase):
    def test_details(self) -> None:
        details = self.refused(auth=WRONG, address="192.0.2.1")["details"]
        self.assertEqual(
            details,
            {
                "code": "AUTH_TOKEN_MISMATCH",
                "authReason": "token_mismatch",
                "canRetryWithDeviceToken": False,
                "recommendedNextStep": "update_auth_credentials",
            },
        )

    def test_told_late_on_loopback(self) -> None:
        for delay_s in (0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0):
            peer, answer = self.attempt(auth=WRONG)
            self.assertIsNone(answer)
            self.clock.advance(delay_s - 0.01)
            self.assertIsNone(peer.close)
            self.clock.advance(0.01)
            self.assertEqual(peer.told[1]["error"]["details"]["code"], "AUTH_TOKEN_MISMATCH")
            self.assertEqual(peer.close_code, 1008)
        _, answer = self.attempt()
        self.assertTrue(answer["ok"])

    def test_leaves_while_it_is_held(self) -> None:
        peer, _ = self.attempt(auth=WRONG)
        self.over(peer)

    def test_says_more_while_it_is_held(self) -> None:
        peer, _ = self.attempt(auth=WRONG)
        for _ in range(MAX_HELD_FRAMES):
            peer.connect()
        self.assertIsNone(peer.close)
        peer.connect()
        self.assertEqual(peer.close, (1008, "too many pending handshake frames"))
        self.assertEqual(len(peer.told), 1)
        self.over(peer)

    def test_what_it_says_meanwhile_is_not_heard(self) -> None:
        peer, _ = self.attempt(auth=WRONG)
        peer.connect()
        self.clock.advance(1)
        self.assertEqual(len(peer.told), 2)
        self.assertFalse(peer.told[1]["ok"])

    def test_gateway_stops_meanwhile(self) -> None:
        peer, _ = self.attempt(auth=WRONG)
        self.crowd.close_all()
        self.assertEqual(peer.close_code, 1012)
        self.over(peer)

    def test_locked_out(self) -> None:
        for _ in range(10):
            self.refused(auth=WRONG, address="192.0.2.1")
        error = self.refused(address="192.0.2.1")
        self.assertEqual(error["details"]["code"], "AUTH_RATE_LIMITED")
        self.assertEqual((error["retryable"], error["retryAfterMs"]), (True, 300_000))
        self.assertEqual(error["details"]["retryAfterMs"], 300_000)
        self.assertTrue(error["message"].startswith("unauthorized: too many failed authentication attempts"))
        _, answer = self.attempt(address="192.0.2.2")
        self.assertTrue(answer["ok"])
        self.wait(301)
        _, answer = self.attempt(address="192.0.2.1")
        self.assertTrue(answer["ok"])

    def test_absent_ones_do_not_count(self) -> None:
        for _ in range(20):
            self.refused(auth=None, address="192.0.2.1")
        _, answer = self.attempt(address="192.0.2.1")
        self.assertTrue(answer["ok"])

    def test_page_locks_out_itself_only(self) -> None:
        origin = "http://localhost:3000"
        for _ in range(10):
            error = self.refused(auth=WRONG, origin=origin)
            self.assertEqual(error["details"]["code"], "AUTH_TOKEN_MISMATCH")
        self.assertEqual(self.refused(origin=origin)["details"]["code"], "AUTH_RATE_LIMITED")
        for case in ({}, {"origin": "http://localhost:3001"}):
            _, answer = self.attempt(**case)
            self.assertTrue(answer["ok"])

    def test_limit_is_configured(self) -> None:
        auth = AuthConfig(mode="token", token=Secret(TOKEN), rate_limit=RateLimitConfig(max_attempts=1))
        self.config = make_config(auth=auth)
        self.refused(auth=WRONG, address="192.0.2.1")
        self.assertEqual(self.refused(address="192.0.2.1")["details"]["code"], "AUTH_RATE_LIMITED")


class HelloTests(HandshakeTestCase):
    def hello(self, **case: Any) -> Any:
        """The payload for a client that is let in."""
        _, answer = self.attempt(**case)
        return answer["payload"]

    def test_whole(self) -> None:
        hello = self.hello(scopes=["operator.read"])
        presence = hello["snapshot"].pop("presence")
        self.assertEqual([entry["mode"] for entry in presence], ["gateway"])
        names = ["admin", "break", "echo", "hold", "huge", "read", "refuse", "unspeakable", "write"]
        events = ["connect.challenge", "agent", "chat", "presence", "tick", "health", "shutdown"]
        self.assertEqual(
            hello,
            {
                "type": "hello-ok",
                "protocol": 4,
                "server": {"version": __version__, "connId": "00000000-0000-4000-8000-000000000001"},
                "features": {"methods": names, "events": events, "capabilities": []},
                "snapshot": {
                    "suspension": {"phase": "accepting"},
                    "health": {"ok": True},
                    "stateVersion": {"presence": 1, "health": 1},
                    "uptimeMs": 1234,
                    "sessionDefaults": {
                        "defaultAgentId": "main",
                        "mainKey": "main",
                        "mainSessionKey": "agent:main:main",
                    },
                },
                "auth": {"method": "token", "role": "operator", "scopes": ["operator.read"]},
                "policy": {"maxPayload": 26214400, "maxBufferedBytes": 52428800, "tickIntervalMs": 30000},
            },
        )

    def test_without_scopes(self) -> None:
        self.assertEqual(self.hello(scopes=[])["snapshot"]["presence"], [])

    def test_admin(self) -> None:
        snapshot = self.hello()["snapshot"]
        self.assertEqual(
            {name: snapshot[name] for name in ("configPath", "stateDir", "authMode")}, self.snapshot.admin_facts()
        )
        self.assertNotIn("configPath", self.hello(scopes=["operator.write"])["snapshot"])

    def test_no_deadline_is_left(self) -> None:
        peer = self.connected()
        self.wait(20)
        self.assertIsNone(peer.close)
        self.over(peer)

    def test_bug_in_the_snapshot(self) -> None:
        self.patch(self.snapshot, "health", None)
        peer, answer = self.attempt()
        self.assertIsNone(answer)
        self.assertEqual(peer.close, (1011, "internal error"))
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        self.assertEqual(self.crowd.open_connections, {peer.client.transport.protocol})
        peer.client.leave()
        self.assertEqual(self.crowd.open_connections, set())


class RefusedLogTests(HandshakeTestCase):
    """What the log is told of those who are refused."""

    def test_once_a_minute(self) -> None:
        events: list[Any] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        for _ in range(20):
            self.refused(origin="https://evil.example")
        told = [event for event in events if event["log_namespace"] == "openclaw.ws.connection"]
        self.assertEqual(len([event for event in told if event["log_level"].name != "debug"]), 1)
