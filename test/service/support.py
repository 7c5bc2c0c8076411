"""What the tests of the composition root share: a gateway on a reactor in memory."""

import fcntl
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import TestCase

from openclaw.agents.runs import Runs
from openclaw.config import lock
from openclaw.config.paths import resolve_paths
from openclaw.config.plan import Options, plan
from openclaw.errors import StartError
from openclaw.service import gateway as gateway_module
from openclaw.service.gateway import Gateway
from openclaw.store.store import GatewayStore

PROVIDER = {"models": {"providers": {"p": {"baseUrl": "http://127.0.0.1:1/v1"}}}}
DOCUMENT: Mapping[str, Any] = {
    **PROVIDER,
    "agents": {"defaults": {"model": "p/m"}},
    "gateway": {"http": {"endpoints": {"chatCompletions": {"enabled": True}}}},
}


class MemoryReactor(MemoryReactorClock):
    """
    A reactor in memory, that also has threads, which are not.

    @ivar events: told when a port is closed.
    """

    def __init__(self, events: list[str]) -> None:
        super().__init__()
        self.events = events
        self.is_stopped = False
        self.stop_error: Exception | None = None

    def listenTCP(self, *arguments: Any, **keywords: Any) -> Any:
        port: Any = super().listenTCP(*arguments, **keywords)
        port.stopListening = lambda: self.events.append("port")
        return port

    def callFromThread(self, call: Callable[..., Any], *arguments: Any) -> None:
        self.callLater(0, call, *arguments)

    def getThreadPool(self) -> None:
        return None

    def stop(self) -> None:
        if self.stop_error is not None:
            raise self.stop_error
        self.is_stopped = True


class HeldRuns:
    """
    The end of the runs, which comes when a test says so.

    @ivar grace_s: how long they were given, each time.
    """

    def __init__(self, events: list[str]) -> None:
        self._events = events
        self.over: Deferred[None] = Deferred()
        self.grace_s: list[float] = []

    def stop(self, grace_s: float) -> Deferred[None]:
        self.grace_s.append(grace_s)
        self._events.append("runs")
        return self.over


class GatewayTestCase(TestCase):
    """
    A gateway on a reactor in memory.

    @ivar events: what was closed, in its order.
    """

    def setUp(self) -> None:
        self.home = Path(self.mktemp()).absolute()
        self.home.mkdir()
        self.state_dir = self.home / ".openclaw"
        self.events: list[str] = []
        self.reactor = MemoryReactor(self.events)
        self.stores: list[GatewayStore] = []
        self.logged: list[dict[str, Any]] = []
        self.patch(gateway_module, "deferToThreadPool", lambda _r, _p, call, *args: maybeDeferred(call, *args))
        self.patch(gateway_module, "raise_descriptor_limit", lambda: None)
        self.patch(lock, "LOCK_PAUSE_S", 0.0)
        self.patch(GatewayStore, "open", self.open_store)
        globalLogPublisher.addObserver(self.logged.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.logged.append)

    def open_store(self, path: Path, call_from_thread: Any) -> Deferred[GatewayStore]:
        self.assertEqual(path, self.state_dir / "gateway.sqlite")
        self.assertEqual(call_from_thread, self.reactor.callFromThread)
        self.stores.append(GatewayStore.in_memory())
        return succeed(self.stores[-1])

    def gateway(
        self, document: Mapping[str, Any] = DOCUMENT, more_environ: Mapping[str, str] = {}, **options: Any
    ) -> Gateway:
        self.state_dir.mkdir(exist_ok=True)
        path = self.state_dir / "openclaw.json"
        path.write_text(json.dumps(document))
        path.chmod(0o600)
        environ = {"HOME": str(self.home), "OPENCLAW_GATEWAY_TOKEN": "t", **more_environ}
        planned = plan(resolve_paths(environ), environ, Options(**options))
        return Gateway(self.reactor, planned)

    def hold_runs(self) -> HeldRuns:
        """Have the runs of all gateways take their time to stop."""
        held = HeldRuns(self.events)
        self.patch(Runs, "stop", lambda runs, grace_s: held.stop(grace_s))
        return held

    def started(self, document: Mapping[str, Any] = DOCUMENT, **options: Any) -> Gateway:
        gateway = self.gateway(document, **options)
        self.successResultOf(Deferred.fromCoroutine(gateway.start()))
        return gateway

    def stop(self, gateway: Gateway) -> Deferred[None]:
        return Deferred.fromCoroutine(gateway.stop())

    def refused(self, gateway: Gateway) -> StartError:
        error = self.failureResultOf(Deferred.fromCoroutine(gateway.start()), StartError).value
        assert isinstance(error, StartError)
        self.assert_closed()
        return error

    def assert_closed(self) -> None:
        """Nothing is left open: neither store, nor lock, nor timer."""
        self.assertEqual([store.alive for store in self.stores], [False] * len(self.stores))
        self.assertFalse(self.is_locked())
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def is_locked(self) -> bool:
        lock = self.state_dir / "gateway.lock"
        if not lock.exists():
            return False
        with lock.open("r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def texts(self, level: LogLevel | None = None) -> list[str]:
        """What our modules logged, at a level or at any."""
        ours = [event for event in self.logged if str(event.get("log_namespace")).startswith("openclaw")]
        return [
            str(event["log_format"]).format(**event) if event.get("log_format") else ""
            for event in ours
            if level is None or event["log_level"] is level
        ]

    def connection(self) -> tuple[Any, StringTransport]:
        """A new connection to the port."""
        factory = self.reactor.tcpServers[-1][1]
        transport = StringTransport()
        protocol = factory.buildProtocol(transport.getPeer())
        protocol.makeConnection(transport)
        return protocol, transport

    def get(self, path: str) -> tuple[int, Any]:
        """The status and body of a GET."""
        protocol, transport = self.connection()
        protocol.dataReceived(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer t\r\n\r\n".encode())
        head, _, body = transport.value().partition(b"\r\n\r\n")
        protocol.connectionLost(None)
        return int(head.split()[1]), json.loads(body)
