"""Tests of L{openclaw.store.idempotency}."""

from __future__ import annotations

import attrs
import msgspec
from twisted.trial.unittest import SynchronousTestCase

from openclaw.errors import StoreError
from openclaw.messages import Message, ToolCall, Usage
from openclaw.records import Entry, KeptError, KeptResult, KeptRun, KeyClaim, KeyEnd, KeyRecord, KeySurface
from openclaw.store import idempotency
from openclaw.store.inline import InlineStoreThread
from openclaw.store.sqlite import open_memory
from openclaw.store.store import GatewayStore
from openclaw.stores import KEY_KNOWN

from .connections import run_record

DAY_MS = 24 * 3600 * 1000
A, B = b"a" * 32, b"b" * 32
RESULT = KeptResult(
    "r1",
    "agent:main:k",
    17,
    "text é\U0001f600",
    "hm",
    (ToolCall("c1", "f", '{"a":1}'),),
    "tool_calls",
    Usage(1, 2, 3, 4, True),
)


def claim(
    run_id: str = "r1", *, key: str = "k", fingerprint: bytes = A, at_ms: int = 1000, surface: KeySurface = "http"
) -> KeyClaim:
    return KeyClaim("operator", key, fingerprint, run_id, at_ms, surface)


class IdempotencyTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.jobs = InlineStoreThread(open_memory)
        self.jobs.start()
        self.store = GatewayStore(self.jobs)
        self.addCleanup(self.store.close)

    def claim(self, run_id: str = "r1", **parts: object) -> KeyRecord | None:
        return self.successResultOf(self.store.claim_key(claim(run_id, **parts)))  # type: ignore[arg-type]

    def finish(self, result: KeptResult | None = RESULT, run_id: str = "r1", **parts: object) -> None:
        held = claim(run_id, **parts)  # type: ignore[arg-type]
        self.assertIsNone(self.successResultOf(self.store.finish_key(held, result)))

    def totals(self) -> tuple[int, int]:
        read = "SELECT sum(key_count), sum(total_bytes) FROM idempotency_totals"
        counted = "SELECT count(*), coalesce(sum(result_bytes), 0) FROM idempotency_keys"
        stored = "SELECT count(*), coalesce(sum(length(payload)), 0) FROM idempotency_results"
        get = lambda sql: self.successResultOf(  # noqa: E731
            self.jobs.run_read(lambda connection: connection.execute(sql).fetchone())
        )
        self.assertEqual(get(read), get(counted))
        self.assertEqual(get(read)[1], get(stored)[1])
        return get(read)


