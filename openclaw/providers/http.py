"""
The HTTP client that talks to model servers: its connections, and a request up to the head of its answer.

What comes after the head is in L{openclaw.providers.body}.
"""

from __future__ import annotations

from collections.abc import Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any, cast

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
    BrowserLikePolicyForHTTPS,
    HostnameCachingHTTPSPolicy,
    HTTPConnectionPool,
)
from twisted.web.error import SchemeNotSupported
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer, IPolicyForHTTPS, IResponse
from zope.interface import implementer

from openclaw.errors import ProviderTimeout
from openclaw.interfaces import Clock
from openclaw.providers.body import ProviderConnection, discard
from openclaw.providers.failures import NETWORK_ERRORS, error_of_network
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
    """

    def __init__(
        self, reactor: Any, endpoint: IStreamClientEndpoint, connect_timeout_s: float, *, with_tls: bool
    ) -> None:
        self._reactor = reactor
        self._endpoint = endpoint
        self._with_tls = with_tls
        self._connect_timeout_s = connect_timeout_s

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        def timed_out(result: object, timeout_s: float) -> Failure:
            return Failure(TimeoutError())

        def secured(connection: IProtocol) -> Deferred[IProtocol]:
            return cast("Deferred[IProtocol]", cast(ProviderConnection, connection).secured())

        connecting = self._endpoint.connect(cast(Any, _ConnectionFactory)(protocolFactory))
        if self._with_tls:
            connecting = connecting.addCallback(secured)
        within(connecting, self._connect_timeout_s, self._reactor, timed_out)
        return connecting.addCallback(lambda connection: cast(ProviderConnection, connection).wrappedProtocol)


@implementer(IAgentEndpointFactory)
class _EndpointFactory:
    def __init__(self, reactor: Any, connect_timeout_s: float, tls_policy: IPolicyForHTTPS) -> None:
        self._reactor = reactor
        self._connect_timeout_s = connect_timeout_s
        self._tls_policy = tls_policy

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        host = uri.host.decode("ascii")
        # The library resolves an address too, in a thread, and a refusal then takes it 0.3 s.
        kind = (
            TCP4ClientEndpoint if isIPAddress(host) else TCP6ClientEndpoint if isIPv6Address(host) else HostnameEndpoint
        )
        endpoint: Any = kind(self._reactor, host, uri.port, timeout=self._connect_timeout_s)
        if uri.scheme not in (b"http", b"https"):
            raise SchemeNotSupported(f"not http: {uri.scheme!r}")
        with_tls = uri.scheme == b"https"
        if with_tls:
            endpoint = wrapClientTLS(self._tls_policy.creatorForNetloc(uri.host, uri.port), endpoint)
        bounded = _ClientEndpoint(self._reactor, endpoint, self._connect_timeout_s, with_tls=with_tls)
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
        return self._agent.request(method, uri, headers, bodyProducer)

    def close(self) -> Deferred[None]:
        """Close the idle connections; fires when they are gone.  Requests under way are not touched."""
        return cast("Deferred[None]", self._pool.closeCachedConnections())


def make_agent(
    reactor: Any,
    *,
    connect_timeout_s: float = CONNECT_TIMEOUT_S,
    persistent: bool = True,
    tls_policy: IPolicyForHTTPS | None = None,
) -> ProviderAgent:
    """
    Make the agent for one or many model servers.

    @param reactor: for connections and timers.
    @param connect_timeout_s: seconds for resolving the name and connecting, TLS included.
    @param persistent: whether connections are kept for further requests.
    @param tls_policy: how certificates are checked; by default as browsers do.
    """
    pool = cast(Any, ClientPool)(reactor, persistent=persistent)
    pool.maxPersistentPerHost = MAX_IDLE_CONNECTIONS_PER_HOST
    pool.cachedConnectionTimeout = cast(int, IDLE_CONNECTION_S)
    pool.retryAutomatically = False
    if tls_policy is None:
        # Reading the system's certificates takes tens of milliseconds: once for each host, not each connection.
        tls_policy = cast(IPolicyForHTTPS, HostnameCachingHTTPSPolicy(BrowserLikePolicyForHTTPS()))
    endpoints = _EndpointFactory(reactor, connect_timeout_s, tls_policy)
    agent = Agent.usingEndpointFactory(reactor, cast(IAgentEndpointFactory, endpoints), pool=pool)
    return ProviderAgent(cast(IAgent, agent), pool)


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
