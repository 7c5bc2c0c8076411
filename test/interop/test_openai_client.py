"""
The real C{openai} package against a gateway in this process, over real sockets on loopback.

The client blocks, so it is used in threads; the gateway and the model server behind it live on the reactor.
"""

from __future__ import annotations

import asyncio
import json
import urllib.request
from pathlib import Path
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SkipTest, TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from openclaw.config.paths import resolve_paths
from openclaw.config.plan import Options, plan
from openclaw.service.gateway import Gateway

try:
    import openai
except ImportError:
    openai = None  # type: ignore[assignment]

reactor: Any = global_reactor

TOKEN = "a-token-for-tests"


class Model(Resource):
    """
    An OpenAI-compatible model server: three words and the usage, or what the last message asks for.

    @ivar prompts: the messages of every call.
    @ivar gone: fires when a caller has closed its connection in the middle of an answer.
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.prompts: list[list[dict[str, Any]]] = []
        self.gone: Deferred[None] = Deferred()

    def render_POST(self, request: Request) -> int | bytes:
        messages = json.load(request.content)["messages"]
        self.prompts.append(messages)
        asked = messages[-1]["content"]
        if asked == "refuse":
            request.setResponseCode(422)
            return b'{"error": {"message": "not that", "code": "no_thanks"}}'
        request.setHeader(b"content-type", b"text/event-stream")
        for word in ("one ", "two ", "trois é"):
            self.send(request, {"choices": [{"index": 0, "delta": {"content": word}}]})
        if asked == "never end":
            request.notifyFinish().addErrback(lambda _: self.gone.callback(None))
            return NOT_DONE_YET
        self.send(request, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        self.send(request, {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}})
        request.write(b"data: [DONE]\n\n")
        request.finish()
        return NOT_DONE_YET

    def send(self, request: Request, chunk: dict[str, Any]) -> None:
        """Send one chunk."""
        request.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")


class OpenAIClientTests(TestCase):
    """What users of the package do."""

    timeout = 30

    async def setUp(self) -> None:
        if openai is None:
            raise SkipTest("the openai package is not installed: pip install 'openclaw[test]'")
        self.model = Model()
        site = Site(self.model)
        port = reactor.listenTCP(0, site, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        config = {
            "gateway": {
                "auth": {"token": TOKEN},
                "http": {"endpoints": {"chatCompletions": {"enabled": True}}},
            },
            "models": {"providers": {"test": {"baseUrl": f"http://127.0.0.1:{port.getHost().port}/v1"}}},
            "agents": {"defaults": {"model": "test/m"}},
        }
        (folder / "openclaw.json").write_text(json.dumps(config))
        paths = resolve_paths({"HOME": str(folder), "OPENCLAW_STATE_DIR": str(folder)})
        self.gateway = Gateway(reactor, plan(paths, {}, Options(endpoint="tcp:0:interface=127.0.0.1")))
        await self.gateway.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.gateway.stop()))
        self.options: dict[str, Any] = {
            "base_url": f"{self.gateway.url}/v1",
            "api_key": TOKEN,
            "max_retries": 0,
            "timeout": 20,
        }

    async def use(self, call: Any, **options: Any) -> Any:
        """Give C{call} a client, in a thread."""

        def in_thread() -> Any:
            with openai.OpenAI(**{**self.options, **options}) as client:
                return call(client)

        return await deferToThread(in_thread)

    async def test_whole(self) -> None:
        """An answer in one piece, with usage and a request id."""
        answer = await self.use(
            lambda client: client.chat.completions.create(
                model="openclaw", messages=[{"role": "user", "content": "count"}]
            )
        )
        self.assertEqual(answer.choices[0].message.content, "one two trois é")
        self.assertEqual(answer.choices[0].finish_reason, "stop")
        self.assertEqual(answer.usage.total_tokens, 10)
        self.assertTrue(answer._request_id)

    async def test_streamed(self) -> None:
        """A streamed answer: the role first, the words, one finish, the usage last."""
        chunks = await self.use(
            lambda client: list(
                client.chat.completions.create(
                    model="openclaw/main",
                    stream=True,
                    stream_options={"include_usage": True},
                    messages=[{"role": "user", "content": "count"}],
                )
            )
        )
        self.assertEqual(chunks[0].choices[0].delta.role, "assistant")
        self.assertEqual("".join(c.choices[0].delta.content or "" for c in chunks[:-1]), "one two trois é")
        self.assertEqual([c.choices[0].finish_reason for c in chunks[:-1]][-1], "stop")
        self.assertEqual((chunks[-1].choices, chunks[-1].usage.total_tokens), ([], 10))
        self.assertEqual({c.model for c in chunks}, {"openclaw/main"})

    async def test_stream_helper(self) -> None:
        """The package's own accumulating stream, which is the strictest reader of chunks."""

        def call(client: Any) -> Any:
            with client.chat.completions.stream(
                model="openclaw", messages=[{"role": "user", "content": "count"}]
            ) as stream:
                stream.until_done()
                return stream.get_final_completion()

        answer = await self.use(call)
        self.assertEqual(answer.choices[0].message.content, "one two trois é")

    async def test_async_client(self) -> None:
        """The asyncio client, on a loop of its own."""

        async def stream() -> str:
            async with openai.AsyncOpenAI(**self.options) as client:
                chunks = await client.chat.completions.create(
                    model="openclaw", stream=True, messages=[{"role": "user", "content": "count"}]
                )
                return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])

        self.assertEqual(await deferToThread(asyncio.run, stream()), "one two trois é")

    async def test_models(self) -> None:
        """Models are listed, and one is fetched by its name with a slash."""
        names = await self.use(lambda client: [model.id for model in client.models.list()])
        self.assertEqual(names, ["openclaw", "openclaw/default", "openclaw/main"])
        model = await self.use(lambda client: client.models.retrieve("openclaw/main"))
        self.assertEqual(model.owned_by, "openclaw")

    async def test_session(self) -> None:
        """A conversation under one C{user} goes on, and the model reads each turn once."""
        for text in ("first", "second"):
            await self.use(
                lambda client, text=text: client.chat.completions.create(
                    model="openclaw", user="Alice", messages=[{"role": "user", "content": text}]
                )
            )
        read = [(message["role"], message["content"]) for message in self.model.prompts[-1][1:]]
        self.assertEqual(read, [("user", "first"), ("assistant", "one two trois é"), ("user", "second")])

    async def test_errors(self) -> None:
        """Errors arrive as the exceptions of their status, with message, code and field."""
        messages = [{"role": "user", "content": "hi"}]
        cases: list[tuple[type[Exception], dict[str, Any], str | None, str | None]] = [
            (openai.BadRequestError, {"model": "gpt-4o", "messages": messages}, "model_not_found", "model"),
            (
                openai.BadRequestError,
                {"model": "openclaw", "messages": messages, "temperature": 3},
                None,
                "temperature",
            ),
            (
                openai.UnprocessableEntityError,
                {"model": "openclaw", "messages": [{"role": "user", "content": "refuse"}]},
                "no_thanks",
                None,
            ),
        ]
        for expected, arguments, code, param in cases:
            error = await self.assertFailure(
                Deferred.fromCoroutine(
                    self.use(lambda client, arguments=arguments: client.chat.completions.create(**arguments))
                ),
                expected,
            )
            self.assertEqual((error.code, error.param), (code, param))
        wrong = Deferred.fromCoroutine(self.use(lambda client: client.models.list(), api_key="wrong"))
        error = await self.assertFailure(wrong, openai.AuthenticationError)
        self.assertEqual(error.code, "invalid_api_key")

    async def test_abandoned(self) -> None:
        """A client that stops reading an answer ends the run, and the model is told at once."""

        def call(client: Any) -> None:
            with client.chat.completions.create(
                model="openclaw", stream=True, messages=[{"role": "user", "content": "never end"}]
            ) as stream:
                next(iter(stream))

        await self.use(call)
        self.model.gone.addTimeout(2, reactor)
        await self.model.gone
        for _ in range(100):
            if await self.live_runs() == 0:
                break
            await deferLater(reactor, 0.01)
        self.assertEqual(await self.live_runs(), 0)

    async def live_runs(self) -> float:
        """How many runs are at work, as the gateway counts them."""
        url = f"{self.gateway.url}/metrics"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {TOKEN}"})
        text = await deferToThread(lambda: urllib.request.urlopen(request).read().decode())
        (line,) = [line for line in text.splitlines() if line.startswith('openclaw_queue_lane_size{lane="main"}')]
        return float(line.split()[-1])
