"""Tests of L{openclaw.methods.agent}: a turn by the WebSocket protocol."""

from __future__ import annotations

import traceback
import uuid
from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import Deferred

from openclaw.config.agents import AgentEntry, ModelChoice
from openclaw.errors import (
    ContextTooLong,
    Draining,
    InvalidRequest,
    ModelNotFound,
    OpenClawError,
    Overloaded,
    ProviderQuota,
    ProviderRejected,
    ResultNotKept,
    RunCancelled,
    RunTimeout,
    StoreError,
)
from openclaw.events import ProviderFinished, ProviderUsage, TextDelta
from openclaw.interfaces import Caller
from openclaw.methods.session_rows import session_id
from openclaw.records import KeyClaim, SessionQuery
from openclaw.sharing import joins as joins_module
from openclaw.sharing.shared import Claim, Reader
from openclaw.store.idempotency import KEPT_MS
from openclaw.stores import IdempotencyStore, SessionStore
from openclaw.waits import SHORT_STORE_TIMEOUT_S, STORE_TIMEOUT_S
from openclaw.ws.dispatch import wire_error
from test.fakes import HeldStore, Started, config_with
from test.methods.support import ADMINISTRATOR, USAGE, WRITER, Called, MethodBench, MethodTestCase

MAIN = "agent:main:main"


