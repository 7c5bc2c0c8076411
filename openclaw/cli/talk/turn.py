"""
One turn of a conversation through a connection: send a message, show the answer as it comes, stop it if asked to.

The text comes twice: in pieces by events, which a slow or interrupted connection may thin out, and whole with the
final answer.  L{Shown} makes one of both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from openclaw.cli.client.connection import GatewayConnection
from openclaw.cli.client.errors import CallFailed, ConnectionEnded, NoAnswer, RemoteError
from openclaw.cli.client.told import part, rows
from openclaw.cli.talk.turn_request import TurnRequest

GRACE_S = 30.0
"""How much longer than the run's own limit its answer is waited for, in seconds."""

ABORT_DEADLINE_S = 2.0
"""How long the gateway may take to confirm that it stops a run, in seconds."""

Write = Callable[[str], None]
"""Shows a piece of text."""


class Shown:
    """What of an answer has been shown; C{write} shows more."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self.text = ""

    def delta(self, data: Mapping[str, Any]) -> None:
        """An event's C{data}: the text so far, and what is new in it."""
        whole, piece = data.get("text"), data.get("delta")
        if isinstance(whole, str):
            self.whole(whole)
        elif isinstance(piece, str):
            self.whole(self.text + piece)

    def whole(self, text: str) -> None:
        """The text so far; if it does not go on from what was shown, it is shown anew on a line of its own."""
        if text.startswith(self.text):
            more = text[len(self.text) :]
        elif self.text.strip() == text.strip() or self.text.startswith(text):
            # blanks at an end, or an event that was overtaken
            return
        else:
            more = f"\n{text}"
        if more:
            self._write(more)
        self.text = text

    def final(self, text: str) -> None:
        """The whole text at the end, and the end of its line."""
        if text and not self.text.startswith(text):
            self.whole(text)
        if self.text and not self.text.endswith("\n"):
            self._write("\n")


class RunningTurn:
    """A turn on its way; C{session_key} is its session, as soon as the gateway has accepted it."""

    def __init__(self, connection: GatewayConnection, turn: TurnRequest, shown: Shown | None) -> None:
        self.session_key: str | None = turn.choices.get("sessionKey")
        self._connection = connection
        self._turn = turn
        self._shown = shown
        self._call: Deferred[Any] | None = None
        self._unwritable: OSError | None = None

    async def result(self) -> dict[str, Any]:
        """
        Send the message and wait for the end of its run.

        When cancelled it has the gateway stop the run, waits L{ABORT_DEADLINE_S} for that, and ends as cancelled.

        @return: the final answer as the gateway gives it.
        @raise RemoteError: if there is none, with what becomes of the run.
        @raise OSError: if nobody reads any more what is shown; the run is stopped.
        """
        connection, turn = self._connection, self._turn
        if self._shown is not None:
            connection.listen(self._heard)
        called = connection.call(
            "agent", turn.params(), timeout_s=turn.timeout_s + GRACE_S, expect_final=True, on_accepted=self._accepted
        )
        try:
            self._call = Deferred.fromCoroutine(called)
            answer = await self._call
        except CancelledError:
            await self.abort()
            if self._unwritable is not None:
                raise self._unwritable from None
            raise
        except (ConnectionEnded, NoAnswer) as error:
            if self._shown is not None:
                self._shown.final("")  # what is told next begins a line of its own
            raise self._lost(error) from None
        finally:
            connection.unlisten(self._heard)
        if not isinstance(answer, dict):
            raise CallFailed("the gateway gave an answer that means nothing")
        return answer

    async def abort(self) -> bool:
        """Have the gateway stop the run; true if it says that it did.  Waits L{ABORT_DEADLINE_S} at most."""
        params = {"runId": self._turn.run_id}
        if self.session_key is not None:
            params["sessionKey"] = self.session_key
        try:
            answer = await self._connection.call("chat.abort", params, timeout_s=ABORT_DEADLINE_S)
        except RemoteError:
            return False
        return part(answer).get("aborted") is True

    def _accepted(self, payload: Mapping[str, Any]) -> None:
        key = payload.get("sessionKey")
        if isinstance(key, str):
            self.session_key = key

    def _heard(self, event: str, payload: Mapping[str, Any]) -> None:
        data = payload.get("data")
        ours = event == "agent" and payload.get("runId") == self._turn.run_id
        if not ours or payload.get("stream") != "assistant" or not isinstance(data, dict) or self._shown is None:
            return
        try:
            self._shown.delta(data)
        except OSError as error:
            # the answer goes nowhere, such as into a pipe whose reader has left
            self._unwritable = error
            self._connection.unlisten(self._heard)
            if self._call is not None:
                self._call.cancel()

    def _lost(self, error: RemoteError) -> RemoteError:
        """The connection is gone, the run is not."""
        run_id = self._turn.run_id
        return type(error)(
            f"{error.message}; the run goes on in the gateway: see it with: openclaw sessions, or wait for it with:"
            f' openclaw gateway call agent.wait --params \'{{"runId":"{run_id}"}}\'',
            code=error.told_code,
            details={"runId": run_id},
        )


def text_of(answer: Mapping[str, Any]) -> str:
    """The text of a final answer."""
    texts = [payload.get("text") for payload in rows(part(answer, "result"), "payloads")]
    return "\n\n".join(text for text in texts if isinstance(text, str) and text)


def why_not(answer: Mapping[str, Any]) -> str | None:
    """Why a final answer is none; C{None} if it is one."""
    status = answer.get("status")
    if status == "ok":
        return None
    summary = answer.get("summary")
    if summary == "aborted" or answer.get("stopReason") == "rpc":
        return "the run was aborted"
    if status == "timeout":
        return "the run took too long and was ended"
    if status == "in_flight":
        return "the same run is under way already"
    return f"the run ended as {status}" + (f": {summary}" if summary else "")
