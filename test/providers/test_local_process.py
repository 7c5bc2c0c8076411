"""Tests of L{openclaw.providers.local_process}: the supervision on a clock and processes fed by hand."""

import errno
import json
from pathlib import Path

from automat import NoTransition
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from openclaw.errors import ProviderFailed, StartError
from openclaw.installation import install_command
from openclaw.providers.local_child import NOT_INSTALLED
from openclaw.providers.local_process import (
    ABANDON_AFTER_S,
    HEALTHY_AFTER_S,
    KILL_AFTER_S,
    MAX_DELAY_S,
    MEMORY_CHECK_S,
    MISSING_DELAY_S,
    REQUEST_TIMEOUT_S,
    START_DEADLINE_S,
    STOPPED,
    TERM_AFTER_S,
    LocalModel,
)
from openclaw.providers.local_spawn import BASE_RSS_BYTES, LocalSettings
from test.providers.local_fakes import FakeProcess, FakeReactor

MISSING = "the local model's weights are missing: run openclaw models pull tiny"


class Base(SynchronousTestCase):
    settings = LocalSettings("tiny", threads=2)

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.weights = Path(self.mktemp())
        self.weights.write_bytes(b"GGUF" + b"x" * 96)
        self.located: Deferred[Path] | StartError | Exception | None = None
        self.installed = True
        self.resident: int | None = 100
        self.watched: list[int] = []
        self.model = LocalModel(
            self.reactor,
            self.settings,
            self.locate,
            environ={"PATH": "/bin", "TOKEN": "t"},
            installed=lambda: self.installed,
            resident=self.resident_of,
        )

    def locate(self) -> Deferred[Path]:
        if isinstance(self.located, Deferred):
            return self.located
        return succeed(self.weights) if self.located is None else fail(self.located)

    def resident_of(self, pid: int) -> int | None:
        self.watched.append(pid)
        return self.resident

    @property
    def process(self) -> FakeProcess:
        return self.reactor.processes[-1]

    def serve(self) -> None:
        self.model.start()
        self.process.announce()

    def fail_times(self, count: int) -> None:
        """Start, and let so many children end one after the other."""
        self.model.start()
        for number in range(count):
            self.process.end(1)
            if number < count - 1:
                self.reactor.advance(2.0**number)

    def said_failed(self, waiter: Deferred[object]) -> str:
        return self.failureResultOf(waiter, ProviderFailed).value.message


class StartTests(Base):
    def test_before_the_start(self) -> None:
        self.assertEqual((self.model.state, self.model.pid), ("stopped", None))
        self.assertEqual(self.said_failed(self.model.ready()), STOPPED)

    def test_ready(self) -> None:
        self.model.start()
        self.assertEqual((self.model.state, self.model.pid), ("loading", 1000))
        waiters = [self.model.ready(), self.model.ready()]
        for waiter in waiters:
            self.assertNoResult(waiter)
        self.process.announce("http://127.0.0.1:9")
        sent = json.loads(self.process.written)
        for waiter in [*waiters, self.model.ready()]:
            endpoint = self.successResultOf(waiter)
            self.assertEqual((endpoint.base_url, endpoint.name), ("http://127.0.0.1:9/v1", "local"))
            self.assertEqual(endpoint.api_key, sent["api_key"])
            self.assertEqual((endpoint.first_byte_timeout_s, endpoint.idle_timeout_s), (REQUEST_TIMEOUT_S,) * 2)
        self.assertEqual(sent["path"], str(self.weights))
        self.assertGreaterEqual(len(sent["api_key"]), 40)
        self.assertEqual((self.model.state, len(self.reactor.processes)), ("ready", 1))
        self.assertNotIn("TOKEN", self.process.env)

    def test_each_child_has_its_own_key(self) -> None:
        self.serve()
        self.process.end(None, 9)
        self.reactor.advance(1)
        first, second = (json.loads(process.written)["api_key"] for process in self.reactor.processes)
        self.assertNotEqual(first, second)

    def test_only_once(self) -> None:
        self.model.start()
        self.assertRaises(NoTransition, self.model.start)

    def test_cancelled_wait(self) -> None:
        self.model.start()
        given_up, patient = self.model.ready(), self.model.ready()
        given_up.cancel()
        self.failureResultOf(given_up, CancelledError)
        self.process.announce()
        self.successResultOf(patient)

    def test_one_waiter_cancels_the_other(self) -> None:
        self.model.start()
        first, second = self.model.ready(), self.model.ready()
        first.addCallback(lambda endpoint: second.cancel())
        self.process.announce()
        self.successResultOf(first)
        self.failureResultOf(second, CancelledError)

    def test_announced_twice(self) -> None:
        self.serve()
        self.process.announce("http://127.0.0.1:1")
        self.assertEqual(self.successResultOf(self.model.ready()).base_url, "http://127.0.0.1:7/v1")


