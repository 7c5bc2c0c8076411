"""Tests of L{openclaw.providers.scripted}."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from openclaw.errors import ProviderFailed
from openclaw.events import ProviderFinished, TextDelta
from openclaw.models import ModelProvider
from openclaw.providers.scripted import ScriptedProvider, ScriptedStream
from test.providers.http_fakes import REQUEST

A, B, END = TextDelta("a"), TextDelta("b"), ProviderFinished("stop")


class ScriptedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.provider = ScriptedProvider()
        self.batches: list[Any] = []

    async def consume(self, provider: ModelProvider) -> None:
        async with provider.stream(REQUEST) as stream:
            async for batch in stream:
                self.batches.append(list(batch))

    def call(self) -> tuple[Deferred[None], ScriptedStream]:
        done = Deferred.fromCoroutine(self.consume(self.provider))
        return done, self.provider.streams[-1]

    def test_fed_by_hand(self) -> None:
        """Batches arrive as they are pushed, and the end ends it."""
        done, stream = self.call()
        self.assertEqual([REQUEST], self.provider.requests)
        self.assertIs(REQUEST, stream.request)
        self.assertTrue(stream.entered and stream.waiting)
        stream.push(A, B)
        self.assertEqual([[A, B]], self.batches)
        stream.push(END)
        self.assertNoResult(done)
        stream.end()
        self.successResultOf(done)
        self.assertEqual((2, True, False, False), (stream.taken, stream.closed, stream.aborted, stream.waiting))

    def test_script(self) -> None:
        """Scripts are given to calls in order; what is left is fed by hand."""
        self.provider.enqueue([A], [END])
        self.provider.enqueue_text("x", "y")
        self.successResultOf(self.call()[0])
        self.successResultOf(self.call()[0])
        self.assertEqual([[A], [END], [TextDelta("x")], [TextDelta("y")], [END]], self.batches)
        self.assertNoResult(self.call()[0])

    def test_script_with_error(self) -> None:
        """A script may end with an error."""
        self.provider.enqueue([A], ProviderFailed("gone"))
        self.failureResultOf(self.call()[0], ProviderFailed)
        self.assertEqual([[A]], self.batches)

    def test_empty_script(self) -> None:
        """A script may be empty."""
        self.provider.enqueue()
        self.successResultOf(self.call()[0])

    def test_failing_head(self) -> None:
        """An error before any batch fails the entering."""
        self.provider.enqueue(ProviderFailed("refused"))
        stream = self.provider.stream(REQUEST)
        self.failureResultOf(Deferred.fromCoroutine(stream.__aenter__()), ProviderFailed)
        self.failureResultOf(Deferred.fromCoroutine(stream.__anext__()), StopAsyncIteration)

    def test_failure(self) -> None:
        """An error comes after the batches before it."""
        done, stream = self.call()
        stream.push(A)
        stream.fail(ProviderFailed("gone"))
        self.failureResultOf(done, ProviderFailed)
        self.assertEqual([[A]], self.batches)
        self.assertFalse(stream.aborted)

    def test_held_head(self) -> None:
        """A head that is held back keeps the caller from entering."""
        self.provider.hold_head = True
        done, stream = self.call()
        self.assertTrue(stream.entered and stream.waiting)
        stream.push(A)
        self.assertEqual([], self.batches)
        stream.answer_head()
        self.assertEqual([[A]], self.batches)
        stream.end()
        self.successResultOf(done)

    def test_held_head_fails(self) -> None:
        """An error reaches also who waits for the head."""
        self.provider = ScriptedProvider(hold_head=True)
        done, stream = self.call()
        stream.fail(ProviderFailed("refused"))
        self.failureResultOf(done, ProviderFailed)

    def test_cancelled(self) -> None:
        """Cancelling a wait aborts the call, for the head and for a batch."""
        for hold_head in (True, False):
            self.provider.hold_head = hold_head
            done, stream = self.call()
            done.cancel()
            self.failureResultOf(done, CancelledError)
            self.assertTrue(stream.aborted)
            self.assertFalse(stream.waiting)

    def test_closed(self) -> None:
        """Closing from elsewhere fails who waits, for the head and for a batch, as a real call does."""
        for hold_head in (True, False):
            self.provider.hold_head = hold_head
            done, stream = self.call()
            stream.close()
            self.failureResultOf(done, ProviderFailed)
            self.assertTrue(stream.closed and stream.aborted)

    def test_closed_before_entering(self) -> None:
        """A call that was closed cannot be entered."""
        stream = self.provider.stream(REQUEST)
        stream.close()
        self.failureResultOf(Deferred.fromCoroutine(stream.__aenter__()), ProviderFailed)

    def test_slow_caller(self) -> None:
        """What a slow caller has not taken is seen."""
        stream = self.provider.stream(REQUEST)
        self.successResultOf(Deferred.fromCoroutine(stream.__aenter__()))
        stream.push(A)
        stream.push(B)
        stream.end()
        self.assertEqual((0, 2), (stream.taken, stream.pending))
        self.assertEqual((A,), self.successResultOf(Deferred.fromCoroutine(stream.__anext__())))
        self.assertEqual((1, 1), (stream.taken, stream.pending))
        self.successResultOf(Deferred.fromCoroutine(stream.__aexit__(None, None, None)))
        self.assertTrue(stream.aborted)

    def test_misuse(self) -> None:
        """A test that feeds a call after its end, or waits twice, is told."""
        done, stream = self.call()
        self.failureResultOf(Deferred.fromCoroutine(stream.__anext__()), AssertionError)
        stream.end()
        self.successResultOf(done)
        self.assertRaises(AssertionError, stream.push, A)
