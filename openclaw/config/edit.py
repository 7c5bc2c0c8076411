"""
Change the configuration file, or leave it exactly as it is.

A change is checked as a start would check it, before anything is written.  It is then written to a file beside it,
flushed to the disk and renamed, so that a reader sees the old file or the new one, and a full disk costs nothing.  Two
programs that edit at a time wait for each other; what a person saves meanwhile is never overwritten.
"""

from __future__ import annotations

import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import attrs

from openclaw.config.edit_document import is_set
from openclaw.config.load import MAX_CONFIG_BYTES, decode_json5, parse_config, read_dotenv, read_regular
from openclaw.config.lock import take_lock
from openclaw.config.paths import flush_folder
from openclaw.config.reload_rules import changed_keys, restart_keys
from openclaw.config.schema import Config
from openclaw.config.startable import obstacles
from openclaw.errors import ConfigError, OpenClawError

BACKUPS = 5
"""Copies of earlier files that are kept: C{.bak}, C{.bak.1} and so on, the newest first."""

LOCK_TIMEOUT_S = 10.0
"""How long another editor is waited for, seconds."""

LOCK_POLL_S = 0.05
"""Time between two looks whether it has ended, seconds."""

GUARDED_BYTES = 512
"""A file of at least this size is not shrunk to less than half unless told so."""

Effect = Literal["unchanged", "none", "hot", "restart"]
"""What a change takes: nothing was changed; nothing; it applies while the gateway runs; a restart."""


class InvalidResult(ConfigError):
    """
    A change that would give a configuration which cannot be used, or with which the gateway could not start although
    it can with what is there; nothing was written.
    """


@attrs.frozen
class FileAsRead:
    """
    A configuration file as it was read.

    @ivar content: its bytes; C{None} if there is no file.
    @ivar document: what it says; an empty object without a file.
    """

    path: Path
    content: bytes | None
    document: Any

    @property
    def text(self) -> str:
        """Its text; that of an empty object without a file."""
        return "{}\n" if self.content is None else self.content.decode()


@attrs.frozen
class Edit:
    """
    A change of the configuration file.

    @ivar before: the file that was there.
    @ivar document: what the file says now, or would say.
    @ivar text: the same as text.
    @ivar config: the configuration that it gives.
    @ivar warnings: sentences about it.
    @ivar changed: names of the settings that differ; settings that are not used are not among them.
    @ivar written: whether the file was written.
    """

    before: FileAsRead
    document: Any
    text: str = attrs.field(repr=False)
    config: Config
    warnings: tuple[str, ...]
    changed: tuple[str, ...]
    written: bool = False

    @property
    def effect(self) -> Effect:
        """What the change takes."""
        if self.text == self.before.text and self.before.content is not None:
            return "unchanged"
        if not self.changed:
            return "none"
        if restart_keys(self.changed) or self.config.gateway.reload.mode == "off":
            return "restart"
        return "hot"


def is_read_only(environ: Mapping[str, str]) -> bool:
    """Whether C{OPENCLAW_CONFIG_READONLY} keeps programs from changing the configuration."""
    return environ.get("OPENCLAW_CONFIG_READONLY", "").strip().lower() not in ("", "0", "false")


def read_config_file(path: Path) -> FileAsRead:
    """
    Read the file for a change of it.  Blocks.

    @raise ConfigError: if it cannot be read, or is broken; with line and column.
    """
    try:
        found = read_regular(path, MAX_CONFIG_BYTES)
        if found is None:
            return FileAsRead(path, None, {})
        document = decode_json5(found[0])
        if not isinstance(document, dict):
            raise ConfigError(["expected an object at the top"])
    except ConfigError as error:
        raise ConfigError(error.problems, str(path)) from None
    return FileAsRead(path, found[0], document)


