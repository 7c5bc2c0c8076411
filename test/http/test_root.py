"""Tests for L{openclaw.http.root} and the small routes."""

from __future__ import annotations

from unittest import mock

from twisted.internet.defer import CancelledError, Deferred

from openclaw._version import __version__
from openclaw.config.agents import AgentDefaults, AgentEntry, ModelChoice
from test.gateway import START_S
from test.http.support import AUTH, CHAT, GatewayTestCase, make_config


class ModelsTests(GatewayTestCase):
    def test_list(self) -> None:
        answer = self.ask("GET", "/v1/models")
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.headers["content-type"], "application/json; charset=utf-8")
        entries = [
            {"id": name, "object": "model", "created": int(START_S), "owned_by": "openclaw", "name": shown}
            for name, shown in (
                ("openclaw", "main (default)"),
                ("openclaw/default", "main (default)"),
                ("openclaw/main", "main"),
            )
        ]
        self.assertEqual(answer.json, {"object": "list", "data": entries})

    def test_follows_the_configuration(self) -> None:
        self.config = make_config(agents={"research": AgentEntry(), "main": AgentEntry(default=True)})
        names = [entry["id"] for entry in self.ask("GET", "/v1/models").json["data"]]
        self.assertEqual(names, ["openclaw", "openclaw/default", "openclaw/research", "openclaw/main"])

    def test_names_for_menus(self) -> None:
        self.config = make_config(agents={"research": AgentEntry(name="Researcher"), "default": AgentEntry()})
        names = {entry["id"]: entry["name"] for entry in self.ask("GET", "/v1/models").json["data"]}
        self.assertEqual({"openclaw/research": "Researcher", "openclaw:default": "default"}, names)

    def test_one(self) -> None:
        for path in ("openclaw/main", "openclaw%2Fmain", "openclaw"):
            answer = self.ask("GET", f"/v1/models/{path}")
            self.assertEqual((answer.status, answer.json["object"]), (200, "model"))

    def test_unknown(self) -> None:
        for path in ("nothing", "openclaw/nobody", "%C3%A9", "a%20b"):
            answer = self.ask("GET", f"/v1/models/{path}")
            self.assertEqual(
                (answer.status, answer.error["code"], answer.error["param"]), (404, "model_not_found", "model")
            )

    def test_what_is_listed_works(self) -> None:
        for entry in self.ask("GET", "/v1/models").json["data"]:
            self.provider.enqueue_text("x")
            self.assertEqual(self.ask_chat(model=entry["id"]).status, 200)

    def test_what_would_not_work_is_not_listed(self) -> None:
        self.config = make_config(defaults=AgentDefaults(ModelChoice("nowhere/m")))
        self.assertEqual(self.ask("GET", "/v1/models").json["data"], [])
        self.assertEqual(self.ask("GET", "/v1/models/openclaw").status, 404)

    def test_head_is_no_method_of_it(self) -> None:
        answer = self.ask("HEAD", "/v1/models")
        self.assertEqual((answer.status, answer.headers["allow"]), (405, "GET"))


class HealthTests(GatewayTestCase):
    def test_phases(self) -> None:
        for phase, ready, started in (("starting", 503, 503), ("started", 200, 200), ("draining", 503, 503)):
            self.health.current = phase
            for path in ("/health", "/healthz"):
                answer = self.ask("GET", path)
                self.assertEqual((answer.status, answer.json), (200, {"ok": True, "status": "live"}))
                self.assertEqual(answer.headers["cache-control"], "no-store")
            for path in ("/ready", "/readyz"):
                answer = self.ask("GET", path)
                failing = [] if phase == "started" else [phase]
                self.assertEqual(answer.status, ready)
                self.assertEqual(answer.json, {"ready": ready == 200, "failing": failing, "uptimeMs": 1234})
            for path in ("/startup", "/startupz"):
                answer = self.ask("GET", path)
                self.assertEqual(answer.status, started)
                self.assertEqual(
                    answer.json,
                    {"ok": started == 200, "status": phase, "version": __version__, "uptimeMs": 1234},
                )

    def test_failing_part(self) -> None:
        self.health.parts = ["store"]
        answer = self.ask("GET", "/readyz")
        self.assertEqual((answer.status, answer.json["failing"]), (503, ["store"]))
        self.assertEqual(self.ask("GET", "/healthz").status, 200)

    def test_head(self) -> None:
        for path in ("/healthz", "/readyz", "/startupz"):
            full, short = self.ask("GET", path), self.ask("HEAD", path)
            self.assertEqual(short.status, 200)
            self.assertEqual(short.body, b"")
            self.assertEqual(short.headers["content-length"], str(len(full.body)))

    def test_other_methods(self) -> None:
        answer = self.ask("POST", "/healthz", body=b"x")
        self.assertEqual((answer.status, answer.headers["allow"]), (405, "GET, HEAD"))

    def test_body_of_a_get_is_swallowed(self) -> None:
        self.assertEqual(self.ask("GET", "/healthz", body=b"x" * 1000).status, 200)

    def test_no_credential_no_host(self) -> None:
        client = self.connect()
        client.request("GET", "/healthz", host="evil.example")
        self.assertEqual(client.answer().status, 200)


class RootTests(GatewayTestCase):
    """What the default check of a load balancer asks."""

    def test_ready_or_not(self) -> None:
        for method, body in (("GET", b"ok\n"), ("HEAD", b""), ("OPTIONS", b"ok\n")):
            client = self.connect()
            client.request(method, "/")
            self.tick()
            answer = client.answer(head=method == "HEAD")
            self.assertEqual((200, body), (answer.status, answer.body))
        self.health.parts.append("store")
        self.assertEqual(503, self.ask("GET", "/").status)

    def test_a_websocket_that_a_proxy_made_none(self) -> None:
        answer = self.ask("GET", "/", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13")
        self.assertEqual((400, "upgrade_dropped"), (answer.status, answer.error["code"]))
        self.assertIn("docs/proxy.md", answer.error["message"])


class FailureTests(GatewayTestCase):
    def test_run_ended_under_a_waiting_request(self) -> None:
        waiting: Deferred[bytes] = Deferred()
        self.patch(self.runs, "start", lambda *_: waiting)
        client = self.connect()
        client.chat()
        waiting.errback(CancelledError())
        answer = client.answer()
        self.assertEqual((answer.status, answer.error["code"]), (499, "cancelled"))

    def test_bug_in_a_small_route(self) -> None:
        self.patch(self.health, "phase", mock.Mock(side_effect=ZeroDivisionError))
        answer = self.ask("GET", "/readyz")
        self.assertEqual((answer.status, answer.error["code"]), (500, "internal_error"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_get_on_the_chat_route(self) -> None:
        answer = self.ask("GET", CHAT)
        self.assertEqual((answer.status, answer.headers["allow"]), (405, "POST"))
        self.assertEqual(answer.error["code"], "method_not_allowed")

    def test_page_in_mode_token_may_not_post_a_form(self) -> None:
        client = self.connect()
        client.request("POST", CHAT, AUTH, "Origin: https://x.example", "Content-Type: text/plain", body=b"{}")
        self.assertEqual(client.answer().status, 415)
