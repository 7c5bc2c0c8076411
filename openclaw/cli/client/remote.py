"""
Which gateway a command talks to, with which credential, and as whom.

A credential goes only where it was meant for: what the configuration holds is sent to the gateway of the
configuration, and to another place only if the caller gave it together with that place.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import attrs
import click

from openclaw.cli.options import gathered, together
from openclaw.cli.output import State
from openclaw.config.auth_mode import bind_host, effective_auth, listen_port
from openclaw.config.gateway import is_loopback_host
from openclaw.config.lock import lock_holder
from openclaw.errors import ConfigError, OpenClawError, StartError

if TYPE_CHECKING:
    from openclaw.config.load import LoadedConfig

TargetKind = Literal["explicit", "configRemote", "localLoopback"]
"""The original's names for where a gateway's address came from."""

SecretKind = Literal["token", "password"]

ALLOW_INSECURE = "OPENCLAW_ALLOW_INSECURE_WS"
"""The variable that lets a secret go over the open network without TLS."""

_SECRET_KINDS: tuple[SecretKind, ...] = ("token", "password")
_SCHEMES = {"ws": False, "wss": True, "http": False, "https": True}
_LOCAL_SUFFIXES = (".local", ".localhost", ".internal", ".ts.net")


class NoAddress(OpenClawError):
    """The gateway that runs listens where commands do not reach it."""


@attrs.frozen
class GatewayUrl:
    """Where a gateway is: C{ws://host:port} or C{wss://host:port}, with a path where one was given; and its parts."""

    text: str
    host: str
    port: int
    is_tls: bool


@attrs.frozen
class GatewaySecret:
    """
    The credential for a gateway.

    @ivar kind: which field it goes into.
    @ivar source: where it came from, or why there is none.
    @ivar value: C{None} if there is none.
    """

    kind: SecretKind
    source: str
    value: str | None = attrs.field(default=None, repr=False)


@attrs.frozen
class Remote:
    """
    A gateway and the credential for it.

    @ivar source: where the address came from, for people.
    @ivar kind: the same in the original's terms.
    @ivar pid: the process that has the state folder, if this is its gateway; 0 if it cannot be told which, C{None} if
        there is none.
    """

    address: GatewayUrl
    source: str
    kind: TargetKind
    secret: GatewaySecret
    pid: int | None = None

    @property
    def url(self) -> str:
        """Its address as it is shown."""
        return self.address.text


@attrs.frozen
class RemoteOptions:
    """What the command line says about the gateway; C{None} where it says nothing."""

    url: str | None = None
    token: str | None = attrs.field(default=None, repr=False)
    password: str | None = attrs.field(default=None, repr=False)

    @property
    def secret(self) -> GatewaySecret | None:
        """The credential that it gives; a C{click.UsageError} if it gives two."""
        if self.token is not None and self.password is not None:
            raise click.UsageError("--token and --password exclude each other")
        if self.token is not None:
            return GatewaySecret("token", "--token", self.token.strip())
        if self.password is not None:
            return GatewaySecret("password", "--password", self.password.strip())
        return None


@attrs.frozen
class Introduction:
    """
    What a client says of itself.

    @ivar scopes: what it wants to be allowed; no more than it needs.
    @ivar mode: C{probe} talks to gateways of older versions too, and may do next to nothing.
    """

    scopes: Sequence[str] = ("operator.read",)
    mode: Literal["cli", "probe"] = "cli"


READER = Introduction()
"""A client that only reads."""


remote_options = together(
    click.option("--url", help="Gateway to talk to (ws://, wss://, http://, https://)."),
    click.option("--token", help="Token for it."),
    click.option("--password", help="Password for it."),
    gathered("where", RemoteOptions),
)
"""The options that choose a gateway, as the argument C{where}."""


def find_remote(state: State, where: RemoteOptions = RemoteOptions()) -> Remote:
    """
    Find the gateway that a command means: C{--url}, else C{OPENCLAW_GATEWAY_URL}, else C{gateway.remote} where
    C{gateway.mode} is C{remote}, else the one that runs on the state folder, wherever it listens, else the one that
    the configuration would start on this machine.

    @raise OpenClawError: if the address is none, or a secret would go over the open network.
    @raise ConfigError: if the configuration is needed and cannot be used.
    """
    secret = where.secret
    if where.url:
        remote = _explicit(state, where.url, "--url")
    elif where.url is None and (url := _variable("OPENCLAW_GATEWAY_URL")):
        remote = _explicit(state, url, "OPENCLAW_GATEWAY_URL")
    else:
        remote = _running(state, _configured(state.load()))
    if secret is not None:
        remote = attrs.evolve(remote, secret=secret)
    _refuse_open_network(remote)
    return remote


def _variable(name: str) -> str:
    return os.environ.get(name, "").strip()


def parse_url(text: str, source: str) -> GatewayUrl:
    """Read a gateway's address, which stands in C{source}; an L{OpenClawError} if it is none."""
    wrong = f"{source}: expected ws://host:port or wss://host:port"
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError:
        raise OpenClawError(wrong) from None
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise OpenClawError(wrong)
    if parts.username is not None or parts.password is not None:
        raise OpenClawError(f"{source}: a credential does not belong into the URL; use --token or --password")
    if any(not character.isprintable() or character.isspace() for character in text.strip()):
        raise OpenClawError(wrong)
    is_tls = _SCHEMES[parts.scheme]
    port = port if port is not None else 443 if is_tls else 80
    host = parts.hostname
    scheme = "wss" if is_tls else "ws"
    return GatewayUrl(f"{scheme}://{_in_url(host)}:{port}{parts.path.rstrip('/')}", host, port, is_tls)


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _explicit(state: State, text: str, source: str) -> Remote:
    """A gateway whose address was given for this command."""
    secret = next(filter(None, map(_secret_of_environment, _SECRET_KINDS)), None)
    remote = Remote(
        parse_url(text, source), source, "explicit", secret or GatewaySecret("token", f"none was given with {source}")
    )
    if secret is not None:
        return remote
    try:
        configured = _configured(state.load())
        places = {_place(configured)}
        with suppress(OpenClawError):
            places.add(_place(_running(state, configured)))
    except OpenClawError:
        return remote
    # else it is the configured gateway, or the one that runs, under the same or another spelling
    return remote if _place(remote) not in places else attrs.evolve(remote, secret=configured.secret)


def _secret_of_environment(kind: SecretKind) -> GatewaySecret | None:
    name = f"OPENCLAW_GATEWAY_{kind.upper()}"
    return GatewaySecret(kind, name, _variable(name)) if _variable(name) else None


def _place(remote: Remote) -> tuple[str, int, bool]:
    address = remote.address
    host = "localhost" if is_loopback_host(address.host) else address.host.lower()
    return host, address.port, address.is_tls


def _configured(loaded: LoadedConfig) -> Remote:
    """The gateway of the configuration."""
    if loaded.config.gateway.mode == "remote":
        return _configured_remote(loaded)
    host, port = bind_host(loaded.config), listen_port(loaded.config, loaded.environ)
    if host in ("0.0.0.0", "::"):  # noqa: S104 -- compared, not listened at
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"  # noqa: S104
    secret = GatewaySecret("token", 'gateway.auth.mode is "none"')
    try:
        auth = effective_auth(loaded.config, loaded.environ)
    except StartError as error:
        # Whether a gateway runs is the more important answer; it will say itself that it wants a credential.
        secret = GatewaySecret("token", error.message)
    else:
        if auth.secret is not None:
            kind: SecretKind = "password" if auth.mode == "password" else "token"
            secret = GatewaySecret(kind, f"the configuration ({loaded.path})", auth.secret.reveal())
    address = GatewayUrl(f"ws://{_in_url(host)}:{port}", host, port, is_tls=False)
    return Remote(address, "the configuration", "localLoopback", secret)


def _running(state: State, configured: Remote) -> Remote:
    """
    The gateway that runs on the state folder, in the place of the one that would be started.

    @raise NoAddress: if commands cannot reach it.
    """
    holder = lock_holder(state.paths.lock_path) if configured.kind == "localLoopback" else None
    if holder is None:
        return configured
    if not holder.url:
        return attrs.evolve(configured, pid=holder.pid)
    if not holder.url.startswith("http://"):
        raise NoAddress(
            f"the gateway of {state.paths.state_dir} listens at {holder.url}, where commands do not reach it; "
            "name a proxy in front of it with --url"
        )
    address = parse_url(holder.url, str(state.paths.lock_path))
    if address == configured.address:
        return attrs.evolve(configured, pid=holder.pid)
    return attrs.evolve(configured, address=address, source="the gateway's own lock file", pid=holder.pid)


def _configured_remote(loaded: LoadedConfig) -> Remote:
    """The gateway of C{gateway.remote}."""
    section = loaded.config.gateway.remote
    # Without them such a configuration is refused.
    assert section is not None and section.url is not None
    source, none = "gateway.remote.url", GatewaySecret("token", "none is configured")
    remote = Remote(parse_url(section.url, source), source, "configRemote", none)
    for kind in _SECRET_KINDS:
        written = section.token if kind == "token" else section.password
        if written is not None and written.missing:
            problem = f"gateway.remote.{kind}: environment variable not set: {', '.join(written.missing)}"
            raise ConfigError([problem], str(loaded.path))
        value = written.reveal().strip() if written is not None else ""
        secret = GatewaySecret(kind, f"gateway.remote.{kind}", value) if value else _secret_of_environment(kind)
        if secret is not None:
            return attrs.evolve(remote, secret=secret)
    return remote


def is_near(host: str) -> bool:
    """Whether a host is this machine, or on a network that is not the open one."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        name = host.lower().rstrip(".")
        return "." not in name or name.endswith(_LOCAL_SUFFIXES)
    shared = ipaddress.ip_network("100.64.0.0/10")
    return address.is_loopback or address.is_private or address.is_link_local or address in shared


def _refuse_open_network(remote: Remote) -> None:
    address = remote.address
    if address.is_tls or remote.secret.value is None or is_near(address.host) or _variable(ALLOW_INSECURE) == "1":
        return
    raise OpenClawError(
        f"{remote.url} would carry the credential in the clear over the network: use wss://, or set {ALLOW_INSECURE}=1"
    )
