"""The way to a model server through an HTTP proxy."""

from __future__ import annotations

import re
from typing import Any, cast

from OpenSSL.SSL import Error as TLSError
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import (
    ConnectError,
    ConnectionRefusedError,  # noqa: A004 - Twisted's, not the built-in one
    DNSLookupError,
    TimeoutError,  # noqa: A004 - Twisted's, not the built-in one
)
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from openclaw._version import __version__
from openclaw.config.proxies import ProxyAddress, netloc
from openclaw.providers.body import discard
from openclaw.providers.trust import tls_reason

MAX_HEAD_BYTES = 64 * 1024
"""Largest head of a proxy's answer."""

_BEGINNING = b"HTTP/1."
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_STATUS = re.compile(rb"HTTP/1\.\d (\d{3})(?: [^\r\n]*)?\r?\n")
_NO_TUNNELS = frozenset({400, 403, 404, 405, 501})
"""Statuses of proxies that tunnel nowhere, or not to every port, and may yet pass a plain request on."""


class ProxyFault(Exception):
    """
    A proxy that led nowhere.

    @ivar text: follows "could not be reached "; names the proxy by host and port, and holds no secret.
    @ivar is_lasting: another attempt would meet the same.
    @ivar is_late: the time was over.
    @ivar status: the status that it answered; 0 if there was none.
    """

    def __init__(
        self, proxy: ProxyAddress, said: str, *, is_lasting: bool = False, is_late: bool = False, status: int = 0
    ) -> None:
        super().__init__(said)
        when = "in time " if is_late else ""
        self.text = f"{when}through the proxy {proxy.where}" + (f": {said}" if said else "")
        self.is_lasting = is_lasting
        self.is_late = is_late
        self.status = status


def fault_of_status(proxy: ProxyAddress, status: int) -> ProxyFault:
    """What a proxy means by a status that is none of success."""
    if status == 407:
        said = "it wants a user and a password" if proxy.user is None else "it refused the user and the password"
    elif status == 403:
        said = "it does not allow the way"
    elif status in (502, 503, 504):
        said = "it could not reach the server"
    else:
        said = "it did not open the way"
    is_lasting = status < 500 and status not in (408, 429)
    return ProxyFault(proxy, f"{said} ({status})", is_lasting=is_lasting, status=status)


class _Tunnel(ProtocolWrapper):
    """
    A connection to a proxy, which is one to the server once the proxy has said so.

    The protocol within learns of nothing before that.
    """

    _is_open = False
    _fault: ProxyFault | None = None
    _opening: Deferred[IProtocol] | None = None
    _is_over = False
    _head = b""

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport
        self.connected = 1
        self.factory.registerProtocol(self)
        transport.write(cast(TunnelFactory, self.factory).request)

    def opened(self) -> Deferred[IProtocol]:
        """
        Wait for the proxy.  Cancelling aborts the connection.

        @return: fires with the protocol within, or fails with a L{ProxyFault}.
        """
        if self._is_open:
            return succeed(self.wrappedProtocol)
        self._opening = Deferred(self._stop_opening)
        if self._is_over:
            self._give_up(connectionDone)
        return self._opening

    def _stop_opening(self, _: Deferred[IProtocol]) -> None:
        self._opening = None
        cast(Any, self.transport).abortConnection()

    def dataReceived(self, data: bytes) -> None:
        if self._is_open:
            self.wrappedProtocol.dataReceived(data)
        elif self._fault is None:
            self._head += data
            self._read_head()

    def _read_head(self) -> None:
        proxy = cast(TunnelFactory, self.factory).proxy
        while True:
            begins_well = self._head.startswith(_BEGINNING) or _BEGINNING.startswith(self._head)
            end = _HEAD_END.search(self._head, 0, MAX_HEAD_BYTES + 4)
            if not begins_well or (end is None and len(self._head) > MAX_HEAD_BYTES):
                return self._refuse(ProxyFault(proxy, "it does not speak HTTP", is_lasting=True))
            if end is None:
                return None
            status = _STATUS.match(self._head)
            if status is None:
                return self._refuse(ProxyFault(proxy, "it does not speak HTTP", is_lasting=True))
            code, self._head = int(status.group(1)), self._head[end.end() :]
            if code >= 200:
                break
        if code >= 300:
            return self._refuse(fault_of_status(proxy, code))
        return self._open()

    def _open(self) -> None:
        self._is_open = True
        rest, self._head = self._head, b""
        cast(Any, super()).makeConnection(self.transport)
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.callback(self.wrappedProtocol)
        if rest:
            self.wrappedProtocol.dataReceived(rest)

    def _refuse(self, fault: ProxyFault) -> None:
        self._fault = fault
        cast(Any, self.transport).abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._is_open:
            cast(Any, super()).connectionLost(reason)
            return
        self._is_over = True
        self.factory.unregisterProtocol(self)
        self._give_up(reason)

    def _give_up(self, reason: Failure) -> None:
        fault = self._fault or _fault_of(cast(TunnelFactory, self.factory).proxy, reason, "it closed the connection")
        opening, self._opening = self._opening, None
        if opening is not None:
            self._fault = None
            cast(Any, self).wrappedProtocol = None
            opening.errback(fault)
        else:
            self._fault = fault


