"""
Stores that are damaged in every way: each command says so, none ends in a traceback, and a copy can be restored.

C{OPENCLAW_TEST_DAMAGED_STORES} names how many are tried, by default few.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from openclaw.cli.backup.store_files import look_at_store
from openclaw.cli.doctor import machine
from openclaw.cli.doctor.findings import Surroundings
from openclaw.config.paths import resolve_paths
from openclaw.errors import OpenClawError, StartError, StoreError
from openclaw.records import SessionQuery
from openclaw.store.inline import InlineStoreThread
from openclaw.store.sqlite import open_database, open_reader
from openclaw.store.store import GatewayStore
from openclaw.store.transcripts import append_entries
from test.cli.backup.backup_support import BackupTestCase
from test.store.connections import entry, run_record

COUNT = int(os.environ.get("OPENCLAW_TEST_DAMAGED_STORES", "12"))
KEY = "agent:main:a"
SIDES = ("-wal", "-shm", "-journal")


def flip(chance: random.Random, content: bytearray, count: int, start: int = 0, end: int | None = None) -> None:
    """Change bytes at random places."""
    for _ in range(count):
        content[chance.randrange(start, min(end or len(content), len(content)))] = chance.randrange(256)


def damaged(chance: random.Random, content: bytes) -> bytes | None:
    """A file with some damage; C{None} for a folder in its place."""
    new = bytearray(content)
    kind = chance.randrange(9)
    if kind == 0:
        flip(chance, new, chance.choice((1, 10, 200)))
    elif kind == 1:
        flip(chance, new, chance.choice((1, 4)), 0, 100)
    elif kind == 2:
        flip(chance, new, chance.choice((1, 5, 50)), 100, 4096)
    elif kind == 3:
        # a name in the schema, which SQLite's messages repeat
        names = [at for name in (b"sessions", b"entries", b"runs", b"tip_seq") for at in _places(content, name)]
        for at in chance.sample(names, min(4, len(names))):
            new[at] = 0xFF
    elif kind == 4:
        del new[chance.randrange(len(new)) :]
    elif kind == 5:
        page = chance.randrange(len(new) // 4096) * 4096
        new[page : page + 4096] = bytes(4096)
    elif kind == 6:
        return chance.randbytes(chance.choice((1, 100, 5000)))
    elif kind == 7:
        return b""
    else:
        return None
    return bytes(new)


def _places(content: bytes, name: bytes) -> list[int]:
    found, at = [], content.find(name)
    while at >= 0:
        found.append(at)
        at = content.find(name, at + 1)
    return found


class DamagedStoreTests(BackupTestCase):
    def setUp(self) -> None:
        super().setUp()
        entries = [entry(str(n), str(n - 1) if n else None, "hello " * 50) for n in range(60)]
        append_entries(self.connection, KEY, "main", entries)
        self.create()
        self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        append_entries(self.connection, KEY, "main", [entry("last", "59", "x" * 9000)])
        self.content = self.store.read_bytes()
        self.log = Path(f"{self.store}-wal").read_bytes()
        self.connection.close()
        self.clear()

    def clear(self) -> None:
        for path in self.state_dir.glob("gateway.sqlite*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def place(self, content: bytes | None, log: bytes | None) -> None:
        self.clear()
        if content is None:
            self.store.mkdir()
            (self.store / "inside").write_text("kept")
        else:
            self.store.write_bytes(content)
        if log is not None:
            Path(f"{self.store}-wal").write_bytes(log)

    def try_all(self, content: bytes | None, log: bytes | None) -> None:
        """Every command and call on a store with these files, each of which may refuse, and none may raise else."""
        for call in (self.use, self.diagnose, self.save):
            self.place(content, log)
            call()
        self.place(content, log)
        self.assertEqual(self.run_command("backup", "restore", str(self.archive), "--force"), 0, self.err)
        self.assertEqual(self.markers(), [1])
        asides = self.state_dir.glob("gateway.sqlite.before-restore-*")
        (kept,) = (path for path in asides if not path.name.endswith(SIDES))
        if content is None:
            self.assertEqual((kept / "inside").read_text(), "kept")
        else:
            side = Path(f"{kept}-wal")
            if kept.read_bytes() != content or (side.read_bytes() if side.exists() else b"") != (log or b""):
                # only what is whole may take in its log
                look_at_store(kept, thorough=False)

    def use(self) -> None:
        """As the gateway does."""
        writer = InlineStoreThread(partial(open_database, self.store))
        readers = [InlineStoreThread(partial(open_reader, self.store)) for _ in range(2)]
        opening = Deferred.fromCoroutine(GatewayStore._open(writer, *readers))
        store = self.outcome(opening, StartError)
        if store is None:
            return
        calls: tuple[Callable[[], Deferred[Any]], ...] = (
            lambda: store.transcript(KEY),
            lambda: store.branch(KEY),
            lambda: store.branch(KEY, 3),
            lambda: store.sessions(SessionQuery()),
            lambda: store.runs(10),
            lambda: store.secret("s"),
            lambda: store.begin_run(run_record(), [entry("n", "59")]),
            lambda: store.end_run(run_record(status="succeeded", ended_at_ms=2000), [entry("r")], detached=True),
            lambda: store.prune_detached(5000, 10),
            lambda: store.archive_sessions(5000, 0, 6000, 10),
            lambda: store.list_archived(10),
            lambda: store.drop_session(KEY),
            lambda: store.purge_dropped(10),
            lambda: store.prune_keys(5000),
            store.used_bytes,
            store.close,
        )
        for call in calls:
            self.outcome(call(), StoreError)
        self.flushLoggedErrors()

    def outcome(self, deferred: Deferred[Any], allowed: type[OpenClawError]) -> Any:
        results: list[Any] = []
        deferred.addBoth(results.append)
        (result,) = results
        if not hasattr(result, "check"):
            return result
        self.assertTrue(result.check(allowed), result.getTraceback())
        if allowed is StoreError:
            self.assertNotIn(str(self.state_dir), result.value.message)
        return None

    def diagnose(self) -> None:
        at = Surroundings(resolve_paths(os.environ), os.environ)
        for finding in machine.store(at):
            self.assertTrue(finding.fix_hint)

    def save(self) -> None:
        target = self.home / "saved.tar.gz"
        target.unlink(missing_ok=True)
        status = self.run_command("backup", "create", str(target))
        self.assertIn(status, (0, 1), self.err)
        self.assertNotIn("Traceback", self.err)
        self.assertEqual(status == 0, target.exists())

    def test_any_damage(self) -> None:
        for seed in range(COUNT):
            chance = random.Random(seed)
            content: bytes | None = self.content
            log: bytes | None = chance.choice((None, self.log))
            if chance.random() < 0.2:
                bad = bytearray(self.log)
                flip(chance, bad, 20)
                log = chance.choice((bytes(bad), bytes(bad[:50]), b"foreign" * 999, self.content))
            else:
                content = damaged(chance, self.content)
            try:
                self.try_all(content, log)
            except BaseException:
                print(f"seed {seed}")
                raise

    def test_undecodable_message(self) -> None:
        """Damage in a table's name."""
        content = self.content.replace(b"CREATE TABLE sessions", b"CREATE TABLX sessions")
        content = content.replace(b"sessions", b"sess\xff\xfens")
        self.place(content, None)
        self.assertRaises(UnicodeDecodeError, self.ask_sqlite)
        self.refused("is damaged", "create", str(self.home / "c"))
        self.assertIn("restore a copy: openclaw backup restore FILE --force", self.err)
        error = self.assertRaises(StartError, self.open_store)
        self.assertIn("damaged", error.message)
        self.assertIn("restore a copy", error.message)

    def ask_sqlite(self) -> None:
        connection = sqlite3.connect(self.store)
        try:
            connection.execute("SELECT * FROM sessions").fetchall()
        finally:
            connection.close()

    def open_store(self) -> None:
        writer = InlineStoreThread(partial(open_database, self.store))
        opening = Deferred.fromCoroutine(GatewayStore._open(writer, writer, writer))
        raise self.failureResultOf(opening).value

    def test_two_restores_within_a_second(self) -> None:
        self.place(b"first", None)
        for content in (b"first", b"second", b"third"):
            self.store.write_bytes(content)
            self.assertEqual(self.run_command("backup", "restore", str(self.archive), "--force"), 0, self.err)
        kept = sorted(path.read_bytes() for path in self.state_dir.glob("gateway.sqlite.before-restore-*"))
        self.assertEqual(kept, [b"first", b"second", b"third"])
