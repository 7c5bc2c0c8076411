"""Tests of L{openclaw.store.transcripts}."""

from __future__ import annotations

import sqlite3
from itertools import pairwise

import attrs
import msgspec
from twisted.trial.unittest import SynchronousTestCase

from openclaw.errors import StoreError
from openclaw.messages import Message, ToolCall
from openclaw.records import Entry, Transcript
from openclaw.store import transcripts
from openclaw.store.runs import finish_run, insert_run
from openclaw.store.sqlite import open_memory
from openclaw.store.store import GatewayStore
from openclaw.store.transcripts import _BRANCH, append_entries, prune_detached, read_branch, read_transcript

from .connections import entry, run_record

KEY = "agent:main:a"


class TranscriptTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.connection = open_memory()
        self.addCleanup(self.connection.close)

    def append(self, *entries: Entry, key: str = KEY) -> None:
        append_entries(self.connection, key, "main", entries)

    def branch(self, key: str = KEY) -> tuple[Entry, ...]:
        return read_branch(self.connection, key)

    def row(self) -> tuple[int, int, int]:
        (row,) = self.connection.execute("SELECT entry_count, created_at_ms, updated_at_ms FROM sessions").fetchall()
        return (*row,)

    def test_nothing_stored(self) -> None:
        self.assertEqual(self.branch(), ())
        self.append()
        self.assertEqual(self.connection.execute("SELECT count(*) FROM sessions").fetchone(), (0,))

    def test_everything_comes_back(self) -> None:
        call = ToolCall("call_1", "look", '{"bad json"')
        entries = (
            Entry("1", None, "r1", Message("user", "Grüße, 世界 \x00 \U0001f600"), 5),
            Entry("2", "1", "r1", Message("assistant", "", (call, call)), 6, "tool_calls"),
            Entry("3", "2", "r1", Message("tool", "found", (), "call_1"), 7),
            Entry("4", "3", "r1", Message("assistant", "done"), 8, "aborted"),
            Entry(
                "5", "4", "r1", Message("assistant", "", (call, attrs.evolve(call, id="ö"))), 9, "tool_calls", ("ö",)
            ),
        )
        self.append(*entries)
        self.assertEqual(self.branch(), entries)
        self.assertEqual(read_transcript(self.connection, KEY).entries, entries)

    def test_role_column(self) -> None:
        self.append(entry("1"), entry("2", "1", role="assistant"))
        self.assertEqual(self.connection.execute("SELECT role FROM entries").fetchall(), [("user",), ("assistant",)])

    def test_the_last_entry_is_the_tip(self) -> None:
        first, answer, other = entry("1"), entry("2", "1"), entry("3", "1")
        self.append(first, answer)
        self.append(other)
        self.assertEqual(self.branch(), (first, other))
        self.append(entry("4", "2"))
        self.assertEqual([e.id for e in self.branch()], ["1", "2", "4"])

    def test_a_second_root(self) -> None:
        self.append(entry("1"))
        self.append(entry("2"))
        self.assertEqual([e.id for e in self.branch()], ["2"])

    def test_appending_again(self) -> None:
        self.append(entry("1"), entry("2", "1"))
        self.append(entry("3", "2"))
        self.append(entry("1"), entry("2", "1"))
        self.assertEqual([e.id for e in self.branch()], ["1", "2", "3"])
        self.assertEqual(self.row()[0], 3)

    def test_sessions_are_apart(self) -> None:
        self.append(entry("1", text="a"))
        self.append(entry("1", text="b"), key="agent:main:A")
        self.assertEqual([self.branch()[0].message.text, self.branch("agent:main:A")[0].message.text], ["a", "b"])

    def test_count_and_times(self) -> None:
        self.append(entry("1", at_ms=10), entry("2", "1", at_ms=20))
        self.assertEqual(self.row(), (2, 10, 20))
        self.append(entry("3", "2", at_ms=15))
        self.assertEqual(self.row(), (3, 10, 20))

    def test_unknown_parent(self) -> None:
        self.append(entry("9"), key="agent:main:other")
        for stranger in ("no", "9"):
            error = self.assertRaises(StoreError, self.append, entry("1", stranger))
            self.assertEqual(error.code, "store_conflict")

    def test_what_cannot_be_stored(self) -> None:
        self.assertRaises(UnicodeEncodeError, self.append, entry("1", text="\ud800"))
        self.assertRaises(OverflowError, self.append, entry("1", at_ms=2**70))

    def test_damaged(self) -> None:
        self.append(entry("1"))
        self.connection.execute("UPDATE entries SET payload = '{'")
        self.assertRaises(msgspec.MsgspecError, self.branch)

    def test_broken_tree(self) -> None:
        """No part of a history is passed off as the whole, and a circle is no endless one."""
        for damage in (
            "DELETE FROM entries WHERE id = '1'",
            "DELETE FROM entries WHERE id = '3'",
            "UPDATE entries SET parent_seq = seq WHERE id = '2'",
            "UPDATE entries SET parent_seq = seq + 1 WHERE id = '2'",
            "UPDATE sessions SET tip_seq = 999",
        ):
            self.connection.execute("DELETE FROM entries")
            self.connection.execute("DELETE FROM sessions")
            self.append(entry("1"), entry("2", "1"), entry("3", "2"))
            self.connection.execute(damage)
            self.assertRaises(LookupError, self.branch)

    def test_damage_is_that_of_the_session(self) -> None:
        for damage in (
            "DELETE FROM entries WHERE id = '1'",
            "UPDATE sessions SET tip_seq = 999",
            "UPDATE entries SET payload = '{'",
            "UPDATE entries SET payload = 7",
            "UPDATE entries SET own_calls = 7",
        ):
            store = GatewayStore.in_memory()
            self.successResultOf(store.begin_run(run_record(key=KEY), [entry("1"), entry("2", "1")]))
            self.successResultOf(store.begin_run(run_record("2", key="other"), [entry("1")]))
            run = "AND" if "WHERE" in damage else "WHERE"
            if "entries" in damage:
                damage += f" {run} session_id = (SELECT id FROM sessions WHERE key = '{KEY}')"
            else:
                damage += f" {run} key = '{KEY}'"
            self.successResultOf(store._jobs.run_write(lambda connection, sql=damage: connection.execute(sql)))
            for reading in (store.transcript(KEY), store.branch(KEY)):
                error = self.failureResultOf(reading, StoreError).value
                self.assertEqual((error.code, error.http_status), ("store_damaged", 503))
                self.assertIn(KEY, error.message)
                self.assertIn("openclaw backup restore", error.message)
            self.assertEqual(len(self.successResultOf(store.branch("other"))), 1)
            self.flushLoggedErrors()

    def test_long_branch(self) -> None:
        entries = tuple(entry(f"{n:032x}", f"{n - 1:032x}" if n else None) for n in range(10_000))
        self.append(*entries)
        self.append(entry("side", f"{5000:032x}"))
        self.append(entry("tip", f"{9999:032x}"))
        self.assertEqual(self.branch()[:-1], entries)

    def test_work_does_not_grow_with_the_store(self) -> None:
        """Each step of the branch is a look-up by number, and a session is found by its key."""
        # Of the very statement that is used: no result tells how it was found.
        plan = [row[3] for row in self.connection.execute(f"EXPLAIN QUERY PLAN {_BRANCH}", (KEY, -1))]
        self.assertFalse(
            [step for step in plan if step.startswith("SCAN") and step not in ("SCAN b", "SCAN branch")], plan
        )
        self.assertTrue(any("key=?" in step for step in plan), plan)

    def test_deleting_a_session(self) -> None:
        self.append(entry("1"))
        self.connection.execute("DELETE FROM sessions")
        self.assertEqual(self.connection.execute("SELECT count(*) FROM entries").fetchone(), (0,))

    def test_an_entry_needs_its_session(self) -> None:
        self.assertRaises(
            sqlite3.IntegrityError,
            self.connection.execute,
            "INSERT INTO entries VALUES (1, 77, 'x', NULL, 'r', 'user', '{}', NULL, 1, NULL, NULL)",
        )


