"""The section C{gateway}: the port, who may use it, and what it serves."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Annotated, Literal, Self

import attrs

from openclaw.config.checks import ADDRESS, HEADER_NAME, NETWORK, ORIGIN, Between, Text
from openclaw.config.secret import Secret

DEFAULT_PORT = 18789
"""The original's port, so that its clients find us."""

BindMode = Literal["auto", "loopback", "lan", "tailnet", "custom"]
"""C{gateway.bind}."""

AuthMode = Literal["none", "token", "password", "trusted-proxy"]
"""C{gateway.auth.mode}."""

Problem = Callable[[tuple[str, ...], str], None]
"""How a class tells a problem across its fields: the path below it, and the text."""

WebOrigin = Annotated[str, ORIGIN]
"""C{https://host:port}."""


def _in_lower_case(origins: tuple[str, ...]) -> tuple[str, ...]:
    """Origins in the case that browsers send."""
    return tuple(origin.lower() for origin in origins)


def is_loopback_host(host: str) -> bool:
    """Whether an address or C{localhost} is reached from this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


@attrs.frozen
class RateLimitConfig:
    """
    C{gateway.auth.rateLimit}: how many wrong credentials one client may send.

    @ivar max_attempts: how many wrong ones within the window lock the client out.
    @ivar window_ms: length of the window, milliseconds.
    @ivar lockout_ms: length of the lockout, milliseconds.
    @ivar exempt_loopback: whether clients of this machine are never locked out.
    """

    max_attempts: Annotated[int, Between(1, 1_000_000_000)] = 10
    window_ms: Annotated[int, Between(1, 86_400_000)] = 60_000
    lockout_ms: Annotated[int, Between(1, 86_400_000)] = 300_000
    exempt_loopback: bool = True


@attrs.frozen
class TrustedProxyConfig:
    """
    C{gateway.auth.trustedProxy}: a proxy in front of us that authenticates.

    @ivar user_header: the header that names the user.
    @ivar required_headers: headers that must be there.
    @ivar allow_users: the users that may pass; empty means all.
    @ivar allow_loopback: whether the proxy may run on this machine.
    """

    user_header: Annotated[str, HEADER_NAME]
    required_headers: tuple[Annotated[str, HEADER_NAME], ...] = ()
    allow_users: tuple[Text, ...] = ()
    allow_loopback: bool = False


@attrs.frozen
class AuthConfig:
    """
    C{gateway.auth}.

    L{openclaw.config.auth_mode.effective_auth} says what follows from it and the environment.

    @ivar mode: how callers prove themselves; without it by the one of token and password that is set.
    @ivar token: shared secret of the mode C{token}; whoever has it may do everything.
    @ivar password: shared secret of the mode C{password}; whoever has it may do everything.
    @ivar rate_limit: C{None} if the defaults apply, which treat loopback mildly.
    """

    mode: AuthMode | None = None
    token: Secret | None = None
    password: Secret | None = None
    rate_limit: RateLimitConfig | None = None
    trusted_proxy: TrustedProxyConfig | None = None

    def settled(self, problem: Problem) -> Self:
        """Check that the mode's own settings are there."""
        if self.mode == "trusted-proxy" and self.trusted_proxy is None:
            problem(("trustedProxy",), 'required when gateway.auth.mode is "trusted-proxy"')
        return self


@attrs.frozen
class ChatCompletionsConfig:
    """
    C{gateway.http.endpoints.chatCompletions}.

    @ivar enabled: serve C{POST /v1/chat/completions} and C{GET /v1/models}.
    @ivar reasoning: pass the model's reasoning on to the client.
    """

    enabled: bool = False
    reasoning: bool = False


@attrs.frozen
class ResponsesConfig:
    """
    C{gateway.http.endpoints.responses}.

    @ivar enabled: serve C{GET /v1/models}; C{POST /v1/responses} is not served yet.
    """

    enabled: bool = False


@attrs.frozen
class EndpointsConfig:
    """C{gateway.http.endpoints}: which of the optional routes exist."""

    chat_completions: ChatCompletionsConfig = attrs.field(factory=ChatCompletionsConfig)
    responses: ResponsesConfig = attrs.field(factory=ResponsesConfig)


