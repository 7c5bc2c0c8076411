"""Tests of L{openclaw.process.notices}, with the sockets that systemd has."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from openclaw.process.notices import BEAT_S, Notices, notify_address, watchdog_s


class NoticesTests(SynchronousTestCase):
    def setUp(self) -> None:
        # A unix socket's name may have 107 bytes, and trial's folders are deep.
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "notify"
        self.clock = Clock()
        self.status = "0 runs"

    def systemd(self, address: str) -> socket.socket:
        """What listens at the other end."""
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.addCleanup(listening.close)
        listening.bind(address)
        return listening

    def notices(self, **environ: str) -> Notices:
        notices = Notices({"NOTIFY_SOCKET": str(self.path), **environ}, self.clock, lambda: self.status)
        self.addCleanup(notices.stop)
        notices.start()
        return notices

    def told(self, listening: socket.socket) -> list[list[str]]:
        messages = []
        while True:
            try:
                messages.append(listening.recv(4096).decode().split("\n"))
            except BlockingIOError:
                return messages

    def test_life(self) -> None:
        systemd = self.systemd(str(self.path))
        notices = self.notices()
        self.assertEqual(self.told(systemd), [["EXTEND_TIMEOUT_USEC=60000000", "STATUS=0 runs"]])
        self.clock.advance(BEAT_S)
        self.assertEqual(self.told(systemd), [["EXTEND_TIMEOUT_USEC=60000000"]])
        notices.ready()
        self.assertEqual(self.told(systemd), [["READY=1"]])
        self.clock.advance(BEAT_S)
        self.assertEqual(self.told(systemd), [])
        self.status = "3 runs, 2 waiting"
        self.clock.advance(BEAT_S)
        self.assertEqual(self.told(systemd), [["STATUS=3 runs, 2 waiting"]])
        notices.stopping()
        self.assertEqual(self.told(systemd), [["STOPPING=1"]])
        notices.stop()
        notices.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_watchdog(self) -> None:
        """It hears of us three times in its time, and not once while the reactor does not turn."""
        systemd = self.systemd(str(self.path))
        notices = self.notices(WATCHDOG_USEC="6000000", WATCHDOG_PID=str(os.getpid()))
        notices.ready()
        self.told(systemd)
        for _ in range(3):
            self.clock.advance(2)
            self.assertEqual(self.told(systemd), [["WATCHDOG=1"]])
        notices.stopping()
        self.told(systemd)
        self.clock.advance(2)
        self.assertEqual(self.told(systemd), [["WATCHDOG=1"]])

    def test_abstract(self) -> None:
        name = f"openclaw-test-{os.getpid()}"
        systemd = self.systemd(f"\0{name}")
        self.notices(NOTIFY_SOCKET=f"@{name}").ready()
        self.assertEqual(self.told(systemd)[-1], ["READY=1"])

    def test_what_is_not_read_is_told_later(self) -> None:
        """A full socket does not block, and nothing that matters is lost."""
        systemd = self.systemd(str(self.path))
        filling = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.addCleanup(filling.close)
        with self.assertRaises(BlockingIOError):
            while True:
                filling.sendto(b"x", str(self.path))
        notices = self.notices()
        notices.ready()
        self.told(systemd)
        self.clock.advance(BEAT_S)
        self.assertEqual(self.told(systemd), [["STATUS=0 runs", "READY=1"]])

    def test_nobody_listens(self) -> None:
        for name in (str(self.path), "/" + "x" * 200, "/a\0b", "vsock:2:1", "relative", "@", ""):
            notices = self.notices(NOTIFY_SOCKET=name, WATCHDOG_USEC="1000000")
            notices.ready()
            self.clock.advance(1)
            notices.stopping()
            notices.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_addresses(self) -> None:
        self.assertIsNone(notify_address({}))
        self.assertEqual(notify_address({"NOTIFY_SOCKET": "/run/x"}), "/run/x")
        self.assertEqual(notify_address({"NOTIFY_SOCKET": "@x"}), "\0x")

    def test_whose_watchdog(self) -> None:
        self.assertEqual(watchdog_s({"WATCHDOG_USEC": "1500000"}, 7), 1.5)
        self.assertEqual(watchdog_s({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": "7"}, 7), 1.5)
        for environ in (
            {},
            {"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": "8"},
            {"WATCHDOG_USEC": "0"},
            {"WATCHDOG_USEC": "-1"},
            {"WATCHDOG_USEC": "soon"},
        ):
            self.assertIsNone(watchdog_s(environ, 7), environ)
