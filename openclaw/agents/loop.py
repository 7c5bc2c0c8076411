"""
The model's part of a run: call the model, pass on what it says, try again where that is safe.

Tools join here: an answer that calls a tool of the agent's own will be run and the model called again with the
result, in the loop that today ends after one call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import attrs

from openclaw.errors import LastingProviderFailure, ProviderError, ProviderFailed
from openclaw.events import ProviderEvent, ProviderFinished, ReasoningDelta, TextDelta, ToolCallDelta
from openclaw.interfaces import ModelRequest, ProviderStream, ResolvedModel
from openclaw.messages import FinishReason, ToolCall, Usage, estimate_tokens
from openclaw.providers.retry import Retries

MAX_KEPT_CHARACTERS = 16 * 1024 * 1024
"""Most that is kept of one answer, reasoning and calls included; only a broken server writes as much."""

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
    @ivar usage: of this attempt, as the provider counted.
    @ivar produced_output: whether anything of the answer has been told.
    @param keeps_text: whether text and reasoning are kept, and not only their length: who streams an answer that is
        not stored has no use for it, and a client that is slow to read it must not cost its memory.
    """

    def __init__(self, *, keeps_text: bool = True) -> None:
        self._keeps_text = keeps_text
        self._characters = 0
        self._kept = 0
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._calls: dict[int, _CallPieces] = {}
        self.reason: FinishReason | None = None
        self.usage: Usage | None = None
        self.produced_output = False
        # Whether the provider has said anything in this attempt.
        self._is_heard = False
        # What the provider counted for attempts that failed.
        self._earlier_usage = Usage()

    @property
    def text(self) -> str:
        """The answer's text so far."""
        return "".join(self._text)

    @property
    def reasoning(self) -> str:
        """The model's reasoning so far."""
        return "".join(self._reasoning)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls so far, in their order."""
        return tuple(ToolCall(call.id, call.name, "".join(call.arguments)) for _, call in sorted(self._calls.items()))

    def restart(self) -> None:
        """Forget what an attempt that told nothing has noted, but not what it cost."""
        if self.usage is not None:
            self._earlier_usage += self.usage
        self.reason = None
        self.usage = None
        self._is_heard = False

    def forget(self) -> None:
        """
        Let the answer go; for when it was handed on.

        Frames and tracebacks of an ended run may hold this object until the next collection, which counts objects
        and not their size.
        """
        for kept in (self._text, self._reasoning, self._calls):
            kept.clear()

    def take(self, batch: Sequence[ProviderEvent]) -> Sequence[Delta]:
        """Note a batch; returns what of it is to be told."""
        self._is_heard = True
        deltas: list[Delta] = []
        for event in batch:
            if isinstance(event, TextDelta | ReasoningDelta):
                self._take_text(event)
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

    def _take_text(self, event: TextDelta | ReasoningDelta) -> None:
        self._characters += len(event.text)
        if self._keeps_text:
            self._check_room(len(event.text))
            (self._text if isinstance(event, TextDelta) else self._reasoning).append(event.text)

    def _check_room(self, characters: int) -> None:
        self._kept += characters
        if self._kept > MAX_KEPT_CHARACTERS:
            raise LastingProviderFailure("the provider's answer does not end; it is over 16 million characters")

    def _take_call(self, event: ToolCallDelta) -> None:
        self._characters += len(event.arguments)
        self._check_room(len(event.arguments))
        call = self._calls.setdefault(event.index, _CallPieces())
        call.id = event.id or call.id
        call.name = event.name or call.name
        call.arguments.append(event.arguments)

    def usage_or_estimate(self, request: ModelRequest) -> Usage:
        """
        What the attempts cost together.

        Where the provider gave no figures the last one is taken from the length of the texts; it cost nothing if the
        provider never said a word.
        """
        if self.usage is not None:
            return self._earlier_usage + self.usage
        if not self._is_heard:
            return self._earlier_usage
        prompt = sum(len(message.text) for message in request.messages)
        written = estimate_tokens(self._characters)
        return self._earlier_usage + Usage(estimate_tokens(prompt), written, estimated=True)


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
