"""Tests of L{openclaw.process.failures}; that its status is the process's is in C{test/scenario/test_twistd.py}."""

import atexit
from collections.abc import Callable

from twisted.internet.error import ReactorNotRunning
from twisted.trial.unittest import SynchronousTestCase

from openclaw.process.failures import exit_with
from test.service.support import MemoryReactor


class ExitTests(SynchronousTestCase):
    def test_reactor_that_is_stopping_already(self) -> None:
        at_exit: list[Callable[[], None]] = []
        self.patch(atexit, "register", at_exit.append)
        reactor = MemoryReactor([])
        reactor.stop_error = ReactorNotRunning()
        exit_with(reactor, 5)
        for call, arguments, keywords in reactor.whenRunningHooks:
            call(*arguments, **keywords)
        self.assertEqual(len(at_exit), 1)
