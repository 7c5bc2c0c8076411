"""Tests of L{openclaw.service.gateway}: how a gateway starts, and that whatever fails leaves nothing open."""

import errno
import json
import os
import socket
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock
from twisted.logger import LogLevel
from twisted.trial.unittest import SynchronousTestCase

from openclaw.agents.runs import Runs
from openclaw.config.lock import lock_holder
from openclaw.config.reload_rules import needs_local_model
from openclaw.errors import StartError, StoreError
from openclaw.providers.local_process import LocalModel
from openclaw.service import gateway as gateway_module
from openclaw.service.gateway import GatewayHealth
from openclaw.store.store import GatewayStore
from test.service.support import DOCUMENT, PROVIDER, GatewayTestCase


class StartTests(GatewayTestCase):
    def test_serves(self) -> None:
        gateway = self.gateway()
        self.assertEqual(gateway.health.phase(), "starting")
        self.assertEqual(list(gateway.health.failing()), [])
        self.successResultOf(Deferred.fromCoroutine(gateway.start()))
        self.assertEqual(gateway.health.phase(), "started")
        port, factory, backlog, interface = self.reactor.tcpServers[0]
        self.assertEqual((port, interface), (18789, "127.0.0.1"))
        self.assertGreaterEqual(backlog, 1024)
        self.assertFalse(factory.noisy)
        self.assertEqual(self.get("/readyz")[0], 200)
        status, body = self.get("/v1/models")
        self.assertEqual((status, body["data"][0]["id"]), (200, "openclaw"))
        self.assertTrue(self.is_locked())
        self.reactor.advance(1.5)
        self.assertEqual(gateway.health.uptime_ms(), 1500)
        self.successResultOf(self.stop(gateway))
        self.assert_closed()

    def test_says_nothing_of_itself(self) -> None:
        gateway = self.started()
        self.assertEqual(self.texts(LogLevel.info), [])
        self.successResultOf(self.stop(gateway))
        self.assertEqual(self.texts(LogLevel.info), [])

    def test_warnings_are_logged(self) -> None:
        gateway = self.started({**DOCUMENT, "skills": {}})
        self.assertEqual(self.texts(LogLevel.warn), ["these settings are accepted and not used: skills"])
        self.successResultOf(self.stop(gateway))

    def test_dead_store_is_told(self) -> None:
        gateway = self.started()
        self.successResultOf(self.stores[0].close())
        self.assertEqual(list(gateway.health.failing()), ["store"])
        self.assertEqual(self.get("/readyz")[0], 503)
        self.successResultOf(self.stop(gateway))

    def test_store_without_a_secret(self) -> None:
        """A store that gives no secret costs the header and not the start."""
        self.patch(GatewayStore, "secret", lambda store, name: fail(StoreError("disk full")))
        gateway = self.started()
        self.assertEqual(
            self.texts(LogLevel.warn), ["providers are told no X-Session-ID, as the store gives no secret: disk full"]
        )
        self.successResultOf(self.stop(gateway))

    def test_endpoints(self) -> None:
        gateway = self.started(endpoint="tcp:18001:interface=127.0.0.1")
        self.assertEqual(self.reactor.tcpServers[-1][0], 18001)
        self.successResultOf(self.stop(gateway))
        gateway = self.started(endpoint="unix:/x/socket:mode=600")
        self.assertEqual(self.reactor.unixServers[-1][0], "/x/socket")
        self.assertEqual(gateway.url, "unix:/x/socket:mode=600")
        self.successResultOf(self.stop(gateway))

    def test_commands_find_it(self) -> None:
        path = self.state_dir / "gateway.lock"
        for options, noted in (
            ({}, "http://127.0.0.1:18789"),
            ({"port": 18002}, "http://127.0.0.1:18002"),
            ({"endpoint": "tcp:18001:interface=127.0.0.1"}, "http://127.0.0.1:18001"),
            ({"endpoint": "unix:/x/socket"}, "unix:/x/socket"),
        ):
            gateway = self.started(**options)
            holder = lock_holder(path)
            self.assertEqual(holder and holder.url, noted)
            self.successResultOf(self.stop(gateway))
            self.assertIsNone(lock_holder(path))

    def test_embedded_model_starts_and_stops(self) -> None:
        events: list[str] = []
        self.patch(LocalModel, "start", lambda model: events.append("start"))
        self.patch(LocalModel, "stop", lambda model: events.append("stop"))
        gateway = self.started({})
        self.assertEqual(events, ["start"])
        self.successResultOf(self.stop(gateway))
        self.assertEqual(events, ["start", "stop"])


