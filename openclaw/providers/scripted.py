"""
A model provider that is fed by hand, for tests of whatever calls a model.

A test pushes batches, errors and the end into the streams that the code under test opens, and sees what was asked,
what was taken and what was closed::

    provider = ScriptedProvider()
    provider.enqueue([TextDelta("hello"), ProviderFinished("stop")])   # the next call gives this and ends
    ...
    stream = provider.streams[-1]                                      # a call without a script is fed by hand
    stream.push(TextDelta("hel"))
    stream.fail(ProviderFailed("gone"))
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from twisted.internet.defer import Deferred

from openclaw.errors import OpenClawError, ProviderFailed
from openclaw.events import ProviderEvent, ProviderFinished, TextDelta
from openclaw.models import ModelRequest

Step = Sequence[ProviderEvent] | OpenClawError
"""One step of a script: a batch, or the error that ends the call."""


class ScriptedStream:
    """
    One call, which ends as its test wants.

    @ivar request: what was asked.
    @ivar entered: whether the call was begun.
    @ivar taken: how many batches the caller has taken; the rest waits, as a paused connection does.
    @ivar waiting: whether the caller waits for a batch now, or for the head.
    @ivar closed: whether the caller has left or closed the stream.
    @ivar aborted: whether it did so, or cancelled its wait, before the end was taken.
    """

    def __init__(self, request: ModelRequest, *, hold_head: bool = False) -> None:
        self.request = request
        self.entered = False
        self.taken = 0
        self.closed = False
        self.aborted = False
        self._head_held = hold_head
        self._steps: deque[Step | None] = deque()
        self._last_step_known = False
        self._over = False
        self._waiter: Deferred[None] | None = None

    @property
    def waiting(self) -> bool:
        """Whether the caller waits now."""
        return self._waiter is not None

    @property
    def pending(self) -> int:
        """How many batches were pushed and not taken."""
        return sum(1 for step in self._steps if step is not None and not isinstance(step, OpenClawError))

    def answer_head(self) -> None:
        """Let the head of the answer arrive, where it was held back."""
        self._head_held = False
        self._wake()

    def push(self, *events: ProviderEvent) -> None:
        """Let one batch arrive."""
        self._add(events)

    def fail(self, error: OpenClawError) -> None:
        """Let the call fail, after the batches that were pushed; before the head, entering fails."""
        self._add(error, is_last=True)

    def end(self) -> None:
        """Let the answer end after the batches that were pushed."""
        self._add(None, is_last=True)

    def _add(self, step: Step | None, *, is_last: bool = False) -> None:
        if self._last_step_known:
            raise AssertionError("this call has its end already")
        self._last_step_known = is_last
        self._steps.append(step)
        self._wake()

    async def __aenter__(self) -> Self:
        """Begin the call; cancelling the wait for the head aborts it."""
        self.entered = True
        while self._head_held and not self._fails_next() and not self._over:
            await self._wait()
        if self._over:
            raise _closed()
        if self._fails_next():
            raise self._take_error()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Leave the call; who leaves waits no more, not even where its coroutine is thrown away while it waits."""
        self._waiter = None
        self.close()

    def __aiter__(self) -> Self:
        """The batches of this call."""
        return self

    async def __anext__(self) -> Sequence[ProviderEvent]:
        """The next batch that was pushed; cancelling the wait for it aborts the call."""
        if self._over:
            raise StopAsyncIteration
        while not self._steps:
            await self._wait()
            if self._over:
                raise _closed()
        if self._fails_next():
            raise self._take_error()
        step = self._steps.popleft()
        if step is None:
            self._over = True
            raise StopAsyncIteration
        assert not isinstance(step, OpenClawError)
        self.taken += 1
        return step

    def close(self) -> None:
        """Abort the call; harmless when it is over.  Whoever waits for it gets L{ProviderFailed}."""
        self.closed = True
        self._abort()

    def _abort(self) -> None:
        if not self._over:
            self._over = True
            self.aborted = True
            self._wake()

    def _fails_next(self) -> bool:
        return bool(self._steps) and isinstance(self._steps[0], OpenClawError)

    def _take_error(self) -> OpenClawError:
        self._over = True
        error = self._steps.popleft()
        assert isinstance(error, OpenClawError)
        return error

    async def _wait(self) -> None:
        if self._waiter is not None:
            raise AssertionError("somebody waits for this call already")
        self._waiter = Deferred(self._cancelled)
        await self._waiter

    def _cancelled(self, waiter: Deferred[None]) -> None:
        self._waiter = None
        self._abort()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.callback(None)


def _closed() -> ProviderFailed:
    return ProviderFailed("the call of the scripted provider was closed")


class ScriptedProvider:
    """
    A L{openclaw.models.ModelProvider} whose calls are fed by hand or from a queue of scripts.

    @ivar requests: all that was asked, in order.
    @ivar streams: the calls, in order.
    @ivar hold_head: whether further calls wait for L{ScriptedStream.answer_head} before they are entered.
    """

    def __init__(self, *, hold_head: bool = False) -> None:
        self.requests: list[ModelRequest] = []
        self.streams: list[ScriptedStream] = []
        self.hold_head = hold_head
        self._scripts: deque[tuple[Step, ...]] = deque()

    def enqueue(self, *steps: Step) -> None:
        """Have the next call without a script of its own give C{steps}, and then end if none of them is an error."""
        self._scripts.append(steps)

    def enqueue_text(self, *texts: str) -> None:
        """Have the next call answer with C{texts}, a batch for each, and stop."""
        batches: list[Step] = [[TextDelta(text)] for text in texts]
        self.enqueue(*batches, [ProviderFinished("stop")])

    def stream(self, request: ModelRequest) -> ScriptedStream:
        """See L{openclaw.models.ModelProvider.stream}."""
        stream = ScriptedStream(request, hold_head=self.hold_head)
        self.requests.append(request)
        self.streams.append(stream)
        if self._scripts:
            script = self._scripts.popleft()
            for step in script:
                if isinstance(step, OpenClawError):
                    stream.fail(step)
                else:
                    stream.push(*step)
            if not script or not isinstance(script[-1], OpenClawError):
                stream.end()
        return stream
