"""The state of the commands, how they print, and when garbage is collected."""

from __future__ import annotations

import gc
import io
import os
import re
import sys
from unittest import mock

from twisted.internet.error import ConnectionRefusedError

from openclaw.cli.main import main
from openclaw.cli.output import State, announce, json_text, resume
from test.cli.gateway_fake import RemoteTestCase
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

    def test_advice(self) -> None:
        text = (
            "run openclaw quickstart, or: openclaw --profile y logs; see openclaw 1.0, ~/.openclaw and /x/openclaw here"
        )
        self.assertEqual(State().advice(text), text)
        advised = text.replace("openclaw quickstart", "openclaw --profile x quickstart")
        self.assertEqual(State(profile="x").advice(text), advised)
        self.assertEqual(State(profile="x").advice(advised), advised)


class ProfileTests(RemoteTestCase):
    """What a command tells a person to type acts on the installation that the command was for."""

    def setUp(self) -> None:
        super().setUp()
        self.state_dir.rename(self.home / ".openclaw-second")
        self.serve = ConnectionRefusedError()

    def assert_advice(self, status: int, *arguments: str) -> None:
        """A command ends so, and names nothing but commands of the profile."""
        self.assertEqual(self.run_command("--profile", "second", *arguments), status, self.err)
        named = re.findall(r"\bopenclaw (?:--profile second )?[a-z]\w*", self.out + self.err)
        self.assertTrue(named, arguments)
        self.assertEqual([one for one in named if "--profile" not in one], [], arguments)

    def test_not_running(self) -> None:
        for arguments, status in (
            (("status",), 1),
            (("status", "--json"), 1),
            (("gateway", "status"), 0),
            (("gateway", "probe"), 1),
            (("gateway", "probe", "--json"), 1),
            (("gateway", "call", "health"), 1),
            (("gateway", "restart"), 1),
            (("agent", "-m", "hello"), 1),
            (("sessions",), 1),
            (("logs",), 1),
            (("gateway", "auth-token"), 0),
            (("models", "list"), 0),
            (("models", "status"), 0),
            (("doctor", "--only", "embedded-model"), 0),
        ):
            self.assert_advice(status, *arguments)

    def test_health(self) -> None:
        with mock.patch("openclaw.cli.talk.health.fetch", side_effect=OSError(111, "Connection refused")):
            self.assert_advice(1, "health")
            self.assert_advice(1, "health", "--json")

    def test_no_credential(self) -> None:
        (self.home / ".openclaw-second" / "openclaw.json").write_text("{}")
        self.assert_advice(78, "gateway", "run")

    def test_chat(self) -> None:
        from openclaw.cli.client import loop as client
        from openclaw.cli.talk import chat

        self.patch(sys, "stdin", io.StringIO("/help\n"))
        self.patch(chat, "terminating", mock.MagicMock())
        self.patch(client, "process_reactor", mock.Mock)
        with mock.patch("openclaw.cli.talk.background.Background.call", lambda *_: None):
            self.assert_advice(0, "chat")

    def test_an_edit_that_needs_a_restart(self) -> None:
        self.assert_advice(0, "config", "set", "gateway.port", "18790")

    def test_onboard(self) -> None:
        arguments = ("onboard", "--non-interactive", "--accept-risk")
        self.assert_advice(0, *arguments)
        self.assert_advice(0, *arguments, "--json")
        self.assert_advice(0, *arguments, "--auth-choice", "local")


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


class CollectorTests(CommandTestCase):
    def setUp(self) -> None:
        super().setUp()
        # Python 3.12 begins with some objects left out.
        gc.unfreeze()
        gc.enable()
        self.addCleanup(gc.unfreeze)
        self.addCleanup(gc.enable)

    def test_rests_while_a_command_is_loaded(self) -> None:
        seen: list[bool] = []

        def command(**options: object) -> int:
            seen.append(gc.isenabled())
            return 3

        with (
            mock.patch("openclaw.cli.main.cli.main", command),
            mock.patch.object(sys, "argv", ["openclaw"]),
            self.assertRaises(SystemExit) as ended,
        ):
            main()
        self.assertEqual((seen, ended.exception.code), ([False], 3))
        self.assertGreater(gc.get_freeze_count(), 1000)

    def test_a_command_within_another_program(self) -> None:
        self.assertEqual(self.run_command("version"), 0)
        self.assertTrue(gc.isenabled())
        self.assertEqual(gc.get_freeze_count(), 0)

    def test_resumes_without_what_is_there(self) -> None:
        resume()
        self.assertEqual(gc.get_freeze_count(), 0)
        gc.disable()
        resume()
        self.assertTrue(gc.isenabled())
        self.assertGreater(gc.get_freeze_count(), 1000)
