"""
Which gateway a command talks to, with which credential, and how its failures are told.

A credential goes only where it was meant for: what the configuration holds is sent to the gateway of the
configuration, and to another place only if the caller gave it together with that place.
"""

from __future__ import annotations

import ipaddress
import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import urlsplit

import attrs
import click

from openclaw.cli.output import State, print_json
from openclaw.errors import ConfigError, OpenClawError, StartError

if TYPE_CHECKING:
    from openclaw.config.load import LoadedConfig

TargetKind = Literal["explicit", "configRemote", "localLoopback"]
"""The original's names for where a gateway's address came from."""

DEFAULT_TIMEOUT_S = 10.0
"""How long a command waits for an answer unless told otherwise, in seconds."""

ALLOW_INSECURE = "OPENCLAW_ALLOW_INSECURE_WS"
"""The variable that lets a secret go over the open network without TLS."""

_SCHEMES = {"ws": False, "wss": True, "http": False, "https": True}
_LOCAL_SUFFIXES = (".local", ".localhost", ".internal", ".ts.net")

Command = TypeVar("Command", bound=Callable[..., Any])


class RemoteError(OpenClawError):
    """
    What was asked of a gateway did not happen.

    @cvar kind: the C{type} in the envelope of C{--json}; the names are the original's.
    @ivar told_code: a code for programs, the gateway's or that of a close frame.
    @ivar told_details: what the gateway said besides, for programs.
    """

    kind = "cli_error"

    def __init__(self, message: str, *, code: str | int | None = None, details: Any = None) -> None:
        super().__init__(message)
        self.told_code = code
        self.told_details = details

    def envelope(self) -> dict[str, Any]:
        """The failure as C{--json} prints it."""
        error: dict[str, Any] = {"type": self.kind, "message": self.message}
        if self.told_code is not None:
            error["code"] = self.told_code
        if self.told_details is not None:
            error["details"] = self.told_details
        return {"ok": False, "error": error}


class GatewayUnreachable(RemoteError):
    """There is no gateway to talk to, or it went away; C{code} is that of the close frame, where there was one."""

    kind = "gateway_transport_error"


class ConnectionEnded(GatewayUnreachable):
    """A connection that worked has ended."""


class NoAnswer(GatewayUnreachable):
    """A call was not answered in time."""


class CallFailed(RemoteError):
    """The gateway refused a call or the connection; the code and the details are its own."""

    kind = "gateway_request_error"

    @property
    def detail_code(self) -> str:
        """The C{code} in the details, which says more than that of the error; empty if there is none."""
        code = self.told_details.get("code") if isinstance(self.told_details, dict) else None
        return code if isinstance(code, str) else ""


@attrs.frozen
class Remote:
    """
    A gateway and the credential for it.

    @ivar url: C{ws://host:port} or C{wss://host:port}, with a path where one was given.
    @ivar source: where the address came from, for people.
    @ivar kind: the same in the original's terms.
    @ivar secret: the credential; C{None} if there is none.
    @ivar secret_kind: which field it goes into.
    @ivar secret_source: where it came from, or why there is none.
    """

    url: str
    host: str
    port: int
    is_tls: bool
    source: str
    kind: TargetKind
    secret: str | None = attrs.field(repr=False)
    secret_kind: Literal["token", "password"]
    secret_source: str


@attrs.frozen
class RemoteOptions:
    """What the command line says about the gateway; C{None} where it says nothing."""

    url: str | None = None
    token: str | None = attrs.field(default=None, repr=False)
    password: str | None = attrs.field(default=None, repr=False)


def remote_options(command: Command) -> Command:
    """The options that choose a gateway: C{--url}, C{--token} and C{--password}."""
    options = (
        click.option("--url", help="Gateway to talk to (ws://, wss://, http://, https://)."),
        click.option("--token", help="Token for it."),
        click.option("--password", help="Password for it."),
    )
    for option in reversed(options):
        command = option(command)
    return command


class Seconds(click.FloatRange):
    """A length of time on the command line, in seconds.  C{nan}, which passes any comparison with bounds, is none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number."""
        seconds = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f"{value!r} is not a length of time.", param, ctx)
        return seconds


def timeout_option(default_s: float = DEFAULT_TIMEOUT_S) -> Callable[[Command], Command]:
    """The option C{--timeout}, in seconds."""
    return click.option(
        "--timeout",
        "timeout_s",
        type=Seconds(0.1, 600),
        default=default_s,
        show_default=True,
        metavar="SECONDS",
        help="How long to wait for an answer.",
    )


def find_remote(state: State, options: RemoteOptions = RemoteOptions()) -> Remote:
    """
    Find the gateway that a command means: C{--url}, else C{OPENCLAW_GATEWAY_URL}, else C{gateway.remote} where
    C{gateway.mode} is C{remote}, else the one that the configuration would start on this machine.

    @raise OpenClawError: if the address is none, or a secret would go over the open network.
    @raise ConfigError: if the configuration is needed and cannot be used.
    """
    if options.token is not None and options.password is not None:
        raise click.UsageError("--token and --password exclude each other")
    given = (options.url, "--url") if options.url is not None else (_variable("OPENCLAW_GATEWAY_URL"), "")
    if given[0]:
        remote = _explicit(state, given[0], given[1] or "OPENCLAW_GATEWAY_URL")
    else:
        remote = _configured(state.load())
    secret = _secret_of_options(options)
    if secret is not None:
        remote = attrs.evolve(remote, secret=secret[0], secret_kind=secret[1], secret_source=secret[2])
    _refuse_open_network(remote)
    return remote


