"""Tests of L{openclaw.sharing.log}."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from openclaw.events import ReasoningDelta, RunEvent, RunFinished, TextDelta, ToolCallDelta
from openclaw.messages import Usage
from openclaw.sharing.log import EVENT_COST, MERGED_COST, EventLog, LogReader, event_cost, merged

END = RunFinished("stop", Usage(1, 2))


class Taker:
    """Takes batches one by one, when a test says so."""

    def __init__(self, reader: LogReader) -> None:
        self.reader = reader
        self.events: list[RunEvent] = []
        self.batches = 0
        self.over = False
        self.waiting: Deferred[None] | None = None

    def take(self) -> None:
        """Take the next batch, as soon as there is one."""
        assert self.waiting is None
        taking = Deferred.fromCoroutine(self._take())
        self.waiting = None if taking.called else taking

    async def _take(self) -> None:
        try:
            batch = await self.reader.__anext__()
        except StopAsyncIteration:
            self.over = True
        else:
            self.batches += 1
            self.events += batch
        self.waiting = None

    def take_all(self) -> None:
        """Take what there is, and wait for more."""
        while self.waiting is None and not self.over:
            self.take()

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, TextDelta))


class LogTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.costs: list[int] = []
        self.log = EventLog(lambda: self.costs.append(self.log.cost), max_cost=10 * (EVENT_COST + 10))

    def reader(self) -> Taker:
        return Taker(self.log.read())

    def append(self, *texts: str) -> None:
        for text in texts:
            self.log.append([TextDelta(text)])

    def has_room(self) -> bool:
        waiting = self.log.room() or succeed(None)
        if waiting.called:
            return True
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        return False

    def test_one_reader(self) -> None:
        reader = self.reader()
        reader.take_all()
        self.append("a", "b")
        self.assertEqual(reader.text, "a")
        reader.take_all()
        self.log.end([END])
        reader.take_all()
        self.assertEqual(reader.events, [TextDelta("a"), TextDelta("b"), END])
        self.assertTrue(reader.over)

    def test_late_reader_gets_all_in_fewer_batches(self) -> None:
        early = self.reader()
        for number in range(20):
            early.take_all()
            self.append(str(number % 10))
        late = self.reader()
        early.take_all()
        late.take_all()
        self.log.end([END])
        for reader in (early, late):
            reader.take_all()
            self.assertEqual(reader.text, "01234567890123456789")
            self.assertEqual(reader.events[-1], END)
        self.assertEqual(early.batches, 21)
        self.assertLess(late.batches, 8)

    def test_reader_in_the_midst_is_not_disturbed_by_merging(self) -> None:
        readers = []
        text = ""
        log = self.log = EventLog(lambda: None)
        for number in range(60):
            if number % 7 == 0:
                readers.append(self.reader())
            for pace, reader in enumerate(readers):
                if number % (pace + 1) == 0 and reader.waiting is None:
                    reader.take()
            self.append(f"<{number}>")
            text += f"<{number}>"
        log.end([END])
        for reader in readers:
            reader.take_all()
            self.assertEqual((reader.text, reader.events[-1], reader.over), (text, END, True))

    def test_ended(self) -> None:
        self.append("a")
        self.log.end([END])
        for _ in range(2):
            reader = self.reader()
            reader.take_all()
            self.assertEqual((reader.events, reader.over), ([TextDelta("a"), END], True))

    def test_merged_batches_are_bounded(self) -> None:
        log = EventLog(lambda: None)
        for _ in range(100):
            log.append([TextDelta("x" * 1000)])
        log.end([END])
        reader, costs = log.read(), []
        while log.after(reader.position) is not None:
            costs.append(sum(map(event_cost, self.successResultOf(Deferred.fromCoroutine(reader.__anext__())))))
        self.assertLessEqual(max(costs), MERGED_COST)
        self.assertLess(len(costs), 20)
        self.assertEqual(log.cost, sum(costs))

    def test_room_without_readers(self) -> None:
        self.append("a")
        self.assertTrue(self.has_room())

    def test_pace_is_that_of_the_reader_ahead(self) -> None:
        fast, slow = self.reader(), self.reader()
        self.append("a")
        self.assertFalse(self.has_room())
        fast.take()
        self.assertFalse(self.has_room())
        fast.take()
        self.assertTrue(self.has_room())
        self.assertEqual(slow.batches, 0)

    def test_writer_is_woken(self) -> None:
        for wake in ("take", "leave"):
            reader = self.reader()
            self.append("a")
            waiting = self.log.room() or succeed(None)
            self.assertNoResult(waiting)
            if wake == "take":
                reader.take_all()
            else:
                reader.reader.leave()
            self.successResultOf(waiting)
            reader.reader.leave()
            if wake == "take":
                self.assertTrue(reader.over)
            reader.take_all()
            self.assertTrue(reader.over)

    def test_waiting_reader_is_no_more(self) -> None:
        reader = self.reader()
        reader.take()
        assert reader.waiting is not None
        reader.waiting.cancel()
        self.failureResultOf(reader.waiting, CancelledError)
        self.append("a")
        self.assertFalse(self.has_room())

    def test_full_without_readers(self) -> None:
        for _ in range(40):
            self.append("x" * 100)
        self.assertFalse(self.log.is_whole)
        self.assertEqual((self.log.cost, list(self.log.events())), (0, []))

    def test_full_is_fed_at_the_pace_of_the_reader_behind(self) -> None:
        fast, slow = self.reader(), self.reader()
        slow.take()
        sent = 0
        while sent < 100:
            fast.take_all()
            if not self.has_room():
                break
            self.append("x" * 100)
            sent += 1
        self.assertLess(sent, 20)
        # The slow one has taken one batch only; what it has yet to take is all still there.
        waiting = self.log.room() or succeed(None)
        self.assertNoResult(waiting)
        slow.take_all()
        self.successResultOf(waiting)
        self.assertEqual(slow.text, fast.text)
        self.assertFalse(self.log.is_whole)
        self.append("end")
        self.log.end([END])
        for reader in (fast, slow):
            reader.take_all()
            self.assertEqual((len(reader.text), reader.over), (100 * sent + 3, True))

    def test_reader_that_has_not_begun_keeps_a_full_log_whole(self) -> None:
        fast, late = self.reader(), self.reader()
        while True:
            fast.take_all()
            if not self.has_room():
                break
            self.append("x" * 100)
        self.assertTrue(self.log.is_whole)
        late.take_all()
        self.assertEqual(late.text, fast.text)
        self.assertFalse(self.log.is_whole)
        self.assertTrue(self.has_room())

    def test_reader_that_leaves_lets_a_full_log_go(self) -> None:
        fast, late = self.reader(), self.reader()
        while self.log.cost <= 10 * (EVENT_COST + 10):
            fast.take_all()
            self.append("x" * 100)
        fast.take_all()
        self.assertFalse(self.has_room())
        late.reader.leave()
        late.reader.leave()
        self.assertTrue(self.has_room())
        self.assertEqual((self.log.cost, self.costs[-1]), (0, 0))

    def test_forget(self) -> None:
        reader = self.reader()
        self.append("a", "b")
        reader.take()
        self.log.forget()
        self.assertFalse(self.log.is_whole)
        self.assertEqual(self.costs[-1], self.log.cost)
        self.log.end([END])
        reader.take_all()
        self.assertEqual((reader.text, reader.over), ("ab", True))
        self.assertEqual(self.log.cost, 0)


class EventTests(SynchronousTestCase):
    def test_merged(self) -> None:
        first = [ReasoningDelta("h"), TextDelta("a")]
        second: Sequence[RunEvent] = [
            TextDelta("b"),
            ReasoningDelta("h"),
            ReasoningDelta("m"),
            ToolCallDelta(0, "c0", "f", ""),
            ToolCallDelta(0, None, None, '{"a"'),
            ToolCallDelta(0, None, None, ":1}"),
            ToolCallDelta(1, None, None, "x"),
            ToolCallDelta(1, "c1", None, "y"),
            ToolCallDelta(1, None, "g", "z"),
        ]
        self.assertEqual(
            merged(first, second),
            [
                ReasoningDelta("h"),
                TextDelta("ab"),
                ReasoningDelta("hm"),
                ToolCallDelta(0, "c0", "f", '{"a":1}'),
                ToolCallDelta(1, None, None, "x"),
                ToolCallDelta(1, "c1", None, "y"),
                ToolCallDelta(1, None, "g", "z"),
            ],
        )
        self.assertEqual(first, [ReasoningDelta("h"), TextDelta("a")])

    def test_costs(self) -> None:
        for event, cost in (
            (TextDelta("abc"), 3),
            (ReasoningDelta("ab"), 2),
            (ToolCallDelta(0, "c", "f", "1234"), 4),
            (END, 0),
        ):
            self.assertEqual(event_cost(event), EVENT_COST + cost)
