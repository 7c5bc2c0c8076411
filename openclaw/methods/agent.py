"""C{agent} and C{agent.wait}: a turn of an agent, by the same door as HTTP."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Annotated, Any

import attrs
from msgspec import Meta
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as WaitedTooLong

from openclaw.agents.run import Run
from openclaw.agents.runs import Runs
from openclaw.auth.scopes import WRITE
from openclaw.config.reload import LiveConfig
from openclaw.errors import RunCancelled, StoreError
from openclaw.events import BusEvent, RunOutcome, RunOver
from openclaw.ids import SessionKey
from openclaw.interfaces import Clock
from openclaw.methods.agent_params import AgentParams, check_params, choose_session, to_request
from openclaw.methods.agent_turns import ABORTED_BY, AgentTurns, Turn, TurnEnd
from openclaw.methods.chat_rows import stop_word
from openclaw.methods.checks import bad_param, named_agent
from openclaw.methods.session_rows import PAGE, context_tokens, find_session, session_id, split_ref, usage_figures
from openclaw.methods.table import Call, Method, Params
from openclaw.records import SessionQuery, SessionRow
from openclaw.stores import SessionStore
from openclaw.waits import in_time

MAX_WAIT_MS = 600_000
"""Longest wait of C{agent.wait}, milliseconds."""


class AgentWaitParams(Params, frozen=True):
    """
    Parameters of C{agent.wait}.

    @ivar timeout_ms: how long to wait, milliseconds; more than L{MAX_WAIT_MS} is as much as that.
    """

    run_id: Annotated[str, Meta(min_length=1, max_length=512)]
    timeout_ms: Annotated[int, Meta(ge=0, le=2**53)] = 30_000


@attrs.frozen
class Agent:
    """The methods, with what they need."""

    runs: Runs
    turns: AgentTurns
    store: SessionStore
    live: LiveConfig
    clock: Clock

    async def run(self, call: Call, params: AgentParams) -> Mapping[str, Any]:
        """
        Ask an agent.

        The first response tells that the turn is accepted, which is when it is on disk; the last one how it ended.
        Cancelling the call only stops waiting: the run goes on.

        @return: the final payload; that of the first call where this one repeats it.
        @raise OpenClawError: if the call is refused or its run fails.
        """
        check_params(call.caller, params)
        received_s = self.clock.seconds()
        key = await self._session_of_id(params) if params.session_id else choose_session(self.live.current, params)
        run_id = params.idempotency_key or str(uuid.uuid4())
        end = self.turns.find_end(call.caller, run_id)
        if end is not None:
            return end.result(run_id)
        turn = self.turns.find(call.caller, run_id)
        if turn is not None:
            return {**_named(turn), "status": "in_flight"}
        if self.runs.find(run_id) is not None or self.turns.session_of(run_id) is not None:
            raise bad_param("agent", "idempotencyKey", "another run that is under way has this id")
        turn = Turn(run_id, str(key), key.agent_id, to_request(params, key, run_id, received_s))
        self.turns.begin(call.caller, turn, self._report)
        await turn.placed()
        if turn.run is not None:
            call.respond({**_named(turn), "status": "accepted", "acceptedAt": self._now_ms()})
        return (await turn.ended()).result(run_id)

    async def wait(self, call: Call, params: AgentWaitParams) -> dict[str, Any]:
        """
        Wait for the end of a run: one of L{run}, or any other by its id while it is under way.

        @return: how it ended; C{status} C{timeout} if it has not, or nobody knows it.
        """
        kept = self.turns.find_end(call.caller, params.run_id)
        if kept is not None:
            return {"runId": params.run_id, **_waited(kept)}
        turn = self.turns.find(call.caller, params.run_id)
        ending = Deferred.fromCoroutine(turn.ended() if turn is not None else self._end_told(params.run_id))
        timeout_s = min(params.timeout_ms, MAX_WAIT_MS) / 1000
        try:
            end = await ending.addTimeout(timeout_s, self.clock)  # type: ignore[arg-type]
        except WaitedTooLong:
            return {"runId": params.run_id, "status": "timeout"}
        return {"runId": params.run_id, **_waited(end)}

    async def _end_told(self, run_id: str) -> TurnEnd:
        """The end of a run that others started; it may not have begun yet."""
        told: Deferred[RunOver] = Deferred()

        def listen(event: BusEvent) -> None:
            if isinstance(event, RunOver) and run_id in (event.info.shown_id, event.info.run_id) and not told.called:
                told.callback(event)

        unsubscribe = self.runs.bus.subscribe(listen)
        try:
            over = await told
        finally:
            unsubscribe()
        return _end(over.outcome, over.timings.placed, over.ended_at_ms)

    async def _session_of_id(self, params: AgentParams) -> SessionKey:
        """
        The session that C{sessionId} names.

        @raise openclaw.errors.InvalidRequest: if there is none among the last L{PAGE}, or it is not that of
            C{sessionKey}.
        """
        config = self.live.current
        if params.session_key:
            key = choose_session(config, params)
            row = await find_session(self.store, self.clock, str(key))
            if row is not None and session_id(row.session) == params.session_id:
                return key
            raise bad_param("agent", "sessionId", "the session of sessionKey has another id; leave one of them out")
        agent_id = named_agent(config, "agent", params.agent_id) if params.agent_id else None
        query = SessionQuery(agent_id=agent_id, limit=PAGE)
        page = await in_time(self.store.sessions(query), self.clock)
        for row in page.rows:
            if session_id(row.session) == params.session_id:
                owner, _, rest = row.session.key.removeprefix("agent:").partition(":")
                return SessionKey(owner, rest)
        raise bad_param("agent", "sessionId", f"none of the last {PAGE} sessions has this id; use sessionKey")

    def _report(self, run: Run) -> Deferred[TurnEnd]:
        return Deferred.fromCoroutine(self._told(run))

    async def _told(self, run: Run) -> TurnEnd:
        outcome = await run.done
        end = _end(outcome, run.timings.placed, self._now_ms())
        if outcome.error is not None:
            return end
        row = await self._stored(str(run.target.session_key))
        payload = {
            "runId": run.shown_id,
            "status": "ok",
            "summary": "completed",
            "result": {
                "payloads": [{"text": end.text, "mediaUrl": None}] if end.text else [],
                "meta": {
                    "durationMs": end.ended_at_ms - int(run.timings.received * 1000),
                    "agentMeta": self._meta(run, outcome, row),
                    "aborted": False,
                    "stopReason": end.stop_reason,
                },
            },
        }
        return attrs.evolve(end, payload=payload)

    async def _stored(self, key: str) -> SessionRow | None:
        """The session's row; C{None} where the store fails, for which the answer need not fail."""
        try:
            return await find_session(self.store, self.clock, key)
        except StoreError:
            return None

    def _meta(self, run: Run, outcome: RunOutcome, row: SessionRow | None) -> dict[str, Any]:
        model_ref = run.target.model_ref
        meta: dict[str, Any] = {"sessionKey": str(run.target.session_key)}
        if row is not None:
            meta["sessionId"] = session_id(row.session)
            if row.last_run is not None and row.last_run.run_id == run.id:
                # After a fallback it is not the one that the run began with.
                model_ref = row.last_run.model_ref
        provider_id, model_id = split_ref(model_ref)
        return {
            **meta,
            "provider": provider_id,
            "model": model_id,
            "contextTokens": context_tokens(self.live.current, model_ref),
            "usage": usage_figures(outcome.usage),
            "promptTokens": outcome.usage.prompt_tokens,
        }

    def _now_ms(self) -> int:
        return int(self.clock.seconds() * 1000)


