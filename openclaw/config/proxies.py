"""
Which HTTP proxy leads to a model server: URLs of proxies, the variables that name one, and C{NO_PROXY}.

The variables and their order are those of the original: a lower-case name beats the upper-case one even where it is
blank; C{https} falls back on C{HTTP_PROXY}, and both on C{ALL_PROXY}.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import SplitResult, unquote, urlsplit

import attrs

PROXY_VARIABLES = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
"""The variables that name a proxy."""

_HTTP = ("http_proxy", "HTTP_PROXY")
_HTTPS = ("https_proxy", "HTTPS_PROXY")
_ALL = ("all_proxy", "ALL_PROXY")
_WITH_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_NOT_IN_URL = re.compile(r"[\s\x00-\x1f\x7f]")
_NO_PORT = "expected a proxy's URL such as http://proxy.example:3128"

Address = IPv4Address | IPv6Address


@attrs.frozen
class ProxyAddress:
    """
    An HTTP proxy.

    @ivar host: its name or address, without brackets.
    @ivar port: its port.
    @ivar with_tls: whether it is spoken to over TLS.
    @ivar user: user and password as C{user:password}, decoded; C{None} if it wants none.  Secret.
    """

    host: str
    port: int
    with_tls: bool = False
    user: str | None = attrs.field(default=None, repr=False)

    @property
    def where(self) -> str:
        """Host and port, for messages."""
        return netloc(self.host, self.port)

    @property
    def authorization(self) -> str | None:
        """The value of C{Proxy-Authorization}; C{None} for none.  Secret."""
        return None if self.user is None else f"Basic {base64.b64encode(self.user.encode()).decode('ascii')}"


class UnusableProxy(ValueError):
    """A proxy that cannot be used; the text says why, after the name of what holds it, and never holds a secret."""


def netloc(host: str, port: int) -> str:
    """Host and port in one text, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_proxy(url: str) -> ProxyAddress:
    """
    Read the URL of a proxy; without a scheme it is C{http}.

    @raise UnusableProxy: if it is none, or names a proxy of a kind that is not served.
    """
    text = url.strip()
    try:
        parts = urlsplit(text if _WITH_SCHEME.match(text) else f"http://{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise UnusableProxy(_NO_PORT) from None
    if parts.scheme not in ("http", "https"):
        raise UnusableProxy(f"{parts.scheme} proxies are not served; use an http or https proxy")
    if not host or port == 0 or _NOT_IN_URL.search(text) or "@" in parts.path or parts.query or parts.fragment:
        raise UnusableProxy(_NO_PORT)
    try:
        host.encode("idna" if not _address(host) else "ascii")
    except UnicodeError:
        raise UnusableProxy(_NO_PORT) from None
    with_tls = parts.scheme == "https"
    return ProxyAddress(host, port or (443 if with_tls else 80), with_tls, _user(parts))


def _user(parts: SplitResult) -> str | None:
    if parts.username is None and parts.password is None:
        return None
    return f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"


def proxy_of_environ(url: str, environ: Mapping[str, str]) -> ProxyAddress | None:
    """
    The proxy that the environment names for a model server's URL; C{None} if it is to be reached directly.

    @raise UnusableProxy: if that proxy cannot be used; the text begins with the variable's name.
    """
    if environ.keys().isdisjoint(PROXY_VARIABLES):
        return None
    scheme, host, port = target_of(url)
    name = _variable(scheme, environ)
    if name is None or is_loopback(host) or is_exempt(host, port, _first(environ, ("no_proxy", "NO_PROXY"))[1]):
        return None
    return _parsed(name, environ)


def _parsed(name: str, environ: Mapping[str, str]) -> ProxyAddress:
    try:
        return parse_proxy(environ[name])
    except UnusableProxy as error:
        raise UnusableProxy(f"{name}: {error}") from None


def faults_of_environ(environ: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with the variables that count, each as C{NAME: what}."""
    for name in dict.fromkeys(_variable(scheme, environ) for scheme in ("http", "https")):
        if name is not None:
            try:
                _parsed(name, environ)
            except UnusableProxy as error:
                yield str(error)


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> tuple[str, str]:
    """The first of some variables that is there, be it blank, and its value."""
    return next(((name, environ[name].strip()) for name in names if name in environ), ("", ""))


def _variable(scheme: str, environ: Mapping[str, str]) -> str | None:
    """The name of the variable that counts for a scheme."""
    for names in (_HTTPS, _HTTP) if scheme == "https" else (_HTTP,):
        name, value = _first(environ, names)
        if value:
            return name
    name, value = _first(environ, _ALL)
    # It is commonly set for proxies of other kinds, which programs that speak none of them pass over.
    kind = value.partition("://")[0].lower() if _WITH_SCHEME.match(value) else "http"
    return name if value and kind in ("http", "https") else None


def target_of(url: str) -> tuple[str, str, int]:
    """
    Scheme, host (in lower case, without brackets and last dot) and port of a model server's URL.

    @return: with an empty host if the URL is none.
    """
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        return "", "", 0
    return parts.scheme, host, port or (443 if parts.scheme == "https" else 80)


def _address(host: str) -> Address | None:
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_loopback(host: str) -> bool:
    """Whether a host of L{target_of} is this machine, by its name or address; nothing is looked up."""
    address = _address(host)
    if address is not None:
        return address.is_loopback or address.is_unspecified
    return host == "localhost" or host.endswith(".localhost")


def is_exempt(host: str, port: int, no_proxy: str) -> bool:
    """
    Whether a value of C{NO_PROXY} names a host.

    Its entries stand between commas or blanks: C{*}; a name, which means those below it, too, with or without
    C{.} or C{*.} before it; an address; a network such as C{10.0.0.0/8}; C{10.0.*}.  Each but a network may have a
    port behind it.

    @param host: as L{target_of} gives it.
    """
    return any(_names(entry, host, port) for entry in re.split(r"[,\s]+", no_proxy.lower()) if entry)


def _names(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    bracketed = re.fullmatch(r"\[([^\]]+)\](?::(\d+))?", entry)
    named = bracketed or re.fullmatch(r"([^:]+):(\d+)", entry)
    wanted = named.group(1) if named else entry
    if named and named.group(2) and int(named.group(2)) != port:
        return False
    address, other = _address(host), _address(wanted)
    if address is not None:
        if other is not None:
            return address == other
        if "/" in wanted:
            return _in_network(address, wanted)
        octets = "".join(r"\d+" if char == "*" else re.escape(char) for char in wanted)
        rest = r"(\.\d+)*" if wanted.endswith(".*") else ""
        return "*" in wanted and re.fullmatch(octets + rest, str(address)) is not None
    name = re.sub(r"^\*?\.", "", wanted).rstrip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _in_network(address: Address, network: str) -> bool:
    try:
        return address in ip_network(network, strict=False)
    except ValueError:
        return False
