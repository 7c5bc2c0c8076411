"""Tests of L{openclaw.sessions.turns}: which lane a run takes, and what is stored where."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from itertools import pairwise

from twisted.internet.defer import CancelledError

from openclaw.agents.resolve import Selection
from openclaw.errors import Overloaded, ProviderOverloaded, ProviderRejected, StoreError
from openclaw.events import ProviderFinished, TextDelta
from openclaw.messages import Message
from openclaw.records import Entry, RunRecord
from openclaw.sessions.keys import Manner
from openclaw.sessions.transcripts import DETACHED_KEPT_MS
from openclaw.waits import STORE_TIMEOUT_S
from test.agents.test_runs import BenchTestCase
from test.fakes import Bench, HeldStore, Started, assistant, config_with, user

CHAT = Selection(chat_id=("X-OpenWebUI-Chat-Id", "c"))
KEY = "agent:main:openai-chat:c"
TITLE = "Generate a title"


class ChatTestCase(BenchTestCase):
    def chat(self, *sent: Message | str, answer: str | None = None, **settings: object) -> Started:
        if answer is not None:
            self.provider.enqueue_text(answer)
        return self.bench.start(*sent, selection=CHAT, **settings)

    def finish(self, number: int, text: str) -> None:
        """Let the model answer the call of that number."""
        self.provider.streams[number].push(TextDelta(text), ProviderFinished("stop"))
        self.provider.streams[number].end()

    def now_ms(self) -> int:
        return int(self.bench.clock.seconds() * 1000)

    def write(self, *entries: Entry, key: str = KEY, detached: bool = False) -> None:
        """Store something, as another process would."""
        run = RunRecord("foreign", "main", key, "p/m", "done", 0, 0)
        self.successResultOf(self.store.inner.end_run(run, entries, detached=detached))


STREAMED = Manner(streamed=True)


class TitleFirstTests(ChatTestCase):
    """A user interface asks for a title beside the first turn, in whatever order, and whichever ends first."""

    TASK = "### Task:\nGenerate a concise title"

    def run_both(self, title: str, order: str, *, title_ends_first: bool, **settings: object) -> None:
        """Begin both, then end both."""
        begun = [self.chat(title) if what == "t" else self.chat("u1", **settings) for what in order]
        self.assertEqual(2, len(self.provider.streams), "one waits for the other")
        number = order.index("t")
        for which in (number, 1 - number) if title_ends_first else (1 - number, number):
            self.finish(which, "title" if which == number else "a1")
        self.assertEqual([True, True], [run.outcome is not None for run in begun])

    def test_the_users_words_are_the_conversation(self) -> None:
        for title, manner in ((self.TASK, STREAMED), (self.TASK, Manner()), ("a title, please", STREAMED)):
            for order in ("tu", "ut"):
                for title_ends_first in (True, False):
                    with self.subTest(title=title, manner=manner, order=order, title_ends_first=title_ends_first):
                        self.doCleanups()
                        self.setUp()
                        self.run_both(title, order, title_ends_first=title_ends_first, manner=manner)
                        self.assertEqual(["u1", "a1"], self.texts(KEY))
                        transcript = self.successResultOf(self.store.inner.transcript(KEY))
                        (root,) = transcript.detached
                        (detached,) = [entry for entry in transcript.entries if entry.id == root]
                        self.assertEqual(title, detached.message.text)
                        self.chat("u1", assistant("a1"), "u2", answer="a2", manner=manner)
                        self.assertEqual(["u1", "a1", "u2", "a2"], self.texts(KEY))

    def test_nor_once_the_store_is_read_anew(self) -> None:
        self.chat("a title, please")
        self.bench.runs.forget_session(KEY)
        self.chat("u1", manner=STREAMED)
        self.bench.runs.forget_session(KEY)
        self.finish(1, "a1")
        self.bench.runs.forget_session(KEY)
        self.finish(0, "title")
        self.bench.runs.forget_session(KEY)
        self.assertEqual(["u1", "a1"], self.texts(KEY))
        self.chat("u1", assistant("a1"), "u2", answer="a2", manner=STREAMED)
        self.assertEqual(["u1", "a1", "u2", "a2"], self.texts(KEY))

    def test_while_both_are_stored(self) -> None:
        self.store.holds = {"begin_run"}
        self.chat(self.TASK)
        self.chat("u1", manner=STREAMED)
        self.assertEqual(2, len(self.store.held))
        while self.store.held:
            self.store.release()
        self.finish(1, "a1")
        self.finish(0, "title")
        self.assertEqual(["u1", "a1"], self.texts(KEY))

    def test_what_gives_way_ends_while_its_successor_is_stored(self) -> None:
        self.chat("a title, please")
        self.store.holds = {"begin_run"}
        self.chat("u1", manner=STREAMED)
        self.finish(0, "title")
        while self.store.held:
            self.store.release()
        self.assertEqual(["u1"], self.texts(KEY))
        self.finish(1, "a1")
        self.assertEqual(["u1", "a1"], self.texts(KEY))
        self.assertEqual(1, len(self.successResultOf(self.store.inner.transcript(KEY)).detached))
        self.assertEqual({}, self.bench.runs._turns._roots)

    def test_what_would_take_its_place_cannot_be_stored(self) -> None:
        self.chat("a question")
        self.store.failures["begin_run"] = [StoreError("the disk is full")]
        self.chat("u1", manner=STREAMED)
        self.finish(0, "an answer")
        self.assertEqual(["a question", "an answer"], self.texts(KEY))

    def test_thrown_away_while_it_is_stored(self) -> None:
        store = HeldStore("begin_run")
        bench = Bench(store)
        for number in range(4):
            bench.start(f"{number}", selection=CHAT, manner=STREAMED)
        del bench
        gc.collect()
        self.assertEqual(["begin_run"], [call.name for call in store.held])
        # Nobody is woken by it.
        store.held.clear()
        gc.collect()
        self.assertEqual([], store.held)
        self.assertEqual([], self.flushLoggedErrors())

    def test_the_next_turn_waits_for_the_first_alone(self) -> None:
        self.chat(self.TASK)
        self.chat("u1", manner=STREAMED)
        second = self.chat("u1", assistant("a"), "u2", manner=STREAMED)
        self.assertEqual((2, 1), (len(self.provider.streams), self.bench.runs.waiting))
        self.bench.clock.advance(3)
        self.finish(1, "a1")
        self.finish(2, "a2")
        assert second.outcome is not None and second.run is not None
        timings = second.run.timings
        # That is told as waiting, and not as work.
        self.assertEqual((3, 0), (timings.let_in - timings.admitted, timings.placed - timings.let_in))
        self.finish(0, "title")
        self.assertEqual(["u1", "a1", "u2", "a2"], self.texts(KEY))

    def test_what_extends_a_detached_root_waits_for_it(self) -> None:
        self.chat("u1", answer="a1", manner=STREAMED)
        self.chat("edited", manner=STREAMED)
        second = self.chat("edited", assistant("b"), "u2", manner=STREAMED)
        self.assertEqual((2, 1), (len(self.provider.streams), self.bench.runs.waiting))
        self.finish(1, "b1")
        self.finish(2, "b2")
        self.assertIsNotNone(second.outcome)
        self.assertEqual(["edited", "b1", "u2", "b2"], self.texts(KEY))

    def test_what_waits_for_a_root_can_be_cancelled(self) -> None:
        self.chat("u1", manner=STREAMED)
        second = self.chat("u1", assistant("a"), "u2", manner=STREAMED)
        second.starting.cancel()
        self.assertIsInstance(second.error, CancelledError)
        self.finish(0, "a1")

    def test_what_a_user_said_is_kept(self) -> None:
        self.chat("u1", answer="a1", manner=STREAMED)
        self.chat("edited", answer="b1", manner=STREAMED)
        self.chat("a title, please", answer="title")
        self.bench.clock.advance(DETACHED_KEPT_MS / 1000 + 1)
        pruned = self.successResultOf(self.store.inner.prune_detached(self.now_ms() - DETACHED_KEPT_MS, 10))
        self.assertEqual(1, pruned)
        self.bench.runs.forget_session(KEY)
        self.chat("edited", assistant("b1"), "u2", answer="b2", manner=STREAMED)
        self.assertEqual(["edited", "b1", "u2", "b2"], self.texts(KEY))


class SideCallTests(ChatTestCase):
    """A request that has nothing to do with what was said in its session."""

    def test_does_not_wait_for_the_chat(self) -> None:
        self.chat("u1")
        title = self.chat(TITLE)
        self.assertEqual((2, 0), (len(self.provider.streams), self.bench.runs.waiting))
        self.finish(1, "title")
        assert title.outcome is not None and title.outcome.text == "title"
        self.finish(0, "a1")
        self.assertEqual(["u1", "a1"], self.texts(KEY))

    def test_the_chat_does_not_wait_for_it(self) -> None:
        self.chat("u1", answer="a1")
        self.chat(TITLE)
        turn = self.chat("u1", assistant("a1"), "u2", answer="a2")
        assert turn.outcome is not None and turn.outcome.text == "a2"
        self.finish(1, "title")
        self.assertEqual(["u1", "a1", "u2", "a2"], self.texts(KEY))

    def test_not_even_while_it_is_stored(self) -> None:
        self.chat("u1", answer="a1")
        self.store.holds = {"begin_run"}
        title = self.chat(TITLE, answer="title")
        turn = self.chat("u1", assistant("a1"), "u2", answer="a2")
        self.assertEqual((0, 2), (self.bench.runs.waiting, len(self.store.held)))
        while self.store.held:
            self.store.release()
        self.assertEqual([True, True], [run.outcome is not None for run in (title, turn)])

    def test_uses_its_session_while_it_is_stored(self) -> None:
        self.chat("u1", answer="a1")
        self.store.holds = {"begin_run"}
        title = self.chat(TITLE, answer="title")
        self.assertEqual({KEY}, self.bench.runs.busy_sessions())
        self.store.release()
        self.assertIsNotNone(title.outcome)
        self.assertEqual(frozenset(), self.bench.runs.busy_sessions())

    def test_waits_for_a_slot(self) -> None:
        self.bench.config = config_with(max_concurrent=1, max_queued=1)
        self.chat("u1")
        title = self.chat(TITLE)
        self.assertEqual(1, self.bench.runs.waiting)
        self.assertIsInstance(self.chat(TITLE).error, Overloaded)
        self.finish(0, "a1")
        self.assertIsNotNone(title.run)
        self.finish(1, "title")

    def test_the_first_request_of_a_session_is_its_beginning(self) -> None:
        self.store.holds = {"begin_run"}
        self.chat("u1", answer="a1")
        # At this moment nothing tells which of the two begins the conversation.
        title = self.chat(TITLE, answer="title")
        self.assertEqual(1, len(self.store.held))
        self.store.holds.clear()
        self.store.release()
        self.assertIsNotNone(title.outcome)
        self.assertEqual("u1", self.texts(KEY)[0])

    def test_stays_detached_when_it_is_asked_again(self) -> None:
        self.chat("u1", answer="a1")
        self.chat(TITLE, answer="title")
        self.chat("u1", assistant("a1"), "u2")
        again = self.chat(TITLE, answer="another")
        self.assertIsNotNone(again.outcome)
        transcript = self.successResultOf(self.store.inner.transcript(KEY))
        texts = [entry.message.text for entry in transcript.entries]
        self.assertEqual(["u1", "a1", TITLE, "title", "u2", "another"], texts)
        self.assertEqual(transcript.entries[2].id, transcript.entries[5].parent_id)
        self.assertEqual({transcript.entries[2].id}, transcript.detached)
        self.finish(2, "a2")
        self.assertEqual(["u1", "a1", "u2", "a2"], self.texts(KEY))

    def test_cancelled(self) -> None:
        self.chat("u1", answer="a1")
        title = self.chat(TITLE)
        assert title.run is not None
        title.run.cancel()
        self.tick()
        self.assertEqual(["u1", "a1"], self.texts(KEY))
        self.chat("u1", assistant("a1"), "u2", answer="a2")
        self.assertEqual(["u1", "a1", "u2", "a2"], self.texts(KEY))


class LookingTests(ChatTestCase):
    """The lane is taken while the transcript is not at hand."""

    def setUp(self) -> None:
        super().setUp()
        self.chat("u1", answer="a1")
        self.chat("u1", assistant("a1"), "u2")
        self.bench.runs.forget_session(KEY)
        self.store.holds = {"transcript"}

    def test_a_title_steps_out_of_the_lane(self) -> None:
        title = self.chat(TITLE)
        self.assertEqual(1, self.bench.runs.waiting)
        self.store.release()
        self.assertEqual((0, 3), (self.bench.runs.waiting, len(self.provider.streams)))
        self.assertIsNotNone(title.run)
        self.finish(2, "title")
        self.finish(1, "a2")

    def test_a_turn_stays_where_it_is(self) -> None:
        turns = [self.chat("u1", assistant("a1"), "u2", assistant("a2"), f"u{number}") for number in (3, 4)]
        self.assertEqual(1, len(self.store.held))
        self.store.release()
        self.assertEqual(2, self.bench.runs.waiting)
        self.finish(1, "a2")
        self.assertIsNotNone(turns[0].run)
        self.assertIsNone(turns[1].run)
        self.finish(2, "a3")
        self.finish(3, "a4")
        self.assertEqual(["u1", "a1", "u2", "a2", "u4", "a4"], self.texts(KEY))

    def test_let_in_before_it_is_read(self) -> None:
        turn = self.chat("u1", assistant("a1"), "u2", assistant("a2"), "u3", answer="a3")
        self.finish(1, "a2")
        self.assertIsNone(turn.run)
        while self.store.held:
            self.store.release()
        self.assertIsNotNone(turn.outcome)
        self.assertEqual(["u1", "a1", "u2", "a2", "u3", "a3"], self.texts(KEY))

    def test_cancelled_while_looking(self) -> None:
        title = self.chat(TITLE)
        title.starting.cancel()
        self.assertIsInstance(title.error, CancelledError)
        self.store.release()
        self.assertEqual((0, 2), (self.bench.runs.waiting, len(self.provider.streams)))
        self.finish(1, "a2")

    def test_what_cannot_be_read(self) -> None:
        self.store.failures["transcript"] = [StoreError("gone"), StoreError("gone still")]
        turn = self.chat(TITLE)
        self.store.release()
        self.assertEqual(1, self.bench.runs.waiting)
        self.finish(1, "a2")
        self.store.release()
        assert isinstance(turn.error, StoreError)
        self.assertEqual("gone still", turn.error.message)

    def test_a_bug_while_looking(self) -> None:
        self.store.failures["transcript"] = [ZeroDivisionError("a bug")]
        turn = self.chat(TITLE, answer="title")
        self.store.release()
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        self.store.holds.clear()
        self.finish(1, "a2")
        self.assertIsNotNone(turn.outcome)


class ChangedSessionTests(ChatTestCase):
    """What was found out before a run was let in does not hold any more."""

    def setUp(self) -> None:
        super().setUp()
        self.bench.config = config_with(max_concurrent=1)
        self.chat("u1", answer="a1")

    def test_a_side_call_that_is_none_any_more(self) -> None:
        self.chat("u1", assistant("a1"), "u2")
        waiting = self.chat("other", assistant("answer"), "u3")
        last = self.chat("u1", assistant("a1"), "u2", assistant("a2"), "u4")
        self.write(Entry("x1", None, "foreign", user("other"), self.now_ms()), detached=True)
        self.write(Entry("x2", "x1", "foreign", assistant("answer"), 0, "stop"), detached=True)
        self.bench.runs.forget_session(KEY)
        self.finish(1, "a2")
        # It has to wait for the lane now, behind the one that was there before.
        self.assertEqual((1, None), (self.bench.runs.waiting, waiting.run))
        self.finish(2, "a4")
        self.finish(3, "a3")
        self.assertIsNotNone(last.outcome)
        self.assertEqual(["other", "answer", "u3", "a3"], self.texts(KEY))
        self.assertEqual(frozenset(), self.successResultOf(self.store.inner.transcript(KEY)).detached)

    def test_cancelled_while_it_waits_for_the_other_lane(self) -> None:
        self.chat("u1", assistant("a1"), "u2")
        waiting = self.chat("other", assistant("answer"), "u3")
        self.chat("u1", assistant("a1"), "u2", assistant("a2"), "u4")
        self.write(Entry("x1", None, "foreign", user("other"), self.now_ms()), detached=True)
        self.bench.runs.forget_session(KEY)
        self.finish(1, "a2")
        waiting.starting.cancel()
        self.assertIsInstance(waiting.error, CancelledError)
        self.assertEqual(0, self.bench.runs.waiting)
        self.finish(2, "a4")


class RetryTests(ChatTestCase):
    def test_the_turn_is_answered_and_not_stored_again(self) -> None:
        first = self.bench.start("u1", key="k")
        assert first.run is not None
        first.run.cancel()
        self.tick()
        self.provider.enqueue_text("a1")
        self.bench.start("u1", key="k", retry_of=first.run.id)
        self.assertEqual([user("u1")], list(self.provider.requests[-1].messages[1:]))
        self.assertEqual(["u1", "a1"], self.texts())
        self.provider.enqueue_text("a2")
        self.bench.start("u1", key="k", retry_of="unknown")
        self.assertEqual(["u1", "a1", "u1", "a2"], self.texts())

    def test_an_answer_stays_current_if_nothing_comes_of_another_one(self) -> None:
        self.chat("u1", answer="a1")
        self.chat("u1", assistant("a1"), "u2", answer="a2")
        for sent in (("u1",), ("u1", assistant("a1"), "u2"), ("u1", assistant("a1"), "edited")):
            self.provider.enqueue(ProviderRejected("no", status=400))
            self.chat(*sent).failed()
            stopped = self.chat(*sent)
            # Nor is it while it may still come to nothing, as a process that is killed leaves it.
            self.assertEqual(["u1", "a1", "u2", "a2"], self.texts(KEY))
            assert stopped.run is not None
            stopped.run.cancel()
            self.tick()
            self.assertEqual(["u1", "a1", "u2", "a2"], self.texts(KEY))
        self.bench.runs.forget_session(KEY)
        self.bench.start("u3", key=KEY)
        self.assertEqual(
            [user("u1"), assistant("a1"), user("u2"), assistant("a2"), user("u3")],
            list(self.provider.requests[-1].messages[1:]),
        )
        self.finish(-1, "a3")
        # What it does come to is another answer, if only half of one.
        half = self.chat("u1")
        self.provider.streams[-1].push(TextDelta("hal"))
        assert half.run is not None
        half.run.cancel()
        self.tick()
        self.assertEqual(["u1", "hal"], self.texts(KEY))
        again = self.chat("u1")
        assert again.run is not None
        again.run.cancel()
        self.tick()
        self.assertEqual(["u1", "hal"], self.texts(KEY))

    def fail_to_answer_again(self, sent: Sequence[str | Message]) -> str:
        """After two turns ask for another answer, which fails; gives the id of its run."""
        self.chat("u1", answer="a1")
        self.chat("u1", assistant("a1"), "u2", answer="a2")
        self.provider.enqueue(ProviderRejected("no", status=400))
        failed = self.chat(*sent)
        failed.failed()
        assert failed.run is not None
        return failed.run.id

    def test_another_answer_that_is_asked_for_again_is_current(self) -> None:
        for sent in (("u1",), ("u1", assistant("a1"), "edited")):
            self.setUp()
            failed_run = self.fail_to_answer_again(sent)
            # A title does not count as what was said meanwhile.
            self.chat(TITLE, answer="title")
            self.chat(*sent, answer="new", retry_of=failed_run)
            self.assertEqual([*(m if isinstance(m, str) else m.text for m in sent), "new"], self.texts(KEY))

    def test_another_answer_that_comes_late(self) -> None:
        for sent in (("u1",), ("u1", assistant("a1"), "edited")):
            self.setUp()
            failed_run = self.fail_to_answer_again(sent)
            self.provider.enqueue_text("a3")
            self.bench.start("u3", key=KEY)
            self.chat(*sent, answer="late", retry_of=failed_run)
            self.assertEqual(["u1", "a1", "u2", "a2", "u3", "a3"], self.texts(KEY))

    def test_a_detached_root_is_extended_by_a_turn_that_is_answered_later(self) -> None:
        self.chat("u1", answer="a1")
        self.chat("edited", answer="b1")
        sent = ("edited", assistant("b1"), "b2")
        self.provider.enqueue(ProviderRejected("no", status=400))
        self.chat(*sent).failed()
        self.assertEqual(["u1", "a1"], self.texts(KEY))
        self.chat("edited", answer="beside")
        self.assertEqual(["u1", "a1"], self.texts(KEY))
        self.chat(*sent, answer="b3")
        self.assertEqual(["edited", "b1", "b2", "b3"], self.texts(KEY))
        self.assertEqual(frozenset(), self.successResultOf(self.store.inner.transcript(KEY)).detached)

    def test_prefixes_stay_the_same(self) -> None:
        """What one turn has asked the next one begins with, whatever happened between them."""
        asked: list[list[Message]] = []
        for number in range(6):
            run = self.bench.start(f"u{number}", key="k")
            asked.append(list(self.provider.requests[-1].messages))
            if number % 3 == 2:
                assert run.run is not None
                run.run.cancel()
                self.tick()
            else:
                self.answer(run, f"a{number}")
        for before, after in pairwise(asked):
            self.assertEqual(before, after[: len(before)])


class EndTests(ChatTestCase):
    def test_an_answer_of_which_it_is_not_known_whether_it_is_stored(self) -> None:
        self.store.holds = {"end_run"}
        late = self.chat("u1", answer="a1")
        self.bench.clock.advance(STORE_TIMEOUT_S)
        self.assertEqual("store_timeout", late.failed().code)
        self.store.holds.clear()
        self.store.release()
        self.chat("u1", assistant("a1"), "u2", answer="a2")
        self.assertEqual(["u1", "a1", "u2", "a2"], self.texts(KEY))

    def test_an_answer_that_could_not_be_stored(self) -> None:
        self.store.failures["end_run"] = [StoreError("the disk is full")]
        self.chat("u1", answer="a1")
        self.chat("u1", assistant("a1"), "u2", answer="a2")
        # The client has it, so it is not lost.
        self.assertEqual(["u1", "a1", "u2", "a2"], self.texts(KEY))
        self.assertEqual(2, self.store.calls.count("transcript"))


class SlotTests(ChatTestCase):
    def test_eight_failing_providers_do_not_delay_a_ninth_session(self) -> None:
        self.bench.config = config_with(max_concurrent=8)
        failing = [self.bench.start("u", key=f"s{number}") for number in range(8)]
        ninth = self.bench.start("u", key="ninth")
        second = self.bench.start("u again", key="s0")
        self.assertEqual(2, self.bench.runs.waiting)
        for stream in list(self.provider.streams):
            stream.fail(ProviderOverloaded("busy"))
        self.assertEqual((9, 1), (len(self.provider.streams), self.bench.runs.waiting))
        self.finish(8, "answer")
        self.assertIsNotNone(ninth.outcome)
        # The session lane was kept: what came later is not answered before.
        self.assertIsNone(second.run)
        self.bench.clock.advance(0.25)
        for number in range(9, 17):
            self.finish(number, "late")
        self.assertTrue(all(run.outcome is not None and run.outcome.text == "late" for run in failing))
        self.finish(17, "last")
        self.assertEqual(["u", "late", "u again", "last"], self.texts("agent:main:s0"))
