"""Clients that read slowly, and that do not read, on real sockets; the minute that they have is made short here."""

from __future__ import annotations

import socket
from unittest import mock, skipUnless

from twisted.internet import task
from twisted.internet.threads import deferToThread

from openclaw.events import ProviderFinished, TextDelta
from openclaw.http.connection import stall
from test.scenario.test_disconnect import PortTestCase, reactor

STALL_S = 1.0
"""In place of a minute."""

READ_BYTES = 8192
READ_PAUSE_S = 0.4
"""A client that reads so much so often needs several minutes, of a second, for what Twisted and the kernel hold."""

NO_TCP_INFO = "this system does not say what a client has read"

END = b"[DONE]\n\n\r\n0\r\n\r\n"


class SlowReaderTests(PortTestCase):
    async def setUp(self) -> None:
        await super().setUp()
        self.patch(stall, "STALL_S", STALL_S)
        self.patch(stall, "LOOK_S", 0.1)

    async def begin(self) -> socket.socket:
        """A client whose answer is long and has ended."""
        client = self.chat(stream=True, receive_bytes=4096)
        await self.calls(1)
        stream = self.provider.streams[-1]
        for _ in range(100):
            stream.push(TextDelta("@" * 4000))
        stream.push(ProviderFinished("stop"))
        stream.end()
        return client

    @skipUnless(hasattr(socket, "TCP_INFO"), NO_TCP_INFO)
    async def test_slow_reader_gets_all(self) -> None:
        client = await self.begin()
        # As slowly as it can be until several of its minutes are over, then the rest.
        seen = b""
        began = reactor.seconds()
        while reactor.seconds() - began < 5 * STALL_S:
            seen += await deferToThread(client.recv, READ_BYTES)
            await task.deferLater(reactor, READ_PAUSE_S)
        self.assertLess(len(seen), 200_000)
        while END not in seen[-100:]:
            piece = await deferToThread(client.recv, 65536)
            self.assertTrue(piece, "cut off")
            seen += piece
        self.assertEqual(400_000, seen.count(b"@"))
        client.close()

    async def test_client_that_does_not_read_is_dropped(self) -> None:
        client = await self.begin()
        took_s = await self.until(lambda: not self.site.open_connections)
        self.assertGreater(took_s, 0.9 * STALL_S)
        await self.until(lambda: not self.runs.live)
        client.close()


class SystemTests(PortTestCase):
    @skipUnless(hasattr(socket, "TCP_INFO"), NO_TCP_INFO)
    async def test_what_the_kernel_says(self) -> None:
        """The number that progress is seen by is where it is looked for."""
        with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as near:
            far, _ = server.accept()
            with far:
                transport = mock.Mock(getHandle=lambda: near)
                before = stall.acknowledged_bytes(transport)
                near.sendall(b"x" * 1000)
                self.assertEqual(1000, len(await deferToThread(far.recv, 1000, socket.MSG_WAITALL)))
                await self.until(lambda: stall.acknowledged_bytes(transport) - before == 1000)
                near.close()
                self.assertEqual(0, stall.acknowledged_bytes(transport))
