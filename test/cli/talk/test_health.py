"""C{openclaw health}, against answers that are made up."""

import http.client
import io
import json
import os
import urllib.error
import urllib.request
from email.message import Message
from typing import Any

from twisted.internet.error import ConnectionRefusedError

from test.cli.gateway_fake import GatewayError, RemoteTestCase
from test.cli.support import CommandTestCase

STARTED = {"ok": True, "status": "started", "version": "1", "uptimeMs": 5}
READY = {"ready": True, "failing": [], "uptimeMs": 5}


class HealthTests(CommandTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.asked: list[tuple[str, float]] = []
        self.answers: dict[str, Any] = {"/startupz": STARTED, "/readyz": READY}
        self.patch(urllib.request, "build_opener", self.opener)

    def opener(self, proxies: urllib.request.ProxyHandler) -> Any:
        self.assertEqual(proxies.proxies, {})  # type: ignore[attr-defined]
        return self

    def open(self, url: str, timeout: float) -> Any:
        self.asked.append((url, timeout))
        answer = self.answers["/" + url.rpartition("/")[2]]
        if isinstance(answer, Exception):
            raise answer
        return io.BytesIO(answer if isinstance(answer, bytes) else json.dumps(answer).encode())

    def status_503(self, value: Any) -> urllib.error.HTTPError:
        return urllib.error.HTTPError("x", 503, "x", Message(), io.BytesIO(json.dumps(value).encode()))

    def test_ready(self) -> None:
        self.assertEqual(self.run_command("health"), 0)
        self.assertEqual(self.out, "http://127.0.0.1:18789: started, ready\n")
        self.assertEqual(
            self.asked, [("http://127.0.0.1:18789/startupz", 10.0), ("http://127.0.0.1:18789/readyz", 10.0)]
        )

    def test_finds_it_by_the_configuration(self) -> None:
        self.write({"gateway": {"port": 18999, "bind": "lan"}})
        self.assertEqual(self.run_command("health"), 0)
        self.assertIn("http://127.0.0.1:18999/", self.asked[0][0])
        os.environ["OPENCLAW_GATEWAY_PORT"] = "18998"
        self.run_command("health")
        self.assertIn("http://127.0.0.1:18998/", self.asked[-1][0])

    def test_options(self) -> None:
        self.assertEqual(self.run_command("health", "--url", "http://h:1/", "--timeout", "2.5", "--json"), 0)
        self.assertEqual(self.asked, [("http://h:1/startupz", 2.5), ("http://h:1/readyz", 2.5)])
        self.assertEqual(self.json_out(), {**STARTED, **READY, "ok": True, "url": "http://h:1"})

    def test_spellings(self) -> None:
        for url, asked in (
            ("ws://h:1", "http://h:1/"),
            ("wss://h/gw/", "https://h:443/gw/"),
            ("https://[::1]:5", "https://[::1]:5/"),
        ):
            self.assertEqual(self.run_command("health", "--url", url), 0)
            self.assertEqual(self.asked[-1][0], f"{asked}readyz")
        os.environ["OPENCLAW_GATEWAY_URL"] = "ws://127.0.0.1:7"
        self.run_command("health")
        self.assertEqual(self.asked[-1][0], "http://127.0.0.1:7/readyz")

    def test_not_ready(self) -> None:
        self.answers["/readyz"] = self.status_503({"ready": False, "failing": ["store"], "uptimeMs": 5})
        self.assertEqual(self.run_command("health"), 1)
        self.assertEqual(self.out, "http://127.0.0.1:18789: started, not ready (store)\n")
        self.answers["/readyz"] = self.status_503({"ready": False, "failing": ["store"], "uptimeMs": 5})
        self.assertEqual(self.run_command("health", "--json"), 1)
        self.assertIs(self.json_out()["ok"], False)

    def test_draining(self) -> None:
        self.answers["/startupz"] = self.status_503({"ok": False, "status": "draining", "uptimeMs": 5})
        self.answers["/readyz"] = self.status_503({"ready": False, "failing": ["draining"], "uptimeMs": 5})
        self.assertEqual(self.run_command("health"), 1)
        self.assertIn("draining, not ready (draining)", self.out)

    def test_nobody_or_no_gateway(self) -> None:
        for answer, reason in (
            (urllib.error.URLError(ConnectionRefusedError(111, "Connection refused")), "Connection refused"),
            (TimeoutError("timed out"), "timed out"),
            (http.client.BadStatusLine("SSH-2.0"), "SSH-2.0"),
            (http.client.IncompleteRead(b""), "IncompleteRead"),
            (b"<html>", "no gateway"),
            (b"[" * 60000, "no gateway"),
            (b"\xff", "no gateway"),
            ({"hello": 1}, "no gateway"),
            ([], "no gateway"),
        ):
            self.answers["/startupz"] = answer
            self.assertEqual(self.run_command("health"), 1)
            self.assertEqual(len(self.err.splitlines()), 1)
            self.assertTrue(self.err.startswith("openclaw: no gateway answers at http://127.0.0.1:18789: "))
            self.assertIn(reason, self.err)
            self.assertIn("start it with: openclaw gateway run", self.err)
            self.assertEqual(self.run_command("health", "--url", "http://127.0.0.1:18789"), 1)
            self.assertTrue(self.err.endswith("; check --url\n"), self.err)

    def test_failure_as_json(self) -> None:
        self.answers["/startupz"] = TimeoutError("timed out")
        self.assertEqual(self.run_command("health", "--json"), 1)
        self.assertEqual(self.json_out()["error"]["type"], "gateway_transport_error")
        self.assertIn("timed out", self.err)

    def test_no_url(self) -> None:
        self.assertEqual(self.run_command("health", "--url", "h:1"), 1)
        self.assertEqual(self.err, "openclaw: --url: expected ws://host:port or wss://host:port\n")
        self.assertEqual(self.run_command("health", "--url", "ftp://h", "--json"), 1)
        self.assertFalse(self.json_out()["ok"])

    def test_bad_timeout(self) -> None:
        self.assertEqual(self.run_command("health", "--timeout", "0"), 2)

    def test_unusable_configuration(self) -> None:
        self.write({"nope": 1})
        self.assertEqual(self.run_command("health"), 78)
        self.assertEqual(self.asked, [])


class MethodTests(RemoteTestCase):
    """C{--json} tells of agents and sessions, too, where the gateway lets us ask."""

    def setUp(self) -> None:
        super().setUp()
        self.ready = dict(READY)
        answers = {"/startupz": STARTED, "/readyz": self.ready}

        class Opener:
            def open(self, url: str, timeout: float) -> Any:
                return io.BytesIO(json.dumps(answers["/" + url.rpartition("/")[2]]).encode())

        self.patch(urllib.request, "build_opener", lambda _: Opener())
        self.health = {"ok": True, "ts": 7, "agents": [{"agentId": "main"}], "sessions": {"count": 3}, "uptimeMs": 1}
        self.gateway.methods["health"] = self.health
        self.http = {**STARTED, **READY, "url": "http://127.0.0.1:18789"}

    def test_both(self) -> None:
        self.assertEqual(self.run_command("health", "--json"), 0)
        self.assertEqual(self.json_out(), {**self.health, **self.http})
        self.ready["ready"] = False
        self.assertEqual(self.run_command("health", "--json"), 1)
        self.assertEqual((self.json_out()["ok"], self.json_out()["ts"]), (False, 7))

    def test_what_cannot_be_asked_changes_nothing(self) -> None:
        for answer in (GatewayError("UNAVAILABLE", "no"), None, [], 5):
            self.gateway.methods["health"] = lambda socket, frame, answer=answer: answer
            self.assertEqual(self.run_command("health", "--json"), 0)
            self.assertEqual((self.json_out(), self.err), (self.http, ""))
        self.serve = ConnectionRefusedError()
        self.assertEqual(self.run_command("health", "--json"), 0)
        self.assertEqual((self.json_out(), self.err), (self.http, ""))

    def test_only_with_a_credential_for_that_gateway(self) -> None:
        self.assertEqual(self.run_command("health", "--json", "--url", "ws://other:18789"), 0)
        self.assertNotIn("ts", self.json_out())
        self.assertEqual(self.run_command("health", "--json", "--url", "ws://localhost:18789"), 0)
        self.assertEqual(self.json_out()["ts"], 7)
        self.write({"gateway": {"auth": {"mode": "none"}}})
        self.assertEqual(self.run_command("health", "--json"), 0)
        self.assertEqual(self.json_out()["ts"], 7)

    def test_verbose(self) -> None:
        self.assertEqual(self.run_command("health", "--verbose"), 0)
        self.assertEqual(self.out, "http://127.0.0.1:18789: started, ready\nAgents: main\nSessions: 3\n", self.err)
        self.serve = ConnectionRefusedError()
        self.assertEqual(self.run_command("health", "--verbose"), 0)
        self.assertEqual(self.out, "http://127.0.0.1:18789: started, ready\n")

    def test_given_credential(self) -> None:
        place = ("health", "--json", "--url", "ws://other:18789")
        self.assertEqual(self.run_command(*place, "--token", "t"), 0)
        self.assertEqual(self.json_out()["ts"], 7)
        self.assertEqual(self.gateway.params_of("connect")[-1]["auth"], {"token": "t"})
        self.assertEqual(self.run_command(*place, "--password", "p"), 0)
        self.assertEqual(self.gateway.params_of("connect")[-1]["auth"], {"password": "p"})
        self.gateway.methods["connect"] = GatewayError("INVALID_REQUEST", "no", {"code": "AUTH_TOKEN_MISMATCH"})
        self.assertEqual(self.run_command(*place, "--token", "t"), 1)
        self.assertIn("does not accept the token of --token", self.json_out()["error"]["message"])
        self.assertEqual(self.run_command("health", "--token", "t"), 1)
        self.assertEqual(self.run_command("health", "--json"), 0)  # nobody asked for it to be tried
        self.gateway.methods["connect"] = GatewayError("UNAVAILABLE", "stopping")
        self.assertEqual(self.run_command(*place, "--token", "t"), 0)
        self.assertEqual(self.run_command("health", "--url", "http://gateway.example:1", "--token", "t"), 1)
        self.assertIn("in the clear", self.err)

    def test_text_for_a_terminal(self) -> None:
        self.ready.update(ready=False, failing=["\x1b]0;evil\x07"])
        self.assertEqual(self.run_command("health", terminal=True), 1)
        self.assertEqual(self.out, "http://127.0.0.1:18789: started, not ready (]0;evil)\n")
