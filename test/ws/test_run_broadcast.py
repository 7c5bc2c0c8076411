"""Tests for L{openclaw.ws.run_broadcast}: what connected clients hear of runs."""

from __future__ import annotations

import itertools
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from openclaw.errors import (
    ContextTooLong,
    OpenClawError,
    ProviderFailed,
    ProviderRateLimited,
    ProviderTimeout,
    RunCancelled,
    RunTimeout,
)
from openclaw.events import (
    EventBus,
    ReasoningDelta,
    RunBegan,
    RunInfo,
    RunOutcome,
    RunOver,
    RunTold,
    TextDelta,
    Timings,
)
from openclaw.messages import Usage
from openclaw.ws import run_broadcast
from openclaw.ws.run_broadcast import MIN_INTERVAL_S, STEP_CHARS, RunBroadcast
from test.ws.support import WebSocketTestCase

INFO = RunInfo("run-1", "shown-1", "main", "agent:main:main", "scripted/m", "webchat")
ABOUT = {"runId": "shown-1", "sessionKey": "agent:main:main", "agentId": "main"}


class RunBroadcastTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.bus = EventBus()
        self.told: list[tuple[str, Any]] = []
        self.dropped: list[bool] = []
        self.events = RunBroadcast(self.bus, self.clock, self.publish)
        self.events.listen(True)

    def publish(self, name: str, payload: Any, *, droppable: bool = False) -> None:
        """Note an event."""
        self.told.append((name, payload))
        self.dropped.append(droppable)

    def begin(self, info: RunInfo = INFO) -> None:
        """A run begins."""
        self.bus.publish(RunBegan(info, (), 999_000))

    def say(self, *texts: str, info: RunInfo = INFO) -> None:
        """A run says something, in one batch."""
        self.bus.publish(RunTold(info, [TextDelta(text) for text in texts]))

    def end(self, error: OpenClawError | None = None, text: str = "", info: RunInfo = INFO) -> None:
        """A run ends."""
        outcome = RunOutcome(text, None if error else "stop", Usage(), error)
        self.bus.publish(RunOver(info, outcome, Timings(1.0), "scripted/m", 1_001_000))

    def take(self, name: str) -> list[Any]:
        """The payloads of one event so far."""
        return [payload for event, payload in self.told if event == name]

    @property
    def deltas(self) -> list[str]:
        """The pieces of text so far."""
        return [payload["deltaText"] for payload in self.take("chat") if payload["state"] == "delta"]


