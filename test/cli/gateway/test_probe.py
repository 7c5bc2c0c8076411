"""C{openclaw gateway probe}."""

import os
import signal
from typing import Any

from openclaw.cli.client.told import capability_of
from test.cli.gateway.test_health import HEALTH
from test.cli.gateway_fake import GatewayError, RemoteTestCase, garbage


class ProbeTests(RemoteTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.gateway.hello["auth"] = {"role": "operator", "scopes": []}
        self.gateway.methods["health"] = HEALTH
        self.gateway.methods["status"] = GatewayError("FORBIDDEN", "missing scope: operator.read")

    def test_scope_limited(self) -> None:
        self.assertEqual(self.run_command("gateway", "probe", "--json"), 0)
        report = self.json_out()
        self.assertEqual((report["ok"], report["degraded"]), (True, True))
        self.assertEqual((report["capability"], report["timeoutMs"]), ("connected_no_operator_scope", 3000))
        self.assertEqual(report["warnings"][0]["code"], "probe_scope_limited")
        [target] = report["targets"]
        self.assertEqual((target["id"], report["primaryTargetId"]), ("localLoopback", "localLoopback"))
        self.assertEqual((target["connect"]["ok"], target["connect"]["scopeLimited"]), (True, True))
        self.assertEqual(target["server"], {"version": "9.9", "connId": "c1"})
        self.assertEqual(self.gateway.params_of("connect")[0]["client"]["mode"], "probe")

    def test_all_open(self) -> None:
        self.gateway.hello["auth"]["scopes"] = ["operator.read"]
        self.gateway.methods["status"] = {"runtimeVersion": "9.9"}
        self.assertEqual(self.run_command("gateway", "probe", "--url", "ws://127.0.0.1:1", "--token", "t", "--json"), 0)
        report = self.json_out()
        self.assertEqual((report["degraded"], report["capability"], report["warnings"]), (False, "read_only", []))
        self.assertEqual(report["targets"][0]["id"], "explicit")
        self.assertTrue(report["targets"][0]["connect"]["rpcOk"])

    def test_text(self) -> None:
        self.assertEqual(self.run_command("gateway", "probe"), 0)
        self.assertIn("ws://127.0.0.1:18789: reachable in ", self.out)
        self.assertIn("  capability: connected_no_operator_scope\n  warning: connected, but status", self.out)

    def test_unreachable(self) -> None:
        self.serve = garbage(b"HTTP/1.1 404 Not Found\r\n\r\n")
        self.assertEqual(self.run_command("gateway", "probe"), 1)
        self.assertEqual(self.out, "ws://127.0.0.1:18789: not reachable\n")
        self.assertIn("openclaw: what answers at ws://127.0.0.1:18789 is no OpenClaw gateway (HTTP 404)", self.err)
        self.assertEqual(self.run_command("gateway", "probe", "--json"), 1)
        report = self.json_out()
        self.assertEqual((report["ok"], report["capability"], report["primaryTargetId"]), (False, "unreachable", None))
        self.assertIn("HTTP 404", report["targets"][0]["connect"]["error"])

    def test_closed_by_it(self) -> None:
        self.gateway.methods["connect"] = lambda socket, frame: socket.close_with(1013, "draining") or ...
        self.assertEqual(self.run_command("gateway", "probe", "--json"), 1)
        self.assertEqual(self.json_out()["targets"][0]["connect"]["close"], 1013)

    def test_interrupted(self) -> None:
        def hang(socket: Any, frame: Any) -> Any:
            self.reactor.callLater(1, os.kill, os.getpid(), signal.SIGTERM)
            return ...

        self.gateway.methods["health"] = hang
        self.assertEqual(self.run_command("gateway", "probe"), 143)
        self.gateway.methods["connect"] = hang
        self.assertEqual(self.run_command("gateway", "status"), 143)

    def test_capabilities(self) -> None:
        self.assertEqual(capability_of(["operator.read", "operator.write"]), "write_capable")
        self.assertEqual(capability_of(["operator.admin"]), "admin_capable")
