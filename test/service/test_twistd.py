"""Tests of L{openclaw.service.twistd}."""

import atexit
import os
import signal
from collections.abc import Callable
from unittest import mock

from twisted.application.service import Application
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogLevel

from openclaw.errors import ConfigError
from openclaw.service.gateway import Gateway
from openclaw.service.twistd import GatewayService, Logged
from openclaw.store.store import GatewayStore
from test.service.support import GatewayTestCase


class TwistdTests(GatewayTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.at_exit: list[Callable[[], None]] = []
        self.patch(atexit, "register", self.at_exit.append)
        self.signals: dict[int, Callable[..., None]] = {}
        self.patch(signal, "signal", self.signals.__setitem__)
        self.patch(signal, "getsignal", lambda number: signal.SIG_DFL)

    def test_starts_and_stops(self) -> None:
        gateway = GatewayService(self.gateway())
        gateway.startService()
        self.assertTrue(gateway.running)
        self.assertEqual(len(self.texts(LogLevel.info)), 1)
        self.assertIn("listens at http://127.0.0.1:18789", self.texts(LogLevel.info)[0])
        self.successResultOf(gateway.stopService())
        self.assertEqual(self.at_exit, [])
        self.assert_closed()

    def test_stopped_while_it_starts(self) -> None:
        opening: Deferred[GatewayStore] = Deferred()
        self.patch(GatewayStore, "open", lambda *_: opening)
        gateway = GatewayService(self.gateway())
        gateway.startService()
        stopping = gateway.stopService()
        self.stores.append(GatewayStore.in_memory())
        opening.callback(self.stores[0])
        self.successResultOf(stopping)
        self.assertEqual(self.texts(LogLevel.info), [])
        self.assertEqual(self.at_exit, [])

    def with_log(self, gateway: Gateway) -> mock.Mock:
        """A service that has started, with a log that tells what is done to it."""
        log = mock.Mock()
        self.service = GatewayService(gateway, Logged(log, lambda: "warn"))
        self.service.startService()
        return log

    def test_log(self) -> None:
        gateway = self.gateway()
        log = self.with_log(gateway)
        application = Application("x")
        self.service.setServiceParent(application)
        self.assertIs(application.getComponent(ILogObserver), log)
        self.assertEqual(log.mock_calls, [mock.call.start()])
        gateway.live.replace(gateway.live.current, gateway.live.environ)
        log.set_level.assert_called_once_with("warn")
        self.signals[signal.SIGUSR1](signal.SIGUSR1, None)
        self.reactor.advance(0)
        log.reopen.assert_called_once_with()
        self.successResultOf(self.service.stopService())
        log.stop.assert_not_called()
        after = self.reactor.triggers["after"]["shutdown"]
        self.assertEqual([call for call, _, _ in after], [log.stop])

    def test_log_of_a_failure(self) -> None:
        """Its last words are written before the process leaves."""
        self.patch(GatewayStore, "open", mock.Mock(side_effect=ConfigError(["a: bad"])))
        log = self.with_log(self.gateway())
        self.assertEqual(self.ended_with(), 78)
        log.stop.assert_called_once_with()

    def ended_with(self) -> int:
        """The status that the process would end with, once the reactor runs."""
        self.assertFalse(self.reactor.is_stopped)
        for call, arguments, keywords in self.reactor.whenRunningHooks:
            call(*arguments, **keywords)
        self.assertTrue(self.reactor.is_stopped)
        with mock.patch.object(os, "_exit") as leave:
            self.at_exit[0]()
        return int(leave.call_args.args[0])

    def test_second_gateway(self) -> None:
        first = self.started()
        GatewayService(self.gateway()).startService()
        self.assertIn("cannot start: gateway already running", self.texts(LogLevel.critical)[0])
        self.assertEqual(self.ended_with(), 78)
        self.successResultOf(self.stop(first))

    def test_bug(self) -> None:
        self.patch(GatewayStore, "open", mock.Mock(side_effect=ZeroDivisionError))
        GatewayService(self.gateway()).startService()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.ended_with(), 1)

    def test_configuration(self) -> None:
        self.patch(GatewayStore, "open", mock.Mock(side_effect=ConfigError(["a: bad"])))
        GatewayService(self.gateway()).startService()
        self.assertEqual(self.ended_with(), 78)
