"""C{openclaw backup}: round trips, and archives that are not what they say."""

import gzip
import hashlib
import io
import json
import os
import signal
import sqlite3
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from openclaw.cli.backup import archive as backup_archive
from openclaw.cli.backup import group as backup
from openclaw.config.lock import StateLock
from openclaw.store.sqlite import open_database
from test.cli.support import CommandTestCase


class BackupTestCase(CommandTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.config = self.write('{ /* mine */ gateway: { auth: { token: "s3cret-s3cret" } } }')
        self.store = self.state_dir / "gateway.sqlite"
        self.connection = open_database(self.store)
        self.addCleanup(self.connection.close)
        self.connection.execute("CREATE TABLE marker (n)")
        self.connection.execute("INSERT INTO marker VALUES (1)")
        self.archive = self.home / "b.tar.gz"

    def create(self, *arguments: str) -> None:
        self.assertEqual(self.run_command("backup", "create", str(self.archive), *arguments), 0, self.err)

    def markers(self, path: Path | None = None) -> list[int]:
        connection = sqlite3.connect(path or self.store)
        try:
            return [n for (n,) in connection.execute("SELECT n FROM marker ORDER BY n")]
        finally:
            connection.close()

    def refused(self, reason: str, *arguments: str, status: int = 1) -> None:
        self.assertEqual(self.run_command("backup", *arguments), status, self.out)
        self.assertIn(reason, self.err)
        self.assertEqual(list(self.home.rglob(".openclaw-backup-*")), [])


class CreateTests(BackupTestCase):
    def test_create(self) -> None:
        (self.state_dir / ".env").write_text("A=b\n")
        self.create("--json")
        told = self.json_out()
        self.assertEqual([one["name"] for one in told["members"]], ["openclaw.json", "gateway.sqlite"])
        self.assertEqual((told["ok"], told["version"], told["path"]), (True, 1, str(self.archive)))
        self.assertIn(".env", told["notIncluded"])
        self.assertEqual(stat.S_IMODE(self.archive.stat().st_mode), 0o600)
        with tarfile.open(self.archive) as archive:
            self.assertEqual(archive.getnames(), ["manifest.json", "openclaw.json", "gateway.sqlite"])
        self.assertEqual(sorted(path.name for path in self.home.iterdir()), [".openclaw", "b.tar.gz"])

    def test_secrets(self) -> None:
        (self.state_dir / ".env").write_text("A=b\n")
        self.create("--include-secrets")
        self.assertIn("openclaw.json, .env, gateway.sqlite", self.out)
        self.assertIn("readable by you alone", self.out)
        self.assertNotIn(".env", self.out.partition("not in it")[2])
        with tarfile.open(self.archive) as archive:
            self.assertIn(".env", archive.getnames())

    def test_while_the_gateway_writes(self) -> None:
        """What is committed is in the copy, what is not is not."""
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.execute("INSERT INTO marker VALUES (2)")
        self.create()
        self.connection.execute("COMMIT")
        with tarfile.open(self.archive) as archive:
            archive.extract("gateway.sqlite", self.home, filter="data")
        self.assertEqual(self.markers(self.home / "gateway.sqlite"), [1])
        self.assertEqual(self.markers(), [1, 2])

    def test_places(self) -> None:
        self.assertEqual(self.run_command("backup", "create", str(self.home), "--json"), 0)
        self.assertRegex(self.json_out()["path"], r"/openclaw-backup-\d{8}T\d{6}Z\.tar\.gz$")
        with mock.patch.object(Path, "cwd", return_value=self.home / "here"):
            (self.home / "here").mkdir()
            self.assertEqual(self.run_command("backup", "create", "--json"), 0)
            self.assertEqual(Path(self.json_out()["path"]).parent, self.home / "here")

    def test_refused(self) -> None:
        self.create()
        content = self.archive.read_bytes()
        self.refused("exists already", "create", str(self.archive))
        with mock.patch("os.path.lexists", return_value=False):
            self.refused("exists already", "create", str(self.archive))
        self.assertEqual(self.archive.read_bytes(), content)
        self.refused("cannot be written", "create", str(self.home / "no" / "b"))
        with mock.patch.object(os, "link", side_effect=OSError(28, "No space left on device")):
            self.refused("No space left", "create", str(self.home / "c"))
        with mock.patch.object(Path, "write_bytes", side_effect=OSError(28, "No space left on device")):
            self.refused("No space left", "create", str(self.home / "c"))
        self.assertFalse((self.home / "c").exists())

    def test_store_cannot_be_copied(self) -> None:
        other = self.home / "c"
        with mock.patch("openclaw.store.migrate.back_up", side_effect=OSError(28, "No space left on device")):
            self.refused("cannot be copied: No space left", "create", str(other))
        with mock.patch("openclaw.store.migrate.back_up", side_effect=sqlite3.OperationalError("disk full")):
            self.refused("cannot be copied: disk full", "create", str(other))

    def test_sigterm(self) -> None:
        """What was copied so far holds every conversation, and is not left lying about."""
        for number, status in ((signal.SIGTERM, 143), (signal.SIGHUP, 129)):
            # Whoever runs the tests may ignore it, or have the reactor catch it.
            self.addCleanup(signal.signal, number, signal.signal(number, signal.SIG_DFL))

            def end(*_: Any, number: int = number) -> None:
                os.kill(os.getpid(), number)

            with mock.patch("openclaw.cli.backup.archive.write_archive", end):
                self.assertEqual(self.run_command("backup", "create", str(self.archive)), status)
            self.assertEqual([path.name for path in self.home.iterdir()], [".openclaw"])
            self.assertEqual(signal.getsignal(number), signal.SIG_DFL)

    def test_disk_without_links(self) -> None:
        """Such as a memory stick: the archive is written all the same, and nothing is overwritten."""

        def replace(path: Path, target: Path) -> Path:
            if path.name.startswith(f".{self.archive.name}."):
                raise OSError(5, "Input/output error")
            os.replace(path, target)
            return target

        with mock.patch.object(backup_archive.os, "link", side_effect=PermissionError(1, "Operation not permitted")):
            self.create()
            self.assertEqual(self.run_command("backup", "verify", str(self.archive)), 0, self.err)
            before = self.archive.read_bytes()
            with mock.patch("openclaw.cli.backup.group.os.path.lexists", return_value=False):
                self.refused("exists already", "create", str(self.archive))
            self.assertEqual(self.archive.read_bytes(), before)
            self.archive.unlink()
            with mock.patch.object(Path, "replace", replace):
                self.refused("cannot be written: Input/output error", "create", str(self.archive))
        self.assertEqual([path.name for path in self.home.iterdir()], [".openclaw"])

    def test_nothing(self) -> None:
        self.connection.close()
        for path in self.state_dir.iterdir():
            path.unlink()
        self.refused("there is nothing to back up", "create", str(self.archive))
        self.config.write_text("{}")
        self.create()
        self.assertEqual(self.run_command("backup", "verify", str(self.archive)), 0)


class RestoreTests(BackupTestCase):
    def test_round_trip(self) -> None:
        (self.state_dir / ".env").write_text("A=b\n")
        self.create("--include-secrets")
        before = self.config.read_bytes()
        self.connection.execute("INSERT INTO marker VALUES (2)")
        self.config.write_text("{}")
        self.refused("there is something already", "restore", str(self.archive))
        self.assertEqual(self.config.read_text(), "{}")
        self.assertEqual(self.run_command("backup", "restore", str(self.archive), "--force"), 0, self.err)
        self.assertEqual(self.config.read_bytes(), before)
        self.assertEqual(self.markers(), [1])
        for name in ("openclaw.json", ".env", "gateway.sqlite"):
            self.assertEqual(stat.S_IMODE((self.state_dir / name).stat().st_mode), 0o600)
        # nothing is lost, what stood in the log of the old store included
        (kept,) = self.state_dir.glob("gateway.sqlite.before-restore-????????T??????Z")
        self.connection.close()
        self.assertEqual(self.markers(kept), [1, 2])
        (kept,) = self.state_dir.glob("openclaw.json.before-restore-*")
        self.assertEqual(kept.read_text(), "{}")
        self.assertIn(f"what was there is kept: {kept}", self.out)

    def test_elsewhere(self) -> None:
        self.create()
        os.environ["OPENCLAW_STATE_DIR"] = str(self.home / "other")
        os.environ["OPENCLAW_CONFIG_PATH"] = str(self.home / "etc" / "c.json")
        self.assertEqual(self.run_command("backup", "restore", str(self.archive), "--json"), 0, self.err)
        told = self.json_out()
        self.assertEqual(told["restored"], [str(self.home / "etc/c.json"), str(self.home / "other/gateway.sqlite")])
        self.assertEqual(told["kept"], [])
        self.assertEqual(self.markers(self.home / "other/gateway.sqlite"), [1])

    def test_other_disk(self) -> None:
        self.create()
        os.environ["OPENCLAW_STATE_DIR"] = str(self.home / "other")
        real = Path.stat

        def status(path: Path, **options: Any) -> Any:
            found = real(path, **options)
            kept = {"st_mode": found.st_mode, "st_uid": found.st_uid}
            return mock.Mock(wraps=found, st_dev=found.st_dev + (path.name == "other"), **kept)

        with mock.patch.object(Path, "stat", status):
            self.assertEqual(self.run_command("backup", "restore", str(self.archive)), 0, self.err)
        self.assertEqual(self.markers(self.home / "other/gateway.sqlite"), [1])
        names = {path.name for path in (self.home / "other").iterdir()}
        self.assertEqual(names - {"gateway.sqlite-wal", "gateway.sqlite-shm"},
                         {"openclaw.json", ".openclaw.json.lock", "gateway.sqlite", "gateway.lock"})  # fmt: skip

    def test_gateway_runs(self) -> None:
        self.create()
        lock = StateLock(self.state_dir / "gateway.lock")
        lock.acquire()
        self.addCleanup(lock.release)
        self.refused(f"gateway already running (pid {os.getpid()})", "restore", str(self.archive), "--force", status=78)
        self.assertEqual(list(self.state_dir.glob("*before*")), [])

    def test_refused(self) -> None:
        self.create()
        os.environ["OPENCLAW_CONFIG_READONLY"] = "1"
        self.refused("OPENCLAW_CONFIG_READONLY", "restore", str(self.archive), "--force")
        del os.environ["OPENCLAW_CONFIG_READONLY"]
        real = self.config.rename(self.home / "real")
        self.config.symlink_to(real)
        self.refused("is a link", "restore", str(self.archive), "--force")
        self.config.unlink()
        with mock.patch("openclaw.config.edit.flush_folder", side_effect=OSError(5, "Input/output error", "x")):
            self.refused("cannot be flushed: Input/output error", "restore", str(self.archive), "--force")
        with mock.patch("openclaw.store.migrate.load_migrations", return_value=[mock.Mock(version=1)]):
            self.refused("is of a newer version", "restore", str(self.archive), "--force")

    def test_all_or_nothing(self) -> None:
        """Whichever file cannot be put in place, all of them are as they were, the log of the store included."""
        (self.state_dir / ".env").write_text("A=old\n")
        self.create("--include-secrets")
        self.connection.execute("INSERT INTO marker VALUES (2)")
        self.config.write_text("{} // new")
        (self.state_dir / ".env").unlink()
        real = Path.replace

        for place in ("openclaw.json", ".env", "gateway.sqlite"):

            def replace(path: Path, target: Path, place: str = place) -> Path:
                if Path(target).name == place and ".openclaw-backup-" in str(path):
                    raise OSError(28, "No space left on device", str(target))
                return real(path, target)

            with mock.patch.object(Path, "replace", replace), mock.patch("openclaw.cli.backup.store_files.fold"):
                self.refused(
                    "No space left on device; everything is as it was", "restore", str(self.archive), "--force"
                )
            self.assertEqual(self.config.read_text(), "{} // new", place)
            self.assertFalse((self.state_dir / ".env").exists(), place)
            self.assertEqual(list(self.state_dir.glob("*before-restore*")), [], place)
            self.assertTrue((self.state_dir / "gateway.sqlite-wal").stat().st_size, place)
            self.assertEqual(self.markers(), [1, 2], place)

    def test_other_disk_is_full(self) -> None:
        """Nothing is touched before the whole of the backup lies beside its places."""
        self.create()
        self.config.write_text("{} // new")
        real, count = backup._beside, []

        def beside(new: Path, place: Path) -> Path:
            count.append(place)
            if len(count) == 2:
                raise OSError(28, "No space left on device", str(place))
            return real(new, place)

        with mock.patch.object(backup, "_beside", beside):
            self.refused("everything is as it was", "restore", str(self.archive), "--force")
        self.assertEqual(self.config.read_text(), "{} // new")
        self.assertEqual(list(self.state_dir.glob("*before-restore*")), [])

    def test_nothing_stays_of_a_copy_that_fails(self) -> None:
        self.create()
        os.environ["OPENCLAW_STATE_DIR"] = str(self.home / "other")
        real = Path.stat

        def status(path: Path, **options: Any) -> Any:
            found = list(real(path, **options))
            found[stat.ST_DEV] += path.name == "other"
            return os.stat_result(found)

        full = mock.patch.object(backup.os, "fsync", side_effect=OSError(28, "No space left on device"))
        elsewhere, ours = mock.patch.object(Path, "stat", status), mock.patch.object(backup, "_check_owner")
        with elsewhere, ours, full, mock.patch("openclaw.cli.backup.archive._extract", self.extract):
            self.refused("No space left on device; everything", "restore", str(self.archive))
        names = {path.name for path in (self.home / "other").iterdir()}
        self.assertEqual(names, {".openclaw.json.lock", "gateway.lock"})

    def extract(self, path: Path, archive: Any, entry: Any, target: Path, member: Any) -> None:
        """Unpack without a look at the disk."""
        content = archive.extractfile(entry)
        target.write_bytes(content.read())

    def test_old_store_is_damaged(self) -> None:
        """Which may be why another one is restored."""
        self.create()
        self.connection.close()
        self.store.write_bytes(b"no store" * 1000)
        self.assertEqual(self.run_command("backup", "restore", str(self.archive), "--force"), 0, self.err)
        self.assertEqual(self.markers(), [1])
        (kept,) = self.state_dir.glob("gateway.sqlite.before-restore-????????T??????Z")
        self.assertEqual(kept.read_bytes(), b"no store" * 1000)

    def test_log_of_the_old_store_is_folded_in(self) -> None:
        """A crash after the log was moved aside must not cost what it held."""
        self.create()
        self.connection.execute("INSERT INTO marker VALUES (2)")
        with mock.patch.object(backup, "_replace", side_effect=KeyboardInterrupt):
            self.assertEqual(self.run_command("backup", "restore", str(self.archive), "--force"), 130)
        wal = self.state_dir / "gateway.sqlite-wal"
        self.assertEqual(wal.stat().st_size if wal.exists() else 0, 0)
        self.assertEqual(self.markers(), [1, 2])

    def test_log_of_a_store_that_is_gone(self) -> None:
        """SQLite would play it into the store that is put in place."""
        self.create()
        self.connection.execute("INSERT INTO marker VALUES (2)")
        self.store.rename(self.store.with_name("damaged"))
        wal = self.state_dir / "gateway.sqlite-wal"
        left = wal.read_bytes()
        self.assertTrue(left)
        self.assertEqual(self.run_command("backup", "restore", str(self.archive), "--force"), 0, self.err)
        self.assertEqual(self.markers(), [1])
        (kept,) = self.state_dir.glob("gateway.sqlite.before-restore-*-wal")
        self.assertEqual(kept.read_bytes(), left)
        self.assertIn(f"what was there is kept: {kept}\n", self.out)

    def test_sigterm(self) -> None:
        """In the middle of it: everything is as it was."""
        self.addCleanup(signal.signal, signal.SIGTERM, signal.signal(signal.SIGTERM, signal.SIG_DFL))
        self.create()
        self.config.write_text("{} // new")
        real = backup._replace

        def replace(draft: Path, place: Path, stamp: str, undo: Any) -> None:
            real(draft, place, stamp, undo)
            os.kill(os.getpid(), signal.SIGTERM)

        with mock.patch.object(backup, "_replace", replace):
            self.assertEqual(self.run_command("backup", "restore", str(self.archive), "--force"), 143)
        self.assertEqual(self.config.read_text(), "{} // new")
        self.assertEqual(list(self.state_dir.glob("*before-restore*")), [])

    def test_folder_of_another_user(self) -> None:
        """What root restores the gateway of another user could not read."""
        self.create()
        os.chown(self.state_dir, 12345, 12345)
        self.addCleanup(os.chown, self.state_dir, 0, 0)
        self.refused("belongs to #12345: restore as that user", "restore", str(self.archive), "--force")
        os.chown(self.state_dir, 1, 1)
        self.refused("restore as that user, with: sudo -u daemon", "restore", str(self.archive), "--force")
        self.assertEqual(list(self.state_dir.glob("*before*")), [])

    if os.geteuid() != 0:
        test_folder_of_another_user.skip = "only root can give a folder away"  # type: ignore[attr-defined]


class DamageTests(BackupTestCase):
    def remade(self, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> None:
        """Make the archive anew, with the list and the members as C{change} leaves them."""
        with tarfile.open(self.archive) as archive:
            files: dict[str, Any] = {}
            for entry in archive:
                content = archive.extractfile(entry)
                assert content is not None
                files[entry.name] = content.read()
        manifest = json.loads(files.pop("manifest.json"))
        change(manifest, files)
        with tarfile.open(self.archive, "w:gz") as archive:
            for name, value in {"manifest.json": json.dumps(manifest).encode(), **files}.items():
                entry = tarfile.TarInfo(name)
                if isinstance(value, tuple):
                    entry.type, entry.linkname, value = *value, b""
                entry.size = len(value)
                archive.addfile(entry, io.BytesIO(value))

    def test_whole(self) -> None:
        self.create()
        self.assertEqual(self.run_command("backup", "verify", str(self.archive), "--json"), 0)
        self.assertEqual(self.json_out()["ok"], True)
        with mock.patch.object(os, "access", lambda _, mode: mode != os.W_OK):
            self.assertEqual(self.run_command("backup", "verify", str(self.archive)), 0)
        self.assertIn("is whole: openclaw.json", self.out)

    def test_not_ours(self) -> None:
        for content, reason in (
            (b"", "is no backup"),
            (b"text", "is no backup"),
            (gzip.compress(b"text"), "is no backup"),
            (gzip.compress(b"\0" * 10240), "does not begin with manifest.json"),
        ):
            self.archive.write_bytes(content)
            self.refused(reason, "verify", str(self.archive))
        self.refused("No such file", "verify", str(self.home / "no"))

    def test_cut_off(self) -> None:
        self.create()
        whole = self.archive.read_bytes()
        for length in range(0, len(whole) - 1, 97):
            self.archive.write_bytes(whole[:length])
            self.assertEqual(self.run_command("backup", "verify", str(self.archive)), 1, length)
        flipped = bytearray(whole)
        flipped[len(whole) // 2] ^= 0xFF
        self.archive.write_bytes(flipped)
        self.assertEqual(self.run_command("backup", "verify", str(self.archive)), 1)

    def test_tampered(self) -> None:
        evil = b"x"
        hashed = hashlib.sha256(evil).hexdigest()

        def list_evil(name: str) -> Callable[[dict[str, Any], dict[str, Any]], None]:
            def change(manifest: dict[str, Any], files: dict[str, Any]) -> None:
                manifest["members"].append({"name": name, "bytes": 1, "sha256": hashed})
                files |= {name: evil} if name != "manifest.json" else {}

            return change

        def setting(key: str, value: Any, place: int | None = None) -> Callable[[dict[str, Any], dict[str, Any]], None]:
            def change(manifest: dict[str, Any], files: dict[str, Any]) -> None:
                target = manifest if place is None else manifest["members"][place]
                if value is None:
                    del target[key]
                else:
                    target[key] = value

            return change

        def content(name: str, value: Any) -> Callable[[dict[str, Any], dict[str, Any]], None]:
            return lambda _, files: files.update({name: value})

        def broken_store(manifest: dict[str, Any], files: dict[str, Any]) -> None:
            broken = files["gateway.sqlite"][:8192] + b"\xff" * (len(files["gateway.sqlite"]) - 8192)
            files["gateway.sqlite"] = broken
            manifest["members"][1]["sha256"] = hashlib.sha256(broken).hexdigest()

        for change, reason in (
            (list_evil("../evil"), "a backup holds no"),
            (list_evil("/etc/passwd"), "a backup holds no"),
            (list_evil("manifest.json"), "a backup holds no"),
            (setting("name", "openclaw.json", 1), "or only once"),
            (setting("name", 5, 0), "a backup holds no"),
            (content("../evil", evil), "holds '../evil', which its list does not name"),
            (content("openclaw.json", evil), "is not the file of"),
            (content("openclaw.json", (tarfile.SYMTYPE, "/etc/passwd")), "something else than ordinary files"),
            (lambda _, files: files.pop("gateway.sqlite"), "it lacks gateway.sqlite"),
            (setting("sha256", "0" * 64, 0), "the SHA-256 of openclaw.json"),
            (setting("bytes", 1 << 50, 1), "gateway.sqlite is too large"),
            (setting("bytes", "5", 0), "openclaw.json is too large"),
            (setting("bytes", None, 0), "its list lacks something"),
            (setting("members", 5), "its list lacks something"),
            (setting("format", "x"), "is no backup of this gateway"),
            (setting("version", 2), "another layout (version 2"),
            (setting("schema", 1), "its store has the schema"),
            (setting("schema", "x"), "its list lacks something"),
            (setting("schema", True), "its list lacks something"),
            (setting("name", [], 0), "a backup holds no"),
            (broken_store, "store"),
        ):
            self.archive.unlink(missing_ok=True)
            self.create()
            self.remade(change)
            before = sorted(path.name for path in self.home.rglob("*"))
            self.refused(reason, "verify", str(self.archive))
            self.assertEqual(sorted(path.name for path in self.home.rglob("*")), before)
            self.refused(reason, "restore", str(self.archive), "--force")
            self.assertEqual(list(self.state_dir.glob("*before*")), [], reason)

    def test_manifest_is_a_link(self) -> None:
        with tarfile.open(self.archive, "w:gz") as archive:
            entry = tarfile.TarInfo("manifest.json")
            entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(entry)
        self.refused("it holds something else than ordinary files", "verify", str(self.archive))

    def test_headers_that_are_large(self) -> None:
        """Long names and attributes are read into memory by tarfile, whole: 2 MB of archive took 1 GB of memory."""
        for kind in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_SPARSE):
            entry = tarfile.TarInfo("x")
            entry.type, entry.size = kind, 1 << 29
            with gzip.open(self.archive, "wb", compresslevel=1) as file:
                file.write(entry.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20))
            self.refused("it holds something else than ordinary files", "verify", str(self.archive))

    def test_manifest_is_deep(self) -> None:
        deep = b"[" * 60_000
        with tarfile.open(self.archive, "w:gz") as archive:
            entry = tarfile.TarInfo("manifest.json")
            entry.size = len(deep)
            archive.addfile(entry, io.BytesIO(deep))
        self.refused("manifest.json is nested too deeply", "verify", str(self.archive))

    def test_manifest_for_a_terminal(self) -> None:
        """What an archive says of itself cannot command the terminal."""
        self.create()
        self.remade(lambda manifest, _: manifest.update(createdAt="\x1b]0;evil\x07"))
        self.assertEqual(self.run_command("backup", "verify", str(self.archive), terminal=True), 0)
        self.assertNotIn("\x1b", self.out)

    def test_no_room(self) -> None:
        self.create()
        with mock.patch.object(os, "statvfs", return_value=mock.Mock(f_bavail=0, f_frsize=4096)):
            self.refused("has not so much space left", "verify", str(self.archive))
        with mock.patch.object(backup_archive, "_check_room", side_effect=OSError(28, "No space left on device")):
            self.refused("cannot be read or unpacked: No space", "verify", str(self.archive))
