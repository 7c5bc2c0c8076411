"""A conversation with one session: its history, its turns, and a connection that is made anew when it was lost."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError

from openclaw.cli.client.connection import GatewayConnection, connect
from openclaw.cli.client.remote import Introduction, Remote
from openclaw.cli.client.told import part, rows
from openclaw.cli.options import DEFAULT_TIMEOUT_S
from openclaw.cli.talk.turn import ABORT_DEADLINE_S, RunningTurn, Shown, text_of, why_not
from openclaw.cli.talk.turn_request import TurnOptions, TurnRequest

HISTORY = 20
"""How many messages of the session are shown."""

SCOPES = ("operator.read", "operator.write")


class ChatSession:
    """
    One session of one agent at a time.  All of its coroutines run on the reactor.

    @ivar session_key: the session that is spoken in; full as soon as the gateway has said which.
    """

    def __init__(self, reactor: Any, remote: Remote, options: TurnOptions) -> None:
        self.remote = remote
        self.session_key = options.session_key or (f"agent:{options.agent_id}:main" if options.agent_id else "")
        self._reactor = reactor
        self._options = options
        self._connection: GatewayConnection | None = None
        self._connecting: Deferred[GatewayConnection] | None = None
        self._running: RunningTurn | None = None

    async def connect(self) -> GatewayConnection:
        """The connection, made anew if there is none; a C{RemoteError} if it cannot be made."""
        if self._connection is None or not self._connection.is_open:
            self._connection = await connect(
                self._reactor, self.remote, Introduction(SCOPES), timeout_s=DEFAULT_TIMEOUT_S
            )
            if not self.session_key:
                defaults = part(self._connection.hello, "snapshot", "sessionDefaults")
                self.session_key = str(defaults.get("mainSessionKey") or "main")
        return self._connection

    async def history(self) -> list[tuple[str, str]]:
        """The last messages: who, and what."""
        connection = await self.connect()
        params = {**self._session(), "limit": HISTORY}
        told = await connection.call("chat.history", params, timeout_s=DEFAULT_TIMEOUT_S)
        self._is_called(part(told).get("sessionKey"))
        return [(_who(row), _text(row)) for row in rows(told, "messages") if _text(row)]

    async def send(self, text: str, write: Callable[[str], None]) -> str | None:
        """
        Send a message and show the answer.

        @return: why there is none; C{None} if there is.
        @raise openclaw.cli.client.errors.RemoteError: if it could not be sent, or the connection was lost.
        """
        self._connecting = Deferred.fromCoroutine(self.connect())
        try:
            connection = await self._connecting
        except (CancelledError, ConnectingCancelledError):
            return "nothing was sent"
        finally:
            self._connecting = None
        choices = self._session()
        if self._options.thinking is not None:
            choices["thinking"] = self._options.thinking
        shown = Shown(write)
        turn = TurnRequest(text, self._options.timeout_s, choices)
        running = self._running = RunningTurn(connection, turn, shown)
        try:
            answer = await running.result()
        finally:
            self._running = None
            self._is_called(running.session_key)
        shown.final(text_of(answer))
        return why_not(answer)

    def begin_anew(self) -> None:
        """Go on in a new session of the same agent; the one so far stays as it is."""
        name = f"chat-{uuid.uuid4().hex[:12]}"
        prefix, _, rest = self.session_key.partition(":")
        agent, is_full, _ = rest.partition(":")
        self.session_key = f"agent:{agent}:{name}" if is_full and prefix.lower() == "agent" else name

    def _session(self) -> dict[str, Any]:
        """The session as methods call it; the agent is named besides, as a key that is not full is one of its own."""
        agent_id = self._options.agent_id
        agent = {"agentId": agent_id} if agent_id is not None else {}
        return {"sessionKey": self.session_key, **agent}

    def _is_called(self, key: object) -> None:
        """The gateway has said which session it is."""
        if isinstance(key, str) and key:
            self.session_key = key

    async def abort(self) -> bool:
        """Stop the answer that comes, or the message that waits for a connection; true if there was one."""
        if self._connecting is not None:
            self._connecting.cancel()
            return True
        return self._running is not None and await self._running.abort()

    async def abort_session(self) -> bool:
        """Stop whatever runs in the session, also what another client began; true if there was something."""
        connection = await self.connect()
        told = await connection.call("chat.abort", self._session(), timeout_s=ABORT_DEADLINE_S)
        return part(told).get("aborted") is True

    async def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            await self._connection.close()


def _who(row: Mapping[str, Any]) -> str:
    role = row.get("role")
    return {"user": "you", "assistant": "agent", "toolResult": "tool"}.get(str(role), str(role))


def _text(row: Mapping[str, Any]) -> str:
    content = row.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, dict) and part.get("type") == "text"]
    return "\n".join(text for text in texts if isinstance(text, str))
