"""What the model says: the answer of one call, and their fold, which is the answer of the run."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from openclaw.errors import LastingProviderFailure, OpenClawError
from openclaw.events import ProviderEvent, ProviderFinished, ReasoningDelta, RunOutcome, TextDelta, ToolCallDelta
from openclaw.messages import FinishReason, Message, ToolCall, Usage, estimate_tokens

MAX_KEPT_CHARACTERS = 16 * 1024 * 1024
"""Most that is kept of one answer, reasoning and calls included; only a broken server writes as much."""

Delta = TextDelta | ReasoningDelta | ToolCallDelta
"""What a model call tells on its way."""


@attrs.define
class _CallPieces:
    id: str = ""
    name: str = ""
    arguments: list[str] = attrs.field(factory=list)


class Answer:
    """
    What came out of one call of a model so far; complete once L{reason} is set.

    @ivar reason: why the model stopped.
    @ivar usage: what the call cost, as the provider counted.
    @ivar produced_output: whether anything of the answer has been told.
    @ivar is_heard: whether the provider has said anything at all.
    @ivar characters: how much was said, in characters, whether it is kept or not.
    @param keeps_text: whether text and reasoning are kept, and not only their length: who streams an answer that is
        not stored has no use for it, and a client that is slow to read it must not cost its memory.
    """

    def __init__(self, *, keeps_text: bool = True) -> None:
        self._keeps_text = keeps_text
        self._kept = 0
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._calls: dict[int, _CallPieces] = {}
        self.reason: FinishReason | None = None
        self.usage: Usage | None = None
        self.produced_output = False
        self.is_heard = False
        self.characters = 0

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

    def forget(self) -> None:
        """Let the answer go, once it is handed on: what is left of an ended run may hold it for long."""
        for kept in (self._text, self._reasoning, self._calls):
            kept.clear()

    def take(self, batch: Sequence[ProviderEvent]) -> Sequence[Delta]:
        """Note a batch, returns what of it is to be told; L{LastingProviderFailure} if it is too long."""
        self.is_heard = True
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
        self.characters += len(event.text)
        if self._keeps_text:
            self._check_room(len(event.text))
            (self._text if isinstance(event, TextDelta) else self._reasoning).append(event.text)

    def _check_room(self, characters: int) -> None:
        self._kept += characters
        if self._kept > MAX_KEPT_CHARACTERS:
            raise LastingProviderFailure("the provider's answer does not end; it is over 16 million characters")

    def _take_call(self, event: ToolCallDelta) -> None:
        self.characters += len(event.arguments)
        self._check_room(len(event.arguments))
        call = self._calls.setdefault(event.index, _CallPieces())
        call.id = event.id or call.id
        call.name = event.name or call.name
        call.arguments.append(event.arguments)


class RunAnswer:
    """
    The answer of a run, folded from those of its calls: what its outcome is made of.

    @ivar last: the answer of the call that is under way, or of the last one.
    @param keeps_text: as for L{Answer}.
    """

    def __init__(self, *, keeps_text: bool = True) -> None:
        self._keeps_text = keeps_text
        # The calls before the last one: those that told something, and what all of them cost.
        self._earlier: list[Answer] = []
        self._earlier_usage = Usage()
        self.last = Answer(keeps_text=keeps_text)

    @property
    def _calls(self) -> tuple[Answer, ...]:
        return (*self._earlier, self.last)

    def next_call(self) -> None:
        """Go on with another call; of one that told nothing there stays what it cost, as far as that was counted."""
        if self.last.usage is not None:
            self._earlier_usage += self.last.usage
        if self.last.produced_output:
            self._earlier.append(self.last)
        self.last = Answer(keeps_text=self._keeps_text)

    @property
    def produced_output(self) -> bool:
        """Whether anything of the answer has been told."""
        return self.last.produced_output or bool(self._earlier)

    @property
    def text(self) -> str:
        """The text of all calls so far."""
        return "".join([answer.text for answer in self._calls])

    @property
    def reasoning(self) -> str:
        """The reasoning of all calls so far."""
        return "".join([answer.reasoning for answer in self._calls])

    def usage(self, prompt: Sequence[Message]) -> Usage:
        """
        What the calls cost together, those that failed included.

        Where the provider gave no figures the last one is taken from the length of the texts; it cost nothing if the
        provider never said a word.

        @param prompt: what the model was asked.
        """
        last = self.last
        if last.usage is not None:
            return self._earlier_usage + last.usage
        if not last.is_heard:
            return self._earlier_usage
        asked = sum(len(message.text) for message in prompt)
        written = estimate_tokens(last.characters)
        return self._earlier_usage + Usage(estimate_tokens(asked), written, estimated=True)

    def outcome(self, usage: Usage, error: OpenClawError | None) -> RunOutcome:
        """How the run ended, or why it failed: the calls of an answer that was cut off never have results."""
        reason, calls = (self.last.reason, self.last.tool_calls) if error is None else (None, ())
        return RunOutcome(self.text, reason, usage, error, self.reasoning, calls, self.produced_output)

    def forget(self) -> None:
        """Let the answer go; see L{Answer.forget}."""
        for answer in self._calls:
            answer.forget()
