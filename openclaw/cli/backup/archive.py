"""
The archive of C{openclaw backup}: one C{.tar.gz} with a list of what is in it.

The list comes first and names size and SHA-256 of every member.  An archive is taken apart by names that we know,
into a folder of ours, within the sizes that it names itself: what else it may hold (paths, links, devices) is refused.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import attrs

from openclaw._version import __version__
from openclaw.cli.backup.store_files import look_at_store
from openclaw.cli.files import new_file, whole_file
from openclaw.cli.output import terminating
from openclaw.config.load import MAX_CONFIG_BYTES, MAX_DOTENV_BYTES
from openclaw.errors import OpenClawError

FORMAT = "openclaw-gateway-backup"
"""What the list of members calls itself."""

VERSION = 1
"""Version of the archive's layout."""

MANIFEST = "manifest.json"
CONFIG = "openclaw.json"
STORE = "gateway.sqlite"
DOTENV = ".env"

MAX_BYTES: Mapping[str, int] = {MANIFEST: 64 * 1024, CONFIG: MAX_CONFIG_BYTES, DOTENV: MAX_DOTENV_BYTES, STORE: 1 << 40}
"""The members that there may be, each with its largest size, bytes."""

_CHUNK = 1 << 20


@attrs.frozen
class Member:
    """A file of the archive; its hash is in hexadecimal digits."""

    name: str
    size_bytes: int
    sha256: str


@attrs.frozen
class Manifest:
    """
    What an archive says of itself.

    @ivar created_at: ISO time.
    @ivar program: version of the program that made it.
    @ivar schema: version of the store's schema; C{None} without a store.
    """

    created_at: str
    program: str
    schema: int | None
    members: tuple[Member, ...]

    @property
    def summary(self) -> str:
        """For people."""
        names = ", ".join(f"{one.name} ({one.size_bytes:,} bytes)" for one in self.members)
        return f"{names}, made {self.created_at} by openclaw {self.program}"

    def as_json(self) -> dict[str, Any]:
        """For the archive, and for programs."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "createdAt": self.created_at,
            "openclawVersion": self.program,
            "schema": self.schema,
            "members": [{"name": one.name, "bytes": one.size_bytes, "sha256": one.sha256} for one in self.members],
        }


@contextmanager
def folder_in(parent: Path) -> Iterator[Path]:
    """A folder of our own beside what is written, gone afterwards, also if a signal ends us."""
    try:
        folder = tempfile.TemporaryDirectory(prefix=".openclaw-backup-", dir=parent)
    except OSError as error:
        raise OpenClawError(f"{parent} cannot be written: {error.strerror}") from None
    with terminating(), folder as name:
        yield Path(name)


def _digest(path: Path) -> tuple[int, str]:
    """Size and SHA-256 of a file."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
        return file.tell(), found


def write_archive(target: Path, files: Mapping[str, Path], created_at: str, schema: int | None) -> Manifest:
    """
    Make an archive, complete or not at all.  Blocks.

    @param target: must not exist; gets mode 0600.
    @param files: the members; nobody may write to them meanwhile.
    @raise OpenClawError: if it cannot be written.
    """
    try:
        members = tuple(Member(name, *_digest(path)) for name, path in files.items())
        manifest = Manifest(created_at, __version__, schema, members)
        # GNU, as it has room for any size in the one header that a reader takes
        layout: dict[str, Any] = {"mode": "w:gz", "compresslevel": 6, "format": tarfile.GNU_FORMAT}
        with whole_file(target) as file, tarfile.open(fileobj=file, **layout) as archive:
            _add(archive, MANIFEST, io.BytesIO(json.dumps(manifest.as_json(), indent=2).encode()))
            for name, path in files.items():
                with path.open("rb") as content:
                    _add(archive, name, content)
    except FileExistsError:
        raise OpenClawError(f"{target} exists already; name another file") from None
    except OSError as error:
        raise OpenClawError(f"{target} cannot be written: {error.strerror or error}") from None
    return manifest


def _add(archive: tarfile.TarFile, name: str, content: IO[bytes]) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = content.seek(0, os.SEEK_END)
    entry.mode = 0o600
    content.seek(0)
    archive.addfile(entry, content)


