"""
A gateway in memory, for the commands that talk to one: Autobahn's server, answers that a test gives, no sockets.

The reactor of L{FakeReactor} is a clock that jumps to whatever is due next, so nothing ever waits.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure

from openclaw.cli.client import loop as client_module
from test.cli.support import CommandTestCase

MAX_STEPS = 20_000
"""How many delayed calls a command may need before it counts as hanging."""


class Wire(StringTransport):
    """One end of a connection in memory."""

    def __init__(self, reactor: FakeReactor) -> None:
        super().__init__(IPv4Address("TCP", "127.0.0.1", 18789), IPv4Address("TCP", "127.0.0.1", 50000), lenient=True)
        self.reactor = reactor
        self.protocol: Any = None
        self.other: Wire
        self.is_closing = self.is_over = False

    def setTcpNoDelay(self, enabled: bool) -> None:
        """As TCP has it."""

    def unregisterProducer(self) -> None:
        """Harmless without one, as TCP has it."""
        self.producer = None

    def write(self, data: bytes) -> None:
        """Reaches the other end in the reactor's next turn."""
        if not (self.is_closing or self.is_over):
            self.reactor.callLater(0, self.other.deliver, data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """As one."""
        self.write(b"".join(data))

    def deliver(self, data: bytes) -> None:
        """What the other end wrote."""
        if not self.is_over:
            self.protocol.dataReceived(data)

    def loseConnection(self) -> None:
        """Close after what was written."""
        if not self.is_closing:
            self.is_closing = True
            self.reactor.callLater(0, self.end, ConnectionDone())
            self.reactor.callLater(0, self.other.end, ConnectionDone())

    def abortConnection(self) -> None:
        """Cut it."""
        self.is_closing = True
        self.reactor.callLater(0, self.end, ConnectionAborted())
        self.reactor.callLater(0, self.other.end, ConnectionLost())

    def end(self, reason: Exception) -> None:
        """The connection is gone."""
        if not self.is_over:
            self.is_over = True
            self.protocol.connectionLost(Failure(reason))


class FakeReactor(MemoryReactorClock):
    """
    A reactor whose connections lead to a factory of the test.

    @ivar serve: the server's factory, or the exception with which nobody answers.
    """

    def __init__(self, serve: Factory | Exception) -> None:
        super().__init__()
        self.serve = serve
        self.places: list[tuple[str, int]] = []
        self.advance(1_700_000_000)
        self._stopped = False

    def connectTCP(self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None) -> Any:
        """Connect to the factory."""
        connector = super().connectTCP(host, port, factory, timeout, bindAddress)
        self.places.append((host, port))
        if isinstance(self.serve, Exception):
            self.callLater(0, factory.clientConnectionFailed, connector, Failure(self.serve))
        else:
            near, far = Wire(self), Wire(self)
            near.other, far.other = far, near
            far.protocol = self.serve.buildProtocol(None)
            near.protocol = factory.buildProtocol(None)
            far.protocol.makeConnection(far)
            near.protocol.makeConnection(near)
        return connector

    def callFromThread(self, call: Callable[..., Any], *arguments: Any) -> None:
        """Soon."""
        self.callLater(0, call, *arguments)

    def run(self, installSignalHandlers: bool = True) -> None:
        """Run until stopped; a reactor with nothing left to do hangs."""
        self._stopped = False
        for hook, arguments, keywords in self.whenRunningHooks:
            hook(*arguments, **keywords)
        for _ in range(MAX_STEPS):
            if self._stopped:
                return
            self.step()
        raise AssertionError("the command does not end")

    def step(self) -> None:
        """Do what is due next."""
        due = [call.getTime() for call in self.getDelayedCalls()]
        if not due:
            raise AssertionError("the command waits for nothing")
        self.advance(max(min(due) - self.seconds(), 0))

    def stop(self) -> None:
        """End L{run}."""
        self._stopped = True

    def result_of(self, deferred: Deferred[Any]) -> Any:
        """Go on until it fires."""
        outcome: list[Any] = []
        deferred.addBoth(outcome.append)
        for _ in range(MAX_STEPS):
            if outcome:
                break
            self.step()
        if isinstance(outcome[0], Failure):
            outcome[0].raiseException()
        return outcome[0]


class GatewayError(Exception):
    """An answer C{ok: false}."""

    def __init__(self, code: str, message: str, details: Any = None) -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message, **({"details": details} if details is not None else {})}


