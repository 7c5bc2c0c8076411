"""Tests of L{openclaw.store.migrate}."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import attrs
from twisted.trial.unittest import SynchronousTestCase

from openclaw.cli.backup.store_files import look_at_store
from openclaw.errors import StartError
from openclaw.messages import Message
from openclaw.records import KeyClaim, Transcript
from openclaw.sessions.placement import Placement, place
from openclaw.store.idempotency import find_key
from openclaw.store.migrate import Migration, back_up, load_migrations, migrate
from openclaw.store.sqlite import open_database
from openclaw.store.transcripts import append_entries, read_transcript
from test.fakes import tree_of

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


class UpgradeTests(SynchronousTestCase):
    """A store that an older gateway wrote, as it was."""

    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        self.path = folder / "gateway.sqlite"
        with closing(sqlite3.connect(self.path)) as connection:
            connection.executescript(Path(__file__).with_name("version_5.sql").read_text("utf-8"))

    def open(self) -> sqlite3.Connection:
        connection = open_database(self.path)
        self.addCleanup(connection.close)
        return connection

    def transcript(self, connection: sqlite3.Connection, key: str) -> Transcript:
        return read_transcript(connection, f"agent:main:{key}")

    def test_everything_is_there(self) -> None:
        with closing(sqlite3.connect(self.path)) as connection:
            before = list(connection.iterdump())
        connection = self.open()
        chat = self.transcript(connection, "openai-chat:c")
        self.assertEqual(
            [
                ("user", "What is there?", None),
                ("assistant", "Let me see. ", "tool_calls"),
                ("user", "Give it a title", None),
                ("assistant", "A title", "stop"),
                ("tool", "one", None),
                ("tool", "two", None),
                ("assistant", "Two things.", "stop"),
            ],
            [(entry.message.role, entry.message.text, entry.stop_reason) for entry in chat.entries],
        )
        self.assertEqual((chat.entries[-1].id, {chat.entries[2].id}), (chat.tip_id, chat.detached))
        self.assertEqual(self.unchanged(before), self.unchanged(connection.iterdump()))
        with closing(sqlite3.connect(self.path.with_name("gateway.sqlite.bak-v5"))) as copy:
            self.assertEqual(before, list(copy.iterdump()))

    def unchanged(self, dump: Iterable[str]) -> list[str]:
        """The rows of the tables whose columns are what they were."""
        changed = ("detached_roots", "entries", "idempotency_keys", "idempotency_totals")
        return [row for row in dump if row.startswith("INSERT") and not any(f'"{name}"' in row for name in changed)]

    def test_keys_are_those_of_http(self) -> None:
        connection = self.open()
        claim = KeyClaim("operator", "key-1", b"\1" * 32, "later", 1_000_000_001)
        known = find_key(connection, claim)
        assert known is not None and known.result is not None
        self.assertEqual(("done", ("chatcmpl_9",), "kept"), (known.state, known.attempts, known.result.text))
        self.assertIsNone(find_key(connection, attrs.evolve(claim, surface="ws")))
        totals = connection.execute("SELECT surface, key_count, total_bytes FROM idempotency_totals ORDER BY surface")
        self.assertEqual([("http", 1, 262), ("ws", 0, 0)], totals.fetchall())

    def test_all_calls_are_the_clients(self) -> None:
        connection = self.open()
        for key, ids in (("openai-chat:c", ("call_7", "call_8")), ("open", ("call_7",))):
            transcript = self.transcript(connection, key)
            self.assertEqual({()}, {entry.own_calls for entry in transcript.entries})
            self.assertEqual(ids, tree_of(transcript).nodes[1].shown[2])
        result = Message("tool", "one", tool_call_id="call_7")
        placed = place(tree_of(transcript), [result], "chat")
        self.assertEqual(Placement(transcript.tip_id, (result,)), placed)

    def test_goes_on(self) -> None:
        connection = self.open()
        before = self.transcript(connection, "open")
        more = attrs.evolve(before.entries[1], id="more", parent_id=before.tip_id, own_calls=("call_7",))
        append_entries(connection, "agent:main:open", "main", [more])
        self.assertEqual((*before.entries, more), self.transcript(connection, "open").entries)

    def test_looked_at_before_and_after(self) -> None:
        newest = load_migrations()[-1].version
        versions = [(state.version, state.newest) for state in (look_at_store(self.path, thorough=True),)]
        self.open().close()
        state = look_at_store(self.path, thorough=True)
        self.assertEqual([(5, newest), (newest, newest)], [*versions, (state.version, state.newest)])
