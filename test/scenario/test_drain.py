"""The gateway is told to end while it works: what is under way finishes or is told, and what comes is refused."""

import contextlib
import http.client
import json
import signal
import socket
import sqlite3
import time
from concurrent.futures import Future
from typing import Any

from test.scenario.drain_support import AmidWorkTestCase, Answer, SocketClient, ask
from test.scenario.support import DEADLINE_S, TOKEN, Client, Program, text_of
from test.scenario.test_process import until

SLOW = "chunks=40 delay=50"
"""A reply of two seconds."""

ENDLESS = "chunks=4000 delay=50"
NOISE_S = 5.0
"""What a busy machine may add to a stop."""


class DrainTestCase(AmidWorkTestCase):
    def begin_to_stop(self, gateway: Program) -> float:
        """Tell it to end and wait until it has begun; gives when that was."""
        began_s = time.monotonic()
        gateway.process.send_signal(signal.SIGTERM)
        until(lambda: Client(self.port).get("/readyz")[0] == 503)
        return began_s

    def has_begun(self, count: int) -> None:
        """Wait until so many calls of the models were made."""
        until(lambda: self.model_server.stats()["requests"] + len(self.moody.prompts) >= count)

    def is_waiting(self, count: int) -> None:
        """Wait until so many runs wait for their turn."""
        until(lambda: f"\nopenclaw_session_queue_depth {count}.0\n" in self.metrics())

    def metrics(self) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        with contextlib.closing(connection):
            connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
            return connection.getresponse().read().decode()

    def runs(self) -> list[tuple[str, str, str | None]]:
        """Session, status and error of all runs in the store."""
        with contextlib.closing(sqlite3.connect(self.state_dir / "gateway.sqlite")) as store:
            return store.execute("SELECT session_key, status, error_code FROM runs ORDER BY seq").fetchall()

    def assert_told(self, answers: list[Future[Answer]]) -> None:
        """Each one was told that the gateway drains, in its own way."""
        for future in answers:
            answer = future.result(DEADLINE_S)
            if answer.status == 200:
                self.assertEqual(answer.events[-1], "[DONE]")
                self.assertEqual(answer.events[-2]["error"]["code"], "draining")
            else:
                self.assertEqual((answer.status, answer.error["code"]), (503, "draining"), answer.body)
                self.assertEqual(answer.headers["retry-after"], "5")


class FinishTests(DrainTestCase):
    def test_what_is_under_way_finishes(self) -> None:
        self.write_config()
        gateway = self.gateway()
        socket_client = SocketClient(self.port)
        self.addCleanup(socket_client.close)
        run = {"message": SLOW, "sessionKey": "agent:main:ws", "idempotencyKey": "k1"}
        call_id = socket_client.send("agent", run)
        socket_client.until("res", call_id)
        stream = self.streaming(SLOW, user="a")
        others = [self.asking(SLOW), self.asking("chunks=3", user="a"), self.asking("chunks=4", user="a", stream=True)]
        self.has_begun(3)
        self.is_waiting(2)
        self.begin_to_stop(gateway)
        self.assertEqual(Client(self.port).get("/healthz")[0], 200)
        status, readiness = Client(self.port).get("/readyz")
        self.assertEqual((status, readiness["ready"], readiness["failing"]), (503, False, ["draining"]))
        for fields in ({}, {"stream": True}, {"user": "a"}):
            refused = ask(self.port, "hi", **fields)
            self.assertEqual((refused.status, refused.error["code"]), (503, "draining"))
            self.assertGreater(int(refused.headers["retry-after"]), 0)
        answers = [future.result(DEADLINE_S) for future in (stream, *others)]
        self.assertEqual([answer.status for answer in answers], [200] * 4)
        self.assertEqual(len(text_of(answers[0].events).split()), 40)
        self.assertEqual(len(json.loads(answers[1].body)["choices"][0]["message"]["content"].split()), 40)
        self.assertEqual(len(json.loads(answers[2].body)["choices"][0]["message"]["content"].split()), 3)
        self.assertEqual(text_of(answers[3].events), "w0.0 w1.0 w2.0 w3.0 ")
        self.assertEqual([answers[0].events[-1], answers[3].events[-1]], ["[DONE]", "[DONE]"])
        told = list(socket_client.messages())
        (ended,) = [message for message in told if message["type"] == "res" and message["id"] == call_id]
        self.assertEqual((ended["ok"], ended["payload"]["status"]), (True, "ok"))
        self.assertIn("shutdown", [message.get("event") for message in told])
        self.assertEqual(socket_client.close_code, 1012)
        self.assertEqual(gateway.wait(), 0)
        self.assertEqual({status for _, status, _ in self.runs()}, {"done"})
        self.assertEqual(len(self.runs()), 5)
        self.assertNotIn("Traceback", gateway.err)


