"""C{agent} and C{agent.wait}: a turn of an agent, by the same door as HTTP."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any

import attrs
from msgspec import Meta
from twisted.internet.defer import TimeoutError as WaitedTooLong

from openclaw.agents.runs import Runs
from openclaw.auth.scopes import WRITE
from openclaw.config.reload import LiveConfig
from openclaw.errors import RunCancelled, StoreError
from openclaw.events import BusEvent, RunOutcome, RunOver
from openclaw.ids import SessionKey
from openclaw.interfaces import Clock
from openclaw.methods.agent_params import AgentParams, check_params, choose_session, to_request
from openclaw.methods.chat_rows import stop_word
from openclaw.methods.checks import bad_param, named_agent
from openclaw.methods.session_rows import PAGE, context_tokens, find_session, session_id, split_ref, usage_figures
from openclaw.methods.table import Call, Method, Params
from openclaw.records import KeptRun, SessionQuery
from openclaw.sharing.joins import Joins
from openclaw.sharing.shared import Claim, Reader
from openclaw.stores import SessionStore
from openclaw.waits import SHORT_STORE_TIMEOUT_S, Promise, another, in_time, now_ms, within

ABORTED_BY = "rpc"
"""The C{stopReason} of a run that its caller ended, as in the original."""

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
    joins: Joins
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
        claim = _claim(run_id)
        is_taken = (self.joins.session_of(run_id) or self.runs.session_of(run_id)) is not None
        if is_taken and not self.joins.is_live(call.caller, claim):
            raise bad_param("agent", "idempotencyKey", "another run that is under way has this id")
        plan = self.runs.plan(call.caller, to_request(params, key, run_id, received_s))
        share = await self.joins.share(plan, claim)
        try:
            named = {"runId": run_id, "sessionKey": share.session_key, "agentId": share.session_key.split(":")[1]}
            if share.joined and not share.replayed:
                return {**named, "status": "in_flight"}
            try:
                is_placed = await share.placed() is not None
            except RunCancelled:
                return _aborted(run_id)
            if is_placed:
                call.respond({**named, "status": "accepted", "acceptedAt": now_ms(self.clock)})
            return self._final(run_id, share, await share.outcome())
        finally:
            share.leave()

    def _final(self, run_id: str, share: Reader, outcome: RunOutcome) -> Mapping[str, Any]:
        """The final payload, or the run's error; a turn that its caller ended is a success, as in the original."""
        if isinstance(outcome.error, RunCancelled):
            return _aborted(run_id)
        if outcome.error is not None:
            # It may be raised many times: each would add to its traceback, and to what that holds.
            raise another(outcome.error)
        ran = share.ran
        assert ran is not None and outcome.reason is not None
        # As the original tells it; the transcript has it as the model said it.
        text = outcome.text.strip()
        return {
            "runId": run_id,
            "status": "ok",
            "summary": "completed",
            "result": {
                "payloads": [{"text": text, "mediaUrl": None}] if text else [],
                "meta": {
                    "durationMs": ran.ended_at_ms - ran.received_at_ms,
                    "agentMeta": self._meta(share.session_key, ran, outcome),
                    "aborted": False,
                    "stopReason": stop_word(outcome.reason),
                },
            },
        }

    def _meta(self, session_key: str, ran: KeptRun, outcome: RunOutcome) -> dict[str, Any]:
        created_at_ms = ran.session_created_at_ms
        provider_id, model_id = split_ref(ran.model_ref)
        return {
            "sessionKey": session_key,
            **({} if created_at_ms is None else {"sessionId": session_id(session_key, created_at_ms)}),
            "provider": provider_id,
            "model": model_id,
            "contextTokens": context_tokens(self.live.current, ran.model_ref),
            "usage": usage_figures(outcome.usage),
            "promptTokens": outcome.usage.prompt_tokens,
        }

    async def wait(self, call: Call, params: AgentWaitParams) -> dict[str, Any]:
        """
        Wait for the end of a run: one of L{run}, or any other by its id while it is under way.

        @return: how it ended; C{status} C{timeout} if it has not, or nobody knows it.
        """
        told: Promise[RunOver] = Promise()

        def listen(event: BusEvent) -> None:
            names = (event.info.shown_id, event.info.run_id)
            if isinstance(event, RunOver) and params.run_id in names:
                told.fire(event)

        # Others may have started it, and it may not have begun yet.
        unsubscribe = self.runs.bus.subscribe(listen)
        share: Reader | None = None
        try:
            # A store that does not answer knows nothing; what is under way is heard of all the same.
            with suppress(StoreError, WaitedTooLong):
                finding = self.joins.find(call.caller, _claim(params.run_id))
                share = await within(finding, SHORT_STORE_TIMEOUT_S, self.clock)
            # What is over is told however short the wait may be.
            ending: Any = told.wait() if share is None else share.outcome()
            over = await within(ending, min(params.timeout_ms, MAX_WAIT_MS) / 1000, self.clock)
        except WaitedTooLong:
            return {"runId": params.run_id, "status": "timeout"}
        finally:
            unsubscribe()
            if share is not None:
                share.leave()
        if isinstance(over, RunOver):
            placed_s = over.timings.placed
            end = _waited(over.outcome, None if placed_s is None else int(placed_s * 1000), over.ended_at_ms)
        else:
            assert share is not None and share.ended_at_ms is not None
            end = _waited(over, None if share.ran is None else share.ran.started_at_ms, share.ended_at_ms)
        return {"runId": params.run_id, **end}

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
            if row is not None and session_id(row.session.key, row.session.created_at_ms) == params.session_id:
                return key
            raise bad_param("agent", "sessionId", "the session of sessionKey has another id; leave one of them out")
        agent_id = named_agent(config, "agent", params.agent_id) if params.agent_id else None
        query = SessionQuery(agent_id=agent_id, limit=PAGE)
        page = await in_time(self.store.sessions(query), self.clock)
        for row in page.rows:
            if session_id(row.session.key, row.session.created_at_ms) == params.session_id:
                owner, _, rest = row.session.key.removeprefix("agent:").partition(":")
                return SessionKey(owner, rest)
        raise bad_param("agent", "sessionId", f"none of the last {PAGE} sessions has this id; use sessionKey")