class AgentTests(MethodTestCase):
    """One turn and its end."""

    def test_accepted_then_final(self) -> None:
        """The first response tells that the turn is stored, the last one the answer."""
        called = self.ask("hi", idempotencyKey="key-1", deliver=False, timeout=600)
        accepted = {"runId": "key-1", "sessionKey": MAIN, "agentId": "main", "status": "accepted"}
        self.assertEqual([{**accepted, "acceptedAt": self.gateway.now_ms}], called.first)
        self.assertEqual(["hi"], self.texts())
        self.assertFalse(called.over)

        self.gateway.clock.advance(2)
        stream = self.gateway.provider.streams[0]
        stream.push(TextDelta("hel"))
        stream.push(TextDelta("lo"), ProviderUsage(USAGE), ProviderFinished("stop"))
        stream.end()
        (row,) = self.successResultOf(self.gateway.store.sessions(SessionQuery())).rows
        meta = {
            "sessionKey": MAIN,
            "sessionId": session_id(row.session.key, row.session.created_at_ms),
            "provider": "local",
            "model": "smollm2-135m",
            "contextTokens": 4096,
            "usage": {"input": 100, "output": 5, "cacheRead": 20, "cacheWrite": 0, "total": 125},
            "promptTokens": 120,
        }
        self.assertEqual(
            {
                "runId": "key-1",
                "status": "ok",
                "summary": "completed",
                "result": {
                    "payloads": [{"text": "hello", "mediaUrl": None}],
                    "meta": {"durationMs": 2000, "agentMeta": meta, "aborted": False, "stopReason": "stop"},
                },
            },
            self.ok(called),
        )
        self.assertEqual(1, len(called.first))
        self.assertEqual(["hi", "hello"], self.texts())

    def test_blanks_at_the_ends_of_an_answer(self) -> None:
        """They are not told, as in the original; the transcript keeps what the model said."""
        self.gateway.answer("\n hel", "lo \n")
        told = self.ok(self.ask("hi", idempotencyKey="k"))
        self.assertEqual([{"text": "hello", "mediaUrl": None}], told["result"]["payloads"])
        waited = self.ok(self.gateway.call("agent.wait", {"runId": "k"}))
        self.assertEqual("hello", waited["terminalReply"]["text"])
        self.assertEqual(["hi", "\n hello \n"], self.texts())
        self.gateway.answer(" \n")
        self.assertEqual([], self.ok(self.ask("hi"))["result"]["payloads"])

    def test_own_run_id(self) -> None:
        """A call without a key has a run id of its own."""
        self.gateway.answer("a")
        self.gateway.answer("b")
        ids = {self.ok(self.ask(text))["runId"] for text in "xy"}
        self.assertEqual(2, len({str(uuid.UUID(run_id)) for run_id in ids}))

    def test_empty_answer(self) -> None:
        """An answer without text has no payloads."""
        self.gateway.answer()
        result = self.ok(self.ask("hi"))["result"]
        self.assertEqual([], result["payloads"])

    def test_one_session_over_both_doors(self) -> None:
        """HTTP continues what C{agent} began, and the other way round."""
        self.gateway.answer("one")
        self.ok(self.ask("first", sessionKey="shared"))
        self.gateway.answer("two")
        started = self.gateway.bench.start("second", key="shared")
        self.assertEqual("two", started.outcome.text)
        self.gateway.answer("three")
        self.ok(self.ask("third", sessionKey="agent:main:shared"))
        self.assertEqual(["first", "one", "second", "two", "third", "three"], self.texts("agent:main:shared"))
        sent = self.gateway.provider.requests[-1].messages
        self.assertEqual(["first", "one", "second", "two", "third"], [message.text for message in sent[1:]])

    def test_what_the_model_is_asked(self) -> None:
        """Model, thinking, system text and channel reach the model."""
        self.gateway.answer("ok")
        params = {
            "message": "hi",
            "model": "other/m",
            "thinking": "high",
            "extraSystemPrompt": "be brief",
            "channel": "discord",
            "lane": "main",
            "bestEffortDeliver": True,
            "attachments": [],
            "to": "+15550100",
        }
        called = self.gateway.call("agent", params, ADMINISTRATOR)
        self.assertEqual("other", self.ok(called)["result"]["meta"]["agentMeta"]["provider"])
        request = self.gateway.provider.requests[0]
        self.assertEqual("m", request.model)
        self.assertEqual("high", request.sampling.reasoning_effort)
        system = request.messages[0].text
        self.assertIn("be brief", system + request.messages[1].text)
        self.assertEqual(["hi", "ok"], self.texts())

    def test_thinking_off(self) -> None:
        """C{off} asks the model for nothing, and C{last} is no channel."""
        self.gateway.answer("ok")
        self.ok(self.ask("hi", thinking="off", channel="last"))
        self.assertIsNone(self.gateway.provider.requests[0].sampling.reasoning_effort)

    def test_agent_of_the_key(self) -> None:
        """A full key chooses the agent; C{agentId} alone its main session."""
        self.gateway.use(config_with({"a": AgentEntry(default=True), "b": AgentEntry()}))
        self.gateway.answer("1")
        self.assertEqual("b", self.ask("hi", sessionKey="agent:b:x").first[0]["agentId"])
        self.gateway.answer("2")
        self.assertEqual("agent:b:main", self.ask("hi", agentId="B").first[0]["sessionKey"])
        self.gateway.answer("3")
        self.assertEqual("agent:a:main", self.ask("hi").first[0]["sessionKey"])

    def test_timeout(self) -> None:
        """C{timeout} bounds the run; 0 does not."""
        called = self.ask("hi", timeout=5)
        endless = self.ask("hi", timeout=0, sessionKey="other")
        self.gateway.clock.advance(5)
        self.settle()
        self.refused(called, RunTimeout)
        self.assertFalse(endless.over)

    def test_failed_run(self) -> None:
        """The run's error is the call's, and stays so for whoever repeats the call."""
        self.gateway.provider.enqueue(ProviderRejected("no such model", status=404))
        called = self.ask("hi", idempotencyKey="k")
        self.assertEqual(1, len(called.first))
        self.assertEqual("no such model", self.refused(called, ProviderRejected).message)
        depths = set()
        for _ in range(3):
            error = self.refused(self.ask("hi", idempotencyKey="k"))
            self.assertEqual("no such model", error.message)
            depths.add(len(traceback.extract_tb(error.__traceback__)))
        self.assertEqual(1, len(depths), "each repetition adds to what is kept")
        self.assertEqual(1, len(self.gateway.provider.requests))

    def test_aborted(self) -> None:
        """A run that its caller ended is a success of another kind."""
        called = self.ask("hi", idempotencyKey="k")
        self.gateway.provider.streams[0].push(TextDelta("par"))
        self.assertTrue(self.gateway.runs.cancel("k"))
        self.settle()
        aborted = {"runId": "k", "status": "timeout", "summary": "aborted", "stopReason": "rpc"}
        self.assertEqual(aborted, self.ok(called))
        self.assertEqual(["hi", "par"], self.texts())
        self.assertEqual(aborted, self.ok(self.ask("hi", idempotencyKey="k")))

    def test_aborted_in_the_queue(self) -> None:
        """A turn that was aborted before it had its place tells so at once, and has left nothing behind."""
        self.ask("first", idempotencyKey="one")
        called = self.ask("second", idempotencyKey="two")
        self.assertEqual([], called.first)
        self.assertTrue(self.gateway.runs.cancel("two"))
        aborted = {"runId": "two", "status": "timeout", "summary": "aborted", "stopReason": "rpc"}
        self.assertEqual(aborted, self.ok(called))
        self.assertEqual([], called.first)
        self.assertEqual(["first"], self.texts())
        waited = self.ok(self.gateway.call("agent.wait", {"runId": "two"}))
        self.assertEqual(("error", "rpc"), (waited["status"], waited["stopReason"]))

    def test_draining(self) -> None:
        """A gateway that stops refuses, and a run that it ends says why."""
        called = self.ask("hi")
        stopped = Deferred.fromCoroutine(self.gateway.runs.stop(0))
        self.refused(self.ask("more"), Draining)
        self.gateway.clock.advance(1)
        self.settle()
        self.refused(called, Draining)
        self.successResultOf(stopped)

    def test_full(self) -> None:
        """A refused turn is not kept: the same call may succeed later."""
        self.gateway.use(config_with(max_concurrent=1, max_queued=0))
        self.ask("long", sessionKey="a", idempotencyKey="a")
        self.refused(self.ask("hi", sessionKey="b", idempotencyKey="b"), Overloaded)
        self.gateway.runs.cancel("a")
        self.settle()
        self.gateway.answer("now")
        self.assertEqual("ok", self.ok(self.ask("hi", sessionKey="b", idempotencyKey="b"))["status"])

    def test_unknown_model(self) -> None:
        """A model that nobody serves is refused before anything is stored."""
        self.gateway.bench.catalog.unknown.add("nobody")
        called = self.gateway.call("agent", {"message": "hi", "model": "nobody/m"}, ADMINISTRATOR)
        self.refused(called, ModelNotFound)
        self.assertEqual([], self.texts())

    def test_unknown_model_with_a_key(self) -> None:
        """The refusal is not kept: the repeated call finds the model once it is there."""
        params = {"message": "hi", "model": "nobody/m", "idempotencyKey": "k"}
        self.gateway.bench.catalog.unknown.add("nobody")
        for _ in range(2):
            self.refused(self.gateway.call("agent", params, ADMINISTRATOR), ModelNotFound)
        self.gateway.bench.catalog.unknown.remove("nobody")
        self.gateway.answer("here")
        self.assertEqual("ok", self.ok(self.gateway.call("agent", params, ADMINISTRATOR))["status"])

    def test_bug(self) -> None:
        """A bug in the door ends the turn with an error and is logged."""

        def broken(*arguments: object) -> None:
            raise ZeroDivisionError

        self.patch(self.gateway.runs, "start", broken)
        self.assertEqual("internal error", self.refused(self.ask("hi")).message)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))


