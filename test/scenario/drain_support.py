"""
Clients and a model server for the tests that stop or kill a gateway amid its work.
"""

import contextlib
import http.client
import itertools
import json
import os
import socket
import struct
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from test.scenario.support import DEADLINE_S, TOKEN, Client, GatewayTestCase

_HEAD = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
_UPGRADE = f"{_HEAD}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"


class MoodyModel:
    """
    A model server that fails as the last user message says.

    C{mute} is never answered, C{half} stops after one word, C{busy} is refused with a request to come again in four
    seconds; everything else is echoed, C{flood} with a megabyte after it.

    @ivar prompts: the messages of each call, newest last.
    """

    def __init__(self) -> None:
        model = self
        self.prompts: list[list[dict[str, Any]]] = []
        self._is_over = threading.Event()

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

        class Answer(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                messages = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"]
                model.prompts.append(messages)
                with contextlib.suppress(OSError):
                    model.answer(self, messages[-1]["content"])

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing is told."""

        self._server = Server(("127.0.0.1", 0), Answer)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """What a gateway calls it by."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def answer(self, request: BaseHTTPRequestHandler, text: str) -> None:
        """Answer one call."""
        request.close_connection = True
        if text.startswith("busy"):
            request.send_response(503)
            request.send_header("Retry-After", "4")
            request.send_header("Content-Length", "0")
            request.end_headers()
        elif text.startswith("mute"):
            self._is_over.wait(DEADLINE_S)
        else:
            request.send_response(200)
            request.send_header("Content-Type", "text/event-stream")
            request.end_headers()
            self._say(request, f"echo {text}")
            if text.startswith("half"):
                self._is_over.wait(DEADLINE_S)
                return
            for _ in range(256 if text.startswith("flood") else 0):
                self._say(request, "x" * 4096)
            self._event(request, {}, "stop")
            request.wfile.write(b"data: [DONE]\n\n")

    def _say(self, request: BaseHTTPRequestHandler, word: str) -> None:
        self._event(request, {"content": word}, None)

    def _event(self, request: BaseHTTPRequestHandler, delta: dict[str, str], reason: str | None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        request.wfile.write(b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n")

    def stop(self) -> None:
        """End it."""
        self._is_over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(DEADLINE_S)


class Answer:
    """
    What a client was answered, and how the connection ended.

    @ivar headers: of the response, with small letters.
    @ivar body: all of it.
    """

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def error(self) -> Any:
        """The error of a body that is one."""
        return json.loads(self.body)["error"]

    @property
    def events(self) -> list[Any]:
        """The events of a stream."""
        data = [line[6:] for line in self.body.split(b"\n\n") if line.startswith(b"data: ")]
        return ["[DONE]" if line == b"[DONE]" else json.loads(line) for line in data]


def ask(
    port: int,
    text: str,
    began: threading.Event | None = None,
    headers: dict[str, str] | None = None,
    **fields: Any,
) -> Answer:
    """
    Ask for a chat completion and read the answer to its end.

    @param began: set when the head of the answer is there.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
    with contextlib.closing(connection):
        sent = {"Authorization": f"Bearer {TOKEN}", "Connection": "close", **(headers or {})}
        connection.request("POST", "/v1/chat/completions", Client.body(text, **fields), sent)
        response = connection.getresponse()
        if began is not None:
            began.set()
        told = {name.lower(): value for name, value in response.getheaders()}
        # A chunked body that is cut raises here.
        return Answer(response.status, told, response.read())


class SocketClient:
    """A WebSocket client of a gateway that has connected."""

    def __init__(self, port: int, token: str = TOKEN) -> None:
        self._ids = itertools.count(1)
        self._socket = socket.create_connection(("127.0.0.1", port), DEADLINE_S)
        self._reader = self._socket.makefile("rb")
        self._socket.sendall(_UPGRADE.encode())
        while self._reader.readline().strip():
            pass
        self.until("event", "connect.challenge")
        client = {"id": "gateway-client", "version": "1", "platform": "linux", "mode": "backend"}
        scopes = {"role": "operator", "scopes": ["operator.admin"]}
        wanted = self.send(
            "connect", {"minProtocol": 4, "maxProtocol": 4, "client": client, "auth": {"token": token}, **scopes}
        )
        answer = self.until("res", wanted)
        assert answer["ok"], answer

    def send(self, method: str, params: dict[str, Any]) -> str:
        """Call a method; gives the id of its answers."""
        call_id = str(next(self._ids))
        payload = json.dumps({"type": "req", "id": call_id, "method": method, "params": params}).encode()
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
        size = len(payload)
        head = struct.pack("!BB", 0x81, 0x80 | size) if size < 126 else struct.pack("!BBH", 0x81, 0xFE, size)
        self._socket.sendall(head + mask + masked)
        return call_id

    def frame(self) -> tuple[int, bytes]:
        """The next frame: opcode and payload; C{(8, b"")} if the connection has ended."""
        head = self._reader.read(2)
        if len(head) < 2:
            return 8, b""
        length = head[1] & 127
        if length == 126:
            (length,) = struct.unpack("!H", self._reader.read(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self._reader.read(8))
        return head[0] & 15, self._reader.read(length)

    def until(self, kind: str, name: str) -> Any:
        """The next event of this name, or the next response to the call of this id."""
        for found in self.messages():
            if found["type"] == kind and found["event" if kind == "event" else "id"] == name:
                return found
        raise AssertionError(f"the connection ended before {kind} {name}")

    def messages(self) -> Any:
        """All messages up to the close frame, whose code is then in C{close_code}."""
        while True:
            opcode, payload = self.frame()
            if opcode == 8:
                self.close_code = int.from_bytes(payload[:2], "big") if payload else None
                return
            if opcode == 1:
                yield json.loads(payload)

    def close(self) -> None:
        """Leave."""
        self._reader.close()
        self._socket.close()


class AmidWorkTestCase(GatewayTestCase):
    """A gateway with two providers, C{p} and C{moody}, and clients in threads."""

    def setUp(self) -> None:
        super().setUp()
        self.moody = MoodyModel()
        self.addCleanup(self.moody.stop)
        self._threads = ThreadPoolExecutor(16)
        self.addCleanup(self._threads.shutdown, wait=True)

    def write_config(self, drain_ms: int | None = None, **defaults: Any) -> None:
        """Write a configuration with an agent C{moody} besides the usual one."""
        document = self.document(**({} if drain_ms is None else {"shutdownDrainMs": drain_ms}))
        provider = {"baseUrl": self.moody.url, "apiKey": "none", "models": [{"id": "m"}]}
        document["models"]["providers"]["moody"] = provider
        document["agents"]["defaults"] |= defaults
        document["agents"]["entries"] = {"main": {"default": True}, "moody": {"model": "moody/m"}}
        self.write(document)

    def asking(self, text: str, **fields: Any) -> Future[Answer]:
        """Ask in a thread."""
        return self._threads.submit(ask, self.port, text, **fields)

    def streaming(self, text: str, **fields: Any) -> Future[Answer]:
        """Ask for a stream in a thread; returns when it has begun."""
        began = threading.Event()
        future = self._threads.submit(ask, self.port, text, began, stream=True, **fields)
        assert began.wait(DEADLINE_S)
        return future

    def call(self, function: Any, *arguments: Any) -> Future[Any]:
        """Call something in a thread."""
        return self._threads.submit(function, *arguments)
