"""
The one door of access: a request's head goes in, a L{Caller} or an error comes out.

Order: Host, CORS preflight, the client behind a proxy, credential, Origin.  Health routes are served before all this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import attrs

from openclaw.auth.client import Client, client_of_peer
from openclaw.auth.connect import OPERATOR, ConnectAdmission, ConnectClaim, ConnectRefusal, ConnectRules, judge_connect
from openclaw.auth.credentials import is_secret, presented_secret, secret_digest
from openclaw.auth.head import RequestHead
from openclaw.auth.origin import (
    check_host,
    check_page_origin,
    check_page_type,
    cors_headers,
    hosts_of,
    listed_origins,
    preflight,
)
from openclaw.auth.proxy import TrustedProxies, resolve_client
from openclaw.auth.ratelimit import FailureLimiter
from openclaw.auth.scopes import ALL_SCOPES, OPEN_BEYOND_LOOPBACK, declared_scopes
from openclaw.config.auth_mode import effective_auth
from openclaw.config.gateway import RateLimitConfig
from openclaw.config.schema import Config
from openclaw.errors import Forbidden, Unauthorized
from openclaw.interfaces import Caller, Clock
from openclaw.log_rare import RareLines


@attrs.frozen
class Credential:
    """
    What callers must show; two are equal if the same lets them in.

    @ivar mode: C{none}, C{token} or C{password}.
    @ivar digest: of the secret; C{None} if none is needed.
    """

    mode: Literal["none", "token", "password"]
    digest: bytes | None = attrs.field(repr=False)


@attrs.frozen
class _Rules:
    """One configuration, prepared for many requests."""

    connect: ConnectRules
    limits: RateLimitConfig
    hosts: frozenset[str]
    cors_origins: frozenset[bytes]


def _prepare(config: Config, environ: Mapping[str, str], on_loopback_bind: bool) -> _Rules:
    gateway = config.gateway
    auth = effective_auth(config, environ)
    secret = auth.secret.reveal().encode() if auth.secret else None
    return _Rules(
        connect=ConnectRules(
            mode=auth.mode,
            digest=secret_digest(secret) if secret else None,
            proxies=TrustedProxies.parse(gateway.trusted_proxies),
            origins=listed_origins(gateway.control_ui.allowed_origins),
            on_loopback_bind=on_loopback_bind,
        ),
        limits=gateway.auth.rate_limit or RateLimitConfig(),
        hosts=hosts_of(gateway.control_ui.allowed_origins),
        cors_origins=listed_origins(gateway.http.cors.allowed_origins),
    )


class AccessPolicy:
    """
    Decides who may call, from the configuration as it is at that moment.

    Nothing here waits: an error that is to be answered late says so (L{Unauthorized.delay_s}).  If the configuration
    in force gives no usable credential, every method raises that L{openclaw.errors.OpenClawError}: nobody gets in.

    @ivar rare: tells the log of who is refused.
    """

    def __init__(
        self,
        current_config: Callable[[], Config],
        environ: Mapping[str, str],
        clock: Clock,
        *,
        on_loopback_bind: bool,
        rare: RareLines | None = None,
    ) -> None:
        """
        @param current_config: gives the configuration in force; the same object as long as nothing changed.
        @param environ: the environment, which may hold the secret.
        @param clock: for the limits.
        @param on_loopback_bind: true if the gateway can be reached from this machine only: loopback addresses and
            unix sockets.  Otherwise mode C{none} lets nobody in.
        @param rare: tells the log of who is refused.
        """
        self._current_config = current_config
        self._environ = environ
        self._on_loopback_bind = on_loopback_bind
        self.rare = rare if rare is not None else RareLines(clock.seconds)
        self._limiter = FailureLimiter(clock, lambda: self._rules().limits, self.rare)
        self._prepared: tuple[Config, _Rules] | None = None

    def _rules(self) -> _Rules:
        config = self._current_config()
        prepared = self._prepared
        if prepared is None or prepared[0] is not config:
            prepared = self._prepared = (config, _prepare(config, self._environ, self._on_loopback_bind))
        return prepared[1]

    @property
    def credential(self) -> Credential:
        """What callers must show now."""
        needed = self._rules().connect
        return Credential(needed.mode, needed.digest)

    def check_host(self, head: RequestHead) -> None:
        """
        Apply the Host rule alone; for routes that need no credential, and for WebSocket upgrades.

        @raise openclaw.errors.InvalidRequest: see L{openclaw.auth.origin.check_host}.
        @raise openclaw.errors.Forbidden: C{host_not_allowed}.
        """
        check_host(head, self._rules().hosts)

    def preflight(self, head: RequestHead) -> dict[bytes, bytes] | None:
        """
        Answer a CORS preflight; to be asked before L{authenticate}, as browsers send no credential with it.

        @return: the headers of a 204 answer, or C{None}: go on.
        @raise openclaw.errors.InvalidRequest: as L{check_host}, and for more than one C{Origin}.
        @raise openclaw.errors.Forbidden: C{host_not_allowed}.
        """
        if head.method != b"OPTIONS":
            return None
        rules = self._rules()
        check_host(head, rules.hosts)
        return preflight(head, rules.cors_origins)

    def cors_headers(self, head: RequestHead) -> dict[bytes, bytes]:
        """Headers for every answer to this request, errors too; see L{openclaw.auth.origin.cors_headers}."""
        return cors_headers(head, self._rules().cors_origins)

    def check_origin(self, head: RequestHead) -> None:
        """
        Apply the rules for web pages.

        @raise openclaw.errors.Forbidden: C{origin_not_allowed}, in mode C{none}.
        @raise openclaw.errors.UnsupportedMedia: for a page's simple post, in every mode.
        """
        rules = self._rules()
        if rules.connect.mode == "none":
            check_page_origin(head, rules.cors_origins | rules.connect.origins)
        check_page_type(head)

    def authenticate(self, head: RequestHead) -> Caller:
        """
        Decide who makes a request.

        @return: the caller with its scopes.
        @raise openclaw.errors.InvalidRequest: for a malformed or missing Host, or a repeated header.
        @raise openclaw.errors.Forbidden: a foreign Host, a client that no proxy vouches for, a foreign Origin.
        @raise openclaw.errors.LockedOut: after too many wrong credentials.
        @raise Unauthorized: no credential, or a wrong one; to be answered after its C{delay_s}.
        @raise openclaw.errors.UnsupportedMedia: for a page's simple post.
        """
        rules = self._rules()
        check_host(head, rules.hosts)
        client = resolve_client(head, rules.connect.proxies)
        if rules.connect.mode == "none":
            if not self._on_loopback_bind:
                raise Unauthorized(OPEN_BEYOND_LOOPBACK)
            scopes = declared_scopes(head)
        else:
            self._check_secret(head, client, rules.connect)
            scopes = ALL_SCOPES
        self.check_origin(head)
        return Caller(OPERATOR, scopes, client.address)

    def judge_connect(self, head: RequestHead, claim: ConnectClaim) -> ConnectAdmission | ConnectRefusal:
        """
        Decide about a WebSocket client's C{connect}; see L{openclaw.auth.connect.judge_connect}.

        The Host was judged at the upgrade, by L{check_host}.

        @raise openclaw.errors.InvalidRequest: for a repeated header.
        """
        return judge_connect(head, claim, self._rules().connect, self._limiter)

    def client_of(self, head: RequestHead) -> Client:
        """Who a request comes from, for limits that count clients: the peer where no listed proxy names another."""
        try:
            return resolve_client(head, self._rules().connect.proxies)
        except Forbidden:
            return client_of_peer(head.peer)

    def _check_secret(self, head: RequestHead, client: Client, needed: ConnectRules) -> None:
        presented = presented_secret(head)
        self._limiter.check(client)
        if presented is None:
            fault, delay_s = "no", 0.0
        elif needed.digest is None or not is_secret(presented, needed.digest):
            fault, delay_s = "wrong", self._limiter.failed(client)
        else:
            return
        advice = f'send the gateway\'s {needed.mode} as "Authorization: Bearer <{needed.mode}>"'
        raise Unauthorized(f"unauthorized: {fault} credential; {advice}", delay_s=delay_s)
