"""Tests of L{openclaw.store.group}."""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from openclaw.errors import InvalidRequest, StoreError
from openclaw.store.group import Group, Job, Outcome, store_error

from .connections import insert, open_faulty, sqlite_error, values


def write(work: Any) -> Job:
    return Job(work, writes=True)


UNDECODABLE = UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
READ = Job(values, writes=False)


class GroupTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.connection = open_faulty()
        self.addCleanup(self.connection.close)

    def run_jobs(self, *jobs: Job) -> list[Outcome]:
        self.group = Group(self.connection, jobs)
        return self.group.run()

    def codes(self, outcomes: list[Outcome]) -> list[Any]:
        return [None if o.error is None else getattr(o.error, "code", o.error) for o in outcomes]

    def count(self, word: str) -> int:
        return [statement.split()[0] for statement in self.connection.statements].count(word)

    def test_one_commit_for_all(self) -> None:
        outcomes = self.run_jobs(*(write(insert(n)) for n in range(50)))
        self.assertEqual([o.value for o in outcomes], list(range(50)))
        self.assertEqual((self.count("BEGIN"), self.count("COMMIT")), (1, 1))
        self.assertFalse(self.connection.in_transaction)

    def test_file_is_checked_before_the_first_write(self) -> None:
        checks = []

        def check() -> None:
            checks.append(self.count("BEGIN"))
            if len(checks) > 1:
                raise sqlite_error(sqlite3.SQLITE_READONLY_DBMOVED)

        for codes in ([None, None, None], [None, "store_readonly", "store_readonly"]):
            group = Group(self.connection, [READ, write(insert(1)), write(insert(2))], check)
            self.assertEqual(self.codes(group.run()), codes)
            self.connection.execute("DELETE FROM t")
        self.assertEqual(checks, [0, 1])
        self.assertEqual(group.is_well, False)
        self.assertEqual([incident.step for incident in group.incidents], ["begin"])
        self.assertIn("removed or replaced", store_error(group.incidents[0].error).message)

    def test_reads_need_no_transaction(self) -> None:
        self.assertEqual(self.run_jobs(READ, READ), [Outcome([]), Outcome([])])
        self.assertEqual((self.count("BEGIN"), self.count("COMMIT")), (0, 0))

    def test_order(self) -> None:
        outcomes = self.run_jobs(READ, write(insert(1)), READ, write(insert(2)), READ)
        self.assertEqual([o.value for o in outcomes], [[], 1, [1], 2, [1, 2]])

    def test_a_bad_job_fails_alone(self) -> None:
        def half(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT INTO t VALUES ('half')")
            raise InvalidRequest("no")

        outcomes = self.run_jobs(write(insert(1)), write(half), write(insert(1)), write(insert(2)))
        self.assertEqual(self.codes(outcomes), [None, None, "store_unavailable", None])
        self.assertIsInstance(outcomes[1].error, InvalidRequest)
        self.assertEqual(values(self.connection), [1, 2])
        self.assertEqual([i.step for i in self.group.incidents], ["write"])

    def test_a_bug_is_passed_on(self) -> None:
        def bug(connection: sqlite3.Connection) -> None:
            raise ZeroDivisionError

        read, written = self.run_jobs(Job(bug, writes=False), write(bug))
        self.assertIsInstance(read.error, ZeroDivisionError)
        self.assertIsInstance(written.error, ZeroDivisionError)
        self.assertEqual(self.group.incidents, [])

    def test_failing_read(self) -> None:
        outcomes = self.run_jobs(Job(lambda c: c.execute("SELECT FROM"), writes=False), READ)
        self.assertEqual(self.codes(outcomes), ["store_unavailable", None])

    def test_damaged_schema(self) -> None:
        """Our SQL fits our schema."""
        outcomes = self.run_jobs(Job(lambda c: c.execute("SELECT no"), writes=False), READ)
        self.assertEqual(self.codes(outcomes), ["store_damaged", None])

    def test_message_that_cannot_be_decoded(self) -> None:
        """As C{sqlite3} raises it for damage in a name, wherever that is met."""
        for statement, codes in (("BEGIN", "DD"), ("SAVEPOINT", "D-"), ("COMMIT", "DD")):
            self.connection.faults[statement] = [UNDECODABLE]
            outcomes = self.run_jobs(write(insert(statement)), write(insert(f"{statement}2")))
            self.assertEqual(self.codes(outcomes), ["store_damaged" if code == "D" else None for code in codes])
            self.assertFalse(self.connection.in_transaction)

    def test_failing_commit_fails_the_writes_and_repeats_the_reads(self) -> None:
        self.connection.faults["COMMIT"] = [sqlite_error(sqlite3.SQLITE_FULL)]

        def bad(connection: sqlite3.Connection) -> None:
            raise InvalidRequest("no")

        outcomes = self.run_jobs(READ, write(insert(1)), READ, write(bad), write(insert(2)), READ)
        self.assertEqual([o.value for o in outcomes if o.error is None], [[], [], []])
        self.assertEqual(
            [self.codes(outcomes)[n] for n in (0, 1, 2, 4, 5)], [None, "store_full", None, "store_full", None]
        )
        self.assertIsInstance(outcomes[3].error, InvalidRequest)
        self.assertIsNot(outcomes[1].error, outcomes[4].error)
        self.assertFalse(self.connection.in_transaction)
        self.assertEqual(self.run_jobs(write(insert(3)), READ)[1].value, [3])

    def test_failing_begin_is_tried_once(self) -> None:
        self.connection.faults["BEGIN"] = [sqlite_error(sqlite3.SQLITE_BUSY)]
        outcomes = self.run_jobs(write(insert(1)), write(insert(2)), READ)
        self.assertEqual(self.codes(outcomes), ["store_busy", "store_busy", None])
        self.assertEqual(self.count("BEGIN"), 1)
        self.assertEqual(outcomes[2].value, [])
        self.assertEqual(len(self.group.incidents), 1)

    def test_transaction_dropped_by_sqlite(self) -> None:
        def drop(connection: sqlite3.Connection) -> None:
            connection.execute("ROLLBACK")
            raise sqlite_error(sqlite3.SQLITE_IOERR)

        outcomes = self.run_jobs(write(insert(1)), READ, write(drop), write(insert(2)))
        self.assertEqual(self.codes(outcomes), ["store_unavailable", None, "store_unavailable", None])
        self.assertEqual(outcomes[1].value, [])
        self.assertEqual(values(self.connection), [2])
        self.assertEqual(self.count("COMMIT"), 1)

    def test_savepoint_that_cannot_be_undone(self) -> None:
        self.connection.faults["SAVEPOINT"] = [sqlite_error(sqlite3.SQLITE_IOERR)]
        outcomes = self.run_jobs(write(insert(1)), write(insert(2)))
        self.assertEqual(self.codes(outcomes), ["store_unavailable", None])
        self.assertEqual(values(self.connection), [2])

    def test_full_disk(self) -> None:
        self.run_jobs(write(insert(1)))
        (pages,) = self.connection.execute("PRAGMA page_count").fetchone()
        self.connection.execute(f"PRAGMA max_page_count = {pages}")
        outcomes = self.run_jobs(write(insert("x" * 10_000)), write(insert(2)), READ)
        self.assertEqual(self.codes(outcomes), ["store_full", None, None])
        self.assertEqual(outcomes[2].value, [1, 2])
        self.connection.execute("PRAGMA max_page_count = 10000")
        self.assertEqual(self.codes(self.run_jobs(write(insert("x" * 10_000)))), [None])

    def test_incidents_are_told_once(self) -> None:
        self.run_jobs(write(insert(1)), write(insert(1)), write(insert(1)))
        self.assertEqual(len(self.group.incidents), 1)

    def test_is_well(self) -> None:
        """A disk that fails is told from a job that does."""
        self.run_jobs(READ)
        self.assertIsNone(self.group.is_well)
        self.run_jobs(write(insert(1)), write(insert(1)), Job(lambda c: c.execute("SELECT no"), writes=False))
        self.assertIs(self.group.is_well, True)
        for step, code in (
            ("COMMIT", sqlite3.SQLITE_FULL),
            ("COMMIT", sqlite3.SQLITE_IOERR | 13 << 8),
            ("BEGIN", sqlite3.SQLITE_READONLY),
            ("INSERT", sqlite3.SQLITE_FULL),
        ):
            self.connection.faults[step] = [sqlite_error(code)]
            self.run_jobs(write(insert(step + str(code))), write(insert(step)) if step == "INSERT" else READ)
            self.assertIs(self.group.is_well, False)
        self.connection.faults["SELECT"] = [sqlite_error(sqlite3.SQLITE_IOERR)]
        self.run_jobs(READ)
        self.assertIsNone(self.group.is_well)
        # What changes nothing goes well on a full disk, too.
        self.run_jobs(write(lambda connection: connection.execute("DELETE FROM t WHERE v = 'nobody'")))
        self.assertIsNone(self.group.is_well)
        self.run_jobs(Job(values, writes=True, is_probe=True))
        self.assertIs(self.group.is_well, True)

    def test_failing_rollback_is_raised(self) -> None:
        self.connection.faults["COMMIT"] = [sqlite_error(sqlite3.SQLITE_IOERR)]
        self.connection.faults["ROLLBACK"] = [sqlite_error(sqlite3.SQLITE_IOERR)]
        self.assertRaises(sqlite3.OperationalError, self.run_jobs, write(insert(1)))


class StoreErrorTests(SynchronousTestCase):
    def test_codes(self) -> None:
        for number, code in (
            (sqlite3.SQLITE_FULL, "store_full"),
            (sqlite3.SQLITE_READONLY, "store_readonly"),
            (sqlite3.SQLITE_READONLY | (4 << 8), "store_readonly"),
            (sqlite3.SQLITE_BUSY, "store_busy"),
            (sqlite3.SQLITE_LOCKED, "store_busy"),
            (sqlite3.SQLITE_IOERR, "store_unavailable"),
        ):
            error = store_error(sqlite_error(number))
            self.assertEqual((error.code, error.http_status), (code, 503))
            self.assertNotIn("secret", error.message)
        self.assertEqual(store_error(sqlite_error(sqlite3.SQLITE_BUSY)).retry_after_s, 1.0)

    def test_other_errors(self) -> None:
        for error in (sqlite3.ProgrammingError("x"), OverflowError("x"), UnicodeEncodeError("utf-8", "x", 0, 1, "x")):
            self.assertEqual(store_error(error).code, "store_unavailable")
        damage = (sqlite_error(sqlite3.SQLITE_CORRUPT), sqlite_error(sqlite3.SQLITE_NOTADB), UNDECODABLE)
        for error in (*damage, msgspec.DecodeError("x")):
            self.assertEqual(store_error(error).code, "store_damaged")
            self.assertIn("restore a copy", store_error(error).message)
        self.assertIsInstance(store_error(OverflowError()), StoreError)