class IdempotencyTests(IdempotencyTestCase):
    def test_new(self) -> None:
        self.assertIsNone(self.claim())
        self.assertEqual(self.totals(), (1, 0))

    def test_result(self) -> None:
        self.claim()
        self.finish()
        self.assertEqual(self.claim("r2"), KeyRecord(A, "done", ("r1",), RESULT))
        # It stays what it is, however often it is asked for, and by whatever request.
        self.assertEqual(self.claim("r3", fingerprint=B), KeyRecord(A, "done", ("r1",), RESULT))
        self.assertEqual(self.totals()[0], 1)

    def test_error_result(self) -> None:
        kept = KeptResult("r1", "agent:main:k", 17, error=KeptError(422, "400 no", "bad", "messages"))
        self.claim()
        self.finish(kept)
        record = self.claim("r2")
        assert record is not None
        self.assertEqual(record.result, kept)

    def test_callers_have_keys_of_their_own(self) -> None:
        self.claim()
        self.finish()
        other = attrs.evolve(claim("r2"), caller="key:phone")
        self.assertIsNone(self.successResultOf(self.store.claim_key(other)))

    def test_keys_are_case_sensitive(self) -> None:
        self.claim(key="k")
        self.assertIsNone(self.claim("r2", key="K"))

    def test_interrupted(self) -> None:
        self.claim()
        self.assertEqual(self.claim("r2"), KeyRecord(A, "running", ("r1",)))
        self.assertEqual(self.claim("r3"), KeyRecord(A, "running", ("r1", "r2")))
        # The dead one cannot speak for the key any more.
        self.finish(run_id="r1")
        self.assertEqual(self.claim("r4"), KeyRecord(A, "running", ("r1", "r2", "r3")))
        self.finish(run_id="r4")
        record = self.claim("r5")
        assert record is not None
        self.assertEqual(record.state, "done")

    def test_interrupted_is_not_for_another_request(self) -> None:
        self.claim()
        self.assertEqual(self.claim("r2", fingerprint=B), KeyRecord(A, "running", ("r1",)))
        self.assertEqual(self.claim("r3"), KeyRecord(A, "running", ("r1",)))

    def test_freed(self) -> None:
        self.claim()
        self.successResultOf(self.store.free_key(claim()))
        self.assertEqual(self.claim("r2"), KeyRecord(A, "free", ("r1",)))
        self.assertEqual(self.claim("r3"), KeyRecord(A, "running", ("r1", "r2")))

    def test_freed_is_for_any_request(self) -> None:
        self.claim()
        self.successResultOf(self.store.free_key(claim()))
        self.assertIsNone(self.claim("r2", fingerprint=B))
        self.assertEqual(self.claim("r3", fingerprint=B), KeyRecord(B, "running", ("r2",)))

    def test_unknown_key_is_not_freed_or_finished(self) -> None:
        self.successResultOf(self.store.free_key(claim()))
        self.finish()
        self.assertEqual(self.totals(), (0, 0))

    def test_attempts_are_bounded(self) -> None:
        for number in range(idempotency.MAX_ATTEMPTS + 3):
            record = self.claim(f"r{number}")
        assert record is not None
        self.assertEqual(len(record.attempts), idempotency.MAX_ATTEMPTS)
        self.assertEqual(record.attempts[-1], f"r{idempotency.MAX_ATTEMPTS + 1}")

    def test_too_large(self) -> None:
        empty = len(msgspec.json.encode(attrs.evolve(RESULT, text="")))
        fits = attrs.evolve(RESULT, text="x" * (idempotency.MAX_RESULT_BYTES - empty))
        for key, result, state in (
            ("fits", fits, "done"),
            ("large", attrs.evolve(fits, text=fits.text + "x"), "too_large"),
            ("dropped", None, "too_large"),
        ):
            self.claim(key=key)
            self.finish(result, key=key)
            record = self.claim("r2", key=key)
            assert record is not None
            self.assertEqual((record.state, record.result is None), (state, state == "too_large"))

    def test_lone_surrogate(self) -> None:
        self.claim()
        failure = self.failureResultOf(self.store.finish_key(claim(), attrs.evolve(RESULT, text="\ud800")), StoreError)
        self.assertEqual(failure.value.code, "store_unavailable")
        self.flushLoggedErrors()
        self.assertEqual(self.totals(), (1, 0))

    def test_kept_a_day(self) -> None:
        self.claim()
        self.finish()
        self.assertIsNotNone(self.claim("r2", at_ms=1000 + DAY_MS))
        self.assertIsNone(self.claim("r2", at_ms=1001 + DAY_MS))
        self.assertEqual(self.totals(), (1, 0))

    def test_the_day_runs_from_the_last_attempt(self) -> None:
        self.claim()
        self.claim("r2", at_ms=DAY_MS)
        self.assertIsNotNone(self.claim("r3", at_ms=DAY_MS + 5000))

    def test_old_keys_go_in_slices(self) -> None:
        self.patch(idempotency, "PRUNED_AT_ONCE", 3)
        for number in range(8):
            self.claim(key=f"old{number}")
            self.finish(key=f"old{number}")
        counts = []
        for number in range(4):
            self.claim(key=f"new{number}", at_ms=DAY_MS + 1001)
            counts.append(self.totals()[0])
        self.assertEqual(counts, [6, 4, 3, 4])

    def test_oldest_go_when_there_are_too_many(self) -> None:
        self.patch(idempotency, "MAX_KEYS", 3)
        for number in range(5):
            self.claim(key=f"k{number}", at_ms=1000 + number)
        self.assertEqual(self.totals()[0], 3)
        self.assertIsNotNone(self.claim("r2", key="k4", at_ms=1010))
        self.assertIsNotNone(self.claim("r2", key="k2", at_ms=1010))
        self.assertIsNone(self.claim("r2", key="k1", at_ms=1010))

    def test_oldest_go_when_they_are_too_large(self) -> None:
        size = len(msgspec.json.encode(RESULT))
        self.patch(idempotency, "MAX_TOTAL_BYTES", 2 * size)
        for number in range(4):
            self.claim(key=f"k{number}", at_ms=1000 + number)
            self.finish(key=f"k{number}")
        self.assertEqual(self.totals(), (2, 2 * size))
        self.assertIsNone(self.claim("r2", key="k1", at_ms=1010))
        self.assertIsNotNone(self.claim("r2", key="k3", at_ms=1010))

    def test_bounds_are_met_in_slices(self) -> None:
        for number in range(8):
            self.claim(key=f"k{number}", at_ms=1000 + number)
        self.patch(idempotency, "PRUNED_AT_ONCE", 3)
        self.patch(idempotency, "MAX_KEYS", 2)
        counts = []
        for number in range(4):
            self.claim(key=f"new{number}", at_ms=2000)
            counts.append(self.totals()[0])
        self.assertEqual(counts, [6, 4, 2, 2])

    def test_large_results_go_in_slices(self) -> None:
        """A write frees so many bytes, however few keys that are: to free a page it has to be read."""
        size = len(msgspec.json.encode(RESULT))
        self.patch(idempotency, "PRUNED_BYTES", 2 * size)
        for number in range(8):
            self.claim(key=f"k{number}", at_ms=1000 + number)
            self.finish(key=f"k{number}")
        prune = lambda now_ms: self.successResultOf(self.store.prune_keys(now_ms))  # noqa: E731
        self.assertEqual(prune(1003 + DAY_MS), 2)
        self.assertEqual([prune(1003 + DAY_MS), prune(1003 + DAY_MS)], [1, 0])
        self.patch(idempotency, "MAX_TOTAL_BYTES", size)
        self.assertEqual([prune(2000) for _ in range(3)], [2, 2, 0])
        self.assertEqual(self.totals(), (1, size))

    def test_find_turn(self) -> None:
        def entry(number: int, run_id: str, role: str) -> Entry:
            parent = None if number == 1 else f"e{number - 1}"
            return Entry(f"e{number}", parent, run_id, Message(role, "x"), 1)  # type: ignore[arg-type]

        key = run_record("r1").session_key
        entries = [entry(1, "r1", "user"), entry(2, "r2", "assistant"), entry(3, "r3", "tool")]
        self.successResultOf(self.store.begin_run(run_record("r1"), entries))
        for run_ids, found in ((("r1", "r2"), "r1"), (("r2",), None), (("r1", "r3", "r4"), "r3"), ((), None)):
            self.assertEqual(self.successResultOf(self.store.find_turn(key, run_ids)), found)
        self.assertIsNone(self.successResultOf(self.store.find_turn("agent:main:other", ("r1",))))


