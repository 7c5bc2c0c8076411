"""Tests of L{openclaw.methods.chat}: reading a session, and ending its runs."""

from __future__ import annotations

from typing import Any

import msgspec

from openclaw.config.agents import AgentEntry
from openclaw.errors import InvalidRequest, RunCancelled, StoreError
from openclaw.events import ProviderFinished, TextDelta
from openclaw.methods import chat
from openclaw.methods.chat_rows import CUT_MARK
from openclaw.stores import SessionStore
from test.fakes import HeldStore, assistant, config_with, user
from test.methods.support import MethodTestCase

KEY = "agent:main:main"


class HistoryTests(MethodTestCase):
    """C{chat.history}."""

    def talk(self, count: int) -> None:
        """So many turns: q0, a0, q1, a1 and so on."""
        for index in range(count):
            self.gateway.answer(f"a{index}")
            self.ok(self.ask(f"q{index}"))

    def history(self, **params: Any) -> Any:
        """Its answer."""
        return self.ok(self.gateway.call("chat.history", {"sessionKey": KEY, **params}))

    def shown(self, answer: Any) -> list[str]:
        """The texts of the rows."""
        return [
            row["content"] if isinstance(row["content"], str) else row["content"][0]["text"]
            for row in answer["messages"]
        ]

    def test_unknown(self) -> None:
        """A session that is not stored has no rows and no id; that is no error."""
        answer = self.history()
        self.assertEqual(
            (KEY, [], False, 0), tuple(answer[k] for k in ("sessionKey", "messages", "hasMore", "totalMessages"))
        )
        self.assertEqual({"items": [], "total": 0}, answer["pendingInputs"])
        for absent in ("sessionId", "sessionInfo", "inFlightRun"):
            self.assertNotIn(absent, answer)

    def test_rows(self) -> None:
        """Oldest first, each with its place; the session's row beside them."""
        self.talk(2)
        answer = self.history()
        self.assertEqual(["q0", "a0", "q1", "a1"], self.shown(answer))
        first, second, *_ = answer["messages"]
        stored = self.branch()
        self.assertEqual(
            {
                "role": "user",
                "content": "q0",
                "timestamp": stored[0].created_at_ms,
                "__openclaw": {
                    "id": stored[0].id,
                    "runId": stored[0].run_id,
                    "recordTimestampMs": stored[0].created_at_ms,
                    "seq": 1,
                },
            },
            first,
        )
        self.assertEqual(
            ("assistant", [{"type": "text", "text": "a0"}], "stop"),
            (second["role"], second["content"], second["stopReason"]),
        )
        self.assertEqual([1, 2, 3, 4], [row["__openclaw"]["seq"] for row in answer["messages"]])
        self.assertEqual((4, False), (answer["totalMessages"], answer["hasMore"]))
        self.assertEqual(answer["sessionId"], answer["sessionInfo"]["sessionId"])
        self.assertEqual(KEY, answer["sessionInfo"]["key"])
        self.assertEqual("smollm2-135m", answer["defaults"]["model"])

    def test_bare_key(self) -> None:
        """A bare key is one of the default agent, or of the one that is named."""
        self.talk(1)
        self.assertEqual(2, len(self.history(sessionKey="main")["messages"]))
        self.assertEqual(2, len(self.history(sessionKey="main", agentId="MAIN")["messages"]))

    def test_agent_that_is_gone(self) -> None:
        """The session of an agent that the configuration does not name any more can still be read."""
        self.talk(1)
        self.gateway.use(config_with({"other": AgentEntry()}))
        answer = self.history()
        self.assertEqual(["q0", "a0"], self.shown(answer))
        self.assertEqual("local", answer["defaults"]["modelProvider"])

    def test_pages(self) -> None:
        """C{limit} and C{offset} count from the newest; places are told where they are known."""
        self.talk(3)
        answer = self.history(limit=2)
        self.assertEqual((["q2", "a2"], True), (self.shown(answer), answer["hasMore"]))
        self.assertNotIn("totalMessages", answer)
        self.assertNotIn("seq", answer["messages"][0]["__openclaw"])
        answer = self.history(limit=2, offset=2)
        self.assertEqual((["q1", "a1"], True), (self.shown(answer), answer["hasMore"]))
        answer = self.history(limit=3, offset=4)
        self.assertEqual((["q0", "a0"], False), (self.shown(answer), answer["hasMore"]))
        self.assertEqual([1, 2], [row["__openclaw"]["seq"] for row in answer["messages"]])
        answer = self.history(limit=6)
        self.assertEqual((6, False), (len(answer["messages"]), answer["hasMore"]))
        answer = self.history(limit=1, offset=1)
        self.assertEqual(["q2"], self.shown(answer))
        for beyond in (6, 50):
            answer = self.history(offset=beyond)
            self.assertEqual(([], False), (answer["messages"], answer["hasMore"]))

    def test_long_texts(self) -> None:
        """C{maxChars} cuts each text."""
        self.gateway.answer("x" * 50)
        self.ok(self.ask("short"))
        answer = self.history(maxChars=10)
        self.assertEqual(["short", "x" * 10 + CUT_MARK], self.shown(answer))

    def test_bound_of_the_answer(self) -> None:
        """What is too much in all is left out from the front; the last row is there in any case."""
        self.patch(chat, "MAX_HISTORY_CHARS", 5)
        self.talk(3)
        answer = self.history()
        self.assertEqual((["q2", "a2"], True), (self.shown(answer), answer["hasMore"]))
        self.assertEqual([5, 6], [row["__openclaw"]["seq"] for row in answer["messages"]])
        self.assertEqual(5, len(self.shown(self.history(maxChars=1))))
        self.patch(chat, "MAX_HISTORY_CHARS", 1)
        self.assertEqual(["a2"], self.shown(self.history()))

    def test_run_under_way(self) -> None:
        """A run in the session is named by the id that its client knows."""
        self.ask("hi", idempotencyKey="k")
        answer = self.history()
        self.assertEqual({"runId": "k", "text": ""}, answer["inFlightRun"])
        self.assertEqual(("running", ["k"]), (answer["sessionInfo"]["status"], answer["sessionInfo"]["activeRunIds"]))

    def test_refused(self) -> None:
        """What cannot be done is told with its field."""
        for params, field in (
            ({"cursor": "x"}, "cursor"),
            ({"agentId": "nope"}, "agentId"),
            ({"sessionKey": "agent:x:y", "agentId": "main"}, "sessionKey"),
            ({"sessionKey": "a\x00"}, "sessionKey"),
        ):
            called = self.gateway.call("chat.history", {"sessionKey": KEY, **params})
            self.assertIn(f"invalid chat.history params: at /{field}: ", self.refused(called, InvalidRequest).message)

    def test_malformed(self) -> None:
        """The shape."""
        for params in (
            {},
            {"sessionKey": ""},
            {"sessionKey": "k", "limit": 0},
            {"sessionKey": "k", "limit": 1001},
            {"sessionKey": "k", "offset": -1},
            {"sessionKey": "k", "maxChars": 0},
            {"sessionKey": "k", "x": 1},
        ):
            self.assertRaises(msgspec.ValidationError, self.gateway.call, "chat.history", params)