class MissingTests(Base):
    def test_weights_appear(self) -> None:
        self.located = StartError(MISSING)
        self.model.start()
        self.assertEqual(self.model.state, f"failed: {MISSING}")
        self.assertEqual(self.said_failed(self.model.ready()), MISSING)
        self.reactor.advance(MISSING_DELAY_S)
        self.assertEqual(self.reactor.processes, [])
        self.located = None
        self.reactor.advance(MISSING_DELAY_S)
        self.assertEqual(self.model.state, "loading")
        waiter = self.model.ready()
        self.process.announce()
        self.successResultOf(waiter)

    def test_not_installed(self) -> None:
        self.installed = False
        self.model.start()
        self.assertEqual(self.said_failed(self.model.ready()), NOT_INSTALLED)
        self.assertIn(install_command("local"), self.model.state)

    def test_waiters_are_told(self) -> None:
        self.located = Deferred()
        self.model.start()
        self.assertEqual(self.model.state, "loading")
        waiter = self.model.ready()
        self.located.errback(StartError(MISSING))
        self.assertEqual(self.said_failed(waiter), MISSING)

    def test_slow_look(self) -> None:
        self.located = Deferred()
        self.model.start()
        waiter = self.model.ready()
        self.located.callback(self.weights)
        self.process.announce()
        self.successResultOf(waiter)

    def test_broken_look(self) -> None:
        self.located = ZeroDivisionError("a bug")
        self.model.start()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIn("cannot be looked for", self.said_failed(self.model.ready()))
        self.located = None
        self.reactor.advance(MISSING_DELAY_S)
        self.assertEqual(self.model.state, "loading")

    def test_stop_while_looking(self) -> None:
        cancelled: list[object] = []
        self.located = Deferred(cancelled.append)
        self.model.start()
        waiter = self.model.ready()
        self.successResultOf(self.model.stop())
        self.assertEqual(cancelled, [self.located])
        self.assertEqual(self.said_failed(waiter), STOPPED)
        self.assertEqual((self.reactor.processes, self.reactor.getDelayedCalls()), ([], []))

    def test_stop_while_failed(self) -> None:
        self.located = StartError(MISSING)
        self.model.start()
        self.successResultOf(self.model.stop())
        self.assertEqual((self.model.state, self.reactor.getDelayedCalls()), ("stopped", []))


