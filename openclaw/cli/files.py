"""Files that commands make."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

LOW_DISK_BYTES = 256 * 1024 * 1024
"""Less free space than this is worth a warning."""

FULL_DISK_BYTES = 4 * 1024 * 1024
"""With less free space than this the gateway cannot work."""

_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
"""What a disk without links says, such as a memory stick."""


def disk_trouble(folder: Path) -> tuple[bool, str] | None:
    """
    Whether the disk of a folder is full, or nearly so, for whoever is not root.  Blocks.

    @return: whether it is full, and a sentence about it; C{None} if there is space, or the folder cannot be looked at.
    """
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return None
    if free >= LOW_DISK_BYTES:
        return None
    if free < FULL_DISK_BYTES:
        return True, f"the disk of {folder} is full: {free / 1e6:.0f} MB left"
    return False, f"the disk of {folder} has {free / 1e6:.0f} MB left"


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """
    A new file that its owner alone can read; where the context ends without an error it is on the disk.  Blocks.

    @raise FileExistsError: if there is something of that name.
    @raise OSError: if it cannot be made.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def whole_file(path: Path, *, replaces: bool = False) -> Iterator[BinaryIO]:
    """
    A L{new_file} that gets its name where the context ends without an error, and is gone otherwise.

    @param replaces: it takes the place of what has the name.
    @raise FileExistsError: if there is something of that name, which stays.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with new_file(draft) as file:
            yield file
        if replaces:
            draft.replace(path)
        else:
            _publish(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _publish(draft: Path, path: Path) -> None:
    """Give a file its name, unless there is something of that name."""
    try:
        # a link, unlike a rename, never replaces what somebody else wrote meanwhile
        os.link(draft, path)
        return
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
    with new_file(path):
        pass
    try:
        draft.replace(path)
    except BaseException:
        path.unlink()
        raise
