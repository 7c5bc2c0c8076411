"""
What runs do, as the events C{agent} and C{chat}.

Every run is told twice: as C{agent} events, which follow its life, and as C{chat} events, which show its message
grow.  Text is told in steps of at least L{MIN_INTERVAL_S}, each with the whole text so far, so that a client may
miss one; long texts go in longer steps, because the whole is sent each time.  Blanks at its ends are never told, as in
the original.  Each run has one terminal state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import attrs
from twisted.internet.interfaces import IDelayedCall

from openclaw.errors import (
    ContextTooLong,
    OpenClawError,
    ProviderRateLimited,
    ProviderTimeout,
    RunCancelled,
    RunTimeout,
)
from openclaw.events import BusEvent, EventBus, RunBegan, RunInfo, RunOver, RunTold, TextDelta
from openclaw.interfaces import Clock
from openclaw.waits import now_ms

MIN_INTERVAL_S = 0.075
"""Shortest pause between two steps of one run's text, in seconds (original: the same)."""

STEP_CHARS = 16 * 1024
"""For every so many characters of text the pause grows by L{MIN_INTERVAL_S}."""

MAX_TEXT_CHARS = 1024 * 1024
"""Longest text that is shown; of a longer one the beginning, and C{chat.history} or its own client has the rest."""

_ERROR_KINDS: tuple[tuple[type[OpenClawError], str], ...] = (
    (ContextTooLong, "context_length"),
    (RunTimeout, "timeout"),
    (ProviderTimeout, "timeout"),
    (ProviderRateLimited, "rate_limit"),
)


class Publish(Protocol):
    """Tells an event to all who may see it: L{openclaw.ws.broadcast.Broadcaster.publish}."""

    def __call__(self, name: str, payload: Mapping[str, Any], *, droppable: bool = False) -> None: ...


@attrs.define(eq=False)
class _Shown:
    """
    A live run as far as it was told.

    @ivar text: the text that was told.
    @ivar fresh: the text that is yet to be told, in pieces.
    @ivar fresh_chars: its length.
    @ivar seq: number of the run's last event.
    @ivar next_s: when the next step may be told, on the clock.
    """

    info: RunInfo
    started_at_ms: int | None
    text: str = attrs.field(default="", init=False)
    fresh: list[str] = attrs.field(factory=list, init=False)
    fresh_chars: int = attrs.field(default=0, init=False)
    seq: int = attrs.field(default=0, init=False)
    next_s: float = attrs.field(default=0.0, init=False)
    timer: IDelayedCall | None = attrs.field(default=None, init=False)


