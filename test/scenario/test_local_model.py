"""The embedded model for real: its process, its weights, its answers."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from openclaw.errors import ContextTooLong, ProviderError, ProviderFailed
from openclaw.events import ProviderFinished, ProviderUsage, TextDelta
from openclaw.messages import Message
from openclaw.models import ModelRequest, Sampling
from openclaw.providers.http import make_agent, make_http_client
from openclaw.providers.local import LocalProvider, make_local_model
from openclaw.providers.local_spawn import LocalSettings, resident_bytes
from test.scenario.local_weights import MODEL, weights_for_tests

reactor: Any = global_reactor

PARENT = """
import sys
from pathlib import Path
from twisted.internet import reactor
from openclaw.providers.local import make_local_model
from openclaw.providers.local_spawn import LocalSettings

model = make_local_model(reactor, LocalSettings("smollm2-135m"), Path("."), "smollm2-135m", Path(sys.argv[1]))
reactor.callWhenRunning(model.start)
reactor.callWhenRunning(lambda: model.ready().addCallback(lambda endpoint: print(model.pid, flush=True)))
reactor.run()
"""


def runs(pid: int) -> bool:
    """Whether there is such a process and it is more than a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/status")
    return not status.exists() or "\nState:\tZ" not in status.read_text()


async def until_gone(pid: int) -> bool:
    """Wait up to 5 s for a process's end."""
    for _ in range(250):
        if not runs(pid):
            return True
        await deferLater(reactor, 0.02)
    return False


class LocalModelTests(TestCase):
    timeout = 240

    async def setUp(self) -> None:
        self.weights = await deferToThread(weights_for_tests)
        settings = LocalSettings(MODEL, context_tokens=1024)
        self.model = make_local_model(reactor, settings, Path(self.mktemp()), MODEL, self.weights)
        agent = make_agent(reactor, persistent=False)
        self.provider = LocalProvider(self.model, make_http_client(agent), reactor)
        self.model.start()
        self.addCleanup(self.model.stop)

    async def answer(self, question: str, max_tokens: int = 24) -> tuple[str, list[Any], int]:
        """The text, the last two events and the number of batches of an answer."""
        request = ModelRequest(
            MODEL, (Message("user", question),), Sampling(max_tokens=max_tokens, temperature=0.0, seed=1)
        )
        events: list[Any] = []
        batches = 0
        async with self.provider.stream(request) as stream:
            async for batch in stream:
                events += batch
                batches += 1
        text = "".join(event.text for event in events if isinstance(event, TextDelta))
        return text, events[-2:], batches

    async def test_answers_is_killed_comes_back_and_stops(self) -> None:
        self.assertEqual(self.model.state, "loading")
        text, (finished, used), batches = await self.answer("Say hello.")
        self.assertIn("hello", text.lower())
        self.assertIsInstance(finished, ProviderFinished)
        self.assertIsInstance(used, ProviderUsage)
        self.assertGreater(used.usage.prompt_tokens, 5)
        self.assertGreater(batches, 3)
        self.assertEqual(self.model.state, "ready")

        first = self.model.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        with self.assertRaises(ProviderError):
            # Killed under this call, or before it: one of them always meets a dead server.
            await self.answer("Tell me a long story.", 400)
        self.assertTrue(await until_gone(first))
        while self.model.pid == first:  # until its end has been told to us too
            await deferLater(reactor, 0.01)
        text, _, _ = await self.answer("Say hello.")
        self.assertIn("hello", text.lower())

        second = self.model.pid
        assert second is not None
        self.assertNotEqual(first, second)
        await self.model.stop()
        self.assertFalse(runs(second))
        self.assertEqual(self.model.state, "stopped")

    async def test_dies_mid_stream(self) -> None:
        request = ModelRequest(MODEL, (Message("user", "Tell me a very long story."),), Sampling(max_tokens=900))
        async with self.provider.stream(request) as stream:
            await stream.__anext__()
            os.kill(self.model.pid or 0, signal.SIGKILL)
            with self.assertRaises(ProviderFailed):
                async for _ in stream:
                    pass

    async def test_more_callers_than_slots(self) -> None:
        questions = [f"Name {number} animals." for number in range(2, 6)]
        answers = await gatherResults([Deferred.fromCoroutine(self.answer(question)) for question in questions])
        for text, _, _ in answers:
            self.assertTrue(text)
        self.assertLess(resident_bytes(self.model.pid or 0) or 0, 600 * 1024**2)

    async def test_too_long_for_its_context(self) -> None:
        with self.assertRaises(ContextTooLong):
            await self.answer("word " * 3000)

    async def test_stops_at_once_with_an_open_stream(self) -> None:
        request = ModelRequest(MODEL, (Message("user", "Tell me a very long story."),), Sampling(max_tokens=900))
        async with self.provider.stream(request) as stream:
            await stream.__anext__()
            pid = self.model.pid or 0
            began = reactor.seconds()
            await self.model.stop()
            self.assertLess(reactor.seconds() - began, 2.0)
            self.assertFalse(runs(pid))

    async def test_outlives_no_killed_gateway(self) -> None:
        await self.model.stop()
        path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
        parent = subprocess.Popen(
            [sys.executable, "-P", "-c", PARENT, str(self.weights)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
        )
        self.addCleanup(parent.wait)
        self.addCleanup(parent.kill)
        assert parent.stdout is not None
        self.addCleanup(parent.stdout.close)
        child = int(await deferToThread(parent.stdout.readline))
        self.assertTrue(runs(child))
        parent.kill()
        self.assertTrue(await until_gone(child))


class DamagedWeightsTests(TestCase):
    timeout = 60

    async def test_says_so_and_stays_up(self) -> None:
        weights = await deferToThread(weights_for_tests)
        cut = Path(self.mktemp())
        with weights.open("rb") as whole:
            cut.write_bytes(whole.read(1_000_000))
        model = make_local_model(reactor, LocalSettings(MODEL), Path(self.mktemp()), MODEL, cut)
        model.start()
        self.addCleanup(model.stop)
        waiting = model.ready()
        with self.assertRaises(ProviderFailed) as said:
            await waiting
        self.assertIn("name another GGUF file with models.local.path", said.exception.message)
        self.assertEqual(model.state, f"failed: {said.exception.message}")
        await model.stop()