def edit_config(
    path: Path,
    change: Callable[[Any], Any],
    environ: Mapping[str, str],
    state_dir: Path,
    *,
    dry_run: bool = False,
    may_shrink: bool = False,
    sleep: Callable[[float], object] = time.sleep,
) -> Edit:
    """
    Read the file, change what it says, check the whole and write it.  Blocks; other editors are waited for.

    Comments and layout stay.  Without a change of the document nothing is written.  Where the file is a symbolic
    link, that stays, and all this is done to the file that it leads to, beside which the copies are.

    @param change: from the document to the changed document; its errors pass through.
    @param environ: the process's environment; C{OPENCLAW_CONFIG_READONLY} forbids to write.
    @param state_dir: where C{.env} lies.
    @param dry_run: check everything and write nothing.
    @param may_shrink: the file may become less than half as long.
    @param sleep: how to wait for another editor.
    @raise ConfigError: if the file is broken.
    @raise InvalidResult: if the result could not be used; it names every problem.
    @raise OpenClawError: if the file must not or cannot be written; it then is as it was.
    """
    path = _real_file(path)
    if dry_run:
        edit = _planned(read_config_file(path), change, environ, state_dir)
        _check_clobber(edit, may_shrink=may_shrink, keep=False)
        return edit
    if is_read_only(environ):
        raise OpenClawError(f"{path} is not changed: OPENCLAW_CONFIG_READONLY is set")
    with locked(path, sleep):
        edit = _planned(read_config_file(path), change, environ, state_dir)
        if edit.effect == "unchanged":
            return edit
        _check_clobber(edit, may_shrink=may_shrink, keep=True)
        _write(edit)
    return attrs.evolve(edit, written=True)


def _real_file(path: Path) -> Path:
    """
    The file that a symbolic link leads to; any other path as it is.

    @raise ConfigError: if it leads nowhere.
    @raise OpenClawError: if it would lead root to a file that is not the link's owner's.
    """
    if not path.is_symlink():
        return path
    real = Path(os.path.realpath(path))
    try:
        owner, link_owner = real.stat().st_uid, path.lstat().st_uid
    except OSError as error:
        raise ConfigError([f"{path} is a symbolic link to {real}: {error.strerror}"], str(path)) from None
    if os.geteuid() == 0 and link_owner not in (0, owner):
        raise OpenClawError(f"{path} is a symbolic link to {real}, a file of another user; edit that file itself")
    return real


def _planned(before: FileAsRead, change: Callable[[Any], Any], environ: Mapping[str, str], state_dir: Path) -> Edit:
    """Everything about a change but the writing."""
    from openclaw.config.edit_text import rewritten  # what it imports takes a tenth of a second

    document = change(before.document)
    dotenv, dotenv_warnings = read_dotenv(state_dir / ".env")
    merged = {**dotenv, **environ}
    try:
        config, warnings = parse_config(document, merged)
    except ConfigError as error:
        raise InvalidResult(error.problems, str(before.path)) from None
    try:
        old, _ = parse_config(before.document, merged)
        known = {one.kind for one in obstacles(old, merged)}
    except ConfigError:
        old, known = Config(), None  # nothing can run with what was there
    found = obstacles(config, merged)
    # A file that no gateway starts with is mended, and a first one made, step by step: only a step back is refused.
    if refused := [one.text for one in found if one.certain and known is not None and one.kind not in known]:
        raise InvalidResult([f"{text} (the gateway could not start)" for text in refused], str(before.path))
    warnings += tuple(f"the gateway does not start like this: {one.text}" for one in found)
    try:
        text = rewritten(before.text, document)
    except OpenClawError as error:
        raise OpenClawError(f"{before.path} is not changed: {error.message}") from None
    if len(text.encode()) > MAX_CONFIG_BYTES:
        raise OpenClawError(f"{before.path} would become larger than {MAX_CONFIG_BYTES} bytes")
    return Edit(before, document, text, config, dotenv_warnings + warnings, tuple(changed_keys(old, config)))


def _check_clobber(edit: Edit, *, may_shrink: bool, keep: bool) -> None:
    """
    Refuse a change that looks as if most of the file got lost on the way.

    @param keep: keep the refused text beside the file.
    @raise OpenClawError: if it is refused.
    """
    old, new = edit.before.content, edit.text.encode()
    mode = ("gateway", "mode")
    if old is None:
        return
    if is_set(edit.before.document, mode) and not is_set(edit.document, mode):
        reason = "it would lose gateway.mode"
    elif not may_shrink and len(old) >= GUARDED_BYTES and len(new) * 2 < len(old):
        reason = f"it would shrink from {len(old)} to {len(new)} bytes"
    else:
        return
    kept = ""
    if keep:
        now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        rejected = edit.before.path.with_name(f"{edit.before.path.name}.rejected.{now}")
        try:
            rejected.unlink(missing_ok=True)
            _write_new(rejected, new, 0o600)
            kept = f"; the refused text is in {rejected}: if it is right, put it in the place of the file"
        except OSError as error:
            kept = f"; the refused text could not be kept ({error.strerror})"
    raise OpenClawError(f"{edit.before.path} is not changed: {reason}{kept}")


# ---------------------------------------------------------------------------------------- the file


