"""Tests of L{openclaw.store.transcripts}."""

from __future__ import annotations

import sqlite3

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from openclaw.errors import StoreError
from openclaw.interfaces import Entry
from openclaw.messages import Message, ToolCall
from openclaw.store.sqlite import open_memory
from openclaw.store.transcripts import _BRANCH, append_entries, read_branch

from .connections import entry

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
        )
        self.append(*entries)
        self.assertEqual(self.branch(), entries)

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

    def test_long_branch(self) -> None:
        entries = tuple(entry(f"{n:032x}", f"{n - 1:032x}" if n else None) for n in range(10_000))
        self.append(*entries)
        self.append(entry("side", f"{5000:032x}"))
        self.append(entry("tip", f"{9999:032x}"))
        self.assertEqual(self.branch()[:-1], entries)

    def test_work_does_not_grow_with_the_store(self) -> None:
        """Each step of the branch is a look-up by number, and a session is found by its key."""
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
            "INSERT INTO entries VALUES (1, 77, 'x', NULL, 'r', 'user', '{}', NULL, 1)",
        )
