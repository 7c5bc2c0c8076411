"""The port on real sockets: what only the kernel can show about clients that leave, stall and upgrade."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from openclaw.agents.runs import Runs
from openclaw.config.reload import LiveConfig
from openclaw.events import ProviderFinished, TextDelta
from openclaw.parts import Parts
from openclaw.providers.scripted import ScriptedProvider
from openclaw.service.compose import compose
from openclaw.service.stop import STOP_ORDER
from openclaw.store.store import GatewayStore
from test.gateway import make_core
from test.http.support import AUTH, CHAT, ScriptedCatalog, make_config, parse_answers

reactor: Any = global_reactor

PROMPT_S = 0.1
"""How soon the provider's stream must be closed after its client left, in seconds."""

NOISE_S = 0.4
"""What a busy machine may add to that, in seconds."""


def leave_by_close(client: socket.socket) -> None:
    """Both directions, in order."""
    client.close()


def leave_by_half_close(client: socket.socket) -> None:
    """Only the client's sending direction."""
    client.shutdown(socket.SHUT_WR)


def leave_by_reset(client: socket.socket) -> None:
    """A reset, as of a client that was killed with data unread."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


WAYS: tuple[Callable[[socket.socket], None], ...] = (leave_by_close, leave_by_half_close, leave_by_reset)


class PortTestCase(TestCase):
    timeout = 30

    async def setUp(self) -> None:
        """Serve a gateway with a scripted model on a port of loopback."""
        live = LiveConfig(make_config())
        self.provider = ScriptedProvider()
        self.store = GatewayStore.in_memory()
        self.addCleanup(self.store.close)
        catalog = ScriptedCatalog(self.provider)
        self.runs = Runs(lambda: live.current, catalog, self.store, reactor, lambda: 0.5)
        self.surfaces = compose(make_core(reactor, live, self.store, self.runs), Parts(reactor, STOP_ORDER))
        self.addCleanup(self.surfaces.joins.stop)
        self.site = self.surfaces.site
        port = reactor.listenTCP(0, self.site, interface="127.0.0.1")
        self.address = ("127.0.0.1", port.getHost().port)
        self.addCleanup(self.all_closed)
        self.addCleanup(port.stopListening)

    async def all_closed(self) -> None:
        """No connection may be left open when its client is gone."""
        await self.until(lambda: not self.site.open_connections and not self.surfaces.crowd.open_connections)

    def connect(self, receive_bytes: int | None = None) -> socket.socket:
        """A client."""
        client = socket.socket()
        if receive_bytes is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        client.settimeout(5)
        client.connect(self.address)
        self.addCleanup(client.close)
        return client

    def chat(self, *headers: str, receive_bytes: int | None = None, **fields: Any) -> socket.socket:
        """A client that has asked for an answer."""
        body = json.dumps({"messages": [{"role": "user", "content": "hi"}]} | fields)
        head = (f"POST {CHAT} HTTP/1.1", "Host: localhost", AUTH, f"Content-Length: {len(body)}", *headers)
        client = self.connect(receive_bytes)
        client.sendall(("\r\n".join(head) + "\r\n\r\n" + body).encode())
        return client

    async def until(self, reached: Callable[[], bool], within_s: float = 5.0) -> float:
        """Wait for something; gives the seconds that it took."""
        began = reactor.seconds()
        while not reached():
            if reactor.seconds() - began > within_s:
                self.fail(f"not reached within {within_s} s")
            await deferLater(reactor, 0.005)
        took: float = reactor.seconds() - began
        return took

    async def calls(self, count: int) -> None:
        """Wait until the model was called so often."""
        await self.until(lambda: len(self.provider.streams) == count)


class DisconnectTests(PortTestCase):
    async def gone(self, client: socket.socket, leave: Callable[[socket.socket], None]) -> None:
        """Leave, and check that the provider's stream is closed at once and nothing goes on."""
        stream = self.provider.streams[-1]
        self.assertFalse(stream.closed)
        leave(client)
        await self.until(lambda: stream.aborted, PROMPT_S + NOISE_S)
        await self.until(lambda: not self.runs.live)
        client.close()

    async def test_before_the_first_byte(self) -> None:
        for number, leave in enumerate(WAYS):
            client = self.chat(stream=True)
            await self.calls(number + 1)
            await self.gone(client, leave)

    async def test_after_more_bytes(self) -> None:
        for number, leave in enumerate(WAYS):
            client = self.chat(stream=True)
            await self.calls(number + 1)
            client.sendall(b"G" * 10_000)
            await deferLater(reactor, 0.05)
            await self.gone(client, leave)

    async def test_after_many_more_bytes(self) -> None:
        client = self.chat(stream=True)
        await self.calls(1)

        def send(client: socket.socket) -> None:
            client.sendall(b"G" * 40_000)

        # It is cut off while it is still there: nothing would be read from it that tells when it leaves.
        await self.gone(client, send)

    async def test_mid_stream(self) -> None:
        for number, leave in enumerate(WAYS):
            client = self.chat(stream=True)
            await self.calls(number + 1)
            self.provider.streams[-1].push(TextDelta("hello"))
            self.assertIn(b"hello", await deferToThread(self.read_until, client, b"hello"))
            await self.gone(client, leave)

    async def test_not_streaming(self) -> None:
        for number, leave in enumerate(WAYS):
            client = self.chat()
            await self.calls(number + 1)
            self.provider.streams[-1].push(TextDelta("hello"))
            await self.gone(client, leave)

    async def test_while_not_reading(self) -> None:
        for number, leave in enumerate(WAYS):
            client = self.chat(stream=True, receive_bytes=4096)
            await self.calls(number + 1)
            stream = self.provider.streams[-1]
            for _ in range(400):
                stream.push(TextDelta("x" * 50_000))
            # The client's buffer, ours and the kernel's are full: the provider is read no further.
            await self.stalled()
            self.assertLess(stream.taken * 50_000, 1_000_000)
            await self.gone(client, leave)

    async def stalled(self) -> None:
        """Wait until nothing more is read from the provider although it has more."""
        stream, before = self.provider.streams[-1], -1
        while stream.taken != before:
            before = stream.taken
            await deferLater(reactor, 0.1)
        self.assertGreater(stream.taken, 1)
        self.assertGreater(stream.pending, 100)

    async def test_queued(self) -> None:
        first = self.chat("x-openclaw-session-key: s", stream=True)
        await self.calls(1)
        for leave in WAYS:
            second = self.chat("x-openclaw-session-key: s", stream=True)
            await self.until(lambda: self.runs.waiting == 1)
            leave(second)
            await self.until(lambda: self.runs.waiting == 0, PROMPT_S + NOISE_S)
            second.close()
        await self.gone(first, leave_by_close)
        self.assertEqual(len(self.provider.streams), 1)

    async def test_slow_client_gets_all(self) -> None:
        client = self.chat(stream=True, receive_bytes=4096)
        await self.calls(1)
        stream = self.provider.streams[-1]
        for _ in range(400):
            stream.push(TextDelta("x" * 50_000))
        stream.push(ProviderFinished("stop"))
        stream.end()
        await self.stalled()
        data = await deferToThread(self.read_until, client, b"[DONE]\n\n\r\n0\r\n\r\n")
        (answer,) = parse_answers(data)
        texts = [chunk["choices"][0]["delta"].get("content", "") for chunk in answer.events[:-1]]
        self.assertEqual(len("".join(texts)), 20_000_000)
        client.close()

    @staticmethod
    def read_until(client: socket.socket, end: bytes) -> bytes:
        """Read until some bytes have come."""
        pieces: list[bytes] = []
        tail = b""
        while end not in tail:
            pieces.append(client.recv(65536))
            if not pieces[-1]:
                raise AssertionError("closed before")
            tail = tail[-len(end) :] + pieces[-1]
        return b"".join(pieces)