class DetachedTests(MethodTestCase):
    """A turn belongs to no connection."""

    def test_survives_its_call(self) -> None:
        """The run goes on when its call is cancelled, and a repeated call has its answer."""
        called = self.ask("hi", idempotencyKey="k")
        assert called.running is not None
        called.running.cancel()
        self.assertTrue(called.over)
        self.assertEqual(1, len(self.gateway.runs.live))
        stream = self.gateway.provider.streams[0]
        stream.push(TextDelta("hello"), ProviderFinished("stop"))
        stream.end()
        self.assertEqual(["hi", "hello"], self.texts())
        again = self.ok(self.ask("hi", idempotencyKey="k"))
        self.assertEqual("hello", again["result"]["payloads"][0]["text"])
        self.assertEqual(1, len(self.gateway.provider.requests))

    def test_survives_in_the_queue(self) -> None:
        """A turn that waits for its session goes on, too."""
        self.ask("first", idempotencyKey="one")
        called = self.ask("second", idempotencyKey="two")
        assert called.running is not None
        called.running.cancel()
        for text in ("a", "b"):
            stream = self.gateway.provider.streams[-1]
            stream.push(TextDelta(text), ProviderFinished("stop"))
            stream.end()
        self.assertEqual(["first", "a", "second", "b"], self.texts())

    def test_flood_without_reader(self) -> None:
        """Nobody reads the run's events, so it waits for nobody."""
        self.gateway.answer(*"abcdefgh")
        self.assertEqual("abcdefgh", self.ok(self.ask("hi"))["result"]["payloads"][0]["text"])

    def test_in_flight(self) -> None:
        """A repeated call of a turn under way is told so, and starts nothing."""
        self.ask("hi", idempotencyKey="k")
        again = self.ok(self.ask("hi", idempotencyKey="k"))
        self.assertEqual({"runId": "k", "sessionKey": MAIN, "agentId": "main", "status": "in_flight"}, again)
        self.ask("next", idempotencyKey="waiting")
        self.assertEqual("in_flight", self.ok(self.ask("next", idempotencyKey="waiting"))["status"])
        self.assertEqual(1, len(self.gateway.provider.requests))

    def test_forgotten_after_a_while(self) -> None:
        """After a day the key is a new one."""
        self.gateway.answer("one")
        first = self.ok(self.ask("hi", idempotencyKey="k"))
        self.gateway.clock.advance(KEPT_MS / 1000)
        self.assertEqual(first, self.ok(self.ask("hi", idempotencyKey="k")))
        self.assertEqual("hi", self.gateway.provider.requests[0].messages[-1].text)
        self.gateway.clock.advance(1)
        self.gateway.answer("two")
        self.assertEqual("two", self.ok(self.ask("hi", idempotencyKey="k"))["result"]["payloads"][0]["text"])

    def test_after_a_restart(self) -> None:
        """What a repeated call is told does not depend on the process that did the work."""
        self.gateway.answer("one")
        first = self.ok(self.ask("hi", idempotencyKey="answered"))
        self.gateway.provider.enqueue(ProviderRejected("no such model", status=404))
        self.ask("hi", idempotencyKey="refused")
        self.ask("hi", idempotencyKey="aborted")
        self.gateway.runs.cancel("aborted")
        self.settle()
        waited = [self.ok(self.wait(name)) for name in ("answered", "refused", "aborted")]
        stored = self.texts()
        self.restart()
        self.assertEqual(first, self.ok(self.ask("hi", idempotencyKey="answered")))
        again = self.ask("hi", idempotencyKey="refused")
        self.assertEqual(("no such model", []), (self.refused(again, ProviderRejected).message, again.first))
        self.assertEqual("aborted", self.ok(self.ask("hi", idempotencyKey="aborted"))["summary"])
        self.assertEqual(waited, [self.ok(self.wait(name)) for name in ("answered", "refused", "aborted")])
        self.assertEqual(([], stored), (self.gateway.provider.requests, self.texts()))

    def wait(self, run_id: str) -> Called:
        return self.gateway.call("agent.wait", {"runId": run_id})

    def restart(self) -> None:
        """Another process with the same store."""
        folder = Path(self.mktemp())
        folder.mkdir()
        self.gateway = MethodBench(folder, None, self.gateway.store)

    def test_turn_that_died_with_its_process(self) -> None:
        """The repeated call answers the turn that is stored, and does not store it a second time."""
        self.ask("hi", idempotencyKey="k")
        self.assertEqual(["hi"], self.texts())
        self.restart()
        self.gateway.answer("late")
        called = self.ask("hi", idempotencyKey="k")
        self.assertEqual(["accepted"], [told["status"] for told in called.first])
        self.assertEqual("late", self.ok(called)["result"]["payloads"][0]["text"])
        self.assertEqual(["hi", "late"], self.texts())
        self.assertEqual(called.result, self.ok(self.ask("hi", idempotencyKey="k")))

    def test_failure_that_may_pass(self) -> None:
        """The repeated call tries again with the turn that is stored; C{agent.wait} tells how the first one ended."""
        self.gateway.provider.enqueue(ProviderQuota("no money"))
        self.refused(self.ask("hi", idempotencyKey="k"), ProviderQuota)
        self.assertEqual(("error", "no money"), (self.ok(self.wait("k"))["status"], self.ok(self.wait("k"))["error"]))
        self.gateway.answer("now")
        self.assertEqual("now", self.ok(self.ask("hi", idempotencyKey="k"))["result"]["payloads"][0]["text"])
        self.assertEqual("ok", self.ok(self.wait("k"))["status"])
        self.assertEqual(["hi", "now"], self.texts())

    def test_old_key_waits_for_nobody(self) -> None:
        """What is answered already needs no place in the session, no model, and no gateway that takes new runs."""
        self.gateway.answer("one")
        first = self.ok(self.ask("hi", idempotencyKey="k"))
        self.restart()
        self.ask("more", idempotencyKey="busy")
        self.assertEqual(first, self.ok(self.ask("hi", idempotencyKey="k")))
        self.gateway.use(config_with(max_concurrent=1, max_queued=0))
        self.assertEqual(first, self.ok(self.ask("hi", idempotencyKey="k", sessionKey="other")))
        self.gateway.bench.catalog.unknown.add("local")
        self.assertEqual(first, self.ok(self.ask("hi", idempotencyKey="k", sessionKey="third")))
        self.gateway.runs.drain()
        self.assertEqual(first, self.ok(self.ask("hi", idempotencyKey="k")))

    def test_refused_key_is_free(self) -> None:
        """Also where it was claimed before the run was refused."""
        self.gateway.use(config_with(max_concurrent=1, max_queued=0))
        self.ask("long", sessionKey="a", idempotencyKey="a")
        self.refused(self.ask("hi", sessionKey="b", idempotencyKey="b"), Overloaded)
        self.assertEqual("free", self.known("b"))
        self.refused(self.ask("hi", sessionKey="b", idempotencyKey="b"), Overloaded)
        self.gateway.runs.cancel("a")
        self.settle()
        self.gateway.answer("now")
        self.assertEqual(
            "now", self.ok(self.ask("hi", sessionKey="b", idempotencyKey="b"))["result"]["payloads"][0]["text"]
        )
        self.assertEqual(["hi", "now"], self.texts("agent:main:b"))
        self.assertEqual("done", self.known("b"))

    def known(self, key: str) -> str | None:
        """The state of a key in the store."""
        store = cast(IdempotencyStore, self.gateway.store)
        name = KeyClaim(WRITER.name, key, b"", "", self.gateway.now_ms, "ws")
        record = self.successResultOf(store.find_key(name))
        return None if record is None else record.state

    def test_keys_of_http_are_others(self) -> None:
        """A key that HTTP has used means nothing here, and the other way round."""
        claim = Claim(b"x" * 32, "k", lasts="alone")
        self.gateway.answer("over http")
        plan = self.gateway.bench.plan(self.gateway.bench.request("hi", key="x"), WRITER)
        share = self.successResultOf(self.gateway.joins.share(plan, claim))
        self.assertEqual("over http", self.successResultOf(Deferred.fromCoroutine(share.outcome())).text)
        self.gateway.answer("over ws")
        self.assertEqual("over ws", self.ok(self.ask("hi", idempotencyKey="k"))["result"]["payloads"][0]["text"])

    def test_keys_of_another_caller(self) -> None:
        """Another caller's ended turns are none of mine; one under way keeps its id."""
        other = Caller("someone", frozenset({"operator.write"}))
        self.gateway.answer("one")
        self.ask("hi", idempotencyKey="k")
        self.gateway.answer("two")
        called = self.gateway.call("agent", {"message": "hi", "idempotencyKey": "k"}, other)
        self.assertEqual("two", self.ok(called)["result"]["payloads"][0]["text"])
        for name in ("live", "waiting"):
            self.ask("hi", idempotencyKey=name)
            called = self.gateway.call("agent", {"message": "hi", "idempotencyKey": name}, other)
            self.assertIn("idempotencyKey", self.refused(called, InvalidRequest).message)

    def test_stop(self) -> None:
        """A gateway that stops ends them, and those who wait are told."""
        first = self.ask("first", idempotencyKey="one")
        called = self.ask("second", idempotencyKey="two")
        stopped = Deferred.fromCoroutine(self.gateway.runs.stop(0))
        self.gateway.clock.advance(1)
        self.settle()
        self.refused(called, Draining)
        self.refused(first, Draining)
        self.successResultOf(stopped)
        self.successResultOf(Deferred.fromCoroutine(self.gateway.joins.stop()))
        self.assertEqual((0, True), (self.gateway.runs.waiting, self.gateway.joins.is_empty))


