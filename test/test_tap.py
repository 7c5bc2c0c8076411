"""The plugin's options and service."""

import gc
import io
import os
import sys
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.application.service import Application, IServiceMaker
from twisted.logger import ILogObserver
from twisted.plugin import IPlugin
from twisted.python.usage import UsageError
from twisted.scripts.twistd import ServerOptions
from twisted.trial.unittest import TestCase

from openclaw import log_twistd, tap
from openclaw._version import __version__
from openclaw.log_twistd import TwistdLog, TwistdStream
from openclaw.redact import process_redactor
from openclaw.service.twistd import GatewayService
from openclaw.tap import TwistdOptions, makeService


class TapTestCase(TestCase):
    def setUp(self) -> None:
        self.home = Path(self.mktemp()).absolute()
        self.home.mkdir()
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENCLAW_")}
        patch = mock.patch.dict(os.environ, {**kept, "HOME": str(self.home), "OPENCLAW_GATEWAY_TOKEN": "t"}, clear=True)
        patch.start()
        self.addCleanup(patch.stop)

    def options(self, *arguments: str) -> TwistdOptions:
        options = TwistdOptions()
        options.parseOptions(list(arguments))
        return options

    def ended(self, *arguments: str) -> tuple[object, str, str]:
        out, err = io.StringIO(), io.StringIO()
        with (
            mock.patch.object(sys, "stdout", out),
            mock.patch.object(sys, "stderr", err),
            self.assertRaises(SystemExit) as ended,
        ):
            makeService(self.options(*arguments))
        return ended.exception.code, out.getvalue(), err.getvalue()


class TapTests(TapTestCase):
    def test_service(self) -> None:
        frozen: list[None] = []
        self.patch(gc, "freeze", lambda: frozen.append(None))
        self.patch(gc, "set_threshold", lambda *_: None)
        clocks = mock.Mock()
        self.patch(tap, "SteadyClock", clocks)
        service = makeService(self.options("--port", "18123"))
        clocks.assert_called_once_with(tap.reactor)
        self.assertIsInstance(service, GatewayService)
        self.assertEqual(len(frozen), 1)
        self.assertEqual(list(self.home.iterdir()), [])

    def test_options_reach_the_plan(self) -> None:
        config = self.home / "c.json"
        config.write_text('{gateway: {customBindHost: "127.0.0.3"}}')
        planned = self.options("-c", str(config), "-p", "18123", "-b", "custom", "--profile", "dev").plan()
        self.assertEqual(planned.loaded.path, config)
        self.assertEqual(planned.listening.url(), "http://127.0.0.3:18123")
        self.assertEqual(planned.paths.state_dir, self.home / ".openclaw-dev")
        planned = self.options("-e", "unix:/x").plan()
        self.assertEqual(planned.listening.description, "unix:/x")

    def test_contradictions(self) -> None:
        for arguments in (
            ("--endpoint", "unix:x", "--port", "1"),
            ("--endpoint", "unix:x", "--bind", "lan"),
            ("--bind", "tailnet"),
            ("--port", "x"),
            ("--nope",),
        ):
            with self.assertRaises(UsageError):
                self.options(*arguments)

    def test_version(self) -> None:
        self.assertEqual(self.ended("--version"), (0, f"openclaw {__version__}\n", ""))

    def test_refused_in_one_line(self) -> None:
        del os.environ["OPENCLAW_GATEWAY_TOKEN"]
        self.assertEqual(
            self.ended(),
            (78, "", "openclaw: no credential: run openclaw quickstart, or set OPENCLAW_GATEWAY_TOKEN\n"),
        )
        status, _, err = self.ended("--endpoint", "ssl:1")
        self.assertEqual((status, len(err.splitlines())), (1, 1))
        status, _, err = self.ended("--profile", "../x")
        self.assertEqual(
            (status, err), (1, "openclaw: --profile: expected 1 to 64 letters, digits, _ and -, got '../x'\n")
        )

    def test_broken_configuration(self) -> None:
        config = self.home / "c.json"
        config.write_text("{gateway: {port: 0, bind: 1}}")
        status, _, err = self.ended("--config", str(config))
        self.assertEqual((status, len(err.splitlines())), (78, 3))


