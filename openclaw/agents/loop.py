"""
The model's part of a run: call the model, pass on what it says, try again where that is safe.

Tools join here: an answer that calls a tool of the agent's own will be run and the model called again with the
result, in the loop that today ends after one call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import attrs

from openclaw.errors import ProviderError, ProviderFailed
from openclaw.events import ProviderEvent, ProviderFinished, ReasoningDelta, TextDelta, ToolCallDelta
from openclaw.interfaces import ModelRequest, ProviderStream, ResolvedModel
from openclaw.messages import FinishReason, ToolCall, Usage, estimate_tokens
from openclaw.providers.retry import Retries

Delta = TextDelta | ReasoningDelta | ToolCallDelta
"""What a model call tells on its way."""


@attrs.define
class _CallPieces:
    id: str = ""
    name: str = ""
    arguments: list[str] = attrs.field(factory=list)


class ModelTurn:
    """
    What came out of a model so far; complete once L{reason} is set.

    @ivar reason: why the model stopped.
    @ivar usage: as the provider counted.
    @ivar produced_output: whether anything of the answer has been told.
    """

    def __init__(self) -> None:
        self._text: list[str] = []
        self._calls: dict[int, _CallPieces] = {}
        self.reason: FinishReason | None = None
        self.usage: Usage | None = None
        self.produced_output = False

    @property
    def text(self) -> str:
        """The answer's text so far."""
        return "".join(self._text)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls so far, in their order."""
        return tuple(ToolCall(call.id, call.name, "".join(call.arguments)) for _, call in sorted(self._calls.items()))

    def restart(self) -> None:
        """Forget what an attempt that told nothing has noted."""
        self.reason = None
        self.usage = None

    def take(self, batch: Sequence[ProviderEvent]) -> Sequence[Delta]:
        """Note a batch; returns what of it is to be told."""
        deltas: list[Delta] = []
        for event in batch:
            if isinstance(event, TextDelta):
                self._text.append(event.text)
                deltas.append(event)
            elif isinstance(event, ReasoningDelta):
                deltas.append(event)
            elif isinstance(event, ToolCallDelta):
                self._take_call(event)
                deltas.append(event)
            elif isinstance(event, ProviderFinished):
                self.reason = event.reason
            else:
                self.usage = event.usage
        if deltas:
            self.produced_output = True
        return deltas

    def _take_call(self, event: ToolCallDelta) -> None:
        call = self._calls.setdefault(event.index, _CallPieces())
        call.id = event.id or call.id
        call.name = event.name or call.name
        call.arguments.append(event.arguments)

    def usage_or_estimate(self, request: ModelRequest) -> Usage:
        """What the call cost; from the length of the texts where the provider gave no figures."""
        if self.usage is not None:
            return self.usage
        prompt = sum(len(message.text) for message in request.messages)
        written = sum(map(len, self._text)) + sum(len(call.arguments) for call in self.tool_calls)
        return Usage(estimate_tokens(prompt), estimate_tokens(written), estimated=True)


@attrs.frozen
class LoopHooks:
    """
    What the loop needs of the run around it.

    @ivar tell: takes the deltas of one batch; waits while the reader is behind.
    @ivar opened: is given each stream before it is entered, so that a stop can close its connection at once.
    @ivar first_output: called at the first event of the provider.
    @ivar wait: waits between two attempts, for so many seconds; the run gives up its slot meanwhile.  Gives whether
        there is to be another attempt.
    """

    tell: Callable[[Sequence[Delta]], Awaitable[None]]
    opened: Callable[[ProviderStream | None], None]
    first_output: Callable[[], None]
    wait: Callable[[float], Awaitable[bool]]


async def converse(
    model: ResolvedModel, request: ModelRequest, turn: ModelTurn, retries: Retries, hooks: LoopHooks
) -> None:
    """
    Have the model answer; C{turn} is complete when this returns.

    A failed attempt is repeated as L{Retries} allows, and never once anything was told.

    @raise ProviderError: if the last attempt failed.
    """
    while True:
        try:
            await _attempt(model, request, turn, hooks)
        except ProviderError as error:
            delay_s = None if turn.produced_output else retries.next_delay_s(error)
            if delay_s is None or not await hooks.wait(delay_s):
                raise
            turn.restart()
        else:
            return


async def _attempt(model: ResolvedModel, request: ModelRequest, turn: ModelTurn, hooks: LoopHooks) -> None:
    stream = model.provider.stream(request)
    hooks.opened(stream)
    try:
        async with stream:
            told = False
            async for batch in stream:
                if not told:
                    told = True
                    hooks.first_output()
                deltas = turn.take(batch)
                if deltas:
                    await hooks.tell(deltas)
    finally:
        hooks.opened(None)
    if turn.reason is None:
        raise ProviderFailed("the provider ended its answer without saying why")