class KeptTests(MethodTestCase):
    """What is told of a turn whose end could not be stored, or that never began."""

    def make_store(self) -> SessionStore:
        """One whose calls fail when a test says so."""
        self.held = HeldStore()
        return self.held

    def wait(self, run_id: str) -> Any:
        return self.ok(self.gateway.call("agent.wait", {"runId": run_id, "timeoutMs": 0}))

    def test_end_that_is_final_and_not_stored(self) -> None:
        """It is not tried again: neither what was aborted nor what would be refused again."""
        self.held.failures["end_run"] = [StoreError("disk full"), StoreError("disk full")]
        called = self.ask("hi", idempotencyKey="aborted")
        self.gateway.runs.cancel("aborted")
        self.settle()
        self.assertEqual("aborted", self.ok(called)["summary"])
        self.gateway.provider.enqueue(ProviderRejected("no such model", status=404))
        self.refused(self.ask("hi", idempotencyKey="refused"), ProviderRejected)
        self.assertEqual("aborted", self.ok(self.ask("hi", idempotencyKey="aborted"))["summary"])
        self.refused(self.ask("hi", idempotencyKey="refused"), ProviderRejected)
        self.assertEqual(["error", "error"], [self.wait(name)["status"] for name in ("aborted", "refused")])
        self.assertEqual(2, len(self.gateway.provider.requests))

    def test_error_of_the_request_is_told_as_one(self) -> None:
        """From the store, too: what is wrong with the request is not said of the model server."""
        self.gateway.provider.enqueue(ContextTooLong("too long"))
        first = self.refused(self.ask("hi", idempotencyKey="k"), ContextTooLong)
        self.gateway.joins.forget()
        again = self.refused(self.ask("hi", idempotencyKey="k"), InvalidRequest)
        self.assertEqual(wire_error(first), wire_error(again))
        self.assertEqual((first.http_status, 1), (again.http_status, len(self.gateway.provider.requests)))

    def test_wait_with_a_store_that_hangs(self) -> None:
        """It is not waited for as long as for what has to be stored."""
        self.held.holds.add("find_key")
        called = self.gateway.call("agent.wait", {"runId": "k", "timeoutMs": 0})
        self.gateway.clock.advance(SHORT_STORE_TIMEOUT_S)
        self.gateway.clock.advance(0)
        self.assertEqual("timeout", self.ok(called)["status"])
        self.held.release()

    def test_aborted_in_the_queue_stays_so(self) -> None:
        """After a restart, too."""
        self.ask("first", idempotencyKey="one")
        self.ask("second", idempotencyKey="two")
        self.gateway.runs.cancel("two")
        self.settle()
        told = self.wait("two")
        self.gateway.joins.forget()
        self.assertEqual("aborted", self.ok(self.ask("second", idempotencyKey="two"))["summary"])
        self.assertEqual((["first"], "rpc"), (self.texts(), self.wait("two")["stopReason"]))
        self.assertEqual("rpc", told["stopReason"])

    def test_refusals_are_not_remembered(self) -> None:
        """They say nothing of the next time, and hold nothing of what was asked."""
        self.gateway.use(config_with(max_concurrent=1, max_queued=0))
        self.ask("long", sessionKey="a", idempotencyKey="a")
        for _ in range(3):
            self.refused(self.ask("x" * 1000, sessionKey="b", idempotencyKey="b"), Overloaded)
        self.assertEqual("timeout", self.wait_a_moment("b")["status"])
        self.gateway.runs.cancel("a")
        self.settle()
        self.assertTrue(self.gateway.joins.is_empty)

    def wait_a_moment(self, run_id: str) -> Any:
        waiting = self.gateway.call("agent.wait", {"runId": run_id, "timeoutMs": 0})
        self.settle()
        return self.ok(waiting)

    def test_failure_holds_no_frames(self) -> None:
        """What is remembered of a failed turn does not hold what was asked."""
        self.gateway.provider.enqueue(ProviderQuota("no money"))
        self.refused(self.ask("hi", idempotencyKey="k"), ProviderQuota)
        share = self.successResultOf(Deferred.fromCoroutine(self.find("k")))
        assert share is not None
        outcome = self.successResultOf(Deferred.fromCoroutine(share.outcome()))
        assert outcome.error is not None
        self.assertIsNone(outcome.error.__traceback__)

    async def find(self, key: str) -> Reader | None:
        return await self.gateway.joins.find(WRITER, Claim(b"", key, lasts="forever", surface="ws"))

    def test_abort_while_the_key_is_looked_at(self) -> None:
        """A turn that is to be tried again ends before it begins, by its id and by its session."""
        for params in ({"runId": "k"}, {"sessionKey": "main"}):
            self.gateway.provider.enqueue(ProviderQuota("no money"))
            self.refused(self.ask("hi", idempotencyKey="k"), ProviderQuota)
            requests = len(self.gateway.provider.requests)
            self.held.holds.add("claim_key")
            called = self.ask("hi", idempotencyKey="k")
            other = Caller("someone", frozenset({"operator.write"}))
            taken = self.gateway.call("agent", {"message": "hi", "idempotencyKey": "k"}, other)
            self.assertIn("idempotencyKey", self.refused(taken, InvalidRequest).message)
            told = self.ok(self.gateway.call("chat.abort", params))
            self.assertEqual((True, ["k"]), (told["aborted"], told["runIds"]))
            self.held.holds.clear()
            while self.held.held:
                self.held.release()
            self.settle()
            self.assertEqual("aborted", self.ok(called)["summary"])
            self.assertEqual(requests, len(self.gateway.provider.requests))
            self.setUp()

    def test_answer_that_is_too_large(self) -> None:
        """Its end is known, and that it is not kept."""
        self.patch(joins_module, "MAX_KEPT_CHARACTERS", 3)
        self.gateway.answer("four")
        self.ok(self.ask("hi", idempotencyKey="k"))
        self.refused(self.ask("hi", idempotencyKey="k"), ResultNotKept)
        self.refused(self.gateway.call("agent.wait", {"runId": "k"}), ResultNotKept)


