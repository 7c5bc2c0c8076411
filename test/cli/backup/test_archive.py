"""C{openclaw backup verify}: archives that are not what they say."""

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable
from typing import Any
from unittest import mock

from test.cli.backup.backup_support import BackupTestCase


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
        with mock.patch.object(os, "statvfs", side_effect=OSError(28, "No space left on device")):
            self.refused("cannot be read or unpacked: No space", "verify", str(self.archive))
