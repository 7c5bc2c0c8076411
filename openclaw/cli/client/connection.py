"""
A WebSocket connection to a running gateway: connecting, calling methods, hearing events, and its end.

Everything here works on the reactor that it is given.
"""

from __future__ import annotations

import json
import platform
import uuid
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any

import attrs
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from openclaw._version import __version__
from openclaw.autobahn_internals import ClientSocket, ClientSocketFactory
from openclaw.cli.client.errors import ConnectionEnded, GatewayUnreachable, NoAnswer, RemoteError
from openclaw.cli.client.failures import (
    answered_no_websocket,
    closed_before_hello,
    connection_ended,
    not_reached,
    refused_connect,
    told_by_gateway,
)
from openclaw.cli.client.remote import READER, Introduction, Remote
from openclaw.cli.client.told import number, part
from openclaw.wire import LONE_SURROGATE, MAX_PAYLOAD_BYTES, MIN_PROBE_PROTOCOL, PROTOCOL_VERSION

DEFAULT_TICK_MS = 30_000
"""How often a gateway that does not say gives a sign of life, in milliseconds."""

CLOSE_DEADLINE_S = 0.5
"""How long to wait for the connection's end after it was closed, in seconds."""

CLOSE_GOING_AWAY = 1001

Listener = Callable[[str, Mapping[str, Any]], None]
"""Is told an event: its name and its payload."""


def decode_frame(payload: bytes) -> Any:
    """
    JSON to plain values; half of a surrogate pair, which cannot be printed, becomes a replacement character.

    @raise ValueError: if it is no JSON.
    """
    try:
        value = json.loads(payload)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return _printable(value) if b"\\u" in payload else value


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return LONE_SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_printable(item) for item in value]
    if isinstance(value, dict):
        return {_printable(key): _printable(item) for key, item in value.items()}
    return value