def _fault_of(proxy: ProxyAddress, reason: Failure, otherwise: str) -> ProxyFault:
    """What kept us from talking to a proxy."""
    error = reason.value
    said = tls_reason(error) if error is not None else ""
    if said:
        return ProxyFault(proxy, f"TLS failed: {said}", is_lasting=True)
    if reason.check(TimeoutError):
        return ProxyFault(proxy, "", is_late=True)
    if reason.check(ConnectionRefusedError):
        return ProxyFault(proxy, "connection refused")
    if reason.check(DNSLookupError):
        return ProxyFault(proxy, "its host name cannot be resolved")
    return ProxyFault(proxy, otherwise)


class TunnelFactory(WrappingFactory):
    """
    Makes connections through a proxy.

    @ivar proxy: the proxy.
    @ivar request: what it is asked.
    """

    noisy = False
    protocol = _Tunnel

    def __init__(self, wrapped_factory: IProtocolFactory, proxy: ProxyAddress, host: str, port: int) -> None:
        super().__init__(wrapped_factory)  # type: ignore[no-untyped-call]
        self.proxy = proxy
        where = netloc(host, port)
        lines = [f"CONNECT {where} HTTP/1.1", f"Host: {where}", f"User-Agent: openclaw/{__version__}"]
        if proxy.authorization is not None:
            lines.append(f"Proxy-Authorization: {proxy.authorization}")
        self.request = "\r\n".join((*lines, "", "")).encode("ascii")


@implementer(IStreamClientEndpoint)
class ProxyEndpoint:
    """
    The way to a server through a proxy, or to the proxy itself; what fails is told as a L{ProxyFault}.

    @param endpoint: the way to the proxy.
    @param target: host and port of the server; C{None} to talk to the proxy itself.
    """

    def __init__(
        self, endpoint: IStreamClientEndpoint, proxy: ProxyAddress, target: tuple[str, int] | None = None
    ) -> None:
        self._endpoint = endpoint
        self._proxy = proxy
        self._target = target

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See C{IStreamClientEndpoint}."""

        def not_reached(reason: Failure) -> Failure:
            if not reason.check(OSError, ConnectError, TLSError):
                return reason
            return Failure(_fault_of(self._proxy, reason, "it could not be reached"))

        if self._target is None:
            return self._endpoint.connect(protocolFactory).addErrback(not_reached)
        factory = TunnelFactory(protocolFactory, self._proxy, *self._target)
        connecting: Deferred[Any] = self._endpoint.connect(cast(IProtocolFactory, factory))
        return connecting.addErrback(not_reached).addCallback(lambda tunnel: tunnel.opened())


@implementer(IAgent)
class ProxyingAgent:
    """
    Sends requests through a proxy.

    All go by C{CONNECT}, as with the original, so that the proxy sees neither keys nor texts that are encrypted and
    holds no event back.  A proxy that opens no tunnel to a plain server, as many open them to port 443 only, is asked
    to pass the requests on from then on.

    @param tunnelling: sends by C{CONNECT}.
    @param passing: sends to the proxy itself.
    """

    def __init__(self, tunnelling: IAgent, passing: IAgent, proxy: ProxyAddress) -> None:
        self._tunnelling = tunnelling
        self._passing = passing
        self._proxy = proxy
        self._passes = False

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> Deferred[IResponse]:
        """See C{IAgent.request}."""
        is_plain = uri[:5].lower() == b"http:"
        if is_plain and self._passes:
            return self._pass(method, uri, headers, bodyProducer)

        def refused(reason: Failure) -> Any:
            fault = reason.value
            if not isinstance(fault, ProxyFault) or fault.status not in _NO_TUNNELS:
                return reason

            def passed(response: IResponse) -> IResponse:
                if response.code == fault.status:
                    # It does not want to lead there in any way.
                    discard(response)
                    raise fault
                self._passes = True
                return response

            return self._pass(method, uri, headers, bodyProducer).addCallback(passed)

        sending = self._tunnelling.request(method, uri, headers, bodyProducer)
        return sending.addErrback(refused) if is_plain else sending

    def _pass(
        self, method: bytes, uri: bytes, headers: Headers | None, body: IBodyProducer | None
    ) -> Deferred[IResponse]:
        headers = Headers() if headers is None else headers.copy()
        if self._proxy.authorization is not None:
            headers.setRawHeaders("Proxy-Authorization", [self._proxy.authorization])

        def answered(response: IResponse) -> IResponse:
            if response.code != 407:
                return response
            discard(response)
            raise fault_of_status(self._proxy, 407)

        return self._passing.request(method, uri, headers, body).addCallback(answered)
