"""
Who is at the other end, in one spelling.

An IPv4 address has many spellings inside IPv6 (C{::ffff:1.2.3.4}, C{::ffff:102:304}), and whoever has one IPv6
address has 2**64 of them.  Limits that count clients count L{Client.bucket}.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import attrs

LONGEST_ADDRESS = 64
"""Characters; a longer text is no address (an IPv6 address with a zone is at most 61)."""


@attrs.frozen
class Client:
    """
    One client of the gateway.

    @ivar address: its canonical address, for logs; empty on a unix socket.
    @ivar bucket: what limits count it under: the IPv4 address, the IPv6 network of 64 bits, C{loopback}.
    @ivar is_loopback: true if it is on this machine: 127.0.0.0/8, C{::1} or a unix socket.
    @ivar ip: the parsed address; C{None} on a unix socket.
    """

    address: str
    bucket: str
    is_loopback: bool
    ip: IPv4Address | IPv6Address | None = None


LOCAL_CLIENT = Client("", "loopback", True)
"""Whoever is at the other end of a unix socket."""

UNKNOWN_CLIENT = Client("", "unknown", False)
"""A peer whose address is none; all of them share one bucket."""


@lru_cache(maxsize=2048)
def _parse(text: str) -> Client | None:
    try:
        ip = ip_address(text)
    except ValueError:
        return None
    if isinstance(ip, IPv6Address):
        ip = ip.ipv4_mapped or IPv6Address(int(ip))  # without its zone
    if ip.is_loopback:
        return Client(str(ip), "loopback", True, ip)
    if isinstance(ip, IPv6Address):
        return Client(str(ip), str(IPv6Network((int(ip) >> 64 << 64, 64))), False, ip)
    return Client(str(ip), str(ip), False, ip)


def parse_client(text: str) -> Client | None:
    """
    Read an address.

    @param text: an IPv4 or IPv6 address without port; the zone of an IPv6 one (C{%eth0}) is dropped.
    @return: the client, or C{None} if C{text} is no address.
    """
    return _parse(text) if len(text) <= LONGEST_ADDRESS else None


def client_of_peer(peer: str | None) -> Client:
    """The client at the other end of a connection; see L{openclaw.auth.head.RequestHead.peer}."""
    if peer is None:
        return LOCAL_CLIENT
    return parse_client(peer) or UNKNOWN_CLIENT