def _claim(run_id: str) -> Claim:
    """As in the original whoever repeats a run's id means that run, whatever else he asks."""
    return Claim(fingerprint=b"", key=run_id, lasts="forever", surface="ws")


def _aborted(run_id: str) -> dict[str, Any]:
    return {"runId": run_id, "status": "timeout", "summary": "aborted", "stopReason": ABORTED_BY}


def _waited(outcome: RunOutcome, started_at_ms: int | None, ended_at_ms: int) -> dict[str, Any]:
    """What C{agent.wait} tells of an end."""
    told: dict[str, Any] = {"endedAt": ended_at_ms}
    if started_at_ms is not None:
        told["startedAt"] = started_at_ms
    if outcome.error is not None:
        if isinstance(outcome.error, RunCancelled):
            told["stopReason"] = ABORTED_BY
        return {"status": "error", **told, "error": outcome.error.message}
    assert outcome.reason is not None
    told |= {"stopReason": stop_word(outcome.reason), "livenessState": "working"}
    text = outcome.text.strip()
    if text:
        told["terminalReply"] = {"disposition": "visible", "text": text}
    return {"status": "ok", **told}


def agent_methods(runs: Runs, joins: Joins, store: SessionStore, live: LiveConfig, clock: Clock) -> tuple[Method, ...]:
    """The methods of this family."""
    agent = Agent(runs, joins, store, live, clock)
    return (
        Method("agent", WRITE, AgentParams, agent.run),
        Method("agent.wait", WRITE, AgentWaitParams, agent.wait),
    )