class FailureTests(Base):
    def test_killed_child_comes_back(self) -> None:
        self.serve()
        self.process.end(None, 9)
        self.assertEqual((self.model.state, self.model.pid), ("restarting", None))
        waiter = self.model.ready()
        self.reactor.advance(0.99)
        self.assertEqual(len(self.reactor.processes), 1)
        self.reactor.advance(0.01)
        self.process.announce("http://127.0.0.1:8")
        self.assertEqual(self.successResultOf(waiter).base_url, "http://127.0.0.1:8/v1")

    def test_back_off_doubles_then_failed_and_still_tried(self) -> None:
        self.model.start()
        waiter = self.model.ready()
        for delay_s in (1, 2, 4, 8):
            self.process.protocol.outReceived(b'@@ERROR {"message": "no luck: bad"}\n')
            self.process.end(1)
            count = len(self.reactor.processes)
            self.reactor.advance(delay_s - 0.01)
            self.assertEqual(len(self.reactor.processes), count)
            self.reactor.advance(0.01)
            self.assertEqual(len(self.reactor.processes), count + 1)
        self.assertNoResult(waiter)
        self.process.protocol.outReceived(b'@@ERROR {"message": "no luck: bad"}\n')
        self.process.end(1)
        said = "the local model keeps failing: no luck: bad"
        self.assertEqual(self.said_failed(waiter), said)
        for _ in range(3):
            self.assertEqual(self.model.state, f"failed: {said}")
            count = len(self.reactor.processes)
            self.reactor.advance(MAX_DELAY_S)
            self.assertEqual(len(self.reactor.processes), count + 1)
            self.assertEqual(self.said_failed(self.model.ready()), said)
            self.process.protocol.outReceived(b'@@ERROR {"message": "no luck: bad"}\n')
            self.process.end(1)
        self.reactor.advance(MAX_DELAY_S)
        self.process.announce()
        self.assertEqual(self.model.state, "ready")
        self.successResultOf(self.model.ready())

    def test_weights_that_do_not_load(self) -> None:
        self.model.start()
        waiter = self.model.ready()
        self.process.protocol.outReceived(b'@@ERROR {"message": "the model cannot be loaded: check the input"}\n')
        self.process.end(1)
        said = self.said_failed(waiter)
        self.assertIn("name another GGUF file with models.local.path, or run openclaw models pull", said)
        self.assertNotIn("input", said)
        self.reactor.advance(MAX_DELAY_S)
        self.process.announce()
        self.assertEqual(self.model.state, "ready")

    def test_stopped_by_who_is_told_of_the_failure(self) -> None:
        self.model.start()
        stopped: list[Deferred[None]] = []
        self.model.ready().addErrback(lambda _: stopped.append(self.model.stop()))
        self.process.protocol.outReceived(b'@@ERROR {"message": "the model cannot be loaded: x"}\n')
        self.process.end(1)
        self.successResultOf(stopped[0])
        self.assertEqual(self.model.state, "stopped")

    def test_health_clears_the_count(self) -> None:
        self.fail_times(4)
        self.reactor.advance(8)
        self.process.announce()
        self.reactor.advance(HEALTHY_AFTER_S)
        self.process.end(1)
        self.assertEqual(self.model.state, "restarting")
        self.reactor.advance(1)
        self.assertEqual(len(self.reactor.processes), 6)

    def test_short_health_does_not(self) -> None:
        self.fail_times(4)
        self.reactor.advance(8)
        self.process.announce()
        self.reactor.advance(HEALTHY_AFTER_S - 1)
        self.process.end(1)
        self.assertIn("failed", self.model.state)

    def test_does_not_load_in_time(self) -> None:
        self.model.start()
        self.reactor.advance(START_DEADLINE_S - 1)
        self.assertEqual(self.process.signals, [])
        self.reactor.advance(1)
        self.assertEqual(self.process.signals, ["KILL"])
        self.process.announce()
        self.process.protocol.outReceived(b"@@READY {}\n")
        self.assertEqual(self.model.state, "loading")
        self.process.end(None, 9)
        self.assertEqual(self.model.state, "restarting")

    def test_nonsense(self) -> None:
        self.fail_times(4)
        self.reactor.advance(8)
        self.process.protocol.outReceived(b"@@READY nonsense\n")
        self.assertEqual(self.process.signals, ["KILL"])
        self.process.end(None, 9)
        self.assertEqual(
            self.model.state, "failed: the local model keeps failing: it announced itself without an address"
        )

    def test_process_cannot_be_started(self) -> None:
        self.reactor.refuse = OSError(errno.ENOMEM, "Cannot allocate memory")
        self.model.start()
        self.assertEqual(self.model.state, "restarting")
        self.reactor.refuse = None
        self.reactor.advance(1)
        self.process.announce()
        self.assertEqual(self.model.state, "ready")

    def test_stop_while_backing_off(self) -> None:
        self.fail_times(1)
        waiter = self.model.ready()
        self.successResultOf(self.model.stop())
        self.assertEqual(self.said_failed(waiter), STOPPED)
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class MemoryTests(Base):
    def test_within_its_bound(self) -> None:
        self.serve()
        self.resident = BASE_RSS_BYTES + 2 * 100
        self.reactor.pump([MEMORY_CHECK_S] * 3)
        self.resident = None
        self.reactor.advance(MEMORY_CHECK_S)
        self.assertEqual((self.process.signals, self.watched), ([], [1000] * 4))

    def test_outgrown(self) -> None:
        self.serve()
        self.resident = BASE_RSS_BYTES + 2 * 100 + 1
        self.reactor.advance(MEMORY_CHECK_S)
        self.assertEqual((self.process.signals, self.model.state), (["KILL"], "loading"))
        waiter = self.model.ready()
        self.process.end(None, 9)
        self.reactor.advance(1)
        self.process.announce()
        self.successResultOf(waiter)

    def test_no_look_after_the_end(self) -> None:
        self.serve()
        self.process.end(1)
        self.reactor.advance(0.5)
        self.assertEqual(len(self.reactor.getDelayedCalls()), 1)