class DetachedTests(SynchronousTestCase):
    """Roots beside the history."""

    def setUp(self) -> None:
        self.connection = open_memory()
        self.addCleanup(self.connection.close)
        self.append(entry("1"), entry("2", "1"))

    def append(self, *entries: Entry, key: str = KEY, detached: bool = False) -> None:
        append_entries(self.connection, key, "main", entries, detached=detached)

    def read(self, key: str = KEY) -> Transcript:
        return read_transcript(self.connection, key)

    def ids(self, key: str = KEY) -> list[str]:
        return [e.id for e in self.read(key).entries]

    def counts(self) -> tuple[int, int]:
        """Entries as the session counts them, and as they are."""
        (count,) = self.connection.execute("SELECT entry_count FROM sessions WHERE key = ?", (KEY,)).fetchone()
        return count, len(self.ids())

    def test_nothing_stored(self) -> None:
        self.assertEqual(Transcript(), self.read("agent:main:unknown"))

    def test_the_whole_transcript(self) -> None:
        self.append(entry("0", "1"))
        self.append(entry("side"), detached=True)
        self.append(entry("1", text="another session"), key="agent:main:b")
        expected = (entry("1"), entry("2", "1"), entry("0", "1"), entry("side"))
        self.assertEqual(Transcript(expected, "0", frozenset({"side"})), self.read())
        self.assertEqual(["1"], self.ids("agent:main:b"))

    def test_in_the_order_of_appending(self) -> None:
        ids = [f"{(n * 7919) % 1009:032x}" for n in range(1000)]
        for before, after in pairwise(ids):
            self.append(entry(after, before if before != ids[0] else None))
        self.assertEqual(["1", "2", *ids[1:]], self.ids())

    def test_leaves_the_history_alone(self) -> None:
        before = self.connection.execute("SELECT tip_seq, updated_at_ms, last_run_id FROM sessions").fetchall()
        self.append(entry("3", at_ms=5000, run_id="title"), entry("4", "3", at_ms=5000), detached=True)
        self.append(entry("5", "4"), detached=True)
        self.append(entry("6", "2"), detached=True)
        after = self.connection.execute("SELECT tip_seq, updated_at_ms, last_run_id FROM sessions").fetchall()
        self.assertEqual((before, ["1", "2"]), (after, [e.id for e in read_branch(self.connection, KEY)]))
        self.assertEqual((frozenset({"3"}), (6, 6)), (self.read().detached, self.counts()))

    def test_in_a_session_that_is_not_there(self) -> None:
        self.append(entry("1"), key="agent:main:b", detached=True)
        self.assertEqual(Transcript((entry("1"),), None, frozenset({"1"})), self.read("agent:main:b"))

    def test_told_twice(self) -> None:
        for _ in range(2):
            self.append(entry("3"), entry("4", "3"), detached=True)
        self.assertEqual((4, 4), self.counts())

    def test_adopted(self) -> None:
        self.append(entry("3"), entry("4", "3"), detached=True)
        self.append(entry("5"), detached=True)
        self.append(entry("6", "2"))
        self.append(entry("7", "1"))
        self.assertEqual({"3", "5"}, self.read().detached)
        self.append(entry("8", "4"), entry("9", "8"))
        self.assertEqual((frozenset({"5"}), "9"), (self.read().detached, self.read().tip_id))
        # Told twice it changes nothing, as everything.
        self.append(entry("8", "4"), entry("9", "8"))
        self.append(entry("10", "9"))
        self.assertEqual(["3", "4", "8", "9", "10"], [e.id for e in read_branch(self.connection, KEY)])

    def test_no_work_for_a_turn_at_the_tip_of_a_long_session(self) -> None:
        self.append(*(entry(f"{n:032x}", f"{n - 1:032x}" if n else None) for n in range(3000)))
        self.append(entry("side"), detached=True)
        steps: list[int] = []
        self.connection.set_progress_handler(lambda: steps.append(1) and None, 100)
        self.append(entry("tip", f"{2999:032x}"))
        self.assertLess(len(steps), 10)
        self.append(entry("fork", f"{2998:032x}"))
        self.assertGreater(len(steps), 100)

    def test_pruned(self) -> None:
        self.append(entry("3", at_ms=10), entry("4", "3", at_ms=10), detached=True)
        self.append(entry("5", "4", at_ms=90), detached=True)
        self.append(entry("6", at_ms=20), detached=True)
        self.append(entry("7", "6", at_ms=30), entry("8", "2", at_ms=30), detached=True)
        self.append(entry("9", at_ms=50), detached=True)
        self.append(entry("1", at_ms=15), key="agent:main:b", detached=True)
        self.assertEqual(0, prune_detached(self.connection, 10, 100))
        self.assertEqual(1, prune_detached(self.connection, 50, 1))
        self.assertEqual((["1", "2", "6", "7", "8", "9"], (6, 6)), (self.ids(), self.counts()))
        self.assertEqual([2, 0], [prune_detached(self.connection, 50, 100) for _ in range(2)])
        self.assertEqual((["1", "2", "8", "9"], (4, 4)), (self.ids(), self.counts()))
        self.assertEqual([], self.ids("agent:main:b"))
        self.assertEqual(1, prune_detached(self.connection, 51, 100))
        self.assertEqual([], self.connection.execute("SELECT * FROM detached_roots").fetchall())

    def test_pruned_in_slices(self) -> None:
        """Commits wait for one call, so it looks at no further session once it has looked at many entries."""
        self.patch(transcripts, "MAX_LOOKED_AT", 2)
        for key in (KEY, "agent:main:b", "agent:main:c"):
            self.append(entry("r1"), entry("r2", "r1"), key=key, detached=True)
        self.append(entry("d1"), key="agent:main:d", detached=True)
        # In KEY one entry is below the root, in b as well: then it is enough.
        self.assertEqual([2, 2, 0], [prune_detached(self.connection, 9**15, 100) for _ in range(3)])
        self.assertEqual((["1", "2"], (2, 2)), (self.ids(), self.counts()))

    def test_what_was_adopted_is_not_pruned(self) -> None:
        self.append(entry("3"), entry("4", "3"), detached=True)
        self.append(entry("5", "4"))
        self.assertEqual((0, 5), (prune_detached(self.connection, 9**15, 100), len(self.ids())))

    def test_what_a_run_waits_for_is_not_pruned(self) -> None:
        self.append(entry("3", run_id="title"), detached=True)
        insert_run(self.connection, run_record("title"))
        self.assertEqual(0, prune_detached(self.connection, 9**15, 100))
        finish_run(self.connection, run_record("title", status="done"))
        self.assertEqual(1, prune_detached(self.connection, 9**15, 100))

    def test_nor_what_one_is_answering_once_more(self) -> None:
        self.append(entry("3", run_id="title"), detached=True)
        insert_run(self.connection, run_record("title", KEY, status="done"))
        insert_run(self.connection, run_record("again", KEY))
        self.assertEqual(0, prune_detached(self.connection, 9**15, 100))
        finish_run(self.connection, run_record("again", KEY, status="done"))
        self.assertEqual(1, prune_detached(self.connection, 9**15, 100))

    def test_pruning_reads_no_whole_table(self) -> None:
        self.append(entry("3"), detached=True)
        statements: list[str] = []
        self.connection.set_trace_callback(statements.append)
        prune_detached(self.connection, 9**15, 100)
        self.connection.set_trace_callback(None)
        for statement in statements:
            for row in self.connection.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall():
                self.assertFalse(row[3].startswith("SCAN") and "INDEX" not in row[3], (statement, row[3]))

    def test_deleting_a_session(self) -> None:
        self.append(entry("3"), detached=True)
        self.connection.execute("DELETE FROM sessions")
        self.assertEqual([], self.connection.execute("SELECT * FROM detached_roots").fetchall())

    def test_through_the_store(self) -> None:
        store = GatewayStore.in_memory()
        run = run_record("r1", KEY)
        for done in (
            store.begin_run(run, [entry("1")]),
            store.begin_run(run_record("r2", KEY), [entry("2", run_id="r2")], detached=True),
            store.end_run(run_record("r2", KEY, status="done"), [entry("3", "2")], detached=True),
            store.end_run(run_record("r1", KEY, status="done"), []),
        ):
            self.successResultOf(done)
        transcript = self.successResultOf(store.transcript(KEY))
        self.assertEqual(("1", {"2"}), (transcript.tip_id, transcript.detached))
        self.assertEqual(1, self.successResultOf(store.prune_detached(9**15, 10)))
        self.assertEqual(1, len(self.successResultOf(store.transcript(KEY)).entries))