class BrokenStoreTests(MethodTestCase):
    """A store that fails."""

    def make_store(self) -> SessionStore:
        """One whose next reading fails."""
        self.held = HeldStore()
        return self.held

    def test_error(self) -> None:
        """The failure is told."""
        for name in ("branch", "sessions"):
            self.held.failures[name] = [StoreError("broken")]
            self.refused(self.gateway.call("chat.history", {"sessionKey": KEY}), StoreError)


class AbortTests(MethodTestCase):
    """C{chat.abort}."""

    def abort(self, **params: Any) -> Any:
        """Its answer."""
        answer = self.ok(self.gateway.call("chat.abort", params))
        self.settle()
        return answer

    def test_nothing(self) -> None:
        """Nothing to end is no error."""
        for params in (
            {"sessionKey": KEY, "preserveSideRuns": True},
            {"runId": "x"},
            {"sessionKey": KEY, "runId": "x"},
        ):
            self.assertEqual({"ok": True, "aborted": False, "runIds": []}, self.abort(**params))

    def test_by_run(self) -> None:
        """One run, by the id that its client chose."""
        one, two = self.ask("hi", idempotencyKey="one"), self.ask("hi", idempotencyKey="two", sessionKey="b")
        self.assertEqual({"ok": True, "aborted": True, "runIds": ["one"]}, self.abort(runId="one", sessionKey="main"))
        self.assertEqual([True, False], [one.over, two.over])
        self.assertTrue(self.gateway.provider.streams[0].aborted)
        self.assertEqual(["two"], self.abort(runId="two")["runIds"])

    def test_waiting_run(self) -> None:
        """A turn that waits is taken out of the queue; the one before it goes on."""
        one, two = self.ask("1", idempotencyKey="one"), self.ask("2", idempotencyKey="two")
        self.assertEqual(["two"], self.abort(runId="two", sessionKey=KEY)["runIds"])
        self.assertEqual([False, True], [one.over, two.over])

    def test_by_session(self) -> None:
        """All runs of a session, the waiting ones first; those of other sessions go on."""
        calls = [self.ask(key, idempotencyKey=key) for key in ("one", "two", "three")]
        other = self.ask("hi", idempotencyKey="other", sessionKey="b")
        self.assertEqual(["two", "three", "one"], self.abort(sessionKey="main")["runIds"])
        self.assertEqual([True] * 3, [called.over for called in calls])
        self.assertFalse(other.over)
        self.assertEqual(2, len(self.gateway.provider.requests), "no waiting run began")
        self.assertEqual(["one", ""], self.texts())

    def test_run_of_http(self) -> None:
        """A run that HTTP started ends, too, and what it said stays."""
        started = self.gateway.bench.start("hi", key="x")
        self.gateway.provider.streams[0].push(TextDelta("par"))
        self.assertEqual([started.run.id], self.abort(sessionKey="x")["runIds"])
        self.assertEqual("cancelled", started.failed().code)
        self.assertEqual(["hi", "par"], self.texts("agent:main:x"))

    def test_wrong_session(self) -> None:
        """A run of another session is left alone."""
        self.ask("1", idempotencyKey="one")
        self.ask("2", idempotencyKey="two")
        for run_id in ("one", "two"):
            called = self.gateway.call("chat.abort", {"runId": run_id, "sessionKey": "other"})
            self.assertIn("another session", self.refused(called, InvalidRequest).message)
        stream = self.gateway.provider.streams[0]
        stream.push(TextDelta("a"), ProviderFinished("stop"))
        stream.end()
        self.assertEqual(["1", "a", "2"], self.texts())

    def test_wrong_session_of_a_waiting_run_of_http(self) -> None:
        """It is left alone, too."""
        first = self.gateway.bench.start("1", key="x")
        second = self.gateway.bench.start("2", key="x", alias="second")
        run_id = "second"
        called = self.gateway.call("chat.abort", {"runId": run_id, "sessionKey": "other"})
        self.assertIn("another session", self.refused(called, InvalidRequest).message)
        self.assertIsNone(second.error)
        self.assertEqual([run_id], self.abort(runId=run_id, sessionKey="x")["runIds"])
        self.assertIsInstance(second.error, RunCancelled)
        self.assertIsNotNone(first.run)

    def test_neither(self) -> None:
        """A session or a run has to be named."""
        self.assertIn("sessionKey", self.refused(self.gateway.call("chat.abort"), InvalidRequest).message)


class WholeConversationTests(MethodTestCase):
    """What HTTP stored."""

    def test_imported(self) -> None:
        """A conversation that a client sent as a whole is read like any other."""
        self.gateway.answer("d")
        started = self.gateway.bench.start(user("a"), assistant("b"), "c", key="x")
        self.assertIsNotNone(started.outcome)
        answer = self.ok(self.gateway.call("chat.history", {"sessionKey": "x"}))
        self.assertEqual(["user", "assistant", "user", "assistant"], [row["role"] for row in answer["messages"]])
        self.assertNotIn("stopReason", answer["messages"][1])