class FakeGatewaySocket(WebSocketServerProtocol):
    """The server's end of a connection."""

    factory: FakeGateway

    def onOpen(self) -> None:
        """Challenge, as gateways do."""
        self.factory.sockets.append(self)
        if self.factory.challenges:
            self.event("connect.challenge", {"nonce": "n", "ts": 1})
        if self.factory.greeting is not None:
            self.sendMessage(self.factory.greeting)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Answer a request as the test says."""
        frame = json.loads(payload)
        self.factory.requests.append((frame["method"], frame["params"]))
        answer = self.factory.methods.get(frame["method"])
        if answer is None:
            answer = GatewayError("INVALID_REQUEST", f"unknown method: {frame['method']}")
        if callable(answer):
            answer = answer(self, frame)
        if answer is not ...:
            self.respond(frame["id"], answer)

    def respond(self, call_id: str, answer: Any) -> None:
        """Answer."""
        if isinstance(answer, GatewayError):
            self.frame({"type": "res", "id": call_id, "ok": False, "error": answer.error})
        else:
            self.frame({"type": "res", "id": call_id, "ok": True, "payload": answer})

    def event(self, name: str, payload: Any) -> None:
        """Tell an event."""
        self.frame({"type": "event", "event": name, "payload": payload})

    def frame(self, value: Any) -> None:
        """Send a frame."""
        self.sendMessage(json.dumps(value).encode())

    def close_with(self, code: int, reason: str) -> None:
        """Close as gateways do."""
        self.sendCloseFrame(code=code, reasonUtf8=reason.encode())
        self.transport.loseConnection()


class FakeGateway(WebSocketServerFactory):
    """
    Answers with what a test puts into C{methods}: a payload, a L{GatewayError}, or a function of the socket and the
    frame, which gives one of both or C{...} for an answer that comes later or never.

    @ivar requests: what was asked: method and parameters.
    """

    protocol = FakeGatewaySocket

    def __init__(self) -> None:
        super().__init__(reactor=MemoryReactorClock())
        self.setProtocolOptions(openHandshakeTimeout=0, closeHandshakeTimeout=0, maxFramePayloadSize=0)
        self.sockets: list[FakeGatewaySocket] = []
        self.requests: list[tuple[str, Any]] = []
        self.challenges = True
        self.greeting: bytes | None = None
        self.hello: dict[str, Any] = {
            "type": "hello-ok",
            "protocol": 4,
            "server": {"version": "9.9", "connId": "c1"},
            "auth": {"role": "operator", "scopes": ["operator.read"]},
            "policy": {"tickIntervalMs": 30000},
            "snapshot": {"uptimeMs": 61_000, "sessionDefaults": {"mainSessionKey": "agent:main:main"}},
        }
        self.methods: dict[str, Any] = {"connect": lambda socket, frame: self.hello}

    def params_of(self, method: str) -> list[Any]:
        """The parameters of all calls of a method."""
        return [params for name, params in self.requests if name == method]


class Garbage(Protocol):
    """A server of something else: says C{bytes} when it is connected or spoken to, and closes or not."""

    def __init__(self, says: bytes, *, at_once: bool, closes: bool) -> None:
        self.says, self.at_once, self.closes = says, at_once, closes

    def connectionMade(self) -> None:
        """Say it, if at once."""
        if self.at_once:
            self._say()

    def dataReceived(self, data: bytes) -> None:
        """Say it, if not."""
        if not self.at_once:
            self._say()

    def _say(self) -> None:
        assert self.transport is not None
        if self.says:
            self.transport.write(self.says)
        if self.closes:
            self.transport.loseConnection()


def garbage(says: bytes, *, at_once: bool = False, closes: bool = True) -> Factory:
    """A factory of L{Garbage}."""
    return Factory.forProtocol(lambda: Garbage(says, at_once=at_once, closes=closes))  # type: ignore[arg-type]


class RemoteTestCase(CommandTestCase):
    """
    A test of a command that talks to a gateway.

    @ivar gateway: the gateway.
    @ivar serve: what answers in its place, or the exception with which nobody does.
    @ivar reactor: the reactor of the last command.
    """

    def setUp(self) -> None:
        super().setUp()
        self.gateway = FakeGateway()
        self.serve: Any = self.gateway
        self.write({"gateway": {"auth": {"mode": "token", "token": "s3cret"}}})
        self.patch(client_module, "process_reactor", self.make_reactor)

    def make_reactor(self) -> FakeReactor:
        """A new one for each command, as each process has its own."""
        self.reactor = FakeReactor(self.serve)
        return self.reactor
