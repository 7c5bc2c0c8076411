"""
The model's part of a run: call the model, pass on what it says, try again, or another model, where that is safe.

Tools join here: an answer that calls a tool of the agent's own will be run and the model called again with the
result, in the loop that today ends after one call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import attrs

from openclaw.agents.models import Candidate, Prompt, falls_back, most_telling
from openclaw.agents.retry import Retries
from openclaw.errors import (
    LastingProviderFailure,
    OpenClawError,
    ProviderAuthFailed,
    ProviderFailed,
    ProviderQuota,
    ProviderRateLimited,
)
from openclaw.events import ProviderEvent, ProviderFinished, ReasoningDelta, TextDelta, ToolCallDelta
from openclaw.messages import FinishReason, Message, ToolCall, Usage, estimate_tokens
from openclaw.models import ModelRequest, ProviderStream, ResolvedModel
from openclaw.providers.keys import KeyedProvider

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

    def usage_or_estimate(self, prompt: Sequence[Message]) -> Usage:
        """
        What the attempts cost together.

        Where the provider gave no figures the last one is taken from the length of the texts; it cost nothing if the
        provider never said a word.

        @param prompt: what the model was asked.
        """
        if self.usage is not None:
            return self._earlier_usage + self.usage
        if not self._is_heard:
            return self._earlier_usage
        asked = sum(len(message.text) for message in prompt)
        written = estimate_tokens(self._characters)
        return self._earlier_usage + Usage(estimate_tokens(asked), written, estimated=True)


@attrs.frozen
class LoopHooks:
    """
    What the loop needs of the run around it.

    @ivar tell: takes the deltas of one batch; gives what to wait for where the reader is behind.
    @ivar opened: is given each stream before it is entered, so that a stop can close its connection at once.
    @ivar first_output: called at the first event of the provider.
    @ivar wait: waits between two attempts, for so many seconds; the run gives up its slot meanwhile.  Gives whether
        there is to be another attempt.
    @ivar goes_on: whether the run goes on, and was not stopped.
    @ivar chosen: is given the model that is asked from now on, or whose error is told in the end.
    @ivar fell_back: is told of a model that failed and of the one that is asked in its place.
    """

    tell: Callable[[Sequence[Delta]], Awaitable[None] | None]
    opened: Callable[[ProviderStream | None], None]
    first_output: Callable[[], None]
    wait: Callable[[float], Awaitable[bool]]
    goes_on: Callable[[], bool]
    chosen: Callable[[str], None]
    fell_back: Callable[[str, OpenClawError, str], None]


@attrs.frozen
class _Failure:
    """
    How a model failed.

    @ivar is_final: no other attempt is to be made, at any model.
    """

    error: OpenClawError
    is_final: bool = False


async def converse(
    candidates: Sequence[Candidate], prompt: Prompt, turn: ModelTurn, retries: Retries, hooks: LoopHooks
) -> None:
    """
    Have a model answer; C{turn} is complete when this returns.

    A failed attempt is repeated as L{Retries} allows, then the next model is asked, and never once anything was told.

    @param candidates: the models, the first choice first; at least one.
    @raise OpenClawError: if all of them failed, as L{most_telling} has it.
    """
    errors: list[OpenClawError] = []
    for place, candidate in enumerate(candidates):
        following = candidates[place + 1 :]
        hooks.chosen(candidate.ref)
        retries.next_model(len(following))
        failure = await _ask(candidate, prompt, turn, retries, hooks)
        if failure is None:
            return
        if turn.produced_output:
            raise failure.error
        errors.append(failure.error)
        # Its traceback holds this frame, and with it the answer, until the next collection.
        failure.error.__traceback__ = None
        if failure.is_final or not following or not falls_back(failure.error):
            break
        if not (retries.may_start() and hooks.goes_on()):
            break
        hooks.fell_back(candidate.ref, failure.error, following[0].ref)
        turn.restart()
    told = most_telling(errors)
    hooks.chosen(candidates[told].ref)
    raise errors[told]


async def _ask(
    candidate: Candidate, prompt: Prompt, turn: ModelTurn, retries: Retries, hooks: LoopHooks
) -> _Failure | None:
    """Ask one model as often as is allowed; gives C{None} when it has answered."""
    model = candidate.model
    if isinstance(model, OpenClawError):
        return _Failure(model)
    request = prompt.request(model)
    while True:
        retries.begin_attempt()
        try:
            await _attempt(model, request, turn, hooks)
        except OpenClawError as error:
            failed = error
        else:
            return None
        if turn.produced_output or not hooks.goes_on():
            return _Failure(failed, is_final=True)
        delay_s = retries.next_delay_s(failed, other_key=_has_other_key(model, failed))
        if delay_s is None:
            return _Failure(failed)
        if delay_s > 0 and not await hooks.wait(delay_s):
            return _Failure(failed, is_final=True)
        turn.restart()


def _has_other_key(model: ResolvedModel, error: OpenClawError) -> bool:
    """Whether the model can be asked with another key, after its server refused the one that was used."""
    if not isinstance(error, ProviderAuthFailed | ProviderQuota | ProviderRateLimited):
        return False
    return isinstance(model.provider, KeyedProvider) and model.provider.refused(error)


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
                    behind = hooks.tell(deltas)
                    if behind is not None:
                        await behind
    finally:
        hooks.opened(None)
    if turn.reason is None:
        raise ProviderFailed("the provider ended its answer without saying why")