class FallbackTests(MethodTestCase):
    """A run that ends with another model than it began with."""

    def test_model(self) -> None:
        """The model that gave the answer is told."""
        self.gateway.use(config_with(model=ModelChoice("local/smollm2-135m", ("other/fallback",))))
        self.gateway.provider.enqueue(ProviderQuota("no money"))
        self.gateway.answer("ok")
        meta = self.ok(self.ask("hi"))["result"]["meta"]["agentMeta"]
        self.assertEqual(("other", "fallback", None), (meta["provider"], meta["model"], meta["contextTokens"]))


class SlowStoreTests(MethodTestCase):
    """A store that takes its time, or fails."""

    def make_store(self) -> SessionStore:
        """One whose calls wait for the test."""
        self.held = HeldStore()
        return self.held

    def test_accepted_is_stored(self) -> None:
        """Nothing is accepted before it is on disk."""
        self.held.holds.add("begin_run")
        called = self.ask("hi")
        self.assertEqual([], called.first)
        self.held.release()
        self.assertEqual("accepted", called.first[0]["status"])

    def test_no_disk(self) -> None:
        """A turn that cannot be stored is refused, and the same call may succeed later."""
        self.held.failures["begin_run"] = [StoreError("disk full")]
        called = self.ask("hi", idempotencyKey="k")
        self.refused(called, StoreError)
        self.assertEqual([], called.first)
        self.gateway.answer("ok")
        self.assertEqual("ok", self.ok(self.ask("hi", idempotencyKey="k"))["status"])

    def test_two_writes(self) -> None:
        """The key is claimed with the turn and ended with the answer, and the session is known by that."""
        self.gateway.answer("ok")
        called = self.ask("hi", idempotencyKey="k")
        self.assertIn("sessionId", self.ok(called)["result"]["meta"]["agentMeta"])
        self.assertEqual(["transcript", "begin_run", "end_run"], self.held.calls)

    def test_known_key_on_a_slow_disk(self) -> None:
        """A key that is claimed when nobody waits for it any more is claimed by that run all the same."""
        self.held.holds.add("begin_run")
        called = self.ask("hi", idempotencyKey="k")
        self.gateway.clock.advance(STORE_TIMEOUT_S)
        self.assertEqual("store_timeout", self.refused(called, StoreError).code)
        self.held.holds.clear()
        while self.held.held:
            self.held.release()
        self.gateway.answer("ok")
        self.assertEqual("ok", self.ok(self.ask("hi", idempotencyKey="k"))["status"])
        self.assertEqual(["hi", "ok"], self.texts())

    def test_end_that_is_not_stored(self) -> None:
        """Then the call has failed, and is made again."""
        self.held.failures["end_run"] = [StoreError("disk full")]
        self.gateway.answer("one")
        self.refused(self.ask("hi", idempotencyKey="k"), StoreError)
        self.gateway.answer("two")
        self.assertEqual("two", self.ok(self.ask("hi", idempotencyKey="k"))["result"]["payloads"][0]["text"])
        self.assertEqual(["hi", "two"], self.texts())


