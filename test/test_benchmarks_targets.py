"""L{benchmarks.targets}: how what is measured is configured, started and ended."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from benchmarks import targets
from benchmarks.targets import Target, TargetError

STAND_IN = """
import sys
if "--help" in sys.argv:
    raise SystemExit({help_status})
from benchmarks.model_server import main
main(["--port", sys.argv[-1]])
"""
"""A gateway for the tests: the model server under the gateway's command line."""


class TargetTests(SynchronousTestCase):
    """How targets are set up, started and ended."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir()

    def stand_in(self, *, help_status: int = 0) -> str:
        script = self.folder / "stand_in.py"
        script.write_text(STAND_IN.format(help_status=help_status))
        return f"{sys.executable} {script}"

    def gateway(self, **kinds: Any) -> Target:
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        made = targets.ours(folder, 1, self.stand_in(**kinds))
        return msgspec.structs.replace(made, environment={**made.environment, "PYTHONPATH": str(targets.CHECKOUT)})

    def test_configuration(self) -> None:
        target = targets.ours(self.folder, 4321, "some openclaw")
        config = self.folder / "openclaw.json"
        document = json.loads(config.read_text())
        self.assertEqual(config.stat().st_mode & 0o777, 0o600)
        self.assertEqual(document["gateway"]["auth"], {"mode": "token", "token": target.token})
        self.assertEqual(document["gateway"]["port"], target.port)
        self.assertEqual(document["models"]["providers"]["bench"]["baseUrl"], "http://127.0.0.1:4321/v1")
        self.assertEqual(target.argv, ("some", "openclaw", "gateway", "run", "--port", str(target.port)))
        self.assertEqual(target.help_argv, ("some", "openclaw", "--help"))
        self.assertEqual(target.environment["OPENCLAW_STATE_DIR"], str(self.folder / "state"))
        self.assertNotIn("PYTHONPATH", target.environment)

    def test_environment_is_bare(self) -> None:
        environ = {"PATH": "/bin", "OPENCLAW_GATEWAY_TOKEN": "t", "HOME": "/root"}
        self.assertEqual(targets.base_environment(self.folder, environ), {"PATH": "/bin", "HOME": str(self.folder)})

    def test_our_command(self) -> None:
        self.assertEqual(targets.our_command("a 'b c'"), ("a", "b c"))
        with mock.patch("importlib.util.find_spec", return_value=None):
            error = self.assertRaises(TargetError, targets.our_command, "", self.folder)
        self.assertIn("pip install -e .", str(error))
        with mock.patch("importlib.util.find_spec", side_effect=ModuleNotFoundError):
            self.assertRaises(TargetError, targets.our_command, "", self.folder)
        with mock.patch("importlib.util.find_spec", return_value=object()):
            self.assertEqual(targets.our_command("", self.folder)[:2], (sys.executable, "-c"))
        with mock.patch.object(targets, "our_command", return_value=(sys.executable, "-c", "x")):
            self.assertEqual(targets.ours(self.folder, 1).environment["PYTHONPATH"], str(targets.CHECKOUT))
        (self.folder / "openclaw").touch()
        self.assertEqual(targets.our_command("", self.folder), (str(self.folder / "openclaw"),))

    def test_original(self) -> None:
        self.assertIsNone(targets.find_original("", {}))
        error = self.assertRaises(TargetError, targets.find_original, "", {"OC_ROOT": str(self.folder)})
        self.assertIn(f"there is no {self.folder}/openclaw.mjs", str(error))
        script = self.folder / "openclaw.mjs"
        script.touch()
        self.assertEqual(targets.find_original("", {"OC_ROOT": str(self.folder)}), script)
        self.assertEqual(targets.find_original(str(script), {}), script)
        target = targets.original(self.folder, 1, script, sys.executable)
        self.assertEqual(target.argv[:4], (sys.executable, str(script), "gateway", "run"))
        self.assertFalse(target.every_event)
        error = self.assertRaises(TargetError, targets.original, self.folder, 1, script, "no-such-node")
        self.assertEqual(str(error), "the original needs Node, and there is no 'no-such-node': name it with --node")

    def test_litellm(self) -> None:
        target = targets.litellm(self.folder, 4321, f"{sys.executable} -x")
        config = json.loads((self.folder / "litellm.yaml").read_text())
        self.assertEqual(config["general_settings"], {"master_key": target.token})
        self.assertEqual(config["model_list"][0]["litellm_params"]["api_base"], "http://127.0.0.1:4321/v1")
        self.assertEqual(target.argv[:4], (sys.executable, "-x", "--config", str(self.folder / "litellm.yaml")))
        self.assertRaises(TargetError, targets.litellm, self.folder, 1, "no-such-litellm")

    def test_loopback_start_and_end(self) -> None:
        target, core = self.gateway(), min(os.sched_getaffinity(0))
        with targets.started(target, core, self.folder / "log") as running:
            self.assertGreater(running.ready_s, 0)
            self.assertEqual(os.sched_getaffinity(running.pid), {core})
            self.assertTrue(targets.answers_200(target.port, "/readyz"))
            self.assertFalse(targets.answers_200(target.port, "/nothing"))
            self.assertIn("listening", running.last_lines())
        self.assertRaises(ProcessLookupError, os.kill, running.pid, 0)
        self.assertFalse(targets.answers_200(target.port, "/readyz"))

    def test_a_target_that_does_not_start(self) -> None:
        core = min(os.sched_getaffinity(0))
        base = msgspec.structs.replace(self.gateway(), port=targets.free_port())
        for argv, within_s, message in (
            ((str(self.folder / "nothing"),), 9, "cannot be started: No such file or directory"),
            (("sh", "-c", "echo why; exit 3"), 9, "it ended with status 3 before it was ready; last words:\nwhy"),
            (("sleep", "60"), 0.01, "it was not ready within 0.01 s"),
        ):
            target = msgspec.structs.replace(base, argv=argv)
            with self.assertRaises(TargetError) as caught, targets.started(target, core, self.folder / "log", within_s):
                pass
            self.assertIn(message, str(caught.exception))

    def test_a_target_that_does_not_end(self) -> None:
        argv = ("sh", "-c", "trap '' TERM; echo up; while :; do sleep 60; done")
        target = msgspec.structs.replace(self.gateway(), argv=argv)
        self.patch(targets, "answers_200", self.has_printed)
        self.patch(targets, "STOP_S", 0.05)
        with targets.started(target, min(os.sched_getaffinity(0)), self.folder / "log") as running:
            pass
        self.assertRaises(ProcessLookupError, os.kill, running.pid, 0)

    def has_printed(self, port: int, path: str) -> bool:
        return "up" in (self.folder / "log").read_text()

    def test_help(self) -> None:
        core = min(os.sched_getaffinity(0))
        self.assertEqual(len(targets.help_wall_s(self.gateway(), core, 1)), 1)
        error = self.assertRaises(TargetError, targets.help_wall_s, self.gateway(help_status=4), core, 1)
        self.assertIn("--help exits with 4", str(error))
        broken = msgspec.structs.replace(self.gateway(), help_argv=("no-such-program",))
        self.assertRaises(TargetError, targets.help_wall_s, broken, core, 1)
