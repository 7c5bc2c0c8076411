"""C{openclaw backup restore}."""

import os
import signal
import stat
from pathlib import Path
from typing import Any
from unittest import mock

from openclaw.config.lock import StateLock
from test.cli.backup.backup_support import BackupTestCase


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
        with mock.patch("openclaw.cli.backup.placing.flush_folder", side_effect=OSError(5, "Input/output error", "x")):
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

            with mock.patch.object(Path, "replace", replace), mock.patch("openclaw.cli.backup.placing.fold"):
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
        real = os.open

        def full(path: Any, *arguments: Any, **options: Any) -> int:
            if Path(path).name.startswith(".gateway.sqlite..openclaw-backup-"):
                raise OSError(28, "No space left on device", str(path))
            return real(path, *arguments, **options)

        with self.other_disk(self.state_dir), mock.patch.object(os, "open", full):
            self.refused("everything is as it was", "restore", str(self.archive), "--force")
        self.assertEqual(self.config.read_text(), "{} // new")
        self.assertEqual(list(self.state_dir.glob("*before-restore*")), [])

    def test_nothing_stays_of_a_copy_that_fails(self) -> None:
        self.create()
        other = self.home / "other"
        os.environ["OPENCLAW_STATE_DIR"] = str(other)
        real, full = os.fsync, []

        def fsync(descriptor: int) -> None:
            path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
            if path.parent == other.resolve():  # beside its place, and not unpacked in a folder of ours
                full.append(path)
                raise OSError(28, "No space left on device")
            real(descriptor)

        with self.other_disk(other), mock.patch.object(os, "fsync", fsync):
            self.refused("No space left on device; everything", "restore", str(self.archive))
        self.assertEqual(len(full), 1)
        self.assertEqual({path.name for path in other.iterdir()}, {".openclaw.json.lock", "gateway.lock"})

    def other_disk(self, folder: Path) -> Any:
        """A patch that has a folder be on another disk than what is in it."""
        real = Path.stat

        def status(path: Path, **options: Any) -> Any:
            found = list(real(path, **options))
            found[stat.ST_DEV] += path == folder
            return os.stat_result(found)

        return mock.patch.object(Path, "stat", status)

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
        real = Path.replace

        def replace(path: Path, target: Path) -> Path:
            if ".openclaw-backup-" in str(path):
                raise KeyboardInterrupt
            return real(path, target)

        with mock.patch.object(Path, "replace", replace):
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
        real, replaced = Path.replace, []

        def replace(path: Path, target: Path) -> Path:
            replaced.append(target)
            if len(replaced) == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            return real(path, target)

        with mock.patch.object(Path, "replace", replace):
            self.assertEqual(self.run_command("backup", "restore", str(self.archive), "--force"), 143)
        self.assertEqual(replaced[0], self.config)
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
