"""
The conversation as values: what a user, an agent and a tool said, and what it cost.

These are the gateway's own shapes.  Each surface and each provider maps its wire format onto them.
"""

from __future__ import annotations

from typing import Literal

import attrs

Role = Literal["system", "user", "assistant", "tool"]
"""Who a message is from; C{developer} is C{system} and C{function} is C{tool} here."""

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]
"""Why a model stopped, in the words that every OpenAI client knows."""


@attrs.frozen
class ToolCall:
    """
    A model's wish to have a function called.

    @ivar id: the provider's id, unchanged.
    @ivar name: the function.
    @ivar arguments: its arguments as the model wrote them: JSON text, perhaps malformed.
    """

    id: str
    name: str
    arguments: str


@attrs.frozen
class Message:
    """
    One message of a conversation.

    @ivar role: who it is from.
    @ivar text: its text; several text parts are joined by a newline.
    @ivar tool_calls: calls of an assistant message.
    @ivar tool_call_id: the call that a tool message answers.
    @ivar reasoning: what the model thought before an assistant message, for models that are to be told it again.
    """

    role: Role
    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    reasoning: str = ""


@attrs.frozen
class Usage:
    """
    Tokens of one model call, or summed over the calls of a run.

    @ivar prompt_tokens: all tokens read, cached ones included.
    @ivar completion_tokens: all tokens written, reasoning included.
    @ivar cached_tokens: tokens of the prompt that the provider had cached, where it says so.
    @ivar reasoning_tokens: tokens spent on reasoning, where the provider says so.
    @ivar estimated: true if the provider gave no figures and these are from the text's length.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    estimated: bool = False

    @property
    def total_tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            _sum(self.cached_tokens, other.cached_tokens),
            _sum(self.reasoning_tokens, other.reasoning_tokens),
            self.estimated or other.estimated,
        )


def _sum(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else a + b


def estimate_tokens(characters: int) -> int:
    """Tokens of a text of so many characters: a quarter, rounded up, as the field estimates."""
    return (characters + 3) // 4
