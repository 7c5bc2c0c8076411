"""
The twelve rows of the contract's table of continuing a session, through the door to the agents.

Each row tells what is stored and sent, what the model is then asked, and what the session's current branch is after.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from openclaw.agents.context import NO_ANSWER, NO_RESULT
from openclaw.agents.resolve import Selection
from openclaw.events import ProviderFinished, TextDelta
from openclaw.messages import Message, ToolCall
from openclaw.records import Entry, RunRecord
from openclaw.store.store import GatewayStore
from test.fakes import Bench, Started, assistant, user

U1, A1, U2, A2, U3 = user("u1"), assistant("a1"), user("u2"), assistant("a2"), user("u3")
CHAT = Selection(chat_id=("X-OpenWebUI-Chat-Id", "c"))
USER = Selection(user="c")
KEYS = {"chat": "agent:main:openai-chat:c", "user": "agent:main:openai-user:c"}


class RowTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.store = GatewayStore.in_memory()
        self.bench = Bench(self.store)
        self.addCleanup(lambda: self.assertEqual([], self.bench.clock.getDelayedCalls()))

    def turn(self, kind: str, *sent: Message, answer: str = "new") -> Started:
        self.bench.provider.enqueue_text(answer)
        started = self.bench.start(*sent, selection=CHAT if kind == "chat" else USER)
        assert started.outcome is not None and started.outcome.text == answer
        return started

    def asked(self) -> list[Message]:
        return list(self.bench.provider.requests[-1].messages[1:])

    def branch(self, kind: str) -> list[Message]:
        return [entry.message for entry in self.successResultOf(self.store.branch(KEYS[kind]))]

    def count(self, kind: str) -> int:
        return len(self.successResultOf(self.store.transcript(KEYS[kind])).entries)

    def say(self, kind: str, turns: int) -> None:
        """U1 A1 U2 A2 and so on, each turn sent with the whole conversation."""
        sent: list[Message] = []
        for number in range(1, turns + 1):
            sent.append(user(f"u{number}"))
            self.turn(kind, *sent, answer=f"a{number}")
            sent.append(assistant(f"a{number}"))

    def check(self, kind: str, sent: list[Message], expected: list[Message]) -> None:
        """What the model is asked, and then answers, is the current branch."""
        self.turn(kind, *sent)
        self.assertEqual(expected, self.asked())
        self.assertEqual([*expected, assistant("new")], self.branch(kind))

    def test_row_1_nothing_stored(self) -> None:
        self.check("user", [U1], [U1])

    def test_row_2_a_new_turn(self) -> None:
        self.say("user", 1)
        self.check("user", [U2], [U1, A1, U2])

    def test_row_3_a_repeated_turn(self) -> None:
        self.say("user", 1)
        self.check("user", [U1], [U1, A1, U1])

    def test_row_4_regenerate(self) -> None:
        self.say("chat", 1)
        self.check("chat", [U1], [U1])
        self.assertEqual(3, self.count("chat"))

    def test_row_5_the_whole_conversation(self) -> None:
        for kind in KEYS:
            self.say(kind, 1)
            self.check(kind, [U1, A1, U2], [U1, A1, U2])
            self.assertEqual(4, self.count(kind))

    def test_row_6_an_edit(self) -> None:
        self.say("chat", 2)
        self.check("chat", [U1, A1, user("edited")], [U1, A1, user("edited")])
        self.assertEqual(6, self.count("chat"))

    def test_row_7_regenerate_later(self) -> None:
        self.say("chat", 2)
        self.check("chat", [U1, A1, U2], [U1, A1, U2])
        self.assertEqual(5, self.count("chat"))

    def test_row_8_a_window(self) -> None:
        for kind, window in (("chat", [A1, U2, A2, U3]), ("user", [U2, A2, U3])):
            self.say(kind, 2)
            self.check(kind, window, [U1, A1, U2, A2, U3])
            self.assertEqual(6, self.count(kind))

    def test_row_9_a_tool_of_the_agents_own(self) -> None:
        call = Message("assistant", "", (ToolCall("own", "clock", "{}"),))
        result = Message("tool", "noon", tool_call_id="own")
        run = RunRecord("r", "main", KEYS["chat"], "p/m", "done", 0, 0)
        entries = [
            Entry("e0", None, "r", U1, 0),
            Entry("e1", "e0", "r", call, 0, "tool_calls"),
            Entry("e2", "e1", "r", result, 0),
            Entry("e3", "e2", "r", A1, 0, "stop"),
        ]
        self.successResultOf(self.store.begin_run(run, entries))
        self.check("chat", [U1, A1, U2], [U1, call, result, A1, U2])

    def test_own_and_client_tools_in_one_answer(self) -> None:
        """The client's results are what the turn goes on with, however much of it is sent with them."""
        call = Message("assistant", "See. ", (ToolCall("own", "clock", "{}"), ToolCall("c1", "f", "{}")))
        own = Message("tool", "noon", tool_call_id="own")
        result = Message("tool", "5", tool_call_id="c1")
        shown = Message("assistant", "See. ", call.tool_calls[1:])
        for kind, sent in (("chat", []), ("user", []), ("chat", [U1, shown]), ("chat", [shown])):
            self.setUp()
            run = RunRecord("r", "main", KEYS[kind], "p/m", "done", 0, 0)
            entries = [
                Entry("e0", None, "r", U1, 0),
                Entry("e1", "e0", "r", call, 0, "tool_calls", ("own",)),
                Entry("e2", "e1", "r", own, 0),
            ]
            self.successResultOf(self.store.end_run(run, entries))
            self.check(kind, [*sent, result], [U1, call, own, result])
            self.assertEqual(5, self.count(kind))
            if kind == "chat":
                self.check(
                    kind, [U1, shown, result, assistant("new"), U2], [U1, call, own, result, assistant("new"), U2]
                )
                self.assertEqual(7, self.count(kind))

    def test_a_call_that_the_client_gives_up(self) -> None:
        call = Message("assistant", "", (ToolCall("own", "clock", "{}"), ToolCall("c1", "f", "{}")))
        own = Message("tool", "noon", tool_call_id="own")
        run = RunRecord("r", "main", KEYS["chat"], "p/m", "done", 0, 0)
        entries = [
            Entry("e0", None, "r", U1, 0),
            Entry("e1", "e0", "r", call, 0, "tool_calls", ("own",)),
            Entry("e2", "e1", "r", own, 0),
        ]
        self.successResultOf(self.store.end_run(run, entries))
        self.turn("chat", U1, Message("assistant", "", call.tool_calls[1:]), U2)
        none = Message("tool", NO_RESULT, tool_call_id="c1")
        self.assertEqual([U1, call, own, none, assistant(NO_ANSWER), U2], self.asked())
        self.assertEqual([U1, call, own, U2, assistant("new")], self.branch("chat"))

    def test_row_10_stopped(self) -> None:
        run = self.bench.start(U1, selection=CHAT)
        self.bench.provider.streams[-1].push(TextDelta("ab"))
        assert run.run is not None
        run.run.cancel()
        self.bench.clock.advance(0)
        self.check("chat", [U1, assistant("ab"), U2], [U1, assistant("ab"), U2])
        self.assertEqual(4, self.count("chat"))

    def test_row_11_a_title(self) -> None:
        self.say("chat", 1)
        title = user("Generate a title for: u1")
        # A run of the chat holds the lane; the title is there before it ends.
        running = self.bench.start(U1, A1, U2, selection=CHAT)
        self.turn("chat", title, answer="title")
        self.assertEqual([title], self.asked())
        self.assertEqual([U1, A1, U2], self.branch("chat"))
        self.assertIsNone(running.outcome)
        self.bench.provider.streams[-2].push(TextDelta("a2"), ProviderFinished("stop"))
        self.bench.provider.streams[-2].end()
        self.assertEqual([U1, A1, U2, A2], self.branch("chat"))
        self.check("chat", [U1, A1, U2, A2, U3], [U1, A1, U2, A2, U3])

    def test_row_12_an_edited_first_message(self) -> None:
        self.say("chat", 1)
        edited = user("edited")
        self.turn("chat", edited, answer="b1")
        self.assertEqual([edited], self.asked())
        self.assertEqual([U1, A1], self.branch("chat"))
        self.check("chat", [edited, assistant("b1"), U2], [edited, assistant("b1"), U2])
        self.assertEqual(frozenset(), self.successResultOf(self.store.transcript(KEYS["chat"])).detached)
