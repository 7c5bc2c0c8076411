"""Tests of L{openclaw.store.migrate}."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from openclaw.errors import StartError
from openclaw.store.migrate import Migration, back_up, load_migrations, migrate

FIRST = Migration(1, "CREATE TABLE a (x); INSERT INTO a VALUES (1);")
SECOND = Migration(2, "ALTER TABLE a ADD COLUMN y DEFAULT 5;")
BROKEN = Migration(3, "CREATE TABLE b (x); INSERT INTO nowhere VALUES (1);")
UNPARSED = Migration(3, "CREATE TABLE b (x); COMMIT; SELEKT;")


class MigrateTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.connection = sqlite3.connect(self.path, isolation_level=None)
        self.addCleanup(self.connection.close)

    def version(self, connection: sqlite3.Connection | None = None) -> int:
        (version,) = (connection or self.connection).execute("PRAGMA user_version").fetchone()
        return int(version)

    def names(self) -> set[str]:
        return {name for (name,) in self.connection.execute("SELECT name FROM sqlite_master")}

    def backup(self) -> Path:
        return self.path.with_name(self.path.name + ".bak-v1")

    def test_a_new_file_needs_no_copy(self) -> None:
        migrate(self.connection, self.path, [FIRST, SECOND])
        self.assertEqual(self.version(), 2)
        self.assertEqual(self.connection.execute("SELECT * FROM a").fetchall(), [(1, 5)])
        self.assertFalse(self.backup().exists())

    def test_upgrade_keeps_a_copy(self) -> None:
        migrate(self.connection, self.path, [FIRST])
        migrate(self.connection, self.path, [FIRST, SECOND])
        self.assertEqual(self.connection.execute("SELECT * FROM a").fetchall(), [(1, 5)])
        self.assertEqual(stat.S_IMODE(self.backup().stat().st_mode), 0o600)
        copy = sqlite3.connect(self.backup())
        self.addCleanup(copy.close)
        self.assertEqual((self.version(copy), copy.execute("SELECT * FROM a").fetchall()), (1, [(1,)]))
        self.assertEqual([p for p in self.path.parent.iterdir() if p.name.endswith(".part")], [])

    def test_nothing_to_do(self) -> None:
        migrate(self.connection, self.path, [FIRST])
        migrate(self.connection, self.path, [FIRST])
        self.assertEqual(self.version(), 1)
        self.assertFalse(self.backup().exists())

    def test_a_failing_step_changes_nothing(self) -> None:
        migrate(self.connection, self.path, [FIRST])
        self.assertRaises(sqlite3.Error, migrate, self.connection, self.path, [FIRST, SECOND, BROKEN])
        self.assertEqual((self.version(), self.names()), (2, {"a"}))
        self.assertFalse(self.connection.in_transaction)
        migrate(self.connection, self.path, [FIRST, SECOND])

    def test_a_failing_step_outside_of_its_transaction(self) -> None:
        self.assertRaises(sqlite3.Error, migrate, self.connection, self.path, [FIRST, SECOND, UNPARSED])
        self.assertFalse(self.connection.in_transaction)

    def test_newer(self) -> None:
        migrate(self.connection, self.path, [FIRST, SECOND])
        error = self.assertRaises(StartError, migrate, self.connection, self.path, [FIRST])
        self.assertIn("was written by a newer version", error.message)
        self.assertIn(str(self.path), error.message)
        self.assertEqual(error.exit_code, 78)

    def test_copy_that_fails_leaves_nothing(self) -> None:
        self.connection.execute("CREATE TABLE a (x)")
        target = Path(self.mktemp())
        self.connection.close()
        self.assertRaises(sqlite3.ProgrammingError, back_up, self.connection, target)
        self.assertEqual([p.name for p in target.parent.iterdir() if p.name.startswith(target.name)], [])

    def test_copy_replaces_an_older_one(self) -> None:
        self.connection.execute("CREATE TABLE a (x)")
        self.backup().write_text("old")
        self.path.with_name(self.backup().name + ".part").write_text("left by a crash")
        back_up(self.connection, self.backup())
        self.assertTrue(self.backup().read_bytes().startswith(b"SQLite format 3"))

    def test_the_packages_own(self) -> None:
        steps = load_migrations()
        self.assertEqual([step.version for step in steps], list(range(1, len(steps) + 1)))
        migrate(self.connection, self.path, steps)
        self.assertLessEqual({"sessions", "entries", "runs"}, self.names())
