"""The questions of C{openclaw onboard}."""

import sys
from typing import Any
from unittest import mock

import click

from openclaw.cli.setup.wishes import looks_like_key
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

    def test_enter_changes_nothing(self) -> None:
        """Of what is there; and the port is not written where it was not."""
        for text in (
            "{ gateway: { mode: 'local', auth: { token: '0123456789abcdefgh' } } }",
            "{ gateway: { http: { endpoints: { chatCompletions: { enabled: false } } } } } // mine",
            "{ agents: { defaults: { model: 'local/x' } } }",
        ):
            self.write(text)
            self.answer("", "")
            self.assertEqual(self.path.read_text(), text)
            self.assertIn("Nothing to change", self.out)

    def test_enter_sets_up_the_first(self) -> None:
        self.answer("", "")
        self.assertEqual(self.document()["agents"]["defaults"]["model"], {"primary": "local/smollm2-135m"})

    def test_openai(self) -> None:
        asked = self.answer("OpenAI", "", "gpt-5", "")
        self.assertIn("empty for ${OPENAI_API_KEY}", asked[1])
        expected = {
            "baseUrl": "https://api.openai.com/v1",
            "api": "openai-completions",
            "apiKey": "${OPENAI_API_KEY}",
            "models": [{"id": "gpt-5"}],
        }
        self.assertEqual(self.document()["models"]["providers"], {"openai": expected})
        self.assertEqual(self.document()["agents"]["defaults"]["model"], {"primary": "openai/gpt-5"})
        self.path.unlink()
        self.assertEqual(self.onboard("--auth-choice", "openai", "--custom-model-id", "gpt-5"), 0, self.err)
        self.assertEqual(self.document()["models"]["providers"], {"openai": expected})
        self.path.unlink()
        self.answer("custom", "openai", "k3y", "gpt-5", "", "")
        self.assertEqual(self.document()["models"]["providers"]["custom-api-openai-com"]["apiKey"], "k3y")

    def test_no_such_choice(self) -> None:
        self.answer("gemini", status=2)
        self.assertIn("type one of local, openai, custom-api-key and skip", self.err)

    def test_key_in_place_of_a_name(self) -> None:
        key = "sk-proj-0123456789abcdef"
        self.answer("openai", "", key, status=2)
        self.assertIn("looks like an API key", self.err)
        self.answer("custom-api-key", "http://127.0.0.1:8080/v1", "k3y", "m1", key, status=2)
        for arguments, option in (
            ((*CUSTOM[:-1], key), "--custom-model-id"),
            ((*CUSTOM[:-1], "k3y-of-mine", "--custom-api-key", "k3y-of-mine"), "--custom-model-id"),
            ((*CUSTOM, "--custom-provider-id", "gsk_0123456789abcdef"), "--custom-provider-id"),
        ):
            self.assertEqual(self.onboard(*arguments), 1)
            self.assertIn(f"{option}: this looks like an API key", self.err)
            self.assertNotIn(key, self.err + self.out)
        self.assertFalse(self.path.exists())

    def test_names_that_are_none(self) -> None:
        for name in ("gpt-4o-2024-08-06", "xai-grok-4.1-fast", "pplx-70b-online", "meta/llama-3.1:free", "skylark-1"):
            self.assertFalse(looks_like_key(name), name)
        for name in ("sk-x", "AIzaSyA0123456789abcdef", "xai-0123456789ABCDEFabcdef", "Bearer abc", "hf_abc"):
            self.assertTrue(looks_like_key(name), name)

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
