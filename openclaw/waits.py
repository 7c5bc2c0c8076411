"""
Waiting: for a value to come, for a while, for no longer than that; and what a wait for the store may take.

Twisted's own functions ask for an C{IReactorTime}, which L{Clock}, the part of it that the gateway uses, is not.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Generic, NoReturn, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, deferLater

from openclaw.errors import StoreError
from openclaw.interfaces import Clock

STORE_TIMEOUT_S = 30.0
"""Longest wait for one answer of the store, in seconds; a sound disk answers in milliseconds."""

SHORT_STORE_TIMEOUT_S = 5.0
"""The same where the answer does not matter to the client, or the gateway stops, in seconds."""

STORE_TIMEOUT = "store_timeout"
"""The C{code} of the error that ends such a wait."""

T = TypeVar("T")
E = TypeVar("E", bound=BaseException)


class Promise(Generic[T]):
    """
    A value to come, or an error, for any number of waiters who may each give up waiting.

    @param abandoned: called when the last one who waited has given up.
    """

    __slots__ = ("_abandoned", "_fired", "_waiters")

    def __init__(self, abandoned: Callable[[], object] | None = None) -> None:
        self._abandoned = abandoned
        self._fired: tuple[T | None, Exception | None] | None = None
        self._waiters: list[Deferred[T]] = []

    def wait(self) -> Deferred[T]:
        """Fires with the value, at once if it is there, or fails with the error; cancelling it stops only this wait."""
        waiter: Deferred[T] = Deferred(self._give_up)
        if self._fired is None:
            self._waiters.append(waiter)
        else:
            _give(waiter, *self._fired)
        return waiter

    def _give_up(self, waiter: Deferred[T]) -> None:
        if waiter in self._waiters:
            self._waiters.remove(waiter)
            if not self._waiters and self._fired is None and self._abandoned is not None:
                self._abandoned()

    @property
    def has_fired(self) -> bool:
        """Whether there is a value or an error."""
        return self._fired is not None

    def fire(self, value: T) -> None:
        """Give the value; only the first value or error counts."""
        self._fire((value, None))

    def fail(self, error: Exception) -> None:
        """Give the error; each who waits has a copy of it, as whoever raises it adds frames."""
        self._fire((None, error))

    def _fire(self, fired: tuple[T | None, Exception | None]) -> None:
        if self._fired is None:
            self._fired = fired
            # One who is woken may make another give up, who has to be found here then.
            while self._waiters:
                _give(self._waiters.pop(0), *fired)


def _give(waiter: Deferred[T], value: T | None, error: Exception | None) -> None:
    if error is not None:
        waiter.errback(another(error))
    else:
        waiter.callback(value)  # type: ignore[arg-type]


def within(
    waited: Deferred[T] | Coroutine[Any, Any, T],
    seconds: float,
    clock: Clock,
    too_late: Callable[[Any, float], Any] | None = None,
) -> Deferred[T]:
    """
    Bound a wait.

    @param waited: is cancelled when the time is over.
    @param too_late: called with the outcome of that and C{seconds}; gives or raises what the wait then ends with.
    @return: C{waited}, as a Deferred; fails with C{twisted.internet.defer.TimeoutError} after C{seconds} if
        C{too_late} is not given.  Cancelling it cancels what is waited for.
    """
    waiting = waited if isinstance(waited, Deferred) else Deferred.fromCoroutine(waited)
    return waiting.addTimeout(seconds, clock, too_late)  # type: ignore[arg-type]


def pause(seconds: float, clock: Clock) -> Deferred[None]:
    """Let C{seconds} pass; with 0, all else that the reactor has to do now.  Cancelling it stops the timer."""
    return deferLater(clock, seconds)  # type: ignore[arg-type]


def looping(call: Callable[[], object], clock: Clock) -> LoopingCall:
    """A repeated call, not started yet; what it returns is waited for before the next one."""
    calls = LoopingCall(call)
    calls.clock = clock  # type: ignore[assignment]
    return calls


def now_ms(clock: Clock) -> int:
    """Milliseconds since 1970."""
    return int(clock.seconds() * 1000)


def without_frames(error: E) -> E:
    """
    Take from an error that is kept what it knows of where it was raised.

    Its traceback holds the frames that hold it, and with them all that these know until the next full collection; so
    do those of the errors that it came of.
    """
    error.__traceback__ = error.__context__ = error.__cause__ = None
    return error


def another(error: E) -> E:
    """A copy of an error, without frames."""
    copied = type(error).__new__(type(error), *error.args)
    copied.__dict__.update(error.__dict__)
    return copied


def in_time(answer: Deferred[T], clock: Clock) -> Deferred[T]:
    """
    Bound the wait for an answer of the store: a disk that stalls must not keep slots and lanes for good.

    The call itself cannot be taken back: it may still take effect later, in its place among the others.

    @param answer: what a method of L{openclaw.stores.SessionStore} returned.
    @return: C{answer}; fails with L{StoreError} of the code L{STORE_TIMEOUT} after L{STORE_TIMEOUT_S}.  Cancelling
        it only stops waiting.
    """
    return answer.addTimeout(STORE_TIMEOUT_S, clock, _too_late)  # type: ignore[arg-type]


def _too_late(result: Any, timeout_s: float) -> NoReturn:
    raise StoreError("the store did not answer in time", code=STORE_TIMEOUT)