class RefusalTests(PortTestCase):
    async def test_answer_arrives_although_the_body_is_still_sent(self) -> None:
        head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3000000\r\n\r\n".encode()

        def talk() -> bytes:
            client = self.connect()
            client.sendall(head)
            sender = threading.Thread(target=client.sendall, args=(b"x" * 3_000_000,))
            sender.start()
            sender.join()
            data = b""
            while piece := client.recv(65536):
                data += piece
            client.close()
            return data

        (answer,) = parse_answers(await deferToThread(talk))
        self.assertEqual((answer.status, answer.whole), (401, True))
        self.assertEqual(self.provider.requests, [])


class WebSocketTests(PortTestCase):
    async def test_upgrade_challenge_and_refusal(self) -> None:
        connect = json.dumps({"type": "req", "id": "1", "method": "connect", "params": {}}).encode()

        def talk() -> bytes:
            client = self.connect()
            client.sendall(
                b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            data = DisconnectTests.read_until(client, b"connect.challenge")
            client.sendall(bytes([0x81, 0x80 | len(connect)]) + bytes(4) + connect)
            data += DisconnectTests.read_until(client, struct.pack("!H", 1008) + b"invalid connect params: ")
            client.sendall(bytes([0x88, 0x82]) + bytes(4) + struct.pack("!H", 1008))
            client.close()
            return data

        data = await deferToThread(talk)
        self.assertTrue(data.startswith(b"HTTP/1.1 101 "))
        self.assertIn(b'"INVALID_REQUEST"', data)

    async def test_client_leaves_before_it_connects(self) -> None:
        client = self.connect()
        client.sendall(
            b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        await self.until(lambda: len(self.surfaces.crowd.open_connections) == 1)
        self.assertEqual(self.site.open_connections, set())
        leave_by_reset(client)
        await self.until(lambda: not self.surfaces.crowd.open_connections)
