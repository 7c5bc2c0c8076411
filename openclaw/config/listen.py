"""
Where the gateway listens: from options and configuration to one endpoint.

An endpoint that is given as a string decides what the configuration's C{bind} would have: whether the gateway can be
reached from this machine only, and whether C{Host} headers mean anything.
"""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint, serverFromString
from twisted.internet.interfaces import IStreamServerEndpoint

from openclaw.config.auth_mode import bind_host
from openclaw.config.gateway import is_loopback_host
from openclaw.config.schema import Config
from openclaw.errors import StartError

BACKLOG = 1024
"""Connections that may wait to be accepted."""

_ARGUMENTS = {
    "tcp": ("port", "interface", "backlog"),
    "tcp6": ("port", "backlog", "interface"),
    "unix": ("address", "mode", "backlog", "lockfile"),
}
"""What arguments of an endpoint description are called where they stand without a name; all of these have a backlog."""


@attrs.frozen
class Listening:
    """
    Where to listen.

    @ivar host: the interface's address; C{None} on a unix socket or one that systemd passed.
    @ivar port: the TCP port; 0 where there is none or any will do.
    @ivar description: a Twisted endpoint description that stands for both; C{None} to use them.
    @ivar on_loopback_bind: whether only this machine can reach it.
    """

    host: str | None
    port: int
    description: str | None
    on_loopback_bind: bool

    def endpoint(self, reactor: Any) -> IStreamServerEndpoint:
        """The endpoint itself."""
        if self.description is not None:
            kind, arguments = _arguments(self.description)
            # Twisted's own is 50, which a burst of clients exceeds.
            backlog = f":backlog={BACKLOG}" if kind in _ARGUMENTS and "backlog" not in arguments else ""
            endpoint: IStreamServerEndpoint = serverFromString(reactor, self.description + backlog)
            return endpoint
        host = self.host or "127.0.0.1"
        of_family = TCP6ServerEndpoint if ":" in host else TCP4ServerEndpoint
        bound: IStreamServerEndpoint = of_family(reactor, self.port, backlog=BACKLOG, interface=host)
        return bound

    def url(self, port: int | None = None) -> str:
        """Where a client on this machine finds it."""
        if self.host is None:
            return self.description or ""
        return local_url(self.host, port or self.port)


def local_url(host: str, port: int) -> str:
    """Where a client on this machine finds what listens at C{host}, which may mean all of its addresses."""
    near = "127.0.0.1" if host in ("0.0.0.0", "") else "::1" if host == "::" else host  # noqa: S104
    return f"http://{f'[{near}]' if ':' in near else near}:{port}"


def listening_of(config: Config, port: int) -> Listening:
    """
    Where the configuration says.

    @raise StartError: if its C{bind} is not available.
    """
    host = bind_host(config)
    return Listening(host, port, None, is_loopback_host(host))


def listening_at(description: str) -> Listening:
    """
    Where a Twisted endpoint description says: C{tcp}, C{tcp6}, C{unix} or C{systemd}.

    @raise StartError: if it is none of these, or malformed.
    """
    kind, arguments = _arguments(description)
    if kind in ("tcp", "tcp6"):
        port = arguments.get("port", "")
        if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
            raise StartError(f"--endpoint: {description!r} names no TCP port")
        host = arguments.get("interface", "::" if kind == "tcp6" else "0.0.0.0")  # noqa: S104
        return Listening(host, int(port), description, is_loopback_host(host))
    if kind == "unix":
        return Listening(None, 0, description, on_loopback_bind=True)
    if kind == "systemd":
        # What socket systemd passes is not known here: the careful answer is that anybody can reach it.
        return Listening(None, 0, description, on_loopback_bind=False)
    raise StartError(f"--endpoint: {kind!r} is not served; use tcp, tcp6, unix or systemd")


def _arguments(description: str) -> tuple[str, dict[str, str]]:
    """The kind of an endpoint description, and its arguments by name; of two of one name, the named one."""
    kind, *parts = _split(description)
    positional = [part for part in parts if "=" not in part]
    named = dict(part.partition("=")[::2] for part in parts if "=" in part)
    return kind, {**dict(zip(_ARGUMENTS.get(kind, ()), positional, strict=False)), **named}


def _split(description: str) -> list[str]:
    """The parts of an endpoint description; a backslash takes a colon's meaning away."""
    parts = [""]
    letters = iter(description)
    for letter in letters:
        if letter == "\\":
            parts[-1] += next(letters, "")
        elif letter == ":":
            parts.append("")
        else:
            parts[-1] += letter
    return parts
