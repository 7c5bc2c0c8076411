"""Tests of L{openclaw.service.foreground}."""

import gc
import signal
from collections.abc import Callable

from openclaw.process.clock import SteadyClock
from openclaw.process.memory import LOOK_INTERVAL_S
from openclaw.service import foreground
from openclaw.service.foreground import run_foreground
from test.service.support import GatewayTestCase


class RunTests(GatewayTestCase):
    def test_runs_the_reactor(self) -> None:
        gateway = self.gateway()
        ready: list[str] = []
        signals: dict[int, Callable[..., None]] = {}
        self.patch(signal, "signal", signals.__setitem__)
        clocks: list[SteadyClock] = []
        followed: list[None] = []
        self.patch(SteadyClock, "__init__", lambda clock, reactor: clocks.append(clock))
        self.patch(SteadyClock, "follow", lambda clock: followed.append(None))
        self.patch(foreground, "reactor", self.reactor)
        frozen: list[None] = []
        self.patch(gc, "freeze", lambda: frozen.append(None))
        self.patch(gc, "set_threshold", lambda *_: None)
        self.assertEqual(run_foreground(gateway.plan, ready.append), 0)
        self.assertTrue(self.reactor.hasRun)
        self.assertEqual(len(frozen), 1)
        self.assertEqual(ready, ["http://127.0.0.1:18789"])
        self.reactor.advance(LOOK_INTERVAL_S)
        self.assertEqual((len(clocks), followed), (1, [None]))
        signals[signal.SIGTERM](signal.SIGTERM, None)
        self.reactor.advance(0)
