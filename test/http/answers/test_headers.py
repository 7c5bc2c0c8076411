"""Tests of L{openclaw.http.answers.headers}; run and session are tested with the routes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from openclaw.events import Timings
from openclaw.http.answers.headers import server_timing


class ServerTimingTests(SynchronousTestCase):
    def test_server_timing(self) -> None:
        self.assertEqual(server_timing(Timings(1.0)), "")
        self.assertEqual(server_timing(Timings(1.0, 1.5, 2.5, 2.75)), "prepare;dur=750.0, queue;dur=1000.0")
        self.assertEqual(
            server_timing(Timings(1.0, 1.0, 1.0, 1.0, 1.25)),
            "prepare;dur=0.0, queue;dur=0.0, provider-first-byte;dur=250.0",
        )
        placed = {"received": 1.0, "admitted": 1.0, "let_in": 1.0, "placed": 1.0}
        for attempts, told in ((1, ""), (3, ', attempts;desc="3"')):
            timings = Timings(**placed, attempts=attempts)
            self.assertEqual(server_timing(timings), f"prepare;dur=0.0, queue;dur=0.0{told}")
        timings = Timings(**placed, attempts=2, model_ref='p/m "x"\\')
        self.assertTrue(server_timing(timings).endswith(', attempts;desc="2", model;desc="p/m__x__"'))
