"""
Reverse proxies: whose word about the client counts.

A forwarding header from a peer that is not in C{gateway.trustedProxies} is refused, not ignored: behind an unlisted
proxy every client would look like the proxy, and one on loopback like the owner of the machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Self

import attrs

from openclaw.auth.client import Client, client_of_peer, parse_client
from openclaw.auth.head import RequestHead
from openclaw.errors import ConfigError, Forbidden

ATTRIBUTION_REQUIRED = "proxy_attribution_required"
"""Both C{type} and C{code} of the refusal."""

MAX_HOPS = 32
"""Most addresses of C{X-Forwarded-For} that are looked at, from the right."""

_WITH_PORT = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::\d{1,5})?|(\d{1,3}(?:\.\d{1,3}){3}):\d{1,5}")


def _network(entry: str) -> IPv4Network | IPv6Network:
    try:
        network = ip_network(entry.strip(), strict=False)
    except ValueError:
        raise ConfigError([f'gateway.trustedProxies: "{entry}" is neither an address nor a network']) from None
    if isinstance(network, IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return IPv4Network((int(mapped), network.prefixlen - 96))
    return network


@attrs.frozen
class TrustedProxies:
    """
    The proxies whose forwarding headers count.

    @ivar networks: where they are; an address is a network of one.
    """

    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    @classmethod
    def parse(cls, entries: Iterable[str]) -> Self:
        """
        Read C{gateway.trustedProxies}.

        @raise ConfigError: for an entry that is neither an address nor a network.
        """
        return cls(tuple(_network(entry) for entry in entries))

    def lists(self, client: Client) -> bool:
        """Tell whether a client is one of these proxies."""
        ip = client.ip
        return ip is not None and any(ip in network for network in self.networks)

    def rightmost_client(self, forwarded_for: Sequence[bytes]) -> Client | None:
        """
        Find the client that the proxies speak for.

        Each proxy appends the address that it saw, so only what the listed ones wrote can be believed: the first
        address from the right that is not one of them.

        @param forwarded_for: the values of C{X-Forwarded-For}; several of them are one list, in order.
        @return: the client; C{None} if what stands in its place is no address, or if there is none.
        """
        joined = b",".join(forwarded_for).decode("latin-1")
        for hop in reversed(joined.rsplit(",", MAX_HOPS)[-MAX_HOPS:]):
            text = hop.strip(" \t")
            match = _WITH_PORT.fullmatch(text)
            client = parse_client((match[1] or match[2]) if match else text)
            if client is None or not self.lists(client):
                return client
        return None


def has_forwarding_header(head: RequestHead) -> bool:
    """
    Tell whether a request claims to be forwarded.

    C{Forwarded}, C{X-Real-IP} and every C{X-Forwarded-} header count, in any case and with underscores for hyphens:
    some servers behind us take the two for one.
    """
    for name, _ in head.headers.getAllRawHeaders():
        if name[:1] in b"XFxf":
            plain = name.lower().replace(b"_", b"-")
            if plain.startswith(b"x-forwarded-") or plain in (b"forwarded", b"x-real-ip"):
                return True
    return False


def resolve_client(head: RequestHead, proxies: TrustedProxies) -> Client:
    """
    Find out who the client of a request is.

    @return: the peer, or the client that a listed proxy names.
    @raise Forbidden: C{proxy_attribution_required}: a forwarding header from an unlisted peer, or a listed proxy
        that names no client, or one on loopback.
    """
    peer = client_of_peer(head.peer)
    if not proxies.lists(peer):
        if has_forwarding_header(head):
            raise _attribution_required()
        return peer
    client = proxies.rightmost_client(head.values(b"x-forwarded-for"))
    if client is None or client.is_loopback:
        raise _attribution_required()
    return client


def _attribution_required() -> Forbidden:
    return Forbidden(
        "the client behind the proxy is not known: list the proxy in gateway.trustedProxies, and let it set"
        " X-Forwarded-For to the address that it sees",
        code=ATTRIBUTION_REQUIRED,
        wire_type=ATTRIBUTION_REQUIRED,
    )
