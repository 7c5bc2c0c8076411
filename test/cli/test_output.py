"""The state of the commands, and how they print."""

import io
import os
import sys
from unittest import mock

from openclaw.cli.output import State, announce
from test.cli.support import CommandTestCase


class StateTests(CommandTestCase):
    def test_level(self) -> None:
        self.assertEqual(State().level(), "info")
        self.assertEqual(State().level("warn"), "warn")
        os.environ["OPENCLAW_LOG_LEVEL"] = " debug "
        self.assertEqual(State().level("warn"), "debug")
        self.assertEqual(State(log_level="error").level("warn"), "error")

    def test_paths_follow_profile_and_environment(self) -> None:
        self.assertEqual(State().paths.state_dir, self.state_dir)
        self.assertEqual(State(profile="x").paths.state_dir, self.home / ".openclaw-x")
        os.environ["OPENCLAW_STATE_DIR"] = "/elsewhere"
        self.assertEqual(str(State().paths.config_path), "/elsewhere/openclaw.json")


class AnnounceTests(CommandTestCase):
    def test_prints(self) -> None:
        out = io.StringIO()
        with mock.patch.object(sys, "stdout", out):
            announce("hello")
        self.assertEqual(out.getvalue(), "hello\n")

    def test_survives_a_reader_who_left(self) -> None:
        class Broken(io.StringIO):
            def write(self, text: str) -> int:
                raise BrokenPipeError

        with mock.patch.object(sys, "stdout", Broken()):
            announce("hello")
