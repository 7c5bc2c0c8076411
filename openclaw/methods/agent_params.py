"""The parameters of C{agent}: what is asked, checked, and turned into what the door to the agents takes."""

from __future__ import annotations

import re
from typing import Annotated

from msgspec import Meta, Raw, Struct, field

from openclaw.agents.request import DEFAULT_CHANNEL, Asked, RunOptions, RunRequest
from openclaw.agents.resolve import Selection
from openclaw.auth.scopes import ADMIN, require
from openclaw.config.schema import Config
from openclaw.ids import SessionKey, new_run_id
from openclaw.interfaces import Caller
from openclaw.messages import Message
from openclaw.methods.checks import MAIN_SESSION, bad_param, default_agent, named_agent, named_session
from openclaw.methods.table import Params
from openclaw.models import Sampling
from openclaw.wire import CHANNEL_NAME

MAX_TIMEOUT_S = 31_536_000
"""Longest C{timeout} that can be asked for, seconds: a year."""

EFFORTS = ("minimal", "low", "medium", "high", "xhigh")
"""Levels of C{thinking} that model servers know; C{off} asks for none."""

_RUN_ID = re.compile(r"[!-~]{1,255}")
_ADMIN_COMMAND = re.compile(r"\s*/(new|reset)(?:\s|$)", re.IGNORECASE)

_NO_DELIVERY = "answers are not sent to channels yet; leave it out"
_NOT_SERVED = {
    "attachments": "attachments are not available yet; leave them out",
    "provider": "name the provider in model, as provider/model",
    **dict.fromkeys(("reply_to", "reply_channel", "reply_account_id", "account_id", "thread_id"), _NO_DELIVERY),
    **dict.fromkeys(("group_id", "group_channel", "group_space"), _NO_DELIVERY),
    "spawned_by": "agents do not start others yet; leave it out",
    "label": "sessions have no labels yet; leave it out",
}
"""Fields of the original that would be without effect here: a call that sets one is refused."""

_Name = Annotated[str, Meta(max_length=512)]


class Attachments(Struct, array_like=True, frozen=True):
    """A list of which only the first item is kept, if there is one: to decode all of a large one would take seconds."""

    first: Raw = field(default_factory=Raw)


class AgentParams(Params, frozen=True):
    """
    Parameters of C{agent}.

    @ivar to: whom the conversation is with; all of them share the agent's main session.
    @ivar deliver: whether to send the answer to a channel; not available.
    @ivar best_effort_deliver: means nothing without C{deliver}.
    @ivar timeout: longest time that the run may take, seconds; 0 leaves it to the configuration.
    @ivar idempotency_key: becomes the run's id; a repeated call with it gets the first one's answer.
    @ivar model: C{provider/model} in the place of the agent's own; needs C{operator.admin}.
    @ivar lane: C{main}, the only one.
    @ivar extra_system_prompt: added to the agent's prompt for this run.
    """

    message: str
    agent_id: _Name | None = None
    session_key: _Name | None = None
    session_id: _Name | None = None
    to: _Name | None = None
    deliver: bool = False
    best_effort_deliver: bool = False
    timeout: Annotated[float, Meta(ge=0, le=MAX_TIMEOUT_S)] | None = None
    idempotency_key: str | None = None
    model: _Name | None = None
    thinking: Annotated[str, Meta(max_length=32)] | None = None
    channel: Annotated[str, Meta(max_length=64)] | None = None
    lane: Annotated[str, Meta(max_length=64)] | None = None
    extra_system_prompt: str | None = None
    attachments: Annotated[Attachments, Meta(extra_json_schema={"type": "array"})] | None = None
    provider: str | None = None
    reply_to: str | None = None
    reply_channel: str | None = None
    reply_account_id: str | None = None
    account_id: str | None = None
    thread_id: str | int | None = None
    group_id: str | None = None
    group_channel: str | None = None
    group_space: str | None = None
    spawned_by: str | None = None
    label: str | None = None


def check_params(caller: Caller, params: AgentParams) -> None:
    """
    Refuse what cannot be done.

    @raise InvalidRequest: naming the field.
    @raise openclaw.errors.MissingScope: for a model of the caller's choice and for commands, without C{operator.admin}.
    """
    _check_text("message", params.message)
    if not params.message.strip():
        raise bad_param("agent", "message", "must not be empty")
    command = _ADMIN_COMMAND.match(params.message)
    if command is not None:
        require(caller, ADMIN)
        raise bad_param("agent", "message", f"/{command[1].lower()} is not available yet; use another session key")
    if params.model is not None:
        require(caller, ADMIN)
    if params.deliver:
        raise bad_param("agent", "deliver", f"{_NO_DELIVERY} or send false")
    for name, reason in _NOT_SERVED.items():
        if getattr(params, name) not in (None, "", Attachments()):
            raise bad_param("agent", _camel(name), reason)
    if params.idempotency_key is not None and not _RUN_ID.fullmatch(params.idempotency_key):
        raise bad_param("agent", "idempotencyKey", "1 to 255 visible ASCII characters are needed")
    if params.lane not in (None, "", "main"):
        raise bad_param("agent", "lane", 'the only lane is "main"')
    if params.thinking not in (None, "", "off", *EFFORTS):
        raise bad_param("agent", "thinking", f"must be one of: off, {', '.join(EFFORTS)}")
    if params.channel and not CHANNEL_NAME.fullmatch(params.channel):
        raise bad_param("agent", "channel", "1 to 64 letters, digits, dots, dashes and underscores are needed")
    _check_text("extraSystemPrompt", params.extra_system_prompt or "")


def choose_session(config: Config, params: AgentParams) -> SessionKey:
    """The session of a call's key, else its agent's main one; L{openclaw.errors.InvalidRequest} if there is none."""
    agent_id = named_agent(config, "agent", params.agent_id) if params.agent_id else None
    if params.session_key:
        key = named_session(config, "agent", params.session_key, agent_id)
        named_agent(config, "agent", key.agent_id)
        return key
    return SessionKey(agent_id or default_agent(config, "agent"), MAIN_SESSION)


def to_request(params: AgentParams, key: SessionKey, run_id: str, received_s: float) -> RunRequest:
    """What the agents are asked; C{run_id} is the client's, and C{received_s} when its call was complete."""
    # "last" is where the session's last message came from, which is nowhere but here.
    channel = params.channel if params.channel not in (None, "", "last") else None
    return RunRequest(
        run_id=new_run_id("run"),
        selection=Selection(agent_id=key.agent_id, session_key=str(key), model_override=params.model),
        asked=Asked(
            (Message("user", params.message),),
            (params.extra_system_prompt,) if params.extra_system_prompt else (),
            Sampling(reasoning_effort=params.thinking if params.thinking in EFFORTS else None),
        ),
        received_s=received_s,
        channel=channel or DEFAULT_CHANNEL,
        options=RunOptions(alias=run_id, timeout_s=params.timeout or None),
    )


def _check_text(field: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise bad_param("agent", field, "holds half of a surrogate pair, which is no text") from None


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(word.capitalize() for word in tail)