class RunBroadcast:
    """Turns what the bus tells into events, while anybody listens."""

    def __init__(self, bus: EventBus, clock: Clock, publish: Publish) -> None:
        self._bus = bus
        self._clock = clock
        self._publish = publish
        self._unsubscribe: Callable[[], None] | None = None
        self._shown: dict[str, _Shown] = {}

    def listen(self, wanted: bool) -> None:
        """Begin or stop to listen; a run under way is told from there on, and costs nothing while nobody listens."""
        if wanted and self._unsubscribe is None:
            self._unsubscribe = self._bus.subscribe(self._hear)
        elif not wanted and self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
            for shown in self._shown.values():
                _stop_timer(shown)
            self._shown.clear()

    def _hear(self, event: BusEvent) -> None:
        if isinstance(event, RunTold):
            self._told(event)
        elif isinstance(event, RunBegan):
            shown = self._shown[event.info.run_id] = _Shown(event.info, event.started_at_ms)
            self._agent(shown, "lifecycle", {"phase": "start", "startedAt": event.started_at_ms})
        else:
            self._over(event)

    # ------------------------------------------------------------------------------------ text

    def _told(self, event: RunTold) -> None:
        text = "".join([part.text for part in event.batch if isinstance(part, TextDelta)])
        if not text:
            return
        shown = self._shown.get(event.info.run_id)
        if shown is None:
            shown = self._shown[event.info.run_id] = _Shown(event.info, None)
        room = MAX_TEXT_CHARS - len(shown.text) - shown.fresh_chars
        if room <= 0:
            return
        shown.fresh.append(text[:room])
        shown.fresh_chars += min(len(text), room)
        if shown.timer is None:
            wait_s = shown.next_s - self._clock.seconds()
            # A clock that was set back must not hold the text up; twice the pause leaves room for rounding.
            if 0 < wait_s <= 2 * _interval_s(shown):
                shown.timer = self._clock.callLater(wait_s, self._step, shown)
            else:
                self._step(shown)

    def _step(self, shown: _Shown) -> None:
        """Tell the text that has come since the last step."""
        _stop_timer(shown)
        if not shown.fresh:
            return
        fresh = "".join(shown.fresh)
        if not shown.text:
            fresh = fresh.lstrip()
        delta = fresh.rstrip()
        # Only what follows tells whether this stands within the text or behind it.
        behind = fresh[len(delta) :]
        shown.fresh = [behind] if behind else []
        shown.fresh_chars = len(behind)
        shown.text += delta
        shown.next_s = self._clock.seconds() + _interval_s(shown)
        if not delta:
            return
        self._agent(shown, "assistant", {"text": shown.text, "delta": delta}, droppable=True)
        message = _message(shown.text, now_ms(self._clock))
        self._chat(shown, {"state": "delta", "deltaText": delta, "message": message}, droppable=True)

    # ------------------------------------------------------------------------------------ the end

    def _over(self, event: RunOver) -> None:
        shown = self._shown.pop(event.info.run_id, None) or _Shown(event.info, None)
        self._step(shown)
        error = event.outcome.error
        life: dict[str, Any] = {"endedAt": event.ended_at_ms}
        if shown.started_at_ms is not None:
            life["startedAt"] = shown.started_at_ms
        # An outcome has no text where nobody asked for it to be kept.
        # A frame for everybody must fit into what every client takes.
        text = (event.outcome.text or shown.text).strip()[:MAX_TEXT_CHARS]
        chat: dict[str, Any]
        if error is None:
            reason = event.outcome.reason
            life |= {"phase": "end", "aborted": False, "stopReason": reason}
            chat = {"state": "final", "stopReason": reason, "message": _message(text, event.ended_at_ms)}
        elif isinstance(error, RunCancelled):
            life |= {"phase": "end", "status": "cancelled", "aborted": True, "stopReason": "rpc"}
            chat = {"state": "aborted", "stopReason": "rpc"}
            if text:
                chat["message"] = _message(text, event.ended_at_ms)
        else:
            life |= {"phase": "error", "error": error.message}
            chat = {"state": "error", "errorMessage": error.message, "errorKind": _error_kind(error)}
        self._agent(shown, "lifecycle", life)
        self._chat(shown, chat)

    # ------------------------------------------------------------------------------------ frames

    def _agent(self, shown: _Shown, stream: str, data: dict[str, Any], *, droppable: bool = False) -> None:
        shown.seq += 1
        payload = {**_about(shown), "stream": stream, "data": data, "ts": now_ms(self._clock)}
        self._publish("agent", payload, droppable=droppable)

    def _chat(self, shown: _Shown, members: dict[str, Any], *, droppable: bool = False) -> None:
        """A chat event has the number of the agent event that it mirrors."""
        self._publish("chat", _about(shown) | members, droppable=droppable)


def _about(shown: _Shown) -> dict[str, Any]:
    info = shown.info
    return {"runId": info.shown_id, "sessionKey": info.session_key, "agentId": info.agent_id, "seq": shown.seq}


def _message(text: str, timestamp_ms: int) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": "text", "text": text}], "timestamp": timestamp_ms}


def _interval_s(shown: _Shown) -> float:
    return MIN_INTERVAL_S * (1 + len(shown.text) // STEP_CHARS)


def _error_kind(error: OpenClawError) -> str:
    return next((kind for error_type, kind in _ERROR_KINDS if isinstance(error, error_type)), "unknown")


def _stop_timer(shown: _Shown) -> None:
    if shown.timer is not None and shown.timer.active():
        shown.timer.cancel()
    shown.timer = None