def unpack(path: Path, folder: Path) -> Manifest:
    """
    Check an archive and unpack it into a folder.  Blocks.

    Every member's size and hash is compared with the list, and the store is checked from end to end.

    @param folder: an empty folder of ours.
    @raise OpenClawError: if it is no archive of ours, or damaged; it says how.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with (
            os.fdopen(descriptor, "rb") as file,
            gzip.GzipFile(fileobj=file) as unzipped,
            tarfile.open(fileobj=unzipped, mode="r|", tarinfo=_PlainHeader) as archive,
        ):
            manifest = _unpack(path, archive, folder)
            # Its checksum comes last, behind what fills the last block: without that it was cut off.
            if len(unzipped.read(_CHUNK)) == _CHUNK:
                raise OpenClawError(f"{path} is refused: it holds more than its list names")
            return manifest
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error, ValueError) as error:
        raise OpenClawError(f"{path} is no backup of this gateway, or damaged: {error}") from None
    except OSError as error:
        raise OpenClawError(f"{path} cannot be read or unpacked: {error.strerror or error}") from None


class _PlainHeader(tarfile.TarInfo):
    """
    The header of an ordinary file, and of nothing else.

    The other kinds, which hold long names and attributes, are read into memory whole, however large they say they are;
    ours have none.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _PlainHeader:
        header = super().frombuf(buf, encoding, errors)
        if header.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
            raise tarfile.TarError("it holds something else than ordinary files")
        return header


def _unpack(path: Path, archive: tarfile.TarFile, folder: Path) -> Manifest:
    entry = archive.next()
    if entry is None or entry.name != MANIFEST:
        raise OpenClawError(f"{path} is no backup of this gateway: it does not begin with {MANIFEST}")
    listing = archive.extractfile(entry) if entry.isreg() and entry.size <= MAX_BYTES[MANIFEST] else None
    if listing is None:
        raise OpenClawError(f"{path} is refused: {MANIFEST} is no ordinary file, or too large")
    manifest = _manifest(path, listing.read())
    expected = {member.name: member for member in manifest.members}
    while (entry := archive.next()) is not None:
        member = expected.pop(entry.name, None)
        if member is None:
            raise OpenClawError(f"{path} is refused: it holds {entry.name[:200]!r}, which its list does not name")
        if not entry.isreg() or entry.size != member.size_bytes:
            raise OpenClawError(f"{path} is damaged: {entry.name} is not the file of {member.size_bytes} bytes listed")
        _extract(path, archive, entry, folder / entry.name, member)
    if expected:
        raise OpenClawError(f"{path} is damaged: it lacks {', '.join(expected)}")
    if STORE in {member.name for member in manifest.members}:
        found = look_at_store(folder / STORE, thorough=True, immutable=True, place=path)
        if found.version != manifest.schema:
            raise OpenClawError(f"{path} is damaged: its store has the schema {found.version}, not {manifest.schema}")
    return manifest


def _manifest(path: Path, content: bytes) -> Manifest:
    try:
        told = json.loads(content)
    except RecursionError:
        raise OpenClawError(f"{path} is refused: {MANIFEST} is nested too deeply") from None
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise OpenClawError(f"{path} is no backup of this gateway")
    if told.get("version") != VERSION:
        raise OpenClawError(f"{path} is a backup of another layout (version {told.get('version')!r}, not {VERSION})")
    try:
        members = tuple(Member(str(one["name"]), one["bytes"], str(one["sha256"])) for one in told["members"])
        schema = told["schema"]
        if not (schema is None or type(schema) is int):
            raise TypeError
        manifest = Manifest(str(told["createdAt"]), str(told["openclawVersion"]), schema, members)
    except (KeyError, TypeError):
        raise OpenClawError(f"{path} is damaged: its list lacks something") from None
    names = [member.name for member in members]
    for member in members:
        if member.name not in MAX_BYTES or member.name == MANIFEST or names.count(member.name) > 1:
            raise OpenClawError(f"{path} is refused: a backup holds no {member.name[:200]!r}, or only once")
        if not isinstance(member.size_bytes, int) or not 0 <= member.size_bytes <= MAX_BYTES[member.name]:
            raise OpenClawError(f"{path} is refused: {member.name} is too large")
    return manifest


def _extract(path: Path, archive: tarfile.TarFile, entry: tarfile.TarInfo, target: Path, member: Member) -> None:
    """Copy a member out, with its hash checked on the way."""
    content = archive.extractfile(entry)
    assert content is not None
    disk = os.statvfs(target.parent)
    if member.size_bytes > disk.f_bavail * disk.f_frsize:
        size = f"{member.size_bytes / 1e6:.0f} MB"
        raise OpenClawError(f"{path} needs {size} in {target.parent}, which has not so much space left")
    found = hashlib.sha256()
    with new_file(target) as file:
        while chunk := content.read(_CHUNK):
            found.update(chunk)
            file.write(chunk)
    if found.hexdigest() != member.sha256:
        with suppress(OSError):
            target.unlink()
        raise OpenClawError(f"{path} is damaged: the SHA-256 of {entry.name} is not the one in its list")
