"""
Identifiers: agent ids, session keys, run and entry ids.

A session key reads C{agent:<agent id>:<rest>}.  The agent id is lower case; the rest is kept as the client
sent it, letter by letter (C{Alice} and C{alice} are two people).
"""

from __future__ import annotations

import os
import re

import attrs

from openclaw.errors import InvalidRequest

MAX_SESSION_KEY_BYTES = 512
"""Longest session key that a client may choose, in bytes of UTF-8."""

RESERVED_NAMESPACES = ("subagent:", "cron:", "acp:")
"""Beginnings of a key's rest that only the gateway itself may use."""

_AGENT_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def normalise_agent_id(text: str) -> str | None:
    """
    Bring an agent id into its one spelling.

    @return: the id in lower case without surrounding blanks, or C{None} if C{text} cannot name an agent.
    """
    candidate = text.strip().lower()
    return candidate if _AGENT_ID.fullmatch(candidate) else None


@attrs.frozen
class SessionKey:
    """
    The name of one session.

    @ivar agent_id: the agent that the session belongs to.
    @ivar rest: what follows C{agent:<agent id>:}.
    """

    agent_id: str
    rest: str

    def __str__(self) -> str:
        return f"agent:{self.agent_id}:{self.rest}"


def check_client_key_text(text: str, source: str) -> None:
    """
    Refuse a text that must not become part of a session key.

    @param source: where the text came from, for the message: a header or a body field.
    @raise InvalidRequest: for control characters, an empty text or one over L{MAX_SESSION_KEY_BYTES}.
    """
    if not text:
        raise InvalidRequest(f"{source} must not be empty", param=source)
    if _CONTROL.search(text):
        raise InvalidRequest(f"{source} must not hold control characters", param=source)
    if len(text.encode()) > MAX_SESSION_KEY_BYTES:
        raise InvalidRequest(f"{source} must be at most {MAX_SESSION_KEY_BYTES} bytes", param=source)


def client_session_key(text: str, agent_id: str, source: str) -> SessionKey:
    """
    Turn the session key that a client sent into a full one.

    @param text: a bare key, or a full one of the same agent.
    @param agent_id: the agent that answers the request.
    @param source: the header or field that C{text} came from.
    @raise InvalidRequest: if the key is malformed, reserved, or names another agent.
    """
    check_client_key_text(text, source)
    rest = text
    if text.lower().startswith("agent:"):
        named, separator, rest = text[len("agent:") :].partition(":")
        if not separator or not rest or normalise_agent_id(named) is None:
            raise InvalidRequest(f"{source}: a full key reads agent:<agent id>:<name>", param=source)
        if normalise_agent_id(named) != agent_id:
            raise InvalidRequest(f"{source} names another agent than the one that answers", param=source)
    if rest.lower().startswith(RESERVED_NAMESPACES):
        raise InvalidRequest(f"{source} uses a reserved namespace", param=source)
    return SessionKey(agent_id, rest)


_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
"""The two upper bits of this digit tell which kind of UUID it is."""


def new_run_id(prefix: str = "chatcmpl") -> str:
    """A new run id, which is the response's C{id} too: C{<prefix>_<uuid>}."""
    # As uuid.uuid4() makes it, which takes three times as long: one is made for each request.
    text = os.urandom(16).hex()
    return f"{prefix}_{text[:8]}-{text[8:12]}-4{text[13:16]}-{_VARIANT[text[16]]}{text[17:20]}-{text[20:]}"


def new_entry_id() -> str:
    """A new id of a transcript entry: 32 hexadecimal digits."""
    return new_token()


def new_token() -> str:
    """128 random bits as 32 hexadecimal digits."""
    return os.urandom(16).hex()
