"""What the tests of the composition root share: a gateway on a reactor in memory."""

import fcntl
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import TestCase

from openclaw import service as service_module
from openclaw.config import lock
from openclaw.config.paths import resolve_paths
from openclaw.config.plan import Options, plan
from openclaw.errors import StartError
from openclaw.service import (
    Gateway,
)
from openclaw.store.store import GatewayStore

PROVIDER = {"models": {"providers": {"p": {"baseUrl": "http://127.0.0.1:1/v1"}}}}
DOCUMENT: Mapping[str, Any] = {
    **PROVIDER,
    "agents": {"defaults": {"model": "p/m"}},
    "gateway": {"http": {"endpoints": {"chatCompletions": {"enabled": True}}}},
}


class MemoryReactor(MemoryReactorClock):
    """A reactor in memory, that also has threads, which are not."""

    def __init__(self) -> None:
        super().__init__()
        self.is_stopped = False
        self.stop_error: Exception | None = None

    def callFromThread(self, call: Callable[..., Any], *arguments: Any) -> None:
        self.callLater(0, call, *arguments)

    def getThreadPool(self) -> None:
        return None

    def stop(self) -> None:
        if self.stop_error is not None:
            raise self.stop_error
        self.is_stopped = True


class FakePort:
    """A port that tells when it is closed."""

    def __init__(self, events: list[str]) -> None:
        self._events = events

    def getHost(self) -> Any:
        return mock.Mock(port=18123)

    def stopListening(self) -> None:
        self._events.append("port")


class FakeRuns:
    """Runs that end when told."""

    live = (object(),)
    waiting = 1

    def __init__(self, events: list[str]) -> None:
        self._events = events
        self.over: Deferred[None] = Deferred()
        self.grace_s: list[float] = []

    def stop(self, grace_s: float) -> Deferred[None]:
        self.grace_s.append(grace_s)
        self._events.append("runs")
        return self.over


class GatewayTestCase(TestCase):
    def setUp(self) -> None:
        self.home = Path(self.mktemp()).absolute()
        self.home.mkdir()
        self.state_dir = self.home / ".openclaw"
        self.reactor = MemoryReactor()
        self.stores: list[GatewayStore] = []
        self.logged: list[dict[str, Any]] = []
        self.patch(service_module, "deferToThreadPool", lambda _r, _p, call, *args: maybeDeferred(call, *args))
        self.patch(service_module, "raise_descriptor_limit", lambda: None)
        self.patch(lock, "LOCK_PAUSE_S", 0.0)
        self.patch(GatewayStore, "open", self.open_store)
        globalLogPublisher.addObserver(self.logged.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.logged.append)

    def open_store(self, path: Path, call_from_thread: Any) -> Deferred[GatewayStore]:
        self.assertEqual(path, self.state_dir / "gateway.sqlite")
        self.assertEqual(call_from_thread, self.reactor.callFromThread)
        self.stores.append(GatewayStore.in_memory())
        return succeed(self.stores[-1])

    def gateway(self, document: Mapping[str, Any] = DOCUMENT, **options: Any) -> Gateway:
        self.state_dir.mkdir(exist_ok=True)
        path = self.state_dir / "openclaw.json"
        path.write_text(json.dumps(document))
        path.chmod(0o600)
        environ = {"HOME": str(self.home), "OPENCLAW_GATEWAY_TOKEN": "t"}
        planned = plan(resolve_paths(environ), environ, Options(**options))
        return Gateway(self.reactor, planned)

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