class NoticesTests(GatewayTestCase):
    def setUp(self) -> None:
        super().setUp()
        name = f"openclaw-gateway-test-{os.getpid()}"
        self.systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.addCleanup(self.systemd.close)
        self.systemd.bind(f"\0{name}")
        self.environ = {"NOTIFY_SOCKET": f"@{name}", "WATCHDOG_USEC": "6000000"}

    def told(self) -> list[str]:
        """What systemd was told since it was looked at last."""
        lines: list[str] = []
        while True:
            try:
                lines += self.systemd.recv(4096).decode().split("\n")
            except BlockingIOError:
                return lines

    def test_systemd_is_told(self) -> None:
        runs = self.hold_runs()
        gateway = self.gateway(more_environ=self.environ)
        listen = self.reactor.listenTCP

        def listened(*arguments: Any, **keywords: Any) -> Any:
            self.assertNotIn("READY=1", self.told())
            return listen(*arguments, **keywords)

        self.patch(self.reactor, "listenTCP", listened)
        self.successResultOf(Deferred.fromCoroutine(gateway.start()))
        self.assertEqual(sorted(self.told()), ["READY=1", "STATUS=0 runs", "WATCHDOG=1"])
        self.reactor.advance(2)
        self.assertEqual(self.told(), ["WATCHDOG=1"])
        stopping = self.stop(gateway)
        self.assertIn("STOPPING=1", self.told())
        self.reactor.advance(2)
        self.assertIn("WATCHDOG=1", self.told())
        runs.over.callback(None)
        self.successResultOf(stopping)
        self.assert_closed()

    def test_runs_are_counted(self) -> None:
        gateway = self.started(more_environ=self.environ)
        self.told()
        self.patch(Runs, "count", 3)
        self.patch(Runs, "waiting", 2)
        self.reactor.advance(2)
        self.assertIn("STATUS=3 runs, 2 waiting", self.told())
        self.patch(Runs, "count", 1)
        self.patch(Runs, "waiting", 0)
        self.reactor.advance(2)
        self.assertIn("STATUS=1 run", self.told())
        self.successResultOf(self.stop(gateway))

    def test_a_start_that_fails(self) -> None:
        self.patch(GatewayStore, "open", lambda *_: fail(StoreError("disk full")))
        gateway = self.gateway(more_environ=self.environ)
        self.failureResultOf(Deferred.fromCoroutine(gateway.start()), StoreError)
        self.assertNotIn("READY=1", self.told())
        self.assert_closed()


