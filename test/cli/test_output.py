"""The state of the commands, and how they print."""

import io
import os
import sys
from unittest import mock

from openclaw.cli.output import State, announce, json_text
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


class JsonTests(CommandTestCase):
    def test_text(self) -> None:
        for value, text in (
            ({"a": [1, "é😀\n"]}, '{"a": [1, "é😀\\n"]}'),
            ("\x1b[0m \x7f \x9b31m \u202e", '"\\u001b[0m \\u007f \\u009b31m \\u202e"'),
            ("\ud800", '"\\ud800"'),
            ([float("nan"), (float("-inf"), 1.5), {"a": float("inf")}], '[null, [null, 1.5], {"a": null}]'),
        ):
            self.assertEqual(json_text(value), text)
            json_text(value).encode()

    def test_of_the_configuration(self) -> None:
        self.write('{skills: {x: NaN, y: "\u009b31m"}}')
        self.assertEqual(self.run_command("config", "get", "skills", "--json", terminal=True), 0)
        self.assertEqual(self.json_out(), {"x": None, "y": "\x9b31m"})
        self.assertNotIn("\x9b", self.out)


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
