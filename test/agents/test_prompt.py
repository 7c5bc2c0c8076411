"""Tests of L{openclaw.agents.prompt}."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from openclaw.agents.prompt import system_prompt


class PromptTests(SynchronousTestCase):
    def test_is_short(self) -> None:
        self.assertLess(len(system_prompt("a" * 64, None, "c" * 64)), 2500)

    def test_names(self) -> None:
        prompt = system_prompt("main", "Claire {x}", "webchat")
        self.assertIn("You are Claire {x},", prompt)
        self.assertTrue(prompt.endswith("Agent: main\nChannel: webchat"))
        self.assertIn("You are main,", system_prompt("main", None, "webchat"))

    def test_holds_nothing_that_changes(self) -> None:
        system_prompt.cache_clear()
        first = system_prompt("main", None, "webchat")
        system_prompt.cache_clear()
        self.assertEqual(first, system_prompt("main", None, "webchat"))
        self.assertIsNone(re.search(r"\d", first))
