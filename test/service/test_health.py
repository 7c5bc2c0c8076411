"""Tests of L{openclaw.service.health}."""

from __future__ import annotations

from unittest import mock

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from openclaw.service.health import GatewayHealth


class GatewayHealthTests(SynchronousTestCase):
    def test_uptime_of_a_clock_that_was_set(self) -> None:
        reactor, clock = Clock(), mock.Mock(moved_s=0.0)
        health = GatewayHealth(reactor, clock)
        clock.moved_s = -5.0
        reactor.rightNow += 8.0 - 5.0
        self.assertEqual(health.uptime_ms(), 8000)

    def test_phases(self) -> None:
        health = GatewayHealth(Clock())
        self.assertEqual((health.phase(), health.is_wanted), ("starting", True))
        health.current = "started"
        self.assertEqual((health.phase(), health.is_wanted), ("started", True))
        health.current = "draining"
        self.assertEqual((health.phase(), health.is_wanted), ("draining", False))

    def test_failing(self) -> None:
        health = GatewayHealth(Clock())
        self.assertEqual(health.failing(), [])
        sound = {"store": True, "disk": True}
        for name in sound:
            health.watch(name, lambda name=name: sound[name])  # type: ignore[misc]
        self.assertEqual(health.failing(), [])
        sound["disk"] = False
        self.assertEqual(health.failing(), ["disk"])