class LogTests(TapTestCase):
    """What twistd is given to log with."""

    def made(self, *arguments: str, document: str = "{}") -> Any:
        """The observer that the application has."""
        self.patch(log_twistd, "call_at_exit", lambda call: None)
        self.patch(gc, "freeze", lambda: None)
        self.patch(gc, "set_threshold", lambda *_: None)
        config = self.home / "c.json"
        config.write_text(document)
        twistd = ServerOptions()
        twistd.parseOptions([*arguments, "openclaw", "--config", str(config)])
        application = Application("openclaw")
        makeService(twistd.subOptions).setServiceParent(application)
        return application.getComponent(ILogObserver, None)

    def test_every_way(self) -> None:
        for arguments, kind in (
            (("--nodaemon",), TwistdStream),
            (("--nodaemon", "--logfile=-"), TwistdStream),
            (("--nodaemon", f"--logfile={self.home}/x.log"), TwistdLog),
            (("--nodaemon", "--syslog"), TwistdLog),
            (("--syslog", "--logfile=x"), TwistdLog),
            ((), TwistdLog),
            ((f"--logfile={self.home}/x.log",), TwistdLog),
        ):
            self.assertIs(type(self.made(*arguments)), kind, arguments)

    def test_a_logger_of_their_own(self) -> None:
        self.assertIsNone(self.made("--logger", "twisted.logger.globalLogPublisher"))

    def test_without_twistd(self) -> None:
        self.patch(gc, "freeze", lambda: None)
        self.patch(gc, "set_threshold", lambda *_: None)
        application = Application("openclaw")
        makeService(self.options("--port", "18123")).setServiceParent(application)
        self.assertIsNone(application.getComponent(ILogObserver, None))

    def admits(self, made: Any, level: str) -> bool:
        return bool(made._levels.admits("x", level))

    def test_levels(self) -> None:
        document = '{logging: {level: "debug", consoleLevel: "error"}}'
        self.assertTrue(self.admits(self.made(document=document), "debug"))
        self.assertFalse(self.admits(self.made("--nodaemon", document=document), "warn"))
        os.environ["OPENCLAW_LOG_LEVEL"] = "warn"
        for arguments in ((), ("--nodaemon",)):
            made = self.made(*arguments, document=document)
            self.assertEqual((self.admits(made, "info"), self.admits(made, "warn")), (False, True))

    def test_secrets_are_known_before_the_first_word(self) -> None:
        learned: list[str] = []
        self.patch(process_redactor, "learn", learned.extend)
        self.made(document='{gateway: {auth: {token: "a-token-of-mine"}}}')
        self.assertIn("a-token-of-mine", learned)

    def test_daemon_without_output(self) -> None:
        error = self.assertRaises(UsageError, self.made, "--logfile=-")
        self.assertIn("--nodaemon", str(error))

    def test_no_folder(self) -> None:
        err = io.StringIO()
        with mock.patch.object(sys, "stderr", err), self.assertRaises(SystemExit):
            self.made(f"--logfile={self.home}/none/x.log")
        self.assertIn("cannot write the log", err.getvalue())
        self.assertEqual(len(err.getvalue().splitlines()), 1)


class PluginTests(TestCase):
    def test_names_the_tap(self) -> None:
        from twisted.plugins.openclaw_plugin import serviceMaker

        self.assertTrue(IServiceMaker.providedBy(serviceMaker))
        self.assertTrue(IPlugin.providedBy(serviceMaker))
        self.assertEqual((serviceMaker.tapname, serviceMaker.module), ("openclaw", "openclaw.tap"))
        self.assertIs(serviceMaker.options, TwistdOptions)
        self.assertIs(serviceMaker.makeService, makeService)