def _variable(name: str) -> str:
    return os.environ.get(name, "").strip()


def _secret_of_options(options: RemoteOptions) -> tuple[str, Literal["token", "password"], str] | None:
    if options.token is not None:
        return options.token.strip(), "token", "--token"
    if options.password is not None:
        return options.password.strip(), "password", "--password"
    return None


def parse_url(text: str, source: str) -> tuple[str, str, int, bool]:
    """
    Read a gateway's address.

    @param source: where it stands, for the message.
    @return: the C{ws} URL, host, port, and whether it is TLS.
    @raise OpenClawError: if it is none.
    """
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
    shown = f"[{host}]" if ":" in host else host
    return f"{'wss' if is_tls else 'ws'}://{shown}:{port}{parts.path.rstrip('/')}", host, port, is_tls


def _explicit(state: State, text: str, source: str) -> Remote:
    """A gateway whose address was given for this command."""
    url, host, port, is_tls = parse_url(text, source)
    remote = Remote(url, host, port, is_tls, source, "explicit", None, "token", f"none was given with {source}")
    kinds: tuple[Literal["token", "password"], ...] = ("token", "password")
    for kind in kinds:
        variable = f"OPENCLAW_GATEWAY_{kind.upper()}"
        if _variable(variable):
            return attrs.evolve(remote, secret=_variable(variable), secret_kind=kind, secret_source=variable)
    try:
        configured = _configured(state.load())
    except OpenClawError:
        return remote
    if _place(configured) != _place(remote):
        return remote
    # it is the configured gateway under the same or another spelling
    return attrs.evolve(
        remote,
        secret=configured.secret,
        secret_kind=configured.secret_kind,
        secret_source=configured.secret_source,
    )


def _place(remote: Remote) -> tuple[str, int, bool]:
    from openclaw.config.gateway import is_loopback_host

    host = "localhost" if is_loopback_host(remote.host) else remote.host.lower()
    return host, remote.port, remote.is_tls


def _configured(loaded: LoadedConfig) -> Remote:
    """The gateway of the configuration."""
    if loaded.config.gateway.mode == "remote":
        return _configured_remote(loaded)
    from openclaw.config.auth_mode import bind_host, effective_auth, listen_port

    host, port = bind_host(loaded.config), listen_port(loaded.config, loaded.environ)
    if host in ("0.0.0.0", "::"):  # noqa: S104 -- compared, not listened at
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"  # noqa: S104
    shown = f"[{host}]" if ":" in host else host
    secret, kind, source = None, "token", 'gateway.auth.mode is "none"'
    try:
        auth = effective_auth(loaded.config, loaded.environ)
    except StartError as error:
        # Whether a gateway runs is the more important answer; it will say itself that it wants a credential.
        source = error.message
    else:
        if auth.secret is not None:
            secret, kind, source = auth.secret.reveal(), auth.mode, f"the configuration ({loaded.path})"
    return Remote(
        url=f"ws://{shown}:{port}",
        host=host,
        port=port,
        is_tls=False,
        source="the configuration",
        kind="localLoopback",
        secret=secret,
        secret_kind="password" if kind == "password" else "token",
        secret_source=source,
    )


def _configured_remote(loaded: LoadedConfig) -> Remote:
    """The gateway of C{gateway.remote}."""
    section = loaded.config.gateway.remote
    # Without them such a configuration is refused.
    assert section is not None and section.url is not None
    url, host, port, is_tls = parse_url(section.url, "gateway.remote.url")
    remote = Remote(url, host, port, is_tls, "gateway.remote.url", "configRemote", None, "token", "none is configured")
    kinds: tuple[Literal["token", "password"], ...] = ("token", "password")
    for kind in kinds:
        written = section.token if kind == "token" else section.password
        if written is not None and written.missing:
            problem = f"gateway.remote.{kind}: environment variable not set: {', '.join(written.missing)}"
            raise ConfigError([problem], str(loaded.path))
        for secret, source in (
            (written.reveal().strip() if written is not None else "", f"gateway.remote.{kind}"),
            (_variable(f"OPENCLAW_GATEWAY_{kind.upper()}"), f"OPENCLAW_GATEWAY_{kind.upper()}"),
        ):
            if secret:
                return attrs.evolve(remote, secret=secret, secret_kind=kind, secret_source=source)
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
    if remote.is_tls or remote.secret is None or is_near(remote.host) or _variable(ALLOW_INSECURE) == "1":
        return
    raise OpenClawError(
        f"{remote.url} would carry the credential in the clear over the network: use wss://, or set {ALLOW_INSECURE}=1"
    )


def tell_failure(error: RemoteError, *, as_json: bool) -> int:
    """Print a failure on standard error, and as JSON on standard output; give the exit status."""
    if as_json:
        print_json(error.envelope())
    click.echo(f"openclaw: {error.message}", err=True)
    return 1
