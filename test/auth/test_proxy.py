"""Tests for L{openclaw.auth.proxy}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from openclaw.auth.head import RequestHead
from openclaw.auth.proxy import MAX_HOPS, TrustedProxies, has_forwarding_header, resolve_client
from openclaw.errors import ConfigError, Forbidden
from test.auth.heads import make_head

NOBODY = TrustedProxies()
PROXIES = TrustedProxies.parse(["10.0.0.1", "192.0.2.0/24", "2001:db8::/32", "127.0.0.1"])

FORWARDING = (
    "X-Forwarded-For",
    "x-forwarded-for",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Forwarded-User",
    "Forwarded",
    "X-Real-IP",
    "X_Forwarded_For",
    "x_forwarded_user",
    "X-Forwarded_For",
    "X_Real_IP",
)


class ProxyTestCase(SynchronousTestCase):
    """Helps to state who the client is."""

    def refused(self, head: RequestHead, proxies: TrustedProxies) -> None:
        """Insist on the refusal of the contract's table."""
        error = self.assertRaises(Forbidden, resolve_client, head, proxies)
        self.assertEqual(error.http_status, 403)
        self.assertEqual((error.wire_type, error.code), ("proxy_attribution_required",) * 2)
        self.assertIn("gateway.trustedProxies", error.message)

    def through(self, peer: str, *forwarded_for: str | bytes) -> RequestHead:
        """A request through a proxy."""
        return make_head(*(("X-Forwarded-For", value) for value in forwarded_for), peer=peer)


class UnlistedPeerTests(ProxyTestCase):
    """Forwarding headers from anybody (checklist 20, 22)."""

    def test_refused(self) -> None:
        """Each of them is refused in every spelling, from loopback, from outside and from a unix socket."""
        for name in FORWARDING:
            for peer in ("127.0.0.1", "::1", "203.0.113.5", None):
                head = make_head((name, "203.0.113.9"), peer=peer)
                self.assertTrue(has_forwarding_header(head))
                self.refused(head, NOBODY)
        self.refused(self.through("10.0.0.2", "203.0.113.9"), PROXIES)

    def test_direct(self) -> None:
        """Without them the peer is the client, whatever other headers say."""
        others = ("X-Request-Id", "Via", "X-Forward", "From", "X-Openclaw-Forwarded-For", "Forwarded-For")
        head = make_head(*((name, "203.0.113.9") for name in others), peer="::ffff:203.0.113.5")
        self.assertFalse(has_forwarding_header(head))
        self.assertEqual(resolve_client(head, NOBODY).address, "203.0.113.5")
        self.assertEqual(resolve_client(head, PROXIES).address, "203.0.113.5")
        self.assertTrue(resolve_client(make_head(peer=None), PROXIES).is_loopback)

    def test_unknown_peer(self) -> None:
        """A peer without an address is not local and never a listed proxy."""
        everybody = TrustedProxies.parse(["0.0.0.0/0", "::/0"])
        self.assertFalse(resolve_client(make_head(peer="?"), everybody).is_loopback)
        self.refused(self.through("?", "203.0.113.9"), everybody)


