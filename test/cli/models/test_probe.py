"""C{openclaw models probe}."""

from __future__ import annotations

import json
import shlex
from typing import Any

from twisted.internet.error import ConnectionRefusedError
from twisted.web.resource import Resource
from twisted.web.server import Site

from test.cli.gateway_fake import RemoteTestCase
from test.providers.http_fakes import DONE, chunk, event, text, usage

MODELS = {"data": [{"id": "m", "max_model_len": 4096}]}


class FakeModelServer(Resource):
    """
    A model server that says a few words, and refuses what it is told to.

    @ivar refuses: fields that it does not know.
    @ivar bodies: what it was asked.
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.refuses: tuple[str, ...] = ()
        self.usage = True
        self.models: Any = MODELS
        self.bodies: list[dict[str, Any]] = []

    def render_GET(self, request: Any) -> bytes:
        """The list of models."""
        return json.dumps(self.models).encode()

    def render_POST(self, request: Any) -> bytes:
        """An answer, or a refusal."""
        body = json.loads(request.content.read())
        self.bodies.append(body)
        for field in self.refuses:
            if field in body:
                request.setResponseCode(400)
                return json.dumps({"error": {"message": f"Unknown parameter: '{field}'"}}).encode()
        request.setHeader("Content-Type", "text/event-stream")
        counted = [event(usage(9, 2))] if "stream_options" in body else []
        return b"".join((event(text("one ")), event(text("two")), event(chunk({}, "stop")), *counted, DONE))


class ProbeTests(RemoteTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.server = FakeModelServer()
        site: Any = Site(self.server)
        site.timeOut = None
        self.serve = site
        self.models: list[Any] = [{"id": "m", "maxTokens": 99}]
        self.configure()

    def configure(self) -> None:
        provider = {"baseUrl": "http://127.0.0.1:9/v1", "apiKey": "sk-very-secret-key", "models": self.models}
        self.write({"models": {"providers": {"acme": provider}}})

    def report(self, *arguments: str, status: int = 0) -> dict[str, Any]:
        self.assertEqual(self.run_command("models", "probe", *arguments, "--json"), status)
        self.assertNotIn("very-secret", self.out + self.err)
        found: dict[str, Any] = self.json_out()
        return found

    def test_json(self) -> None:
        """What an ordinary server does."""
        report = self.report("acme/m")
        self.assertEqual(
            (True, "acme/m", "one two", "stop", None),
            tuple(report[name] for name in ("ok", "model", "text", "finishReason", "error")),
        )
        self.assertEqual({"ok": True, "pieces": 2, "usage": True}, report["streaming"])
        self.assertEqual({"promptTokens": 9, "completionTokens": 2}, report["usage"])
        self.assertEqual({"accepted": True, "called": False, "error": None}, report["tools"])
        self.assertEqual({"listed": True, "contextWindow": 4096, "maxTokens": None, "error": None}, report["limits"])
        self.assertEqual([], report["learned"])
        self.assertTrue(all(isinstance(number, int) for number in report["timing"].values()))
        self.assertEqual([False, True], ["tools" in body for body in self.server.bodies])

    def test_text(self) -> None:
        """The same for a person."""
        self.assertEqual(self.run_command("models", "probe", "acme/m"), 0)
        lines = self.out.splitlines()
        self.assertEqual("acme/m says: one two", lines[0])
        self.assertIn("  streaming: yes, 2 pieces; usage is told", lines)
        self.assertIn("  tools: accepted", lines)
        self.assertIn("  limits: context window 4,096", lines)
        self.assertIn("  warning: contextWindow is 200,000 here, more than the server has", lines)

    def test_learned(self) -> None:
        """What the server refuses is told, with the command that says so for good, which works."""
        self.server.refuses = ("max_completion_tokens", "stream_options")
        report = self.report("acme/m")
        self.assertEqual(["max_completion_tokens", "stream_options"], [each["field"] for each in report["learned"]])
        commands = [each["command"] for each in report["learned"]]
        self.assertEqual(
            [
                """openclaw config set models.providers.acme.models.0.compat.maxTokensField '"max_tokens"'""",
                "openclaw config set models.providers.acme.models.0.compat.supportsUsageInStreaming false",
            ],
            commands,
        )
        self.obey(commands)
        report = self.report("acme/m")
        self.assertEqual(([], False), (report["learned"], report["streaming"]["usage"]))

    def test_learned_of_another(self) -> None:
        """A model that is not listed gets an entry, and keeps what was set before."""
        self.server.refuses = ("max_completion_tokens", "stream_options")
        report = self.report("acme/x/new")
        self.assertFalse(report["limits"]["listed"])
        self.obey([each["command"] for each in report["learned"]])
        self.assertEqual([], self.report("acme/x/new")["learned"])

    def obey(self, commands: list[str]) -> None:
        for command in commands:
            self.assertEqual(self.run_command(*shlex.split(command)[1:]), 0, self.err)

    def test_learned_in_text(self) -> None:
        """A field without a setting of its own is only told."""
        self.server.refuses = ("stream_options",)
        self.assertEqual(self.run_command("models", "probe", "acme/m"), 0)
        self.assertIn("  left out: stream_options, as the server refuses it: Unknown parameter", self.out)
        self.assertIn("    to say so for good: openclaw config set ", self.out)

    def test_no_tools(self) -> None:
        """A server that refuses tools answers all the same."""
        self.server.refuses = ("tools",)
        report = self.report("acme/m")
        self.assertEqual((True, False), (report["ok"], report["tools"]["accepted"]))
        self.run_command("models", "probe", "acme/m")
        self.assertIn(
            "  tools: refused (the provider acme refused the request: Unknown parameter: 'tools')\n", self.out
        )

    def test_no_limits(self) -> None:
        """A server that tells nothing of its models."""
        self.server.models = "none"
        self.assertEqual(self.run_command("models", "probe", "acme/m"), 0)
        self.assertIn("  limits: not told (", self.out)

    def test_no_answer(self) -> None:
        """A server that is not there: exit 1, with the reason."""
        self.serve = ConnectionRefusedError()
        report = self.report("acme/m", status=1)
        self.assertEqual((False, None), (report["ok"], report["tools"]["accepted"]))
        self.assertIn("could not be reached", report["error"])
        self.assertIn("could not be reached", self.err)
        self.assertEqual(self.run_command("models", "probe", "acme/m"), 1)
        self.assertIn("acme/m does not answer\n", self.out)

    def test_refused(self) -> None:
        """What cannot be probed is told without asking anybody."""
        for ref, said in (
            ("acme", "expected a model"),
            ("local/smollm2-135m", "the embedded model runs in the gateway only"),
            ("none/m", 'the provider "none" of the model "none/m" is not configured'),
        ):
            self.assertEqual(self.run_command("models", "probe", ref), 1)
            self.assertIn(said, self.err)
        self.assertEqual([], self.server.bodies)
