"""The reactor's loop of a command."""

import os
import signal
from typing import Any
from unittest import mock

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.trial.unittest import TestCase

from openclaw.cli.client import loop as client_module
from openclaw.cli.client.errors import CallFailed
from openclaw.cli.client.loop import Loop
from test.cli.gateway_fake import FakeReactor


class LoopTests(TestCase):
    def setUp(self) -> None:
        self.reactor = FakeReactor(ConnectionRefusedError())
        self.loop = Loop(self.reactor)

    def test_status_and_failure(self) -> None:
        async def work(reactor: Any) -> int:
            return 3

        async def broken(reactor: Any) -> int:
            raise ZeroDivisionError

        before = signal.getsignal(signal.SIGINT)
        self.assertEqual(self.loop.run(work), 3)
        self.assertRaises(ZeroDivisionError, Loop(FakeReactor(OSError())).run, broken)
        self.assertIs(signal.getsignal(signal.SIGINT), before)

    def interrupted(self, number: int, then: BaseException | None = None) -> int:
        said: list[str] = []

        async def work(reactor: Any) -> int:
            reactor.callLater(1, os.kill, os.getpid(), number)
            reactor.callLater(60, lambda: None)
            try:
                await Deferred()
            except defer.CancelledError:
                said.append("goodbye")
                if then is not None:
                    raise then from None
                raise
            return 0

        try:
            return self.loop.run(work)
        finally:
            self.assertEqual(said, ["goodbye"])

    def test_signals(self) -> None:
        self.assertEqual(self.interrupted(signal.SIGINT), 130)
        self.loop = Loop(FakeReactor(OSError()))
        self.assertEqual(self.interrupted(signal.SIGTERM), 143)

    def test_a_failure_after_a_signal_is_told(self) -> None:
        self.assertRaises(CallFailed, self.interrupted, signal.SIGINT, CallFailed("no"))

    def test_second_signal(self) -> None:
        with mock.patch.object(os, "_exit") as leave:
            self.loop.on_signal(signal.SIGINT, None)
            self.loop.on_signal(signal.SIGTERM, None)
        leave.assert_called_once_with(143)
        self.reactor.advance(0)  # no work yet to interrupt

    def test_runs_on_the_process_reactor(self) -> None:
        from twisted.internet import reactor

        self.assertIs(client_module.process_reactor(), reactor)
