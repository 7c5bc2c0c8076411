"""The questions of C{openclaw onboard}."""

import sys
from typing import Any
from unittest import mock

import click

from test.cli.setup.onboard_support import CUSTOM, OnboardTestCase


class InteractiveTests(OnboardTestCase):
    def answer(self, *answers: str, arguments: tuple[str, ...] = (), status: int = 0) -> list[str]:
        """Run with answers; give the questions that were asked."""
        asked: list[str] = []
        left = iter(answers)

        def prompt(text: str, default: Any = None, type: Any = None, value_proc: Any = None, **options: Any) -> Any:
            asked.append(text + (" (hidden)" if options.get("hide_input") else ""))
            given = next(left) or default
            if value_proc is not None:
                return value_proc(given)
            return type.convert(given, None, None) if type is not None else given

        terminal = mock.Mock(isatty=lambda: True)
        patches = (
            mock.patch.object(sys, "stdin", terminal),
            mock.patch.object(click, "prompt", prompt),
            mock.patch.object(click, "confirm", lambda *_, **__: True),
        )
        with patches[0], patches[1], patches[2]:
            self.assertEqual(self.run_command("onboard", *arguments), status, self.err)
        self.assertEqual(list(left), [])
        return asked

    def test_local(self) -> None:
        asked = self.answer("local", "")
        self.assertEqual(len(asked), 2)
        self.assertEqual(self.document()["gateway"]["port"], 18789)
        self.assertIn("Keep the token to yourself", self.out)

    def test_custom(self) -> None:
        asked = self.answer("custom-api-key", "http://127.0.0.1:8080/v1 ", "k3y", "m1", "", "7777")
        self.assertIn("(hidden)", asked[2])
        document = self.document()
        self.assertEqual(document["models"]["providers"]["custom-127-0-0-1-8080"]["apiKey"], "k3y")
        self.assertEqual(document["gateway"]["port"], 7777)
        self.assertNotIn("k3y", self.out + self.err)

    def test_said_already(self) -> None:
        asked = self.answer(
            arguments=(*CUSTOM, "--custom-provider-id", "p", "--custom-api-key", "", "--gateway-port", "5")
        )
        self.assertEqual(asked, [])
        self.assertNotIn("apiKey", self.document()["models"]["providers"]["p"])

    def test_existing_port(self) -> None:
        self.write({"gateway": {"port": 4444}})
        self.answer("skip", "")
        self.assertEqual(self.document()["gateway"]["port"], 4444)

    def test_broken_file(self) -> None:
        self.write("{")
        self.answer("skip", "", status=78)
        self.assertEqual(self.path.read_text(), "{")

    def test_url(self) -> None:
        self.answer("custom-api-key", "nope", status=2)
        self.assertIn("expected a URL", self.err)
        self.assertFalse(self.path.exists())
