"""Ten secrets, seeded wherever a process takes text, and none of them in anything that it writes."""

import contextlib
import http.client
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from test.scenario.drain_support import SocketClient
from test.scenario.support import DEADLINE_S, Client, GatewayTestCase
from test.scenario.test_process import until

SECRETS = {
    "gateway token": "gw-token-Zq81hAAkkq7261",
    "provider key": "plainkeywithoutprefix42",
    "header of the provider": "header-secret-77ab12",
    "section env": "env-vars-secret-9021",
    "shell environment": "environ-secret-5512",
    "dotenv file": "dotenv-secret-40021",
    "wrong bearer": "sk-proj-W0ngBearerAbCdEf123456",
    "query": "query-secret-11aa22",
    "body": "ghp_bodysecret0123456789ABCDEFGHIJ",
    "provider error": "AKIAPROVIDERERROR12X",
}
"""Where each comes from."""


class _Refusing(BaseHTTPRequestHandler):
    """A model server that repeats in its errors what it was sent, and something of its own."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        sent = f"{dict(self.headers)} {body} {SECRETS['provider error']}"
        answer = json.dumps({"error": {"message": f"Incorrect API key provided: {sent}"}}).encode()
        # Some servers say so of a bad request, and then the text goes to the client.
        self.send_response(400 if self.path.startswith("/rejects") else 401)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class SecretsTests(GatewayTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.server = HTTPServer(("127.0.0.1", 0), _Refusing)
        thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        thread.start()
        self.addCleanup(thread.join, DEADLINE_S)
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)

    def seeded(self) -> dict[str, Any]:
        document = self.document(SECRETS["gateway token"])
        document["models"]["providers"]["p"] |= {
            "baseUrl": f"http://127.0.0.1:{self.server.server_port}/v1",
            "apiKey": SECRETS["provider key"],
            "headers": {"X-Extra": SECRETS["header of the provider"], "X-Env": "${MY_TOKEN}", "X-Dot": "${DOT_TOKEN}"},
        }
        document["env"] = {"vars": {"FROM_ENV": SECRETS["section env"]}}
        document["logging"] = {"level": "debug"}
        self.environ["MY_TOKEN"] = SECRETS["shell environment"]
        self.environ["OPENCLAW_LOG_LEVEL"] = "debug"
        self.write(document)
        (self.state_dir / ".env").write_text(f"DOT_TOKEN={SECRETS['dotenv file']}\n")
        (self.state_dir / ".env").chmod(0o600)
        return document

    def ask(self, path: str, body: str | None = None, **headers: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        with contextlib.closing(connection):
            connection.request("POST" if body else "GET", path, body, {"Host": "localhost", **headers})
            response = connection.getresponse()
            response.read()
            return response.status

    def log_text(self) -> str:
        return "".join(path.read_text() for path in sorted((self.state_dir / "logs").iterdir()))

    def test_nothing_is_written(self) -> None:
        document = self.seeded()
        gateway = self.gateway()
        token = SECRETS["gateway token"]
        mine = {"Authorization": f"Bearer {token}"}
        self.assertEqual(self.ask("/v1/models", Authorization=f"Bearer {SECRETS['wrong bearer']}"), 401)
        self.assertEqual(self.ask(f"/v1/models?key={SECRETS['query']}&token={token}", **mine), 200)
        self.assertEqual(self.ask(f"/v1/models/{SECRETS['wrong bearer']}?token={SECRETS['query']}", **mine), 404)
        request_id = f"token={SECRETS['query']}"
        body = Client.body(f"my key is {SECRETS['body']}", user=SECRETS["body"])
        self.assertEqual(self.ask("/v1/chat/completions", body, **mine, **{"X-Request-Id": request_id}), 424)
        broken = json.dumps({**document, "gateway": {"auth": {"token": 5, "tokn": SECRETS["provider key"]}}})
        (self.state_dir / "openclaw.json").write_text(broken)
        gateway.wait_for("config")
        until(lambda: "run " in self.log_text() and "/v1/chat/completions 424" in self.log_text())
        self.assertEqual(gateway.end(), 0)
        written = gateway.out + gateway.err + self.log_text()
        self.assertIn("provider_auth_failed", written)
        self.assertEqual([name for name, secret in SECRETS.items() if secret in written], [])

    def test_nothing_is_told_to_clients(self) -> None:
        """What a WebSocket client and a reader of the metrics are told of what the gateway knows."""
        document = self.seeded()
        provider = document["models"]["providers"]["p"]
        url = f"http://127.0.0.1:{self.server.server_port}/rejects"
        document["models"]["providers"]["q"] = provider | {"baseUrl": url}
        document["agents"]["entries"] = {"main": {"default": True}, "q": {"model": "q/m"}}
        # Not a setting of ours, and accepted: config.get shows it.
        document["skills"] = {"apiKey": SECRETS["body"], "nested": {"clientSecret": SECRETS["wrong bearer"]}}
        self.write(document)
        gateway = self.gateway()
        client = SocketClient(self.port, SECRETS["gateway token"])
        self.addCleanup(client.close)
        told: list[Any] = []
        for agent in ("main", "q"):
            request = client.send("agent", {"message": "hi", "agentId": agent, "idempotencyKey": agent})
            while not (told and told[-1].get("id") == request and told[-1].get("ok") is False):
                told.append(next(client.messages()))
            told.append(client.until("res", client.send("agent.wait", {"runId": agent})))
        self.assertIn("refused our credentials: Incorrect API key provided", told[-1]["payload"]["error"])
        for method in ("config.get", "status", "health", "models.list", "agents.list", "sessions.list", "logs.tail"):
            told.append(client.until("res", client.send(method, {})))
            self.assertTrue(told[-1]["ok"], told[-1])
        provider["baseUrl"] = f"{url}?key={SECRETS['query']}"
        broken = json.dumps({**document, "gateway": {"auth": {"token": 5, "tokn": SECRETS["provider key"]}}})
        (self.state_dir / "openclaw.json").write_text(broken)
        gateway.wait_for("config")
        told += [client.until("res", client.send(method, {})) for method in ("config.get", "status")]
        self.assertFalse(told[-2]["payload"]["valid"])
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        with contextlib.closing(connection):
            mine = {"Host": "localhost", "Authorization": f"Bearer {SECRETS['gateway token']}"}
            connection.request("GET", "/metrics", headers=mine)
            metrics = connection.getresponse().read().decode()
        self.assertIn("openclaw_run_completed_total", metrics)
        self.assertEqual(gateway.end(), 0)
        text = json.dumps(told) + metrics + gateway.out + gateway.err + self.log_text()
        self.assertEqual([name for name, secret in SECRETS.items() if secret in text], [])

    def test_files(self) -> None:
        """Lines of a run carry its ids, and the files are for their owner only."""
        self.seeded()
        gateway = self.gateway()
        mine = {"Authorization": f"Bearer {SECRETS['gateway token']}", "X-Request-Id": "my-request"}
        self.assertEqual(self.ask("/v1/chat/completions", Client.body("hi"), **mine), 424)
        until(lambda: "/v1/chat/completions 424" in self.log_text())
        self.assertEqual(gateway.end(), 0)
        (file,) = (self.state_dir / "logs").iterdir()
        self.assertRegex(file.name, r"^openclaw-\d{4}-\d\d-\d\d\.log$")
        self.assertEqual((file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777), (0o600, 0o700))
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        of_the_request = [line for line in lines if line.get("requestId") == "my-request"]
        runs = {line["runId"] for line in of_the_request if "runId" in line}
        self.assertEqual(len(runs), 1, of_the_request)
        # Twisted's own lines of that run are among them at this level.
        self.assertLessEqual({"agents", "http"}, {line["subsystem"].partition(".")[0] for line in of_the_request})

    def test_a_folder_that_cannot_be_written(self) -> None:
        """It is told in one line, and the runs go on."""
        self.write(self.document())
        (self.state_dir / "logs").write_text("no folder")
        self.environ["OPENCLAW_LOG_LEVEL"] = "info,agents=debug"
        gateway = self.gateway()
        for _ in range(3):
            self.assertEqual(Client(self.port).chat("chunks=2")[0], 200)
        gateway.wait_for("cannot write the log in .*logs: File exists; the gateway goes on and tries again")
        self.assertEqual(gateway.end(), 0)
        self.assertEqual(len([line for line in gateway.told if "cannot write the log" in line]), 1)
