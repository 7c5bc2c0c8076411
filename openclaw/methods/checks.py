"""What several methods check in their parameters: the agent, the session key; and how long they wait for a file."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as WaitedTooLong

from openclaw.auth.scopes import ADMIN, implies
from openclaw.config.schema import Config
from openclaw.errors import CapacityError, InvalidRequest
from openclaw.ids import SessionKey, client_session_key, normalise_agent_id
from openclaw.interfaces import Caller, Clock
from openclaw.waits import within

REDACTED_PATH = "[redacted]"
"""What stands in the place of a path for a caller without C{operator.admin}, as in the original."""

MAIN_SESSION = "main"
"""The rest of the key of an agent's main session: where a call goes that names no session."""

FILE_TIMEOUT_S = 10.0
"""Longest wait for one reading of files, in seconds: a disk that stalls must not keep calls for good."""

T = TypeVar("T")


def bad_param(method: str, field: str, reason: str) -> InvalidRequest:
    """An error about the value of one parameter, in the words that the decoding of parameters uses, too."""
    return InvalidRequest(f"invalid {method} params: at /{field}: {reason}", param=field)


def named_agent(config: Config, method: str, text: str) -> str:
    """The agent that C{agentId} names; L{InvalidRequest} if the configuration has no such agent."""
    agent_id = normalise_agent_id(text)
    if agent_id is None or agent_id not in config.agents.agent_ids:
        known = ", ".join(config.agents.agent_ids[:20])
        raise bad_param(method, "agentId", f'unknown agent id "{text[:80]}"; the agents are: {known}')
    return agent_id


def named_session(config: Config, method: str, text: str, agent_id: str | None = None) -> SessionKey:
    """
    The session that C{sessionKey} names.

    Its agent need not exist any more: what it said can still be read.

    @param text: a full key, or a bare one of C{agent_id}.
    @param agent_id: the agent that the call names; without it the key's own one, else the default one.
    @raise InvalidRequest: if the key is malformed, reserved, or names another agent than C{agent_id}.
    """
    if agent_id is None:
        agent_id = _agent_of(text) or default_agent(config, method)
    try:
        return client_session_key(text, agent_id, "sessionKey")
    except InvalidRequest as error:
        reason = error.message.removeprefix("sessionKey").lstrip(": ")
        raise bad_param(method, "sessionKey", reason) from None


def default_agent(config: Config, method: str) -> str:
    """The agent of a call that names none; L{InvalidRequest} if there are several and none is the default."""
    agent_id = config.agents.default_agent_id
    if agent_id is None:
        known = ", ".join(config.agents.agent_ids[:20])
        raise bad_param(method, "agentId", f"several agents are configured and none is the default; name one: {known}")
    return agent_id


def _agent_of(key: str) -> str | None:
    """The agent that a full key begins with."""
    head, _, rest = key.partition(":")
    return normalise_agent_id(rest.partition(":")[0]) if head.lower() == "agent" else None


def shown_path(caller: Caller | None, path: Path) -> str:
    """A path on this machine as a caller may see it; C{None} is everybody."""
    return str(path) if caller is not None and implies(caller.scopes, ADMIN) else REDACTED_PATH


async def read_in_time(reading: Deferred[T], clock: Clock) -> T:
    """Wait at most L{FILE_TIMEOUT_S} for a thread, which cannot be stopped; then L{CapacityError}, C{file_timeout}."""
    try:
        return await within(reading, FILE_TIMEOUT_S, clock)
    except WaitedTooLong:
        raise CapacityError("the disk did not answer in time", code="file_timeout") from None