class CutOffTests(DrainTestCase):
    def test_what_is_left_is_told(self) -> None:
        self.write_config(drain_ms=500, maxConcurrent=8)
        gateway = self.gateway()
        socket_client = SocketClient(self.port)
        self.addCleanup(socket_client.close)
        run = {"message": ENDLESS, "sessionKey": "agent:main:ws", "idempotencyKey": "k1"}
        call_id = socket_client.send("agent", run)
        socket_client.until("res", call_id)
        answers = [self.streaming(ENDLESS, user="a"), self.streaming(ENDLESS), self.asking(ENDLESS)]
        answers += [
            self.asking("busy", model="openclaw/moody"),
            self.asking("mute", model="openclaw/moody", user="b"),
            self.streaming("mute", model="openclaw/moody"),
        ]
        self.has_begun(7)
        answers += [self.asking("queued", user="a"), self.asking("queued", user="a", stream=True)]
        self.is_waiting(2)
        began_s = self.begin_to_stop(gateway)
        self.assert_told(answers)
        call = [message for message in socket_client.messages() if message["type"] == "res"]
        self.assertEqual([(message["id"], message["ok"]) for message in call], [(call_id, False)])
        self.assertEqual(socket_client.close_code, 1012)
        self.assertEqual(gateway.wait(), 0)
        self.assertLess(time.monotonic() - began_s, 0.5 + NOISE_S)
        ended = self.runs()
        self.assertEqual({(status, code) for _, status, code in ended}, {("failed", "draining")})
        self.assertEqual(len(ended), 7)
        self.assertNotIn("Traceback", gateway.err)
        # What was said until then is kept.
        with contextlib.closing(sqlite3.connect(self.state_dir / "gateway.sqlite")) as store:
            (kept,) = store.execute(
                "SELECT payload FROM entries AS e JOIN sessions AS s ON s.id = e.session_id "
                "WHERE s.key LIKE '%openai-user:a' AND e.role = 'assistant'"
            ).fetchone()
        self.assertTrue(json.loads(kept)["text"].startswith("w0.0 w1.0 "), kept)

    def test_at_once(self) -> None:
        self.write_config(drain_ms=0)
        gateway = self.gateway()
        answers = [self.streaming("half", model="openclaw/moody"), self.asking("mute", model="openclaw/moody")]
        self.has_begun(2)
        began_s = time.monotonic()
        self.assertEqual(gateway.end(), 0)
        self.assertLess(time.monotonic() - began_s, NOISE_S)
        self.assert_told(answers)

    def test_retry_with_a_key_after_it(self) -> None:
        """A run that went on without its client is cut off, too, and its key is free for the next gateway."""
        self.write_config(drain_ms=100)
        gateway = self.gateway()
        leaving = socket.create_connection(("127.0.0.1", self.port), DEADLINE_S)
        body = Client.body("half", model="openclaw/moody", user="b")
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
        leaving.sendall(f"{head}Idempotency-Key: k\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        self.has_begun(1)
        leaving.close()
        self.assertEqual(gateway.end(), 0)
        self.assertEqual([(status, code) for _, status, code in self.runs()], [("failed", "draining")])
        with contextlib.closing(sqlite3.connect(self.state_dir / "gateway.sqlite")) as store:
            self.assertEqual(store.execute("SELECT state FROM idempotency_keys").fetchall(), [("free",)])

    def test_client_that_does_not_read(self) -> None:
        self.write_config(drain_ms=200)
        gateway = self.gateway()
        clients = [self.deaf_client(self.request(stream)) for stream in (True, False)]
        self.has_begun(2)
        time.sleep(0.5)
        began_s = time.monotonic()
        self.assertEqual(gateway.end(), 0)
        self.assertLess(time.monotonic() - began_s, 0.2 + 2.0 + NOISE_S)
        for client in clients:
            client.close()

    def request(self, stream: bool) -> bytes:
        body = Client.body("flood", model="openclaw/moody", stream=stream)
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()

    def deaf_client(self, request: bytes) -> socket.socket:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(DEADLINE_S)
        client.connect(("127.0.0.1", self.port))
        client.sendall(request)
        return client

    def test_every_byte_arrives(self) -> None:
        """A client that reads slowly has its whole answer before the connection is closed."""
        self.write_config()
        gateway = self.gateway()
        client = self.deaf_client(self.request(stream=False))
        self.has_begun(1)
        until(self.runs_are_over)
        gateway.process.send_signal(signal.SIGTERM)
        received = bytearray()
        began_s = time.monotonic()
        while data := client.recv(65536):
            received += data
            if time.monotonic() - began_s < 1.0:
                time.sleep(0.01)
        head, _, body = bytes(received).partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 200 "), head)
        said = json.loads(body)["choices"][0]["message"]["content"]
        self.assertEqual(said, "echo flood" + "x" * 4096 * 256)
        self.assertEqual(gateway.wait(), 0)

    def runs_are_over(self) -> bool:
        return [status for _, status, _ in self.runs()] == ["done"]


class SignalTests(DrainTestCase):
    def test_a_second_one_ends_it_at_once(self) -> None:
        for first, second, status in (
            (signal.SIGTERM, signal.SIGTERM, 143),
            (signal.SIGINT, signal.SIGTERM, 143),
            (signal.SIGTERM, signal.SIGINT, 130),
        ):
            self.write_config()
            gateway = self.gateway()
            stream = self.streaming(ENDLESS, user="a")
            gateway.process.send_signal(first)
            until(lambda: Client(self.port).get("/readyz")[0] == 503)
            began_s = time.monotonic()
            self.assertEqual(gateway.end(second), status)
            self.assertLess(time.monotonic() - began_s, NOISE_S)
            self.assertIsNotNone(stream.exception(DEADLINE_S))

    def test_next_one_finds_it_interrupted(self) -> None:
        self.write_config()
        gateway = self.gateway()
        stream = self.streaming(ENDLESS, user="a")
        gateway.process.send_signal(signal.SIGTERM)
        until(lambda: Client(self.port).get("/readyz")[0] == 503)
        gateway.end()
        self.assertIsNotNone(stream.exception(DEADLINE_S))
        self.assertEqual(self.gateway().end(), 0)
        self.assertEqual([status for _, status, _ in self.runs()], ["interrupted"])


class IdleTests(DrainTestCase):
    def test_idle_connections_do_not_hold_it(self) -> None:
        self.write_config()
        gateway = self.gateway()
        idle = [socket.create_connection(("127.0.0.1", self.port), DEADLINE_S) for _ in range(3)]
        socket_client = SocketClient(self.port)
        self.addCleanup(socket_client.close)
        began_s = time.monotonic()
        gateway.process.send_signal(signal.SIGTERM)
        closing = self.call(lambda: list(socket_client.messages()))
        self.assertEqual(gateway.wait(), 0)
        self.assertLess(time.monotonic() - began_s, NOISE_S)
        self.assertEqual([connection.recv(1) for connection in idle], [b""] * 3)
        told: list[Any] = closing.result(DEADLINE_S)
        self.assertEqual([message["event"] for message in told if message["event"] == "shutdown"], ["shutdown"])
        for connection in idle:
            connection.close()
