"""What a surface asks of an agent."""

from __future__ import annotations

import attrs

from openclaw.agents.resolve import Selection
from openclaw.messages import Message
from openclaw.models import Sampling

DEFAULT_CHANNEL = "webchat"
"""The channel of a request that names none, as the original has it."""


@attrs.frozen
class RunRequest:
    """
    What a surface asks of an agent.

    @ivar run_id: chosen by the surface (L{openclaw.ids.new_run_id}), which can so name the run before it is placed.
    @ivar messages: the conversation as sent, without system messages; at least one.
    @ivar system: system and developer texts in their order.
    @ivar channel: where the conversation takes place.
    @ivar keep: store a session that the client did not name, too.
    @ivar whole: the surface takes the answer from the outcome; false where it has told it event by event.
    @ivar received_s: when the request was complete, on the gateway's clock.
    @ivar alias: another id by which its client knows the run, chosen by that client.
    @ivar timeout_s: seconds that the run may take, where the client wants it shorter than the configuration.
    @ivar retry_of: id of an earlier run of the same request that was cancelled or failed and has the user's turn in
        the transcript; that turn is answered, and not stored again.  L{openclaw.sessions.placement.UNKNOWN_RUN} where
        the run is not known any more.
    """

    run_id: str
    selection: Selection
    messages: tuple[Message, ...]
    received_s: float
    system: tuple[str, ...] = ()
    sampling: Sampling = attrs.field(factory=Sampling)
    channel: str = DEFAULT_CHANNEL
    keep: bool = False
    whole: bool = True
    alias: str | None = None
    timeout_s: float | None = None
    retry_of: str | None = None

    @property
    def shown_id(self) -> str:
        """The id by which the client knows the run."""
        return self.alias if self.alias is not None else self.run_id