class OwnMemoryTests(Base):
    settings = LocalSettings("tiny", threads=2, max_rss_bytes=5)

    def test_outgrown(self) -> None:
        self.serve()
        self.resident = 6
        self.reactor.advance(MEMORY_CHECK_S)
        self.assertEqual(self.process.signals, ["KILL"])


class StopTests(Base):
    def test_never_started(self) -> None:
        self.successResultOf(self.model.stop())

    def test_obedient_child(self) -> None:
        self.serve()
        stopped = self.model.stop()
        self.assertNoResult(stopped)
        self.assertFalse(self.process.stdin_open)
        self.assertEqual(self.said_failed(self.model.ready()), STOPPED)
        self.process.end(0)
        self.successResultOf(stopped)
        self.assertEqual((self.model.state, self.model.pid), ("stopped", None))
        self.assertEqual((self.process.signals, self.reactor.getDelayedCalls()), ([], []))

    def test_stubborn_child(self) -> None:
        self.serve()
        stopped = self.model.stop()
        self.reactor.advance(TERM_AFTER_S)
        self.assertEqual(self.process.signals, ["TERM"])
        self.reactor.advance(KILL_AFTER_S - TERM_AFTER_S)
        self.assertEqual(self.process.signals, ["TERM", "KILL"])
        self.assertNoResult(stopped)
        self.process.end(None, 9)
        self.successResultOf(stopped)

    def test_immortal_child(self) -> None:
        self.serve()
        stopped = self.model.stop()
        self.reactor.pump([TERM_AFTER_S, KILL_AFTER_S - TERM_AFTER_S])
        self.reactor.advance(ABANDON_AFTER_S - KILL_AFTER_S - 0.1)
        self.assertNoResult(stopped)
        self.reactor.advance(0.1)
        self.successResultOf(stopped)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        # Nobody waits again for what did not end once.
        self.successResultOf(self.model.stop())
        self.assertRaises(NoTransition, self.model.start)
        self.process.announce()
        self.process.protocol.outReceived(b"@@READY nonsense\n")
        self.process.end(None, 9)
        self.assertEqual((self.model.state, self.model.pid, self.reactor.getDelayedCalls()), ("stopped", None, []))
        self.successResultOf(self.model.stop())
        self.serve()
        self.assertEqual(self.model.state, "ready")

    def test_while_loading(self) -> None:
        self.model.start()
        waiter = self.model.ready()
        first, second = self.model.stop(), self.model.stop()
        self.assertEqual(self.said_failed(waiter), STOPPED)
        self.process.announce()
        self.process.protocol.outReceived(b"@@READY nonsense\n")
        self.assertEqual(self.model.state, "stopped")
        self.process.end(0)
        self.successResultOf(first)
        self.successResultOf(second)
        self.assertEqual(len(self.reactor.processes), 1)

    def test_while_dying(self) -> None:
        self.model.start()
        self.reactor.advance(START_DEADLINE_S)
        stopped = self.model.stop()
        self.process.end(None, 9)
        self.successResultOf(stopped)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_start_again(self) -> None:
        self.serve()
        stopped = self.model.stop()
        self.process.end(0)
        self.successResultOf(stopped)
        self.serve()
        self.assertEqual((self.model.state, len(self.reactor.processes)), ("ready", 2))
