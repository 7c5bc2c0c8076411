"""C{openclaw backup create}."""

import os
import signal
import sqlite3
import stat
import tarfile
from pathlib import Path
from typing import Any
from unittest import mock

from test.cli.backup.backup_support import BackupTestCase


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
        with mock.patch("openclaw.cli.backup.store_files.back_up", side_effect=OSError(28, "No space left on device")):
            self.refused("cannot be copied: No space left", "create", str(other))
        with mock.patch("openclaw.cli.backup.store_files.back_up", side_effect=sqlite3.OperationalError("disk full")):
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

        with mock.patch.object(os, "link", side_effect=PermissionError(1, "Operation not permitted")):
            self.create()
            self.assertEqual(self.run_command("backup", "verify", str(self.archive)), 0, self.err)
            before = self.archive.read_bytes()
            with mock.patch("os.path.lexists", return_value=False):
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