class SurfaceTests(IdempotencyTestCase):
    """Keys of the WebSocket, which come with every call, beside those of HTTP."""

    def test_are_others(self) -> None:
        self.claim()
        self.finish()
        self.assertIsNone(self.claim("r2", surface="ws"))
        self.assertEqual(self.claim("r3", surface="ws"), KeyRecord(A, "running", ("r2",)))
        self.assertEqual(self.claim("r4"), KeyRecord(A, "done", ("r1",), RESULT))

    def test_do_not_push_each_other_out(self) -> None:
        # What a result takes on disk is the store's own affair, and the bound counts it.
        size = len(idempotency._encode(RESULT))
        for bound, most in (("MAX_KEYS", 3), ("MAX_TOTAL_BYTES", 3 * size)):
            self.setUp()
            self.patch(idempotency, bound, most)
            for surface, count in (("http", 2), ("ws", 9), ("http", 1)):
                for number in range(count):
                    key = f"{surface}{count}{number}"
                    self.claim(key=key, surface=surface, at_ms=1000 + number)
                    self.finish(key=key, surface=surface, at_ms=1000 + number)
            self.assertEqual(self.totals()[0], 6)
            for key in ("http20", "http21", "http10"):
                self.assertIsNotNone(self.claim("r2", key=key))
            self.assertIsNone(self.claim("r2", key="ws90", surface="ws"))

    def test_all_grow_old(self) -> None:
        self.claim()
        self.claim(surface="ws")
        self.assertEqual(self.successResultOf(self.store.prune_keys(1001 + DAY_MS)), 2)
        self.assertEqual(self.totals(), (0, 0))