class ReloadTests(GatewayTestCase):
    def status_with(self, token: str) -> int:
        protocol, transport = self.connection()
        protocol.dataReceived(
            f"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        )
        self.reactor.pump([0.5, 0.5])
        protocol.connectionLost(None)
        return int(transport.value().split()[1])

    def with_token(self, token: str) -> dict[str, Any]:
        return {**DOCUMENT, "gateway": {**DOCUMENT["gateway"], "auth": {"token": token}}}

    def test_changed_token_takes_effect(self) -> None:
        gateway = self.started(self.with_token("first"))
        self.assertEqual([self.status_with("first"), self.status_with("second")], [200, 401])
        (self.state_dir / "openclaw.json").write_text(json.dumps(self.with_token("second")))
        self.reactor.pump([0.5, 0.5])
        self.assertEqual([self.status_with("first"), self.status_with("second")], [401, 200])
        self.successResultOf(self.stop(gateway))

    def test_options_are_no_change(self) -> None:
        gateway = self.started(self.with_token("t"), endpoint="tcp:18001", port=None)
        self.reactor.pump([0.5, 0.5])
        self.assertEqual(self.texts(), [])
        self.successResultOf(self.stop(gateway))
        gateway = self.started(self.with_token("t"), bind="lan")
        self.reactor.pump([0.5, 0.5])
        self.assertEqual(self.texts(), [])
        self.successResultOf(self.stop(gateway))

    def test_options_are_applied_to_edits(self) -> None:
        """A file that only works with the options of the command line is not complained of at each edit."""
        document = {**DOCUMENT, "gateway": {**DOCUMENT["gateway"], "bind": "lan", "auth": {"mode": "none"}}}
        for options in ({"bind": "loopback"}, {"endpoint": "unix:/x/socket"}):
            gateway = self.started(document, **options)
            self.reactor.pump([0.5, 0.5])
            edited = {**document, "gateway": {**document["gateway"], "port": 5}}
            (self.state_dir / "openclaw.json").write_text(json.dumps(edited))
            self.reactor.pump([0.5, 0.5])
            self.assertEqual(self.texts(), ["config change: applied: nothing; needs a restart: gateway.port"])
            self.successResultOf(self.stop(gateway))
            self.logged.clear()

    def test_variables_are_read_anew(self) -> None:
        document = {**self.with_token("${MY_TOKEN}"), "env": {"MY_TOKEN": "first"}}
        gateway = self.started(document)
        self.assertEqual(self.status_with("first"), 200)
        document["env"] = {"MY_TOKEN": "second"}
        (self.state_dir / "openclaw.json").write_text(json.dumps(document))
        self.reactor.pump([0.5, 0.5])
        self.assertEqual([self.status_with("first"), self.status_with("second")], [401, 200])
        self.successResultOf(self.stop(gateway))


class CannotStartTests(GatewayTestCase):
    def test_state_folder_in_the_way(self) -> None:
        gateway = self.gateway()
        (self.state_dir / "openclaw.json").unlink()
        self.state_dir.rmdir()
        self.state_dir.write_text("")
        error = self.failureResultOf(Deferred.fromCoroutine(gateway.start()), StartError).value
        self.assertIn("is not a folder", error.message)
        self.assertEqual(self.stores, [])

    def test_second_gateway(self) -> None:
        first = self.started()
        second = self.gateway()
        error = self.failureResultOf(Deferred.fromCoroutine(second.start()), StartError).value
        self.assertEqual(error.exit_code, 78)
        self.assertIn(f"gateway already running (pid {os.getpid()})", error.message)
        self.assertTrue(self.is_locked())
        self.assertEqual(len(self.stores), 1)
        self.successResultOf(self.stop(first))

    def test_store(self) -> None:
        self.patch(GatewayStore, "open", lambda *_: fail(StartError("a newer schema")))
        self.assertEqual(self.refused(self.gateway()).message, "a newer schema")

    def busy(self, error: Any, **options: Any) -> str:
        def listen(*arguments: Any, **keywords: Any) -> None:
            raise (
                error
                if isinstance(error, Exception) and not isinstance(error, OSError)
                else CannotListenError("127.0.0.1", 18789, error)
            )

        self.patch(self.reactor, "listenTCP", listen)
        self.patch(self.reactor, "listenUNIX", listen)
        return self.refused(self.gateway(**options)).message

    def test_port(self) -> None:
        self.assertEqual(
            self.busy(OSError(errno.EADDRINUSE, "x")),
            "cannot listen at 127.0.0.1:18789: Address already in use; another program uses it; "
            "stop that, or choose another port",
        )
        self.assertIn("Permission denied; choose a port from 1024 on", self.busy(OSError(errno.EACCES, "x")))
        self.assertIn("does not have that address", self.busy(OSError(errno.EADDRNOTAVAIL, "x")))
        self.assertTrue(
            self.busy(OSError(errno.ENOMEM, "x")).endswith("cannot listen at 127.0.0.1:18789: Cannot allocate memory")
        )

    def test_held_unix_socket(self) -> None:
        self.assertEqual(
            self.busy("Cannot acquire lock", endpoint="unix:/x"),
            "cannot listen at unix:/x: Cannot acquire lock; another program uses it",
        )

    def test_endpoint_that_makes_no_sense(self) -> None:
        self.assertIn("cannot listen at tcp:1:nope=1: ", self.busy(None, endpoint="tcp:1:nope=1"))
        self.assertIn("cannot listen at unix: ", self.refused(self.gateway(endpoint="unix")).message)

    def test_socket_of_systemd_that_is_not_there(self) -> None:
        message = self.refused(self.gateway(endpoint="systemd:domain=INET:name=nope")).message
        self.assertIn("cannot listen at systemd:", message)
        self.assertNotIn("--fdname", message)
        nameless = {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
        message = self.refused(self.gateway(endpoint="systemd:domain=INET:index=0", more_environ=nameless)).message
        self.assertIn("give systemd-socket-activate --fdname=openclaw", message)

    def test_a_bug_closes_everything_too(self) -> None:
        gateway = self.gateway()
        self.patch(gateway_module, "ConfigWatcher", mock.Mock(side_effect=ZeroDivisionError))
        self.failureResultOf(Deferred.fromCoroutine(gateway.start()), ZeroDivisionError)
        self.assert_closed()
        self.assertEqual(gateway.health.phase(), "draining")


class UsesLocalModelTests(GatewayTestCase):
    def test_by_the_agents(self) -> None:
        self.assertFalse(needs_local_model(self.gateway().plan.config))
        self.assertTrue(needs_local_model(self.gateway({}).plan.config))
        entries = {"a": {}, "b": {"model": "local/smollm2-135m"}}
        document = {**PROVIDER, "agents": {"defaults": {"model": "p/m"}, "entries": entries}}
        self.assertTrue(needs_local_model(self.gateway(document).plan.config))
        document = {"agents": {"defaults": {"model": "local/other"}}}
        self.assertFalse(needs_local_model(self.gateway(document).plan.config))


class GatewayHealthTests(SynchronousTestCase):
    def test_uptime_of_a_clock_that_was_set(self) -> None:
        reactor, clock = Clock(), mock.Mock(moved_s=0.0)
        health = GatewayHealth(reactor, clock)
        clock.moved_s = -5.0
        reactor.rightNow += 8.0 - 5.0
        self.assertEqual(health.uptime_ms(), 8000)

    def test_phases(self) -> None:
        health = GatewayHealth(Clock())
        self.assertEqual((health.phase(), health.is_wanted), ("starting", True))
        health.current = "started"
        self.assertEqual((health.phase(), health.is_wanted), ("started", True))
        health.current = "draining"
        self.assertEqual((health.phase(), health.is_wanted), ("draining", False))

    def test_failing(self) -> None:
        health = GatewayHealth(Clock())
        self.assertEqual(health.failing(), [])
        sound = {"store": True, "disk": True}
        for name in sound:
            health.watch(name, lambda name=name: sound[name])  # type: ignore[misc]
        self.assertEqual(health.failing(), [])
        sound["disk"] = False
        self.assertEqual(health.failing(), ["disk"])
