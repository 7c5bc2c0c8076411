"""Tests for L{openclaw.auth.client}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from openclaw.auth.client import LOCAL_CLIENT, UNKNOWN_CLIENT, Client, client_of_peer, parse_client


def parsed(text: str) -> Client:
    """A client that must parse."""
    client = parse_client(text)
    assert client is not None, text
    return client


class ParseClientTests(SynchronousTestCase):
    """The one spelling of an address."""

    def test_ipv4_mapped(self) -> None:
        """All spellings of one IPv4 address are one client (checklist 5)."""
        spellings = ("1.2.3.4", "::ffff:1.2.3.4", "::ffff:102:304", "::FFFF:0102:0304", "0:0:0:0:0:ffff:102:304")
        self.assertEqual({parsed(text) for text in spellings}, {parsed("1.2.3.4")})
        self.assertEqual(parsed("::ffff:102:304").address, "1.2.3.4")
        self.assertEqual(parsed("1.2.3.4").bucket, "1.2.3.4")
        self.assertNotEqual(parsed("1.2.3.5").bucket, "1.2.3.4")

    def test_ipv6_network(self) -> None:
        """IPv6 clients of one /64 share a bucket and keep their addresses; the next /64 is another (checklist 5)."""
        one, two = parsed("2001:db8:0:1::1"), parsed("2001:0DB8:0:1:ffff:ffff:ffff:ffff")
        self.assertEqual((one.bucket, two.bucket), ("2001:db8:0:1::/64",) * 2)
        self.assertEqual((one.address, two.address), ("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff"))
        self.assertNotEqual(parsed("2001:db8:0:2::1").bucket, one.bucket)

    def test_loopback(self) -> None:
        """All of 127.0.0.0/8 and C{::1} are loopback and one bucket; others are not."""
        for text in ("127.0.0.1", "127.255.0.9", "::1", "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1", "::ffff:7f00:2"):
            self.assertTrue(parsed(text).is_loopback, text)
            self.assertEqual(parsed(text).bucket, "loopback")
        for text in ("128.0.0.1", "::2", "0.0.0.0", "10.0.0.1", "::ffff:10.0.0.1"):
            self.assertFalse(parsed(text).is_loopback, text)

    def test_zone(self) -> None:
        """The zone of a link-local address is dropped."""
        self.assertEqual(parsed("fe80::1%eth0"), parsed("fe80::1"))

    def test_no_address(self) -> None:
        """What is no address gives L{None}, however long."""
        for text in (
            "",
            "localhost",
            "1.2.3",
            "01.2.3.4",
            "1.2.3.4:80",
            "[::1]",
            "1.2.3.4 ",
            "1.2.3.4%eth0",
            "::1\0",
            "a" * 100_000,
        ):
            self.assertIsNone(parse_client(text), text[:20])
        self.assertIsNone(parse_client("::1%" + "z" * 61))

    def test_peer(self) -> None:
        """A unix socket is this machine; an address that is none is nobody in particular, and not local."""
        self.assertIs(client_of_peer(None), LOCAL_CLIENT)
        self.assertTrue(LOCAL_CLIENT.is_loopback)
        self.assertIs(client_of_peer("?"), UNKNOWN_CLIENT)
        self.assertFalse(UNKNOWN_CLIENT.is_loopback)
        self.assertEqual(client_of_peer("::ffff:9.9.9.9").address, "9.9.9.9")
