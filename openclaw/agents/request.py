"""What a surface asks of an agent."""

from __future__ import annotations

import attrs

from openclaw.agents.resolve import Selection
from openclaw.messages import Message
from openclaw.models import Sampling
from openclaw.sessions.keys import PLAIN, Manner

DEFAULT_CHANNEL = "webchat"
"""The channel of a request that names none, as the original has it."""


@attrs.frozen
class Asked:
    """
    What the model is to answer, as a client sent it.

    @ivar messages: the conversation as sent, without system messages; at least one.
    @ivar system: system and developer texts in their order.
    """

    messages: tuple[Message, ...]
    system: tuple[str, ...] = ()
    sampling: Sampling = attrs.field(factory=Sampling)


@attrs.frozen
class RunOptions:
    """
    How a run is to be done, where that is not the usual way.

    @ivar keep: store a session that the client did not name, too.
    @ivar whole: the surface takes the answer from the outcome; false where it has told it event by event.
    @ivar alias: another id by which its client knows the run, chosen by that client.
    @ivar timeout_s: seconds that the run may take, where the client wants it shorter than the configuration.
    @ivar manner: what tells a turn of a user interface from what it asks on the side.
    @ivar one_attempt: ask each model once only, as the client's library has made its own retry of this.
    """

    keep: bool = False
    whole: bool = True
    alias: str | None = None
    timeout_s: float | None = None
    manner: Manner = PLAIN
    one_attempt: bool = False


@attrs.frozen
class RunRequest:
    """
    What a surface asks of an agent.

    @ivar run_id: chosen by the surface (L{openclaw.ids.new_run_id}), which can so name the run before it is placed.
    @ivar received_s: when the request was complete, on the gateway's clock.
    @ivar channel: where the conversation takes place.
    """

    run_id: str
    selection: Selection
    asked: Asked
    received_s: float
    channel: str = DEFAULT_CHANNEL
    options: RunOptions = RunOptions()

    @property
    def shown_id(self) -> str:
        """The id by which the client knows the run."""
        alias = self.options.alias
        return alias if alias is not None else self.run_id