class ListedPeerTests(ProxyTestCase):
    """A listed proxy's word (checklist 21)."""

    def test_rightmost(self) -> None:
        """The client is the rightmost address that is not a listed proxy; what stands left of it may be invented."""
        for sent, client in (
            (["203.0.113.9"], "203.0.113.9"),
            (["1.1.1.1, 203.0.113.9"], "203.0.113.9"),
            (["1.1.1.1, 203.0.113.9,192.0.2.77 , 10.0.0.1"], "203.0.113.9"),
            (["1.1.1.1", "203.0.113.9"], "203.0.113.9"),
            (["203.0.113.9", "10.0.0.1"], "203.0.113.9"),
            (["127.0.0.1, 203.0.113.9"], "203.0.113.9"),
            (["rubbish, 203.0.113.9"], "203.0.113.9"),
            (["::ffff:203.0.113.9"], "203.0.113.9"),
            (["203.0.113.9:4711"], "203.0.113.9"),
            (["[2001:dead::5]:443"], "2001:dead::5"),
            (["[2001:dead::5]"], "2001:dead::5"),
            (["2001:dead::5, ::ffff:10.0.0.1"], "2001:dead::5"),
        ):
            self.assertEqual(resolve_client(self.through("10.0.0.1", *sent), PROXIES).address, client, sent)

    def test_not_usable(self) -> None:
        """Without an address in the client's place there is no client, and nothing left of it is taken instead."""
        for sent in (
            [],
            [""],
            ["unknown"],
            ["203.0.113.9, unknown"],
            ["203.0.113.9,"],
            ["203.0.113.9, ,10.0.0.1"],
            ["203.0.113.9, _hidden, 10.0.0.1"],
            ["10.0.0.1, 192.0.2.5"],
            [b"203.0.113.\xff"],
            ["203.0.113.9 1.1.1.1"],
        ):
            self.refused(self.through("10.0.0.1", *sent), PROXIES)

    def test_loopback_client(self) -> None:
        """A proxy that names this machine as the client is refused: nobody becomes local by a header."""
        for sent in ("127.0.0.2", "::1", "::ffff:127.0.0.5", "203.0.113.9, 127.8.8.8", "[::1]:80"):
            self.refused(self.through("10.0.0.1", sent), PROXIES)
        self.refused(self.through("127.0.0.1", "127.0.0.1"), PROXIES)

    def test_other_headers(self) -> None:
        """Only C{X-Forwarded-For} with hyphens names the client."""
        for name in FORWARDING[2:]:
            self.refused(make_head((name, "203.0.113.9"), peer="10.0.0.1"), PROXIES)
        head = make_head(("X-Forwarded-For", "203.0.113.9"), ("X_Forwarded_For", "1.1.1.1"), peer="10.0.0.1")
        self.assertEqual(resolve_client(head, PROXIES).address, "203.0.113.9")

    def test_bounded(self) -> None:
        """No more than a number of addresses is looked at."""
        chain = ",10.0.0.1"
        near = self.through("10.0.0.1", "203.0.113.9" + chain * (MAX_HOPS - 1))
        self.assertEqual(resolve_client(near, PROXIES).address, "203.0.113.9")
        self.refused(self.through("10.0.0.1", "203.0.113.9" + chain * MAX_HOPS), PROXIES)
        self.refused(self.through("10.0.0.1", "203.0.113.9" + chain * 100_000), PROXIES)


class TrustedProxiesTests(SynchronousTestCase):
    """How the list is read."""

    def test_entries(self) -> None:
        """Addresses and networks, host bits and blanks allowed; an IPv4-mapped entry means the IPv4 one."""
        proxies = TrustedProxies.parse([" 10.1.2.3/8 ", "::ffff:192.0.2.1", "::ffff:198.51.100.0/120", "2001:db8::/96"])
        listed = ("10.9.9.9", "192.0.2.1", "198.51.100.200", "2001:db8::5")
        not_listed = ("11.0.0.1", "192.0.2.2", "198.51.101.1", "2001:db9::5")
        for peer in listed:
            self.assertEqual(
                resolve_client(make_head(("X-Forwarded-For", "9.9.9.9"), peer=peer), proxies).address, "9.9.9.9"
            )
        for peer in not_listed:
            self.assertRaises(Forbidden, resolve_client, make_head(("X-Forwarded-For", "9.9.9.9"), peer=peer), proxies)

    def test_wrong_entry(self) -> None:
        """An entry that is neither is an error that names the key and the entry."""
        for entry in ("", "proxy.example", "10.0.0.0/33", "*"):
            error = self.assertRaises(ConfigError, TrustedProxies.parse, [entry])
            self.assertEqual(
                error.problems, (f'gateway.trustedProxies: "{entry}" is neither an address nor a network',)
            )