class _Socket(ClientSocket):
    """Autobahn's side of a connection: tells it to its L{GatewayConnection}."""

    factory: _SocketFactory
    failure: Failure | None = None
    transport: Any

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.failure = reason
        super().connectionLost(reason)
        self.factory.connection.has_ended(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.factory.connection.frame_received(payload)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        self.factory.connection.close_told(code, reason)


class _SocketFactory(ClientSocketFactory):
    """Makes one socket."""

    protocol = _Socket  # type: ignore[assignment]
    noisy = False

    def __init__(self, reactor: Any, remote: Remote, connection: GatewayConnection) -> None:
        # A gateway of another machine lets a program do more that shows the secret with the upgrade, too.
        secret = remote.secret.value
        headers = {} if secret is None else {"Authorization": f"Bearer {secret}"}
        super().__init__(reactor, f"{remote.url}/", f"openclaw/{__version__}", headers)
        self.connection = connection
        self.setProtocolOptions(  # type: ignore[no-untyped-call]
            maxFramePayloadSize=MAX_PAYLOAD_BYTES,
            maxMessagePayloadSize=MAX_PAYLOAD_BYTES,
            # deadlines of the whole handshake and of the close are ours
            openHandshakeTimeout=0,
            closeHandshakeTimeout=0,
            serverConnectionDropTimeout=0,
            autoPingInterval=0,
            perMessageCompressionOffers=[],
            # Autobahn does it a byte at a time; decoding the JSON finds the same
            utf8validateIncoming=False,
        )


@attrs.frozen
class _Pending:
    """A call that waits for its answer."""

    done: Deferred[Any]
    expect_final: bool
    on_accepted: Callable[[Mapping[str, Any]], None] | None


def _connect_params(introduction: Introduction, remote: Remote) -> dict[str, Any]:
    """The parameters of C{connect}."""
    system = platform.system() or "unknown"
    params: dict[str, Any] = {
        "minProtocol": MIN_PROBE_PROTOCOL if introduction.mode == "probe" else PROTOCOL_VERSION,
        "maxProtocol": PROTOCOL_VERSION,
        "client": {
            "id": "cli",
            "version": __version__,
            "platform": system.lower(),
            "deviceFamily": system,
            "mode": introduction.mode,
            "instanceId": str(uuid.uuid4()),
        },
        "caps": [],
        "role": "operator",
        "scopes": list(introduction.scopes),
    }
    if remote.secret.value is not None:
        params["auth"] = {remote.secret.kind: remote.secret.value}
    return params


class GatewayConnection:
    """
    A connection to a gateway; L{connect} makes it.

    @ivar hello: what the gateway said of itself, the payload of C{hello-ok}.
    """

    def __init__(self, reactor: Any, remote: Remote) -> None:
        self.remote = remote
        self.hello: Mapping[str, Any] = {}
        self._reactor = reactor
        self._socket: _Socket | None = None
        self._challenged: Deferred[None] = Deferred()
        self._ended: Deferred[None] = Deferred()
        self._is_over = False
        self._end: RemoteError | None = None
        self._close: tuple[int | None, str] = (None, "")
        self._calls: dict[str, _Pending] = {}
        self._count = 0
        self._listeners: tuple[Listener, ...] = ()
        self._silence: IDelayedCall | None = None
        self._silence_s = 2 * DEFAULT_TICK_MS / 1000

    # -------------------------------------------------------------------------------- connecting

    async def open(self, introduction: Introduction, timeout_s: float) -> None:
        """
        Connect and introduce ourselves; on failure or when cancelled nothing stays open.

        @param timeout_s: for all of it, in seconds.
        @raise GatewayUnreachable: if no gateway answers in time.
        @raise openclaw.cli.client.errors.CallFailed: if the gateway does not want us.
        """
        deadline_s = self._reactor.seconds() + timeout_s
        try:
            await self._connect_socket(timeout_s)
            await self._wait_for_challenge(max(deadline_s - self._reactor.seconds(), 0.001), timeout_s)
            hello = await self._introduce(introduction, max(deadline_s - self._reactor.seconds(), 0.001), timeout_s)
        except BaseException:
            self.abort()
            raise
        self.hello = hello
        tick_ms = number(part(hello, "policy").get("tickIntervalMs"))
        if tick_ms is not None and tick_ms > 0:
            self._silence_s = max(2 * tick_ms / 1000, 1.0)
        self._listen_for_life()

    async def _connect_socket(self, timeout_s: float) -> None:
        address = self.remote.address
        try:
            kind: Any = TCP4ClientEndpoint if ip_address(address.host).version == 4 else TCP6ClientEndpoint
        except ValueError:
            kind = HostnameEndpoint
        endpoint = kind(self._reactor, address.host, address.port, timeout=timeout_s)
        if address.is_tls:
            from twisted.internet.ssl import optionsForClientTLS  # OpenSSL, which most gateways do not need

            endpoint = wrapClientTLS(optionsForClientTLS(address.host), endpoint)
        factory = _SocketFactory(self._reactor, self.remote, self)
        try:
            self._socket = await endpoint.connect(factory)
        except (ConnectError, DNSLookupError) as error:
            raise not_reached(self.remote, error, timeout_s) from None

    async def _wait_for_challenge(self, left_s: float, timeout_s: float) -> None:
        try:
            await self._challenged.addTimeout(left_s, self._reactor)
        except defer.TimeoutError:
            raise NoAnswer(
                f"{self.remote.url} took the connection, but says nothing for {timeout_s:g} s;"
                " is this an OpenClaw gateway?"
            ) from None

    async def _introduce(self, introduction: Introduction, left_s: float, timeout_s: float) -> Mapping[str, Any]:
        try:
            hello = await self.call("connect", _connect_params(introduction, self.remote), timeout_s=left_s)
        except NoAnswer:
            raise NoAnswer(f"{self.remote.url} does not answer the handshake within {timeout_s:g} s") from None
        except RemoteError as error:
            raise refused_connect(self.remote, error) from None
        if not isinstance(hello, dict) or hello.get("type") != "hello-ok":
            raise GatewayUnreachable(f"what answers at {self.remote.url} is no OpenClaw gateway")
        return hello

    # -------------------------------------------------------------------------------- calling

    async def call(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        timeout_s: float,
        expect_final: bool = False,
        on_accepted: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> Any:
        """
        Call a method and wait for its answer.  Cancelling stops the waiting only.

        @param timeout_s: how long to wait, in seconds.
        @param expect_final: the method answers twice: first that it has accepted, later with its result, which is
            what counts.
        @param on_accepted: called with the first of the two answers.
        @raise RemoteError: if the request is larger than the gateway takes.
        @raise openclaw.cli.client.errors.CallFailed: if the gateway says no.
        @raise NoAnswer: if it says nothing in time.
        @raise ConnectionEnded: if the connection is gone.
        """
        if self._end is not None or self._socket is None:
            raise self._end or ConnectionEnded("not connected")
        self._count += 1
        call_id = f"{self._count}:{uuid.uuid4()}"
        frame = {"type": "req", "id": call_id, "method": method, "params": {} if params is None else params}
        text = json.dumps(frame, separators=(",", ":"))
        self._refuse_larger_than_taken(method, len(text))
        done: Deferred[Any] = Deferred()
        self._calls[call_id] = _Pending(done, expect_final, on_accepted)
        self._socket.sendMessage(text.encode())  # type: ignore[no-untyped-call]
        try:
            return await done.addTimeout(timeout_s, self._reactor)
        except defer.TimeoutError:
            message = f"{self.remote.url} does not answer {method} within {timeout_s:g} s; see openclaw logs"
            raise NoAnswer(message) from None
        finally:
            self._calls.pop(call_id, None)

    def _refuse_larger_than_taken(self, method: str, size_bytes: int) -> None:
        told = number(part(self.hello, "policy").get("maxPayload"))
        limit_bytes = int(told) if told is not None and told > 0 else MAX_PAYLOAD_BYTES
        if size_bytes > limit_bytes:
            raise RemoteError(
                f"{method}: the request has {size_bytes:,} bytes as JSON, and {self.remote.url} takes"
                f" {limit_bytes:,} at most; send less"
            )

    def listen(self, listener: Listener) -> None:
        """Have a function told all events from now on."""
        self._listeners = (*self._listeners, listener)

    def unlisten(self, listener: Listener) -> None:
        """Tell a function no more."""
        self._listeners = tuple(other for other in self._listeners if other != listener)

    @property
    def is_open(self) -> bool:
        """Whether calls can be made."""
        return self._socket is not None and self._end is None

    async def pause(self, delay_s: float) -> None:
        """Do nothing for so many seconds; the connection is kept."""
        await deferLater(self._reactor, delay_s)

    # -------------------------------------------------------------------------------- what comes

    def frame_received(self, payload: bytes) -> None:
        """A frame of the gateway."""
        self._listen_for_life()
        try:
            frame = decode_frame(payload)
        except ValueError:
            frame = None
        match frame:
            case {"type": "event", "event": str(event)}:
                body = frame.get("payload")
                self._event_received(event, body if isinstance(body, dict) else {})
            case {"type": "res", "id": str(call_id), "ok": bool(ok)}:
                self._answer_received(call_id, ok, frame)
            case _:
                self._end = self._end or GatewayUnreachable(
                    f"what answers at {self.remote.url} is no OpenClaw gateway: it sends what no client understands"
                )
                self.abort()

    def _event_received(self, event: str, payload: Mapping[str, Any]) -> None:
        if event == "connect.challenge":
            if not self._challenged.called:
                self._challenged.callback(None)
            return
        for listener in self._listeners:
            listener(event, payload)

    def _answer_received(self, call_id: str, ok: bool, frame: Mapping[str, Any]) -> None:
        pending = self._calls.get(call_id)
        if pending is None:
            return
        payload = frame.get("payload")
        if ok and pending.expect_final and isinstance(payload, dict) and payload.get("status") == "accepted":
            if pending.on_accepted is not None:
                pending.on_accepted(payload)
            return
        del self._calls[call_id]
        if ok:
            pending.done.callback(payload)
        else:
            pending.done.errback(told_by_gateway(frame.get("error")))

    # -------------------------------------------------------------------------------- the end

    def _listen_for_life(self) -> None:
        """From now on the gateway may be silent for a while, not for ever: its ticks come without being asked for."""
        if self._silence is not None and self._silence.active():
            self._silence.reset(self._silence_s)
        elif self._end is None:
            self._silence = self._reactor.callLater(self._silence_s, self._is_silent)

    def _is_silent(self) -> None:
        self._end = ConnectionEnded(f"{self.remote.url} has not given a sign of life for {self._silence_s:g} s")
        self.abort()

    def close_told(self, code: int | None, reason: str | None) -> None:
        """The gateway has closed, or the connection was lost."""
        self._close = code, reason or ""

    def has_ended(self, socket: _Socket) -> None:
        """The connection is gone."""
        self._is_over = True
        if self._silence is not None and self._silence.active():
            self._silence.cancel()
        if self._end is None:
            self._end = self._reason(socket)
        for pending in [self._calls.pop(call_id) for call_id in list(self._calls)]:
            pending.done.errback(self._end)
        if not self._challenged.called:
            self._challenged.errback(self._end)
        if not self._ended.called:
            self._ended.callback(None)

    def _reason(self, socket: _Socket) -> RemoteError:
        if socket.refusal is not None:
            return answered_no_websocket(self.remote, socket.refusal)
        if not self.hello:
            return closed_before_hello(self.remote, self._close, socket.failure)
        return connection_ended(self.remote, self._close)

    async def close(self) -> None:
        """Say goodbye and wait a moment for the connection's end; harmless when it has ended."""
        if self._end is None and self._socket is not None:
            self._end = ConnectionEnded("the connection was closed")
            self._socket.sendCloseFrame(code=CLOSE_GOING_AWAY, reasonUtf8=b"")
            self._socket.transport.loseConnection()
        if self._socket is not None and not self._is_over:
            try:
                await self._ended.addTimeout(CLOSE_DEADLINE_S, self._reactor)
            except defer.TimeoutError:
                self.abort()

    def abort(self) -> None:
        """Cut the connection; harmless when it has ended."""
        if self._socket is not None and not self._is_over:
            self._socket.transport.abortConnection()


async def connect(
    reactor: Any, remote: Remote, introduction: Introduction = READER, *, timeout_s: float
) -> GatewayConnection:
    """Connect to a gateway; see L{GatewayConnection.open}."""
    connection = GatewayConnection(reactor, remote)
    await connection.open(introduction, timeout_s)
    return connection
