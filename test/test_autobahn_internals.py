"""
Tests of L{openclaw.autobahn_internals}: whether Autobahn still has inside what is leant on, and what is done better.

If one of the first fails, look for the same thing in its new place, and change that module alone.
"""

from __future__ import annotations

import inspect
import subprocess
import sys

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.protocol import FrameHeader, WebSocketProtocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from openclaw import autobahn_internals
from openclaw.autobahn_internals import frame_head, unmask

OVERRIDDEN = (
    "consumeData",
    "dropConnection",
    "onFrameData",
    "onMessageFrameBegin",
    "onMessageFrameData",
    "processControlFrame",
    "sendHttpErrorResponse",
)
"""What the library calls of itself, and finds ours."""

CALLED = ("processData", "sendCloseFrame", "sendData")
SET = ("control_frame_data", "current_frame", "http_headers", "maxFramePayloadSize", "message_data", "state")


class NameTests(SynchronousTestCase):
    def test_methods(self) -> None:
        for name in OVERRIDDEN:
            self.assertTrue(callable(getattr(WebSocketServerProtocol, name)), name)
        for name in CALLED:
            self.assertTrue(callable(getattr(WebSocketServerProtocol, name)), name)
        for name in ("STATE_OPEN", "STATE_CLOSING", "STATE_CLOSED"):
            self.assertTrue(hasattr(WebSocketServerProtocol, name), name)

    def test_attributes(self) -> None:
        module = inspect.getsource(inspect.getmodule(WebSocketProtocol))  # type: ignore[arg-type]
        for name in SET:
            self.assertTrue(f"self.{name}" in module, name)
        header = FrameHeader(1, True, 0, 5, "")
        self.assertEqual((header.opcode, header.length, header.mask), (1, 5, ""))

    def test_timers(self) -> None:
        """The library's deadlines are on the clock that is given, and on none of its own."""
        clock = Clock()
        factory = autobahn_internals.ServerSocketFactory(clock, "x")
        self.assertTrue("self.factory._batched_timer.call_later" in inspect.getsource(WebSocketProtocol))
        self.assertTrue(hasattr(WebSocketServerFactory(reactor=clock), "_batched_timer"))
        factory._batched_timer.call_later(1, list)
        self.assertEqual(len(clock.getDelayedCalls()), 1)


class FrameTests(SynchronousTestCase):
    def test_heads_of_frames(self) -> None:
        for size, head in (
            (0, b"\x81\x00"),
            (125, b"\x81\x7d"),
            (126, b"\x81\x7e\x00\x7e"),
            (65535, b"\x81\x7e\xff\xff"),
            (65536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
        ):
            self.assertEqual(frame_head(size), head)

    def test_unmask(self) -> None:
        data, mask = bytes(range(256)) * 3, b"\x00\xff\x5a\x13"
        plain = bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
        for cut in range(9):
            self.assertEqual(unmask(data[:cut], mask, 0) + unmask(data[cut:], mask, cut), plain)


class ImportTests(SynchronousTestCase):
    def test_start_does_not_wait_for_a_compiled_extension(self) -> None:
        """Autobahn's costs 60 ms."""
        for module in ("openclaw.service.gateway", "openclaw.ws.factory", "openclaw.autobahn_internals"):
            program = f"import sys, {module}; print('autobahn' in sys.modules, 'autobahn.nvx' in sys.modules)"
            done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
            self.assertEqual(done.stdout.split(), ["True", "False"], module)