@attrs.frozen
class CorsConfig:
    """
    C{gateway.http.cors}: browser pages of other origins.

    @ivar allowed_origins: the exact origins that may read our answers, in lower case.
    """

    allowed_origins: tuple[WebOrigin, ...] = attrs.field(default=(), converter=_in_lower_case)


@attrs.frozen
class HttpConfig:
    """C{gateway.http}."""

    endpoints: EndpointsConfig = attrs.field(factory=EndpointsConfig)
    cors: CorsConfig = attrs.field(factory=CorsConfig)


@attrs.frozen
class ControlUiConfig:
    """
    C{gateway.controlUi}.

    @ivar allowed_origins: origins under which this gateway is reached by browsers, in lower case.
    """

    allowed_origins: tuple[WebOrigin, ...] = attrs.field(default=(), converter=_in_lower_case)


@attrs.frozen
class MetricsConfig:
    """
    C{gateway.metrics}.

    @ivar public: whether the metrics need no credential.
    """

    public: bool = False


@attrs.frozen
class ReloadConfig:
    """
    C{gateway.reload}.

    @ivar mode: whether an edit of the file applies while the gateway runs; C{off} keeps what it began with.
    """

    mode: Literal["hybrid", "off"] = "hybrid"


@attrs.frozen
class TlsConfig:
    """
    C{gateway.tls}.  Not served yet, and never ignored where it is on: that would send secrets in the clear.

    @ivar enabled: serve TLS, which is not available yet: C{true} is refused.
    """

    enabled: bool = False

    def settled(self, problem: Problem) -> Self:
        """Refuse it where it is on."""
        if self.enabled:
            problem(("enabled",), "TLS is not available yet; let a proxy on this machine serve it")
        return self


@attrs.frozen
class RemoteConfig:
    """
    C{gateway.remote}: a gateway elsewhere, which the commands of this machine use in C{gateway.mode: "remote"}.

    @ivar url: address of the gateway: C{ws://} or C{wss://}, or C{http://} or C{https://}.
    @ivar token: the token for it.
    @ivar password: the password for it.
    """

    url: Text | None = None
    token: Secret | None = None
    password: Secret | None = None


@attrs.frozen
class GatewayConfig:
    """
    C{gateway}.

    @ivar mode: where the gateway is: C{local} on this machine, also without it; with C{remote} the commands talk to
        C{gateway.remote}, and no gateway runs here.
    @ivar port: TCP port to listen at.
    @ivar bind: who can connect: this machine (C{loopback}, C{auto}), everybody (C{lan}), or who reaches the address in
        C{customBindHost} (C{custom}).
    @ivar custom_bind_host: address to listen at with C{bind: "custom"}.
    @ivar trusted_proxies: addresses and networks whose forwarded headers are believed.
    @ivar shutdown_drain_ms: how long runs may go on after a stop was asked for, milliseconds.
    """

    mode: Literal["local", "remote"] | None = None
    port: Annotated[int, Between(1, 65535)] = DEFAULT_PORT
    bind: BindMode = "loopback"
    custom_bind_host: Annotated[str, ADDRESS] | None = None
    auth: AuthConfig = attrs.field(factory=AuthConfig)
    trusted_proxies: tuple[Annotated[str, NETWORK], ...] = ()
    tls: TlsConfig = attrs.field(factory=TlsConfig)
    http: HttpConfig = attrs.field(factory=HttpConfig)
    control_ui: ControlUiConfig = attrs.field(factory=ControlUiConfig)
    metrics: MetricsConfig = attrs.field(factory=MetricsConfig)
    shutdown_drain_ms: Annotated[int, Between(0, 3_600_000)] = 25_000
    reload: ReloadConfig = attrs.field(factory=ReloadConfig)
    remote: RemoteConfig | None = None

    def settled(self, problem: Problem) -> Self:
        """Check that a custom bind has its address, and a gateway elsewhere its own."""
        if self.mode == "remote" and (self.remote is None or self.remote.url is None):
            problem(("remote", "url"), 'required when gateway.mode is "remote"')
        if self.bind == "custom" and self.custom_bind_host is None:
            problem(("customBindHost",), 'required when gateway.bind is "custom"')
        return self