@contextmanager
def locked(path: Path, sleep: Callable[[float], object] = time.sleep) -> Iterator[None]:
    """
    Hold the lock of all editors of a file; it ends with the process, whatever happens.  Blocks.

    @param path: the configuration file.
    @param sleep: how to wait for another editor.
    @raise OpenClawError: if it cannot be had.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = _lock_file(path.with_name(f".{path.name}.lock"))
    except OSError as error:
        raise _unwritable(path, error) from None
    try:
        try:
            take_lock(descriptor, 1 + round(LOCK_TIMEOUT_S / LOCK_POLL_S), LOCK_POLL_S, sleep)
        except BlockingIOError:
            problem = f"another program has been editing it for {LOCK_TIMEOUT_S:.0f} s; try again"
            raise OpenClawError(f"{path} is not changed: {problem}") from None
        except OSError as error:
            raise _unwritable(path, error) from None
        yield
    finally:
        os.close(descriptor)


def _lock_file(path: Path) -> int:
    """Open the lock file; root leaves one behind that the folder's owner can use."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags | os.O_EXCL, 0o600)
    except FileExistsError:
        return os.open(path, flags, 0o600)
    folder = path.parent.stat()
    if os.geteuid() == 0 and folder.st_uid != 0:
        os.fchown(descriptor, folder.st_uid, folder.st_gid)
    return descriptor


def _unwritable(path: Path, error: OSError) -> OpenClawError:
    return OpenClawError(f"{path} cannot be written: {error.strerror or error}; it is as it was")


def _write(edit: Edit) -> None:
    """
    Put the new text in the place of the file, the old one into the ring of copies.

    @raise OpenClawError: if that fails; the file then is as it was, but for a failure to flush its folder.
    """
    path, old = edit.before.path, edit.before.content
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    copy = path.with_name(f"{draft.name}.bak")
    try:
        try:
            mode, owner = _mode_and_owner(path)
            _write_new(draft, edit.text.encode(), mode, owner)
            if old is not None:
                _write_new(copy, old, 0o600, owner)
            _check_unchanged(path, old)
            if old is None:
                os.link(draft, path)  # unlike a rename it never replaces what somebody else wrote meanwhile
            else:
                _rotate(path, copy)
                _check_unchanged(path, old)  # the ring took its time
                draft.replace(path)
        finally:
            for leftover in (draft, copy):
                leftover.unlink(missing_ok=True)
    except FileExistsError:
        raise _changed_meanwhile(path) from None
    except OSError as error:
        raise _unwritable(path, error) from None
    try:
        flush_folder(path.parent)
    except OSError as error:
        problem = f"its folder cannot be flushed to the disk: {error.strerror}"
        raise OpenClawError(f"{path} was written, but {problem}") from None


def _mode_and_owner(path: Path) -> tuple[int, tuple[int, int] | None]:
    """The mode of the new file, and to whom it must be given: root edits a user's file for the user."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        folder = path.parent.stat()
        return 0o600, (folder.st_uid, folder.st_gid) if os.geteuid() == 0 and folder.st_uid != 0 else None
    owner = (status.st_uid, status.st_gid) if status.st_uid != os.geteuid() else None
    return (stat.S_IMODE(status.st_mode) & 0o600) or 0o600, owner


def _write_new(path: Path, content: bytes, mode: int, owner: tuple[int, int] | None = None) -> None:
    """Write a file that does not exist yet, down to the disk; it is gone again if that fails."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            at = 0
            while at < len(content):
                at += os.write(descriptor, content[at:])
            if owner is not None:
                os.fchown(descriptor, *owner)
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise


def _check_unchanged(path: Path, content: bytes | None) -> None:
    """
    See that nobody changed the file since it was read.

    @raise OpenClawError: if somebody did.
    """
    try:
        found = read_regular(path, MAX_CONFIG_BYTES)
    except ConfigError:
        raise _changed_meanwhile(path) from None
    if (None if found is None else found[0]) != content:
        raise _changed_meanwhile(path)


def _changed_meanwhile(path: Path) -> OpenClawError:
    return OpenClawError(f"{path} was changed by somebody else in this moment; nothing was written, try again")


def _rotate(path: Path, copy: Path) -> None:
    """Put a copy at the head of the ring."""
    ring = [path.with_name(f"{path.name}.bak{f'.{number}' if number else ''}") for number in range(BACKUPS)]
    for newer, older in zip(reversed(ring[:-1]), reversed(ring[1:]), strict=True):
        with suppress(FileNotFoundError):
            newer.replace(older)
    copy.replace(ring[0])
