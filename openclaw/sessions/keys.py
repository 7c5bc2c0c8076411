"""How a session was named by a request, and what else of the request tells a turn from a side call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import attrs

from openclaw.messages import Message

TASK_MARK = "### Task:"
"""How the prompts begin with which Open WebUI asks for titles, tags and follow-ups."""

KeySource = Literal["key", "chat", "metadata", "user", "fresh"]
"""Where a session key came from: the client's own key, a chat id of its user interface, metadata, the user, nowhere."""


@attrs.frozen
class Manner:
    """
    How a request asks.

    @ivar streamed: for a stream, as user interfaces do for what their user said.
    @ivar has_tools: with tools of the client.
    """

    streamed: bool = False
    has_tools: bool = False

    def is_side_call(self, sent: Sequence[Message]) -> bool:
        """Whether this looks like a user interface's own question, such as for a title, and not its user's."""
        if self.streamed or self.has_tools or len(sent) != 1:
            return False
        return sent[0].role == "user" and sent[0].text.lstrip().startswith(TASK_MARK)


PLAIN = Manner()
"""Neither."""