def _named(turn: Turn) -> dict[str, Any]:
    return {"runId": turn.run_id, "sessionKey": turn.session_key, "agentId": turn.agent_id}


def _end(outcome: RunOutcome, placed_s: float | None, ended_at_ms: int) -> TurnEnd:
    return TurnEnd(
        ended_at_ms,
        None if placed_s is None else int(placed_s * 1000),
        error=outcome.error,
        stop_reason=None if outcome.reason is None else stop_word(outcome.reason),
        # As the original tells it; the transcript has it as the model said it.
        text=outcome.text.strip(),
    )


def _waited(end: TurnEnd) -> dict[str, Any]:
    """What C{agent.wait} tells of an end."""
    told: dict[str, Any] = {"endedAt": end.ended_at_ms}
    if end.started_at_ms is not None:
        told["startedAt"] = end.started_at_ms
    if end.error is not None:
        if isinstance(end.error, RunCancelled):
            told["stopReason"] = ABORTED_BY
        return {"status": "error", **told, "error": end.error.message}
    told |= {"stopReason": end.stop_reason, "livenessState": "working"}
    if end.text:
        told["terminalReply"] = {"disposition": "visible", "text": end.text}
    return {"status": "ok", **told}


def agent_methods(
    runs: Runs, turns: AgentTurns, store: SessionStore, live: LiveConfig, clock: Clock
) -> tuple[Method, ...]:
    """The methods of this family."""
    agent = Agent(runs, turns, store, live, clock)
    return (
        Method("agent", WRITE, AgentParams, agent.run),
        Method("agent.wait", WRITE, AgentWaitParams, agent.wait),
    )
