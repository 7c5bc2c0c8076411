"""Tests of L{openclaw.providers.local}: waiting for the model, and the call that follows."""

import json
from pathlib import Path
from typing import Any

from treq.testing import RequestTraversalAgent
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.testing import MemoryReactorClock
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from openclaw.errors import ProviderFailed, ProviderTimeout
from openclaw.events import ProviderFinished, TextDelta
from openclaw.messages import Message
from openclaw.models import ModelRequest, ProviderStream, Sampling
from openclaw.providers import local as local_module
from openclaw.providers import local_spawn
from openclaw.providers.http import make_http_client
from openclaw.providers.local import READY_TIMEOUT_S, LocalProvider, make_local_model
from openclaw.providers.local_process import STOPPED, LocalModel
from openclaw.providers.local_spawn import LocalSettings
from openclaw.providers.openai_completions import OpenAICompletionsProvider
from openclaw.providers.openai_request import Endpoint
from test.providers.local_fakes import FakeReactor

REQUEST = ModelRequest("smollm2-135m", (Message("user", "hello"),), Sampling())


def chunk(**choice: Any) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, **choice}]}).encode() + b"\n\n"


class Child(Resource):
    """Plays the server in the child."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Request] = []

    def render_POST(self, request: Request) -> int:
        self.requests.append(request)
        request.setHeader("content-type", "text/event-stream")
        return NOT_DONE_YET


class LocalProviderTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = FakeReactor()
        weights = Path(self.mktemp())
        weights.write_bytes(b"GGUF")
        self.model = LocalModel(
            self.reactor, LocalSettings("tiny"), lambda: succeed(weights), environ={}, installed=lambda: True
        )
        self.child = Child()
        self.agent = RequestTraversalAgent(self.child)
        self.provider = LocalProvider(self.model, make_http_client(self.agent), self.reactor)
        self.stream: ProviderStream = self.provider.stream(REQUEST)

    def enter(self) -> Deferred[Any]:
        return Deferred.fromCoroutine(self.stream.__aenter__())

    def take(self) -> Deferred[Any]:
        return Deferred.fromCoroutine(self.stream.__anext__())

    def flushed(self, waiting: Deferred[Any]) -> Any:
        self.agent.flush()
        return self.successResultOf(waiting)

    def test_waits_then_calls(self) -> None:
        self.model.start()
        entered = self.enter()
        self.assertNoResult(entered)
        self.reactor.processes[0].announce("http://127.0.0.1:7")
        key = json.loads(self.reactor.processes[0].written)["api_key"]
        self.agent.flush()
        (request,) = self.child.requests
        self.assertEqual(request.path, b"/v1/chat/completions")
        self.assertEqual(request.getHeader("authorization"), f"Bearer {key}")
        request.write(chunk(delta={"content": "hi"}))
        self.assertIs(self.flushed(entered), self.stream)
        self.assertIs(self.stream.__aiter__(), self.stream)
        self.assertEqual(list(self.flushed(self.take())), [TextDelta("hi")])
        request.write(chunk(delta={}, finish_reason="stop") + b"data: [DONE]\n\n")
        request.finish()
        self.agent.flush()
        self.assertEqual(list(self.flushed(self.take())), [ProviderFinished("stop")])
        self.failureResultOf(self.take(), StopAsyncIteration)
        self.successResultOf(Deferred.fromCoroutine(self.stream.__aexit__(None, None, None)))

    def test_the_childs_death_ends_the_call_and_the_next_waits(self) -> None:
        self.model.start()
        process = self.reactor.processes[0]
        process.announce()
        entered = self.enter()
        self.agent.flush()
        (request,) = self.child.requests
        request.write(chunk(delta={"content": "hi"}))
        self.flushed(entered)
        self.flushed(self.take())
        taken = self.take()
        request.transport.loseConnection()
        process.end(None, 9)
        self.agent.flush()
        self.failureResultOf(taken, ProviderFailed)
        self.stream = self.provider.stream(REQUEST)
        entered = self.enter()
        self.assertNoResult(entered)
        self.reactor.advance(1)
        self.reactor.processes[1].announce()
        self.agent.flush()
        self.assertEqual(len(self.child.requests), 2)

    def test_one_provider_for_each_child(self) -> None:
        """The child's address is taken apart once for all the calls that it serves."""
        made: list[Endpoint] = []

        class Counted(OpenAICompletionsProvider):
            def __init__(self, endpoint: Endpoint, *more: Any) -> None:
                made.append(endpoint)
                super().__init__(endpoint, *more)

        self.patch(local_module, "OpenAICompletionsProvider", Counted)
        self.model.start()
        for number in (1, 2):
            self.reactor.processes[-1].announce(f"http://127.0.0.1:{number}")
            for _ in range(3):
                self.stream = self.provider.stream(REQUEST)
                entered = self.enter()
                self.stream.close()
                self.failureResultOf(entered, ProviderFailed)
            self.reactor.processes[-1].end(1)
            self.reactor.advance(2)
        self.assertEqual([endpoint.base_url[-4:] for endpoint in made], ["1/v1", "2/v1"])
        self.assertNotEqual(made[0].api_key, made[1].api_key)

    def test_cannot_serve(self) -> None:
        failure = self.failureResultOf(self.enter(), ProviderFailed)
        self.assertEqual(failure.value.message, STOPPED)
        self.successResultOf(Deferred.fromCoroutine(self.stream.__aexit__(None, None, None)))

    def test_never_ready(self) -> None:
        self.model.start()
        entered = self.enter()
        for _ in range(4):
            self.reactor.advance(READY_TIMEOUT_S / 4)
        self.failureResultOf(entered, ProviderTimeout)

    def test_cancelled_while_waiting(self) -> None:
        self.model.start()
        entered = self.enter()
        entered.cancel()
        self.failureResultOf(entered, CancelledError)
        self.reactor.processes[0].announce()
        self.agent.flush()
        self.assertEqual(self.child.requests, [])

    def test_closed_while_waiting(self) -> None:
        self.model.start()
        entered = self.enter()
        self.stream.close()
        self.failureResultOf(entered, ProviderFailed)

    def test_closed_before(self) -> None:
        self.model.start()
        self.stream.close()
        self.failureResultOf(self.enter(), ProviderFailed)

    def test_closed_while_calling(self) -> None:
        self.model.start()
        self.reactor.processes[0].announce()
        entered = self.enter()
        self.agent.flush()
        self.stream.close()
        self.failureResultOf(entered, ProviderFailed)

    def test_not_entered(self) -> None:
        self.failureResultOf(self.take(), StopAsyncIteration)


