"""The plugin's options and service."""

import gc
import io
import os
import sys
from pathlib import Path
from unittest import mock

from twisted.application.service import IServiceMaker
from twisted.plugin import IPlugin
from twisted.python.usage import UsageError
from twisted.trial.unittest import TestCase

from openclaw import tap
from openclaw._version import __version__
from openclaw.service.twistd import GatewayService
from openclaw.tap import TwistdOptions, makeService


class TapTests(TestCase):
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


class PluginTests(TestCase):
    def test_names_the_tap(self) -> None:
        from twisted.plugins.openclaw_plugin import serviceMaker

        self.assertTrue(IServiceMaker.providedBy(serviceMaker))
        self.assertTrue(IPlugin.providedBy(serviceMaker))
        self.assertEqual((serviceMaker.tapname, serviceMaker.module), ("openclaw", "openclaw.tap"))
        self.assertIs(serviceMaker.options, TwistdOptions)
        self.assertIs(serviceMaker.makeService, makeService)
