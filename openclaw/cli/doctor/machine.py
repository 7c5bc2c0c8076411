"""What C{openclaw doctor} looks for on the machine: files, the store, versions, the clock."""

from __future__ import annotations

import os
import shlex
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from openclaw.cli.backup.store_files import look_at_store
from openclaw.cli.doctor.findings import Finding, Severity, Surroundings, real
from openclaw.cli.doctor.running import restart_hint
from openclaw.cli.files import disk_trouble
from openclaw.config.paths import ensure_state_dir
from openclaw.errors import OpenClawError
from openclaw.installation import upgrade_command

OLDEST_SQLITE = (3, 37, 0)
"""The oldest SQLite that the store is tested with."""

_EARLIEST_S = 1_735_689_600
"""A clock before 2025 is wrong: this program is younger."""


def _private(at: Surroundings) -> list[tuple[Path, int, os.stat_result]]:
    """The files and folders that are there and nobody's but the owner's, with the mode that they should have."""
    found: list[tuple[Path, int, os.stat_result]] = []
    paths, dotenv = at.paths, at.paths.state_dir / ".env"
    files = []
    for config in dict.fromkeys((paths.config_path, real(paths.config_path))):
        # the copies are beside the file itself; beside a link are those of the time before it was one
        files += [config, *config.parent.glob(f"{config.name}.bak*"), *config.parent.glob(f"{config.name}.rejected.*")]
    files += [real(dotenv), *paths.state_dir.glob(f"{paths.store_path.name}*")]
    folders = ((folder, 0o700) for folder in (paths.state_dir, paths.log_dir))
    for path, mode in (*folders, *((file, 0o600) for file in files)):
        with suppress(OSError):  # it is gone, or in a folder that is closed to us, which another check tells
            status = path.lstat()
            is_right = stat.S_ISDIR if mode == 0o700 else stat.S_ISREG  # and no link: what it leads to is here, too
            if is_right(status.st_mode):
                found.append((path, mode, status))
    return found


def modes(at: Surroundings) -> Iterator[Finding]:
    """Other users can neither read nor change what is private."""
    for path, mode, found in _private(at):
        if found.st_mode & stat.S_ISVTX and stat.S_ISDIR(found.st_mode):
            hint = "set OPENCLAW_STATE_DIR to a folder of your own"
            yield Finding("warning", f"{path} is a folder of all users", hint, str(path))
        elif found.st_mode & 0o077:
            message = f"{use_of_others(found.st_mode)} {path}"
            yield Finding("warning", message, f"chmod {mode:o} {shlex.quote(str(path))}", str(path))


def use_of_others(mode: int) -> str:
    """What other users than the owner can do to a file or a folder of a mode, as words that its name follows."""
    for bits, who in ((stat.S_IWOTH, "every user of this machine"), (stat.S_IWGRP, "every user of its group")):
        if mode & bits:
            what = "make, rename and remove files in" if stat.S_ISDIR(mode) else "change"
            return f"{who} can {what}"
    return "other users can use"


def repair_modes(at: Surroundings) -> Iterator[str]:
    """
    Take the rights of others away, but not of a folder that is everybody's, such as C{/tmp}, nor of a file that the
    state folder's owner, who runs the gateway, may have by these rights only.
    """
    for path, mode, status in _private(at):
        found = stat.S_IMODE(status.st_mode)
        is_shared = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
        if found & 0o077 and not is_shared and status.st_uid == _gateway_user(at, status):
            path.chmod(found & mode)
            yield f"{path}: mode {found:o} is now {found & mode:o}"


def _gateway_user(at: Surroundings, otherwise: os.stat_result) -> int:
    """Who runs the gateway: the owner of the state folder, where there is one."""
    folder = at.paths.state_dir
    return (folder.stat() if folder.is_dir() else otherwise).st_uid


def state_folder(at: Surroundings) -> Iterator[Finding]:
    """The state folder is there, can be written, and its disk has space."""
    folder = at.paths.state_dir
    if not folder.exists():
        yield Finding("info", f"there is no state folder {folder} yet", "openclaw doctor --fix", str(folder))
        return
    if not folder.is_dir():
        yield Finding("error", f"{folder} is not a folder", "set OPENCLAW_STATE_DIR", str(folder))
        return
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        hint = f"chown it to this user: sudo chown -R $(id -un) {shlex.quote(str(folder))}"
        yield Finding("error", f"{folder} cannot be written by this user", hint, str(folder))
    trouble = disk_trouble(folder)
    if trouble is not None:
        is_full, message = trouble
        severity: Severity = "error" if is_full else "warning"
        yield Finding(severity, message, f"free some space: du -sh {shlex.quote(str(folder))}/*")


def repair_state_folder(at: Surroundings) -> Iterator[str]:
    """Make the folder."""
    if not at.paths.state_dir.exists():
        ensure_state_dir(at.paths)
        yield f"made {at.paths.state_dir}"


def store(at: Surroundings) -> Iterator[Finding]:
    """The store is ours, whole, and of a version that we know."""
    path = at.paths.store_path
    if not os.path.lexists(path):
        return
    restore = f"stop the gateway and restore a copy: openclaw backup restore FILE --force (keeps {path} aside)"
    try:
        found = look_at_store(path, thorough=False)
    except OpenClawError as error:
        yield Finding("error", error.message, restore, str(path))
        return
    if found.version > found.newest:
        message = f"{path} was written by a newer version (schema {found.version}; this one knows {found.newest})"
        command = upgrade_command()
        hint = "install the newer version again"
        yield Finding("error", message, hint if command is None else f"{hint}: {command}", str(path))
    elif found.version < found.newest:
        message = f"{path} has the schema {found.version}; the next start brings it to {found.newest} and keeps a copy"
        yield Finding("info", message, restart_hint(at), str(path))


def versions(at: Surroundings) -> Iterator[Finding]:
    """Python and SQLite are new enough."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        wanted = ".".join(map(str, OLDEST_SQLITE))
        message = f"SQLite {sqlite3.sqlite_version} is older than {wanted}, which the store is tested with"
        yield Finding("warning", message, "use a newer Python, or a newer distribution")


def clock(at: Surroundings) -> Iterator[Finding]:
    """The clock is about right."""
    now_s = time.time()
    newest_s = max((status.st_mtime for _, _, status in _private(at)), default=0.0)
    if now_s < _EARLIEST_S or newest_s > now_s + 86_400:
        message = f"the clock of this machine is wrong: {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime(now_s))}"
        yield Finding("warning", message, "timedatectl set-ntp true")
