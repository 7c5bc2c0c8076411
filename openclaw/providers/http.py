"""
The HTTP client that talks to model servers: its connections, and a request up to the head of its answer.

What comes after the head is in L{openclaw.providers.body}.
"""

from __future__ import annotations

from collections.abc import Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any, cast

import attrs
from hyperlink import EncodedURL
from treq.client import HTTPClient
from treq.cookies import IndexableCookieJar
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.error import TimeoutError  # noqa: A004 - Twisted's, not the built-in one
from twisted.internet.interfaces import (
    IConsumer,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.protocols.policies import WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import (
    URI,
    Agent,
    HTTPConnectionPool,
    ProxyAgent,
)
from twisted.web.error import SchemeNotSupported
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer, IPolicyForHTTPS, IResponse
from zope.interface import implementer

from openclaw.config.proxies import ProxyAddress
from openclaw.errors import ProviderTimeout
from openclaw.interfaces import Clock
from openclaw.providers.body import ProviderConnection, discard
from openclaw.providers.failures import NETWORK_ERRORS, error_of_network
from openclaw.providers.proxy import ProxyEndpoint, ProxyFault, ProxyingAgent
from openclaw.providers.trust import MACHINE_TRUST, Trust, TrustPolicy
from openclaw.twisted_internals import ClientPool
from openclaw.waits import within

CONNECT_TIMEOUT_S = 5.0
"""Seconds for resolving the host's name and opening a connection, TLS included."""

MAX_IDLE_CONNECTIONS_PER_HOST = 64
"""Idle connections that are kept for further requests to the same host."""

IDLE_CONNECTION_S = 4.0
"""Seconds that an idle connection is kept: less than the 5 s after which common servers close theirs."""


class _ConnectionFactory(WrappingFactory):
    noisy = False
    protocol = ProviderConnection


@implementer(IStreamClientEndpoint)
class _ClientEndpoint:
    """
    An endpoint whose connections are L{ProviderConnection}s, with one deadline for resolving, connecting and shaking
    hands.

    @param with_tls: whether C{endpoint} speaks TLS, which the library agrees on only after it has connected.
    @param proxy: the proxy on the way, for messages.
    """

    def __init__(
        self,
        reactor: Any,
        endpoint: IStreamClientEndpoint,
        connect_timeout_s: float,
        *,
        with_tls: bool,
        proxy: ProxyAddress | None,
    ) -> None:
        self._reactor = reactor
        self._endpoint = endpoint
        self._with_tls = with_tls
        self._proxy = proxy
        self._connect_timeout_s = connect_timeout_s

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        def timed_out(result: object, timeout_s: float) -> Failure:
            return Failure(TimeoutError() if self._proxy is None else ProxyFault(self._proxy, "", is_late=True))

        def secured(connection: IProtocol) -> Deferred[IProtocol]:
            return cast("Deferred[IProtocol]", cast(ProviderConnection, connection).secured())

        connecting = self._endpoint.connect(cast(Any, _ConnectionFactory)(protocolFactory))
        if self._with_tls:
            connecting = connecting.addCallback(secured)
        within(connecting, self._connect_timeout_s, self._reactor, timed_out)
        return connecting.addCallback(lambda connection: cast(ProviderConnection, connection).wrappedProtocol)


@attrs.frozen
class Way:
    """
    The way to a model server.

    @ivar proxy: the proxy that leads there; C{None} for none.
    @ivar trust: how the server's certificate is checked.
    @ivar proxy_trust: how that of the proxy is, where it is spoken to over TLS.
    """

    proxy: ProxyAddress | None = None
    trust: Trust = MACHINE_TRUST
    proxy_trust: Trust = MACHINE_TRUST


DIRECT = Way()
"""No proxy, and the authorities of this machine."""


@implementer(IAgentEndpointFactory)
class _EndpointFactory:
    """@param tls_policy: checks the certificates of servers."""

    def __init__(self, reactor: Any, connect_timeout_s: float, tls_policy: IPolicyForHTTPS, way: Way) -> None:
        self._reactor = reactor
        self._connect_timeout_s = connect_timeout_s
        self._tls_policy = tls_policy
        self._proxy = way.proxy
        self._proxy_policy = TrustPolicy(way.proxy_trust)

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        if uri.scheme not in (b"http", b"https"):
            raise SchemeNotSupported(f"not http: {uri.scheme!r}")
        host = uri.host.decode("ascii")
        if self._proxy is None:
            endpoint = self._to(host, uri.port)
        else:
            endpoint = ProxyEndpoint(self._to_proxy(self._proxy), self._proxy, (host, uri.port))
        with_tls = uri.scheme == b"https"
        if with_tls:
            endpoint = wrapClientTLS(self._tls_policy.creatorForNetloc(uri.host, uri.port), endpoint)
        return self._bounded(endpoint, with_tls=with_tls)

    def endpoint_for_proxy(self, proxy: ProxyAddress) -> IStreamClientEndpoint:
        """The way to the proxy itself."""
        return self._bounded(ProxyEndpoint(self._to_proxy(proxy), proxy), with_tls=proxy.with_tls)

    def _to(self, host: str, port: int) -> Any:
        # The library resolves an address too, in a thread, and a refusal then takes it 0.3 s.
        kind = (
            TCP4ClientEndpoint if isIPAddress(host) else TCP6ClientEndpoint if isIPv6Address(host) else HostnameEndpoint
        )
        return kind(self._reactor, host, port, timeout=self._connect_timeout_s)

    def _to_proxy(self, proxy: ProxyAddress) -> Any:
        endpoint = self._to(proxy.host, proxy.port)
        if not proxy.with_tls:
            return endpoint
        return wrapClientTLS(self._proxy_policy.creatorForNetloc(proxy.host.encode("ascii"), proxy.port), endpoint)

    def _bounded(self, endpoint: IStreamClientEndpoint, *, with_tls: bool) -> IStreamClientEndpoint:
        bounded = _ClientEndpoint(
            self._reactor, endpoint, self._connect_timeout_s, with_tls=with_tls, proxy=self._proxy
        )
        return cast(IStreamClientEndpoint, bounded)


@implementer(IAgent)
class ProviderAgent:
    """
    Sends requests to model servers, over connections that it keeps for the next one.

    It never retries, never follows a redirect and asks for answers without compression, which would hold back
    events.
    """

    def __init__(self, agent: IAgent, pool: HTTPConnectionPool) -> None:
        self._agent = agent
        self._pool = pool

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> Deferred[IResponse]:
        """See C{IAgent.request}."""
        headers = Headers() if headers is None else headers.copy()
        headers.setRawHeaders(b"Accept-Encoding", [b"identity"])
        return self._agent.request(method, uri, headers, bodyProducer).addCallback(_with_known_coding)

    def close(self) -> Deferred[None]:
        """Close the idle connections; fires when they are gone.  Requests under way are not touched."""
        return cast("Deferred[None]", self._pool.closeCachedConnections())


def _with_known_coding(response: IResponse) -> IResponse:
    """Write the coding of an answer as the library knows it: in small letters, C{x-gzip} as C{gzip}."""
    codings = response.headers.getRawHeaders("content-encoding")
    if codings is not None:
        known = [coding.strip().lower() for coding in ",".join(codings).split(",")]
        coding = ",".join("gzip" if each == "x-gzip" else each for each in known)
        response.headers.setRawHeaders("content-encoding", [coding])
    return response


def make_agent(
    reactor: Any,
    *,
    connect_timeout_s: float = CONNECT_TIMEOUT_S,
    persistent: bool = True,
    tls_policy: IPolicyForHTTPS | None = None,
    way: Way = DIRECT,
) -> ProviderAgent:
    """
    Make the agent for one or many model servers.

    @param reactor: for connections and timers.
    @param connect_timeout_s: seconds for resolving the name and connecting, TLS included.
    @param persistent: whether connections are kept for further requests.
    @param tls_policy: how certificates of servers are checked; by default as C{way} says.
    @param way: the way that all its connections go.
    """
    pool = cast(Any, ClientPool)(reactor, persistent=persistent)
    pool.maxPersistentPerHost = MAX_IDLE_CONNECTIONS_PER_HOST
    pool.cachedConnectionTimeout = cast(int, IDLE_CONNECTION_S)
    pool.retryAutomatically = False
    policy = cast(IPolicyForHTTPS, TrustPolicy(way.trust)) if tls_policy is None else tls_policy
    endpoints = _EndpointFactory(reactor, connect_timeout_s, policy, way)
    agent = cast(IAgent, Agent.usingEndpointFactory(reactor, cast(IAgentEndpointFactory, endpoints), pool=pool))
    if way.proxy is not None:
        passing = cast(Any, ProxyAgent)(endpoints.endpoint_for_proxy(way.proxy), reactor, pool)
        agent = cast(IAgent, ProxyingAgent(agent, passing, way.proxy))
    return ProviderAgent(agent, pool)


@implementer(IBodyProducer)
class BytesBody:
    """A request body that is in memory and written at once; the library's own takes turns of the global reactor."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.length = len(data)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Write everything."""
        consumer.write(self._data)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Nothing is left to pause."""

    def resumeProducing(self) -> None:
        """Nothing is left to resume."""

    def stopProducing(self) -> None:
        """Nothing is left to stop."""


def make_http_client(agent: IAgent) -> HTTPClient:
    """Make the treq client that providers use: it stores no cookies and writes bodies at once."""
    cookies = IndexableCookieJar(policy=DefaultCookiePolicy(allowed_domains=()))
    return HTTPClient(agent, cookiejar=cookies, data_to_body_producer=BytesBody)


class RequestURL(EncodedURL):
    """A URL that is ready to be sent: treq would encode it again for each request, and cannot do so with IPv6."""

    def to_uri(self) -> EncodedURL:
        """This very URL."""
        return self


def ready_url(url: EncodedURL) -> RequestURL:
    """
    Encode a URL for sending.

    @raise ValueError: if its host name cannot be encoded.
    """
    text = (url if ":" in url.host else url.to_uri()).to_text()
    return cast(RequestURL, RequestURL.from_text(text))


def post(
    http_client: HTTPClient,
    clock: Clock,
    url: RequestURL,
    headers: Headers,
    body: bytes,
    *,
    first_byte_timeout_s: float,
    name: str,
) -> Deferred[IResponse]:
    """
    Send a request and wait for the head of its answer.

    Cancelling aborts the connection, also one that is only being made.

    @param first_byte_timeout_s: seconds until the head must be there.
    @param name: the provider's name, for messages.
    @return: fires with the response, whatever its status, or fails with an L{openclaw.errors.ProviderError}.
    """
    over = False

    def stop(outcome: Deferred[IResponse]) -> None:
        # The library reports its own cancellation in several ways, as a failed look-up among others: not asked.
        nonlocal over
        over = True
        timer.cancel()
        sending.cancel()

    def expire() -> None:
        nonlocal over
        over = True
        sending.cancel()
        outcome.errback(ProviderTimeout(f"the provider {name} did not answer within {first_byte_timeout_s:g} s"))

    def settle(result: IResponse | Failure) -> None:
        if over:
            if not isinstance(result, Failure):
                discard(result)
            return
        timer.cancel()
        if not isinstance(result, Failure):
            outcome.callback(result)
        elif result.check(*NETWORK_ERRORS):
            cause = cast(Exception, result.value)
            error = error_of_network(cause, name=name)
            error.__cause__ = cause
            outcome.errback(error)
        else:
            outcome.errback(result)

    outcome: Deferred[IResponse] = Deferred(stop)
    timer = clock.callLater(first_byte_timeout_s, expire)
    sending: Deferred[Any]
    try:
        sending = http_client.request(
            "POST", url, headers=headers, data=body, allow_redirects=False, unbuffered=True, reactor=cast(Any, clock)
        )
    except NETWORK_ERRORS:
        sending = fail()
    sending.addBoth(settle)
    return outcome


def request_headers(fields: Mapping[str, str]) -> Headers:
    """Make headers of C{fields}; of two names that differ only by case the last one counts."""
    headers = Headers()
    for name, value in fields.items():
        headers.setRawHeaders(name, [value])
    return headers
