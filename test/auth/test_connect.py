"""Tests for L{openclaw.auth.connect}; what clients see of it is in C{test/ws/test_handshake.py}."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from openclaw.auth.client import LOCAL_CLIENT, client_of_peer, parse_client
from openclaw.auth.connect import (
    ConnectAdmission,
    ConnectClaim,
    ConnectRefusal,
    is_local,
    origin_may_connect,
)
from openclaw.auth.policy import AccessPolicy
from openclaw.config.gateway import AuthConfig, GatewayConfig
from openclaw.config.schema import Config
from openclaw.config.secret import Secret
from openclaw.errors import InvalidRequest
from test.auth.heads import make_head

CLAIM = ConnectClaim("cli", "cli", ("operator.read",), token="s3cret")


class LocalTests(SynchronousTestCase):
    def test_table(self) -> None:
        for peer, host, expected in (
            ("127.0.0.1", "127.0.0.1:18789", True),
            ("127.0.0.1", "localhost", True),
            ("::1", "[::1]:18789", True),
            ("::ffff:127.0.0.1", "127.0.0.2", True),
            ("127.0.0.1", "gateway.example", False),
            ("127.0.0.1", "192.168.1.5", False),
            ("127.0.0.1", None, False),
            ("127.0.0.1", "", False),
            ("192.0.2.1", "127.0.0.1", False),
        ):
            head = make_head(peer=peer, host=host)
            self.assertEqual(is_local(head, client_of_peer(peer)), expected, (peer, host))

    def test_unix_socket(self) -> None:
        self.assertTrue(is_local(make_head(peer=None, host="whatever"), LOCAL_CLIENT))

    def test_forwarded(self) -> None:
        client = parse_client("127.0.0.1")
        assert client is not None
        self.assertFalse(is_local(make_head(peer="192.0.2.1"), client))
        self.assertRaises(InvalidRequest, is_local, make_head(host="a b"), client)


class OriginTests(SynchronousTestCase):
    def may(self, origin: bytes, host: str | None = "127.0.0.1:18789", *, local: bool = True) -> bool:
        """Whether a page may connect."""
        return origin_may_connect(make_head(host=host), origin, {b"https://chat.example"}, local=local)

    def test_table(self) -> None:
        for origin, host, local, expected in (
            (b"https://chat.example", "127.0.0.1", True, True),
            (b"https://chat.example", "127.0.0.1", False, True),
            (b"http://chat.example", "127.0.0.1", True, False),
            (b"http://localhost:1", "127.0.0.1:18789", True, True),
            (b"http://[::1]:1", "127.0.0.1:18789", True, True),
            (b"http://localhost:18789", "localhost:18789", False, False),
            (b"http://192.168.1.5:18789", "192.168.1.5:18789", False, True),
            (b"https://192.168.1.5", "192.168.1.5:80", False, False),
            (b"https://192.168.1.5", "192.168.1.5:443", False, True),
            (b"http://192.168.1.5", "192.168.1.5", False, True),
            (b"http://1.2.3.4", "1.2.3.4", True, False),
            (b"http://box.local:1", "box.local:1", False, True),
            (b"http://box.local:1", None, False, False),
            (b"http://evil.example", "evil.example", False, False),
            (b"null", "127.0.0.1", True, False),
            (b"", "127.0.0.1", True, False),
            (b"file://", "127.0.0.1", True, False),
            (b"http://localhost/", "127.0.0.1", True, False),
        ):
            self.assertEqual(self.may(origin, host, local=local), expected, (origin, host, local))


class PolicyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway = GatewayConfig(auth=AuthConfig(mode="token", token=Secret("s3cret")))
        self.policy = AccessPolicy(lambda: self.config, {}, Clock(), on_loopback_bind=True)

    @property
    def config(self) -> Config:
        """The same object as long as nothing has changed."""
        if getattr(self, "_config", None) is None or self._config.gateway is not self.gateway:
            self._config = Config(gateway=self.gateway)
        return self._config

    def judge(self, claim: ConnectClaim = CLAIM, **head: Any) -> ConnectAdmission | ConnectRefusal:
        """The verdict."""
        return self.policy.judge_connect(make_head(**head), claim)

    def test_verdicts(self) -> None:
        admission = self.judge()
        assert isinstance(admission, ConnectAdmission)
        self.assertEqual((admission.scopes, admission.method), (("operator.read",), "token"))
        self.assertEqual(admission.caller.scopes, {"operator.read"})
        refusal = self.judge(attrs.evolve(CLAIM, token="no"))
        assert isinstance(refusal, ConnectRefusal)
        self.assertEqual((refusal.code, refusal.delay_s), ("INVALID_REQUEST", 0.25))

    def test_programs_of_other_machines(self) -> None:
        """They keep their scopes if the upgrade itself carries the secret; a page never does."""
        right, wrong = ("Authorization", "Bearer s3cret"), ("Authorization", "Bearer no")
        for headers, scopes in (((right,), ("operator.read",)), ((wrong,), ()), ((), ())):
            admission = self.policy.judge_connect(make_head(*headers, peer="192.0.2.1"), CLAIM)
            assert isinstance(admission, ConnectAdmission)
            self.assertEqual(admission.scopes, scopes, headers)
        alone = self.policy.judge_connect(make_head(right, peer="192.0.2.1"), attrs.evolve(CLAIM, token=None))
        self.assertIsInstance(alone, ConnectRefusal)
        other = self.policy.judge_connect(make_head(right, peer="192.0.2.1"), attrs.evolve(CLAIM, mode="probe"))
        assert isinstance(other, ConnectAdmission)
        self.assertEqual(other.scopes, ())

    def test_changed_secret(self) -> None:
        self.assertIsInstance(self.judge(), ConnectAdmission)
        self.gateway = GatewayConfig(auth=AuthConfig(mode="token", token=Secret("another")))
        self.assertIsInstance(self.judge(), ConnectRefusal)

    def test_one_limit_for_all_surfaces(self) -> None:
        bad = ("Authorization", "Bearer no")
        for _ in range(10):
            with self.assertRaises(Exception):  # noqa: B017
                self.policy.authenticate(make_head(bad, peer="192.0.2.1"))
        refusal = self.judge(peer="192.0.2.1")
        assert isinstance(refusal, ConnectRefusal)
        self.assertEqual(refusal.details["code"], "AUTH_RATE_LIMITED")

    def test_origins_of_other_machines_count_as_one(self) -> None:
        """A program can claim any of them; they do not lock out the programs of their address."""
        wrong = attrs.evolve(CLAIM, token="no")
        codes = []
        for number in range(11):
            name = f"box{number}.local"
            head = make_head(("Origin", f"http://{name}"), peer="192.0.2.1", host=name)
            refusal = self.policy.judge_connect(head, wrong)
            assert isinstance(refusal, ConnectRefusal)
            codes.append(refusal.details["code"])
        self.assertEqual(codes, ["AUTH_TOKEN_MISMATCH"] * 10 + ["AUTH_RATE_LIMITED"])
        self.assertIsInstance(self.judge(peer="192.0.2.1"), ConnectAdmission)

    def test_too_many_delayed(self) -> None:
        for _ in range(64):
            self.judge(attrs.evolve(CLAIM, token="no"))
        refusal = self.judge(attrs.evolve(CLAIM, token="no"))
        assert isinstance(refusal, ConnectRefusal)
        self.assertEqual((refusal.details["code"], refusal.delay_s), ("AUTH_RATE_LIMITED", 0.0))
        self.assertIsInstance(self.judge(), ConnectAdmission)

    def test_secrets_are_not_shown(self) -> None:
        claim = ConnectClaim("cli", "cli", (), token="s3cret", password="s3cret", device_token="s3cret")
        self.assertNotIn("s3cret", repr(claim))

    def test_client_of(self) -> None:
        forwarded = ("X-Forwarded-For", "198.51.100.1")
        self.assertEqual(self.policy.client_of(make_head(forwarded, peer="192.0.2.1")).address, "192.0.2.1")
        self.gateway = attrs.evolve(self.gateway, trusted_proxies=("192.0.2.1",))
        self.assertEqual(self.policy.client_of(make_head(forwarded, peer="192.0.2.1")).address, "198.51.100.1")
