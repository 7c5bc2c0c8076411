"""Tests of L{openclaw.agents.run}."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from openclaw.agents.resolve import Target
from openclaw.agents.run import Run, RunEvents
from openclaw.errors import OpenClawError, RunCancelled
from openclaw.events import RunEvent, RunFinished, RunInfo, RunOutcome, TextDelta, Timings
from openclaw.ids import SessionKey
from openclaw.messages import Usage
from test.fakes import EventReader, next_batch

END = (RunFinished("stop", Usage()),)


def batch(number: int) -> Sequence[RunEvent]:
    return (TextDelta(str(number)),)


class RunEventsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.events = RunEvents()

    def put(self, number: int) -> Deferred[None]:
        return self.events.put(batch(number)) or succeed(None)

    def next(self) -> Deferred[Sequence[RunEvent]]:
        return Deferred.fromCoroutine(next_batch(self.events))

    def test_order_and_end(self) -> None:
        for number in range(2):
            self.events.put(batch(number))
        self.events.end(END)
        reader = EventReader(self.events)
        self.assertEqual([batch(0), batch(1), END], reader.batches)
        self.assertTrue(reader.over)

    def test_reader_that_waits(self) -> None:
        reader = EventReader(self.events)
        self.assertEqual([], reader.batches)
        self.successResultOf(self.put(1))
        self.assertEqual([batch(1)], reader.batches)
        self.assertFalse(reader.over)
        self.events.end(END)
        self.assertEqual([batch(1), END], reader.batches)
        self.assertTrue(reader.over)

    def test_end_without_more_to_read(self) -> None:
        self.events.end(END)
        self.assertEqual(END, self.successResultOf(self.next()))
        for _ in range(2):
            self.failureResultOf(self.next(), StopAsyncIteration)

    def test_writer_waits_while_the_reader_is_behind(self) -> None:
        for number in range(3):
            writing = self.put(number)
            self.assertNoResult(writing)
            self.assertEqual(batch(number), self.successResultOf(self.next()))
            self.successResultOf(writing)

    def test_a_reader_that_keeps_up_never_holds_the_writer(self) -> None:
        reader = EventReader(self.events)
        for number in range(100):
            self.successResultOf(self.put(number))
        self.assertEqual([batch(number) for number in range(100)], reader.batches)

    def test_cancelled_writer_has_handed_over(self) -> None:
        writing = self.put(0)
        writing.cancel()
        self.failureResultOf(writing, CancelledError)
        self.events.end(END)
        reader = EventReader(self.events)
        self.assertEqual([batch(0), END], reader.batches)

    def test_cancelled_reader_loses_nothing(self) -> None:
        reading = self.next()
        reading.cancel()
        self.failureResultOf(reading, CancelledError)
        self.events.put(batch(1))
        self.assertEqual(batch(1), self.successResultOf(self.next()))

    def test_close_releases_the_writer_and_drops_all(self) -> None:
        writing = self.put(0)
        self.events.close()
        self.successResultOf(writing)
        for number in range(10):
            self.successResultOf(self.put(number))
        self.failureResultOf(self.next(), StopAsyncIteration)
        self.events.end(END)
        self.failureResultOf(self.next(), StopAsyncIteration)

    def test_close_ends_an_iteration_that_waits(self) -> None:
        reader = EventReader(self.events)
        self.events.close()
        self.successResultOf(reader.reading)
        self.assertTrue(reader.over)

    def test_reader_closes_from_inside(self) -> None:
        reader = EventReader(self.events, lambda batch: self.events.close())
        self.successResultOf(self.put(1))
        self.successResultOf(self.put(2))
        self.assertEqual([batch(1)], reader.batches)


class EachTests(SynchronousTestCase):
    """A reader that is called with each batch."""

    def setUp(self) -> None:
        self.events = RunEvents()
        self.taken: list[Sequence[RunEvent]] = []
        self.behind: Deferred[None] | None = None
        self.error: Exception | None = None
        self.reading = Deferred.fromCoroutine(self.events.each(self.take))

    def take(self, batch: Sequence[RunEvent]) -> Deferred[None] | None:
        self.taken.append(batch)
        if self.error is not None:
            raise self.error
        return self.behind

    def test_one_that_keeps_up_is_called_at_once(self) -> None:
        for number in range(3):
            self.assertIsNone(self.events.put(batch(number)))
            self.assertEqual(batch(number), self.taken[-1])
        self.events.end(END)
        self.successResultOf(self.reading)
        self.assertEqual([batch(0), batch(1), batch(2), END], self.taken)

    def test_what_was_there_before(self) -> None:
        events = RunEvents()
        waiting = events.put(batch(0))
        assert waiting is not None
        events.end(END)
        self.successResultOf(Deferred.fromCoroutine(events.each(self.take)))
        self.successResultOf(waiting)
        self.assertEqual([batch(0), END], self.taken)

    def test_slow(self) -> None:
        self.behind = Deferred()
        self.assertIsNone(self.events.put(batch(0)))
        waiting = self.events.put(batch(1))
        assert waiting is not None
        self.assertEqual([batch(0)], self.taken)
        behind, self.behind = self.behind, None
        behind.callback(None)
        self.successResultOf(waiting)
        # And from then on at once again.
        self.assertIsNone(self.events.put(batch(2)))
        self.assertEqual([batch(0), batch(1), batch(2)], self.taken)

    def test_slow_at_the_end(self) -> None:
        self.behind = Deferred()
        self.events.end(END)
        self.assertNoResult(self.reading)
        self.behind.callback(None)
        self.successResultOf(self.reading)

    def test_slow_with_what_was_there_before(self) -> None:
        events = RunEvents()
        events.put(batch(0))
        self.behind = Deferred()
        reading = Deferred.fromCoroutine(events.each(self.take))
        self.assertIsNotNone(events.put(batch(1)))
        self.assertEqual([batch(0)], self.taken)
        reading.cancel()
        self.failureResultOf(reading, CancelledError)

    def test_what_it_raises_is_its_own(self) -> None:
        self.error = ValueError("a bug")
        self.assertIsNone(self.events.put(batch(0)))
        self.failureResultOf(self.reading, ValueError)
        waiting = self.events.put(batch(1))
        assert waiting is not None
        self.events.close()
        self.successResultOf(waiting)
        self.events.end(END)
        self.assertEqual([batch(0)], self.taken)

    def test_gives_up(self) -> None:
        self.reading.cancel()
        self.failureResultOf(self.reading, CancelledError)
        self.assertIsNotNone(self.events.put(batch(0)))
        self.events.close()
        self.assertEqual([], self.taken)

    def test_closed(self) -> None:
        self.events.close()
        self.successResultOf(self.reading)
        self.assertIsNone(self.events.put(batch(0)))

    def test_closes_from_inside(self) -> None:
        events = RunEvents()

        def take(_: object) -> Deferred[None]:
            events.close()
            return Deferred()

        reading = Deferred.fromCoroutine(events.each(take))
        self.assertIsNone(events.put(batch(0)))
        self.successResultOf(reading)
        events.end(END)

    def test_raises_after_closing_from_inside(self) -> None:
        events = RunEvents()

        def take(_: object) -> None:
            events.close()
            raise ValueError("a bug")

        reading = Deferred.fromCoroutine(events.each(take))
        self.assertIsNone(events.put(batch(0)))
        self.successResultOf(reading)


class RunTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.stops: list[OpenClawError] = []
        target = Target("main", SessionKey("main", "x"), "key", "p/m")
        info = RunInfo("r1", "r1", "main", str(target.session_key), "p/m", "webchat")
        self.run_ = Run(info, target, Timings(0.0), RunEvents(), self.stops.append)
        self.outcome = RunOutcome("text", "stop", Usage())

    def test_cancel(self) -> None:
        self.run_.cancel()
        (error,) = self.stops
        self.assertIsInstance(error, RunCancelled)

    def test_done(self) -> None:
        before = [self.run_.done, self.run_.done]
        self.assertNoResult(before[0])
        self.run_.conclude(self.outcome)
        for done in (*before, self.run_.done):
            self.assertEqual(self.outcome, self.successResultOf(done))

    def test_who_stops_waiting_disturbs_nobody(self) -> None:
        first, second = self.run_.done, self.run_.done
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.run_.conclude(self.outcome)
        self.assertEqual(self.outcome, self.successResultOf(second))
