"""C{openclaw gateway call}."""

import os
import signal
from typing import Any

from openclaw.cli.gateway.call import scopes_for
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
