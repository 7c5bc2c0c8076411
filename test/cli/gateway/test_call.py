"""C{openclaw gateway call} and C{health}."""

import os
import signal
from typing import Any

from twisted.internet.error import ConnectionRefusedError

from openclaw.cli.gateway.call import health_lines, scopes_for
from test.cli.gateway_fake import GatewayError, RemoteTestCase


class CallTests(RemoteTestCase):
    def test_answer(self) -> None:
        self.gateway.methods["sessions.list"] = {"sessions": []}
        for arguments in ((), ("--json",)):
            self.assertEqual(
                self.run_command("gateway", "call", "sessions.list", "--params", '{"limit":1}', *arguments), 0
            )
            self.assertEqual(self.json_out(), {"sessions": []})
        self.assertEqual(self.gateway.params_of("sessions.list"), [{"limit": 1}] * 2)
        self.assertEqual(self.gateway.params_of("connect")[0]["scopes"], ["operator.read"])

    def test_expect_final(self) -> None:
        def run(socket: Any, frame: Any) -> Any:
            socket.respond(frame["id"], {"status": "accepted"})
            return {"status": "ok"}

        self.gateway.methods["agent"] = run
        self.run_command("gateway", "call", "agent", "--expect-final")
        self.assertEqual(self.json_out(), {"status": "ok"})

    def test_scopes(self) -> None:
        self.assertEqual(scopes_for("chat.abort"), ("operator.write",))
        self.assertIn("operator.admin", scopes_for("unheard.of"))

    def test_unknown_method(self) -> None:
        self.assertEqual(self.run_command("gateway", "call", "nope.nope", "--json"), 1)
        error = self.json_out()["error"]
        self.assertEqual((error["type"], error["code"]), ("gateway_request_error", "INVALID_REQUEST"))
        self.assertIn("unknown method", error["message"])
        self.assertEqual(self.err, "openclaw: unknown method: nope.nope\n")

    def test_wrong_token(self) -> None:
        self.gateway.methods["connect"] = GatewayError(
            "INVALID_REQUEST", "unauthorized: gateway token mismatch", {"code": "AUTH_TOKEN_MISMATCH"}
        )
        arguments = ("--url", "ws://127.0.0.1:18789", "--token", "WRONG", "--json")
        self.assertEqual(self.run_command("gateway", "call", "health", *arguments), 1)
        self.assertEqual(self.json_out()["error"]["details"]["code"], "AUTH_TOKEN_MISMATCH")
        self.assertIn("does not accept the token of --token", self.err)
        self.assertNotIn("WRONG", self.out + self.err)
        self.assertEqual(self.gateway.params_of("connect")[0]["auth"], {"token": "WRONG"})

    def test_bad_params(self) -> None:
        for text in ("x", "[]", "5", "[" * 100_000, '{"a": NaN}'):
            self.assertEqual(self.run_command("gateway", "call", "m", "--params", text), 2)
            self.assertIn("Error: --params: ", self.err)
        self.assertEqual(self.gateway.requests, [])

    def test_bad_url_and_secret(self) -> None:
        self.assertEqual(self.run_command("gateway", "call", "m", "--url", "h", "--json"), 1)
        self.assertEqual(self.json_out()["error"]["type"], "cli_error")
        self.assertEqual(self.run_command("gateway", "call", "m", "--token", "a", "--password", "b"), 2)

    def test_interrupted(self) -> None:
        def hang(socket: Any, frame: Any) -> Any:
            self.reactor.callLater(1, os.kill, os.getpid(), signal.SIGINT)
            return ...

        self.gateway.methods["m"] = hang
        self.assertEqual(self.run_command("gateway", "call", "m"), 130)
        self.assertEqual(self.out, "")


HEALTH = {
    "ok": True,
    "ts": 1,
    "agents": [{"agentId": "main", "isDefault": True}, {"agentId": "b", "isDefault": False}],
    "sessions": {"count": 2, "recent": [{"key": "agent:main:x", "updatedAt": 1, "age": 120_000}]},
    "eventLoop": {"degraded": False, "delayMaxMs": 12.4},
}


UNREACHABLE = "no gateway answers at ws://127.0.0.1:18789 (connection refused); start it with: openclaw gateway run"


class HealthTests(RemoteTestCase):
    def test_text(self) -> None:
        self.gateway.methods["health"] = HEALTH
        self.assertEqual(self.run_command("gateway", "health"), 0)
        self.assertEqual(
            self.out.splitlines(),
            [
                "Gateway: ws://127.0.0.1:18789 ok",
                "Agents: main (default), b",
                "Sessions: 2",
                "  agent:main:x (2m ago)",
                "Event loop: ok, longest delay 12 ms",
            ],
        )

    def test_json(self) -> None:
        self.gateway.methods["health"] = HEALTH
        self.assertEqual(self.run_command("gateway", "health", "--json"), 0)
        self.assertEqual(self.json_out(), HEALTH)

    def test_not_well(self) -> None:
        for payload in ({**HEALTH, "ok": False}, lambda socket, frame: None):
            self.gateway.methods["health"] = payload
            self.assertEqual(self.run_command("gateway", "health"), 1)
            self.assertIn("not well", self.out)
        self.assertEqual(
            health_lines({"eventLoop": {"degraded": True, "delayMaxMs": 1}})[-1][:20], "Event loop: degraded"
        )

    def test_not_running(self) -> None:
        self.serve = ConnectionRefusedError()
        self.assertEqual(self.run_command("gateway", "health"), 1)
        self.assertEqual((self.out, self.err), ("", f"openclaw: {UNREACHABLE}\n"))
        self.assertEqual(self.run_command("gateway", "health", "--json"), 1)
        self.assertEqual(
            self.json_out(), {"ok": False, "error": {"type": "gateway_transport_error", "message": UNREACHABLE}}
        )