class TogetherTests(SynchronousTestCase):
    """Keys that are claimed with a turn and ended with its answer."""

    key = "agent:main:k"

    def setUp(self) -> None:
        self.store = GatewayStore.in_memory()
        self.addCleanup(self.store.close)
        self.turn = Entry("e1", None, "r1", Message("user", "hi"), 1000)
        self.answer = Entry("e2", "e1", "r1", Message("assistant", "text"), 2000, "stop")

    def begin(self, run_id: str = "r1", **parts: object) -> int | None:
        held = claim(run_id, surface="ws", **parts)  # type: ignore[arg-type]
        turn = attrs.evolve(self.turn, run_id=run_id)
        run = run_record(run_id, self.key)
        return self.successResultOf(self.store.begin_run(run, [turn], claim=held))

    def end(self, end: KeyEnd) -> None:
        run = attrs.evolve(run_record("r1", self.key), status="done", ended_at_ms=2000)
        self.successResultOf(self.store.end_run(run, [self.answer], key=end))

    def known(self) -> KeyRecord | None:
        return self.successResultOf(self.store.find_key(claim(surface="ws")))

    def texts(self) -> list[str]:
        return [entry.message.text for entry in self.successResultOf(self.store.branch(self.key))]

    def test_session_is_told(self) -> None:
        """When it was begun, also by a later turn and by one that adds nothing."""
        self.assertEqual(1000, self.begin())
        run = run_record("r2", self.key)
        self.assertEqual(1000, self.successResultOf(self.store.begin_run(run, [])))
        self.assertIsNone(self.successResultOf(self.store.begin_run(run_record("r3", "other"), [])))

    def test_result(self) -> None:
        self.begin()
        self.assertEqual(KeyRecord(A, "running", ("r1",)), self.known())
        kept = attrs.evolve(RESULT, run=KeptRun("p/m", 900, 1000, 2000, 1000))
        self.end(KeyEnd(claim(surface="ws"), kept))
        self.assertEqual(KeyRecord(A, "done", ("r1",), kept), self.known())
        self.assertEqual(["hi", "text"], self.texts())

    def test_free_and_too_large(self) -> None:
        for end, state in (
            (KeyEnd(claim(surface="ws"), is_free=True), "free"),
            (KeyEnd(claim(surface="ws")), "too_large"),
        ):
            self.setUp()
            self.begin()
            self.end(end)
            known = self.known()
            assert known is not None
            self.assertEqual((state, None), (known.state, known.result))

    def test_known_key(self) -> None:
        """Nothing of the second turn is stored, and the key is what it was."""
        self.begin()
        held = claim("r2", surface="ws")
        run = run_record("r2", self.key)
        turn = Entry("other", "e1", "r2", Message("user", "again"), 1001)
        error = self.failureResultOf(self.store.begin_run(run, [turn], claim=held), StoreError).value
        self.assertEqual(KEY_KNOWN, error.code)
        self.assertEqual((["hi"], KeyRecord(A, "running", ("r1",))), (self.texts(), self.known()))
        runs = self.successResultOf(self.store.runs(10))
        self.assertEqual(["r1"], [run.run_id for run in runs])

    def test_turn_that_cannot_be_stored_takes_no_key(self) -> None:
        turn = attrs.evolve(self.turn, parent_id="nobody")
        storing = self.store.begin_run(run_record("r1", self.key), [turn], claim=claim(surface="ws"))
        self.failureResultOf(storing, StoreError)
        self.assertIsNone(self.known())

    def test_result_is_not_freed(self) -> None:
        """By a run that gave up waiting for it to be stored."""
        self.begin()
        self.end(KeyEnd(claim(surface="ws"), RESULT))
        self.successResultOf(self.store.free_key(claim(surface="ws")))
        self.assertEqual(KeyRecord(A, "done", ("r1",), RESULT), self.known())

    def test_looking_changes_nothing(self) -> None:
        self.assertIsNone(self.known())
        self.begin()
        self.assertIsNone(self.successResultOf(self.store.find_key(claim(surface="http"))))
        self.assertEqual(self.known(), self.known())