class SessionIdTests(MethodTestCase):
    """C{sessionId} in the place of a key."""

    def setUp(self) -> None:
        super().setUp()
        self.gateway.answer("one")
        self.id = self.ok(self.ask("first", sessionKey="x"))["result"]["meta"]["agentMeta"]["sessionId"]

    def test_continues(self) -> None:
        """The session of the id goes on, with its key or without."""
        for params in ({}, {"agentId": "main"}, {"sessionKey": "x"}):
            self.gateway.answer("more")
            called = self.ask("next", sessionId=self.id, **params)
            self.assertEqual("agent:main:x", called.first[0]["sessionKey"])
        self.assertEqual(8, len(self.branch("agent:main:x")))

    def test_unknown(self) -> None:
        """An id of no session, or of another than the key's."""
        for params in ({"sessionId": "nope"}, {"sessionId": self.id, "sessionKey": "y"}):
            error = self.refused(self.ask("next", **params), InvalidRequest)
            self.assertEqual("sessionId", error.param)
        self.assertIn("sessionId", error.message)


class WaitTests(MethodTestCase):
    """C{agent.wait}."""

    def wait(self, run_id: str, **params: object) -> object:
        """Call it."""
        return self.gateway.call("agent.wait", {"runId": run_id, **params})

    def finish(self, text: str = "hello") -> None:
        """Let the model answer."""
        stream = self.gateway.provider.streams[-1]
        stream.push(TextDelta(text), ProviderFinished("length"))
        stream.end()

    def test_ended(self) -> None:
        """What has ended is told at once, and again."""
        began_ms = self.gateway.now_ms
        self.ask("hi", idempotencyKey="k")
        waiting = self.wait("k")
        self.gateway.clock.advance(1)
        self.assertFalse(waiting.over)
        self.finish()
        told = {
            "runId": "k",
            "status": "ok",
            "startedAt": began_ms,
            "endedAt": began_ms + 1000,
            "stopReason": "length",
            "livenessState": "working",
            "terminalReply": {"disposition": "visible", "text": "hello"},
        }
        self.assertEqual(told, self.ok(waiting))
        self.assertEqual(told, self.ok(self.wait("k")))
        self.assertEqual([], self.gateway.clock.getDelayedCalls())

    def test_no_text(self) -> None:
        """An answer without text has no reply."""
        self.gateway.answer()
        self.ask("hi", idempotencyKey="k")
        self.assertNotIn("terminalReply", self.ok(self.wait("k")))

    def test_failed_and_aborted(self) -> None:
        """Both are errors; the aborted one says so."""
        self.gateway.provider.enqueue(ProviderRejected("no", status=400))
        self.ask("hi", idempotencyKey="failed")
        told = self.ok(self.wait("failed"))
        self.assertEqual(("error", "no", False), (told["status"], told["error"], "stopReason" in told))
        self.ask("hi", idempotencyKey="aborted")
        waiting = self.wait("aborted")
        self.gateway.runs.cancel("aborted")
        self.settle()
        told = self.ok(waiting)
        self.assertEqual(("error", "rpc"), (told["status"], told["stopReason"]))

    def test_too_long(self) -> None:
        """Whoever waits for too long is told so; the run goes on."""
        self.ask("hi", idempotencyKey="k")
        own, unknown = self.wait("k", timeoutMs=500), self.wait("nobody", timeoutMs=500)
        self.gateway.clock.advance(0.5)
        self.assertEqual({"runId": "k", "status": "timeout"}, self.ok(own))
        self.assertEqual({"runId": "nobody", "status": "timeout"}, self.ok(unknown))
        self.assertEqual(1, len(self.gateway.runs.live))
        self.assertFalse(self.gateway.runs.bus.has_listeners)
        at_once = self.wait("k", timeoutMs=0)
        self.settle()
        self.assertEqual("timeout", self.ok(at_once)["status"])

    def test_cap(self) -> None:
        """Nobody waits for more than ten minutes; the default is half a minute."""
        self.ask("hi", idempotencyKey="k", timeout=100_000)
        default, longest = self.wait("k"), self.wait("k", timeoutMs=10**12)
        self.gateway.clock.advance(30)
        self.assertTrue(default.over)
        self.gateway.clock.advance(569)
        self.assertFalse(longest.over)
        self.gateway.clock.advance(1)
        self.assertEqual("timeout", self.ok(longest)["status"])

    def test_run_of_http(self) -> None:
        """A run that HTTP started is found by its id, even before it has begun."""
        early = self.wait("chatcmpl_1")
        started = self.gateway.bench.start("hi", key="x")
        self.assertEqual("chatcmpl_1", started.run.id)
        late = self.wait("chatcmpl_1")
        other = self.wait("chatcmpl_2")
        self.finish("over http")
        for waiting in (early, late):
            self.assertEqual("over http", self.ok(waiting)["terminalReply"]["text"])
        self.assertFalse(other.over)

    def test_other_callers_run(self) -> None:
        """Another caller's turn is found by its id while it is under way."""
        other = Caller("someone", frozenset({"operator.write"}))
        self.ask("hi", idempotencyKey="k")
        waiting = self.gateway.call("agent.wait", {"runId": "k"}, other)
        self.finish()
        self.assertEqual("ok", self.ok(waiting)["status"])

    def test_cancelled(self) -> None:
        """The end of a connection ends its waits and nothing else."""
        self.ask("hi", idempotencyKey="k")
        waits = [self.wait("k"), self.wait("nobody")]
        for waiting in waits:
            waiting.running.cancel()
        self.assertEqual([True, True], [waiting.over for waiting in waits])
        self.assertFalse(self.gateway.runs.bus.has_listeners)
        self.finish()
        self.assertEqual(["hi", "hello"], self.texts())


class OtherDoorTests(MethodTestCase):
    """Things that HTTP does to a session of C{agent}."""

    def test_ids_do_not_clash(self) -> None:
        """The id of a run under way cannot be taken."""
        Started(self.gateway.bench.begin(self.gateway.bench.request("hi", key="x")), read=True)
        error = self.refused(self.ask("hi", idempotencyKey="chatcmpl_1"), InvalidRequest)
        self.assertEqual("idempotencyKey", error.param)
        self.assertNotIsInstance(error, RunCancelled)
        self.assertIsInstance(error, OpenClawError)
