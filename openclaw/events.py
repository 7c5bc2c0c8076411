"""
What a provider and a run tell while they work.

Events travel in batches: all that one network read of the provider gave, so that each layer is entered once
a read and not once an event.  A run ends with exactly one terminal event, L{RunFinished} or L{RunFailed}.
"""

from __future__ import annotations

import attrs

from openclaw.errors import OpenClawError
from openclaw.messages import FinishReason, Usage


@attrs.frozen
class TextDelta:
    """More of the answer's text."""

    text: str


@attrs.frozen
class ReasoningDelta:
    """More of the model's reasoning, where the provider shows it."""

    text: str


@attrs.frozen
class ToolCallDelta:
    """
    More of a tool call.

    @ivar index: which of the message's calls, from 0.
    @ivar id: the call's id, on its first piece.
    @ivar name: the function's name, on its first piece.
    @ivar arguments: the next piece of the JSON text.
    """

    index: int
    id: str | None
    name: str | None
    arguments: str


@attrs.frozen
class ProviderFinished:
    """The model stopped, and why."""

    reason: FinishReason


@attrs.frozen
class ProviderUsage:
    """What the call cost, as the provider counted it."""

    usage: Usage


ProviderEvent = TextDelta | ReasoningDelta | ToolCallDelta | ProviderFinished | ProviderUsage
"""What a L{openclaw.interfaces.ProviderStream} yields, in batches."""


@attrs.frozen
class RunFinished:
    """
    Terminal: the run succeeded and is on disk.

    @ivar reason: why the last model call stopped.
    @ivar usage: summed over all model calls of the run.
    """

    reason: FinishReason
    usage: Usage


@attrs.frozen
class RunFailed:
    """
    Terminal: the run did not succeed.

    @ivar error: why.
    @ivar produced_output: whether text or a tool call had been told before.
    """

    error: OpenClawError
    produced_output: bool


RunEvent = TextDelta | ReasoningDelta | ToolCallDelta | RunFinished | RunFailed
"""What a run tells, in batches."""
