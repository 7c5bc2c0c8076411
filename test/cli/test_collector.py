"""L{openclaw.cli.collector}."""

from __future__ import annotations

import gc
import sys
from unittest import mock

from openclaw.cli.collector import leave, resume
from openclaw.cli.main import main
from test.cli.support import CommandTestCase


class CollectorTests(CommandTestCase):
    def setUp(self) -> None:
        super().setUp()
        # Python 3.12 begins with some objects left out.
        gc.unfreeze()
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
        leave()
