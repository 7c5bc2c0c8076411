"""Tests of L{openclaw.http.connection.delivery}: what the kernel knows of an answer's way."""

from __future__ import annotations

import socket
import sys
from types import SimpleNamespace
from typing import Any

from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from openclaw.http.connection.delivery import Delivery, is_acknowledged


class DeliveryTests(SynchronousTestCase):
    if sys.platform != "linux":
        skip = "only Linux tells"

    def setUp(self) -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        self.client = socket.socket()
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        self.addCleanup(self.client.close)
        self.client.connect(listening.getsockname())
        self.server, _ = listening.accept()
        self.addCleanup(self.server.close)
        self.server.setblocking(False)
        self.transport: Any = SimpleNamespace(
            getHandle=lambda: self.server, dataBuffer=b"", _tempDataBuffer=[], TLS=False
        )
        self.delivery = Delivery()

    def fill(self) -> None:
        """Write more than the client's system takes."""
        while True:
            try:
                self.server.send(b"x" * 65536)
            except BlockingIOError:
                return

    def test_arrives(self) -> None:
        self.assertTrue(is_acknowledged(self.transport))
        self.assertFalse(self.delivery.is_complete)
        self.delivery.sent(self.transport)
        self.assertTrue(self.delivery.is_complete)
        self.delivery.settle()
        self.server.close()
        self.assertTrue(self.delivery.is_complete)

    def test_waits(self) -> None:
        self.fill()
        self.delivery.sent(self.transport)
        self.assertFalse(self.delivery.is_complete)
        self.delivery.settle()
        self.server.close()
        self.assertFalse(self.delivery.is_complete)

    def test_is_read(self) -> None:
        """Whoever asks the next thing has read the answer, whatever the kernel says."""
        self.fill()
        self.delivery.settle(is_read=True)
        self.assertFalse(self.delivery.is_complete, "not even written")
        self.delivery.sent(self.transport)
        self.delivery.settle(is_read=True)
        self.assertTrue(self.delivery.is_complete)

    def test_what_was_not_given_to_the_kernel(self) -> None:
        self.transport.dataBuffer = b"x"
        self.assertFalse(is_acknowledged(self.transport))

    def test_where_nobody_can_tell(self) -> None:
        self.assertFalse(is_acknowledged(StringTransport()))
        self.transport.TLS = True
        self.assertFalse(is_acknowledged(self.transport))
        self.transport.TLS = False
        self.server.close()
        self.assertFalse(is_acknowledged(self.transport))
