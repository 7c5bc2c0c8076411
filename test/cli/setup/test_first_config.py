"""Tests of L{openclaw.cli.setup.first_config}."""

import os
from unittest import mock

from openclaw.cli.setup.first_config import write_config
from openclaw.config.load import load_config
from openclaw.config.reload_rules import needs_local_model
from openclaw.errors import StartError
from test.cli.support import CommandTestCase


class WriteConfigTests(CommandTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.path = self.state_dir / "openclaw.json"

    def test_writes_once(self) -> None:
        self.assertTrue(write_config(self.path))
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.path.stat().st_nlink, 1)
        self.assertEqual(self.state_dir.stat().st_mode & 0o777, 0o700)
        self.assertEqual(os.listdir(self.state_dir), ["openclaw.json"])
        text = self.path.read_text()
        self.assertFalse(write_config(self.path))
        self.assertEqual(self.path.read_text(), text)

    def test_is_what_it_says(self) -> None:
        write_config(self.path)
        loaded = load_config(self.path, {})
        gateway = loaded.config.gateway
        self.assertEqual(loaded.warnings, ())
        self.assertEqual((gateway.mode, gateway.bind, gateway.port), ("local", "loopback", 18789))
        assert gateway.auth.token is not None
        self.assertGreaterEqual(len(gateway.auth.token.reveal()), 40)
        self.assertTrue(gateway.http.endpoints.chat_completions.enabled)
        self.assertEqual(loaded.config.agents.agent_ids, ("main",))
        self.assertTrue(needs_local_model(loaded.config))

    def test_port(self) -> None:
        """What the first run is told, the other terminal's commands find."""
        write_config(self.path, 4711)
        self.assertEqual(4711, load_config(self.path, {}).config.gateway.port)

    def test_token_is_random(self) -> None:
        other = self.home / "other.json"
        write_config(self.path)
        write_config(other)
        self.assertNotEqual(self.path.read_text(), other.read_text())

    def test_touches_nothing_that_is_there(self) -> None:
        self.state_dir.mkdir()
        self.path.write_text("{ broken")
        self.assertFalse(write_config(self.path))
        self.assertEqual(self.path.read_text(), "{ broken")
        self.path.unlink()
        self.path.symlink_to(self.home / "nowhere")
        self.assertFalse(write_config(self.path))
        self.assertFalse((self.home / "nowhere").exists())

    def test_somebody_else_is_faster(self) -> None:
        self.state_dir.mkdir()
        self.path.write_text("theirs")
        self.patch(os.path, "lexists", lambda _: False)
        self.assertFalse(write_config(self.path))
        self.assertEqual(self.path.read_text(), "theirs")
        self.assertEqual(os.listdir(self.state_dir), ["openclaw.json"])

    def test_cannot_be_written(self) -> None:
        (self.home / "file").write_text("")
        with self.assertRaises(StartError) as caught:
            write_config(self.home / "file" / "openclaw.json")
        self.assertIn("cannot be written: ", caught.exception.message)
        self.patch(os, "fsync", mock.Mock(side_effect=OSError(28, "No space left on device")))
        with self.assertRaises(StartError) as caught:
            write_config(self.path)
        self.assertEqual(
            caught.exception.message, f"the configuration {self.path} cannot be written: No space left on device"
        )
        self.assertEqual(os.listdir(self.state_dir), [])