class TextTests(RunBroadcastTestCase):
    def test_blanks_at_the_ends(self) -> None:
        self.begin()
        for text in ("\n", " \n", "a ", " \n", "b", "\n", " "):
            self.say(text)
            self.clock.advance(1)
        self.end(text="\n \na  \nb\n ")
        texts = [payload["message"]["content"][0]["text"] for payload in self.take("chat")]
        self.assertEqual(texts, ["a", "a  \nb", "a  \nb"])
        self.assertEqual("".join(self.deltas), texts[-1])

    def test_nothing_but_blanks(self) -> None:
        self.begin()
        self.say(" " * 100)
        self.say("\n")
        self.end(text=" " * 100 + "\n")
        self.assertEqual(self.deltas, [])
        (final,) = self.take("chat")
        self.assertEqual((final["state"], final["message"]["content"][0]["text"]), ("final", ""))

    def test_whole_run(self) -> None:
        self.begin()
        self.say("Hel", "lo")
        self.clock.advance(1)
        self.say(" you")
        self.end(text="Hello you")
        message = {"role": "assistant", "content": [{"type": "text", "text": "Hello"}], "timestamp": 1_000_000}
        self.assertEqual(
            self.told[:3],
            [
                (
                    "agent",
                    ABOUT
                    | {
                        "seq": 1,
                        "stream": "lifecycle",
                        "data": {"phase": "start", "startedAt": 999_000},
                        "ts": 1_000_000,
                    },
                ),
                (
                    "agent",
                    ABOUT
                    | {"seq": 2, "stream": "assistant", "data": {"text": "Hello", "delta": "Hello"}, "ts": 1_000_000},
                ),
                ("chat", ABOUT | {"seq": 2, "state": "delta", "deltaText": "Hello", "message": message}),
            ],
        )
        message = {"role": "assistant", "content": [{"type": "text", "text": "Hello you"}]}
        life = {
            "endedAt": 1_001_000,
            "startedAt": 999_000,
            "phase": "end",
            "aborted": False,
            "stopReason": "stop",
        }
        self.assertEqual(
            self.told[3:],
            [
                (
                    "agent",
                    ABOUT
                    | {
                        "seq": 3,
                        "stream": "assistant",
                        "data": {"text": "Hello you", "delta": " you"},
                        "ts": 1_001_000,
                    },
                ),
                (
                    "chat",
                    ABOUT
                    | {
                        "seq": 3,
                        "state": "delta",
                        "deltaText": " you",
                        "message": message | {"timestamp": 1_001_000},
                    },
                ),
                ("agent", ABOUT | {"seq": 4, "stream": "lifecycle", "data": life, "ts": 1_001_000}),
                (
                    "chat",
                    ABOUT
                    | {
                        "seq": 4,
                        "state": "final",
                        "stopReason": "stop",
                        "message": message | {"timestamp": 1_001_000},
                    },
                ),
            ],
        )
        self.assertEqual(self.dropped, [False, True, True, True, True, False, False])

    def test_steps(self) -> None:
        times: list[float] = []
        self.begin()
        for letter in "abcdefghijklmnop":
            self.say(letter)
            self.clock.advance(0.03)
            times += [self.clock.seconds()] * (len(self.deltas) - len(times))
        self.assertEqual(self.deltas[0], "a")
        self.assertTrue(5 <= len(times) <= 7, times)
        for earlier, later in itertools.pairwise(times):
            self.assertGreater(later - earlier, MIN_INTERVAL_S - 0.03)
        self.end()
        self.assertEqual("".join(self.deltas), "abcdefghijklmnop")
        self.assertEqual(self.clock.getDelayedCalls(), [])
        texts = [payload["data"]["text"] for payload in self.take("agent") if payload["stream"] == "assistant"]
        self.assertEqual(texts[-1], "abcdefghijklmnop")

    def test_pause_of_the_model(self) -> None:
        self.begin()
        self.say("a")
        self.say("b")
        self.assertEqual(self.deltas, ["a"])
        self.clock.advance(MIN_INTERVAL_S)
        self.assertEqual(self.deltas, ["a", "b"])
        self.clock.advance(1)
        self.say("c")
        self.assertEqual(self.deltas, ["a", "b", "c"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_long_text_goes_in_longer_steps(self) -> None:
        self.begin()
        self.say("x" * 3 * STEP_CHARS)
        self.say("y")
        self.clock.advance(3.9 * MIN_INTERVAL_S)
        self.assertEqual(len(self.deltas), 1)
        self.clock.advance(0.2 * MIN_INTERVAL_S)
        self.assertEqual(self.deltas[1:], ["y"])

    def test_too_long_a_text(self) -> None:
        self.patch(run_broadcast, "MAX_TEXT_CHARS", 5)
        self.begin()
        for _ in range(4):
            self.say("abc")
            self.clock.advance(1)
        self.assertEqual(self.deltas, ["abc", "ab"])
        self.end(text="abc" * 4)
        self.assertEqual(self.told[-1][1]["message"]["content"][0]["text"], "abcab")

    def test_clock_set_back(self) -> None:
        self.begin()
        self.say("a")
        self.clock.rightNow -= 500
        self.say("b")
        self.assertEqual(self.deltas, ["a", "b"])

    def test_what_is_no_text(self) -> None:
        self.begin()
        self.bus.publish(RunTold(INFO, [ReasoningDelta("hm")]))
        self.say("")
        self.assertEqual(len(self.told), 1)

    def test_runs_side_by_side(self) -> None:
        other = RunInfo("run-2", "run-2", "ops", "agent:ops:main", "scripted/m", "webchat")
        self.begin()
        self.begin(other)
        self.say("a")
        self.say("b", info=other)
        self.end(info=other)
        self.end()
        for run_id in ("shown-1", "run-2"):
            mine = [payload for _, payload in self.told if payload["runId"] == run_id]
            self.assertEqual([payload["seq"] for payload in mine], [1, 2, 2, 3, 3])

    def test_text_that_nobody_kept(self) -> None:
        self.begin()
        self.say("abc")
        self.end(text="")
        self.assertEqual(self.told[-1][1]["message"]["content"][0]["text"], "abc")


class EndTests(RunBroadcastTestCase):
    def test_cancelled(self) -> None:
        self.begin()
        self.say("par")
        self.say("tial")
        self.end(RunCancelled("x"), text="partial")
        (_, life), (_, chat) = self.told[-2:]
        self.assertEqual(
            life["data"],
            {
                "phase": "end",
                "status": "cancelled",
                "aborted": True,
                "stopReason": "rpc",
                "startedAt": 999_000,
                "endedAt": 1_001_000,
            },
        )
        self.assertEqual((chat["state"], chat["stopReason"]), ("aborted", "rpc"))
        self.assertEqual(chat["message"]["content"][0]["text"], "partial")
        self.assertEqual(self.deltas, ["par", "tial"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cancelled_before_anything(self) -> None:
        self.begin()
        self.end(RunCancelled("x"))
        self.assertNotIn("message", self.told[-1][1])

    def test_failed(self) -> None:
        for error, kind in (
            (ProviderFailed("a"), "unknown"),
            (RunTimeout("a"), "timeout"),
            (ProviderTimeout("a"), "timeout"),
            (ProviderRateLimited("a"), "rate_limit"),
            (ContextTooLong("a"), "context_length"),
        ):
            self.told.clear()
            self.begin()
            self.end(error)
            (_, life), (_, chat) = self.told[-2:]
            self.assertEqual((life["data"]["phase"], life["data"]["error"]), ("error", "a"))
            self.assertEqual(
                {name: chat[name] for name in ("state", "errorMessage", "errorKind")},
                {"state": "error", "errorMessage": "a", "errorKind": kind},
            )
            states = [payload["state"] for payload in self.take("chat")]
            self.assertEqual(states, ["error"])


class ListeningTests(RunBroadcastTestCase):
    def test_beginning_was_not_heard(self) -> None:
        self.say("b")
        self.end(text="ab")
        self.assertEqual(self.deltas, ["b"])
        (life,) = [payload["data"] for payload in self.take("agent") if payload["stream"] == "lifecycle"]
        self.assertNotIn("startedAt", life)
        self.assertEqual(self.told[-1][1]["message"]["content"][0]["text"], "ab")

    def test_only_the_end_was_heard(self) -> None:
        self.end(text="ab")
        self.assertEqual([payload["seq"] for _, payload in self.told], [1, 1])
        self.assertEqual(self.told[-1][1]["state"], "final")

    def test_stops_listening(self) -> None:
        self.begin()
        self.say("a")
        self.say("b")
        self.events.listen(False)
        self.assertFalse(self.bus.has_listeners)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.events.listen(False)
        self.events.listen(True)
        self.events.listen(True)
        count = len(self.told)
        self.say("c")
        self.assertEqual(len(self.told), count + 2)
        self.assertEqual(self.deltas[-1], "c")


class ConnectedTests(WebSocketTestCase):
    def test_listens_only_for_readers(self) -> None:
        self.assertFalse(self.bus.has_listeners)
        blind = self.connected(scopes=[])
        self.assertFalse(self.bus.has_listeners)
        first, second = self.connected(), self.connected(scopes=["operator.read"])
        self.assertTrue(self.bus.has_listeners)
        first.client.leave()
        self.assertTrue(self.bus.has_listeners)
        self.bus.publish(RunBegan(INFO, (), 1))
        self.assertEqual([value["event"] for value in second.events()], ["agent"])
        self.assertEqual(blind.events(), [])
        second.client.leave()
        self.assertFalse(self.bus.has_listeners)