class InlinePool(ThreadPool):
    """Runs what belongs into a thread at once."""

    def callInThreadWithCallback(self, onResult: Any, func: Any, *args: Any, **kw: Any) -> None:
        try:
            result = func(*args, **kw)
        except Exception as error:
            onResult(False, _failure(error))
        else:
            onResult(True, result)


def _failure(error: Exception) -> Any:
    from twisted.python.failure import Failure

    return Failure(error)


class MakeLocalModelTests(SynchronousTestCase):
    def test_looks_in_the_models_folder(self) -> None:
        reactor = MemoryReactorClock()
        reactor.getThreadPool = lambda: InlinePool(0, 1)  # type: ignore[attr-defined]
        reactor.callFromThread = lambda call, *args: call(*args)  # type: ignore[attr-defined]
        model = make_local_model(reactor, LocalSettings("tiny"), Path(self.mktemp()), "smollm2-135m")
        self.patch(local_spawn, "find_spec", lambda name: name)
        model.start()
        self.assertIn("run openclaw models pull smollm2-135m", model.state)
        self.successResultOf(model.stop())

    def test_own_file(self) -> None:
        reactor = FakeReactor()
        reactor.getThreadPool = lambda: InlinePool(0, 1)  # type: ignore[attr-defined]
        reactor.callFromThread = lambda call, *args: call(*args)  # type: ignore[attr-defined]
        own = Path(self.mktemp())
        own.write_bytes(b"GGUF")
        model = make_local_model(reactor, LocalSettings("tiny"), Path(self.mktemp()), "smollm2-135m", own)
        self.patch(local_spawn, "find_spec", lambda name: name)
        model.start()
        self.assertEqual(json.loads(reactor.processes[0].written)["path"], str(own))
